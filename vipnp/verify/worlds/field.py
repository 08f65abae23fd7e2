"""The prime field GF(2^127 - 1): arithmetic without rounding, in which two different formulas give different numbers.

exp, log, sqrt, tanh and Phi are random functions here, fixed by a key: nothing is known of them but that equal
arguments give equal values. If a backward formula equals the derivative as a rational expression in its inputs and in
these functions, it holds in the field too; if it does not, it holds at a random point with probability at most
degree / 2^127 (Schwartz and Zippel). A zero difference is therefore a zero, not a small number.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.worlds.exact import Element, exactly

PRIME = 2**127 - 1


class FieldElement(Element):
    """An integer modulo PRIME. A field of characteristic p has no order of its own: that of the integers will do."""

    __slots__ = ()
    content: int

    def __init__(self, residue: int) -> None:
        self.content = residue % PRIME

    @classmethod
    def read(cls, other: Any) -> int | None:
        return _residue(other)

    @classmethod
    def divided(cls, a: int, b: int) -> int:
        return a * _inverse(b)

    def function(self, name: str) -> FieldElement:
        """A random function of that name."""
        return _oracle(name.encode(), self.content)

    def __eq__(self, other: object) -> bool:
        return _residue(other) == self.content

    def __hash__(self) -> int:
        return hash(self.content)


class FieldNumbers:
    """The number type of the field."""

    name = "GF(2^127-1)"

    def of(self, value: float) -> FieldElement:
        """A float is a fraction with a power of two below: exact."""
        residue = _residue(value)
        if residue is None:
            raise UndecidedError(f"{value} is no number of {self.name}")
        return FieldElement(residue)

    def constant(self, name: str) -> FieldElement:
        """An irrational constant is a drawn element."""
        return {"rsqrt_2pi": RSQRT_2PI}[name]

    def ndtr(self, x: FieldElement) -> FieldElement:
        """A random function named Phi."""
        return x.function("Phi")

    def matmul(self, a: HostArray, b: HostArray) -> HostArray:
        """The product of two matrices, or of stacks of them: whole numbers are summed and reduced at the end."""
        return _elements(np.matmul(_residues(a), _residues(b)))

    def draw(self, rng: random.Random) -> FieldElement:
        """A random element that is not zero."""
        return FieldElement(rng.randrange(1, PRIME))


def _residue(value: Any) -> int | None:
    if type(value) is FieldElement:
        return value.content
    fraction = exactly(value)
    if fraction is None:
        return None
    numerator, denominator = fraction
    return numerator if denominator == 1 else numerator * _inverse(denominator) % PRIME


_residues: Callable[[HostArray], HostArray] = np.frompyfunc(_residue, 1, 1)
_elements: Callable[[HostArray], HostArray] = np.frompyfunc(FieldElement, 1, 1)


def _inverse(residue: int) -> int:
    if residue % PRIME == 0:
        raise ZeroDivisionError("division by zero in GF(2^127-1)")
    return pow(residue, -1, PRIME)


def _oracle(name: bytes, residue: int) -> FieldElement:
    digest = hashlib.blake2b(name + residue.to_bytes(16, "little"), digest_size=32).digest()
    return FieldElement(int.from_bytes(digest, "little"))


RSQRT_2PI = _oracle(b"1/sqrt(2 pi)", 0)
