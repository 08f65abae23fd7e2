"""Elsewhere: other sizes and special values than those at hand, since a mistake may wait for the 129th row or for zero.

A gradient counts as wrong here only where the function itself is smooth enough to tell, and only if it is far off: the
last digits are the business of the other rungs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.complex_step import holds_by_complex_step, random_direction
from vipnp.verify.rungs.differences import STEP, best_quotient, difference
from vipnp.verify.rungs.slopes import SLOPE_STEP, beside_slopes, beside_ties, many_pieces
from vipnp.verify.subject import UNIT_64, Subject
from vipnp.verify.trees import tree_arrays, tree_leaves, tree_map

NAME = "elsewhere"

BOUND = 1e-6
"""Error along a direction, relative to the gradient's norm, or to BOUND times that of the cotangent if that is more."""

BEYOND = (131, 1031)
"""Sizes beyond the blocks that code is cut into: primes, so that every cut leaves a rest."""

ENTRIES = 2**16
"""No array is made larger than this."""

LARGEST = (1e-6, 1e-3, 8.0, 40.0)
"""The largest entry of inputs that are made small or large."""

STEPS = (SLOPE_STEP, SLOPE_STEP / 100, SLOPE_STEP / 10000)
"""Of slopes on both sides: the shorter ones, where other kinks are so near that the first crosses them."""

TOLD = 3
"""So many faults of an argument are told, and no more looked for."""

SPECIAL_ENTRIES = 8
"""So many special entries of every array are looked at."""


@dataclass(frozen=True)
class Place:
    """Inputs of another kind. Where entries hold a special value, `special` says which, by argument. `doubtful` are the
    constants that the op may not take as they are there."""

    words: str
    subject: Subject
    doubtful: str = ""
    special: tuple[HostArray | None, ...] = ()


class Fault(NamedTuple):
    """What is wrong with a gradient, and whether other arguments had to move for it to show."""

    words: str
    shared: bool = False


def elsewhere(subject: Subject) -> list[Row]:
    """Every gradient at other sizes and values.

    Along a random direction it is held to the complex step and to differences, whichever comes closer. At zeros, ones
    and ties it is held to the slopes on both sides: to the slope where they agree, between them where they do not. It
    is so entry by entry, and along a direction that moves equal entries together. Where many pieces meet and these say
    different things, the second decides: no gradient of a sorted row with ties is right entry by entry.

    Where op or pullback raises, a gradient has another shape, or y is not finite, the op is not made for the inputs,
    and they count for nothing: whoever uses it there is told. A fault beside a constant that another size may
    spoil decides nothing, since a right op may ask more of its constants than anyone here knows.
    """
    before = subject.float64_gradients
    faults: dict[str, list[str]] = {name: [] for name in subject.names}
    doubts: dict[str, list[str]] = {name: [] for name in subject.names}
    seen: list[str] = []
    for place in _places(subject):
        if not _made_for(place.subject) or _beyond_signs(subject, place.subject):
            continue
        with contextlib.suppress(BrokenOpError):  # of an op that is made for this place and not for all around it
            found = list(_faults(place, [name for name in subject.names if len(faults[name]) >= TOLD]))
            seen.append(place.words)
            for name, fault in found:
                if place.doubtful:
                    doubts[name].append(f"{place.words}, which may spoil the constant {place.doubtful}: {fault}")
                else:
                    faults[name].append(f"{place.words}: {fault}")
    again = replace(subject).float64_gradients
    for name, a, b in zip(subject.names, before, again, strict=True):
        if a.tobytes() != b.tobytes():
            faults[name].append("the gradient is another one after calls with other sizes and values")
    if not seen:
        raise UndecidedError("the op takes no other sizes and no other values")
    rows = []
    for name in subject.names:
        told = faults[name] or doubts[name]
        verdict = Verdict.FAIL if faults[name] else Verdict.INCONCLUSIVE if doubts[name] else Verdict.PASS
        detail = "; ".join(told[:TOLD]) or f"{len(seen)} other kinds of inputs"
        rows.append(subject.row(NAME, name, verdict, error=len(told), bound=0, unit="places", detail=detail))
    return rows


def _made_for(subject: Subject) -> bool:
    try:
        return bool(np.all(np.isfinite(subject.value))) and bool(subject.float64_gradients)
    except (BrokenOpError, UndecidedError):
        return False


