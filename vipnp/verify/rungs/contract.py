"""The contract of an op: pure, repeatable, linear in the cotangent, indifferent to memory layout, and it saves what it
says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.budget import OutOfTimeError
from vipnp.verify.layouts import LAYOUTS
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.float32 import UNIT_32, rounded_to_float32
from vipnp.verify.rungs.linear import Fault, gradients_at, linear_in_the_cotangent
from vipnp.verify.rungs.noise import WORDS, explained, noise_of_results
from vipnp.verify.saves import closure_arrays, declared_entries, distinct_entries
from vipnp.verify.several import OfOneArray, parts_of
from vipnp.verify.subject import UNIT_64, Subject, relative_error
from vipnp.verify.trees import tree_astype, tree_leaves

NAME = "contract"

LAYOUT_BOUND = 1e-13
"""Another memory layout may add numbers in another order, which moves the last digits and no more."""

UNITS_32 = 32.0
"""How many times the rounding of the inputs the error in float32 may be."""

SMALLEST_32, LARGEST_32 = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
"""The smallest and the largest normal float32: what float64 has beyond these, float32 is not asked for."""

COMPARED = (np.ndarray, np.generic, int, float, complex, str, bytes)
"""Constants of these classes are looked at again after the op: of other objects nobody knows when two are the same."""

Clause: TypeAlias = Callable[[Subject], Iterator[Fault]]


def contract(subject: Subject) -> list[Row]:
    """Every clause below, on float64 NumPy arrays; and float32 in, float32 out."""
    faults: list[Fault] = []
    broken: dict[tuple[str | None, str], list[str]] = {}
    for clause in CLAUSES:
        try:
            faults += clause(subject)
        except OutOfTimeError:
            if not (faults or broken):
                raise
            break  # what was found counts also without the rest
        except BrokenOpError as error:
            broken.setdefault((error.argument, str(error)), []).append(clause.__name__.replace("_", " "))
    faults += [Fault(argument, f"{', '.join(clauses)}: {said}") for (argument, said), clauses in broken.items()]
    rows = []
    for name in subject.names:
        own = [fault for fault in faults if fault.argument in (None, name)]
        sure = [fault for fault in own if not fault.doubtful]
        messages = list(dict.fromkeys(fault.message for fault in sure or own))
        rows.append(
            subject.row(
                NAME,
                name,
                Verdict.FAIL if sure else Verdict.INCONCLUSIVE if own else Verdict.PASS,
                error=len(messages),
                bound=0,
                unit="clauses",
                detail="; ".join(messages + [WORDS] * bool(own and not sure)) or f"{len(CLAUSES)} clauses hold",
            )
        )
    return [*rows, *_saved_row(subject)]


# --- the clauses --------------------------------------------------------------------------------------------------


def shapes_and_dtypes(subject: Subject) -> Iterator[Fault]:
    """One gradient for each argument, of its shape; float64 in, float64 out; float32 in, float32 out."""
    for dtype in (np.float64, np.float32):
        constants = tree_astype(subject.constants(), dtype)
        arrays = [array.astype(dtype) for array in subject.arrays]
        y, pullback = subject.run(subject.numpy, arrays, constants)
        if getattr(y, "dtype", None) != dtype:
            yield Fault(None, f"{np.dtype(dtype)} arguments give y of dtype {getattr(y, 'dtype', type(y).__name__)}")
        elif derived := _derived(y):
            yield Fault(None, f"y is {derived}")
        if not _finite(np.asarray(y), subject.value):
            yield Fault(None, f"y is not finite in {np.dtype(dtype)}")
        gradients = subject.gradients(subject.numpy, pullback, subject.cotangent.astype(dtype))
        for name, gradient, truth in zip(subject.names, gradients, subject.float64_gradients, strict=True):
            found = getattr(gradient, "dtype", type(gradient).__name__)
            if found != dtype:
                yield Fault(name, f"{np.dtype(dtype)} arguments give a gradient of dtype {found}")
            elif derived := _derived(gradient):
                yield Fault(name, f"the gradient is {derived}")
            elif not _finite(np.asarray(gradient), truth):
                yield Fault(name, f"the gradient is not finite in {np.dtype(dtype)}")


def _derived(array: Any) -> str:
    """In words, that an array is of a class derived from NumPy's: a matrix multiplies otherwise, a masked array hides
    what it holds. "" for NumPy's own."""
    if type(array) is np.ndarray or isinstance(array, np.generic):
        return ""
    return f"a {type(array).__name__}, expected an array of NumPy's own class"


def _finite(found: HostArray, truth: HostArray) -> bool:
    """Whether all is finite; in float32, all that float32 can hold."""
    beyond = (np.abs(truth) > LARGEST_32) & np.isfinite(truth) & (found.dtype == np.float32)
    return bool(np.all(np.isfinite(found) | beyond))


