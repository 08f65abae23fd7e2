"""Every CUDA kernel, run on the CPU emulator through the code that launches it, against the readable op.

Plain `pytest` runs float32 at the sizes of the shared table. `make kernels` runs all of it: every storage type, odd and
large sizes, three seeds of the emulator's schedule, address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.fake_device.machine import Machine
from vipnp import layers, ops
from vipnp.audit.cases import Case, cases_of
from vipnp.backends import get_backend
from vipnp.core.flat import layout
from vipnp.layers import BlockMasks, Mask
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.optim.clip import clip_grad_norm
from vipnp.verify.trees import tree_arrays, tree_map

pytestmark = pytest.mark.kernels

NUMPY = get_backend("numpy")

REPLACED_OPS = (
    ops.cross_entropy,
    ops.drop_path,
    ops.dropout,
    ops.gelu,
    ops.global_average_pool,
    ops.layer_norm,
    ops.linear,
    ops.linear_no_bias,
    ops.patch_embed,
    ops.permute_height,
    ops.permute_width,
    ops.residual,
    ops.soft_cross_entropy,
    ops.split_attention,
)
REPLACED_LAYERS = (layers.downsample, layers.stage)
OPTIMIZER = (adamw, clip_grad_norm)

ROWS = (
    {"B": 1, "H": 1, "C": 33, "K": 5},  # one row
    {"B": 41, "H": 50, "C": 7, "K": 3},  # thousands of rows, more than one round of every block
    {"B": 3, "H": 4, "C": 134, "K": 70},
    {"B": 2, "H": 1, "C": 384, "K": 36},
)
GRIDS = ({"B": 4, "H": 6, "W": 7, "C": 33, "K": 3}, {"B": 1, "H": 9, "W": 13, "C": 66, "K": 2})
SEGMENTS = ({"B": 2, "H": 5, "W": 3, "N": 4, "S": 6}, {"B": 1, "H": 2, "W": 3, "N": 3, "S": 50})
CLASSES = ({"B": 2, "K": 1000}, {"B": 65, "K": 3})
PATCHES = (
    {"B": 1, "C": 3, "H": 4, "W": 5, "P": 7, "Q": 2, "K": 34},
    {"B": 2, "C": 3, "H": 6, "W": 4, "P": 5, "Q": 1, "K": 9},
)
STAGES = (
    {"B": 2, "H": 5, "W": 6, "N": 4, "S": 3},  # one element a load
    {"B": 3, "H": 2, "W": 5, "N": 4, "S": 6},  # two elements a load
    {"B": 1, "H": 5, "W": 4, "N": 8, "S": 36},  # C = 288, more than one chunk of channels a lane
)
MERGES = ({"B": 1, "H": 3, "W": 2, "C": 33, "K": 5, "P": 4},)

MORE_SIZES: Mapping[str, tuple[dict[str, int], ...]] = {
    **dict.fromkeys(("dropout", "gelu", "layer_norm", "linear", "linear_no_bias"), ROWS),
    **dict.fromkeys(("drop_path", "global_average_pool", "residual", "split_attention"), GRIDS),
    **dict.fromkeys(("permute_height", "permute_width"), SEGMENTS),
    **dict.fromkeys(("cross_entropy", "soft_cross_entropy"), CLASSES),
    "patch_embed": PATCHES,
    "stage": STAGES,
    "downsample": MERGES,
}

EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Half the distance from 1 to the next number: the largest relative error of one rounding."""

PARAMETERS = ("weight", "bias", "params")
"""Arguments that stay in the dtype of sums where activations are of two bytes."""


ROUNDINGS = {"op": 2, "layer": 2, "block": 40}
"""How often a two-byte value is rounded on its way: once or twice in an op; in each of the two blocks of a stage about
twenty arrays are stored between inputs and gradients."""


