"""Data parallel training over NCCL: CuPy's own binding, and the stand-in for NVIDIA's library under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.fake_device.machine import Machine
from tests.fake_device.ranks import called, differing, left_alone, trained

pytestmark = pytest.mark.kernels


@pytest.mark.parametrize(
    ("precision", "order"), [("float32", "eager"), ("float32", "lazy"), ("float32", 1), ("float64", "lazy")]
)
def test_two_ranks_give_the_bits_of_one(machine: Machine, precision: str, order: Any) -> None:
    """In whatever order the devices do what is enqueued; a rank without an image takes part."""
    machine.timeline.order = order
    (one,) = trained(1, precision=precision)
    for weights in trained(2, precision=precision):
        assert differing(one, weights) == []
        assert differing(weights, {name: value + 1 for name, value in one.items()}) == list(one)
    buckets = 3 * (4 + 1)
    assert sorted(called()) == ["receive"] * 2 * buckets + ["send"] * 2 * buckets


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_fast_sum_is_near_the_exact_one(machine: Machine, precision: str) -> None:
    """Within the tolerance of docs/scale.md. That of two ranks has one order only, and the same bits."""
    machine.timeline.order = "lazy"
    (one,) = trained(1, precision=precision)
    tolerance = {"float32": 1e-6, "float64": 1e-12}[precision]
    for weights in trained(2, precision=precision, reduce="fast"):
        for name, value in one.items():
            np.testing.assert_allclose(weights[name], value, rtol=0, atol=tolerance, err_msg=name)
    assert set(called()) == {"rank 0", "rank 1"}


def test_an_error_of_the_library_ends_the_wait() -> None:
    raised = left_alone()
    assert isinstance(raised, RuntimeError)
    assert str(raised).startswith("NCCL: NCCL_ERROR_REMOTE")
    assert "abort" in called()
