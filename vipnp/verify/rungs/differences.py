"""Central differences of fourth order: the rung that any reader can derive again on paper."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.complex_step import EVERY_ENTRY, directional_error, every_entry, random_direction
from vipnp.verify.rungs.noise import (
    excused,
    explained,
    noise,
    or_nothing,
    rounding_of,
    rounding_of_gradient,
    rounding_of_terms,
)
from vipnp.verify.rungs.slopes import STEPS, beside_slopes, indices, kinks
from vipnp.verify.subject import Subject, off_by, relative_error, worst_entry

NAME = "differences"

OP_BOUND = 1e-11
COMPOSITE_BOUND = 1e-9
"""Error of a gradient relative to its largest entry, for one op and for layers and models, where the rounding of the
whole forward pass is divided by the step."""

STEP = 5e-4
"""Truncation grows like h^4, rounding like 1/h: they meet near (2^-53)^(1/5)."""


UNRESOLVED = 0.01
"""Where two step sizes disagree by more than this the function bends within a step, and the quotient means nothing."""

FINER = (
    (64, 32, 16, 8, 4, 2, 1, 2**-1, 2**-2),
    (2**-6, 2**-7, 2**-8),
    (2**-10, 2**-11, 2**-12),
    (2**-14, 2**-15, 2**-16),
)
"""Where STEP does not do, these times STEP are tried: wide ones for what bends slowly and rounds much, narrow ones
beside a kink."""

FEW = 8
"""After so many wrong entries no other steps are tried for the rest."""

REACH = 8 * STEP
HALVINGS = 20
JUMP = 0.25
"""So far on both sides of a point a kink is looked for. Halved so often, the way between is as short as the shortest
step. What then is left of the largest change of the slope, if it is so much, is a kink's."""


def differences(subject: Subject) -> list[Row]:
    """Every entry (one direction per tensor beyond EVERY_ENTRY of them) against (8 (f(x+h) - f(x-h)) - (f(x+2h) -
    f(x-2h))) / 12h.

    Two step sizes are compared. Where they disagree by more than the bound, others are tried; where no two agree, the
    difference quotient itself is not good enough to judge, and the rung says INCONCLUSIVE unless the gradient is off by
    far more than that. So it is where arguments are so large that the step is rounded away. An entry on a kink is right
    between the slopes on both sides, and one so near to a kink that a step crosses it, where shorter steps say so.
    """
    bound = COMPOSITE_BOUND if subject.composite else OP_BOUND
    gradients = subject.float64_gradients
    rng = subject.rng("directions of the differences")
    rows = []
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        if subject.entries <= EVERY_ENTRY:
            slopes = [partial(difference, subject, i, step=step) for step in (2 * STEP, STEP)]
            coarse, fine = (every_entry(slope, gradient.shape) for slope in slopes)
            if not subject.hard:
                _settle(subject, i, coarse, fine, bound)
            off = ~(np.abs(gradient - fine) <= bound * np.max(np.abs(fine)))
            for index, between in kinks(subject, i, np.asarray(off)).items():
                if between:
                    coarse[index] = fine[index] = gradient[index]
            for index in indices(np.asarray(np.abs(gradient - fine) > UNRESOLVED * np.max(np.abs(fine)))):
                if not _beside_a_kink(subject, i, index):
                    break
                coarse[index] = fine[index] = gradient[index]
            error, doubt = relative_error(gradient, fine), relative_error(coarse, fine)
            detail = worst_entry(gradient, fine) if error > bound else ""
            off, allowed, beside = np.abs(gradient - fine), bound * float(np.max(np.abs(fine))), _gradient(i)
            size, slope = float(np.maximum(np.max(np.abs(fine)), np.max(np.abs(gradient)))), fine
        else:
            direction = random_direction(rng, gradient.shape)
            scaled = direction / np.sqrt(direction.size)
            root = float(np.sqrt(direction.size))
            coarse_slope, fine_slope = (difference(subject, i, scaled, step) * root for step in (2 * STEP, STEP))
            found = float(np.sum(gradient * direction))
            error = directional_error(found, fine_slope, gradient)
            doubt = directional_error(coarse_slope, fine_slope, gradient)
            if error > bound and not subject.hard:
                best = best_quotient(subject, i, scaled)
                error, doubt = directional_error(found, root * best.slope, gradient), root * best.doubt
                doubt = directional_error(doubt, 0, gradient)
                if error > bound and best.narrow and error <= 10 * doubt and _kink_nearby(subject, i, scaled):
                    error = doubt = 0.0
            held = None
            with contextlib.suppress(BrokenOpError):  # of an op that is not made for one side
                held = beside_slopes(subject, {i: direction}, fine_slope) if error > bound else None
            if held and not held.agree:
                doubt = 1.0
            detail = "one random direction"
            norm = float(np.linalg.norm(gradient)) or 1.0
            size, slope = max(norm, abs(fine_slope)), np.asarray(fine_slope)
            off, allowed, beside = np.asarray(error * norm), bound * norm, _gradient(i, direction)
        doubt = float(np.maximum(doubt, max(_lost(subject.arrays[i]), _drowned(subject, size))))
        row = _judged(subject, name, error, doubt, bound, detail)
        row = excused(row, partial(_rounds, subject, beside, off, allowed))
        rows.append(or_nothing(row, gradient, slope, partial(rounding_of_gradient, subject, i)))
    return rows


