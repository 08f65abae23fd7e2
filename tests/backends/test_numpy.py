"""The numpy backend: its normal distribution function, what it does to malloc, the batch in shards."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from vipnp import get_backend
from vipnp.audit.cases import CASES, Case
from vipnp.backends.numpy import backend
from vipnp.backends.numpy.backend import CHUNK, phi
from vipnp.backends.numpy.shards import SHARDS
from vipnp.verify.trees import tree_arrays

UNIT = 2.0**-24
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)
SMALLEST_SUBNORMAL = float(np.finfo(np.float32).smallest_subnormal)

SHARDED_CASES = [case for case in CASES.values() if case.op in SHARDS]


# --- Phi --------------------------------------------------------------------------------------------------------------


def test_phi_is_accurate_relative_to_itself_in_both_tails() -> None:
    x = np.concatenate(
        [np.linspace(-15, 10, 1_000_003), np.random.default_rng(0).normal(size=100_000), np.geomspace(1e-40, 1, 999)]
    ).astype(np.float32)
    truth = ndtr(x.astype(np.float64))
    error = np.abs(phi(x) - truth)
    normal = truth >= SMALLEST_NORMAL
    assert float((error[normal] / truth[normal]).max()) <= 1.05 * UNIT
    assert float(error[~normal].max()) <= SMALLEST_SUBNORMAL
    assert normal.sum() < x.size


def test_phi_of_special_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 40.0, -40.0], np.float32)
    assert np.array_equal(phi(x), ndtr(x), equal_nan=True)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 5), (CHUNK - 1,), (CHUNK,), (CHUNK + 1,), (3, CHUNK)])
def test_phi_of_any_shape(shape: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(1).normal(size=shape), np.float32)
    before = x.copy()
    y = phi(x)
    assert y.shape == shape
    assert y.dtype == np.float32
    assert np.array_equal(x, before)
    np.testing.assert_allclose(y, ndtr(x.astype(np.float64)), rtol=1.05 * UNIT)


def test_phi_of_an_array_that_is_not_contiguous() -> None:
    x = np.random.default_rng(2).normal(size=(6, 10)).astype(np.float32)
    assert np.array_equal(phi(x[::2, ::3]), phi(np.ascontiguousarray(x[::2, ::3])))
    assert np.array_equal(phi(x.T), phi(x).T)


def test_other_dtypes_go_to_scipy() -> None:
    x = np.random.default_rng(3).normal(size=100)
    assert np.array_equal(get_backend("numpy").ndtr(x), ndtr(x))
    x32 = x.astype(np.float32)
    assert np.array_equal(get_backend("numpy").ndtr(x32), phi(x32))


# --- malloc -----------------------------------------------------------------------------------------------------------

FAULTS = """
import resource, sys
import numpy as np
from vipnp import get_backend
get_backend("numpy", keep_memory=sys.argv[1] == "keep")
def use():
    for _ in range(10):
        np.ones(16_000_000, np.float32)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(setting: str) -> int:
    run = subprocess.run([sys.executable, "-c", FAULTS, setting], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is one of glibc's malloc")
def test_freed_memory_is_kept_unless_told_otherwise() -> None:
    pages = 10 * 16_000_000 * 4 // 4096
    assert page_faults("keep") < 100
    # Transparent huge pages may serve 512 pages with one fault.
    assert page_faults("leave") > pages / 512 / 2


def test_nothing_is_done_where_malloc_cannot_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not backend.keep_freed_memory()


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shards": 0}, ValueError, "shards: got 0, expected an integer >= 1"),
        ({"shards": -2}, ValueError, "shards: got -2, expected an integer >= 1"),
        ({"shards": 1.5}, TypeError, "shards: got 1.5, expected an integer"),
        ({"shards": True}, TypeError, "shards: got True, expected an integer"),
        ({"shards": "2"}, TypeError, "shards: got '2', expected an integer"),
        ({"keep_memory": 1}, TypeError, "keep_memory: got 1, expected True or False"),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_backend(name, **options)


def test_shards_without_threadpoolctl_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'threadpoolctl.*pip install "vipnp\[numba\]"'):
        get_backend("numpy", shards=2)
    assert not get_backend("numpy", shards=1).replacements


# --- the readable ops, the batch in shards ----------------------------------------------------------------------------


def results(xp: Any, case: Case, seed: int = 5) -> dict[str, Any]:
    args, kwargs = case.inputs(seed)
    y, pullback = xp.run(case.op, *args, **kwargs)
    dy = np.random.default_rng(6).normal(size=np.shape(y))
    return {"value": y} | dict(tree_arrays(tuple(pullback(dy))))


def test_every_sharded_function_has_cases() -> None:
    assert set(SHARDS) == {case.op for case in SHARDED_CASES}


@pytest.mark.parametrize("shards", [2, 3, 7])
@pytest.mark.parametrize("case", SHARDED_CASES, ids=lambda case: case.name)
def test_shards_compute_what_the_whole_does(case: Case, shards: int) -> None:
    xp = get_backend("numpy", shards=shards).counting()
    whole, sharded = results(get_backend("numpy"), case), results(xp, case)
    assert whole.keys() == sharded.keys()
    for name, truth in whole.items():
        scale = np.abs(truth).max()
        np.testing.assert_allclose(sharded[name], truth, rtol=0, atol=1e-13 * max(scale, 1), err_msg=name)
    assert xp.ran is not None
    assert xp.ran[SHARDS[case.op]] == 1


def test_a_model_runs_in_shards() -> None:
    case = CASES["vision_permutator/masks"]
    whole, sharded = results(get_backend("numpy"), case), results(get_backend("numpy", shards=2), case)
    for name, truth in whole.items():
        np.testing.assert_allclose(sharded[name], truth, rtol=0, atol=1e-12 * np.abs(truth).max(), err_msg=name)
