"""The fused CPU backend: every replacement against the readable layer; memory, threads, NaN, what may be missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
from scipy.special import ndtr
from threadpoolctl import threadpool_info, threadpool_limits

import vipnp
from tools.accuracy import SIZES, UNIT, measure
from vipnp import VisionPermutator, get_backend
from vipnp.audit.cases import CASES, Case
from vipnp.backends.numba import backend
from vipnp.backends.numba import block as numba_block
from vipnp.backends.numba import kernels as numba_kernels
from vipnp.backends.numba import optimizer as numba_optimizer
from vipnp.backends.numba import products as numba_products
from vipnp.backends.numba.kernels import compiler
from vipnp.backends.numba.kernels.gelu import normal
from vipnp.backends.numpy import blas, threads
from vipnp.backends.numpy import shards as numpy_shards
from vipnp.backends.numpy.threads import Crew, blas_threads, bounds, making, share, sum_trees
from vipnp.core import Replacements
from vipnp.layers import BlockMasks, Mask, permutator, stage
from vipnp.models import PUBLISHED, ViPConfig, vision_permutator
from vipnp.ops import layer_norm
from vipnp.optim import AdamW
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.train import tiny_config
from vipnp.verify.trees import tree_arrays, tree_map

READABLE = get_backend("numpy")
TABLES: tuple[Replacements, ...] = (numba_block.TABLE, numpy_shards.SHARDS)
REPLACED = {op for table in TABLES for op in table}
KERNELS = {*numba_block.TABLE, *numba_optimizer.TABLE}
"""What has kernels of its own. Where these do not cover a call, the readable function runs and is counted as such."""

NOT_COVERED = {
    "layer_norm",
    "layer_norm/eps",
    "layer_norm/C=2",
    "layer_norm/mean=1000",
    "permutator/masks",
    "permutator/sum",
    "stage/masks",
    "vision_permutator/masks",
    "vision_permutator/sum",
    "vision_permutator/plane",
    "vision_permutator/point",
    "vision_permutator/axial",
}
"""Cases that the readable functions run: LayerNorm of other than four axes, dropout, the plain sum of the branches, and
other branches than the Vision Permutator's."""

FUSED_CASES = [case for case in CASES.values() if case.op in REPLACED or case.op is vision_permutator]

CONFIG = ViPConfig(
    layers=(2, 1),
    embed_dims=(12, 24),
    segments=(4, 3),
    transitions=(True, False),
    patch_size=2,
    image_size=(8, 12),
    num_classes=5,
    in_channels=2,
)


def fused(shards: int = 2, products: str = "auto") -> Any:
    return get_backend("numba", shards=shards, products=products)


def draw(case: Case, dtype: Any = np.float64, seed: int = 5) -> tuple[Any, Any]:
    args, kwargs = case.inputs(seed)
    return tree_map(lambda array: array.astype(dtype) if array.dtype == np.float64 else array, (args, kwargs))


def results(xp: Any, op: Callable[..., Any], args: Any, kwargs: Any, dtype: Any = np.float64) -> dict[str, Any]:
    y, pullback = xp.run(op, *args, **kwargs)
    dy = np.asarray(np.random.default_rng(6).normal(size=np.shape(y)), dtype)
    return {"value": y} | dict(tree_arrays(tuple(pullback(dy))))


def assert_same(found: dict[str, Any], truth: dict[str, Any], tolerance: float) -> None:
    assert found.keys() == truth.keys()
    for name, expected in truth.items():
        assert found[name].dtype == expected.dtype, name
        assert found[name].shape == expected.shape, name
        scale = max(np.abs(expected).max(), 1e-3) if expected.size else 1
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=tolerance * scale, err_msg=name)


def block_inputs(dtype: Any = np.float64, B: int = 3) -> tuple[Any, Any]:
    """A block with what the kernels cover off its default: drop path on both branches, skip_lam."""
    args, kwargs = CASES["permutator"].inputs(5, {**CASES["permutator"].sizes, "B": B})
    keep = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0][:B])
    masks = BlockMasks(attn_path=Mask(keep, 0.25), mlp_path=Mask(keep[::-1].copy(), 0.5))
    kwargs = {**kwargs, "masks": masks, "skip_lam": 1.7}
    return tree_map(lambda array: array.astype(dtype), (args, kwargs))


# --- against the readable layers --------------------------------------------------------------------------------------


def test_every_replacement_has_cases() -> None:
    assert {case.op for case in FUSED_CASES} == {*REPLACED, vision_permutator}


