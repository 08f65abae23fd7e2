"""Models, backends and optimisers pickle and deep-copy, and another process works with what arrives."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from typing import Any

import joblib
import numpy as np
import pytest

import vipnp
from vipnp import VisionPermutator, ops
from vipnp.audit.cases import small_config
from vipnp.backends.numpy import NumpyBackend
from vipnp.optim import SGD, AdamW
from vipnp.verify.trees import tree_arrays

CONFIG = small_config({"B": 2, "H": 2, "W": 1, "N": 3, "S": 4, "P": 2, "K": 4})
BACKENDS: dict[str, dict[str, Any]] = {"numpy": {"shards": 2, "keep_memory": False}, "numba": {"shards": 2}}


def images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(5).normal(size=(3, 2, 8, 4)).astype(np.float32)


def through_pickle(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))


def logits_of(model: VisionPermutator) -> Any:
    return model(images())


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_travels_as_its_name_and_options(name: str) -> None:
    backend = vipnp.get_backend(name, **BACKENDS[name])
    arrived = through_pickle(backend)
    assert arrived is not backend
    assert arrived.crew is not backend.crew
    assert (arrived.name, arrived.crew.size, arrived.keep, arrived.ran) == (name, 2, True, None)
    assert arrived.replacements == backend.replacements
    assert through_pickle(backend.inference()).keep is False
    counting = through_pickle(backend.counting())
    counting.run(ops.gelu, np.ones((2, 3), np.float32))
    assert sum(counting.ran.values()) == 1
    assert copy.deepcopy(backend) is backend


def test_a_backend_made_by_hand_says_that_it_cannot_travel() -> None:
    with pytest.raises(TypeError, match="backend 'numpy': got one made by hand, expected one of get_backend"):
        pickle.dumps(NumpyBackend())


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle, copy.copy])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copied_model_has_weights_of_its_own(copied: Any, dtype: str) -> None:
    model = VisionPermutator(CONFIG, backend="numpy", dtype=dtype, seed=3)
    twin = copied(model)
    assert twin.config == model.config
    assert twin.dtype == dtype
    x = images().astype(dtype)
    before = model(x)
    assert np.array_equal(twin(x), before)
    for name, parameter in twin.parameters().items():
        assert parameter.dtype == model.parameters()[name].dtype
        parameter[...] = 0.0
    assert np.array_equal(model(x), before)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
@pytest.mark.parametrize("make", [AdamW, SGD])
@pytest.mark.parametrize("options", [{"name": "numpy"}, {"name": "array_api", "namespace": "array_api_strict"}])
def test_a_copied_optimizer_takes_the_same_next_step(copied: Any, make: Any, options: dict[str, Any]) -> None:
    """The state travels as host arrays, wherever those of the backend live."""
    rng = np.random.default_rng(9)
    xp = vipnp.get_backend(**options)
    optimizer = make(xp, weight_decay=0.25)
    params, *grads = (
        {name: xp.asarray(rng.normal(size=shape)) for name, shape in (("a", (2, 5)), ("b", (3,)))} for _ in range(3)
    )
    after_one = optimizer.update(params, grads[0], lr=0.5)
    twin = copied(optimizer)
    assert repr(twin) == repr(optimizer)
    assert {type(array) for _, array in tree_arrays(optimizer.__getstate__()["state"])} == {np.ndarray}
    expected = optimizer.update(after_one, grads[1], lr=0.5)
    got = twin.update(after_one, grads[1], lr=0.5)
    for name in params:
        assert np.array_equal(xp.to_numpy(got[name]), xp.to_numpy(expected[name]))


def in_a_spawned_process(model: VisionPermutator) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(logits_of, (model,))


def through_joblib(model: VisionPermutator) -> Any:
    return joblib.Parallel(n_jobs=2)([joblib.delayed(logits_of)(model)])[0]


@pytest.mark.parametrize(("name", "elsewhere"), [("numba", in_a_spawned_process), ("numpy", through_joblib)])
def test_another_process_computes_the_same_logits(name: str, elsewhere: Any) -> None:
    """It shares nothing with this one but what was pickled."""
    model = VisionPermutator(CONFIG, backend=vipnp.get_backend(name, **BACKENDS[name]), seed=3)
    assert np.array_equal(elsewhere(model), model(images()))
