"""The places that `elsewhere` looks at: other sizes, also beyond those of blocks, other magnitudes, signs and ties."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.rungs.constants import bound_to, doubtful, is_distribution
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_arrays, tree_map

BEYOND = (131, 1031)
"""Sizes beyond the blocks that code is cut into: primes, so that every cut leaves a rest."""

ENTRIES = 2**16
"""No array is made larger than this."""

MEMORY = 2**32
"""Bytes that an op may take where a size is made larger. At twice the size it is expected to take DOUBLED times as
much, as where its memory grows with the fourth power."""

DOUBLED = 2**4

LARGEST = (1e-6, 1e-3, 0.03, 8.0, 40.0)
"""The largest entry of inputs that are made small or large."""

UP_TO = "with entries up to {:g}"
SMALL = frozenset(UP_TO.format(largest) for largest in LARGEST if largest < 1)
"""Words of these places; those of SMALL are not tried in one argument alone."""

ALONE = 4
"""Up to so many arguments also get other values one at a time: a quotient stays as it is where both are larger."""


@dataclass(frozen=True)
class Place:
    """Inputs of another kind. Where entries hold a special value, `special` says which, by argument. `doubtful` are the
    constants that the op may not take as they are there."""

    words: str
    subject: Subject
    doubtful: str = ""
    special: tuple[HostArray | None, ...] = ()


def made_for(subject: Subject) -> bool:
    """Whether the op works on these inputs: y is finite, nothing raises, and the memory suffices."""
    try:
        return bool(np.all(np.isfinite(subject.value))) and bool(subject.float64_gradients)
    except (BrokenOpError, UndecidedError, MemoryError):
        return False


def places(subject: Subject) -> Iterator[Place]:
    """All that the op is made for, sizes first."""
    for place in _other_sizes(subject):
        if made_for(place.subject) and not _beyond_domain(subject, place.subject):
            yield place
    values = [Values(subject, *found) for found in _other_values(subject)]
    refused = []
    for other in values:
        if there := other.place(other.changed):
            yield there
        else:
            refused.append(other)
    for other in values:
        few = 1 < len(other.changed) <= ALONE and other.words not in SMALL  # of a small period every step has a kink
        ways: list[tuple[int, ...]] = [(i,) for i in other.changed] if few or other in refused else []
        ways += [tuple(set(other.changed) - {i}) for i in other.changed if other in refused and len(other.changed) > 2]
        yield from filter(None, map(other.place, ways))


def too_large(subject: Subject) -> str:
    """In words, which sizes of BEYOND are not tried since an array would have more than ENTRIES; "" for none."""
    shapes = [np.shape(array) for _, array in subject.named]
    left_out = [
        f"{new} in place of {size}"
        for size in _sizes(subject)
        for new in BEYOND
        if new > size and any(math.prod(new if n == size else n for n in shape) > ENTRIES for shape in shapes)
    ]
    return f", without sizes {', '.join(left_out)}: arrays of more than {ENTRIES:,} entries" if left_out else ""


def _sizes(subject: Subject) -> list[int]:
    arrays = (*subject.named, *tree_arrays(subject.kwargs))
    return sorted({size for _, array in arrays for size in np.shape(array)} - {1})


def _other_sizes(subject: Subject) -> Iterator[Place]:
    for size in _sizes(subject):
        for new in (1, size + 1):
            if resized := _resized(subject, size, new):
                yield _of_size(subject, resized, size, new)
        most = _largest_size(subject, size)
        for beyond in BEYOND:
            for new in (beyond, size * (beyond // size + 1)):
                resized = _resized(subject, size, new) if new <= most else None
                if resized and _entries(resized) <= ENTRIES and made_for(resized):
                    yield _of_size(subject, resized, size, new)
                    break


def _of_size(subject: Subject, resized: Subject, old: int, new: int) -> Place:
    repeated = [
        name
        for name, array in tree_arrays(subject.kwargs)
        if isinstance(array, np.ndarray) and array.dtype.kind in "iu"
        if old in array.shape and new > old and len(np.unique(array)) == array.size
    ]
    where = f", where {', '.join(repeated)} repeats its entries" if repeated else ""
    numbers = [name for name, constant in subject.kwargs.items() if type(constant) is int and constant == old]
    where += f", though {', '.join(numbers)} is {old}" if numbers else ""
    return Place(f"with size {new} in place of {old}{where}", resized, doubtful(subject, old, new))


Arrays: TypeAlias = Sequence[HostArray | None]
"""By argument: other entries, None where they stay; or which entries are special, None where none is."""


def _other_values(subject: Subject) -> Iterator[tuple[str, Arrays, Arrays]]:
    """(words, other entries, which of them are special)."""
    ordinary = [None] * len(subject.arrays)
    for largest in LARGEST:
        scaled = [_up_to(largest, array) for array in subject.arrays]
        yield UP_TO.format(largest), scaled, ordinary
        if largest > 1:  # what saturates at the one end need not at the other, and the largest is of one sign
            yield f"{UP_TO.format(largest)} and turned signs", [-array for array in scaled], ordinary
    for words, sign in (("positive", 1.0), ("negative", -1.0)):
        yield f"with {words} entries", [sign * np.abs(array) for array in subject.arrays], ordinary
    rng = subject.rng("special values")
    for words, spoil in SPECIAL.items():
        spoiled = [spoil(rng, array) for array in subject.arrays]
        there = _with(subject, spoiled).arrays
        found = zip(subject.arrays, spoiled, there, strict=True)
        yield words, spoiled, [None if new is None else np.asarray(now != old) for old, new, now in found]
    yield "with equal entries in several arguments", *_equal_arguments(subject, rng)


def _up_to(largest: float, array: HostArray) -> HostArray:
    return np.asarray(array * largest / max(float(np.max(np.abs(array))), 1e-300))


@dataclass(frozen=True, eq=False)
class Values:
    """Other values of the arguments of a subject, and which of them are special."""

    subject: Subject
    words: str
    arrays: Arrays
    marks: Arrays

    @property
    def changed(self) -> tuple[int, ...]:
        """The arguments that have other values."""
        return tuple(i for i, array in enumerate(self.arrays) if array is not None)

    def place(self, among: tuple[int, ...]) -> Place | None:
        """The place where these arguments have them; None where none has, or the op is not made for that: a divisor may
        not be zero, which says nothing of what it divides."""
        there = _with(self.subject, [array if i in among else None for i, array in enumerate(self.arrays)])
        if not among or not made_for(there) or _beyond_domain(self.subject, there):
            return None
        special = tuple(None if i in self.changed and i not in among else mark for i, mark in enumerate(self.marks))
        names = ", ".join(self.subject.names[i] for i in among)
        return Place(f"{self.words} in {names}" if among != self.changed else self.words, there, special=special)


def _beyond_domain(given: Subject, there: Subject) -> bool:
    """Whether a gradient is not finite at zeros, at entries of a sign, or at equal entries of what was in order, where
    there were none: an op that divides by positive numbers may not be made for others."""
    pairs = list(zip(given.arrays, there.arrays, strict=True))
    beyond = any(
        (old.min() > 0 >= new.min()) or (old.max() < 0 <= new.max()) or (in_order(old) and not in_order(new))
        for old, new in pairs
    )
    return beyond and not all(np.all(np.isfinite(gradient)) for gradient in there.float64_gradients)


def in_order(array: HostArray) -> bool:
    """Whether entries increase all along the last axis, as those of knots, times and levels do. `np.interp` raises
    nothing where they do not, and means nothing."""
    return array.ndim > 0 and array.shape[-1] > 2 and bool(np.all(np.diff(array, axis=-1) > 0))


def _with(subject: Subject, arrays: Arrays) -> Subject:
    """The subject with other arrays, or its own; those of arrays that are in order are put in order."""
    pairs = [(old, old if new is None else new) for old, new in zip(subject.arrays, arrays, strict=True)]
    return replace(subject, args=subject.tree(np.sort(new) if in_order(old) else np.asarray(new) for old, new in pairs))


def _equal_arguments(subject: Subject, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """A third of the entries of every argument made those of the first one of its shape; which they are."""
    shapes = [array.shape for array in subject.arrays]
    chosen = {shape: _a_third(rng, shape) for shape in dict.fromkeys(shapes) if shapes.count(shape) > 1}
    marks = [chosen.get(shape) for shape in shapes]
    first = [shapes.index(shape) for shape in shapes]
    arrays = [
        None if mark is None or first[i] == i else np.where(mark, subject.arrays[first[i]], array)
        for i, (array, mark) in enumerate(zip(subject.arrays, marks, strict=True))
    ]
    return arrays, marks


def _resized(subject: Subject, old: int, new: int) -> Subject | None:
    """Every axis of size `old` made `new` long, by repeating entries; differentiated ones are moved a little, so that
    no two are equal. None where a constant would become one that a right op need not take."""
    rng = subject.rng(f"size {new} for {old}")
    constants = [array for _, array in tree_arrays(subject.kwargs) if isinstance(array, np.ndarray)]
    if any(bound_to(array, old, new) for array in constants):
        return None
    arrays = [_stretched(array, old, new) for array in subject.arrays]
    moved = [array * rng.uniform(0.9, 1.1, array.shape) for array in arrays]
    kwargs = tree_map(lambda array: _stretched(array, old, new, constant=True), dict(subject.kwargs))
    return replace(_with(subject, moved), kwargs=kwargs)


def _entries(subject: Subject) -> int:
    """Those of its largest array."""
    return max(array.size for array in subject.arrays)


def _largest_size(subject: Subject, size: int) -> int:
    """Up to which size in place of `size` the op is tried. A system that runs out of memory ends the process and tells
    nobody, so the size is doubled as long as MEMORY suffices for the next."""
    at = size
    while at < BEYOND[-1]:
        resized = _resized(subject, size, at)
        if resized is None or _entries(resized) > ENTRIES or DOUBLED * _memory(resized) > MEMORY:
            break
        at *= 2
    return at


def _memory(subject: Subject) -> int:
    """The most bytes that op and pullback hold at once."""
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        made_for(subject)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not traced:
            tracemalloc.stop()


def _stretched(array: Any, old: int, new: int, *, constant: bool = False) -> Any:
    """`array` with its axes of size `old` made `new` long; what is no array of NumPy stays. A constant distribution
    stays one, by zeros."""
    if not isinstance(array, np.ndarray):
        return array
    for axis in reversed(range(array.ndim)):  # from the last: of square one-hot labels, the rows are the distributions
        if array.shape[axis] == old:
            zeros = constant and new > old and is_distribution(array, axis)
            array = np.take(array, np.arange(new) % old, axis=axis)
            if zeros:
                np.moveaxis(array, axis, 0)[old:] = 0
    return array


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
