"""Runs an unmodified op on symbolic arrays and writes down, as a Coq term, what it computes.

An array of shape (B, H, W, N*S) is a function of five natural numbers: an axis is an ordered product of sizes, and an
index into it has one number for every factor. So a row-major reshape that merges or splits axes at the borders of
factors only regroups index variables; any other reshape is refused. An axis of length one is the empty product. Every
computing function of the namespace becomes one `let` of the term; reshape, permute_dims, indexing and broadcasting only
change how entries are named.

What this file says about the array functions is trusted: Coq cannot see whether `mean` means the mean. So
tests/proofs/ evaluates the written terms and compares them with NumPy, which runs the same source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from types import EllipsisType
from typing import Any, NoReturn

Axis = tuple[str | int, ...]
"""The factors of the length of an axis: names of sizes, or integers above one."""

Index = tuple[tuple[str, ...], ...]
"""For every axis the Coq terms of its index, one for every factor."""


class RefusedError(Exception):
    """The op asks for something that has no meaning for every shape, or that the tracer does not know."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise RefusedError(message)


class Size:
    """The length of an axis: it multiplies and divides like the integer it stands for, and refuses every question.

    An op that asks a size for its value would be traced along one branch of its source only.
    """

    def __init__(self, *factors: str | int) -> None:
        self.factors: Axis = factors

    def __mul__(self, other: Any) -> Any:
        return Size(*self.factors, *size(other).factors) if isinstance(other, Size | int) else NotImplemented

    def __rmul__(self, other: Any) -> Any:
        return Size(*size(other).factors, *self.factors) if isinstance(other, Size | int) else NotImplemented

    def __floordiv__(self, other: Size | int) -> Size:
        """The quotient of a division that leaves no rest: the factors of the divisor are taken away."""
        left = list(self.factors)
        for factor in size(other).factors:
            require(factor in left, f"whether {other} divides {self} depends on the sizes")
            left.remove(factor)
        return Size(*left)

    def same(self, other: Size) -> bool:
        return Counter(self.factors) == Counter(other.factors)

    def _question(self, *_: object) -> NoReturn:
        raise RefusedError(f"the op looks at the value of the size {self!r}; a theorem for every size cannot follow it")

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = __index__ = __float__ = _question
    __hash__ = __mod__ = __divmod__ = _question

    def __repr__(self) -> str:
        return "*".join(map(str, self.factors)) or "1"


def size(n: Size | int) -> Size:
    return n if isinstance(n, Size) else Size(*([] if n == 1 else [n]))


class Array:
    """An array by its entries: `at(index)` is the Coq term of one of them."""

    dtype = device = None

    def __init__(self, xp: Tracer, axes: Iterable[Axis], at: Callable[[Index], str], name: str | None = None) -> None:
        self.xp, self.axes, self.at, self.name = xp, tuple(axes), at, name

    @property
    def shape(self) -> tuple[Size, ...]:
        return tuple(Size(*axis) for axis in self.axes)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    @property
    def T(self) -> Array:  # noqa: N802 - the name of the array API
        require(self.ndim == 2, f"T of an array with {self.ndim} axes")
        return self.xp.permute_dims(self, (1, 0))

    def __getitem__(self, key: Any) -> Array:
        """New axes (None), whole axes (:), and a given index into an axis whose length is an integer."""
        keys: list[slice | int | EllipsisType | None] = list(key if isinstance(key, tuple) else (key,))
        taken = sum(k is not None and k is not ... for k in keys)
        require(taken <= self.ndim, f"{taken} indices into {self.ndim} axes")
        if ... not in keys:
            keys.append(...)
        place = keys.index(...)
        keys[place : place + 1] = [slice(None)] * (self.ndim - taken)
        old = iter(self.axes)
        plan = [(k, None if k is None else next(old)) for k in keys]
        for k, axis in plan:
            whole = k is None or (isinstance(k, slice) and k == slice(None))
            known = type(k) is int and axis is not None and len(axis) == 1 and type(axis[0]) is int and 0 <= k < axis[0]
            require(whole or known, f"index {k} into an axis of length {Size(*(axis or ()))}")

        def at(index: Index) -> str:
            given = iter(index)
            entries = [((f"{k}%nat",) if isinstance(k, int) else next(given), axis) for k, axis in plan]
            return self.at(tuple(entry for entry, axis in entries if axis is not None))

        return Array(self.xp, [axis or () for k, axis in plan if not isinstance(k, int)], at)

    def __add__(self, other: Any) -> Array:
        return self.xp.elementwise("{} + {}", self, other)

    def __radd__(self, other: Any) -> Array:
        return self.xp.elementwise("{} + {}", other, self)

    def __sub__(self, other: Any) -> Array:
        return self.xp.elementwise("{} - {}", self, other)

    def __rsub__(self, other: Any) -> Array:
        return self.xp.elementwise("{} - {}", other, self)

    def __mul__(self, other: Any) -> Array:
        return self.xp.elementwise("{} * {}", self, other)

    def __rmul__(self, other: Any) -> Array:
        return self.xp.elementwise("{} * {}", other, self)

    def __truediv__(self, other: Any) -> Array:
        return self.xp.elementwise("{} / {}", self, other)

    def __rtruediv__(self, other: Any) -> Array:
        return self.xp.elementwise("{} / {}", other, self)

    def __neg__(self) -> Array:
        return self.xp.elementwise("- {}", self)

    def __eq__(self, other: object) -> Any:
        """One where two arrays of natural numbers are equal, else zero; for `x == 0` the question itself."""
        if type(other) is int and other == 0:
            return IsZero(self)
        return self.xp.elementwise("if Nat.eqb {} {} then 1 else 0", self, other)

    def _question(self, *_: object) -> NoReturn:
        raise RefusedError("the op looks at the value of an array entry; a theorem for every value cannot follow it")

    __bool__ = __int__ = __index__ = __float__ = __hash__ = __len__ = __iter__ = _question