def writes_nothing(subject: Subject) -> Iterator[Fault]:
    """No argument, constant or cotangent is written to, by the op or by the pullback, in any layout: what makes a copy
    of one makes none of another."""
    for where, relayout in _layouts():
        yield from _writes(subject, where, relayout)


def _writes(subject: Subject, where: str, relayout: Callable[[HostArray], HostArray]) -> Iterator[Fault]:
    """What the op or the pullback writes to, with all arrays in one layout."""
    arrays, constants = list(map(relayout, subject.copies())), subject.constants()
    args = subject.tree(arrays)
    containers = _containers(args)
    own = list(zip(subject.names, arrays, subject.arrays, strict=True))

    def written_by(who: str, watched: Sequence[tuple[str, Any, Any]]) -> Iterator[Fault]:
        for name, now, before in watched:
            if not _same_bits(now, before):
                yield Fault(name if name in subject.names else None, f"{who} writes to {name}{where}")
        if _containers(args) != containers:
            yield Fault(None, f"{who} changes what a dict or list among its arguments holds")
        for path in _changed(constants, subject.kwargs):
            yield Fault(None, f"{who} writes to constant {path}{where}")

    y, pullback = subject.run(subject.numpy, args, constants, built=True)
    yield from written_by("the op", own)
    values = [(name, part, np.array(part)) for name, part in parts_of(y, pullback).items()]
    call, cotangents = _laid_out(pullback, subject.cotangent.copy(), relayout)
    _, expected = _laid_out(pullback, subject.cotangent, np.copy)
    subject.gradients(subject.numpy, call, cotangents[0])
    given = [("the cotangent", now, before) for now, before in zip(cotangents, expected, strict=True)]
    yield from written_by("the pullback", [*values, *own, *given])


def _laid_out(
    pullback: Callable[[Any], Any], dy: HostArray, relayout: Callable[[HostArray], HostArray]
) -> tuple[Callable[[Any], Any], tuple[HostArray, ...]]:
    """A pullback that gets its cotangents in another layout, and these: one, or one for each of several y."""
    if not isinstance(pullback, OfOneArray):
        return pullback, (relayout(dy),)
    cotangents = tuple(relayout(np.array(part)) for part in pullback.split(dy))
    return lambda _: pullback.pullback(cotangents), cotangents


def _containers(args: tuple[Any, ...]) -> list[tuple[str, int]]:
    """Which array stands where in the dicts and lists of arguments."""
    return [(path, id(leaf)) for path, leaf in tree_leaves(args)]


def _layouts() -> Iterator[tuple[str, Callable[[HostArray], HostArray]]]:
    """The usual layout, then the others that can be written to."""
    yield "", np.copy
    yield from ((f" where it is {words}", relayout) for words, relayout in LAYOUTS.items() if words != "read-only")


def shares_no_memory(subject: Subject) -> Iterator[Fault]:
    """y shares no memory with an argument, nor a gradient with an argument, with y or with another gradient, in any
    layout.

    A gradient may be the cotangent itself, because nobody writes to either.
    """
    for where, relayout in _layouts():
        arrays = list(map(relayout, subject.copies()))
        y, pullback = subject.run(subject.numpy, arrays)
        parts = parts_of(y, pullback)
        gradients = subject.gradients(subject.numpy, pullback, relayout(subject.cotangent.copy()))
        for name, array in zip(subject.names, arrays, strict=True):
            for part, memory in parts.items():
                if np.shares_memory(memory, array):
                    yield Fault(name, f"{part} shares memory with {name}{where}")
            for other, gradient in zip(subject.names, gradients, strict=True):
                if np.shares_memory(gradient, array):
                    yield Fault(other, f"the gradient of {other} shares memory with {name}{where}")
        for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
            for part, memory in parts.items():
                if np.shares_memory(gradient, memory):
                    yield Fault(name, f"the gradient of {name} shares memory with {part}{where}")
            for other, another in zip(subject.names[:i], gradients[:i], strict=True):
                if np.shares_memory(gradient, another):
                    yield Fault(name, f"the gradients of {other} and {name} share memory{where}")


