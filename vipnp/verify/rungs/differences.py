"""Central differences of fourth order: the rung that any reader can derive again on paper."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.complex_step import EVERY_ENTRY, directional_error, every_entry, random_direction
from vipnp.verify.rungs.slopes import beside_slopes, kinks
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


def differences(subject: Subject) -> list[Row]:
    """Every entry (one direction per tensor beyond EVERY_ENTRY of them) against (8 (f(x+h) - f(x-h)) - (f(x+2h) -
    f(x-2h))) / 12h.

    Two step sizes are compared: where they disagree by more than the bound, the difference quotient itself is not good
    enough to judge, and the rung says INCONCLUSIVE unless the gradient is off by far more than that. So it is where
    arguments are so large that the step is rounded away. An entry on a kink is right between the slopes on both sides.
    """
    bound = COMPOSITE_BOUND if subject.composite else OP_BOUND
    gradients = subject.float64_gradients
    rng = subject.rng("directions of the differences")
    rows = []
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        if subject.entries <= EVERY_ENTRY:
            slopes = [partial(difference, subject, i, step=step) for step in (2 * STEP, STEP)]
            coarse, fine = (every_entry(slope, gradient.shape) for slope in slopes)
            off = ~(np.abs(gradient - fine) <= bound * np.max(np.abs(fine)))
            for index, between in kinks(subject, i, np.asarray(off)).items():
                if between:
                    coarse[index] = fine[index] = gradient[index]
            error, doubt = relative_error(gradient, fine), relative_error(coarse, fine)
            detail = worst_entry(gradient, fine) if error > bound else ""
        else:
            direction = random_direction(rng, gradient.shape)
            scaled = direction / np.sqrt(direction.size)
            size = float(np.sqrt(direction.size))
            coarse_slope, fine_slope = (difference(subject, i, scaled, step) * size for step in (2 * STEP, STEP))
            error = directional_error(float(np.sum(gradient * direction)), fine_slope, gradient)
            doubt = directional_error(coarse_slope, fine_slope, gradient)
            held = beside_slopes(subject, {i: direction}, fine_slope) if error > bound else None
            if held and not held.agree:
                doubt = 1.0
            detail = "one random direction"
        rows.append(_judged(subject, name, error, max(doubt, _lost(subject.arrays[i])), bound, detail))
    return rows


def _judged(subject: Subject, name: str, error: float, doubt: float, bound: float, detail: str) -> Row:
    if error <= bound:
        verdict, reason = Verdict.PASS, ""
    elif subject.hard or error <= 10 * doubt or doubt > UNRESOLVED:
        verdict, reason = Verdict.INCONCLUSIVE, f"the difference quotient is itself uncertain by {doubt:.1g}"
    else:
        verdict, reason = Verdict.FAIL, off_by(error, "of max")
    detail = "; ".join(filter(None, [detail, reason]))
    return subject.row(NAME, name, verdict, error=error, bound=bound, unit="of max", detail=detail)


def _lost(array: HostArray) -> float:
    """The share of a step that rounding x + step can take, at most all of it."""
    return min(1.0, float(np.max(np.spacing(np.abs(array)))) / STEP)


def difference(subject: Subject, which: int, direction: HostArray, step: float, *, order: int = 4) -> float:
    """The slope of sum(dy * y) along `direction` in one differentiated array, of second or fourth order."""

    def change(distance: float) -> float:
        """sum(dy * (f(x + distance) - f(x - distance))): the subtraction comes first, where it cancels exactly."""
        return float(np.sum(subject.cotangent * _spread(subject, which, direction, distance)))

    if order == 2:
        return change(step) / (2 * step)
    return (8 * change(step) - change(2 * step)) / (12 * step)


def _spread(subject: Subject, which: int, direction: HostArray, distance: float) -> HostArray:
    ends = []
    for sign in (1, -1):
        arrays: list[Any] = subject.copies()
        arrays[which] = arrays[which] + sign * distance * direction
        y, _ = subject.run(subject.numpy, arrays)
        ends.append(np.asarray(y))
    return np.asarray(ends[0] - ends[1])
