"""Rational functions of symbols (sympy): where an expression is zero, it is zero for all inputs.

exp, log, sqrt, tanh and Phi of an expression are further symbols, one for every distinct argument: an identity that
holds with them as free symbols holds for the functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vipnp.verify.extras import need
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.worlds.dual import power
from vipnp.verify.worlds.exact import exactly


class OutOfKernelsError(UndecidedError):
    """The field was made with too few kernels."""


class RationalFunctions:
    """The field of rational functions over the rational numbers in `symbols` inputs and at most `kernels` kernels.

    Raises MissingExtraError where sympy is not installed.
    """

    name = "rational functions"

    def __init__(self, symbols: int, kernels: int) -> None:
        self.QQ = need("sympy", "audit").QQ
        polys = need("sympy.polys.fields", "audit")
        names = [*(f"t{i}" for i in range(symbols)), *(f"k{i}" for i in range(kernels)), "c"]
        self.field, *generators = polys.field(names, self.QQ)
        self.symbols: Iterator[Any] = iter(generators[:symbols])
        self.free_kernels: Iterator[Any] = iter(generators[symbols:-1])
        self.rsqrt_2pi = RationalFunction(self, generators[-1])
        self.kernels: dict[tuple[str, Any], RationalFunction] = {}

    def symbol(self) -> RationalFunction:
        """A new symbol."""
        return RationalFunction(self, next(self.symbols))

    def of(self, value: float) -> RationalFunction:
        fraction = exactly(value)
        assert fraction is not None
        return RationalFunction(self, self.field(self.QQ(*fraction)))

    def constant(self, name: str) -> RationalFunction:
        """An irrational constant is a symbol of its own."""
        return {"rsqrt_2pi": self.rsqrt_2pi}[name]

    def ndtr(self, x: RationalFunction) -> RationalFunction:
        return self.kernel("Phi", x)

    def kernel(self, name: str, argument: RationalFunction) -> RationalFunction:
        """The symbol that stands for the function `name` of `argument`."""
        key = (name, argument.expression)
        if key not in self.kernels:
            try:
                self.kernels[key] = RationalFunction(self, next(self.free_kernels))
            except StopIteration:
                raise OutOfKernelsError(f"a field with {len(self.kernels)} kernels has no room for {name}") from None
        return self.kernels[key]


class RationalFunction:
    """An element of a `RationalFunctions` field."""

    __slots__ = ("expression", "field")

    def __init__(self, field: RationalFunctions, expression: Any) -> None:
        self.field = field
        self.expression = expression

    def _other(self, other: Any) -> Any:
        if isinstance(other, RationalFunction):
            return other.expression
        fraction = exactly(other)
        return None if fraction is None else self.field.QQ(*fraction)

    def __add__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, self.expression + e)

    __radd__ = __add__

    def __neg__(self) -> RationalFunction:
        return RationalFunction(self.field, -self.expression)

    def __sub__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, self.expression - e)

    def __rsub__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, -self.expression + e)

    def __mul__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, self.expression * e)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, self.expression / e)

    def __rtruediv__(self, other: Any) -> Any:
        e = self._other(other)
        return NotImplemented if e is None else RationalFunction(self.field, self.field.field(e) / self.expression)

    def __pow__(self, exponent: int) -> Any:
        return power(self, exponent)

    # `max` must pick one entry, always the same: the proof is then one for the inputs where that entry is the largest.

    def __lt__(self, other: Any) -> bool:
        e = self._other(other)
        return NotImplemented if e is None else str(self.expression) < str(e)

    def __gt__(self, other: Any) -> bool:
        e = self._other(other)
        return NotImplemented if e is None else str(self.expression) > str(e)

    def __le__(self, other: Any) -> bool:
        e = self._other(other)
        return NotImplemented if e is None else str(self.expression) <= str(e)

    def __ge__(self, other: Any) -> bool:
        e = self._other(other)
        return NotImplemented if e is None else str(self.expression) >= str(e)

    def exp(self) -> RationalFunction:
        """A symbol that stands for the exponential of this expression."""
        return self.field.kernel("exp", self)

    def log(self) -> RationalFunction:
        """A symbol that stands for the logarithm of this expression."""
        return self.field.kernel("log", self)

    def sqrt(self) -> RationalFunction:
        """A symbol that stands for the square root of this expression."""
        return self.field.kernel("sqrt", self)

    def tanh(self) -> RationalFunction:
        """A symbol that stands for the hyperbolic tangent of this expression."""
        return self.field.kernel("tanh", self)

    def __repr__(self) -> str:
        return str(self.expression)
