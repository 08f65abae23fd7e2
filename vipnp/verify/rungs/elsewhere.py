"""Elsewhere: other sizes and special values than those at hand, since a mistake may wait for the 129th row or for zero.

A gradient counts as wrong here only where the function itself is smooth enough to tell, and only if it is far off: the
last digits are the business of the other rungs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.complex_step import directional, random_direction
from vipnp.verify.rungs.differences import STEP, difference
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_arrays, tree_map

NAME = "elsewhere"

BOUND = 1e-6
"""Error along a direction, relative to the gradient's norm, or to BOUND times that of the cotangent if that is more."""

BEYOND = (131, 1031)
"""Sizes beyond the blocks that code is cut into: primes, so that every cut leaves a rest."""

ENTRIES = 2**16
"""No array is made larger than this."""

LARGE = (8.0, 40.0)
"""The largest entry of inputs that are made large."""

SLOPE_STEP = 1e-5
SLOPE_BOUND = 1e-3
"""One-sided slopes of second order, and how far off them a gradient at a special value may be."""

SPECIAL_ENTRIES = 8
"""So many special entries of every array are looked at."""


@dataclass(frozen=True)
class Place:
    """Inputs of another kind; `special` says which entries hold the special value, by argument."""

    words: str
    subject: Subject
    special: tuple[HostArray | None, ...] = ()


def elsewhere(subject: Subject) -> list[Row]:
    """Every gradient at other sizes and values.

    Along a random direction it is held to the complex step and to differences, whichever comes closer. At zeros, ones
    and ties it is held to the slopes on both sides: to the slope where they agree, between them where they do not.

    Where op or pullback raises, a gradient has another shape, or y is not finite, the op is not made for the inputs,
    and they count for nothing: whoever uses it there is told.
    """
    before = subject.float64_gradients
    faults: dict[str, list[str]] = {name: [] for name in subject.names}
    seen: list[str] = []
    for place in _places(subject):
        if not _made_for(place.subject):
            continue
        seen.append(place.words)
        for name, fault in _faults(place):
            faults[name].append(f"{place.words}: {fault}")
    again = replace(subject).float64_gradients
    for name, a, b in zip(subject.names, before, again, strict=True):
        if a.tobytes() != b.tobytes():
            faults[name].append("the gradient is another one after calls with other sizes and values")
    if not seen:
        raise UndecidedError("the op takes no other sizes and no other values")
    return [
        subject.row(
            NAME,
            name,
            Verdict.FAIL if found else Verdict.PASS,
            error=len(found),
            bound=0,
            unit="places",
            detail="; ".join(found[:3]) or f"{len(seen)} other kinds of inputs",
        )
        for name, found in faults.items()
    ]


def _made_for(subject: Subject) -> bool:
    try:
        return bool(np.all(np.isfinite(subject.value))) and bool(subject.float64_gradients)
    except (BrokenOpError, UndecidedError):
        return False


