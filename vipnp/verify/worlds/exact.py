"""Arrays of exact numbers: NumPy object arrays, so that the op source runs on them as it stands."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from vipnp.core import Array, Backend, HostArray
from vipnp.verify.trees import tree_map_reals


class Numbers(Protocol):
    """A number type. Its elements add, subtract, multiply, divide and compare, and have the methods exp, log, sqrt and
    tanh, which NumPy calls for `xp.exp` and the like on object arrays."""

    name: str

    def of(self, value: float) -> Any:
        """The element equal to a float or an integer, exactly."""

    def constant(self, name: str) -> Any:
        """The irrational constant `name` of `Backend.constant`."""

    def ndtr(self, x: Any) -> Any:
        """The normal distribution function of an element."""


class Element:
    """A number that computes with its `content`: with others of its kind, and with whatever `read` makes one of.

    A kind says how a foreign number is read, how contents are divided and ordered, and what stands for a function.
    """

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content

    @classmethod
    def read(cls, other: Any) -> Any:
        """The content that a number stands for; None for what is none."""
        raise NotImplementedError

    @classmethod
    def divided(cls, a: Any, b: Any) -> Any:
        """The quotient of two contents."""
        return a / b

    @classmethod
    def rank(cls, content: Any) -> Any:
        """What two contents are ordered by. Any total order will do: `max` picks an entry by it, and the derivative of
        max is that of the entry it picks."""
        return content

    def function(self, name: str) -> Any:
        """What stands for the function `name` of this number."""
        raise NotImplementedError

    def _with(self, other: Any, combine: Callable[[Any, Any], Any]) -> Any:
        content = self.read(other)
        return NotImplemented if content is None else type(self)(combine(self.content, content))

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return type(self)(-self.content)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: its - mine)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, self.divided)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda mine, its: self.divided(its, mine))

    def __pow__(self, exponent: int) -> Any:
        return power(self, exponent)

    def _ordered(self, other: Any, compare: Callable[[Any, Any], bool]) -> bool:
        content = self.read(other)
        return NotImplemented if content is None else compare(self.rank(self.content), self.rank(content))

    def __lt__(self, other: Any) -> bool:
        return self._ordered(other, operator.lt)

    def __gt__(self, other: Any) -> bool:
        return self._ordered(other, operator.gt)

    def __le__(self, other: Any) -> bool:
        return self._ordered(other, operator.le)

    def __ge__(self, other: Any) -> bool:
        return self._ordered(other, operator.ge)

    def exp(self) -> Any:
        return self.function("exp")

    def log(self) -> Any:
        return self.function("log")

    def sqrt(self) -> Any:
        return self.function("sqrt")

    def tanh(self) -> Any:
        return self.function("tanh")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.content})"


def power(x: Any, exponent: int) -> Any:
    """x multiplied by itself; TypeError unless the exponent is a positive integer."""
    if not isinstance(exponent, (int, np.integer)) or exponent < 1:
        raise TypeError(f"exact numbers have positive integer powers only, got exponent {exponent!r}")
    result = x
    for _ in range(int(exponent) - 1):
        result = result * x
    return result


NUMBERS = frozenset({int, float, np.float64, np.int64})


class ExactArray(np.ndarray[Any, Any]):
    """An object array that makes elements of Python's numbers among them where a function needs a method of theirs.

    `np.maximum(x, 0)` leaves the 0 as it was given, and `np.sqrt` then finds that an int has no method sqrt.
    """

    of: Callable[[float], Any]

    def __array_finalize__(self, source: Any) -> None:
        self.of = getattr(source, "of", float)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        call, out = getattr(ufunc, method), options.pop("out", None)
        given, options = [_bare(value) for value in inputs], {key: _bare(value) for key, value in options.items()}
        if method == "at":
            given[0][...] = self._lifted(given[0])
            return call(given[0], given[1], *map(self._lifted, given[2:]), **options)
        if out is not None:  # which a call that fails half-way has begun to write, and which may be an input
            call(*map(self._lifted, given), out=tuple(map(_bare, out)), **options)
            return out[0] if len(out) == 1 else out
        try:
            result = call(*given, **options)
        except TypeError:
            result = call(*map(self._lifted, given), **options)
        return self._viewed(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self._viewed(super().__array_function__(function, types, args, kwargs))

    def _lifted(self, value: Any) -> Any:
        if not (isinstance(value, np.ndarray) and value.dtype == object):
            return value
        entries = value.ravel()
        return fill(value.shape, (self.of(float(x)) if type(x) in NUMBERS else x for x in entries))

    def _viewed(self, result: Any) -> Any:
        if not (type(result) is np.ndarray and result.dtype == object):
            return result
        seen = result.view(ExactArray)
        seen.of = self.of
        return seen


def _bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, ExactArray) else value


class ExactBackend(Backend):
    """NumPy object arrays whose elements are exact numbers of one type."""

    def __init__(self, numbers: Numbers) -> None:
        super().__init__(numbers.name, np, np.ndarray)
        self.numbers = numbers
        self._ndtr: Callable[..., Any] = np.frompyfunc(numbers.ndtr, 1, 1)

    def ndtr(self, x: Array) -> Array:
        return self._ndtr(x)

    def constant(self, name: str) -> Any:
        return self.numbers.constant(name)

    def matmul(self, a: Array, b: Array) -> Array:
        return products(self.numbers)(a, b)

    def mean(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        """The sum over `axis`, divided by the number of entries as a Python integer.

        NumPy's own mean divides by one of its integer types, which exact numbers do not know.
        """
        total = np.sum(x, axis=axis, keepdims=keepdims)
        return total / (x.size // np.size(total))

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x)

    def owns(self, x: object) -> bool:
        return isinstance(x, ExactArray) or super().owns(x)

    def lifting(self, call: Callable[[Sequence[HostArray]], Any], arrays: Sequence[HostArray]) -> Any:
        """call(arrays), y and the pullback; where it or the pullback raises a TypeError, as of a method that numbers of
        Python lack, the same on arrays that lift these."""

        def again() -> Any:
            return call([self._seen(array) for array in arrays])

        try:
            result = call(arrays)
        except TypeError:
            return again()
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            return result

        def pullback(dy: Any) -> Any:
            try:
                return result[1](dy)
            except TypeError:
                return again()[1](dy)

        return result[0], pullback

    def _seen(self, array: HostArray) -> ExactArray:
        seen = array.view(ExactArray)
        seen.of = getattr(self.numbers, "with_methods", self.numbers.of)
        return seen

    def lift(self, values: Any) -> Any:
        """A float, or every entry of a float array, as exact numbers of the same value."""
        if isinstance(values, float):
            return self.numbers.of(values)
        return fill(np.shape(values), (self.numbers.of(float(value)) for value in np.ravel(values)))

    def lift_constants(self, tree: Any) -> Any:
        """Keyword arguments with every floating-point number in them lifted."""
        return tree_map_reals(self.lift, tree)


def products(numbers: Numbers) -> Callable[[HostArray, HostArray], HostArray]:
    """The number type's own product of matrices, where it has a faster one than NumPy's, entry by entry."""
    product: Callable[[HostArray, HostArray], HostArray] = getattr(numbers, "matmul", np.matmul)
    return product


def fill(shape: tuple[int, ...], elements: Any) -> HostArray:
    """An object array of `shape` with `elements`, in C order."""
    flat = np.empty(int(np.prod(shape)), object)
    for index, element in enumerate(elements):
        flat[index] = element
    return flat.reshape(shape)


SIMPLE = 2**20
"""A float that is the nearest one to a fraction with a denominator up to this is read as that fraction.

So 0.1 is a tenth and 1/3 a third, and 0.134145 is three times 0.044715. Few floats that are meant otherwise are that
close to such a fraction: one in ten thousand of those between 1/2 and 1.
"""


def exactly(value: Any) -> tuple[int, int] | None:
    """Numerator and denominator of a real Python or NumPy scalar, a float read as the fraction that was meant (see
    SIMPLE); None for anything else, and for what is not finite."""
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        return int(value), 1
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return _fraction(float(value))
    return None


@lru_cache(maxsize=4096)
def _fraction(value: float) -> tuple[int, int]:
    exact = Fraction(value)
    simple = exact.limit_denominator(SIMPLE)
    return (simple if float(simple) == value else exact).as_integer_ratio()
