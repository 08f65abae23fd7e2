"""Mistakes planted in the CUDA kernels: each must be caught on the CPU emulator.

A plant is one change of text in one kernel. The check of that kernel passes on the kernel as it is and must fail on the
changed one: a wrong number, NaN from memory nobody wrote, a race or a barrier the emulator reports, a write beside an
array, or a crash. Every check runs in a process of its own.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.fake_device.machine import MACHINE, Machine
from vipnp import layers, ops
from vipnp.audit.cases import cases_of
from vipnp.backends import get_backend
from vipnp.core import Backend
from vipnp.layers import BlockMasks, Mask
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.optim.clip import clip_grad_norm
from vipnp.verify.trees import tree_arrays, tree_map

pytestmark = [pytest.mark.kernels, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

TIMEOUT = 120
TOLERANCE = 2e-5


class Plant(NamedTuple):
    """In `kernel`, the first `old` becomes `new`. `helper` is the function of the source that is changed, if it is not
    the kernel itself."""

    kernel: str
    kind: str
    old: str
    new: str
    helper: str = ""

    @property
    def name(self) -> str:
        return f"{self.kernel}-{self.kind.replace(' ', '_')}"


BARRIER, OFF_BY_ONE, SHUFFLE, UNWRITTEN, STRIDE, WRONG = (
    "missing barrier",
    "off by one",
    "wrong shuffle",
    "unwritten output",
    "wrong stride",
    "wrong arithmetic",
)

LANES = "for (int lane = 0; lane < ROW_LANES; ++lane)"

PLANTS = (
    Plant("norm_forward", OFF_BY_ONE, "if (row >= M) return;", "if (row >= M - 1) return;"),
    Plant("norm_forward", SHUFFLE, "distance = 16", "distance = 8", helper="warp_sum"),
    Plant("norm_forward", UNWRITTEN, "rstd_out[row] = rstd;", ""),
    Plant("norm_forward", STRIDE, "next_s(32 * VEC % S)", "next_s(32 % S)", helper="Walk"),
    Plant("norm_forward", WRONG, "const A scale = branch ?", "const A scale = !branch ?"),
    Plant(
        "norm_forward", "wrong sample", "branch_scale(mask, mask_stride, factor, b)", "branch_scale(mask, 1, factor, b)"
    ),
    Plant(
        "norm_backward",
        BARRIER,
        "v] = sums[k][v];\n    __syncthreads();",
        "v] = sums[k][v];\n",
        helper="write_column_sums",
    ),
    Plant("norm_backward", "missing first barrier", "    __syncthreads();\n", "", helper="write_column_sums"),
    Plant("norm_backward", OFF_BY_ONE, "row < M;", "row < M - 1;"),
    Plant("norm_backward", SHUFFLE, "distance > 0", "distance > 1", helper="warp_sum"),
    Plant("norm_backward", UNWRITTEN, "if (sums == 3) write_column_sums", "if (sums == 4) write_column_sums"),
    Plant("norm_backward", STRIDE, "row += gridDim.x * WARPS", "row += (gridDim.x + 1) * WARPS"),
    Plant("norm_backward", "wrong layout", "dy_width + from.width()", "dy_width + from.height()"),
    Plant("gelu_forward", OFF_BY_ONE, "row < M;", "row < M - 1;"),
    Plant("gelu_forward", STRIDE, "row += gridDim.y * ROW_LANES", "row += gridDim.y * (ROW_LANES + 1)"),
    Plant("gelu_forward", "wrong lane", "bias[k + v]", "bias[k]"),
    Plant("gelu_forward", UNWRITTEN, "store<T, VEC>(y + i, u);", "if (threadIdx.x != 3) store<T, VEC>(y + i, u);"),
    Plant("gelu_backward", BARRIER, "__syncthreads();", ""),
    Plant("gelu_backward", OFF_BY_ONE, LANES, "for (int lane = 0; lane < ROW_LANES - 1; ++lane)"),
    Plant(
        "gelu_backward",
        STRIDE,
        "(threadIdx.y * 32 + threadIdx.x) * VEC + v",
        "(threadIdx.y * 31 + threadIdx.x) * VEC + v",
    ),
    Plant("gelu_backward", WRONG, "A(-0.5) * u[v] * u[v]", "A(0.5) * u[v] * u[v]"),
    Plant("residual_forward", OFF_BY_ONE, "if (k >= K) return;", "if (k >= K - VEC) return;"),
    Plant("residual_forward", STRIDE, "row / tokens", "row % tokens"),
    Plant("residual_forward", UNWRITTEN, "if (x) load<T, VEC>(x + i, out);", ""),
    Plant("residual_backward", BARRIER, "__syncthreads();", ""),
    Plant("residual_backward", OFF_BY_ONE, "row < M;", "row <= M;"),
    Plant(
        "residual_backward", STRIDE, "static_cast<long long>(blockIdx.y) * K", "static_cast<long long>(blockIdx.x) * K"
    ),
    Plant("residual_backward", UNWRITTEN, "if (dbranch) store", "if (!dbranch) store"),
    Plant("dropout", OFF_BY_ONE, "if (i >= packs) return;", "if (i > packs) return;"),
    Plant("dropout", STRIDE, "mask[i * VEC + v]", "mask[i + v]"),
    Plant("dropout", UNWRITTEN, "store<T, VEC>(y", "if (i) store<T, VEC>(y"),
    Plant("column_sum", BARRIER, "__syncthreads();", ""),
    Plant("column_sum", OFF_BY_ONE, "row < P;", "row < P - 1;"),
    Plant("column_sum", STRIDE, "row += ROW_LANES", "row += ROW_LANES + 1"),
    Plant("column_sum", UNWRITTEN, "threadIdx.y == 0 && k < K", "threadIdx.y == 0 && k + 1 < K"),
    Plant("exchange", OFF_BY_ONE, "e < I * S;", "e < I * S - VEC;"),
    Plant("exchange", STRIDE, "* I + i) * M + m) * J + j", "* I + i) * M + m) * I + j"),
    Plant(
        "exchange",
        "wrong index",
        "m = blockIdx.x % M, j = blockIdx.x / M % J",
        "j = blockIdx.x % J, m = blockIdx.x / J % M",
    ),
    Plant("convert", OFF_BY_ONE, "if (i >= packs) return;", "if (i >= packs - 1) return;"),
    Plant("convert", STRIDE, "y + i * VEC", "y + i"),
    Plant("convert", UNWRITTEN, "store<To, VEC>(y", "if (threadIdx.x != 1) store<To, VEC>(y"),
    Plant(
        "pool_forward",
        BARRIER,
        "y * 32 + threadIdx.x] = value;\n    __syncthreads();",
        "y * 32 + threadIdx.x] = value;\n",
        helper="lane_sum",
    ),
    Plant("pool_forward", OFF_BY_ONE, "token < H * W;", "token < H * W - 1;"),
    Plant("pool_forward", STRIDE, "token += ROW_LANES", "token += ROW_LANES + 1"),
    Plant("pool_forward", "wrong layout", "x_1[place(layout_1", "x_1[place(layout_0"),
    Plant("pool_backward", OFF_BY_ONE, "if (c >= C) return;", "if (c > C) return;"),
    Plant("pool_backward", STRIDE, "blockIdx.z * ROW_LANES", "blockIdx.z"),
    Plant("pool_backward", WRONG, "/ (H * W)", "/ H"),
    Plant("split_attention_forward", OFF_BY_ONE, "token < H * W;", "token < H * W - 1;"),
    Plant("split_attention_forward", STRIDE, "token += gridDim.z * ROW_LANES", "token += (gridDim.z + 1) * ROW_LANES"),
    Plant("split_attention_forward", "wrong layout", "layout_1, b, h, w", "layout_1, b, w, h"),
    Plant(
        "split_attention_backward_logits",
        BARRIER,
        "    __syncthreads();\n    scratch",
        "    scratch",
        helper="lane_sum",
    ),
    Plant("split_attention_backward_logits", OFF_BY_ONE, "token < H * W;", "token + 1 < H * W;"),
    Plant("split_attention_backward_logits", WRONG, "a[j] * (da[j] - mean)", "a[j] * da[j] - mean"),
    Plant("split_attention_backward_logits", STRIDE, "(threadIdx.y != 0 || c >= C)", "(threadIdx.y != 0 || c >= 32)"),
    Plant("split_attention_backward_branches", OFF_BY_ONE, "token < H * W;", "token <= H * W;"),
    Plant("split_attention_backward_branches", UNWRITTEN, "dx_1[", "if (w) dx_1["),
    Plant("split_attention_backward_branches", STRIDE, "dx_2[place(layout_2", "dx_2[place(layout_0"),
    Plant("cross_entropy_forward", BARRIER, "    __syncthreads();\n    if", "    if", helper="block_reduce"),
    Plant(
        "cross_entropy_forward",
        "missing second barrier",
        "value;\n    __syncthreads();",
        "value;\n",
        helper="block_reduce",
    ),
    Plant("cross_entropy_forward", OFF_BY_ONE, "warp < THREADS / 32", "warp < THREADS / 32 - 1", helper="block_reduce"),
    Plant("cross_entropy_forward", SHUFFLE, "distance = 16", "distance = 4", helper="warp_max"),
    Plant("cross_entropy_forward", STRIDE, "k += THREADS) {", "k += THREADS + 1) {"),
    Plant("cross_entropy_backward", OFF_BY_ONE, "k < K;", "k < K - 1;"),
    Plant("cross_entropy_backward", STRIDE, "saved[b * 3 + 1]", "saved[b + 1]"),
    Plant("cross_entropy_backward", "wrong label", "k == labels[b]", "k == labels[0]", helper="target_of"),
    Plant("join", OFF_BY_ONE, "i >= parts.start[count]", "i > parts.start[count]"),
    Plant("join", WRONG, "parts.start[part + step] <= i", "parts.start[part + step] < i"),
    Plant("join", STRIDE, "blockIdx.x) * THREADS", "blockIdx.x) * (THREADS + 1)"),
    Plant("join", UNWRITTEN, "flat[i] =", "if (i) flat[i] ="),
    Plant("sum_of_squares", BARRIER, "__syncthreads();", ""),
    Plant("sum_of_squares", OFF_BY_ONE, "i < size;", "i < size - 1;"),
    Plant("sum_of_squares", SHUFFLE, "distance /= 2", "distance /= 4", helper="warp_sum"),
    Plant("sum_of_squares", STRIDE, "gridDim.x) * THREADS", "gridDim.x) * (THREADS + 1)"),
    Plant("clip_gradient", OFF_BY_ONE, "if (i >= size) return;", "if (i > size) return;"),
    Plant("clip_gradient", UNWRITTEN, "if (i == 0) *norm_out = norm;", ""),
    Plant("clip_gradient", WRONG, "max_norm / (norm + eps)", "max_norm / (*squares + eps)"),
    Plant("adamw_update", OFF_BY_ONE, "i < decayed", "i <= decayed"),
    Plant("adamw_update", UNWRITTEN, "new_v[i] = square;", ""),
    Plant("adamw_update", STRIDE, "blockIdx.x) * THREADS", "blockIdx.x) * (THREADS + 1)"),
)


# --- checks ---------------------------------------------------------------------------------------------------------


def close(xp: Backend, got: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    for (name, value), (_, truth) in zip(tree_arrays(got), tree_arrays(expected), strict=True):
        host = np.asarray(xp.to_numpy(value), np.float64)
        np.testing.assert_allclose(host, truth, rtol=0, atol=tolerance * max(np.abs(truth).max(), 1e-3), err_msg=name)


def compare(xp: Backend, op: Any, args: Any, kwargs: Any = {}, tolerance: float = TOLERANCE) -> None:  # noqa: B006
    numpy = get_backend("numpy")
    y, pullback = op(numpy, *args, **kwargs)
    dy = np.random.default_rng(1).normal(size=np.shape(y))
    put = lambda array: xp.asarray(array.astype(np.float32) if array.dtype.kind == "f" else array)  # noqa: E731
    got, got_back = xp.run(op, *tree_map(put, args), **tree_map(put, kwargs))
    close(xp, (got,), (y,), tolerance)
    close(xp, got_back(put(np.asarray(dy))), pullback(dy), tolerance)


def check_stage(xp: Backend) -> None:
    case = next(case for case in cases_of(layers.stage) if "masks" not in case.name)
    args, kwargs = case.inputs(seed=5, sizes={"B": 3, "H": 5, "W": 3, "N": 16, "S": 6})
    draws = (np.random.default_rng(6).random((3, 2, 2)) < 0.6).astype(float)
    masks = [BlockMasks(*(Mask(draws[:, branch, i], 0.25) for branch in range(2))) for i in range(2)]
    on_device = xp.asarray(draws.astype(np.float32))
    device_masks = [BlockMasks(*(Mask(on_device[:, branch, i], 0.25) for branch in range(2))) for i in range(2)]
    numpy = get_backend("numpy")
    y, pullback = layers.stage(numpy, *args, **kwargs, masks=masks)
    dy = np.random.default_rng(1).normal(size=y.shape)
    put = lambda array: xp.asarray(array.astype(np.float32))  # noqa: E731
    got, got_back = xp.run(layers.stage, *tree_map(put, args), **kwargs, masks=device_masks)
    close(xp, (got,), (y,))
    close(xp, got_back(put(dy)), pullback(dy))


def check_layer_norm(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.layer_norm, (rng.normal(size=(2100, 37)), rng.normal(size=37), rng.normal(size=37)))


def check_gelu(xp: Backend) -> None:
    compare(xp, ops.gelu, (np.random.default_rng(2).normal(size=(4200, 6)),))


def check_linear(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.linear, (rng.normal(size=(130, 7)), rng.normal(size=(70, 7)), rng.normal(size=70)))


def check_drop_path(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.drop_path, (rng.normal(size=(4, 2, 3, 5)),), {"mask": np.array([1.0, 0, 1, 1]), "rate": 0.3})


def check_residual(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.residual, (rng.normal(size=(33, 6)), rng.normal(size=(33, 6)), 2.0))


def check_dropout(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    mask = (rng.random((7, 4)) < 0.7).astype(float)
    compare(xp, ops.dropout, (rng.normal(size=(7, 4)),), {"mask": mask, "rate": 0.3})


def check_permutations(xp: Backend) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, 5, 8))
    compare(xp, ops.permute_height, (x, 4))
    compare(xp, ops.permute_width, (x, 2))


def check_bfloat16_product(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    args = rng.normal(size=(10, 34)), rng.normal(size=(6, 34))
    compare(get_backend("cupy", precision="bfloat16"), ops.linear_no_bias, args, tolerance=0.05)


def check_pool(xp: Backend) -> None:
    compare(xp, ops.global_average_pool, (np.random.default_rng(2).normal(size=(2, 9, 10, 33)),))


def check_split_attention(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    branches = [rng.normal(size=(2, 9, 10, 40)) for _ in range(3)]
    compare(xp, ops.split_attention, (rng.normal(size=(2, 40, 3)), *branches))


def check_cross_entropy(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 300)) * 4
    logits[:, 284] = 200  # exp overflows unless this one is found to be the largest
    compare(xp, ops.cross_entropy, (logits,), {"labels": np.array([5, 299, 284]), "label_smoothing": 0.1})


def check_optimizer(xp: Backend) -> None:
    numpy = get_backend("numpy")
    rng = np.random.default_rng(2)
    shapes = {"weight": (40, 30), "bias": (33,)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    device = {name: xp.asarray(value.astype(np.float32)) for name, value in params.items()}
    state = device_state = AdamWState(0, {}, {})
    for _ in range(2):
        grads = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        device_grads = {name: xp.asarray(value.astype(np.float32)) for name, value in grads.items()}
        grads, norm = clip_grad_norm(numpy, grads, max_norm=3.0)
        device_grads, device_norm = xp.find(clip_grad_norm)(xp, device_grads, max_norm=3.0)
        close(xp, (device_norm, device_grads), (norm, grads))
        options: dict[str, Any] = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.5}
        params, state = adamw(numpy, params, grads, state, **options)
        device, device_state = xp.find(adamw)(xp, device, device_grads, device_state, **options)
        close(xp, (device, *device_state[1:]), (params, *state[1:]))


CHECKS: dict[str, tuple[Callable[[Backend], None], ...]] = {
    "norm_forward": (check_stage, check_layer_norm),
    "norm_backward": (check_stage, check_layer_norm),
    "gelu_forward": (check_stage, check_gelu),
    "gelu_backward": (check_stage, check_gelu),
    "residual_forward": (check_stage, check_residual, check_linear),
    "residual_backward": (check_stage, check_drop_path, check_linear),
    "dropout": (check_dropout,),
    "column_sum": (check_linear,),
    "exchange": (check_permutations,),
    "convert": (check_bfloat16_product,),
    "pool_forward": (check_stage, check_pool),
    "pool_backward": (check_pool,),
    "split_attention_forward": (check_stage, check_split_attention),
    "split_attention_backward_logits": (check_stage, check_split_attention),
    "split_attention_backward_branches": (check_stage, check_split_attention),
    "cross_entropy_forward": (check_cross_entropy,),
    "cross_entropy_backward": (check_cross_entropy,),
    "join": (check_optimizer,),
    "sum_of_squares": (check_optimizer,),
    "clip_gradient": (check_optimizer,),
    "adamw_update": (check_optimizer,),
}


# --- planting -------------------------------------------------------------------------------------------------------


def kernels() -> Any:
    return import_module("vipnp.backends.cupy.kernels")


@cache
def launched(kernel: str) -> tuple[str, ...]:
    """The instantiations that the checks of `kernel` use; the checks pass on the sources as they are."""
    xp = get_backend("cupy")
    MACHINE.forget()
    for check in CHECKS[kernel]:
        check(xp)
    return tuple(sorted(set(MACHINE.own_launches)))


def body(text: str, function: str) -> tuple[int, int]:
    """Where a function or struct of the source begins and ends."""
    start = re.search(rf"^(?:struct {function} |.*\b{function}\()", text, re.MULTILINE)
    assert start is not None, f"no {function}"
    end = re.search(r"^\};?$", text[start.start() :], re.MULTILINE)
    assert end is not None
    return start.start(), start.start() + end.end()


def planted(plant: Plant) -> str:
    """The text of the kernel's source file with the mistake in it."""
    text = kernels().source(kernels().KERNELS[plant.kernel].file)
    start, end = body(text, plant.helper or plant.kernel)
    function = text[start:end]
    assert plant.old in function, f"{plant.name}: {plant.old!r} is not there"
    return text[:start] + function.replace(plant.old, plant.new, 1) + text[end:]