def all_cases() -> Iterator[Any]:
    for op in (*REPLACED_OPS, *REPLACED_LAYERS):
        for case in cases_of(op):
            for dtype in EPS:
                for i, sizes in enumerate((case.sizes, *MORE_SIZES[op.__name__])):
                    if dtype in ("float16", "bfloat16") and case.hard:
                        continue
                    if "K" in sizes and op is ops.split_attention:
                        sizes = {**sizes, "K": case.sizes["K"]}
                    yield pytest.param(case, dtype, sizes, id=f"{case.name}-{dtype}-{i}")


def rounded(array: Any, dtype: str) -> Any:
    """Float64 values that `dtype` holds exactly; integers as they are."""
    if array.dtype.kind != "f":
        return array
    target = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return array.astype(target).astype(np.float64)


def stored(xp: Any, array: Any, dtype: str) -> Any:
    if array.dtype.kind != "f":
        return xp.asarray(array)
    return xp.asarray(array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


def run(xp: Any, case: Case, args: Any, kwargs: Any, dy: Any, *, replaced: bool) -> list[tuple[str, Any]]:
    """y and every gradient, as float64 host arrays by name."""
    y, pullback = xp.run(case.op, *args, **kwargs) if replaced else case.op(xp, *args, **kwargs)
    gradients = tuple(pullback(xp.astype(dy, y.dtype)))
    return [("y", y), *tree_arrays(gradients)]


def on_host(xp: Any, named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, np.asarray(xp.to_numpy(array), np.float64)) for name, array in named]


def compare_case(xp: Any, case: Case, dtype: str, sizes: Mapping[str, int], *, replaced: bool) -> None:
    """Within the error of the readable op in that dtype; within roundings of what is stored for two-byte types."""
    args, kwargs = tree_map(lambda array: rounded(array, dtype), case.inputs(seed=7, sizes=sizes))
    dy = rounded(np.random.default_rng(3).normal(size=np.shape(case.op(NUMPY, *args, **kwargs)[0])), dtype)
    truth = run(NUMPY, case, args, kwargs, dy, replaced=False)

    wide = "float64" if dtype == "float64" else "float32"
    device_args = tuple(
        tree_map(lambda array, to=wide if name in PARAMETERS else dtype: stored(xp, array, to), arg)
        for name, arg in zip(case.arguments, args, strict=True)
    )
    device_kwargs = tree_map(lambda array: stored(xp, array, wide), kwargs)
    loss = case.op in (ops.cross_entropy, ops.soft_cross_entropy)
    waits = xp.host_waits
    got = run(xp, case, device_args, device_kwargs, stored(xp, dy, wide if loss else dtype), replaced=replaced)
    assert xp.host_waits == waits
    got = on_host(xp, got)

    cast = lambda array: array.astype(wide) if array.dtype.kind == "f" else array  # noqa: E731
    plain = run(NUMPY, case, tree_map(cast, args), tree_map(cast, kwargs), dy.astype(wide), replaced=False)
    for (name, expected), (_, value), (_, reference) in zip(truth, got, plain, strict=True):
        assert np.isfinite(value).all(), name
        scale = max(np.abs(expected).max(), 1e-3)
        if dtype == "float64":
            allowed = (1e-11 if case.hard else 1e-13) * scale
        else:
            allowed = 3 * np.abs(np.asarray(reference, np.float64) - expected).max() + 8 * EPS["float32"] * scale
        if dtype in ("float16", "bfloat16"):
            allowed += EPS[dtype] * scale * ROUNDINGS[case.kind]
        error = np.abs(value - expected).max()
        assert error <= allowed, f"{name}: error {error:.2e}, allowed {allowed:.2e}"


@pytest.mark.parametrize(("case", "dtype", "sizes"), list(all_cases()))
def test_replacement_against_the_readable_op(
    machine: Machine, case: Case, dtype: str, sizes: Mapping[str, int]
) -> None:
    machine.forget()
    xp = get_backend("cupy").counting()
    compare_case(xp, case, dtype, sizes, replaced=True)
    assert xp.ran[xp.replacements[case.op]] == 1
    falls_back = case.op is layers.stage and "masks" in case.name
    assert (case.op in xp.ran) == falls_back
    assert machine.waits.count("a copy to the host") == xp.host_waits


