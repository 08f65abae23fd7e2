"""A batch in shards: every layer that mixes no samples runs on parts of the batch, one thread each.

NumPy, BLAS and compiled kernels release the GIL, so Python threads that take a part of the batch each run side by side,
elementwise work included, and no two thread pools wait for each other. In a shard the layer runs on the backend's
`shard`, a backend of its own: the readable ops, or kernels in their place. Parameter gradients of the shards are added
in their order: a result depends on the number of shards, and on nothing else that varies between runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from vipnp.backends.numpy.threads import Crew, bounds, sum_trees
from vipnp.core import Array, Backend, HostArray, Replacements
from vipnp.layers import (
    STANDARD_BRANCHES,
    BlockMasks,
    BranchKind,
    FusionKind,
    Mask,
    PermutatorParams,
    permutator,
    stage,
)
from vipnp.ops import layer_norm, linear, linear_no_bias, patch_embed

F = TypeVar("F", bound=Callable[..., Any])

SHARDS = Replacements()
"""Replacements for a backend with a crew; see `Sharded`."""


class Sharded(Protocol):
    """What a function of this table asks of its backend: the threads, and the backend that works in one of them."""

    crew: Crew
    shard: Backend
    keep: bool


def parts_of(xp: Sharded, x: HostArray) -> list[slice]:
    """The shards of the batch: one a thread, but none without a sample (one empty shard for an empty batch)."""
    return bounds(len(x), max(1, min(xp.crew.size, len(x))))


def masks_of(masks: BlockMasks, part: slice, batch: int) -> BlockMasks:
    """The masks of the samples in `part` of `batch`.

    Raises TypeError where a mask is no array of NumPy's own class, ValueError where it is of another batch.
    """
    for name, mask in masks._asdict().items():
        if mask is None:
            continue
        if type(mask.mask) is not np.ndarray:
            raise TypeError(f"{name}: got a mask of type {type(mask.mask).__name__}, expected numpy.ndarray")
        if mask.mask.shape[:1] != (batch,):
            raise ValueError(f"{name}: got a mask of shape {mask.mask.shape}, expected a batch of {batch}")
    return BlockMasks(*(None if mask is None else Mask(mask.mask[part], mask.rate) for mask in masks))


def in_shards(op: F) -> F:
    """`op` on x (B, *) with the batch in shards: dx is put together, the gradients of its other arguments, which are
    parameters, are added up. A single token (C,) stays whole."""

    def sharded(xp: Any, x: Array, *params: Array, **constants: Any) -> tuple[Array, Any]:
        if x.ndim == 1:
            return xp.shard.run(op, x, *params, **constants)  # type: ignore[no-any-return]
        parts = parts_of(xp, x)
        results = xp.crew.run(lambda i: xp.shard.run(op, x[parts[i]], *params, **constants), len(parts))

        def pullback(dy: Array) -> tuple[Array, ...]:
            grads = xp.crew.run(lambda i: results[i][1](dy[parts[i]]), len(parts))
            dx = np.concatenate([dshard for dshard, *_ in grads])
            return dx, *sum_trees(xp.crew, [tuple(dparams) for _, *dparams in grads])

        return np.concatenate([y for y, _ in results]), pullback

    sharded.__name__ = f"{op.__name__}_in_shards"
    SHARDS[op] = sharded
    return cast("F", sharded)


linear_in_shards = in_shards(linear)
linear_no_bias_in_shards = in_shards(linear_no_bias)
layer_norm_in_shards = in_shards(layer_norm)
patch_embed_in_shards = in_shards(patch_embed)


@SHARDS.replaces(stage)
def stage_in_shards(
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
    """y = block_L(... block_2(block_1(x))), the batch in shards.

    x, y (B, H, W, C). Every shard goes through all blocks by itself, forwards and backwards; their parameter gradients
    are added at the end, so that no shard waits for another after each block. The pullback frees the blocks as it goes:
    one-shot, RuntimeError the second time.
    """
    block_masks = [BlockMasks()] * len(params) if masks is None else masks
    parts = parts_of(xp, x)

    def forward(i: int) -> tuple[Array, list[Callable[[Array], tuple[Array, PermutatorParams]]]]:
        shard, backs = x[parts[i]], []
        for block, mask in zip(params.values(), block_masks, strict=True):
            shard, back = xp.shard.run(
                permutator,
                shard,
                block,
                segments=segments,
                fusion=fusion,
                branches=branches,
                skip_lam=skip_lam,
                masks=masks_of(mask, parts[i], len(x)),
            )
            backs.append(back)
        return shard, backs

    ys, pullbacks = zip(*xp.crew.run(forward, len(parts)), strict=True)

    def pullback(dy: Array) -> tuple[Array, dict[str, PermutatorParams]]:
        if not pullbacks[0]:
            raise RuntimeError("this pullback of a stage was called before: it is one-shot and has freed its blocks")

        def backward(i: int) -> tuple[Array, dict[str, PermutatorParams]]:
            dshard, grads = dy[parts[i]], {}
            for name in reversed(params):
                dshard, grads[name] = pullbacks[i].pop()(dshard)
            return dshard, dict(reversed(grads.items()))

        shards = xp.crew.run(backward, len(parts))
        return np.concatenate([dshard for dshard, _ in shards]), sum_trees(xp.crew, [grads for _, grads in shards])

    return np.concatenate(ys), pullback


@SHARDS.replaces(permutator)
def permutator_in_shards(
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
    """One block, the batch in shards. x, y (B, H, W, C). The pullback can be called again."""
    parts = parts_of(xp, x)

    def forward(i: int) -> Any:
        return xp.shard.run(
            permutator,
            x[parts[i]],
            params,
            segments=segments,
            fusion=fusion,
            branches=branches,
            skip_lam=skip_lam,
            masks=masks_of(masks, parts[i], len(x)),
        )

    results = xp.crew.run(forward, len(parts))

    def pullback(dy: Array) -> tuple[Array, PermutatorParams]:
        grads = xp.crew.run(lambda i: results[i][1](dy[parts[i]]), len(parts))
        return np.concatenate([dx for dx, _ in grads]), sum_trees(xp.crew, [dparams for _, dparams in grads])

    return np.concatenate([y for y, _ in results]), pullback
