"""The Vision Permutator as one layer: images to logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from vipnp.core import Array, Backend
from vipnp.layers import (
    BlockMasks,
    DownsampleParams,
    LayerNormParams,
    LinearParams,
    PatchProjection,
    downsample,
    stage,
)
from vipnp.models.config import ViPConfig
from vipnp.ops import global_average_pool, layer_norm, linear, patch_embed


class PatchEmbedParams(TypedDict):
    """proj: weight (C, in_channels, P, P), bias (C,)."""

    proj: PatchProjection


class VisionPermutatorParams(TypedDict):
    """patch_embed; network: stages and transitions, "0", "1", ... in their order; norm; head."""

    patch_embed: PatchEmbedParams
    network: dict[str, Any]
    norm: LayerNormParams
    head: LinearParams


TokensPullback = Callable[[Array], tuple[Array, dict[str, Any]]]
NetworkPullback = Callable[[Array], tuple[Array, VisionPermutatorParams]]


def tokens(
    xp: Backend,
    images: Array,
    params: VisionPermutatorParams,
    *,
    config: ViPConfig,
    masks: Sequence[BlockMasks] | None = None,
    each: Callable[[Array], None] | None = None,
) -> tuple[Array, TokensPullback]:
    """Patch embedding, stages and transitions: images (B, in_channels, height, width) -> tokens (B, h, w, C).

    `masks`, if any, holds one BlockMasks a block; `each` is called with the grid of tokens after every stage. There is
    no LayerNorm after the patch embedding.

    The pullback returns dimages and the gradients of `patch_embed` and `network`. It walks backwards and lets go of
    every stage as it passes: one-shot, RuntimeError the second time.
    Source: Hou et al., arXiv 2106.12368, section 3.1.
    """
    x, embed_back = xp.run(patch_embed, images, **params["patch_embed"]["proj"])
    pullbacks: list[tuple[str, Callable[[Array], tuple[Array, Any]]]] = []
    first_block = 0
    for shape in config.stages():
        x, stage_back = xp.run(
            stage,
            x,
            params["network"][str(shape.place)],
            segments=shape.segments,
            fusion=config.fusion,
            branches=config.branches,
            skip_lam=config.skip_lam,
            masks=None if masks is None else masks[first_block : first_block + shape.depth],
        )
        pullbacks.append((str(shape.place), stage_back))
        first_block += shape.depth
        if each is not None:
            each(x)
        if shape.merge:
            transition: DownsampleParams = params["network"][str(shape.place + 1)]
            x, transition_back = xp.run(downsample, x, transition)
            pullbacks.append((str(shape.place + 1), transition_back))

    def pullback(dy: Array) -> tuple[Array, dict[str, Any]]:
        if not pullbacks:
            raise RuntimeError("this pullback of a model was called before: it is one-shot and has freed its stages")
        dx = dy
        dnetwork = {}
        while pullbacks:
            name, back = pullbacks.pop()
            dx, dnetwork[name] = back(dx)
        dimages, dweight, dbias = embed_back(dx)
        return dimages, {
            "patch_embed": {"proj": {"weight": dweight, "bias": dbias}},
            "network": dict(reversed(dnetwork.items())),
        }

    return x, pullback


def vision_permutator(
    xp: Backend,
    images: Array,
    params: VisionPermutatorParams,
    *,
    config: ViPConfig,
    masks: Sequence[BlockMasks] | None = None,
) -> tuple[Array, NetworkPullback]:
    """logits = head(mean over the tokens of norm(tokens(images))).

    images (B, in_channels, height, width); logits (B, K). `masks`, if any, holds one BlockMasks a block.

    The pullback returns dimages and dparams; it is one-shot like that of `tokens`.
    Source: Hou et al., arXiv 2106.12368, section 3.1.
    """
    a, tokens_back = xp.run(tokens, images, params, config=config, masks=masks)
    a, norm_back = xp.run(layer_norm, a, **params["norm"])
    a, pool_back = xp.run(global_average_pool, a)
    logits, head_back = xp.run(linear, a, **params["head"])

    def pullback(dlogits: Array) -> tuple[Array, VisionPermutatorParams]:
        da, dweight, dbias = head_back(dlogits)
        (da,) = pool_back(da)
        da, dnorm_weight, dnorm_bias = norm_back(da)
        dimages, dtokens = tokens_back(da)
        return dimages, {
            "patch_embed": dtokens["patch_embed"],
            "network": dtokens["network"],
            "norm": {"weight": dnorm_weight, "bias": dnorm_bias},
            "head": {"weight": dweight, "bias": dbias},
        }

    return logits, pullback