@pytest.mark.parametrize("products", ["openblas", "onednn", "mkl", "numpy"])
@pytest.mark.parametrize("shards", [1, 2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("case", FUSED_CASES, ids=lambda case: case.name)
def test_fused_is_the_readable_layer(case: Case, shards: int, products: str) -> None:
    xp = fused(shards, products).counting()
    args, kwargs = draw(case)
    assert_same(results(xp, case.op, args, kwargs), results(READABLE, case.op, args, kwargs), 1e-13)
    if case.op in xp.replacements:
        assert xp.ran[xp.replacements[case.op]] == 1
    assert bool(KERNELS & set(xp.shard.ran)) == (case.name in NOT_COVERED)


def covered_call(op: Any, dtype: Any) -> tuple[Any, Any]:
    """A call that the kernels of `op` cover."""
    if op is layer_norm:
        rng = np.random.default_rng(4)
        return tuple(rng.normal(size=shape).astype(dtype) for shape in ((5, 2, 3, 7), 7, 7)), {"eps": 1e-3}
    if op is permutator:
        return block_inputs(dtype)
    rng = np.random.default_rng(4)
    tensors = [{"w": rng.normal(size=(3, 5)).astype(dtype), "b": rng.uniform(size=7).astype(dtype)} for _ in range(4)]
    return (*tensors[:2], AdamWState(2, tensors[2], {name: t * t for name, t in tensors[3].items()})), {
        "lr": 0.1,
        "betas": (0.8, 0.95),
        "eps": 1e-3,
        "weight_decay": 0.2,
    }


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 32 * UNIT)])
@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("op", [*numba_block.TABLE, *numba_optimizer.TABLE], ids=lambda op: op.__name__)
def test_every_fused_function_does_its_work_itself(op: Any, shards: int, dtype: Any, tolerance: float) -> None:
    xp = fused(shards).counting()
    args, kwargs = covered_call(op, dtype)
    if op is adamw:
        (found, state), (truth, other) = (world.find(op)(world, *args, **kwargs) for world in (xp, READABLE))
        assert_same(found, truth, tolerance)
        assert_same(state.exp_avg, other.exp_avg, tolerance)
        assert_same(state.exp_avg_sq, other.exp_avg_sq, tolerance)
    else:
        exact = results(READABLE, op, *tree_map(np.float64, (args, kwargs)))
        truth = {name: np.asarray(value, dtype) for name, value in exact.items()}
        assert_same(results(xp, op, args, kwargs, dtype), truth, tolerance)
    ran = xp.ran + xp.shard.ran
    assert ({**numba_block.TABLE, **numba_optimizer.TABLE})[op] in ran
    assert op not in ran, "the readable function ran, not the fused one"


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("case", FUSED_CASES, ids=lambda case: case.name)
def test_fused_in_float32(case: Case, shards: int) -> None:
    args, kwargs = draw(case, np.float32)
    found = results(fused(shards), case.op, args, kwargs, np.float32)
    assert_same(found, results(READABLE, case.op, args, kwargs, np.float32), 256 * UNIT)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 32 * UNIT)])
@pytest.mark.parametrize("B", [1, 2, 7])
@pytest.mark.parametrize("shards", [1, 2, 5])
def test_drop_path_and_skip_lam_in_the_kernels(shards: int, B: int, dtype: Any, tolerance: float) -> None:
    args, kwargs = block_inputs(dtype, B)
    xp = fused(shards).counting()
    found = results(xp, permutator, args, kwargs, dtype)
    assert_same(found, results(READABLE, permutator, args, kwargs, dtype), tolerance)
    assert set(xp.shard.ran) >= {numba_block.permutator_fused}
    assert permutator not in xp.shard.ran, "the readable block ran, not the fused one"