def _beyond_signs(given: Subject, there: Subject) -> bool:
    """Whether a gradient is not finite at zeros or at entries of a sign where there were none: an op that divides by
    positive numbers may not be made for others."""
    pairs = list(zip(given.arrays, there.arrays, strict=True))
    beyond = any((old.min() > 0 >= new.min()) or (old.max() < 0 <= new.max()) for old, new in pairs)
    return beyond and not all(np.all(np.isfinite(gradient)) for gradient in there.float64_gradients)


def _faults(place: Place, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong) at one place, for all arguments but those that are `known` to be wrong."""
    subject = place.subject
    gradients = subject.float64_gradients
    if place.special:
        faults = [None if name in known else _off_slopes(place, i) for i, name in enumerate(subject.names)]
        # Moved together, all gradients share the fault of one: it is that which is wrong by itself, if one is.
        alone = bool(known) or any(fault and not fault.shared for fault in faults)
        for name, fault in zip(subject.names, faults, strict=True):
            if fault and not (fault.shared and alone):
                yield name, fault.words
        return
    rng = subject.rng("elsewhere")
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        direction = random_direction(rng, gradient.shape)
        if name not in known and (words := _off_direction(subject, i, gradient, direction)):
            yield name, words


def _off_direction(subject: Subject, which: int, gradient: HostArray, direction: HostArray) -> str:
    scale = float(np.max(np.abs(subject.arrays[which]))) or 1.0
    coarse, fine = (difference(subject, which, direction, scale * step) for step in (STEP, STEP / 2))
    if not (np.isfinite(coarse) and np.isfinite(fine)):
        return ""
    if not np.all(np.isfinite(gradient)):
        return "the gradient is not finite"
    found = float(np.sum(gradient * direction))
    norm = max(float(np.linalg.norm(gradient)), BOUND * float(np.linalg.norm(subject.cotangent)))
    error, doubt = abs(found - fine) / norm, abs(coarse - fine) / norm
    rounding = float(np.sum(np.abs(subject.cotangent * subject.value))) * UNIT_64 / (scale * STEP * norm)
    if error <= max(BOUND, 10 * doubt, 10 * rounding):
        return ""
    best = best_quotient(subject, which, direction, scale)
    if abs(found - best.slope) <= max(BOUND * norm, 10 * best.doubt):
        return ""
    sides = [beside_slopes(subject, {which: direction}, found, step=scale * step) for step in STEPS]
    if any(held and not held.agree for held in sides) or all(held and held.apart > error * norm / 10 for held in sides):
        return ""  # the inputs lie on a kink, as those at hand may
    if many_pieces(subject, scale * SLOPE_STEP):
        ties = beside_ties(subject, which, step=scale * SLOPE_STEP)
        return "" if ties is None or ties.between or not ties.agree else ties.words
    if holds_by_complex_step(subject, which, direction, found, BOUND * norm):
        return ""
    return f"the gradient is off by {error:.2g} of its norm"


def _off_slopes(place: Place, which: int) -> Fault | None:
    """What is wrong with the gradient of one argument at special values."""
    subject, special = place.subject, place.special[which]
    if special is None:
        return None
    gradient = subject.float64_gradients[which]
    ties = beside_ties(subject, which)
    right_along_ties = ties is not None and ties.agree and ties.between
    wrong_along_ties = ties is not None and ties.agree and not ties.between
    words = f"along equal entries that move together, {ties.words}" if ties else ""
    if ties and wrong_along_ties and not ties.joint:
        return Fault(words)
    indices = list(zip(*np.nonzero(special), strict=True)) if special.ndim else [()]
    chosen = subject.rng("special").permutation(len(indices))[:SPECIAL_ENTRIES]
    for index in (indices[k] for k in chosen):
        unit = np.zeros(special.shape)
        unit[index] = 1
        held = beside_slopes(subject, {which: unit}, float(gradient[index]))
        if held and not np.isfinite(gradient[index]):
            return Fault(held.words)
        if held and not held.between and (held.agree or not right_along_ties):
            return Fault(held.words)
    return Fault(words, shared=True) if wrong_along_ties else None


# --- the places ---------------------------------------------------------------------------------------------------


def _places(subject: Subject) -> Iterator[Place]:
    sizes = {size for _, array in (*subject.named, *tree_arrays(subject.kwargs)) for size in np.shape(array)} - {1}
    for size in sorted(sizes):
        for new in (1, size + 1):
            if resized := _resized(subject, size, new):
                yield Place(f"with size {new} in place of {size}", resized, _doubtful(subject, size, new))
        for beyond in BEYOND:
            for new in (beyond, size * (beyond // size + 1)):
                resized = _resized(subject, size, new)
                if resized and max(array.size for array in resized.arrays) <= ENTRIES and _made_for(resized):
                    yield Place(f"with size {new} in place of {size}", resized, _doubtful(subject, size, new))
                    break

    for largest in LARGEST:
        arrays = [array * largest / max(float(np.max(np.abs(array))), 1e-300) for array in subject.arrays]
        yield Place(f"with entries up to {largest:g}", _with(subject, arrays))
    for words, sign in (("positive", 1.0), ("negative", -1.0)):
        yield Place(f"with {words} entries", _with(subject, [sign * np.abs(array) for array in subject.arrays]))
    rng = subject.rng("special values")
    for words, spoil in SPECIAL.items():
        spoiled = [spoil(rng, array) for array in subject.arrays]
        if any(array is not None for array in spoiled):
            yield _special(subject, words, spoiled)
    yield from _equal_arguments(subject, rng)


def _with(subject: Subject, arrays: Sequence[HostArray]) -> Subject:
    return replace(subject, args=subject.tree(map(np.asarray, arrays)))


def _special(subject: Subject, words: str, spoiled: Sequence[HostArray | None]) -> Place:
    pairs = list(zip(subject.arrays, spoiled, strict=True))
    special = tuple(None if new is None else np.asarray(new != array) for array, new in pairs)
    arrays = [array if new is None else new for array, new in pairs]
    return Place(words, _with(subject, arrays), special=special)


def _equal_arguments(subject: Subject, rng: np.random.Generator) -> Iterator[Place]:
    """A third of the entries of every argument made those of the first one of its shape."""
    shapes = [array.shape for array in subject.arrays]
    if len(set(shapes)) == len(shapes):
        return
    chosen = {shape: _a_third(rng, shape) for shape in dict.fromkeys(shapes) if shapes.count(shape) > 1}
    special = tuple(chosen.get(shape) for shape in shapes)
    arrays = [
        array if mask is None else np.where(mask, subject.arrays[shapes.index(array.shape)], array)
        for array, mask in zip(subject.arrays, special, strict=True)
    ]
    yield Place("with equal entries in several arguments", _with(subject, arrays), special=special)


def _resized(subject: Subject, old: int, new: int) -> Subject | None:
    """Every axis of size `old` made `new` long, by repeating entries; differentiated ones are moved a little, so that
    no two are equal. None where a constant would become one that a right op need not take."""
    rng = subject.rng(f"size {new} for {old}")
    constants = [array for _, array in tree_arrays(subject.kwargs) if isinstance(array, np.ndarray)]
    if any(_bound_to(array, old, new) for array in constants):
        return None
    arrays = [_stretched(array, old, new) for array in subject.arrays]
    moved = [array * rng.uniform(0.9, 1.1, array.shape) for array in arrays]
    kwargs = tree_map(lambda array: _stretched(array, old, new, constant=True), dict(subject.kwargs))
    return replace(subject, args=subject.tree(moved), kwargs=kwargs)


def _stretched(array: Any, old: int, new: int, *, constant: bool = False) -> Any:
    """`array` with its axes of size `old` made `new` long; what is no array of NumPy stays. A constant distribution
    stays one, by zeros."""
    if not isinstance(array, np.ndarray):
        return array
    for axis in reversed(range(array.ndim)):  # from the last: of square one-hot labels, the rows are the distributions
        if array.shape[axis] == old:
            zeros = constant and new > old and _is_distribution(array, axis)
            array = np.take(array, np.arange(new) % old, axis=axis)
            if zeros:
                np.moveaxis(array, axis, 0)[old:] = 0
    return array


def _bound_to(array: HostArray, old: int, new: int) -> bool:
    """Whether a constant may belong to the size `old` alone: integers that `new` is too short for, such as labels; a
    permutation; distributions that would lose a part."""
    if array.dtype.kind in "iu" and array.size:
        permutes = array.shape == (old,) and np.array_equal(np.sort(array), np.arange(old))
        return bool(permutes or new <= array.max() < old or _loses_a_part(array, old, new))
    return _loses_a_part(array, old, new)


def _loses_a_part(array: HostArray, old: int, new: int) -> bool:
    return new < old and any(
        size == old and _is_distribution(array, axis) and not _is_distribution(array.take(range(new), axis), axis)
        for axis, size in enumerate(array.shape)
    )


def _doubtful(subject: Subject, old: int, new: int) -> str:
    """The names of the constants that may not be what they were at another size."""
    return ", ".join(name for name, constant in tree_leaves(subject.kwargs) if _is_spoilt(constant, old, new))


def _is_spoilt(constant: Any, old: int, new: int) -> bool:
    """Whether a constant may belong to a size: an index, or an array along it, of integers in order or of
    floating-point numbers other than masks of zeros and ones and distributions."""
    if not isinstance(constant, np.ndarray):
        return isinstance(constant, (int, np.integer)) and constant is not True and bool(new <= constant < old)
    if old in constant.shape and constant.dtype.kind == "f":
        mask = np.all((constant == 0) | (constant == 1))
        return not (mask or any(_is_distribution(constant, axis) for axis in range(constant.ndim)))
    of_one_axis = constant.dtype.kind in "iu" and constant.shape == (old,) and old > 2
    return of_one_axis and bool(np.all(constant[1:] >= constant[:-1]))


def _is_distribution(array: HostArray, axis: int) -> bool:
    """Whether the entries along an axis are not negative and sum to one."""
    return array.dtype.kind in "fiub" and bool(np.all(array >= 0) and np.allclose(array.sum(axis=axis), 1, atol=1e-9))


def _a_third(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Which entries are chosen: about a third, at least one."""
    chosen = np.asarray(rng.random(shape) < 1 / 3)
    chosen.reshape(-1)[rng.integers(chosen.size)] = True
    return chosen


