"""Ball arithmetic: a rigorous bound on the error of the float64 gradient, in units of its own rounding."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.backends import HostArray
from vipnp.verify.extras import MissingExtraError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.pytorch import twin_gradients
from vipnp.verify.subject import UNIT_64, Subject
from vipnp.verify.worlds.balls import BallNumbers, precision
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend, fill

NAME = "certified"

OP_BOUND = 16.0
COMPOSITE_BOUND = 64.0
"""Error of a float64 gradient in units of 2^-53 of its largest entry, for one op and for layers and models."""

HARD_SLACK = 1e-14
"""On ill-conditioned inputs the error may be twice that of PyTorch's float64, plus this."""

AGREEMENT = 1e-40
"""How closely the ball of the derivative and the ball of the pullback must meet, relative to the gradient's norm."""


def certified(subject: Subject) -> list[Row]:
    """Two steps. The pullback on balls encloses the exact gradient: along a random direction its ball meets that of the
    derivative, carried by dual numbers, to AGREEMENT. Then the float64 gradient is compared with that enclosure.

    Raises MissingExtraError where python-flint is not installed.
    """
    with precision():
        return _certified(subject)


def _certified(subject: Subject) -> list[Row]:
    numbers = BallNumbers()
    backend = ExactBackend(numbers)
    constants = backend.lift_constants(subject.kwargs)
    point = [backend.lift(array) for array in subject.arrays]
    _, pullback = subject.run(backend, point, constants, exact=True)
    cotangent = backend.lift(subject.cotangent)
    balls = subject.gradients(backend, pullback, cotangent if cotangent.shape else cotangent[()], exact=True)

    rng = subject.rng("balls")
    directions = [backend.lift(rng.choice([-1.0, 1.0], array.shape)) for array in subject.arrays]
    dual = DualNumbers(numbers)
    peers = _peer_errors(subject, balls) if subject.hard else None
    rows = []
    joint = _slope(subject, dual, point, directions, cotangent, constants)
    along = [np.sum(ball * u) for ball, u in zip(balls, directions, strict=True)]
    all_agree = _meet(joint, sum(along[1:], along[0]), _norm(balls))
    for i, (name, ball, gradient) in enumerate(zip(subject.names, balls, subject.float64_gradients, strict=True)):
        if not all_agree:
            alone = [u if j == i else None for j, u in enumerate(directions)]
            slope = _slope(subject, dual, point, alone, cotangent, constants)
            if not _meet(slope, along[i], _norm([ball])):
                detail = f"the derivative along a direction is {slope.str(12)}, the pullback gives {along[i].str(12)}"
                rows.append(subject.row(NAME, name, Verdict.FAIL, detail=detail))
                continue
        error = certified_error(gradient, ball) / UNIT_64
        if peers is None:
            bound = COMPOSITE_BOUND if subject.composite else OP_BOUND
        else:
            bound = (2 * peers[i] + HARD_SLACK) / UNIT_64
        verdict = Verdict.PASS if error <= bound else Verdict.FAIL
        detail = "" if peers is None else f"hard inputs: PyTorch's own error is {peers[i] / UNIT_64:.3g}"
        rows.append(subject.row(NAME, name, verdict, error=error, bound=bound, unit="x 2^-53 of max", detail=detail))
    return rows


def certified_error(gradient: HostArray, balls: HostArray) -> float:
    """A rigorous upper bound on max |gradient - truth| / max |truth|, the truth being enclosed by `balls`."""
    differences = [abs(ball - float(g)) for ball, g in zip(balls.ravel(), gradient.ravel(), strict=True)]
    worst = max(float(d.abs_upper()) for d in differences)
    scale = max(float(abs(ball).abs_lower()) for ball in balls.ravel())
    return worst / scale if scale else worst


def _peer_errors(subject: Subject, balls: list[HostArray]) -> list[float]:
    """The error of PyTorch's float64 gradients; raises MissingExtraError or UndecidedError where there are none."""
    try:
        peers = twin_gradients(subject, "float64")
    except MissingExtraError as error:
        raise MissingExtraError(f"hard inputs are held against PyTorch's float64 error; {error}") from error
    return [certified_error(peer, ball) for peer, ball in zip(peers, balls, strict=True)]


def _slope(
    subject: Subject,
    dual: DualNumbers,
    point: list[HostArray],
    directions: list[Any],
    cotangent: HostArray,
    constants: Any,
) -> Any:
    """The ball of sum(dy * J u), u zero where it is None."""
    arrays = [
        values
        if u is None
        else fill(values.shape, (dual.element(x, t) for x, t in zip(values.ravel(), u.ravel(), strict=True)))
        for values, u in zip(point, directions, strict=True)
    ]
    y, _ = subject.run(ExactBackend(dual), arrays, constants, exact=True)
    total = dual.of(0.0)
    for element, weight in zip(np.ravel(np.asarray(y, object)), cotangent.ravel(), strict=True):
        if isinstance(element, dual.element):
            total = total + weight * element.tangent
    return total


def _norm(balls: list[HostArray]) -> Any:
    return max(abs(ball).abs_upper() for array in balls for ball in array.ravel())


def _meet(a: Any, b: Any, scale: Any) -> bool:
    """Whether two balls overlap and are together no wider than AGREEMENT of `scale`."""
    return bool(a.overlaps(b)) and float((a - b).abs_upper()) <= AGREEMENT * max(float(scale), 1e-300)