def repeatable(subject: Subject) -> Iterator[Fault]:
    """A second run and a second pullback give the same bits, also after the op ran on other inputs and the pullback on
    another cotangent, and leaves alone what it returned before; a pullback declared one-shot raises RuntimeError the
    second time."""
    y, pullback = subject.run(subject.numpy, subject.copies())
    kept, y = parts_of(y, pullback), np.array(y)
    kept_first = {name: np.array(part) for name, part in kept.items()}
    elsewhere, returned = _on_other_inputs(subject)
    returned_first = [np.array(g) for g in returned]
    for name, part in kept.items():
        if not _same_bits(part, kept_first[name]) or any(np.shares_memory(part, other) for other in elsewhere):
            yield Fault(None, f"running the op again changes the {name} it returned before")
    found = subject.gradients(subject.numpy, pullback, subject.cotangent)
    first = [np.array(g) for g in found]
    yield from _differing(subject, first, subject.float64_gradients, "the gradient depends on what ran before")
    again, _ = subject.run(subject.numpy, subject.copies())
    if not _same_bits(again, y):
        yield Fault(None, "a second run on the same inputs gives another y")
    if subject.one_shot:
        try:
            pullback(subject.cotangent if subject.cotangent.shape else subject.cotangent[()])
        except RuntimeError:
            return
        yield Fault(None, "the pullback is declared one-shot but can be called twice")
        return
    another = np.asarray(subject.rng("a second cotangent").normal(size=subject.cotangent.shape))
    for cotangent, expected, words in (
        (another, gradients_at(subject, another), "a second call of the pullback, with another cotangent,"),
        (subject.cotangent, first, "a second call of the pullback"),
        (np.zeros_like(another), None, "a call of the pullback with zeros"),
        (subject.cotangent, first, "a call of the pullback after one with zeros"),
    ):
        again = subject.gradients(subject.numpy, pullback, cotangent)
        if expected is not None:
            yield from _differing(subject, again, expected, f"{words} gives another gradient")
        for now, before in ((found, first), (returned, returned_first)):
            yield from _differing(subject, now, before, "a later call of a pullback writes to what it returned before")


def _on_other_inputs(subject: Subject) -> tuple[list[Any], list[Any]]:
    """All y and the gradients on other inputs, or on the same ones if the op is not made for others."""

    def there(factor: float) -> tuple[list[Any], list[Any]]:
        y, pullback = subject.run(subject.numpy, [np.asarray(factor * array) for array in subject.arrays])
        gradients = subject.gradients(subject.numpy, pullback, 0.75 * subject.cotangent)
        return list(parts_of(y, pullback).values()), gradients

    for factor in (-0.5, 0.5):
        with contextlib.suppress(BrokenOpError):
            return there(factor)
    return there(1.0)


def as_right_in_float32(subject: Subject) -> Iterator[Fault]:
    """y and gradients in float32 are those in float64, up to what rounding explains.

    Rounding explains a multiple of 2^-24 of the largest entry, and of what float64 itself changes by where every input
    and the cotangent move by 2^-24 of themselves. Entries that float32 cannot hold are left out.
    """
    if subject.hard:
        return
    rounded = rounded_to_float32(subject)
    dy = subject.cotangent.astype(np.float32).astype(np.float64)
    truths = _value_and_gradients(rounded, rounded.arrays, dy, np.float64)
    found = _value_and_gradients(rounded, rounded.arrays, dy, np.float32)
    rng = subject.rng("moved by 2^-24")
    shaken = []
    for _ in range(2):
        moved = [v * (1 + UNIT_32 * rng.choice([-1.0, 1.0], v.shape)) for v in (*rounded.arrays, dy)]
        shaken.append(_value_and_gradients(rounded, moved[:-1], np.asarray(moved[-1]), np.float64))
    for i, (name, single, truth) in enumerate(zip(["y", *subject.names], found, truths, strict=True)):
        held = np.abs(truth) <= LARGEST_32
        scale = float(np.max(np.abs(truth), where=held, initial=0))
        moves = max(float(np.max(np.abs(other[i] - truth), where=held, initial=0)) for other in shaken)
        off = np.where(held, np.abs(single - truth), 0)
        error, allowed = float(np.max(off, initial=0)), UNITS_32 * (UNIT_32 * scale + moves) + SMALLEST_32
        if not error <= allowed:
            rounds = explained(off, allowed, noise_of_results(subject)[i : i + 1], units=UNIT_32 / UNIT_64)
            where = "y" if name == "y" else "the gradient"
            share = f"{error / scale:.2g} of its largest entry" if scale else f"{error:.2g}"
            yield Fault(None if name == "y" else name, f"{where} in float32 is off that in float64 by {share}", rounds)


def _value_and_gradients(
    subject: Subject, arrays: Sequence[HostArray], cotangent: HostArray, dtype: type
) -> list[HostArray]:
    constants = tree_astype(subject.constants(), dtype)
    y, pullback = subject.run(subject.numpy, [np.asarray(array, dtype) for array in arrays], constants)
    gradients = subject.gradients(subject.numpy, pullback, cotangent.astype(dtype))
    return [np.array(v, np.float64) for v in (y, *gradients)]