class IsZero:
    """For every entry of an array of constants, whether it is zero; all that can be done with it is `where`."""

    def __init__(self, tested: Array) -> None:
        self.tested = tested

    def __bool__(self) -> NoReturn:
        raise RefusedError("the op looks at the value of an array entry; a theorem for every value cannot follow it")


class Tracer:
    """The array namespace `xp`. `lets` are the lines of the term, in the order in which the op asked for them."""

    def __init__(self) -> None:
        self.lets: list[str] = []
        self.count = 0

    def __getattr__(self, name: str) -> NoReturn:
        raise RefusedError(f"the tracer knows no array function {name!r}")

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return op(self, *args, **kwargs)

    def begin_backward(self, count: int) -> None:
        """A pullback is called, and names its arrays from `count` on, like every other call of it."""
        self.lets, self.count = [], count

    # --- arrays -----------------------------------------------------------------------------------------------------

    def argument(self, name: str, axes: Iterable[Axis]) -> Array:
        return Array(self, axes, lambda index: applied(name, flat(index)), name)

    def lift(self, value: Any) -> Array:
        """A Python number, exactly, or a size: an array without axes."""
        if isinstance(value, Array):
            return value
        if isinstance(value, Size):
            return Array(self, (), lambda _: f"({' * '.join(f'INR {f}' for f in value.factors) or '1'})")
        q = Fraction(value)
        return Array(
            self, (), lambda _: f"({q.numerator})" if q.denominator == 1 else f"({q.numerator} / {q.denominator})"
        )

    def let(self, axes: Sequence[Axis], at: Callable[[Index], str]) -> Array:
        """Gives the array with the entries `at` a name."""
        self.count += 1
        name = f"v{self.count}"
        index = fresh(axes)
        self.lets.append(f"let {name} := {function(index, at(index))} in")
        return self.argument(name, axes)

    def elementwise(self, term: str, *operands: Any) -> Array:
        arrays = [self.lift(operand) for operand in operands]
        ndim = max(a.ndim for a in arrays)
        axes: list[Axis] = []
        for column in zip(*(((),) * (ndim - a.ndim) + a.axes for a in arrays), strict=True):
            long = {axis for axis in column if axis}
            require(len(long) <= 1, f"axes of the lengths {[Size(*axis) for axis in column]} do not broadcast")
            axes.append(long.pop() if long else ())
        views = [self.broadcast_to(a, [Size(*axis) for axis in axes]) for a in arrays]
        return self.let(axes, lambda index: term.format(*(view.at(index) for view in views)))

    # --- the functions of the namespace: what they mean ---------------------------------------------------------------

    def exp(self, x: Array) -> Array:
        return self.elementwise("exp {}", x)

    def log(self, x: Array) -> Array:
        return self.elementwise("ln {}", x)

    def sqrt(self, x: Array) -> Array:
        return self.elementwise("sqrt {}", x)

    def ndtr(self, x: Array) -> Array:
        return self.elementwise("Phi {}", x)

    def constant(self, name: str) -> Array:
        require(name == "rsqrt_2pi", f"no constant {name!r}")
        return Array(self, (), lambda _: name)

    def astype(self, x: Array, dtype: Any) -> Array:
        """Nothing: the theorems are about real numbers."""
        return x

    def zeros_like(self, x: Array) -> Array:
        return Array(self, x.axes, lambda _: "0")

    def where(self, condition: IsZero, x: Array, y: Array) -> Array:
        require(isinstance(condition, IsZero), "where knows the condition `constant == 0` only")
        return self.elementwise("if Req_EM_T {} 0 then {} else {}", condition.tested, x, y)

    def arange(self, n: Size | int, device: Any = None) -> Array:
        (factor,) = size(n).factors
        return Array(self, ((factor,),), lambda index: index[0][0])

    def sum(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        return self.reduce("sum", x, axis, keepdims)

    def max(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        return self.reduce("maximum", x, axis, keepdims)

    def mean(self, x: Array, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
        factors = [factor for a in places(x, axis) for factor in x.axes[a]]
        return self.sum(x, axis, keepdims) / Size(*factors)

    def sum_rows(self, x: Array) -> Array:
        return self.sum(x, axis=tuple(range(x.ndim - 1)))

    def reduce(self, name: str, x: Array, axis: int | tuple[int, ...] | None, keepdims: bool) -> Array:
        gone = places(x, axis)
        kept: list[Axis] = [() if a in gone else x.axes[a] for a in range(x.ndim)]

        def at(index: Index) -> str:
            bound = fresh([x.axes[a] if a in gone else () for a in range(x.ndim)], avoid=flat(index))
            entry = x.at(tuple(bound[a] if a in gone else index[a] for a in range(x.ndim)))
            return nested(name, flat(x.axes[a] for a in gone), flat(bound), entry)

        y = self.let(kept, at)
        return y if keepdims else self.reshape(y, [Size(*kept[a]) for a in range(x.ndim) if a not in gone])

    def matmul(self, a: Array, b: Array) -> Array:
        fits = a.ndim == b.ndim >= 2 and a.axes[:-2] == b.axes[:-2] and a.axes[-1] == b.axes[-2]
        require(fits, f"matmul of the shapes {a.shape} and {b.shape}")

        def at(index: Index) -> str:
            *batch, row, column = index
            (k,) = fresh([a.axes[-1]], avoid=flat(index))
            return nested("sum", a.axes[-1], k, f"{a.at((*batch, row, k))} * {b.at((*batch, k, column))}")

        return self.let((*a.axes[:-1], b.axes[-1]), at)

    def stack(self, arrays: Sequence[Array], axis: int) -> Array:
        """Along a new last axis, of as many entries as there are arrays."""
        first, *others = arrays
        require(axis == -1 and all(a.axes == first.axes for a in others), "stack along the last axis, of equal shapes")

        def at(index: Index) -> str:
            *rest, (k,) = index
            cases = " | ".join(f"{n}%nat => {a.at(tuple(rest))}" for n, a in enumerate(arrays[:-1]))
            return f"match {k} with {cases} | _ => {arrays[-1].at(tuple(rest))} end"

        return self.let((*first.axes, (len(arrays),)), at)

    def permute_dims(self, x: Array, order: tuple[int, ...]) -> Array:
        require(sorted(order) == list(range(x.ndim)), f"permute_dims of {x.ndim} axes by {order}")
        return Array(
            self,
            [x.axes[a] for a in order],
            lambda index: x.at(tuple(index[order.index(a)] for a in range(x.ndim))),
        )

    def broadcast_to(self, x: Array, shape: Sequence[Size | int]) -> Array:
        axes = [size(n).factors for n in shape]
        new = len(axes) - x.ndim
        fits = new >= 0 and all(a in ((), b) for a, b in zip(x.axes, axes[new:], strict=True))
        require(fits, f"{x.shape} does not broadcast to {shape}")
        return Array(
            self,
            axes,
            lambda index: x.at(tuple(i if a else () for a, i in zip(x.axes, index[new:], strict=True))),
        )

    def reshape(self, x: Array, shape: Sequence[Size | int], copy: bool | None = None) -> Array:
        """Row-major: the factors keep their order, and every new axis takes as many of them as its length has. Whether
        it copies changes no entry."""
        left, axes = flat(x.axes), []
        for n in map(size, shape):
            axis, left = left[: len(n.factors)], left[len(n.factors) :]
            require(Size(*axis).same(n), f"reshape of {x.shape} to {shape} splits a size")
            axes.append(axis)
        require(not left, f"reshape of {x.shape} to {shape}")

        def at(index: Index) -> str:
            entries = iter(flat(index))
            return x.at(tuple(tuple(next(entries) for _ in axis) for axis in x.axes))

        return Array(self, axes, at)


# --- terms ------------------------------------------------------------------------------------------------------------


def flat(index: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(entry for axis in index for entry in axis)


def applied(name: str, entries: Sequence[str]) -> str:
    return f"({name} {' '.join(entries)})" if entries else name


def function(index: Index, body: str) -> str:
    return f"fun {' '.join(flat(index))} : nat => {body}" if flat(index) else body


def nested(name: str, sizes: Sequence[str | int], bound: Sequence[str], body: str) -> str:
    """sum m (fun i => sum n (fun j => body))"""
    for n, i in zip(reversed(sizes), reversed(bound), strict=True):
        body = f"({name} {n} (fun {i} => {body}))"
    return body


def fresh(axes: Iterable[Axis], avoid: Sequence[str] = ()) -> Index:
    """An index variable for every factor, named after it: iB, iH, ...; a second one over the same size is iB'."""
    used, index = set(avoid), []
    for axis in axes:
        names = []
        for factor in axis:
            name = f"i{factor}"
            while name in used:
                name += "'"
            used.add(name)
            names.append(name)
        index.append(tuple(names))
    return tuple(index)


def places(x: Array, axis: int | tuple[int, ...] | None) -> list[int]:
    """The numbers of the axes that `axis` names."""
    named = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    require(all(-x.ndim <= a < x.ndim for a in named), f"axis {axis} of {x.ndim} axes")
    return sorted(a % x.ndim for a in named)
