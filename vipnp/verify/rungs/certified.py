"""Ball arithmetic: a rigorous bound on the error of the float64 gradient, in units of its own rounding."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.extras import MissingExtraError
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.noise import UNIT, or_nothing, rounding_of_gradient
from vipnp.verify.rungs.places import made_for
from vipnp.verify.rungs.pytorch import twin_gradients
from vipnp.verify.rungs.slopes import kinks
from vipnp.verify.subject import UNIT_64, Subject, geometric_mean
from vipnp.verify.worlds.balls import BallNumbers, precision
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend, fill

NAME = "certified"

OP_BOUND = 16.0
COMPOSITE_BOUND = 64.0
"""Error of a float64 gradient in units of 2^-53 of its largest entry, for one op and for layers and models."""

HARD_RATIO = 2.0
HARD_SLACK = 1e-14
HARD_DRAWS = 8
"""On ill-conditioned inputs the error may be HARD_RATIO times that of PyTorch's float64, plus HARD_SLACK; both are
geometric means over HARD_DRAWS inputs, because a single error is a coin toss."""

AGREEMENT = 1e-40
"""How closely the ball of the derivative and the ball of the pullback must meet, relative to the gradient's norm."""

ROUNDED = 64.0
"""An entry off the derivative by so many times 2^-53 of itself may have a rounded constant in it: 1.0 / 3, or a product
of two numbers that Python has rounded."""

GROWN = 1e-9
ELSEWHERE = 2
"""A wrong term that is small on the inputs at hand is not small at so many others, each entry times 2^-4 to 2^4: an
entry off by this there has no rounding to explain it."""

ROUNDED_WORDS = (
    "off by about {:.1g} times 2^-53 of each entry, which a constant that Python rounded (1.0 / 3, a product of "
    "constants) explains as well as a mistake of that size"
)

IDENTITY_WORDS = (
    "right on real numbers, to {:.0g} of each entry: it needs an identity between values of exp, log, sqrt, tanh or "
    "Phi, such as exp(log(a)) = a, which this rung does not know"
)

NOTHING = 2.0**-1074
"""The smallest float64: what is below it is zero there, as the softmax of a score that is masked by -1e9 is."""

NOTHING_WORDS = "right in float64: the entries that are off, such as exp(-1e9), are below the smallest number of it"

UNKNOWN_WORDS = (
    "not the derivative there, where any order of the numbers may be met and an identity be missing; on real numbers "
    "it cannot be told: {}"
)

MOVES = 4.0
MOVED_WORDS = "rounding the inputs alone moves the gradient by {:.3g}: too ill-conditioned for this bound"
"""An error up to MOVES times what the exact gradient moves by, where every input and the cotangent move by 2^-53 of
themselves, is no mistake of the formula: no other one has less to go by."""

MEETING = {
    Verdict.FAIL: "rigorously wrong: the ball of the derivative and the ball of the pullback are apart",
    Verdict.INCONCLUSIVE: "the balls of derivative and pullback overlap, but are too wide to tell",
}


ON_A_KINK = "the inputs lie on a kink, where there is no derivative"


