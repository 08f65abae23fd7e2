"""The `array_api` backend: a model trains on PyTorch's arrays and on array_api_strict's as it does on NumPy's."""

from __future__ import annotations

import copy
import pickle
from types import ModuleType
from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch

from vipnp import VisionPermutator, get_backend
from vipnp.audit.cases import small_config
from vipnp.optim import AdamW, clip_grad_norm

CONFIG = small_config({"B": 2, "H": 2, "W": 1, "N": 3, "S": 4, "P": 2, "K": 4}, drop_path=0.25, dropout=0.125)
SECOND = array_api_strict.Device("device1")
WORLDS: dict[str, dict[str, Any]] = {
    "torch": {"namespace": "torch"},
    "strict": {"namespace": array_api_strict, "device": SECOND},
}


def trained(xp: Any, dtype: str) -> dict[str, Any]:
    """The weights after three steps with every draw, clipping and AdamW."""
    model = VisionPermutator(CONFIG, backend=xp, dtype=dtype, seed=2)
    optimizer = AdamW(xp)
    rng, draws = np.random.default_rng(7), np.random.default_rng(8)
    for _ in range(3):
        images = rng.normal(size=(5, 2, 8, 4)).astype(dtype)
        _, grads = model.loss_and_grads(images, rng.integers(0, 4, size=5), label_smoothing=0.125, rng=draws)
        grads, _ = xp.find(clip_grad_norm)(xp, grads, max_norm=0.5)
        model.set_parameters(optimizer.update(model.parameters(), grads, lr=0.01))
    return model.state_dict()


@pytest.mark.parametrize("world", WORLDS)
def test_training_is_that_of_numpy(world: str) -> None:
    xp = get_backend("array_api", **WORLDS[world])
    truth = trained(get_backend("numpy"), "float64")
    found = trained(xp, "float64")
    assert list(found) == list(truth)
    for name, value in truth.items():
        assert found[name].dtype == np.float64
        # A step of AdamW divides by the root of the mean square, and tiny gradients lose digits in it.
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("world", WORLDS)
def test_phi_and_the_way_to_the_host(world: str) -> None:
    xp = get_backend("array_api", **WORLDS[world])
    x = np.linspace(-6, 6, 25)
    on_device = xp.asarray(x)
    assert xp.owns(on_device)
    assert on_device.device == xp.device
    # PyTorch subtracts from 1/2 in the left tail, so its error there is one of 1/2, not of Phi.
    np.testing.assert_allclose(xp.to_numpy(xp.ndtr(on_device)), get_backend("numpy").ndtr(x), rtol=1e-12, atol=1e-16)
    assert np.array_equal(xp.to_numpy(on_device), x)


@pytest.mark.parametrize("world", WORLDS)
def test_it_pickles_by_the_name_of_its_namespace(world: str) -> None:
    xp = get_backend("array_api", **WORLDS[world])
    assert WORLDS[world]["namespace"] in (xp.module, xp.module.__name__)
    arrived = pickle.loads(pickle.dumps(xp))
    assert (arrived.module, arrived.device, repr(arrived)) == (xp.module, xp.device, repr(xp))
    model = VisionPermutator(CONFIG, backend=xp, seed=2)
    images = np.random.default_rng(3).normal(size=(3, 2, 8, 4)).astype(np.float32)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(xp.to_numpy(copied(images)), xp.to_numpy(model(images)))


def test_what_the_namespace_says_of_itself_is_in_reach() -> None:
    info = get_backend("array_api", **WORLDS["strict"]).__array_namespace_info__()
    assert SECOND in info.devices()
    assert "float32" in get_backend("numpy").__array_namespace_info__().dtypes()


def test_a_device_that_the_library_lacks() -> None:
    for namespace, device in (("torch", "cuda:7"), ("numpy", "gpu")):
        with pytest.raises(ValueError, match=f"^namespace: got {namespace} on device '{device}', expected a namespace"):
            get_backend("array_api", namespace=namespace, device=device)


def test_an_array_of_another_device_is_foreign() -> None:
    xp = get_backend("array_api", **WORLDS["strict"])
    assert not xp.owns(array_api_strict.zeros(3))
    assert get_backend("array_api", namespace=array_api_strict).owns(array_api_strict.zeros(3))
    assert not xp.owns(torch.zeros(3))


def test_weights_that_pytorch_follows_can_be_saved() -> None:
    model = VisionPermutator(CONFIG, backend=get_backend("array_api", namespace="torch"))
    before = model.state_dict()
    model.set_parameters({name: value.requires_grad_() for name, value in model.parameters().items()})
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "backend 'array_api': option 'namespace' is missing"),
        ({"namespace": "no_such_library"}, ImportError, "namespace: 'no_such_library' cannot be imported"),
        ({"namespace": ""}, ValueError, "namespace: got '', expected the name of an array library"),
        ({"namespace": ".torch"}, ValueError, "namespace: got '.torch', expected the name of an array library"),
        ({"namespace": 3}, TypeError, "namespace: got 3, expected the name of an array library, or its module"),
        (
            {"namespace": "math"},
            ValueError,
            "namespace: got math on device None, expected a namespace of the array API",
        ),
        ({"namespace": ModuleType("mine")}, ValueError, "namespace: got mine on device None"),
        ({"namespace": "torch", "device": "abacus"}, ValueError, "namespace: got torch on device 'abacus'"),
        ({"namespace": array_api_strict, "device": 3}, ValueError, "namespace: got array_api_strict on device 3"),
    ],
)
def test_what_is_no_namespace_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_backend("array_api", **options)
