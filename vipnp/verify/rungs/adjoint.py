"""The adjoint identity of linear ops, bit for bit: on integers float64 does not round, so nothing is tolerated."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.places import in_order
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_map_reals

NAME = "adjoint"

MULTIPLE = 840
"""Inputs are multiples of it, so that dividing by any size up to 8 (a mean over H*W tokens, say) leaves an integer."""

ROUNDING = 1e-12
"""Relative size of what rounding alone can explain."""

LARGEST_CONSTANT = 2.0**64
"""Constants beyond this stand for infinity, as those of masks do, and stay as they are."""

DRAWN = 8
"""Through so many points of each size an op must be affine before it is called wrong."""


def adjoint(subject: Subject) -> list[Row]:
    """<J u, dy> == <u, pullback(dy)> for every argument the op is affine in while the others are fixed.

    Hyperparameters are replaced by powers of two (1/2 where they lie between 0 and 1), so that 1 - rate and division by
    them are exact too.
    """
    kwargs = tree_map_reals(_exact_constant, dict(subject.kwargs))
    _ = subject.float64_gradients  # what it raises there is the op's fault; on integers, it may not be made for them
    try:
        return _rows(subject, kwargs)
    except BrokenOpError as error:
        raise UndecidedError(f"on integers, {error}") from error


def _rows(subject: Subject, kwargs: Mapping[str, Any]) -> list[Row]:
    rng = subject.rng("adjoint")
    point = [MULTIPLE * _integers(rng, array.shape, ordered=in_order(array)) for array in subject.arrays]
    y, pullback = subject.run(subject.numpy, point, copy.deepcopy(kwargs))
    cotangent = MULTIPLE * _integers(rng, np.shape(y))
    gradients = subject.gradients(subject.numpy, pullback, cotangent)
    directions = [MULTIPLE * _integers(rng, array.shape) for array in subject.arrays]
    if subject.composite and not _is_affine(subject, 0, point, directions[0], kwargs):
        raise UndecidedError(f"the layer is not linear in {subject.names[0]}: in no part of it is arithmetic exact")
    rows = []
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        direction = directions[i]
        if not _is_affine(subject, i, point, direction, kwargs):
            rows.append(subject.row(NAME, name, Verdict.INCONCLUSIVE, detail="the op is not linear in this argument"))
            continue
        change = _value(subject, i, point, direction, kwargs) - np.asarray(y)
        left, right = float(np.sum(change * cotangent)), float(np.sum(direction * gradient))
        terms = (np.asarray(y) * cotangent, change * cotangent, direction * gradient)
        scale = float(sum(np.sum(np.abs(term)) for term in terms))
        error = abs(left - right) / scale if scale else 0.0
        if left == right:
            verdict, detail = Verdict.PASS, ""
        elif error <= ROUNDING:
            verdict, detail = Verdict.INCONCLUSIVE, "linear in this argument, but its arithmetic rounds on integers"
        elif not _is_affine_elsewhere(subject, i, kwargs):
            verdict, detail = Verdict.INCONCLUSIVE, "the op is linear in this argument in pieces alone"
        else:
            verdict, detail = Verdict.FAIL, f"<J u, dy> = {left:.17g}, <u, pullback(dy)> = {right:.17g}"
        rows.append(subject.row(NAME, name, verdict, error=error, bound=0, unit="relative", detail=detail))
    return rows


def _is_affine(subject: Subject, which: int, point: list[HostArray], direction: HostArray, kwargs: Any) -> bool:
    """Whether equal steps change y equally, on large inputs and on small ones (where a saturated op shows its bend)."""
    for scale in (1.0, 1 / MULTIPLE):
        start = [scale * array for array in point]
        ends = [_value(subject, which, start, steps * scale * direction, kwargs) for steps in (0, 1, 2)]
        size = max(float(np.max(np.abs(end), initial=0)) for end in ends)
        if not np.max(np.abs(ends[2] - 2 * ends[1] + ends[0]), initial=0) <= ROUNDING * size < math.inf:
            return False
    return True


def _is_affine_elsewhere(subject: Subject, which: int, kwargs: Any) -> bool:
    """Whether it is affine through drawn reals: integers are often equal, and a function that sorts or rounds them may
    have a kink just there."""
    rng = subject.rng("adjoint elsewhere")
    for scale in DRAWN * (1.0, float(MULTIPLE)):
        point = [np.asarray(scale * rng.normal(size=array.shape)) for array in subject.arrays]
        direction = np.asarray(scale * rng.normal(size=point[which].shape))
        ends = [_value(subject, which, point, steps * direction, kwargs) for steps in (-2, -1, 0, 1, 2)]
        size = max(float(np.max(np.abs(end), initial=0)) for end in ends)
        bends = [ends[k] - 2 * ends[k + 1] + ends[k + 2] for k in range(3)]
        if not np.max(np.abs(bends)) <= ROUNDING * size < math.inf:
            return False
    return True


def _value(subject: Subject, which: int, point: list[HostArray], step: HostArray, kwargs: Any) -> HostArray:
    arrays = [array + step if i == which else array.copy() for i, array in enumerate(point)]
    y, _ = subject.run(subject.numpy, arrays, copy.deepcopy(kwargs))
    return np.asarray(y)


def _integers(rng: np.random.Generator, shape: tuple[int, ...], *, ordered: bool = False) -> HostArray:
    drawn = np.asarray(rng.integers(1, 4, shape) * rng.choice([-1.0, 1.0], shape))
    return np.cumsum(np.abs(drawn), axis=-1) - shape[-1] if ordered else drawn


def _exact_constant(value: Any) -> Any:
    if isinstance(value, np.ndarray) or not 0 < abs(value) < LARGEST_CONSTANT:
        return value
    if 0 < value < 1:
        return 0.5
    return math.copysign(2.0 ** round(math.log2(abs(value))), value)