@pytest.mark.parametrize("op", MORE_SIZES)
def test_no_two_letters_have_one_size(op: str) -> None:
    """Otherwise a kernel that takes one for the other passes; half of the sets at least are so."""
    apart = [len(set(sizes.values())) == len(sizes) for sizes in MORE_SIZES[op]]
    assert sum(apart) >= len(apart) / 2


def test_every_entry_of_the_table_is_tested(machine: Machine) -> None:
    table = get_backend("cupy").replacements
    assert set(table) == {*REPLACED_OPS, *REPLACED_LAYERS, *OPTIMIZER}


@pytest.mark.parametrize("skip_lam", [1.0, 2.0])
@pytest.mark.parametrize("depth", [1, 3])
def test_stage_with_drop_path_alone(machine: Machine, depth: int, skip_lam: float) -> None:
    """What the shared table has together with dropout, where the readable stage runs, alone: residual, mask and norm in
    one kernel across the edges of blocks."""
    xp = get_backend("cupy").counting()
    case = next(case for case in cases_of(layers.stage) if "masks" not in case.name)
    (x, params), kwargs = case.inputs(seed=5)
    params = {str(i): params[str(i % len(params))] for i in range(depth)}
    rng = np.random.default_rng(2)
    draws = (rng.random((len(x), 2, depth)) < 0.6).astype(np.float64)
    draws[0], draws[1] = 1, 0
    rates = 0.1 + 0.1 * np.arange(depth)

    def masks(array: Any) -> list[BlockMasks]:
        return [BlockMasks(*(Mask(array[:, branch, i], float(rates[i])) for branch in range(2))) for i in range(depth)]

    kwargs |= {"skip_lam": skip_lam}
    dy = rng.normal(size=x.shape)
    y, pullback = layers.stage(NUMPY, x, params, **kwargs | {"masks": masks(draws)})
    device = tree_map(lambda array: stored(xp, array, "float64"), (x, params))
    machine.forget()
    got, got_back = xp.run(layers.stage, *device, **kwargs | {"masks": masks(xp.asarray(draws))})
    assert layers.stage not in xp.ran
    gradients = got_back(xp.asarray(dy))
    assert any("norm_backward" in launch for launch in machine.launches)
    assert layers.permutator not in xp.ran
    np.testing.assert_allclose(xp.to_numpy(got), y, rtol=0, atol=1e-13 * np.abs(y).max())
    for (name, value), (_, expected) in zip(tree_arrays(gradients), tree_arrays(pullback(dy)), strict=True):
        np.testing.assert_allclose(
            xp.to_numpy(value), expected, rtol=0, atol=1e-13 * max(np.abs(expected).max(), 1e-3), err_msg=name
        )
    with pytest.raises(RuntimeError, match="one-shot"):
        got_back(xp.asarray(dy))


def test_same_bits_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel's result depends on the order in which blocks, warps and lanes run."""
    case = next(case for case in cases_of(layers.stage) if "masks" not in case.name)
    args, kwargs = case.inputs(seed=5)
    dy = np.random.default_rng(1).normal(size=np.shape(args[0]))
    results = []
    for seed in ("1", "2", "3"):
        monkeypatch.setenv("VIPNP_EMULATOR_SEED", seed)
        xp = get_backend("cupy")
        device = tree_map(lambda array, xp=xp: stored(xp, array, "float32"), args)
        results.append(on_host(xp, run(xp, case, device, kwargs, stored(xp, dy, "float32"), replaced=True)))
    for other in results[1:]:
        for (name, first), (_, second) in zip(results[0], other, strict=True):
            assert first.tobytes() == second.tobytes(), name


