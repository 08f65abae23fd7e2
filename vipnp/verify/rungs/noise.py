"""How much an op rounds by itself: a right one may lose digits, as 1 - cos(x) does near zero, and what it loses is no
mistake of its gradient.

It is seen in two ways. At points so near to one another that a smooth function is a parabola, third differences leave
the rounding alone, also of what is not written in NumPy. And every result of NumPy is shaken in its last digit,
since steps that round one way at all of these points, as in x - tanh(x) for x = 0.001, show nothing there. A wrong
formula is smooth as a right one is, and is shaken as little, so that no wrong gradient is explained by this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.subject import UNIT_64, Subject
from vipnp.verify.worlds.shaken import ShakenArray, shaking

POINTS = 7
DISTANCE = 2.0**-40
"""At so many points in a row, every entry of every array so much of itself from one to the next: far enough for other
roundings, and so near that what is rounded to float32 on purpose is mostly rounded alike."""

RUNS = 5
"""So often the op runs with results that are shaken."""

SHARE = 1 / 20
"""(3!)^2 / 6!: the share of the rounding of one value in the mean square of third differences."""

TIMES = 10.0
"""An error up to so many times the deviation of the rounding may come of it."""

LAST_DIGITS = 1e-3
"""A gradient that is off by more than this share of its largest entry is wrong in more than the last digits, and nobody
asks whether rounding explains it: that takes as long as many calls of the op."""

UNIT = "2^-53 of max"
"""Of errors that are told in units of float64's rounding."""

SMALL = 1e-6
"""Arrays are taken for this large at least: of one that cancels to nothing, rounding is all there is."""

NOTHING = "nothing but rounding of terms of about {:.1g}, which cancel; the error is relative to these"

WORDS = "the op's own rounding explains it: on inputs beside these it moves by as much"


Which: TypeAlias = Callable[[Subject], Sequence[HostArray]]


def noise(subject: Subject, which: Which) -> list[HostArray]:
    """The standard deviation of the rounding of every entry of the arrays that `which` gives for a subject, each at
    least the median of its array, since one by itself may be rounded alike every time. Nothing where the op is not made
    for the points beside its inputs."""
    both = [found for found in (_of_points(subject, which), _of_shaking(subject, which)) if found]
    deviations = [np.max(pair, axis=0) for pair in zip(*both, strict=True)]
    return [np.maximum(deviation, np.median(deviation)) for deviation in deviations]


def noise_of_results(subject: Subject) -> list[HostArray]:
    """That of y and of every gradient, measured once a subject."""
    kept: dict[str, Any] = vars(subject)
    if "noise" not in kept:
        kept["noise"] = noise(subject, lambda there: [there.value, *there.float64_gradients])
    found: list[HostArray] = kept["noise"]
    return found


def rounding_of(subject: Subject) -> float:
    """How much sum(dy * y) may be rounded: as much as its terms, and as the op's own steps."""
    own = noise_of_results(subject)
    most = np.maximum(UNIT_64 * np.abs(subject.value), own[0] if own else 0.0)
    return float(np.sum(np.abs(subject.cotangent) * most))


def rounding_of_terms(subject: Subject) -> float:
    """The deviation of sum(dy * y) where every y is rounded once."""
    return float(np.linalg.norm(subject.cotangent * subject.value)) * UNIT_64


def _of_points(subject: Subject, which: Which) -> list[HostArray]:
    rng = subject.rng("own rounding")
    signs = [rng.choice([-1.0, 1.0], array.shape) for array in subject.arrays]
    points = (DISTANCE * (k - POINTS // 2) for k in range(POINTS))
    inputs = ([a * (1 + far * u) for a, u in zip(subject.arrays, signs, strict=True)] for far in points)
    found = _runs(subject, which, inputs, subject.cotangent)
    return [np.sqrt(SHARE * np.mean(np.square(np.diff(values, n=3, axis=0)), axis=0)) for values in found]


def _of_shaking(subject: Subject, which: Which) -> list[HostArray]:
    with shaking(subject.rng("shaken")):
        inputs = ([a.copy().view(ShakenArray) for a in subject.arrays] for _ in range(RUNS))
        found = _runs(subject, which, inputs, subject.cotangent.view(ShakenArray))
    return [np.std(values, axis=0, ddof=1) for values in found]


def _runs(
    subject: Subject, which: Which, inputs: Iterable[Sequence[HostArray]], cotangent: HostArray
) -> list[HostArray]:
    """What `which` gives on inputs and a cotangent instead of the subject's, one run after the other along a new first
    axis; nothing where the op is not made for one of them, or goes another way there."""
    found = []
    try:
        for arrays in inputs:
            there = replace(subject, args=subject.tree(map(np.asanyarray, arrays)))
            vars(there)["cotangent"] = cotangent
            found.append([np.array(array, np.float64) for array in which(there)])
            if _goes_another_way(there, subject):
                return []
    except (BrokenOpError, UndecidedError):
        return []
    return [np.stack(values) for values in zip(*found, strict=True)]


def _goes_another_way(there: Subject, subject: Subject) -> bool:
    """Whether y or a gradient is off that of the subject by more than last digits: the op asks about these, as
    `x - x.max() >= 0` does, and another answer is no rounding."""
    pairs = zip((there.value, *there.float64_gradients), (subject.value, *subject.float64_gradients), strict=True)
    return any(
        now.shape != usual.shape
        or not np.max(np.abs(now - usual)) <= LAST_DIGITS * max(float(np.max(np.abs(usual))), SMALL)
        for now, usual in pairs
    )


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


def or_nothing(row: Row, gradient: HostArray, derivative: HostArray, rounding: Callable[[], float]) -> Row:
    """The row of a gradient; PASS where it is nothing but rounding, as that of a bias before a batch norm is, and the
    derivative is nothing beside the terms that cancel, which are as large as the rounding times 2^53."""
    found, truth = (float(np.max(np.abs(array), initial=0.0)) for array in (gradient, derivative))
    if row.verdict is Verdict.PASS or row.bound is None or not max(found, truth) <= LAST_DIGITS * SMALL:
        return row
    deviation = rounding()
    unit = UNIT_64 if row.unit == UNIT else 1.0
    if not (deviation > 0 and found <= TIMES * deviation and truth <= row.bound * unit * deviation / UNIT_64):
        return row
    terms = deviation / UNIT_64
    error = max(found, truth) / terms / unit
    return replace(row, verdict=Verdict.PASS, error=error, detail=NOTHING.format(terms))


def rounding_of_gradient(subject: Subject, which: int) -> float:
    """The largest deviation of the rounding of one gradient, 0 where it could not be measured."""
    found = noise_of_results(subject)
    return float(np.max(found[1 + which], initial=0.0)) if found else 0.0