def _rounds(subject: Subject, beside: Callable[[Subject], list[HostArray]], off: HostArray, allowed: float) -> bool:
    """Whether the rounding of what `beside` gives explains how far the gradient is off."""
    return explained(off, allowed, noise(subject, beside))


def _gradient(which: int, along: HostArray | None = None) -> Callable[[Subject], list[HostArray]]:
    """The gradient of one array, or the slope it says along a direction, for a subject."""

    def of(there: Subject) -> list[HostArray]:
        gradient = there.float64_gradients[which]
        return [gradient if along is None else np.asarray(np.sum(gradient * along))]

    return of


def _settle(subject: Subject, which: int, coarse: HostArray, fine: HostArray, bound: float) -> None:
    """Put the best quotients in the place of those that are no good, for entries whose gradient is off by more than the
    bound; `coarse` is then off `fine` by the doubt. Beside a kink the gradient itself, if the shortest steps say so.

    It ends once a few entries are wrong, since one is enough."""
    gradient = subject.float64_gradients[which]
    largest = float(np.nanmax(np.abs(fine), initial=0))
    error, doubt = np.abs(gradient - fine), np.abs(coarse - fine)
    wrong = 0
    for flat in np.argsort(-error, axis=None):
        index = np.unravel_index(flat, gradient.shape)
        if error[index] <= bound * largest or doubt[index] <= bound * largest / 10:
            continue
        unit = np.zeros(gradient.shape)
        unit[index] = 1
        best = best_quotient(subject, which, unit)
        fine[index], coarse[index] = best.slope, best.slope + best.doubt
        off = abs(gradient[index] - best.slope)
        wrong += bool(off > max(bound * largest, 10 * best.doubt))
        if wrong > FEW:
            return
        if bound * largest < off <= 10 * best.doubt and best.narrow and _kink_nearby(subject, which, unit):
            coarse[index] = fine[index] = gradient[index]


def _beside_a_kink(subject: Subject, which: int, index: tuple[int, ...]) -> bool:
    """Whether an entry has a kink nearby, and a gradient that is the slope on both sides over steps that do not reach
    it: where all entries are so near, wide quotients agree with each other on the mean of both sides of the kink."""
    unit = np.zeros(subject.arrays[which].shape)
    unit[index] = 1
    slope = float(subject.float64_gradients[which][index])
    try:
        sides = (beside_slopes(subject, {which: unit}, slope, step=step) for step in STEPS[1:])
        held = next(filter(None, sides), None)
        return held is not None and held.agree and held.between and _kink_nearby(subject, which, unit)
    except BrokenOpError:  # the op is not made for one side
        return False


def _judged(subject: Subject, name: str, error: float, doubt: float, bound: float, detail: str) -> Row:
    if error <= bound:
        verdict, reason = Verdict.PASS, ""
    elif np.isnan(doubt):
        verdict, reason = Verdict.INCONCLUSIVE, "the op has no value beside the inputs, and so no difference quotient"
    elif subject.hard or error <= 10 * doubt or doubt > UNRESOLVED:
        verdict, reason = Verdict.INCONCLUSIVE, f"the difference quotient is itself uncertain by {doubt:.1g}"
    else:
        verdict, reason = Verdict.FAIL, off_by(error, "of max")
    detail = "; ".join(filter(None, [detail, reason]))
    return subject.row(NAME, name, verdict, error=error, bound=bound, unit="of max", detail=detail)


