"""Drop path (stochastic depth), per sample."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def drop_path(xp: Backend, x: Array, *, mask: Array, rate: float) -> tuple[Array, Pullback1]:
    """y[b] = x[b] * mask[b] / (1 - rate).

    x, y (B, H, W, C); mask (B,) is 1 for a sample that keeps this branch and 0 for one that drops it, each dropped with
    probability `rate`; the division keeps the expectation of y at x.

        dx[b] = dy[b] * mask[b] / (1 - rate)

    Saves: the scale mask / (1 - rate) (B, 1, 1, 1).
    Source: Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382, section 3.
    """
    scale = mask[:, None, None, None] / (1 - rate)

    def pullback(dy: Array) -> tuple[Array]:
        return (dy * scale,)

    return x * scale, pullback
