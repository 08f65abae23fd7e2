"""Residual addition."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback2


def residual(xp: Backend, x: Array, branch: Array, skip_lam: float = 1.0) -> tuple[Array, Pullback2]:
    """y = x + branch / skip_lam.

    x, branch, y (*).

        dx = dy,  dbranch = dy / skip_lam

    dx is dy itself, not a copy. Saves: nothing.
    Source: He et al., "Deep Residual Learning", arXiv 1512.03385, equation 1; skip_lam as in the official code of the
    Vision Permutator.
    """

    def pullback(dy: Array) -> tuple[Array, Array]:
        return dy, dy / skip_lam

    return x + branch / skip_lam, pullback
