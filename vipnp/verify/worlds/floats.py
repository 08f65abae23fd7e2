"""Dual numbers over float64, which an op cannot take for complex numbers: what the complex step is held against.

The complex step is wrong, without a sign of it, under functions that drop or flip an imaginary part: abs, norms, var, a
conjugating product, `.real`. Dual numbers have no imaginary part to lose. Where an op's derivatives on both worlds
differ, it has left the analytic functions, and the complex step decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import numpy as np
from scipy.special import ndtr

from vipnp.core.backend import CONSTANTS
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.worlds.dual import Dual

FUNCTIONS: Mapping[str, tuple[Callable[[float], float], Callable[[float], float]]] = MappingProxyType(
    {
        "exp": (math.exp, math.exp),
        "exp2": (math.exp2, lambda x: math.exp2(x) * math.log(2)),
        "expm1": (math.expm1, math.exp),
        "log": (math.log, lambda x: 1 / x),
        "log1p": (math.log1p, lambda x: 1 / (1 + x)),
        "log2": (math.log2, lambda x: 1 / (x * math.log(2))),
        "log10": (math.log10, lambda x: 1 / (x * math.log(10))),
        "sqrt": (math.sqrt, lambda x: 0.5 / math.sqrt(x)),
        "sin": (math.sin, math.cos),
        "cos": (math.cos, lambda x: -math.sin(x)),
        "tan": (math.tan, lambda x: 1 + math.tan(x) ** 2),
        "sinh": (math.sinh, math.cosh),
        "cosh": (math.cosh, math.sinh),
        "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
        "arctan": (math.atan, lambda x: 1 / (1 + x * x)),
        "arcsin": (math.asin, lambda x: 1 / math.sqrt(1 - x * x)),
        "arccos": (math.acos, lambda x: -1 / math.sqrt(1 - x * x)),
        "arcsinh": (math.asinh, lambda x: 1 / math.sqrt(1 + x * x)),
        "arctanh": (math.atanh, lambda x: 1 / (1 - x * x)),
    }
)
"""Analytic functions by NumPy's name, each with its derivative; NumPy calls them as methods of what an object array
holds."""

LEAVES = MappingProxyType(
    {
        "__abs__": "abs (or a norm)",
        "conjugate": "conjugate (as norms, var, std and vdot do)",
        "__float__": "a conversion to float",
        "__int__": "a conversion to an integer",
        "__floor__": "floor",
        "__round__": "round",
        "floor": "floor",
        "ceil": "ceil",
        "rint": "rint",
        "trunc": "trunc",
        "__mod__": "the remainder",
        "__floordiv__": "floor division",
    }
)
"""Methods by which an op leaves the analytic functions, and what they are in words."""


class FloatDual(Dual):
    """value + tangent * epsilon, both Python floats."""

    __slots__ = ()
    __array_priority__: ClassVar[float] = 0.0

    def __pow__(self, exponent: Any) -> Any:
        if isinstance(exponent, FloatDual):
            return (self.log() * exponent).exp()
        power = float(exponent)
        return FloatDual(self.value**power, power * self.value ** (power - 1) * self.tangent)

    def __rpow__(self, base: Any) -> Any:
        value = float(base) ** self.value
        return FloatDual(value, math.log(base) * value * self.tangent)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, FloatDual) else other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.value)

    def __pos__(self) -> Any:
        return self


def _method(value: Callable[[float], float], slope: Callable[[float], float]) -> Callable[[FloatDual], FloatDual]:
    def method(self: FloatDual) -> FloatDual:
        return FloatDual(value(self.value), slope(self.value) * self.tangent if self.tangent else 0.0)

    return method


def _refusal(words: str) -> Callable[..., NoReturn]:
    def refuse(self: FloatDual, *_: Any) -> NoReturn:
        raise UndecidedError(f"the op calls {words}, under which an imaginary part is no derivative")

    return refuse


for _name, (_value, _slope) in FUNCTIONS.items():
    setattr(FloatDual, _name, _method(_value, _slope))
for _name, _words in LEAVES.items():
    setattr(FloatDual, _name, _refusal(_words))


class FloatDuals:
    """The number type of `ExactBackend` for them; a constant stays a float."""

    name = "dual numbers of float64"

    def of(self, value: float) -> Any:
        return value

    def with_methods(self, value: float) -> Any:
        """A constant with the methods of a dual number."""
        return FloatDual(float(value), 0.0)

    def constant(self, name: str) -> Any:
        return CONSTANTS[name]

    def ndtr(self, x: Any) -> Any:
        """Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)."""
        if not isinstance(x, FloatDual):
            return float(ndtr(x))
        return FloatDual(float(ndtr(x.value)), math.exp(-x.value * x.value / 2) * CONSTANTS["rsqrt_2pi"] * x.tangent)


def duals(values: Any, tangents: Any) -> Any:
    """An object array of dual numbers from two arrays of one shape."""
    flat = np.empty(np.size(values), object)
    for i, (value, tangent) in enumerate(zip(np.ravel(values), np.ravel(tangents), strict=True)):
        flat[i] = FloatDual(float(value), float(tangent))
    return flat.reshape(np.shape(values))


def tangents(y: Any) -> Any:
    """The derivatives in what an op returned; zero where an entry is no dual number. float64, the shape of y.

    Raises UndecidedError where the op computes with complex numbers, of which `real` takes nothing from an object.
    """
    array = np.asarray(y, object)
    found = [entry.tangent if isinstance(entry, FloatDual) else 0.0 for entry in array.ravel()]
    if any(isinstance(tangent, complex) for tangent in found):
        raise UndecidedError("the op computes with complex numbers, whose imaginary part is no derivative")
    return np.array(found, float).reshape(array.shape)
