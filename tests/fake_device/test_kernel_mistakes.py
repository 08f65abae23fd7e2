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
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import pytest

from tests.backends.cupy.kernel_checks import CHECKS
from tests.conftest import ROOT
from tests.fake_device.machine import MACHINE, Machine
from vipnp.backends import get_backend

pytestmark = [pytest.mark.kernels, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

TIMEOUT = 120


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
        helper="write_row_sums",
    ),
    Plant("norm_backward", "missing first barrier", "    __syncthreads();\n", "", helper="write_row_sums"),
    Plant("norm_backward", OFF_BY_ONE, "row < M;", "row < M - 1;"),
    Plant("norm_backward", SHUFFLE, "distance > 0", "distance > 1", helper="warp_sum"),
    Plant("norm_backward", UNWRITTEN, "if (sums == 3) write_row_sums", "if (sums == 4) write_row_sums"),
    Plant("norm_backward", STRIDE, "row += gridDim.x * WARPS", "row += (gridDim.x + 1) * WARPS"),
    Plant("norm_backward", "wrong layout", "dy_width + from.width()", "dy_width + from.height()"),
    Plant("norm_backward", "wrong pitch", "blockIdx.x) * pitch", "blockIdx.x) * sums * C"),
    Plant("gelu_forward", OFF_BY_ONE, "row < M;", "row < M - 1;"),
    Plant("gelu_forward", STRIDE, "row += gridDim.y * ROW_LANES", "row += gridDim.y * (ROW_LANES + 1)"),
    Plant("gelu_forward", "wrong lane", "bias[k + v]", "bias[k]"),
    Plant("gelu_forward", UNWRITTEN, "store<T, VEC>(y + i, t);", "if (threadIdx.x != 3) store<T, VEC>(y + i, t);"),
    Plant("gelu_backward", BARRIER, "__syncthreads();", ""),
    Plant("gelu_backward", OFF_BY_ONE, LANES, "for (int lane = 0; lane < ROW_LANES - 1; ++lane)"),
    Plant(
        "gelu_backward",
        STRIDE,
        "(threadIdx.y * 32 + threadIdx.x) * VEC + v",
        "(threadIdx.y * 31 + threadIdx.x) * VEC + v",
    ),
    Plant("gelu_backward", WRONG, "at.cdf + t[v] * at.pdf", "at.cdf + at.pdf"),
    Plant("gelu_backward", "wrong pitch", "blockIdx.y) * pitch", "blockIdx.y) * K"),
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
    Plant("sum_rows", BARRIER, "__syncthreads();", ""),
    Plant("sum_rows", OFF_BY_ONE, "row < P;", "row < P - 1;"),
    Plant("sum_rows", STRIDE, "row += SUM_LANES", "row += SUM_LANES + 1"),
    Plant("sum_rows", UNWRITTEN, "threadIdx.y == 0 && k < K", "threadIdx.y == 0 && k + 1 < K"),
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
    Plant("pool_forward", BARRIER, "__syncthreads();", "", helper="write_token_sums"),
    Plant("pool_forward", OFF_BY_ONE, "to.token < to.end;", "to.token < to.end - 1;"),
    Plant("pool_forward", STRIDE, "blockIdx.z) * gridDim.x + blockIdx.x", "blockIdx.z) + blockIdx.x"),
    Plant("pool_forward", "wrong layout", "{layout_0, layout_1, layout_2}", "{layout_0, layout_0, layout_2}"),
    Plant("pool_backward", OFF_BY_ONE, "if (c >= C) return;", "if (c > C) return;"),
    Plant("pool_backward", STRIDE, "token += TOKEN_LANES", "token += TOKEN_LANES + 1", helper="Tokens"),
    Plant("pool_backward", WRONG, "/ (H * W)", "/ H"),
    Plant("split_attention_forward", OFF_BY_ONE, "to.token < to.end;", "to.token < to.end - 1;"),
    Plant("split_attention_forward", STRIDE, "TOKEN_LANES / W * down", "TOKEN_LANES / H * down", helper="Tokens"),
    Plant("split_attention_forward", "missing wrap", "(wraps ? wrap[j] : 0)", "0", helper="Tokens"),
    Plant("split_attention_forward", "wrong layout", "layout_1, layout_2}", "layout_0, layout_2}"),
    Plant("split_attention_backward_weights", BARRIER, "__syncthreads();", "", helper="write_token_sums"),
    Plant(
        "split_attention_backward_weights",
        OFF_BY_ONE,
        "lane < TOKEN_LANES",
        "lane < TOKEN_LANES - 4",
        helper="write_token_sums",
    ),
    Plant("split_attention_backward_weights", WRONG, "sum[v * BRANCHES + j] += d[v]", "sum[v * BRANCHES + j] += d[0]"),
    Plant(
        "split_attention_backward_weights", STRIDE, "+ 1) * share, H * W)", "+ 1) * share + 1, H * W)", helper="Tokens"
    ),
    Plant("split_attention_backward_logits", OFF_BY_ONE, "share < shares;", "share < shares - 1;"),
    Plant("split_attention_backward_logits", WRONG, "a[k] * (da[j] - da[k])", "a[k] * da[j] - da[k]"),
    Plant("split_attention_backward_logits", STRIDE, "(share) * size + i", "(share) * THREADS + i"),
    Plant("split_attention_backward_branches", OFF_BY_ONE, "to.token < to.end;", "to.token <= to.end;"),
    Plant(
        "split_attention_backward_branches",
        UNWRITTEN,
        "            store<T, VEC>(dx[j]",
        "            if (j != 1 || threadIdx.x) store<T, VEC>(dx[j]",
    ),
    Plant("split_attention_backward_branches", STRIDE, "n * W * right + s", "n * H * right + s", helper="Tokens"),
    Plant("cross_entropy_forward", BARRIER, "    __syncthreads();\n    if", "    if", helper="block_reduce"),
    Plant(
        "cross_entropy_forward",
        "missing second barrier",
        "value;\n    __syncthreads();",
        "value;\n",
        helper="block_reduce",
    ),
    Plant(
        "cross_entropy_forward",
        OFF_BY_ONE,
        "warp < ROW_THREADS / 32",
        "warp < ROW_THREADS / 32 - 1",
        helper="block_reduce",
    ),
    Plant("cross_entropy_forward", SHUFFLE, "distance = 16", "distance = 4", helper="warp_max"),
    Plant("cross_entropy_forward", STRIDE, "k += ROW_THREADS) {", "k += ROW_THREADS + 1) {"),
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


def test_the_readme_counts_what_is_here() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"Its {len(kernels().KERNELS)} kernels in {len(list(kernels().all_instantiations()))} instantiations" in text
    assert f"and {len(PLANTS)} mistakes planted in them" in text
