"""A stage in inference, image by image on panels of tokens.

One compiled call has all blocks of a stage for an image, matrix products included (kernels/image.py). As long as there
is an image for every thread, each goes through the blocks by itself and then takes the next image; all together take
those that are left. Neither who does it nor how many threads there are changes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vipnp.backends.numba.block import EPS, block_shapes, checked_segments, covered, prepared, prepared_tree
from vipnp.backends.numba.kernels.image import COUNTERS, PARAMS, STEPS, stage_chunks
from vipnp.backends.numba.kernels.machine import WIDTH
from vipnp.backends.numpy.shards import linear_in_shards, patch_embed_in_shards, stage_in_shards
from vipnp.backends.numpy.threads import blas_threads
from vipnp.core import Array, HostArray, Replacements
from vipnp.layers import STANDARD_BRANCHES, BlockMasks, BranchKind, FusionKind, PermutatorParams, stage
from vipnp.ops import linear, patch_embed

TABLE = Replacements()
"""Replacements for a backend with a crew; see `vipnp.backends.numpy.shards.Sharded`."""


def leaf(tree: Any, name: str) -> HostArray:
    """The array under a dotted name."""
    for key in name.split("."):
        tree = tree[key]
    return tree  # type: ignore[no-any-return]


class Shared:
    """What works on one image takes, or shares where several threads do: its memory and the counters of its steps."""

    def __init__(self, shape: tuple[int, int, int], segments: int, hidden: tuple[int, int], blocks: int) -> None:
        H, W, C = shape
        S = C // segments
        P, Ph, Pw = (-(-columns // WIDTH) for columns in (H * W, segments * W, segments * H))

        def aligned(rows: int, *, filled: bool = True) -> HostArray:
            """Rows (rows, WIDTH), which begin where a vector may; zeros at first unless all will be `filled`."""
            whole = (np.empty if filled else np.zeros)(rows * WIDTH + WIDTH, np.float32)
            start = -whole.ctypes.data // 4 % WIDTH
            return whole[start : start + rows * WIDTH].reshape(rows, WIDTH)

        def panels(memory: HostArray, first: int, *sizes: int) -> HostArray:
            return memory[first : first + sizes[0] * sizes[1]].reshape(*sizes, WIDTH)

        # What is never needed at once shares memory, so that more of it stays in the cache: g is made when the branches
        # are done with, and z when their weighted sum is.
        h, w, R = Ph * H * S, Pw * W * S, hidden[0]
        both = aligned(max(P * R, 2 * h + w), filled=segments * W % WIDTH == segments * H % WIDTH == 0)
        h_in, h_out, w_in = (
            panels(both, at, *size) for at, size in ((0, (Ph, H * S)), (h, (Ph, H * S)), (2 * h, (Pw, W * S)))
        )
        last = aligned(max(P * C, w))
        w_out, z = panels(last, 0, Pw, W * S), panels(last, 0, P, C)
        x, a, c = (panels(aligned(P * C), 0, P, C) for _ in range(3))
        self.memory = x, z, a, c, h_in, h_out, w_in, w_out, panels(both, 0, P, R)
        self.small = np.empty(C, np.float32), np.empty(hidden[1], np.float32), np.empty((3, C), np.float32)
        self.tickets = np.zeros((blocks * STEPS + 2, COUNTERS), np.int64)


def are_few(xp: Any, x: Array) -> bool:
    """Whether there are fewer images than threads."""
    return bool(len(x) < max(2, xp.crew.size))


@TABLE.replaces(linear)
def linear_of_few_images(xp: Any, x: Array, weight: Array, bias: Array) -> tuple[Array, Callable[[Array], Any]]:
    """linear; in inference of few images by one thread, as `patch_embed_of_few_images`."""
    if xp.keep or x.ndim == 1 or not are_few(xp, x):
        return linear_in_shards(xp, x, weight, bias)
    return blas_threads.limited(1, lambda: xp.shard.run(linear, x, weight, bias))  # type: ignore[no-any-return]


@TABLE.replaces(patch_embed)
def patch_embed_of_few_images(xp: Any, x: Array, weight: Array, bias: Array) -> tuple[Array, Callable[[Array], Any]]:
    """patch_embed; in inference of few images by one thread. The threads of BLAS go on looking for work for some 25 ms
    after a product, and would take a core from the stage that follows."""
    if xp.keep or not are_few(xp, x):
        return patch_embed_in_shards(xp, x, weight, bias)
    return blas_threads.limited(1, lambda: xp.shard.run(patch_embed, x, weight, bias))  # type: ignore[no-any-return]


@TABLE.replaces(stage)
def stage_by_images(
    xp: Any,
    x: Array,
    params: dict[str, PermutatorParams],
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: Sequence[BlockMasks] | None = None,
) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, PermutatorParams]]]]:
    """y = block_L(... block_2(block_1(x))), x, y (B, H, W, C) float32; training and all that the kernel does not cover
    run in shards."""
    if not (
        not xp.keep
        and masks is None
        and len(params) > 0
        and x.dtype == np.float32
        and all(covered(x, block, fusion, branches, BlockMasks()) for block in params.values())
        and len({widths(block) for block in params.values()}) == 1
    ):
        return stage_in_shards(
            xp, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
        )
    B, H, W, C = x.shape
    N = checked_segments(segments, C)
    x = prepared("x", x, x.shape)
    blocks = [
        prepared_tree(f"params.{name}", block, block_shapes(H, W, C, C // N, block)) for name, block in params.items()
    ]
    addresses = np.array([[leaf(block, name).ctypes.data for name in PARAMS] for block in blocks], np.int64)
    hidden = widths(blocks[0])
    y = np.empty_like(x)
    threads = xp.crew.size
    alone = B - B % threads
    images = iter(range(alone))

    def memory() -> Shared:
        return Shared((H, W, C), N, hidden, len(blocks))

    def work(b: int, shared: Shared, side: int) -> None:
        arrays = shared.memory, shared.small, shared.tickets
        stage_chunks(x[b], addresses, N, hidden, 1 / skip_lam, EPS, *arrays, side, y[b])

    def work_alone(_: int) -> None:
        own = memory()
        for b in images:
            own.tickets[:] = 0
            work(b, own, 0)

    if alone:
        xp.crew.run(work_alone, threads)
    for b in range(alone, B):
        shared = memory()
        xp.crew.run(lambda thread, b=b, shared=shared: work(b, shared, thread % 2), threads)
    return y, not_kept


def widths(block: Mapping[str, Any]) -> tuple[int, int]:
    """(R, Q): the hidden widths of a block's two MLPs."""
    return len(block["mlp"]["fc1"]["bias"]), len(block["attn"]["reweight"]["fc1"]["bias"])


def not_kept(dy: Array) -> Any:
    """The pullback of what is run for inference alone: the backend lets it go unseen."""
    raise RuntimeError("this result was computed for inference (keep=False): it has no pullback")