def test_a_class_of_weight_zero_adds_nothing_however_small_its_logit(machine: Machine) -> None:
    xp = get_backend("cupy")
    logits = np.array([[1.0, -np.inf, 2.0, -np.inf], [0.5, -1.5, 0.25, -0.75]], np.float32)
    targets = np.array([[0.75, 0, 0.25, 0], [0.25, 0.5, 0, 0.25]], np.float32)
    for op, constants in (
        (ops.cross_entropy, {"labels": np.array([2, 1])}),
        (ops.soft_cross_entropy, {"targets": targets}),
    ):
        truth, truth_back = op(NUMPY, logits, **constants)
        assert np.isfinite(truth)
        loss, back = xp.run(op, xp.asarray(logits), **{key: xp.asarray(value) for key, value in constants.items()})
        np.testing.assert_allclose(xp.to_numpy(loss), truth, rtol=1e-6)
        (found,), (expected,) = back(xp.ones_like(loss)), truth_back(np.float32(1))
        np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=0, atol=1e-7)


def same_kind(found: Any, truth: Any) -> bool:
    return all(np.array_equal(test(found), test(truth)) for test in (np.isnan, np.isposinf, np.isneginf))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("exponent", [-45, -40, -30, -7, 7, 18, 19, 20, 30, 36])
