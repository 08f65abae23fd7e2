"""The contract of an op: pure, repeatable, linear in the cotangent, indifferent to memory layout, and it saves what it
says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.saves import closure_arrays, declared_entries, distinct_entries
from vipnp.verify.subject import Subject, relative_error
from vipnp.verify.trees import tree_leaves, tree_map_reals

NAME = "contract"

LAYOUT_BOUND = 1e-13
"""Another memory layout may add numbers in another order, which moves the last digits and no more."""


@dataclass(frozen=True)
class Fault:
    """A broken clause; `argument` names the array it concerns, None where it concerns the op as a whole."""

    argument: str | None
    message: str


Clause: TypeAlias = Callable[[Subject], Iterator[Fault]]


def contract(subject: Subject) -> list[Row]:
    """Every clause below, on float64 NumPy arrays; and float32 in, float32 out."""
    faults: list[Fault] = []
    for clause in CLAUSES:
        try:
            faults += clause(subject)
        except BrokenOpError as error:
            faults.append(Fault(error.argument, f"{clause.__name__.replace('_', ' ')}: {error}"))
    rows = []
    for name in subject.names:
        messages = list(dict.fromkeys(fault.message for fault in faults if fault.argument in (None, name)))
        rows.append(
            subject.row(
                NAME,
                name,
                Verdict.FAIL if messages else Verdict.PASS,
                error=len(messages),
                bound=0,
                unit="clauses",
                detail="; ".join(messages) or f"{len(CLAUSES)} clauses hold",
            )
        )
    return [*rows, *_saved_row(subject)]


# --- the clauses --------------------------------------------------------------------------------------------------


def shapes_and_dtypes(subject: Subject) -> Iterator[Fault]:
    """One gradient for each argument, of its shape; float64 in, float64 out; float32 in, float32 out."""
    for dtype in (np.float64, np.float32):
        constants = {key: tree_map_reals(_as_dtype(dtype), value) for key, value in subject.kwargs.items()}
        arrays = [array.astype(dtype) for array in subject.arrays]
        y, pullback = subject.run(subject.numpy, arrays, constants)
        if getattr(y, "dtype", None) != dtype:
            yield Fault(None, f"{np.dtype(dtype)} arguments give y of dtype {getattr(y, 'dtype', type(y).__name__)}")
        if not np.all(np.isfinite(np.asarray(y))):
            yield Fault(None, f"y is not finite in {np.dtype(dtype)}")
        gradients = subject.gradients(subject.numpy, pullback, _scalar_or_array(subject.cotangent.astype(dtype)))
        for name, gradient in zip(subject.names, gradients, strict=True):
            found = getattr(gradient, "dtype", None)
            if found != dtype:
                yield Fault(name, f"{np.dtype(dtype)} arguments give a gradient of dtype {found}")
            elif not np.all(np.isfinite(gradient)):
                yield Fault(name, f"the gradient is not finite in {np.dtype(dtype)}")


def writes_nothing(subject: Subject) -> Iterator[Fault]:
    """No argument, constant or cotangent is written to, by the op or by the pullback."""
    arrays, constants, cotangent = subject.copies(), subject.constants(), subject.cotangent.copy()
    watched = [
        *zip(subject.names, arrays, subject.arrays, strict=True),
        *((f"constant {path}", a, b) for path, a, b in _array_constants(constants, subject.kwargs)),
        ("the cotangent", cotangent, subject.cotangent),
    ]
    for who, after in (("the op", None), ("the pullback", cotangent)):
        if after is None:
            y, pullback = subject.run(subject.numpy, arrays, constants)
            y_before = np.array(y)
        else:
            subject.gradients(subject.numpy, pullback, _scalar_or_array(cotangent))
            if not _same_bits(y, y_before):
                yield Fault(None, "the pullback writes to y")
        for name, now, before in watched:
            if not _same_bits(now, before):
                yield Fault(name if name in subject.names else None, f"{who} writes to {name}")


def shares_no_memory(subject: Subject) -> Iterator[Fault]:
    """y shares no memory with an argument, nor a gradient with an argument, with y or with another gradient.

    A gradient may be the cotangent itself, because nobody writes to either.
    """
    arrays = subject.copies()
    y, pullback = subject.run(subject.numpy, arrays)
    gradients = subject.gradients(subject.numpy, pullback, _scalar_or_array(subject.cotangent.copy()))
    for name, array in zip(subject.names, arrays, strict=True):
        if np.shares_memory(y, array):
            yield Fault(name, f"y shares memory with {name}")
        for other, gradient in zip(subject.names, gradients, strict=True):
            if np.shares_memory(gradient, array):
                yield Fault(other, f"the gradient of {other} shares memory with {name}")
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        if np.shares_memory(gradient, y):
            yield Fault(name, f"the gradient of {name} shares memory with y")
        for other, another in zip(subject.names[:i], gradients[:i], strict=True):
            if np.shares_memory(gradient, another):
                yield Fault(name, f"the gradients of {other} and {name} share memory")


def repeatable(subject: Subject) -> Iterator[Fault]:
    """A second run and a second pullback give the same bits, also after the op ran on other inputs; a pullback declared
    one-shot raises RuntimeError the second time."""
    y, pullback = subject.run(subject.numpy, subject.copies())
    y, kept = np.array(y), y
    elsewhere, other_pullback = subject.run(subject.numpy, [-0.5 * array for array in subject.copies()])
    other_cotangent = _scalar_or_array(0.75 * subject.cotangent)
    subject.gradients(subject.numpy, other_pullback, other_cotangent)
    if not _same_bits(kept, y) or np.shares_memory(kept, elsewhere):
        yield Fault(None, "running the op again changes the y it returned before")
    first = [np.array(g) for g in subject.gradients(subject.numpy, pullback, _scalar_or_array(subject.cotangent))]
    yield from _differing(subject, first, subject.float64_gradients, "the gradient depends on what ran before")
    again, _ = subject.run(subject.numpy, subject.copies())
    if not _same_bits(again, y):
        yield Fault(None, "a second run on the same inputs gives another y")
    if subject.one_shot:
        try:
            pullback(_scalar_or_array(subject.cotangent))
        except RuntimeError:
            return
        yield Fault(None, "the pullback is declared one-shot but can be called twice")
    else:
        second = subject.gradients(subject.numpy, pullback, _scalar_or_array(subject.cotangent))
        yield from _differing(subject, second, first, "a second call of the pullback gives another gradient")


def linear_in_the_cotangent(subject: Subject) -> Iterator[Fault]:
    """pullback(2 dy) == 2 pullback(dy) and pullback(-dy) == -pullback(dy), bit for bit; pullback(0) == 0."""
    for factor in (2.0, -1.0, 0.0):
        _, pullback = subject.run(subject.numpy, subject.copies())
        scaled = subject.gradients(subject.numpy, pullback, _scalar_or_array(factor * subject.cotangent))
        for name, gradient, base in zip(subject.names, scaled, subject.float64_gradients, strict=True):
            if not np.array_equal(gradient, factor * base):
                yield Fault(name, f"pullback({factor:g} dy) is not {factor:g} pullback(dy)")


def any_memory_layout(subject: Subject) -> Iterator[Fault]:
    """Fortran order, gaps, negative strides and read-only memory give the same values and gradients."""
    for description, relayout in LAYOUTS.items():
        try:
            y, pullback = subject.run(subject.numpy, [relayout(array) for array in subject.arrays])
            gradients = subject.gradients(
                subject.numpy, pullback, _scalar_or_array(relayout(np.asarray(subject.cotangent)), keep=True)
            )
        except BrokenOpError as error:
            yield Fault(error.argument, f"on {description} arrays, {error}")
            continue
        if relative_error(np.asarray(y), subject.value) > LAYOUT_BOUND:
            yield Fault(None, f"{description} arrays give another y")
        for name, gradient, base in zip(subject.names, gradients, subject.float64_gradients, strict=True):
            if not subject.hard and not relative_error(np.asarray(gradient), base) <= LAYOUT_BOUND:
                yield Fault(name, f"{description} arrays give another gradient")


CLAUSES: tuple[Clause, ...] = (
    shapes_and_dtypes,
    writes_nothing,
    shares_no_memory,
    repeatable,
    linear_in_the_cotangent,
    any_memory_layout,
)


# --- what is saved ------------------------------------------------------------------------------------------------


def _saved_row(subject: Subject) -> list[Row]:
    """What the closure holds against the docstring's "Saves"; no row where the docstring says nothing about it."""
    if "Saves:" not in (subject.op.__doc__ or ""):
        return []
    try:
        _, pullback = subject.run(subject.numpy, subject.copies())
    except BrokenOpError as error:
        return [subject.row(NAME, "saved", Verdict.FAIL, detail=str(error))]
    held = distinct_entries(closure_arrays(pullback))
    declared = declared_entries(subject)
    if declared is None:
        return [
            subject.row(NAME, "saved", Verdict.INCONCLUSIVE, error=held, detail="cannot read the docstring's Saves")
        ]
    verdict = Verdict.PASS if held == declared else Verdict.FAIL
    detail = "" if held == declared else f"the closure holds {held} numbers, the docstring declares {declared}"
    return [subject.row(NAME, "saved", verdict, error=abs(held - declared), bound=0, unit="numbers", detail=detail)]