def _faults(place: Place) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong) at one place."""
    subject = place.subject
    gradients = subject.float64_gradients
    rng = subject.rng("elsewhere")
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        if place.special:
            fault = _off_slopes(subject, i, gradient, place.special[i])
        else:
            fault = _off_direction(subject, i, gradient, random_direction(rng, gradient.shape))
        if fault:
            yield name, fault


def _off_direction(subject: Subject, which: int, gradient: HostArray, direction: HostArray) -> str:
    scale = max(1.0, float(np.max(np.abs(subject.arrays[which]))))
    coarse, fine = (difference(subject, which, direction, scale * step) for step in (STEP, STEP / 2))
    if not (np.isfinite(coarse) and np.isfinite(fine)):
        return ""
    if not np.all(np.isfinite(gradient)):
        return "the gradient is not finite"
    found = float(np.sum(gradient * direction))
    norm = max(float(np.linalg.norm(gradient)), BOUND * float(np.linalg.norm(subject.cotangent)))
    error, doubt = abs(found - fine) / norm, abs(coarse - fine) / norm
    if error <= max(BOUND, 10 * doubt):
        return ""
    with contextlib.suppress(BrokenOpError, UndecidedError):
        if abs(found - directional(subject, which, direction)) / norm <= BOUND:
            return ""
    return f"the gradient is off by {error:.2g} of its norm"


def _off_slopes(subject: Subject, which: int, gradient: HostArray, special: HostArray | None) -> str:
    if special is None:
        return ""
    indices = list(zip(*np.nonzero(special), strict=True)) if special.ndim else [()]
    chosen = subject.rng("special").permutation(len(indices))[:SPECIAL_ENTRIES]
    for index in (indices[k] for k in chosen):
        right, left = (_one_sided(subject, which, index, sign) for sign in (1.0, -1.0))
        if right is None or left is None:
            continue
        found = float(gradient[index])
        slack = SLOPE_BOUND * max(abs(right), abs(left), float(np.max(np.abs(subject.cotangent))))
        if not min(left, right) - slack <= found <= max(left, right) + slack:
            return f"the gradient is {found:.6g} where the slopes on both sides are {left:.6g} and {right:.6g}"
    return ""


def _one_sided(subject: Subject, which: int, index: tuple[Any, ...], sign: float) -> float | None:
    """The slope of sum(dy * y) on one side of an entry; None where there is none, as at a jump, and where the entry is
    so large that the step is rounded away."""
    if np.spacing(abs(subject.arrays[which][index])) > SLOPE_BOUND * SLOPE_STEP:
        return None

    def value(distance: float) -> float:
        arrays = subject.copies()
        arrays[which][index] += sign * distance
        y, _ = subject.run(subject.numpy, arrays)
        return float(np.sum(subject.cotangent * (np.asarray(y) - subject.value)))

    slopes = [sign * (4 * value(h) - value(2 * h)) / (2 * h) for h in (SLOPE_STEP, 2 * SLOPE_STEP)]
    size = max(1.0, *map(abs, slopes))
    return slopes[0] if abs(slopes[0] - slopes[1]) <= SLOPE_BOUND * size else None


# --- the places ---------------------------------------------------------------------------------------------------


def _places(subject: Subject) -> Iterator[Place]:
    sizes = {size for _, array in (*subject.named, *tree_arrays(subject.kwargs)) for size in np.shape(array)} - {1}
    for size in sorted(sizes):
        for new in (1, size + 1):
            yield Place(f"with size {new} in place of {size}", _resized(subject, size, new))
        for beyond in BEYOND:
            for new in (beyond, size * (beyond // size + 1)):
                place = Place(f"with size {new} in place of {size}", _resized(subject, size, new))
                if max(array.size for array in place.subject.arrays) <= ENTRIES and _made_for(place.subject):
                    yield place
                    break
    for largest in LARGE:
        arrays = [array * largest / max(float(np.max(np.abs(array))), 1e-300) for array in subject.arrays]
        yield Place(f"with entries up to {largest:g}", replace(subject, args=subject.tree(arrays)))
    rng = subject.rng("special values")
    for words, spoil in SPECIAL.items():
        spoiled = [spoil(rng, array) for array in subject.arrays]
        if all(new is None for new in spoiled):
            continue
        arrays = [array if new is None else new for array, new in zip(subject.arrays, spoiled, strict=True)]
        pairs = zip(subject.arrays, spoiled, strict=True)
        special = tuple(None if new is None else np.asarray(new != array) for array, new in pairs)
        yield Place(words, replace(subject, args=subject.tree(arrays)), special)


def _resized(subject: Subject, old: int, new: int) -> Subject:
    """Every axis of size `old` made `new` long, by repeating entries; differentiated ones are moved a little, so that
    no two are equal."""
    rng = subject.rng(f"size {new} for {old}")

    def stretch(array: HostArray) -> HostArray:
        for axis, size in enumerate(np.shape(array)):
            if size == old:
                array = np.take(array, np.arange(new) % old, axis=axis)
        return array

    arrays = [stretch(array) for array in subject.arrays]
    moved = [array * rng.uniform(0.9, 1.1, array.shape) for array in arrays]
    return replace(subject, args=subject.tree(moved), kwargs=tree_map(stretch, dict(subject.kwargs)))


def _some(value: Callable[[HostArray], Any]) -> Callable[[np.random.Generator, HostArray], HostArray | None]:
    """A third of the entries, at least one, replaced; nothing where all entries have one sign: zero may lie outside of
    what the op is made for."""

    def spoil(rng: np.random.Generator, array: HostArray) -> HostArray | None:
        if array.min() > 0 or array.max() < 0:
            return None
        chosen = np.asarray(rng.random(array.shape) < 1 / 3)
        chosen.reshape(-1)[rng.integers(array.size)] = True
        return np.where(chosen, value(array), array)

    return spoil


def _tied(axis: int) -> Callable[[np.random.Generator, HostArray], HostArray | None]:
    """The smallest entry along an axis becomes equal to the largest."""

    def spoil(rng: np.random.Generator, array: HostArray) -> HostArray | None:
        if array.ndim < 1 + (axis == 0) or array.shape[axis] < 2:
            return None
        smallest = array == array.min(axis=axis, keepdims=True)
        return np.where(smallest, array.max(axis=axis, keepdims=True), array)

    return spoil


SPECIAL: dict[str, Callable[[np.random.Generator, HostArray], HostArray | None]] = {
    "with zeros": _some(np.zeros_like),
    "with ones": _some(np.sign),
    "with ties along the last axis": _tied(-1),
    "with ties along the first axis": _tied(0),
}