def any_memory_layout(subject: Subject) -> Iterator[Fault]:
    """Fortran order, gaps, negative strides and read-only memory give the same values and gradients, where all arrays
    have them and where some have."""
    constant = np.full(subject.cotangent.shape, 0.75)
    if constant.ndim:
        spread = np.broadcast_to(np.float64(0.75), constant.shape)
        pair = (gradients_at(subject, spread), gradients_at(subject, constant))
        for i, (gradient, base) in enumerate(zip(*pair, strict=True)):
            yield from _moved(subject, i + 1, gradient, base, "a cotangent of stride 0 gives another gradient")
    for description, relayout in LAYOUTS.items():
        for among, chosen in _which(len(subject.arrays)).items():
            arrays = [relayout(array) if i in chosen else array for i, array in enumerate(subject.copies())]
            try:
                y, pullback = subject.run(subject.numpy, arrays)
                other = relayout if len(subject.arrays) in chosen else np.copy
                call, cotangents = _laid_out(pullback, np.asarray(subject.cotangent), other)
                gradients = subject.gradients(subject.numpy, call, cotangents[0], keep_array=True)
            except BrokenOpError as error:
                yield Fault(error.argument, f"on {description} {among}, {error}")
                continue
            yield from _moved(subject, 0, np.asarray(y), subject.value, f"{description} {among} give another y")
            if not subject.hard:
                for i, (gradient, base) in enumerate(zip(gradients, subject.float64_gradients, strict=True)):
                    message = f"{description} {among} give another gradient"
                    yield from _moved(subject, i + 1, np.asarray(gradient), base, message)


def _moved(subject: Subject, which: int, found: HostArray, base: HostArray, message: str) -> Iterator[Fault]:
    """A fault where y, the first of the results, or a gradient, one of the others, is off what it was by more than
    LAYOUT_BOUND; in doubt where the op's own rounding explains it."""
    if not relative_error(found, base) <= LAYOUT_BOUND:
        allowed = LAYOUT_BOUND * float(np.max(np.abs(base)))
        rounds = explained(np.abs(found - base), allowed, noise_of_results(subject)[which : which + 1])
        yield Fault([None, *subject.names][which], message, rounds)


def _which(arguments: int) -> dict[str, set[int]]:
    """Sets of arguments that are laid out otherwise, in words; the cotangent comes after the last."""
    every = set(range(arguments + 1))
    some = {"arrays": every, "arguments alone": every - {arguments}, "cotangents alone": {arguments}}
    return some if arguments == 1 else {**some, "arrays in every second place": set(range(0, arguments + 1, 2))}


CLAUSES: tuple[Clause, ...] = (
    shapes_and_dtypes,
    writes_nothing,
    shares_no_memory,
    repeatable,
    linear_in_the_cotangent,
    as_right_in_float32,
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
    kept = closure_arrays(pullback.pullback if isinstance(pullback, OfOneArray) else pullback)
    if kept is None:
        detail = f"cannot look into a pullback of type {type(pullback).__name__}"
        return [subject.row(NAME, "saved", Verdict.INCONCLUSIVE, detail=detail)]
    held = distinct_entries(kept)
    declared = declared_entries(subject)
    if declared is None:
        return [
            subject.row(NAME, "saved", Verdict.INCONCLUSIVE, error=held, detail="cannot read the docstring's Saves")
        ]
    verdict = Verdict.PASS if held == declared else Verdict.FAIL
    detail = "" if held == declared else f"the closure holds {held} numbers, the docstring declares {declared}"
    return [subject.row(NAME, "saved", verdict, error=abs(held - declared), bound=0, unit="numbers", detail=detail)]


# --- helpers ------------------------------------------------------------------------------------------------------


def _same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype == object:  # the bytes are addresses
        pairs = list(zip(a.flat, b.flat, strict=True))
        return all(type(x) is type(y) for x, y in pairs) and not any(list(_changed(x, y)) for x, y in pairs)
    return bool(a.tobytes() == b.tobytes())


def _changed(now: Any, before: Any) -> Iterator[str]:
    """The names of the constants that are others than they were: arrays, numbers, strings, and what is in a list or a
    dict."""
    found, expected = dict(tree_leaves(now)), dict(tree_leaves(before))
    yield from sorted(found.keys() ^ expected.keys())
    for path in sorted(found.keys() & expected.keys()):
        if isinstance(expected[path], COMPARED) and not _same_bits(found[path], expected[path]):
            yield path


def _differing(subject: Subject, found: Sequence[Any], expected: Sequence[Any], message: str) -> Iterator[Fault]:
    for name, a, b in zip(subject.names, found, expected, strict=True):
        if not _same_bits(a, b):
            yield Fault(name, message)
