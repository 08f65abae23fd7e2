"""Dual numbers over any exact number type: a value and its derivative, carried through the op's own source.

The rules of differentiation below are all that the exact rungs trust: sum, product, quotient, and the derivatives of
exp, log, sqrt, tanh and Phi.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.worlds.exact import Numbers, fill, power, products


class Dual:
    """value + tangent * epsilon with epsilon^2 = 0. A number of the base type is a constant."""

    __slots__ = ("tangent", "value")
    base: ClassVar[Numbers]

    def __init__(self, value: Any, tangent: Any) -> None:
        self.value = value
        self.tangent = tangent

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            return type(self)(self.value + other.value, self.tangent + other.tangent)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return type(self)(self.value + other, self.tangent)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return type(self)(-self.value, -self.tangent)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            return type(self)(self.value - other.value, self.tangent - other.tangent)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return type(self)(self.value - other, self.tangent)

    def __rsub__(self, other: Any) -> Any:
        return type(self)(other - self.value, -self.tangent)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            return type(self)(self.value * other.value, self.value * other.tangent + self.tangent * other.value)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return type(self)(self.value * other, self.tangent * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Dual):
            quotient = self.value / other.value
            return type(self)(quotient, (self.tangent - quotient * other.tangent) / other.value)
        if isinstance(other, np.ndarray):
            return NotImplemented
        return type(self)(self.value / other, self.tangent / other)

    def __rtruediv__(self, other: Any) -> Any:
        quotient = other / self.value
        return type(self)(quotient, -(quotient * self.tangent) / self.value)

    def __pow__(self, exponent: int) -> Any:
        return power(self, exponent)

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < (other.value if isinstance(other, Dual) else other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > (other.value if isinstance(other, Dual) else other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= (other.value if isinstance(other, Dual) else other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= (other.value if isinstance(other, Dual) else other))

    def exp(self) -> Any:
        """exp' = exp."""
        value = self.value.exp()
        return type(self)(value, value * self.tangent)

    def log(self) -> Any:
        """log'(x) = 1/x."""
        return type(self)(self.value.log(), self.tangent / self.value)

    def sqrt(self) -> Any:
        """sqrt'(x) = 1 / (2 sqrt(x))."""
        root = self.value.sqrt()
        return type(self)(root, self.tangent / (root + root))

    def tanh(self) -> Any:
        """tanh' = 1 - tanh^2."""
        value = self.value.tanh()
        return type(self)(value, (1 - value * value) * self.tangent)


class DualNumbers:
    """Dual numbers over `base`."""

    def __init__(self, base: Numbers) -> None:
        self.base = base
        self.name = f"dual numbers over {base.name}"
        self.element: type[Dual] = type("Dual", (Dual,), {"base": base, "__slots__": ()})

    def of(self, value: float) -> Any:
        """A constant stays an element of the base type."""
        return self.base.of(value)

    def constant(self, name: str) -> Any:
        return self.base.constant(name)

    def array(self, values: HostArray, tangents: HostArray) -> HostArray:
        """An array of dual numbers from values and derivatives; where the derivative is None a constant stands."""
        pairs = zip(values.ravel(), tangents.ravel(), strict=True)
        return fill(values.shape, (x if t is None else self.element(x, t) for x, t in pairs))

    def weighted_tangents(self, y: Any, weights: HostArray) -> Any:
        """The sum of the derivatives in `y`, each times its weight."""
        total = self.of(0.0)
        for entry, weight in zip(np.ravel(np.asarray(y, object)), weights.ravel(), strict=True):
            if isinstance(entry, Dual):
                total = total + weight * entry.tangent
        return total

    def ndtr(self, x: Any) -> Any:
        """Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
        if not isinstance(x, Dual):
            return self.base.ndtr(x)
        density = (-(x.value * x.value) / 2).exp() * self.base.constant("rsqrt_2pi")
        return self.element(self.base.ndtr(x.value), density * x.tangent)

    def matmul(self, a: HostArray, b: HostArray) -> HostArray:
        """(a + a' epsilon) (b + b' epsilon) = a b + (a b' + a' b) epsilon for matrices, or stacks of them."""
        product = products(self.base)
        values = product(_values(a), _values(b))
        terms = []
        if _any_dual(b):
            terms.append(product(_values(a), _tangents(b)))
        if _any_dual(a):
            terms.append(product(_tangents(a), _values(b)))
        return _duals(self.element, values, sum(terms)) if terms else values


_values = np.frompyfunc(lambda x: x.value if isinstance(x, Dual) else x, 1, 1)
_tangents = np.frompyfunc(lambda x: x.tangent if isinstance(x, Dual) else 0, 1, 1)
_duals = np.frompyfunc(lambda element, value, tangent: element(value, tangent), 3, 1)


def _any_dual(x: HostArray) -> bool:
    return any(isinstance(entry, Dual) for entry in x.flat)
