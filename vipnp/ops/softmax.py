"""Softmax over the last axis."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def softmax(xp: Backend, x: Array) -> tuple[Array, Pullback1]:
    """s_j = exp(x_j) / sum_k exp(x_k), over the last axis.

    x, s (*, K). The largest x is subtracted first, which changes nothing in s and keeps exp from overflowing.

    ds_k/dx_j = s_k (delta_kj - s_j), so that
        dx_j = sum_k ds_k s_k (delta_kj - s_j) = s_j (ds_j - sum_k s_k ds_k)

    Saves: s (*, K).
    Source: Goodfellow, Bengio, Courville, "Deep Learning", section 6.2.2.3.
    """
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    s = e / xp.sum(e, axis=-1, keepdims=True)

    def pullback(ds: Array) -> tuple[Array]:
        return (s * (ds - xp.sum(s * ds, axis=-1, keepdims=True)),)

    return s, pullback
