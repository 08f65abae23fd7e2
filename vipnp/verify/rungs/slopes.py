"""Slopes on both sides: at a kink there is no derivative, and a gradient between them is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.subject import Subject

SLOPE_STEP = 1e-5
SLOPE_BOUND = 1e-3
"""The step of one-sided slopes of second order, and how far off them a gradient may be."""


@dataclass(frozen=True)
class Beside:
    """A gradient beside the slopes on both sides: whether they agree, and whether it is between them."""

    agree: bool
    between: bool
    words: str


def beside_slopes(
    subject: Subject, moved: Mapping[int, HostArray], found: float, *, step: float = SLOPE_STEP
) -> Beside | None:
    """`found` beside the slopes along a direction in some arrays; None where there are none, as at a jump."""
    right, left = (_one_sided(subject, moved, sign, step) for sign in (1.0, -1.0))
    if right is None or left is None:
        return None
    weight = max(1.0, *(float(np.max(np.abs(u))) for u in moved.values()))
    slack = SLOPE_BOUND * max(abs(right), abs(left), weight * float(np.max(np.abs(subject.cotangent))))
    return Beside(
        abs(right - left) <= slack,
        min(left, right) - slack <= found <= max(left, right) + slack,
        f"the gradient is {found:.6g} where the slopes on both sides are {left:.6g} and {right:.6g}",
    )


def _one_sided(subject: Subject, moved: Mapping[int, HostArray], sign: float, step: float) -> float | None:
    """The slope of sum(dy * y) on one side along a direction; None where there is none, as at a jump, and where an
    entry is so large that the step is rounded away."""
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
    size = max(1.0, *map(abs, slopes))
    return slopes[0] if abs(slopes[0] - slopes[1]) <= SLOPE_BOUND * size else None


def kinks(subject: Subject, which: int, where: HostArray) -> dict[tuple[int, ...], bool]:
    """Those of the entries `where` of one array at which the slopes on both sides differ, each with whether its
    gradient is between them."""
    gradient = subject.float64_gradients[which]
    found = {}
    for index in zip(*np.nonzero(where), strict=True) if where.ndim else [()] * bool(where):
        unit = np.zeros(gradient.shape)
        unit[index] = 1
        held = beside_slopes(subject, {which: unit}, float(gradient[index]))
        if held and not held.agree:
            found[index] = held.between
    return found
