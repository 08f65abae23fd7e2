"""Gaussian error linear unit, exact."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def gelu(xp: Backend, x: Array) -> tuple[Array, Pullback1]:
    """y = x * Phi(x), Phi the normal distribution function.

    x, y (*).

    Phi'(x) = phi(x) = exp(-x^2 / 2) / sqrt(2 pi), so by the product rule
        dx = dy * (Phi(x) + x * phi(x))

    Saves: x (*), Phi(x) (*).
    Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2 (the exact form).
    """
    cdf = xp.ndtr(x)

    def pullback(dy: Array) -> tuple[Array]:
        pdf = xp.exp(-0.5 * (x * x)) * xp.constant("rsqrt_2pi")
        return (dy * (cdf + x * pdf),)

    return x * cdf, pullback
