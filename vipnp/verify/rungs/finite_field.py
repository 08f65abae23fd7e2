"""The finite field: the derivative identity over GF(2^127 - 1), where wrong means different and right means zero."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.extras import MissingExtraError, need
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.certified import off_by_rounding
from vipnp.verify.subject import Subject
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend, fill
from vipnp.verify.worlds.field import FieldElement, FieldNumbers

NAME = "finite_field"

FIELD = FieldNumbers()
DUAL = DualNumbers(FIELD)


def finite_field(subject: Subject) -> list[Row]:
    """sum(dy * J u) == sum(pullback(dy) * u) at random nonzero field elements, for directions u in all arrays at once.

    The op's source runs as it is: once on dual numbers for J u, once on field elements for the pullback. If the sums
    differ, every array is looked at by itself, entry by entry.
    """
    if not subject.entries:
        return subject.all_rows(NAME, Verdict.INCONCLUSIVE, "there is nothing to differentiate")
    draw = random.Random(f"{subject.seed} {subject.name} {subject.tag}")
    point = [_random(draw, array.shape) for array in subject.arrays]
    directions = [_random(draw, array.shape) for array in subject.arrays]

    plain = ExactBackend(FIELD)
    y, pullback = subject.run(plain, point, lambda: plain.lift_constants(subject.constants()), exact=True)
    cotangent = _random(draw, np.shape(y))
    gradients = subject.gradients(plain, pullback, cotangent, exact=True)

    def slope(tangents: list[HostArray | None]) -> Any:
        return subject.slope(DUAL, point, tangents, cotangent)

    differences = [np.sum(g * u) for g, u in zip(gradients, directions, strict=True)]
    if slope(list(directions)) == sum(differences, FieldElement(0)):
        return [subject.row(NAME, name, Verdict.PASS, error=0, bound=0, unit="(exact)") for name in subject.names]
    rows = []
    for i, (name, direction, expected) in enumerate(zip(subject.names, directions, differences, strict=True)):
        alone = [direction if j == i else None for j in range(len(directions))]
        if slope(alone) == expected:
            rows.append(subject.row(NAME, name, Verdict.PASS, error=0, bound=0, unit="(exact)"))
            continue
        if rounded := off_by_rounding(subject, i):
            rows.append(subject.row(NAME, name, Verdict.INCONCLUSIVE, detail=rounded))
            continue
        rows.append(subject.row(NAME, name, Verdict.FAIL, error=1, bound=0, unit="(exact)", detail=_wrong()))
    return rows


def _wrong() -> str:
    """What a difference says: where there are no balls to ask, it may be an identity that the field does not know."""
    words = "the gradient is not the derivative: <dy, J u> and <pullback(dy), u> differ in GF(2^127-1)"
    try:
        need("flint", "audit")
    except MissingExtraError as missing:
        return f"{words}; or it needs an identity such as exp(log(a)) = a, as balls would tell; {missing}"
    return words


def _random(draw: random.Random, shape: tuple[int, ...]) -> HostArray:
    return fill(shape, (FIELD.draw(draw) for _ in range(int(np.prod(shape)))))
