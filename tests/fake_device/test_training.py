"""Training on the CuPy wheel, on the fake device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backends.cupy.training import SIZES, Training
from tests.fake_device.machine import Machine
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend

pytestmark = pytest.mark.kernels

STEPS = 5
TOLERANCE = {"float32": 2e-6, "tf32": 2e-3, "bfloat16": 2e-2}
"""Of the losses: float32 to rounding, the others as far as their products are rounded."""


@pytest.mark.parametrize("order", ["eager", "lazy", 1, 2])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_losses_are_those_of_numpy(machine: Machine, precision: str, order: Any) -> None:
    """In whatever order the device does what is enqueued."""
    machine.timeline.order = order
    config = small_config(SIZES, drop_path=0.4)
    device, host = Training(get_backend("cupy", precision=precision), config), Training(get_backend("numpy"), config)
    losses = [device.step()[0] for _ in range(STEPS)]
    assert machine.waits == []
    expected = [float(host.step()[0]) for _ in range(STEPS)]
    np.testing.assert_allclose(
        [float(device.xp.to_numpy(loss)) for loss in losses], expected, rtol=TOLERANCE[precision]
    )


def test_a_step_on_the_second_device(machine: Machine) -> None:
    losses = []
    for device in (0, 1):
        training = Training(get_backend("cupy", device=device), small_config(SIZES, drop_path=0.4))
        loss, grads = training.step()
        assert {array.device.id for array in (loss, *grads.values())} == {device}
        losses.append(float(training.xp.to_numpy(loss)))
    assert losses[0] == losses[1]
    assert machine.device == 0