@pytest.mark.parametrize("sizes", [{"H": 2, "W": 5, "N": 3, "S": 1}, {"H": 5, "W": 1, "N": 2, "S": 9}])
def test_shapes_that_are_not_square(sizes: dict[str, int]) -> None:
    """One column of tokens, short segments and such as are not unrolled: H*S, W*S and C all differ."""
    rng = np.random.default_rng(1)
    N, S, C = sizes["N"], sizes["S"] * 4, sizes["N"] * sizes["S"] * 4
    H, W = sizes["H"], sizes["W"]
    matrix = lambda *shape: rng.normal(0, 0.3, shape)  # noqa: E731
    affine = lambda k, c: {"weight": matrix(k, c), "bias": matrix(k)}  # noqa: E731
    params = {
        "norm1": {"weight": matrix(C), "bias": matrix(C)},
        "attn": {
            "mlp_c": {"weight": matrix(C, C)},
            "mlp_h": {"weight": matrix(H * S, H * S)},
            "mlp_w": {"weight": matrix(W * S, W * S)},
            "reweight": {"fc1": affine(C // 4, C), "fc2": affine(3 * C, C // 4)},
            "proj": affine(C, C),
        },
        "norm2": {"weight": matrix(C), "bias": matrix(C)},
        "mlp": {"fc1": affine(5, C), "fc2": affine(C, 5)},
    }
    args = (rng.normal(size=(4, H, W, C)), params)
    assert_same(
        results(fused(), permutator, args, {"segments": N}),
        results(READABLE, permutator, args, {"segments": N}),
        1e-13,
    )


def test_a_step_uses_every_replacement() -> None:
    xp = fused().counting()
    model = VisionPermutator(CONFIG, backend=xp)
    images, labels = batch()
    _, grads = model.loss_and_grads(images, labels)
    AdamW(xp).update(model.parameters(), grads, lr=0.1)
    in_a_step = {op for op in xp.replacements if op not in (permutator, numpy_shards.linear_no_bias)}
    assert {xp.replacements[op] for op in in_a_step} <= set(xp.ran)
    assert set(numba_block.TABLE.values()) <= set(xp.shard.ran)
    assert not KERNELS & {*xp.ran, *xp.shard.ran}


@pytest.mark.parametrize("case", ["permutator", pytest.param("model_loss", marks=pytest.mark.long)])
def test_float32_gradients_are_as_good_as_those_of_pytorch(case: str) -> None:
    result = measure(CASES[case], SIZES[case], seeds=8, backend=fused(2, "openblas"))
    assert result.ratio <= 1.1
    assert result.ok


def batch(B: int = 4, dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(B, 2, 8, 12)).astype(dtype), rng.integers(0, 5, B)


# --- what does not fit ------------------------------------------------------------------------------------------------


def spoilt_block(**spoilt: Any) -> Any:
    """The call of a fused block, one array of its parameters replaced, or another number of segments."""
    args, kwargs = block_inputs()
    norm1, mlp = dict(args[1]["norm1"]), dict(args[1]["mlp"])
    norm1["bias"] = spoilt.get("bias", norm1["bias"])
    mlp["fc2"] = {"weight": mlp["fc2"]["weight"], "bias": spoilt.get("fc2_bias", mlp["fc2"]["bias"])}
    kwargs = {**kwargs, "segments": spoilt.get("segments", kwargs["segments"])}
    if "mask" in spoilt:
        kwargs["masks"] = BlockMasks(attn_path=Mask(spoilt["mask"], 0.25))
    numba_block.permutator_fused(fused(1).shard, args[0], {**args[1], "norm1": norm1, "mlp": mlp}, **kwargs)


def spoilt_cotangent(op: Any, dy: Any) -> Any:
    args, kwargs = block_inputs()
    if op is layer_norm:
        args, kwargs = (args[0], np.ones(12), np.ones(12)), {}
    numba_block.TABLE[op](fused(1).shard, *args, **kwargs)[1](dy)


def spoilt_step(part: str, array: Any) -> Any:
    tensors = {name: {"w": np.ones((3, 4))} for name in ("params", "grads", "exp_avg", "exp_avg_sq")}
    tensors[part] = {"w": array}
    state = AdamWState(1, tensors["exp_avg"], tensors["exp_avg_sq"])
    options: Any = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}
    numba_optimizer.TABLE[adamw](fused(2), tensors["params"], tensors["grads"], state, **options)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: spoilt_block(segments=2),
        ValueError,
        r"params.attn.mlp_h.weight: got shape \(8, 8\), expected \(12, 12\)",
    ),
    (lambda: spoilt_block(segments=5), ValueError, "segments: got 5, expected a divisor of C = 12"),
    (lambda: spoilt_block(segments=0), ValueError, "segments: got 0, expected a divisor"),
    (lambda: spoilt_block(segments=4.0), ValueError, "segments: got 4.0, expected a divisor"),
    (lambda: spoilt_block(bias=np.ones(2)), ValueError, r"params.norm1.bias: got shape \(2,\), expected \(12,\)"),
    (lambda: spoilt_block(fc2_bias=np.ones(1)), ValueError, r"params.mlp.fc2.bias: got shape \(1,\)"),
    (lambda: spoilt_block(mask=np.ones(2)), ValueError, r"mask: got shape \(2,\), expected \(3,\)"),
    (
        lambda: spoilt_block(bias=np.ma.ones(12)),
        TypeError,
        r"params.norm1.bias: got an array of type numpy.ma.*MaskedArray, expected numpy.ndarray",
    ),
    (lambda: spoilt_cotangent(permutator, np.ones((1, 1, 1, 12))), ValueError, r"cotangent: got shape \(1, 1, 1, 12\)"),
    (lambda: spoilt_cotangent(layer_norm, np.ones((1, 1, 1, 12))), ValueError, r"cotangent: got shape \(1, 1, 1, 12\)"),
    (lambda: spoilt_step("exp_avg", np.ones(2)), ValueError, r"exp_avg of w: got shape \(2,\), expected \(3, 4\)"),
    (lambda: spoilt_step("grads", np.ones((4, 3))), ValueError, r"grads of w: got shape \(4, 3\)"),
    (lambda: spoilt_step("params", np.ones((3, 4)).view(np.matrix)), TypeError, "w: got an array of type numpy.matrix"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_fused_functions_refuse_what_does_not_fit(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    """Called without `run`: the kernels look at no index, so what they are given must be looked at before."""
    with pytest.raises(error, match=message):
        call()


# --- Phi --------------------------------------------------------------------------------------------------------------


@numba.njit(**numba_kernels.OPTIONS)
def normal_of(x: Any, cdf: Any, pdf: Any) -> None:
    for i in range(x.size):
        cdf[i], pdf[i] = normal(x[i])


@pytest.mark.parametrize(("dtype", "units"), [(np.float32, 10 * UNIT), (np.float64, 256 * 2.0**-53)])
def test_normal_is_accurate_in_both_tails(dtype: Any, units: float) -> None:
    x = np.concatenate([np.linspace(-15, 10, 400_001), [0.0, -0.0, 1e-30]]).astype(dtype)
    cdf, pdf = np.empty_like(x), np.empty_like(x)
    normal_of(x, cdf, pdf)
    truth, density = ndtr(x.astype(np.float64)), np.exp(-0.5 * x.astype(np.float64) ** 2) / np.sqrt(2 * np.pi)
    for found, expected in ((cdf, truth), (pdf, density)):
        normal = expected >= np.finfo(dtype).tiny
        assert float((np.abs(found - expected)[normal] / expected[normal]).max()) <= units
        assert float(np.abs(found - expected)[~normal].max(initial=0)) <= 4 * np.finfo(dtype).smallest_subnormal


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_of_special_values(dtype: Any) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 30.0, -45.0], dtype)
    cdf, pdf = np.empty_like(x), np.empty_like(x)
    normal_of(x, cdf, pdf)
    assert np.array_equal(cdf, ndtr(x), equal_nan=True)
    assert not pdf[1:3].any()


def test_nan_and_infinity_go_where_numpy_sends_them() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        args, kwargs = block_inputs(np.float32)
        args[0][1, 0, 1, 2] = bad
        with np.errstate(invalid="ignore", over="ignore"):
            found = results(fused(), permutator, args, kwargs, np.float32)
            truth = results(READABLE, permutator, args, kwargs, np.float32)
        for name in truth:
            assert np.array_equal(np.isfinite(found[name]), np.isfinite(truth[name])), name
        assert np.isfinite(found["value"][[0, 2]]).all()
        assert not np.isfinite(found["value"][1]).all()


# --- products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("products", ["openblas", "onednn", "mkl", "numpy", "auto"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("M", "K", "N"), [(5, 7, 3), (4, 1000, 6), (1, 193, 1), (3, 0, 4), (0, 3, 2), (2, 3, 0)])
def test_products(products: str, dtype: Any, M: int, K: int, N: int) -> None:
    rng = np.random.default_rng(0)
    product = numba_products.PRODUCTS[products]()
    a, b = rng.normal(size=(M, K)).astype(dtype), rng.normal(size=(K, N)).astype(dtype)
    truth = a.astype(np.longdouble) @ b.astype(np.longdouble)
    for left in (a, np.ascontiguousarray(a.T).T):
        for right in (b, np.ascontiguousarray(b.T).T):
            out = np.full((M, N), np.nan, dtype)
            assert product(left, right, out) is out
            np.testing.assert_allclose(out, truth, rtol=0, atol=np.finfo(dtype).eps * (1 + K))


