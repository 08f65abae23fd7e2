"""A stage: a run of Permutator blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vipnp.core import Array, Backend
from vipnp.layers.branches import STANDARD_BRANCHES, BranchKind
from vipnp.layers.masks import BlockMasks
from vipnp.layers.permutator import FusionKind, PermutatorParams, permutator


def stage(
    xp: Backend,
    x: Array,
    params: dict[str, PermutatorParams],
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: Sequence[BlockMasks] | None = None,
) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, PermutatorParams]]]]:
    """y = block_L(... block_2(block_1(x))).

    x, y (B, H, W, C); params "0", "1", ... are the blocks in their order; masks, if any, one BlockMasks a block.

    The pullback walks the blocks backwards and lets go of each as it passes, so that memory falls as it goes: it can be
    called once, and raises RuntimeError the second time.

    Source: Hou et al., arXiv 2106.12368, figure 1.
    """
    block_masks = [BlockMasks()] * len(params) if masks is None else masks
    pullbacks = []
    for (name, block_params), block_mask in zip(params.items(), block_masks, strict=True):
        x, block_back = xp.run(
            permutator,
            x,
            block_params,
            segments=segments,
            fusion=fusion,
            branches=branches,
            skip_lam=skip_lam,
            masks=block_mask,
        )
        pullbacks.append((name, block_back))

    def pullback(dy: Array) -> tuple[Array, dict[str, PermutatorParams]]:
        if not pullbacks:
            raise RuntimeError("this pullback of a stage was called before: it is one-shot and has freed its blocks")
        dx = dy
        dparams = {}
        while pullbacks:
            block_name, back = pullbacks.pop()
            dx, dparams[block_name] = back(dx)
        return dx, dict(reversed(dparams.items()))

    return x, pullback
