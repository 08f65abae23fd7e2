"""The random draws of a training step, as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from vipnp.core import Array, Backend, Pullback1


class Mask(NamedTuple):
    """What is kept (1) and dropped (0), and the rate at which it was dropped.

    mask has the dtype of the activations: (B,) for drop path, the shape of the activation for dropout.
    """

    mask: Array
    rate: float


class BlockMasks(NamedTuple):
    """The masks of one Permutator block; None where nothing is dropped.

    attn_path, mlp_path: drop path (B,) of the two branches. proj: dropout after the projection of the Permute-MLP
    (B, H, W, C). hidden, out: dropout after the GELU (B, H, W, R*C) and after the second linear layer (B, H, W, C) of
    the channel MLP.
    """

    attn_path: Mask | None = None
    mlp_path: Mask | None = None
    proj: Mask | None = None
    hidden: Mask | None = None
    out: Mask | None = None


def masked(xp: Backend, op: Callable[..., tuple[Array, Pullback1]], x: Array, mask: Mask | None) -> tuple[Array, Any]:
    """`op` (dropout or drop_path) with its mask, or the identity where there is none.

    dx = the pullback of `op` at dy, or dy itself.

    Source: that of `op`.
    """
    if mask is None:
        return x, lambda dy: (dy,)
    return xp.run(op, x, mask=mask.mask, rate=mask.rate)