def test_layer_norm_over_the_whole_range_of_the_type(machine: Machine, exponent: int) -> None:
    xp, rng = get_backend("cupy"), np.random.default_rng(0)
    x = (rng.normal(size=(3, 2, 5, 7)) * 10.0**exponent).astype(np.float32)
    weight, bias, dy = (rng.normal(size=shape).astype(np.float32) for shape in (7, 7, x.shape))
    truth, truth_back = ops.layer_norm(NUMPY, x, weight, bias)
    y, back = xp.run(ops.layer_norm, *map(xp.asarray, (x, weight, bias)))
    found = [y, *back(xp.asarray(dy))]
    for array, expected in zip(found, [truth, *truth_back(dy)], strict=True):
        host = xp.to_numpy(array)
        assert same_kind(host, expected)
        np.testing.assert_allclose(host, expected, rtol=0, atol=32 * EPS["float32"] * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_adamw_over_the_whole_range_of_the_type(machine: Machine) -> None:
    xp, rng, limits = get_backend("cupy"), np.random.default_rng(2), np.finfo(np.float32)
    special = [0, -0.0, limits.smallest_subnormal, limits.tiny, 1e-19, 1e19, 3e19, 1e25, limits.max, np.inf, np.nan]

    def draw() -> Any:
        drawn = rng.choice([-1, 1], 500) * 10.0 ** rng.uniform(-37, 37, 500)
        return {"w": np.where(rng.random(500) < 0.5, rng.choice(special, 500), drawn).astype(np.float32)}

    options: Any = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    params, state, device_state = draw(), AdamWState(0, {}, {}), AdamWState(0, {}, {})
    device = {"w": xp.asarray(params["w"])}
    for _ in range(3):
        grads = draw()
        params, state = adamw(NUMPY, params, grads, state, **options)
        device, device_state = xp.find(adamw)(xp, device, {"w": xp.asarray(grads["w"])}, device_state, **options)
        pairs = ((device, params), (device_state.exp_avg, state.exp_avg), (device_state.exp_avg_sq, state.exp_avg_sq))
        for found, truth in pairs:
            host, expected = xp.to_numpy(found["w"]), truth["w"]
            assert same_kind(host, expected)
            np.testing.assert_allclose(host, expected, rtol=1e-6, atol=1e-8)


SHAPES = {"a.weight": (7, 5), "a.bias": (7,), "b.weight": (300, 11), "b.bias": (1,)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [None, 0.5, 1e4])
def test_optimizer_against_the_readable_functions(machine: Machine, dtype: str, max_norm: float | None) -> None:
    """Five steps of AdamW, gradients clipped, not clipped because small, and not asked to be."""
    xp = get_backend("cupy").counting()
    rng = np.random.default_rng(4)
    params = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    device = {name: stored(xp, value, dtype) for name, value in params.items()}
    state, device_state = AdamWState(0, {}, {}), AdamWState(0, {}, {})
    options: dict[str, Any] = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}
    tolerance = 40 * EPS[dtype]
    for step in range(5):
        grads = {name: rounded(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}
        device_grads = {name: stored(xp, value, dtype) for name, value in grads.items()}
        if max_norm is not None:
            grads, norm = clip_grad_norm(NUMPY, grads, max_norm=max_norm)
            device_grads, device_norm = xp.find(clip_grad_norm)(xp, device_grads, max_norm=max_norm)
            assert float(xp.to_numpy(device_norm)) == pytest.approx(float(norm), rel=tolerance)
        params, state = adamw(NUMPY, params, grads, state, lr=0.01 + 0.01 * step, **options)
        before = {name: xp.to_numpy(value).copy() for name, value in device.items()}
        held = dict(device)
        device, device_state = xp.find(adamw)(xp, device, device_grads, device_state, lr=0.01 + 0.01 * step, **options)
        assert list(device) == list(params)
        for name, value in held.items():
            np.testing.assert_array_equal(xp.to_numpy(value), before[name])
        for mine, theirs in (
            (params, device),
            (state.exp_avg, device_state.exp_avg),
            (state.exp_avg_sq, device_state.exp_avg_sq),
        ):
            for name, expected in mine.items():
                np.testing.assert_allclose(xp.to_numpy(theirs[name]), expected, rtol=tolerance, atol=tolerance * 0.1)
    assert device_state.step == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_are_joined_in_their_order(machine: Machine, dtype: str) -> None:
    """More of them than go with one launch, some of them not contiguous; what lies together is not copied."""
    optimizer = import_module("vipnp.backends.cupy.optimizer")
    xp, rng = get_backend("cupy"), np.random.default_rng(6)
    host = [rng.normal(size=rng.integers(1, 8, 2)).astype(dtype) for _ in range(2 * optimizer.PARTS + 3)]
    arrays = [xp.asarray(array) for array in host]
    arrays[1], arrays[optimizer.PARTS] = (xp.asarray(np.ascontiguousarray(host[i].T)).T for i in (1, optimizer.PARTS))
    machine.forget()
    flat = optimizer.flattened_arrays(arrays)
    assert machine.own_launches == [f"join<{'float' if dtype == 'float32' else 'double'}>"] * 3
    assert machine.uploads == 0
    np.testing.assert_array_equal(xp.to_numpy(flat), np.concatenate([array.reshape(-1) for array in host]))
    parts = optimizer.named_parts(flat, range(len(host)), layout(dict(enumerate(host))))
    for i, array in enumerate(host):
        np.testing.assert_array_equal(xp.to_numpy(parts[i]), array)
    machine.forget()
    assert optimizer.flattened_arrays(list(parts.values())).data.ptr == flat.data.ptr
    assert optimizer.flattened_arrays(list(parts.values())[2:5]).data.ptr == parts[2].data.ptr
    assert machine.launches == []
    optimizer.flattened_arrays([parts[1], parts[0]])
    assert len(machine.launches) == 1


def test_optimizer_leaves_what_it_cannot_take_to_the_readable_functions(machine: Machine) -> None:
    xp = get_backend("cupy")
    params = {"a": xp.asarray(np.ones((2, 3), np.float32)), "b": xp.asarray(np.ones(3, np.float64))}
    machine.forget()
    _, norm = xp.find(clip_grad_norm)(xp, params, max_norm=1.0)
    assert not machine.own_launches
    assert float(xp.to_numpy(norm)) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="no gradient at all"):
        xp.find(clip_grad_norm)(xp, {}, max_norm=1.0)
    with pytest.raises(ValueError, match="max_norm"):
        xp.find(clip_grad_norm)(xp, params, max_norm=-1.0)


def test_clipping_refuses_gradients_of_another_backend(machine: Machine) -> None:
    xp = get_backend("cupy")
    grads = {"a": xp.asarray(np.ones((2, 3), np.float32)), "b": np.ones(3, np.float32)}
    with pytest.raises(TypeError, match=r"grads: b is of type numpy\.ndarray, expected an array of backend 'cupy'"):
        xp.find(clip_grad_norm)(xp, grads, max_norm=1.0)