Spoil: TypeAlias = Callable[[np.random.Generator, HostArray], HostArray | None]
"""The array with special entries; None where it has no place for them."""


def _some(value: Callable[[HostArray], Any]) -> Spoil:
    """A third of the entries replaced."""

    def spoil(rng: np.random.Generator, array: HostArray) -> HostArray:
        return np.where(_a_third(rng, array.shape), value(array), array)

    return spoil


def _has_rows(array: HostArray, axis: int) -> bool:
    return array.ndim > (axis == 0) and array.shape[axis] > 1


def _tied(axis: int) -> Spoil:
    """The smallest entry along an axis becomes equal to the largest."""

    def spoil(_: np.random.Generator, array: HostArray) -> HostArray | None:
        if not _has_rows(array, axis):
            return None
        smallest = array == array.min(axis=axis, keepdims=True)
        return np.where(smallest, array.max(axis=axis, keepdims=True), array)

    return spoil


def _alike(axis: int, factor: float) -> Spoil:
    """All entries of one row along an axis become `factor` times its first."""

    def spoil(rng: np.random.Generator, array: HostArray) -> HostArray | None:
        if not _has_rows(array, axis):
            return None
        new = array.copy()
        row = tuple(rng.integers(size) for size in np.delete(array.shape, axis))
        rows = np.moveaxis(new, axis, -1)
        rows[row] = factor * rows[row][0]
        return new

    return spoil


def _throughout(factor: float) -> Spoil:
    """Every entry becomes `factor` times the first."""
    return lambda _, array: np.full(array.shape, factor * array.flat[0])


def _first_row_for_all(_: np.random.Generator, array: HostArray) -> HostArray | None:
    return np.repeat(array[:1], len(array), axis=0) if _has_rows(array, 0) else None


SPECIAL: dict[str, Spoil] = {
    "with zeros": _some(np.zeros_like),
    "with ones": _some(np.sign),
    "with ties along the last axis": _tied(-1),
    "with ties along the first axis": _tied(0),
    "with zeros all along the last axis": _alike(-1, 0),
    "with zeros all along the first axis": _alike(0, 0),
    "with equal entries along the last axis": _alike(-1, 1),
    "with equal entries along the first axis": _alike(0, 1),
    "with the first row for all": _first_row_for_all,
    "with zeros alone": _throughout(0),
    "with equal entries alone": _throughout(1),
}
