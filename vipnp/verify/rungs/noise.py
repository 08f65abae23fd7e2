"""How much an op rounds by itself: a right one may lose digits, as 1 - cos(x) does near zero, and what it loses is no
mistake of its gradient.

At points so near to one another that a smooth function is a parabola, third differences leave the rounding alone. A
wrong formula is smooth as a right one is, so that no wrong gradient is explained by this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.subject import Subject

POINTS = 7
DISTANCE = 2.0**-40
"""At so many points in a row, every entry of every array so much of itself from one to the next: far enough for other
roundings, and so near that what is rounded to float32 on purpose is mostly rounded alike."""

SHARE = 1 / 20
"""(3!)^2 / 6!: the share of the rounding of one value in the mean square of third differences."""

TIMES = 10.0
"""An error up to so many times the deviation of the rounding may come of it."""

LAST_DIGITS = 1e-3
"""A gradient that is off by more than this share of its largest entry is wrong in more than the last digits, and nobody
asks whether rounding explains it: that takes as long as many calls of the op."""

WORDS = "the op's own rounding explains it: on inputs beside these it moves by as much"


def noise(subject: Subject, which: Callable[[Subject], Sequence[HostArray]]) -> list[HostArray]:
    """The standard deviation of the rounding of every entry of the arrays that `which` gives for a subject, each at
    least the median of its array, since one by itself may be rounded alike at all points. Nothing where the op is not
    made for the points beside its inputs."""
    rng = subject.rng("own rounding")
    signs = [rng.choice([-1.0, 1.0], array.shape) for array in subject.arrays]
    found = []
    try:
        for k in range(POINTS):
            far = DISTANCE * (k - POINTS // 2)
            moved = [np.asarray(array * (1 + far * u)) for array, u in zip(subject.arrays, signs, strict=True)]
            there = replace(subject, args=subject.tree(moved))
            vars(there)["cotangent"] = subject.cotangent
            found.append([np.array(array, np.float64) for array in which(there)])
    except (BrokenOpError, UndecidedError):
        return [np.zeros(array.shape) for array in found[0]] if found else []
    rows = [np.diff(np.stack(arrays), n=3, axis=0) for arrays in zip(*found, strict=True)]
    deviations = [np.sqrt(SHARE * np.mean(np.square(row), axis=0)) for row in rows]
    return [np.maximum(deviation, np.median(deviation)) for deviation in deviations]


def explained(error: HostArray, allowed: float, noises: Sequence[HostArray], *, units: float = 1.0) -> bool:
    """Whether every entry of an error is within what is `allowed`, or of the size of `units` times the rounding. Where
    nothing is allowed, rounding is no excuse."""
    most = np.maximum(allowed, TIMES * units * noises[0]) if noises else allowed
    return allowed > 0 and bool(np.all(error <= most))


def excused(row: Row, rounds: Callable[[], bool]) -> Row:
    """The row of a gradient, INCONCLUSIVE where it fails in the last digits alone and `rounds` says that the op's own
    rounding explains it."""
    last_digits = row.error is not None and row.error <= LAST_DIGITS
    if row.verdict is Verdict.FAIL and last_digits and rounds():
        return replace(row, verdict=Verdict.INCONCLUSIVE, detail=WORDS)
    return row
