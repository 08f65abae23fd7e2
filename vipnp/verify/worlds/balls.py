"""Real numbers as balls: a midpoint of 333 bits and a radius that is a rigorous bound on the error (python-flint)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vipnp.verify.extras import need

BITS = 333
"""The precision of midpoints, 100 digits. float64 has 53 bits: the rest absorbs cancellation and growing radii."""


class BallNumbers:
    """The number type `arb` of python-flint; use it inside `precision()`.

    Raises MissingExtraError where python-flint is not installed.
    """

    name = "arb balls"

    def __init__(self) -> None:
        self.arb = need("flint", "audit").arb

    def of(self, value: float) -> Any:
        return self.arb(value)

    def constant(self, name: str) -> Any:
        return {"rsqrt_2pi": 1 / (2 * self.arb.pi()).sqrt()}[name]

    def ndtr(self, x: Any) -> Any:
        """Phi(x) = erfc(-x / sqrt(2)) / 2: relative to Phi, accurate in both tails."""
        return (-x / self.arb(2).sqrt()).erfc() / 2


@contextmanager
def precision() -> Iterator[None]:
    """Balls of BITS bits inside; the precision of python-flint is a global setting, put back at the end."""
    context = need("flint", "audit").ctx
    before = context.prec
    context.prec = BITS
    try:
        yield
    finally:
        context.prec = before