@precision()
def certified(subject: Subject) -> list[Row]:
    """Two steps. The pullback on balls encloses the exact gradient: along a random direction its ball meets that of the
    derivative, carried by dual numbers, to AGREEMENT. Then the float64 gradient is compared with that enclosure.

    Raises MissingExtraError where python-flint is not installed.
    """
    gradients = subject.float64_gradients
    backend = ExactBackend(BallNumbers())
    point = [backend.lift(array) for array in subject.arrays]
    cotangent = backend.lift(subject.cotangent)
    dual = DualNumbers(backend.numbers)
    balls = _balls(subject)

    rng = subject.rng("balls")
    directions = [backend.lift(rng.choice([-1.0, 1.0], array.shape)) for array in subject.arrays]
    along = [np.sum(ball * u) for ball, u in zip(balls, directions, strict=True)]
    joint = subject.slope(dual, point, directions, cotangent)
    meeting = [_meeting(joint, sum(along[1:], along[0]), _norm(balls))] * len(balls)
    if meeting[0] is not Verdict.PASS:
        alone = [[u if j == i else None for j, u in enumerate(directions)] for i in range(len(balls))]
        slopes = [subject.slope(dual, point, tangents, cotangent) for tangents in alone]
        meeting = [_meeting(s, a, _norm([ball])) for s, a, ball in zip(slopes, along, balls, strict=True)]
    rounded = {i: off_by_rounding(subject, i) for i, verdict in enumerate(meeting) if verdict is Verdict.FAIL}

    bounds = _hard_bounds(subject) if subject.hard else None
    rows = []
    for i, (name, ball, gradient) in enumerate(zip(subject.names, balls, gradients, strict=True)):
        if rounded.get(i):
            rows.append(subject.row(NAME, name, Verdict.INCONCLUSIVE, detail=rounded[i]))
        elif meeting[i] is Verdict.FAIL and kinks(subject, i, np.ones(gradient.shape)):
            rows.append(subject.row(NAME, name, Verdict.INCONCLUSIVE, detail=ON_A_KINK))
        elif meeting[i] is not Verdict.PASS:
            rows.append(subject.row(NAME, name, meeting[i], detail=MEETING[meeting[i]]))
        elif bounds is None:
            error = certified_error(gradient, ball) / UNIT_64
            bound = COMPOSITE_BOUND if subject.composite else OP_BOUND
            verdict, detail = Verdict.PASS if error <= bound else Verdict.FAIL, ""
            if error > bound and error <= MOVES * (moves := _moves(subject, i, ball)):
                verdict, detail = Verdict.INCONCLUSIVE, MOVED_WORDS.format(moves)
            elif error > bound and kinks(subject, i, np.ones(gradient.shape)):  # balls may sort ties in another order
                verdict, detail = Verdict.INCONCLUSIVE, ON_A_KINK
            row = subject.row(NAME, name, verdict, error=error, bound=bound, unit=UNIT, detail=detail)
            truth = np.array([float(abs(entry).abs_upper()) for entry in ball.ravel()])
            rows.append(or_nothing(row, gradient, truth, partial(rounding_of_gradient, subject, i)))
        else:
            error, peer = (mean / UNIT_64 for mean in bounds[i])
            bound = HARD_RATIO * peer + HARD_SLACK / UNIT_64
            verdict = Verdict.PASS if error <= bound else Verdict.FAIL
            detail = f"hard inputs, mean of {HARD_DRAWS} draws; PyTorch's error is {peer:.3g}"
            rows.append(subject.row(NAME, name, verdict, error=error, bound=bound, unit=UNIT, detail=detail))
    return rows


def off_by_rounding(subject: Subject, which: int) -> str:
    """In words, that the gradient of one array is off the derivative by no more than a rounded constant explains: every
    entry by ROUNDED times 2^-53 of itself, and nowhere near by GROWN; or by nothing at all, on real numbers; or that
    balls know a function of the op as little as another exact world may. "" where it is off by more, or where that
    cannot be told.
    """
    try:
        with precision():
            off = _off(subject, which) / UNIT_64
            if not off <= ROUNDED:
                return ""
            if any(_off_there(subject, which, draw) > GROWN for draw in range(ELSEWHERE)):
                return ""
            nothing = any(map(_is_nothing, _balls(subject)[which].ravel()))
    except UndecidedError as error:
        return UNKNOWN_WORDS.format(error)
    except (MissingExtraError, BrokenOpError):
        return ""
    if off * UNIT_64 > AGREEMENT:
        return ROUNDED_WORDS.format(off)
    return NOTHING_WORDS if nothing else IDENTITY_WORDS.format(off * UNIT_64)


def _off(subject: Subject, which: int) -> float:
    """How far the gradient of one array is off the derivative, on balls, along a direction that weighs every entry by
    its inverse, so that the smallest counts like the largest. An entry that is zero may be off by nothing, and one that
    float64 has not by as little."""
    backend = ExactBackend(BallNumbers())
    point = [backend.lift(array) for array in subject.arrays]
    ball = _balls(subject)[which]
    rng = subject.rng("rounding")
    shares = rng.uniform(0.5, 1, ball.shape) * rng.choice([-1.0, 1.0], ball.shape) / np.sqrt(ball.size)
    largest = max(abs(entry).mid() for entry in ball.ravel())
    zero = largest * AGREEMENT
    weights = (zero if entry.contains(0) or _is_nothing(entry) else entry.mid() for entry in ball.ravel())
    direction = fill(ball.shape, (share / weight for share, weight in zip(shares.flat, weights, strict=True)))
    tangents = [direction if j == which else None for j in range(len(point))]
    slope = subject.slope(DualNumbers(backend.numbers), point, tangents, backend.lift(subject.cotangent))
    return float(abs(slope - np.sum(ball * direction)).abs_upper())