def test_openblas_in_steps_is_more_accurate_than_in_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(64, 4096)).astype(np.float32), rng.normal(size=(4096, 64)).astype(np.float32)
    truth, out = a.astype(np.float64) @ b.astype(np.float64), np.empty((64, 64), np.float32)
    error = []
    for step in (32, 192, None):
        blas.openblas_product(step)(a, b, out)
        error.append(float(np.sqrt(np.mean((out - truth) ** 2))))
    assert error[0] < error[1] <= error[2]


class FakeLibrary:
    """A library whose products fail, and that tells how many threads it had for the last."""

    class Function:
        """What ctypes makes of a function."""

        def __init__(self, body: Callable[[], int]) -> None:
            self.body = body

        def __call__(self, *arguments: Any) -> int:
            return self.body()

    def __init__(self) -> None:
        self.threads, self.seen = 7, 0
        self.layer: int | None = None
        self.dnnl_sgemm = self.cblas_sgemm = self.cblas_dgemm = self.Function(self.fail)

    def fail(self) -> int:
        self.seen = self.threads
        return 3

    def omp_get_max_threads(self) -> int:
        return self.threads

    def omp_set_num_threads(self, threads: int) -> None:
        self.threads = threads

    def MKL_Set_Threading_Layer(self, layer: int) -> None:  # noqa: N802 - MKL's name
        self.layer = layer

    def MKL_Get_Max_Threads(self) -> int:  # noqa: N802 - MKL's name
        return self.threads

    def MKL_Set_Num_Threads_Local(self, threads: int) -> int:  # noqa: N802 - MKL's name
        before, self.threads = self.threads, threads
        return before


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize("products", ["onednn", "mkl"])
def test_a_library_starts_the_threads_of_a_shard(products: str, shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    library, lock = FakeLibrary(), threading.Lock()
    monkeypatch.setattr(numba_products, "library_of", lambda *_, **__: library)
    product = numba_products.PRODUCTS[products]()
    a = np.ones((2, 3), np.float32)

    def multiply(_: int) -> None:
        with lock, contextlib.suppress(RuntimeError):
            product(a, a.T, np.empty((2, 2), np.float32))

    crew = Crew(4)
    monkeypatch.setattr(blas_threads, "openmp", [])
    crew.run(multiply, shards)
    assert library.seen == 4 // shards
    assert library.threads == 7


@pytest.mark.parametrize(("system", "layer"), [("linux", None), ("darwin", 1), ("win32", 1)])
def test_mkl_loads_no_openmp_elsewhere_than_on_linux(
    system: str, layer: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(numba_products, "library_of", lambda *_, **__: library)
    monkeypatch.setattr(numba_products.sys, "platform", system)
    numba_products.mkl_product()
    assert library.layer == layer


def test_a_failure_of_onednn_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_products, "library_of", lambda *_, **__: FakeLibrary())
    a = np.ones((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"dnnl_sgemm failed with status 3 on \(2, 3\) @ \(3, 2\)"):
        numba_products.onednn_product()(a, a.T, np.empty((2, 2), np.float32))


# --- memory -----------------------------------------------------------------------------------------------------------


def test_a_stage_pullback_is_one_shot_and_a_block_pullback_is_not() -> None:
    args, kwargs = draw(CASES["stage"])
    y, pullback = fused().run(stage, *args, **kwargs)
    pullback(y)
    with pytest.raises(RuntimeError, match="called before: it is one-shot"):
        pullback(y)
    args, kwargs = block_inputs()
    y, pullback = fused().run(permutator, *args, **kwargs)
    first, second = dict(tree_arrays(pullback(y))), dict(tree_arrays(pullback(y)))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_pullback_outlives_later_steps() -> None:
    """Nothing that an earlier step keeps or returned is given to a later one."""
    xp, (args, kwargs) = fused(), draw(CASES["stage"], np.float32)
    dy = np.ones_like(args[0])
    y, pullback = xp.run(stage, *args, **kwargs)
    kept = y.copy()
    expected = dict(tree_arrays(xp.run(stage, *args, **kwargs)[1](dy)))
    held = {name: array.copy() for name, array in expected.items()}
    other, _ = draw(CASES["stage"], np.float32, seed=8)
    for _ in range(3):
        xp.run(stage, *other, **kwargs)[1](dy)
    assert np.array_equal(y, kept)
    assert all(np.array_equal(expected[name], held[name]) for name in held)
    late = dict(tree_arrays(pullback(dy)))
    assert all(np.array_equal(late[name], held[name]) for name in held)


@pytest.mark.parametrize("op", [permutator, stage, layer_norm])
def test_arguments_and_cotangents_are_never_written(op: Any) -> None:
    args, kwargs = block_inputs() if op is permutator else draw(CASES[op.__name__])
    before = {name: array.copy() for name, array in tree_arrays(args)}
    y, pullback = fused().run(op, *args, **kwargs)
    kept, dy = y.copy(), np.random.default_rng(0).normal(size=y.shape)
    cotangent = dy.copy()
    pullback(dy)
    assert np.array_equal(y, kept)
    assert np.array_equal(dy, cotangent)
    for name, array in tree_arrays(args):
        assert np.array_equal(array, before[name]), name


def readonly(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array: Any) -> Any:
    return np.repeat(array, 2, axis=-1)[..., ::2]


def unaligned(array: Any) -> Any:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def byteswapped(array: Any) -> Any:
    return array.astype(array.dtype.newbyteorder())


@pytest.mark.parametrize("form", [readonly, strided, unaligned, np.asfortranarray, byteswapped])
@pytest.mark.parametrize("op", [permutator, stage, layer_norm])
def test_any_form_of_array_works(op: Any, form: Callable[[Any], Any]) -> None:
    args, kwargs = block_inputs() if op is permutator else draw(CASES[op.__name__])
    truth = results(READABLE, op, args, kwargs)
    args = tree_map(form, args)
    y, pullback = fused().run(op, *args, **kwargs)
    dy = form(np.random.default_rng(6).normal(size=np.shape(y))).astype(y.dtype, copy=False)
    found = {"value": y} | dict(tree_arrays(tuple(pullback(dy))))
    for name, expected in truth.items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-12 * np.abs(expected).max(), err_msg=name)


def test_a_broadcast_cotangent_works() -> None:
    args, kwargs = block_inputs()
    dy = np.broadcast_to(np.float64(0.5), args[0].shape)
    _, pullback = fused().run(permutator, *args, **kwargs)
    _, expected = READABLE.run(permutator, *args, **kwargs)
    assert_same(dict(tree_arrays(pullback(dy))), dict(tree_arrays(expected(dy.copy()))), 1e-13)


# --- batches and dtypes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [permutator, stage])
def test_an_empty_batch(op: Any) -> None:
    args, kwargs = draw(CASES[op.__name__])
    args = (args[0][:0], args[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        truth = results(READABLE, op, args, kwargs)
        assert_same(results(fused(), op, args, kwargs), truth, 1e-13)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_an_image_gives_the_same_in_any_batch(shards: int) -> None:
    model = VisionPermutator(CONFIG, backend=fused(shards))
    images, _ = batch(7)
    whole = model(images)
    for B in (1, 2, 3, 7):
        np.testing.assert_allclose(model(images[:B]), whole[:B], rtol=0, atol=16 * UNIT * np.abs(whole).max())


def test_other_dtypes_run_the_readable_block() -> None:
    args, kwargs = block_inputs(np.float16)
    xp = fused(1).counting()
    y, _ = xp.run(permutator, *args, **kwargs)
    expected, _ = READABLE.run(permutator, *args, **kwargs)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


def test_mixed_dtypes_are_promoted_as_in_the_readable_layer() -> None:
    args, kwargs = block_inputs()
    args[1]["mlp"]["fc1"]["weight"] = args[1]["mlp"]["fc1"]["weight"].astype(np.float32)
    args = (args[0].astype(np.float32), args[1])
    found, _ = fused(1).run(permutator, *args, **kwargs)
    expected, _ = READABLE.run(permutator, *args, **kwargs)
    assert found.dtype == expected.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


# --- threads ----------------------------------------------------------------------------------------------------------


def test_two_runs_give_the_same_bits() -> None:
    def run() -> dict[str, Any]:
        model = VisionPermutator(CONFIG, backend=fused(3))
        images, labels = batch(5)
        loss, grads = model.loss_and_grads(images, labels)
        return {"loss": loss, **grads}

    first, second = run(), run()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_two_models_at_once() -> None:
    xp = fused(2)
    models = [VisionPermutator(CONFIG, backend=xp, seed=seed) for seed in range(4)]
    images, labels = batch()
    alone = [model.loss_and_grads(images, labels)[1] for model in models]
    together: list[Any] = [None] * len(models)

    def work(i: int) -> None:
        for _ in range(10):
            together[i] = models[i].loss_and_grads(images, labels)[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for expected, found in zip(alone, together, strict=True):
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


def blas_counts() -> list[int]:
    """The threads of every BLAS but MKL: the number of that is each thread's own, and its product sets it."""
    return [
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas" and library["internal_api"] != "mkl"
    ]


def test_the_number_of_blas_threads_is_put_back() -> None:
    blas_threads.find_libraries()
    before = blas_counts()
    inside: list[list[int]] = []
    first, second = object(), object()
    blas_threads.enter(first, 1)
    blas_threads.enter(second, 1)
    blas_threads.leave(first)
    inside.append(blas_counts())
    blas_threads.leave(second)
    assert inside == [[1] * len(before)]
    assert blas_counts() == before
    Crew(2).run(lambda i: inside.append(blas_counts()), 2)
    assert inside[1:] == [[1] * len(before)] * 2
    assert blas_counts() == before


def test_an_error_in_a_shard_is_raised_and_the_crew_works_on() -> None:
    crew, ended = Crew(3), []

    def task(i: int) -> int:
        if i == 1:
            raise ValueError(f"part {i}")
        ended.append(i)
        return i

    before = blas_counts()
    with pytest.raises(ValueError, match="part 1"):
        crew.run(task, 3)
    assert sorted(ended) == [0, 2]
    assert blas_counts() == before
    assert crew.run(lambda i: 10 * i, 3) == [0, 10, 20]


def test_where_no_thread_can_be_started_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    crew, here = Crew(3), threading.get_ident()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert crew.run(lambda i: (i, threading.get_ident()), 3) == [(i, here) for i in range(3)]
    both = threading.Barrier(2, timeout=30)
    assert len(set(crew.run(lambda _: (both.wait(), threading.get_ident())[1], 2))) == 2


def test_the_threads_of_a_crew_end_with_it() -> None:
    crew, before = Crew(3), set(threading.enumerate())
    crew.run(lambda i: i, 3)
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    del crew
    for thread in own:
        thread.join(timeout=30)
        assert not thread.is_alive()


INTERRUPTED = """
import random, signal, threading
from vipnp.backends.numpy.threads import Crew, blas_threads

def raise_interrupt(*_):
    raise KeyboardInterrupt

def task(part):
    here = threading.get_ident()
    running.add(here)
    total = sum(range(50))
    running.discard(here)
    return part, total

signal.signal(signal.SIGALRM, raise_interrupt)
crew, running, interrupts = Crew(3), set(), 0
before = [library.num_threads for library in blas_threads.blas]
expected = crew.run(task, 3)
while interrupts < 3000:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-4))
        while True:
            crew.run(task, 3)
    except KeyboardInterrupt:
        interrupts += 1
    running.discard(threading.get_ident())
    assert not running, f"interrupt {interrupts}: {len(running)} threads work on"
    assert blas_threads.inside == 0, f"interrupt {interrupts}: somebody stays inside of the limit"
    after = [library.num_threads for library in blas_threads.blas]
    assert after == before, f"interrupt {interrupts}: BLAS has {after} threads, not {before}"
    assert crew.run(task, 3) == expected
"""


OFTEN = """
import os, signal, threading, time
from vipnp.backends.numpy.threads import Crew, blas_threads

def task(part):
    if threading.current_thread() is not threading.main_thread():
        begun.set()
        time.sleep(1)
        ended.append(part)
    else:
        begun.wait()
        for _ in range(20):
            time.sleep(0.05)

def press():
    begun.wait()
    for _ in range(5):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell in the background has ignored
crew, begun, ended = Crew(2), threading.Event(), []
before = [library.num_threads for library in blas_threads.blas]
threading.Thread(target=press).start()
try:
    crew.run(task, 2)
except KeyboardInterrupt:
    assert ended == [1], "a part works on"
    assert [library.num_threads for library in blas_threads.blas] == before
else:
    raise AssertionError("the interrupt is lost")
"""


def test_who_presses_often_waits_for_the_parts_all_the_same() -> None:
    """A part that works on in a library while the interpreter ends was a segmentation fault."""
    run = subprocess.run([sys.executable, "-c", OFTEN], stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
def test_an_interrupt_at_any_moment_leaves_the_threads_as_they_were() -> None:
    """Ctrl-C in a notebook, within a step: no part goes on, BLAS has its threads again and the next step ends."""
    limits = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in limits}
    run = subprocess.run([sys.executable, "-c", INTERRUPTED], env=environment, stderr=subprocess.PIPE, timeout=120)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_gets_threads_of_its_own() -> None:
    crew = Crew(2)
    crew.run(lambda i: i, 2)
    child = os.fork()
    if child == 0:
        os._exit(0 if crew.run(lambda i: i, 2) == [0, 1] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_a_lock_is_held_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever held it, or was inside of the limit on BLAS, is not in the child, where BLAS stays with one thread."""
    crew, before = Crew(2), blas_counts()
    monkeypatch.setattr(threads, "LONGEST_WAIT", 0.1)

    def fork() -> None:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            right = crew.run(lambda i: i, 2) == [0, 1] and blas_counts() == [1] * len(before)
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    with blas_threads.lock, making.lock:
        blas_threads.limited(1, fork)
    assert blas_counts() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_for_the_task_of_a_crew() -> None:
    crew, started, forked = Crew(2), threading.Event(), []

    def task(_: int) -> None:
        started.set()
        time.sleep(0.2)
        assert not forked

    worker = threading.Thread(target=crew.run, args=(task, 2))
    worker.start()
    started.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if blas_threads.inside == 0 and crew.run(lambda i: i, 2) == [0, 1] else 1)
    forked.append(child)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    worker.join()


FORKING_PART = """
import os, threading, time
from vipnp.backends.numpy.threads import Crew

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def task(part):
    begun.set()
    time.sleep(0.3)
    if part == 0:
        fork()

crew, begun = Crew(2), threading.Event()
other = threading.Thread(target=lambda: (begun.wait(), fork()))
other.start()
crew.run(task, 2)
other.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_part_may_fork_while_another_fork_waits_for_it() -> None:
    """Each waited for the other, for a minute."""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING_PART], stderr=subprocess.PIPE, timeout=30)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("parts", [1, 2])
def test_no_limit_that_the_user_has_set_is_raised(parts: int) -> None:
    crew, inside = Crew(4), []
    with threadpool_limits(1):
        limited = blas_counts()
        crew.run(lambda _: inside.append(blas_counts()), parts)
        assert blas_counts() == limited
    assert inside == [limited] * parts


def test_no_limit_on_openmp_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew(6)
    monkeypatch.setattr(blas_threads, "openmp", [SimpleNamespace(num_threads=2), SimpleNamespace(num_threads=9)])
    assert crew.run(lambda _: share.threads, 1) == [2]
    assert crew.run(lambda _: share.threads, 6) == [1] * 6


@pytest.mark.parametrize("products", ["onednn", "mkl"])
def test_no_limit_of_a_library_is_raised(products: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    library.threads = 2
    monkeypatch.setattr(numba_products, "library_of", lambda *_, **__: library)
    product, a = numba_products.PRODUCTS[products](), np.ones((2, 3), np.float32)
    monkeypatch.setattr(share, "threads", 4)
    with contextlib.suppress(RuntimeError):
        product(a, a.T, np.empty((2, 2), np.float32))
    assert library.seen == 2
    assert library.threads == 2


FORKED = """
import os, signal, sys, threading, time
import numpy as np
from vipnp.backends.numba.products import PRODUCTS
from vipnp.backends.numpy.threads import Crew

product, crew, a = PRODUCTS[sys.argv[1]](), Crew(2), np.ones((512, 512), np.float32)

def multiplied():
    return crew.run(lambda _: product(a, a, np.empty_like(a)), 1)[0]

def busy():
    while True:
        crew.run(lambda _: multiplied(), 2)

assert (multiplied() == 512).all()
threading.Thread(target=busy, daemon=True).start()
for number in range(12):
    time.sleep(0.003 * (number % 5))
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if (multiplied() == 512).all() else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(f"child {number} ended with {status}", file=sys.stderr, flush=True)
        os._exit(1)
os._exit(0)
"""


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("products", ["openblas", "onednn", "mkl", "numpy"])
def test_products_in_processes_forked_while_another_thread_multiplies(products: str) -> None:
    """Threads of the library that the parent started are not in the child, which must not wait for them."""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, products], stderr=subprocess.PIPE, timeout=60)
    assert run.returncode == 0, run.stderr.decode()


@pytest.mark.parametrize("length", [0, 1, 5, 12])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_bounds_cover_everything_once(length: int, parts: int) -> None:
    slices = bounds(length, parts)
    assert len(slices) == parts
    assert [i for part in slices for i in range(length)[part]] == list(range(length))
    sizes = [len(range(length)[part]) for part in slices]
    assert max(sizes) - min(sizes) <= 1


def test_gradients_are_added_in_the_order_of_the_shards() -> None:
    values = np.float32([1e8, 1.0, -1e8]).reshape(3, 1)
    trees = [{"a": (np.repeat(value, 5),), "b": {"c": np.tile(value, (2, 3))}} for value in values]
    total = sum_trees(Crew(3), trees)
    in_order = (values[0, 0] + values[1, 0]) + values[2, 0]
    assert in_order == 0
    assert np.array_equal(total["a"][0], np.full(5, in_order))
    assert np.array_equal(total["b"]["c"], np.full((2, 3), in_order))


# --- the optimizer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 32 * UNIT)])
@pytest.mark.parametrize("shards", [1, 3])
def test_adamw_is_the_readable_step(shards: int, dtype: Any, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    shapes = {"matrix": (7, 5), "bias": (5,), "one": (1,), "kernel": (2, 3, 2, 2)}
    params = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    xp = fused(shards).counting()
    steps: dict[Any, Any] = {xp: (params, AdamWState(0, {}, {})), READABLE: (params, AdamWState(0, {}, {}))}
    for step in range(5):
        grads = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        for world, (current, state) in steps.items():
            before = {name: array.copy() for name, array in current.items()}
            new, new_state = world.find(adamw)(
                world, current, grads, state, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3
            )
            assert all(np.array_equal(current[name], before[name]) for name in current)
            steps[world] = new, new_state
        assert steps[xp][1].step == step + 1
        for found, expected in zip(
            (steps[xp][0], steps[xp][1].exp_avg, steps[xp][1].exp_avg_sq),
            (steps[READABLE][0], steps[READABLE][1].exp_avg, steps[READABLE][1].exp_avg_sq),
            strict=True,
        ):
            for name in shapes:
                assert found[name].dtype == dtype
                np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)
    assert xp.ran[numba_optimizer.adamw_in_one_pass] == 5


def test_adamw_in_other_dtypes_is_the_readable_step() -> None:
    params = {"p": np.ones(3, np.longdouble)}
    options = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    xp = fused()
    found, _ = xp.find(adamw)(xp, params, params, AdamWState(0, {}, {}), **options)
    expected, _ = adamw(READABLE, params, params, AdamWState(0, {}, {}), **options)
    assert found["p"].dtype == np.longdouble
    assert np.array_equal(found["p"], expected["p"])


# --- what may be missing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["numba", "threadpoolctl"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'backend "numba" needs {package}.*pip install "vipnp\[numba\]"'):
        get_backend("numba")


@pytest.mark.parametrize(("products", "title"), [("onednn", "oneDNN"), ("mkl", "MKL")])
def test_a_missing_library_names_the_extra(products: str, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(ImportError, match=rf'needs {title}.*pip install "vipnp\[{products}\]"'):
        get_backend("numba", products=products)


@pytest.mark.parametrize(("products", "name"), [("onednn", "libdnnl.so"), ("mkl", "libmkl_rt.so.2")])
def test_a_library_that_cannot_be_loaded_names_the_extra(
    products: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLibrary:
        def __init__(self) -> None:
            self.name = name

        def locate(self) -> str:
            return f"/nowhere/{name}"

    monkeypatch.setattr(metadata, "files", lambda _: [NoLibrary()])
    with pytest.raises(ImportError, match=rf'cannot be loaded .*nowhere.*pip install "vipnp\[{products}\]"'):
        get_backend("numba", products=products)
    monkeypatch.setattr(numba_products, "get_host_cpu_name", lambda: "icelake-server")
    with pytest.warns(RuntimeWarning, match=rf"cannot be loaded .*vipnp\[{products}\].*another library multiplies"):
        get_backend("numba")


def test_without_openblas_numpy_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "OPENBLAS_NAMES", ())
    blas.openblas_product.cache_clear()
    with pytest.raises(ImportError, match='use products="numpy"'):
        get_backend("numba", products="openblas")
    for xp in (get_backend("numba"), get_backend("numpy")):
        assert xp.product is blas.numpy_product  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("processor", "installed", "measured", "expected"),
    [
        ("icelake-server", ["onednn", "mkl"], ["mkl", "onednn", "openblas"], ("mkl", "default")),
        ("icelake-server", ["onednn"], ["onednn", "openblas"], ("onednn", "default")),
        ("icelake-server", [], ["openblas"], "default"),
        ("znver4", ["onednn", "mkl"], ["onednn", "openblas", "mkl"], ("onednn", "default")),
        ("znver4", ["mkl"], ["openblas", "mkl"], "default"),
    ],
)
def test_ranked_takes_the_first_that_is_installed(
    processor: str, installed: list[str], measured: list[str], expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that "auto" would measure, in this order."""

    def made(name: str) -> str:
        if name not in installed:
            raise ImportError(name)
        return name

    monkeypatch.setattr(numba_products, "get_host_cpu_name", lambda: processor)
    monkeypatch.setattr(numba_products, "onednn_product", lambda: made("onednn"))
    monkeypatch.setattr(numba_products, "mkl_product", lambda: made("mkl"))
    monkeypatch.setattr(numba_products, "default_product", lambda: "default")
    monkeypatch.setattr(numba_products, "by_share", lambda divided, undivided: (divided, undivided))
    assert list(numba_products.libraries()) == measured
    assert numba_products.PRODUCTS["ranked"]() == expected


def test_auto_leaves_what_is_not_divided_to_openblas() -> None:
    """A single image, also where one thread is all that BLAS may have: the result does not depend on that."""
    asked: set[str] = set()
    product = numba_products.by_share(lambda *_: asked.add("divided"), lambda *_: asked.add("undivided"))  # type: ignore
    one = np.ones((1, 1), np.float32)
    for size, parts, expected in ((2, 1, "undivided"), (2, 2, "divided"), (1, 1, "divided"), (3, 2, "divided")):
        for limit in (None, 1):
            asked.clear()
            with threadpool_limits(limit, user_api="blas"):
                Crew(size).run(lambda _: product(one, one, one), parts)
            assert asked == {expected}, (size, parts, limit)
    product(one, one, one)
    assert asked == {"divided"}


def test_unknown_products_are_refused() -> None:
    with pytest.raises(
        ValueError, match="products: got 'blis', expected one of auto, ranked, openblas, onednn, mkl, numpy"
    ):
        get_backend("numba", products="blis")


def test_shards_default_to_the_cores_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "available_cores", lambda: 5)
    assert get_backend("numba").crew.size == 5  # type: ignore[attr-defined]


NO_CACHE = """
import numpy as np
from vipnp import get_backend, ops
xp = get_backend("numba", shards=1)
x = np.ones((2, 2, 2, 4), np.float32)
y, pullback = xp.run(ops.layer_norm, x, np.ones(4, np.float32), np.full(4, 3, np.float32))
from vipnp.backends.numba import kernels
print(kernels.__file__, float(y.sum()))
"""


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A file stands where every folder would be that Numba could write to."""
    package = Path(vipnp.__file__).parent
    shutil.copytree(package, tmp_path / "vipnp", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "vipnp" / "backends" / "numba" / "kernels" / "__pycache__").write_text("")
    blocked = str(tmp_path / "vipnp" / "__init__.py" / "cache")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"NUMBA_CACHE_DIR": blocked, "HOME": blocked, "XDG_CACHE_HOME": blocked}
    run = subprocess.run(
        [sys.executable, "-c", NO_CACHE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(tmp_path / "vipnp" / "backends" / "numba" / "kernels" / "__init__.py"), "96.0"]
    assert run.stderr.count("set NUMBA_CACHE_DIR to a folder that can be written") == 1


CACHED = """
import numpy as np
from vipnp import get_backend
get_backend("numba", shards=1, products="openblas")
from vipnp.backends.numba.kernels import token_sums
sums = np.empty((1, 4), np.float32)
token_sums(np.ones((1, 2, 3, 4), np.float32), sums)
print(float(sums.sum()))
"""


def run_cached(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CACHED],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def whole_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    assert run_cached(folder).stdout == "24.0\n"
    return folder


@pytest.mark.long
@pytest.mark.parametrize("damage", ["garbage in the index", "empty index", "cut data", "garbage in the data"])
def test_a_damaged_cache_is_told_of_and_written_anew(whole_cache: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(whole_cache, tmp_path, dirs_exist_ok=True)
    files = list(tmp_path.rglob("*.nbi" if "index" in damage else "*.nbc"))
    assert files
    for file in files:
        contents = file.read_bytes()
        file.write_bytes(
            {"empty": b"", "cut": contents[: len(contents) // 2]}.get(damage.split()[0], b"\x80\x05garbage")
        )
    damaged = run_cached(tmp_path)
    assert (damaged.returncode, damaged.stdout) == (0, "24.0\n"), damaged.stderr
    assert "cannot be read" in damaged.stderr
    assert str(tmp_path) in damaged.stderr
    mended = run_cached(tmp_path)
    assert (mended.returncode, mended.stdout, mended.stderr) == (0, "24.0\n", "")


def test_a_cache_that_cannot_be_written_to_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    compiled: Any = numba_kernels.token_sums
    monkeypatch.setattr(compiled._cache.cache, "save_overload", full)
    x, sums = np.ones((1, 2, 3, 4), np.float32), np.empty((1, 4), np.float32)
    with pytest.warns(RuntimeWarning, match=r"Numba's cache in .* cannot be written \(OSError: .*No space left"):
        compiled(x[:, ::-1], sums)
    assert (sums == 6).all()


def test_segments_of_the_named_models_are_compiled_anew_and_all_others_share_one_form() -> None:
    named = [*PUBLISHED.values(), tiny_config(num_classes=2, in_channels=1, image_size=(8, 8))]
    lengths = {c // n for config in named for c, n in zip(config.embed_dims, config.segments, strict=True)}
    assert lengths == set(numba_block.UNROLLED)
    forms = {type(numba_block.segment_of(channels)) for channels in set(range(1, 100)) - lengths}
    assert forms == {np.ndarray}
    assert {numba_block.segment_of(channels) for channels in lengths} == {(0,) * channels for channels in lengths}


def doubled(x: Any) -> Any:
    return x + x


def test_a_kernel_is_taken_from_the_cache_only_with_the_options_it_was_compiled_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiler, "KERNELS", [])
    hits = []
    for options in (compiler.OPTIONS, compiler.OPTIONS, compiler.IN_ORDER):
        compiled: Any = compiler.kernel(doubled, options)
        assert compiled(1.5) == 3
        hits.append(sum(compiled.stats.cache_hits.values()))
    assert hits == [0, 1, 0]


def test_a_kernel_is_compiled_anew_when_a_file_changes_that_it_inlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "KERNELS", [])
    module: Any = SimpleNamespace(__file__=str(tmp_path / "inlined.py"))
    hits = []
    for text in ("ONE = 1", "ONE = 1", "ONE = 2"):
        Path(module.__file__).write_text(text)
        compiled: Any = compiler.kernel_with(module)(doubled)
        assert compiled(1.5) == 3
        hits.append(sum(compiled.stats.cache_hits.values()))
    assert hits == [0, 1, 0]


def test_numba_that_compiles_nothing_is_refused(tmp_path: Path) -> None:
    run = run_cached(tmp_path, NUMBA_DISABLE_JIT="1")
    assert run.stderr.splitlines()[-1] == (
        'RuntimeError: backend "numba": got NUMBA_DISABLE_JIT=1, expected Numba to compile its kernels'
    )


AT_THE_END = """
import atexit
import numpy as np
from vipnp import get_backend, ops
xp, x, w = get_backend("numba", shards=3), np.ones((5, 2, 2, 4), np.float32), np.ones(4, np.float32)
atexit.register(lambda: print(float(xp.run(ops.layer_norm, x, w, 3 * w)[0].sum())))
"""


def test_a_sharded_backend_works_while_the_interpreter_ends() -> None:
    run = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "240.0\n", "")