def _lost(array: HostArray) -> float:
    """The share of a step that rounding x + step can take, at most all of it."""
    return min(1.0, float(np.max(np.spacing(np.abs(array)))) / STEP)


def _drowned(subject: Subject, size: float) -> float:
    """All of a slope of a `size`, where rounding the values on both sides moves the quotient by more than a little of
    it: of exp(60) + x no difference shows x. Else nothing."""
    return float(not rounding_of_terms(subject) / STEP <= UNRESOLVED * size)


def difference(subject: Subject, which: int, direction: HostArray, step: float, *, order: int = 4) -> float:
    """The slope of sum(dy * y) along `direction` in one differentiated array, of second or fourth order."""

    def change(distance: float) -> float:
        """sum(dy * (f(x + distance) - f(x - distance))): the subtraction comes first, where it cancels exactly."""
        return float(np.sum(subject.cotangent * _spread(subject, which, direction, distance)))

    if order == 2:
        return change(step) / (2 * step)
    return (8 * change(step) - change(2 * step)) / (12 * step)


def _spread(subject: Subject, which: int, direction: HostArray, distance: float) -> HostArray:
    """f(x + distance) - f(x - distance); NaN where the op, which is made for x, is not for these."""
    ends = []
    for sign in (1, -1):
        arrays: list[Any] = subject.copies()
        arrays[which] = arrays[which] + sign * distance * direction
        try:
            y, _ = subject.run(subject.numpy, arrays)
        except BrokenOpError:
            return np.full(subject.cotangent.shape, np.nan)
        ends.append(np.asarray(y))
    return np.asarray(ends[0] - ends[1])


@dataclass(frozen=True)
class Quotient:
    """A difference quotient, how far it may be off, and whether a narrow step gave it, as it does beside a kink."""

    slope: float
    doubt: float
    narrow: bool


def best_quotient(subject: Subject, which: int, direction: HostArray, scale: float = 1.0) -> Quotient:
    """The difference quotient along `direction` on which steps agree best, of all steps in FINER times `scale`; where
    narrower ones agree on another, there is a kink between, and theirs.

    Quotients of two steps, one half the other, are put together so that the error of fourth order goes.
    """
    rounding = rounding_of(subject)

    @cache
    def change(step: float) -> float:
        return float(np.sum(subject.cotangent * _spread(subject, which, direction, step)))

    best = Quotient(np.nan, np.inf, False)
    for multiples in FINER:
        steps = [scale * STEP * multiple for multiple in multiples]
        fourth = [(8 * change(step) - change(2 * step)) / (12 * step) for step in steps]
        sixth = [(16 * b - a) / 15 for a, b in pairwise(fourth)]
        for (a, b), step in zip(pairwise(sixth), steps[2:], strict=True):
            doubt = abs(a - b) + rounding / step
            narrow = multiples is not FINER[0]
            if doubt < best.doubt or (narrow and abs(b - best.slope) > 10 * (doubt + best.doubt)):
                best = Quotient(b, doubt, narrow)
    return best


def _kink_nearby(subject: Subject, which: int, direction: HostArray) -> bool:
    """Whether the slope along `direction` jumps within REACH: halving the way over and over, to the half
    along which it changes more, leaves JUMP of the largest change."""

    def slope(place: float) -> float:
        arrays: list[Any] = subject.copies()
        arrays[which] = np.asarray(arrays[which] + place * direction)
        there = replace(subject, args=subject.tree(arrays))
        vars(there)["cotangent"] = subject.cotangent
        return difference(there, which, direction, STEP * FINER[-1][-1], order=2)

    left, right = -REACH, REACH
    at_left, at_right = slope(left), slope(right)
    change = abs(at_right - at_left)
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        here = slope(middle)
        change = max(change, abs(here - at_left), abs(at_right - here))
        if abs(here - at_left) > abs(at_right - here):
            right, at_right = middle, here
        else:
            left, at_left = middle, here
    return abs(at_right - at_left) >= JUMP * change > 0
