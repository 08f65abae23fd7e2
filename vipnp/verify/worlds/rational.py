"""Rational functions of symbols (sympy): where an expression is zero, it is zero for all inputs.

exp, log, sqrt, tanh and Phi of an expression are further symbols, one for every distinct argument: an identity that
holds with them as free symbols holds for the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from vipnp.verify.extras import need
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.worlds.exact import Element, exactly


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
        kind = type("RationalFunction", (RationalFunction,), {"numbers": self, "__slots__": ()})
        self.element: Callable[[Any], RationalFunction] = kind
        self.symbols: Iterator[Any] = iter(generators[:symbols])
        self.free_kernels: Iterator[Any] = iter(generators[symbols:-1])
        self.rsqrt_2pi: RationalFunction = self.element(generators[-1])
        self.kernels: dict[tuple[str, Any], RationalFunction] = {}

    def symbol(self) -> RationalFunction:
        """A new symbol."""
        return self.element(next(self.symbols))

    def of(self, value: float) -> RationalFunction:
        fraction = exactly(value)
        if fraction is None:
            raise UndecidedError(f"{value} is no rational function")
        return self.element(self.field(self.QQ(*fraction)))

    def constant(self, name: str) -> RationalFunction:
        """An irrational constant is a symbol of its own."""
        return {"rsqrt_2pi": self.rsqrt_2pi}[name]

    def ndtr(self, x: RationalFunction) -> RationalFunction:
        return self.kernel("Phi", x)

    def kernel(self, name: str, argument: RationalFunction) -> RationalFunction:
        """The symbol that stands for the function `name` of `argument`."""
        key = (name, argument.content)
        if key not in self.kernels:
            try:
                self.kernels[key] = self.element(next(self.free_kernels))
            except StopIteration:
                raise OutOfKernelsError(f"a field with {len(self.kernels)} kernels has no room for {name}") from None
        return self.kernels[key]


class RationalFunction(Element):
    """An element of a `RationalFunctions` field. `max` must pick one entry, always the same: the proof is then one for
    the inputs where that entry is the largest."""

    __slots__ = ()
    numbers: ClassVar[RationalFunctions]

    @classmethod
    def read(cls, other: Any) -> Any:
        if isinstance(other, RationalFunction):
            return other.content
        fraction = exactly(other)
        return None if fraction is None else cls.numbers.QQ(*fraction)

    @classmethod
    def divided(cls, a: Any, b: Any) -> Any:
        return cls.numbers.field(a) / b

    @classmethod
    def rank(cls, content: Any) -> str:
        return str(content)

    def function(self, name: str) -> RationalFunction:
        """A symbol that stands for the function of this expression."""
        return self.numbers.kernel(name, self)