# --- helpers ------------------------------------------------------------------------------------------------------


def _fortran(array: HostArray) -> HostArray:
    return np.array(array, order="F")


def _gapped(array: HostArray) -> HostArray:
    """Every second entry, along every axis, of an array with other numbers between."""
    if not array.ndim:
        return array
    wide = np.full(tuple(2 * size for size in array.shape), 7.5)
    view = wide[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _backwards(array: HostArray) -> HostArray:
    if not array.ndim:
        return array
    reverse = (slice(None, None, -1),) * array.ndim
    return array[reverse].copy()[reverse]


def _read_only(array: HostArray) -> HostArray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[HostArray], HostArray]] = {
    "Fortran-ordered": _fortran,
    "gapped": _gapped,
    "reversed": _backwards,
    "read-only": _read_only,
}


def _as_dtype(dtype: type) -> Callable[[Any], Any]:
    return lambda value: value.astype(dtype) if isinstance(value, np.ndarray) else value


def _scalar_or_array(cotangent: HostArray, *, keep: bool = False) -> Any:
    """A cotangent as NumPy itself would hold it: a scalar of no dimensions is no array. `keep` keeps the array."""
    return cotangent if keep or cotangent.shape else cotangent[()]


def _same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def _array_constants(now: Any, before: Any) -> Iterator[tuple[str, HostArray, HostArray]]:
    pairs = zip(tree_leaves(now), tree_leaves(before), strict=True)
    return ((path, a, b) for (path, a), (_, b) in pairs if isinstance(a, np.ndarray))


def _differing(subject: Subject, found: Sequence[Any], expected: Sequence[Any], message: str) -> Iterator[Fault]:
    for name, a, b in zip(subject.names, found, expected, strict=True):
        if not _same_bits(a, b):
            yield Fault(name, message)
