"""Inference of fewer images than there are threads: the threads share every image, its rows and its segments.

Where a batch cannot be split evenly, one image above all, shards leave cores idle. Here each step of a block's
forward pass (`Forward`) is cut into as many parts as there are threads, products in one thread each and kernels
alike, and all have done one step before the next begins: three times in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vipnp.backends.numba.block import Forward, covered
from vipnp.backends.numpy.shards import permutator_in_shards, stage_in_shards
from vipnp.backends.numpy.threads import bounds
from vipnp.core import Array, HostArray, Replacements
from vipnp.core.backend import dropped
from vipnp.layers import (
    STANDARD_BRANCHES,
    BlockMasks,
    BranchKind,
    FusionKind,
    PermutatorParams,
    permutator,
    stage,
)

TABLE = Replacements()
"""Replacements for a backend with a crew whose shard runs kernels."""


def shared(
    xp: Any,
    x: HostArray,
    params: PermutatorParams,
    fusion: FusionKind,
    branches: Sequence[BranchKind],
    masks: BlockMasks,
) -> bool:
    """Whether the threads share the images of a block rather than take a part of the batch each: in inference, of a
    batch that they cannot split evenly, where kernels compute the block."""
    threads = xp.crew.size
    return not xp.keep and threads > 1 and len(x) % threads != 0 and covered(x, params, fusion, branches, masks)


@TABLE.replaces(stage)
def stage_by_rows(
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
    """Block after block where the threads share the images; else in shards of the batch. x, y (B, H, W, C)."""
    block_masks = [BlockMasks()] * len(params) if masks is None else masks
    blocks = zip(params.values(), block_masks, strict=True)
    by_rows = all(shared(xp, x, block, fusion, branches, mask) for block, mask in blocks)
    return (stage if by_rows else stage_in_shards)(
        xp, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
    )


@TABLE.replaces(permutator)
def permutator_by_rows(
    xp: Any,
    x: Array,
    params: PermutatorParams,
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: BlockMasks = BlockMasks(),  # noqa: B008 - a NamedTuple of None is immutable
) -> tuple[Array, Callable[[Array], tuple[Array, PermutatorParams]]]:
    """One block, each step of it cut for the threads where they share the images; else in shards of the batch.

    x, y (B, H, W, C). Saves nothing where the images are shared.
    """
    if not shared(xp, x, params, fusion, branches, masks):
        return permutator_in_shards(
            xp, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
        )
    forward = Forward(xp.shard, x, params, segments, skip_lam, masks)
    crew = xp.crew
    rows, columns = bounds(forward.rows.stop, crew.size), bounds(forward.segments.stop, crew.size)
    crew.run(lambda i: forward.along_rows(rows[i]), crew.size)
    crew.run(lambda i: forward.along_columns(columns[i]), crew.size)
    forward.attention()
    crew.run(lambda i: forward.finish(rows[i]), crew.size)
    return forward.y, dropped
