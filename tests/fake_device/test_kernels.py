"""Every CUDA kernel, run on the CPU emulator through the code that launches it, against the readable op.

Plain `pytest` runs float32 at the sizes of the shared table. `make kernels` runs all of it: every storage type, odd and
large sizes, three seeds of the emulator's schedule, address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from tests.backends.cupy.comparison import (
    EPS,
    MORE_SIZES,
    NUMPY,
    OPTIMIZER,
    REPLACED_LAYERS,
    REPLACED_OPS,
    all_cases,
    compare_case,
    on_host,
    rounded,
    run,
    stored,
)
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


@pytest.mark.parametrize(("case", "dtype", "sizes"), [pytest.param(*rest, id=name) for name, *rest in all_cases()])
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
def test_gelu_over_the_whole_range_of_the_type(machine: Machine) -> None:
    """To a relative error, also where Phi is nearly nothing."""
    xp, rng, limits = get_backend("cupy"), np.random.default_rng(0), np.finfo(np.float32)
    special = [0, -0.0, limits.smallest_subnormal, limits.tiny, limits.max, -limits.max, np.inf, -np.inf, np.nan]
    drawn = rng.choice([-1, 1], 2000) * 10.0 ** rng.uniform(-37, 37, 2000)
    x = np.concatenate([special, drawn, np.linspace(-12.5, 14, 20000)]).astype(np.float32)
    truth, truth_back = ops.gelu(NUMPY, x.astype(np.float64))
    (slope,) = truth_back(np.ones(x.shape))
    y, back = xp.run(ops.gelu, xp.asarray(x))
    (found_slope,) = back(xp.asarray(np.ones_like(x)))
    reference, reference_back = ops.gelu(NUMPY, x)
    assert same_kind(xp.to_numpy(y), reference)
    assert same_kind(xp.to_numpy(found_slope), *reference_back(np.ones_like(x)))
    np.testing.assert_allclose(xp.to_numpy(y), truth, rtol=1e-6, atol=2e-38)
    parts = np.abs(truth / x) + np.abs(slope - truth / x)
    inside = np.isfinite(x) & (x != 0)
    error = np.abs(xp.to_numpy(found_slope) - slope)
    assert (error[inside] <= 1e-6 * parts[inside] + 2e-38).all()


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
