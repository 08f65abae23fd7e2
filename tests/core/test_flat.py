"""Tensors by name in one flat array."""

from __future__ import annotations

import numpy as np
import pytest

from tests.namespaces import StrictBackend
from vipnp.backends import get_backend
from vipnp.core.flat import FlatTensors, layout
from vipnp.optim import AdamW

TENSORS = {"gain": np.float32([1, 2, 3]), "scale": np.array(4, np.float32), "weight": np.float32([[5, 6], [7, 8]])}
ORDER = ["weight", "gain", "scale"]


def flat() -> FlatTensors:
    values = np.concatenate([TENSORS[name].reshape(-1) for name in ORDER])
    return FlatTensors(values, ORDER, layout(TENSORS))


def test_tensors_are_parts_of_the_flat_array() -> None:
    tensors = flat()
    assert list(tensors) == list(TENSORS)
    assert len(tensors) == len(TENSORS)
    assert layout(tensors) == layout(dict(tensors)) == layout(TENSORS)
    for name, expected in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], expected)
        assert tensors[name].shape == expected.shape
        assert np.shares_memory(tensors[name], tensors.flat)
    with pytest.raises(KeyError):
        tensors["bias"]


def test_an_optimizer_takes_them_as_any_gradients() -> None:
    steps = []
    for grads in (TENSORS, flat()):
        steps.append(AdamW(get_backend("numpy")).update(TENSORS, grads, lr=0.1))
    for name, value in steps[0].items():
        np.testing.assert_array_equal(steps[1][name], value)


def test_an_optimizer_checks_them_as_any_gradients() -> None:
    optimizer = AdamW(get_backend("numpy"))
    with pytest.raises(ValueError, match="grads: unexpected scale"):
        optimizer.update({name: TENSORS[name] for name in ("gain", "weight")}, flat(), lr=0.1)
    with pytest.raises(ValueError, match=r"gain is float32 \(3,\), its parameter float32 \(1,\)"):
        optimizer.update(TENSORS | {"gain": np.float32([1])}, flat(), lr=0.1)
    with pytest.raises(TypeError, match=r"params: gain is of type numpy\.ndarray"):
        AdamW(StrictBackend()).update(TENSORS, flat(), lr=0.1)
    strict = StrictBackend()
    with pytest.raises(TypeError, match=r"grads: weight is of type numpy\.ndarray"):
        AdamW(strict).update({name: strict.asarray(value) for name, value in TENSORS.items()}, flat(), lr=0.1)
