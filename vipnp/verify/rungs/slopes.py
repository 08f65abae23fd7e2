"""Slopes on both sides: at a kink there is no derivative, and a gradient between them is right.

Where more than two smooth pieces meet, as where three entries of a sorted row are equal, the slopes on both sides are
those of two pieces, and a right gradient is that of any. So the slopes at points nearby are looked at too, and that
along equal entries which move together, on which all pieces agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.rungs.noise import rounding_of, rounding_of_terms
from vipnp.verify.subject import Subject

SLOPE_STEP = 1e-5
SLOPE_BOUND = 1e-3
"""The step of one-sided slopes of second order, and how far off them a gradient may be."""

STEPS = (SLOPE_STEP, SLOPE_STEP / 100, SLOPE_STEP / 10000)
"""The shorter ones, where kinks are so near that the first crosses them."""

TIED_BOUND = 1e-5
"""How far apart the slopes on both sides may be, beside the larger, for no kink between them along equal entries that
move together: there no points nearby are asked, and those of a few pieces among hundreds differ by little."""

NEARBY = 16
"""At so many points nearby the slope is taken, each entry a hundredth of a step to a step from where it was."""

MISSED = 2.0
"""Where many pieces meet, most are missed: a gradient may be beyond those seen by so many times what they span, as that
of all units of a layer that are off is."""

QUOTIENTS = (1000, 30)
"""The slopes nearby are taken over the step divided by this: over the shorter one, unless that is rounded away."""


@dataclass(frozen=True)
class Beside:
    """A gradient beside the slopes on both sides: whether they and those nearby agree, whether it is between them, how
    far they are apart, and whether several arguments moved."""

    agree: bool
    between: bool
    words: str
    apart: float
    joint: bool = False


def beside_slopes(
    subject: Subject, moved: Mapping[int, HostArray], found: float, *, step: float = SLOPE_STEP, alone: bool = False
) -> Beside | None:
    """`found` beside the slopes along a direction in some arrays, and if `alone` beside no others nearby; None where
    there are none, as at a jump."""
    right, left = (_one_sided(subject, moved, sign, step) for sign in (1.0, -1.0))
    if right is None or left is None:
        return None
    sides = sorted((left, right))
    slack = _slack(subject, moved, sides)
    words = f"the gradient is {found:.6g} where the slopes on both sides are {left:.6g} and {right:.6g}"
    apart = abs(right - left)
    between = sides[0] - slack <= found <= sides[1] + slack
    if alone:
        return Beside(apart <= slack * TIED_BOUND / SLOPE_BOUND, between, words, apart)
    if between or (apart <= slack and not many_pieces(subject, step, moved)):
        return Beside(apart <= slack, between, words, apart)
    nearby = _nearby(subject, moved, step)
    if not nearby:  # nobody knows how many pieces there are
        return Beside(False, True, words, apart)
    low, high = min(*sides, *nearby), max(*sides, *nearby)
    if any(min(abs(slope - side) for side in sides) > slack for slope in nearby):  # of neither of two pieces
        slack += MISSED * (high - low)
    return Beside(False, low - slack <= found <= high + slack, words, apart)


def beside_ties(subject: Subject, which: int, *, step: float = SLOPE_STEP) -> Beside | None:
    """The gradient of one array beside the slopes along a direction in which equal entries move together; of all arrays
    at once, where entries of several are equal and there is a kink otherwise."""
    gradients = subject.float64_gradients
    directions = _tied_directions(subject)

    def along(moved: Mapping[int, HostArray]) -> Beside | None:
        found = float(sum(np.sum(gradients[i] * u) for i, u in moved.items()))
        return beside_slopes(subject, moved, found, step=step, alone=True)

    one = along({which: directions[which]})
    if len(directions) == 1 or (one and one.agree):
        return one
    every = along(dict(enumerate(directions)))
    return every and replace(every, joint=True)


def kinks(subject: Subject, which: int, where: HostArray) -> dict[tuple[int, ...], bool]:
    """Those of the entries `where` of one array at which the slopes on both sides differ, each with whether its
    gradient is right there: between them, or that of one of many pieces. The first one that is wrong where they agree
    ends it, since no kink then makes the gradient right."""
    gradient = subject.float64_gradients[which]
    found: dict[tuple[int, ...], bool] = {}
    for index in indices(where):
        unit = np.zeros(gradient.shape)
        unit[index] = 1
        try:
            held = beside_slopes(subject, {which: unit}, float(gradient[index]))
        except BrokenOpError:  # the op is not made for one side, and so there is no kink
            continue
        if held and held.agree and not held.between:
            return found
        if held and not held.agree:
            found[index] = held.between
    if not all(found.values()) and (ties := beside_ties(subject, which)) and ties.agree and ties.between:
        return dict.fromkeys(found, True)
    return found


def indices(where: HostArray) -> list[tuple[int, ...]]:
    """Those of the true entries."""
    return list(zip(*np.nonzero(where), strict=True)) if where.ndim else [()] * bool(where)


def _slack(subject: Subject, moved: Mapping[int, HostArray], slopes: Sequence[float]) -> float:
    weight = max(1.0, *(float(np.max(np.abs(u))) for u in moved.values()))
    return SLOPE_BOUND * max(*map(abs, slopes), weight * float(np.max(np.abs(subject.cotangent))))


def _one_sided(subject: Subject, moved: Mapping[int, HostArray], sign: float, step: float) -> float | None:
    """The slope of sum(dy * y) on one side along a direction; None where there is none, as at a jump, and where entries
    of x or y are so large that the step is rounded away."""
    for which, direction in moved.items():
        lost = np.spacing(np.abs(subject.arrays[which]))
        if np.max(lost, where=direction != 0, initial=0) > SLOPE_BOUND * step:
            return None

    def value(distance: float) -> float:
        arrays: list[Any] = subject.copies()
        for which, direction in moved.items():
            arrays[which] = np.asarray(arrays[which] + sign * distance * direction)
        y, _ = subject.run(subject.numpy, arrays)
        return float(np.sum(subject.cotangent * (np.asarray(y) - subject.value)))

    slopes = [sign * (4 * value(h) - value(2 * h)) / (2 * h) for h in (step, 2 * step)]
    doubt = max(abs(slopes[0] - slopes[1]), rounding_of_terms(subject) / step)
    return slopes[0] if doubt <= SLOPE_BOUND * max(1.0, *map(abs, slopes)) else None


def many_pieces(subject: Subject, step: float, which: Iterable[int]) -> bool:
    """Whether the slope along a direction in all entries of some arrays differs from one point nearby to another."""
    rng = subject.rng("all entries")
    drawn = [np.asarray(rng.normal(size=array.shape)) for array in subject.arrays]
    moved = {i: drawn[i] for i in which}
    slopes = _nearby(subject, moved, step)
    return bool(slopes) and max(slopes) - min(slopes) > _slack(subject, moved, slopes)


def _nearby(subject: Subject, moved: Mapping[int, HostArray], step: float) -> list[float]:
    """The slopes along a direction at points nearby; none where the op is not made for these, and where rounding alone
    sets them apart."""
    allowed = SLOPE_BOUND / 10 * float(np.max(np.abs(subject.cotangent)))
    quotient = next((q for q in QUOTIENTS if rounding_of(subject) / (2 * step / q) <= allowed), None)
    if quotient is None:
        return []
    rng = subject.rng("nearby")
    slopes = []
    try:
        for _ in range(NEARBY):
            there = []
            for array in subject.arrays:
                far = 10.0 ** rng.uniform(-2, 0, array.shape) * rng.choice([-1.0, 1.0], array.shape)
                there.append(np.asarray(array + step * far))
            ends = []
            for sign in (1, -1):
                arrays = [
                    np.asarray(array + sign * step / quotient * moved[i]) if i in moved else array.copy()
                    for i, array in enumerate(there)
                ]
                ends.append(np.asarray(subject.run(subject.numpy, arrays)[0]))
            slopes.append(float(np.sum(subject.cotangent * (ends[0] - ends[1]))) / (2 * step / quotient))
    except BrokenOpError:
        return []
    return slopes


def _tied_directions(subject: Subject) -> list[HostArray]:
    """A direction in all arrays at once that is the same for equal entries."""
    entries = np.concatenate([array.ravel() for array in subject.arrays])
    _, which = np.unique(entries, return_inverse=True)
    rng = subject.rng("equal entries")
    drawn = (rng.uniform(0.5, 1.41, which.size) * rng.choice([-1.0, 1.0], which.size))[which.ravel()]
    ends = np.cumsum([array.size for array in subject.arrays])[:-1]
    return [u.reshape(a.shape) for u, a in zip(np.split(drawn, ends), subject.arrays, strict=True)]
