"""Softmax-weighted sum of branches."""

from __future__ import annotations

from collections.abc import Callable

from vipnp.core import Array, Backend
from vipnp.ops.softmax import softmax


def split_attention(xp: Backend, logits: Array, *branches: Array) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """y[b,h,w,c] = sum_k a[b,c,k] * x_k[b,h,w,c],  a = softmax(logits) over its last axis.

    logits (B, C, n) for any number n >= 2 of branches x_k, which are (B, H, W, C) like y.

        dx_k[b,h,w,c] = dy[b,h,w,c] * a[b,c,k]
        da[b,c,k]     = sum_hw dy[b,h,w,c] * x_k[b,h,w,c]
        dlogits       = the pullback of the softmax at da

    Saves: a (B, C, n), branches (B, H, W, C) each.
    Source: Zhang et al., "ResNeSt: Split-Attention Networks", arXiv 2004.08955, section 3.1; Hou et al., arXiv
    2106.12368, section 3.2 (Weighted Permute-MLP).
    """
    a, softmax_back = softmax(xp, logits)
    weights = [a[:, None, None, :, k] for k in range(len(branches))]
    y = weights[0] * branches[0]
    for k in range(1, len(branches)):
        y = y + weights[k] * branches[k]

    def pullback(dy: Array) -> tuple[Array, ...]:
        da = xp.stack([xp.sum(xp.sum(dy * x, axis=2), axis=1) for x in branches], axis=-1)
        (dlogits,) = softmax_back(da)
        return dlogits, *(dy * weight for weight in weights)

    return y, pullback