def try_checks(connection: Any, plant: Plant, used: tuple[str, ...], text: str) -> None:
    """In a child process: run the checks on the planted source; report what they say."""
    faulthandler.disable()
    module = kernels()
    file = module.KERNELS[plant.kernel].file
    original, names = module.source, module.expressions
    module.source = lambda name: text if name == file else original(name)
    module.expressions = lambda name, dtype=None: [each for each in names(name, dtype) if each in used]
    module._module.cache_clear()
    module._ready.kernels.clear()
    try:
        for expected in {module.KERNELS[name.split("<")[0]].file for name in used}:
            for dtype in module.CPP_TYPES:
                if module.expressions(expected, dtype):
                    module._module(expected, dtype).get_function(module.expressions(expected, dtype)[0])
    except RuntimeError as error:
        connection.send(("does not compile", str(error)))
        return
    try:
        for check in CHECKS[plant.kernel]:
            check(get_backend("cupy"))
    except Exception as error:
        connection.send(("caught", f"{type(error).__name__}: {error}"))
        return
    connection.send(("survived", ""))


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.name for plant in PLANTS])
def test_planted_mistake_is_caught(machine: Machine, plant: Plant) -> None:
    text, used = planted(plant), launched(plant.kernel)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=try_checks, args=(sender, plant, used, text))
    child.start()
    sender.close()
    try:
        verdict, reason = receiver.recv() if receiver.poll(TIMEOUT) else ("caught", "did not end")
    except EOFError:
        verdict, reason = "caught", "the process crashed"
    finally:
        child.join(1)
        if child.is_alive():
            child.kill()
    assert verdict == "caught", f"{plant.name}: {verdict} {reason}"


def test_every_kernel_has_three_kinds_of_mistakes(machine: Machine) -> None:
    kinds = Counter(kernel for kernel, _ in {(plant.kernel, plant.kind) for plant in PLANTS})
    assert set(kinds) == set(kernels().KERNELS) == set(CHECKS)
    assert min(kinds.values()) >= 3
    assert len(PLANTS) >= 30
