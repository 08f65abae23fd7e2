"""Dropout with a given mask."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def dropout(xp: Backend, x: Array, *, mask: Array, rate: float) -> tuple[Array, Pullback1]:
    """y = x * mask / (1 - rate).

    x, y, mask (*); mask is 1 where an entry is kept and 0 where it is dropped, each entry dropped with probability
    `rate`; the division keeps the expectation of y at x.

        dx = dy * mask / (1 - rate)

    Saves: mask (*).
    Source: Srivastava et al., "Dropout", JMLR 15 (2014), section 10 (the scaling at training time).
    """
    keep = 1 - rate

    def pullback(dy: Array) -> tuple[Array]:
        return (dy * mask / keep,)

    return x * mask / keep, pullback