def _off_there(subject: Subject, which: int, draw: int) -> float:
    """How far off it is at other inputs: each entry times 2^-4 to 2^4, or by less where the op is not made for that."""
    for octaves in (4, 0.25, 0.01):
        rng = subject.rng(f"elsewhere {draw}")
        arrays = [np.asarray(a * np.exp2(rng.uniform(-octaves, octaves, a.shape))) for a in subject.arrays]
        there = replace(subject, args=subject.tree(arrays))
        if made_for(there):
            return _off(there, which)
    return np.inf


def _is_nothing(entry: Any) -> bool:
    """Whether an entry is not zero, and none that float64 has."""
    return not entry.contains(0) and bool(abs(entry) < NOTHING)


def _moves(subject: Subject, which: int, balls: HostArray) -> float:
    """How far the exact gradient of one array moves, in units of 2^-53 of its largest entry, where every input and the
    cotangent move by 2^-53 of themselves; the larger of two draws."""
    rng = subject.rng("moved by 2^-53")
    scale = max(float(abs(ball).abs_lower()) for ball in balls.ravel()) or 1.0
    moves = []
    for _ in range(2):
        # By twice as much, which float64 holds, and half of what comes of it.
        arrays = [array * (1 + 2 * UNIT_64 * rng.choice([-1.0, 1.0], array.shape)) for array in subject.arrays]
        moved = replace(subject, args=subject.tree(map(np.asarray, arrays)))
        vars(moved)["cotangent"] = np.asarray(
            subject.cotangent * (1 + 2 * UNIT_64 * rng.choice([-1.0, 1.0], subject.cotangent.shape))
        )
        pairs = zip(_balls(moved)[which].ravel(), balls.ravel(), strict=True)
        moves.append(max(float(abs(a - b).abs_upper()) for a, b in pairs) / scale / UNIT_64 / 2)
    return max(moves)


def _balls(subject: Subject) -> list[HostArray]:
    """The pullback of one subject on balls, at its own cotangent."""
    backend = ExactBackend(BallNumbers())
    point = [backend.lift(array) for array in subject.arrays]
    _, pullback = subject.run(backend, point, lambda: backend.lift_constants(subject.constants()), exact=True)
    found = subject.gradients(backend, pullback, backend.lift(subject.cotangent), exact=True)
    nothing = backend.numbers.of(0.0)
    return [fill(gradient.shape, (nothing + entry for entry in gradient.ravel())) for gradient in found]


def _hard_bounds(subject: Subject) -> list[tuple[float, float]]:
    """For every array the geometric means, over HARD_DRAWS inputs, of our float64 error and of PyTorch's.

    Raises MissingExtraError or UndecidedError where there is no PyTorch to compare with.
    """
    ours, theirs = [], []
    for draw in range(HARD_DRAWS):
        drawn = subject.redrawn(draw)
        balls = _balls(drawn)
        try:
            peers = twin_gradients(drawn, "float64")
        except MissingExtraError as error:
            raise MissingExtraError(f"hard inputs are held against PyTorch's float64 error; {error}") from error
        ours.append([certified_error(g, ball) for g, ball in zip(drawn.float64_gradients, balls, strict=True)])
        theirs.append([certified_error(g, ball) for g, ball in zip(peers, balls, strict=True)])
    columns = zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)
    return [(geometric_mean(a, UNIT_64), geometric_mean(b, UNIT_64)) for a, b in columns]


def certified_error(gradient: HostArray, balls: HostArray) -> float:
    """A rigorous upper bound on max |gradient - truth| / max |truth|, the truth being enclosed by `balls`."""
    differences = [abs(ball - float(g)) for ball, g in zip(balls.ravel(), gradient.ravel(), strict=True)]
    worst = max(float(d.abs_upper()) for d in differences)
    scale = max(float(abs(ball).abs_lower()) for ball in balls.ravel())
    return worst / scale if scale else worst


def _norm(balls: list[HostArray]) -> Any:
    return max(abs(ball).abs_upper() for array in balls for ball in array.ravel())


def _meeting(a: Any, b: Any, scale: Any) -> Verdict:
    """FAIL where two balls are apart, PASS where they overlap and are together no wider than AGREEMENT of `scale`."""
    if not a.overlaps(b):
        return Verdict.FAIL
    close = float((a - b).abs_upper()) <= AGREEMENT * max(float(scale), 1e-300)
    return Verdict.PASS if close else Verdict.INCONCLUSIVE
