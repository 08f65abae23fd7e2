"""Stage transition: merge patches of tokens and change the width."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from vipnp.core import Array, Backend
from vipnp.ops import patch_embed


class PatchProjection(TypedDict):
    """weight (K, C, P, Q), bias (K,)."""

    weight: Array
    bias: Array


class DownsampleParams(TypedDict):
    """proj: weight (K, C, P, P), bias (K,)."""

    proj: PatchProjection


def downsample(
    xp: Backend, x: Array, params: DownsampleParams
) -> tuple[Array, Callable[[Array], tuple[Array, DownsampleParams]]]:
    """y = patch_embed(x with the channels first): P x P tokens become one, C channels become K.

    x (B, h*P, w*P, C) channels last; y (B, h, w, K). P is 2, or 1 where only the width changes.

    Source: Hou et al., arXiv 2106.12368, the transition in the official code (`Downsample`).
    """
    y, embed_back = xp.run(patch_embed, xp.permute_dims(x, (0, 3, 1, 2)), **params["proj"])

    def pullback(dy: Array) -> tuple[Array, DownsampleParams]:
        dx_channels_first, dweight, dbias = embed_back(dy)
        return xp.permute_dims(dx_channels_first, (0, 2, 3, 1)), {"proj": {"weight": dweight, "bias": dbias}}

    return y, pullback
