"""A proof: over rational functions the derivative identity is not tested at a point, it is zero as an expression."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.certified import off_by_rounding
from vipnp.verify.subject import Subject
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend, fill
from vipnp.verify.worlds.rational import OutOfKernelsError, RationalFunctions

NAME = "proof"

ENTRIES = 24
"""Expressions grow fast: beyond so many differentiated numbers no proof is tried."""

KERNELS = (0, 2, 8, 32)
"""How many distinct values of exp, log, sqrt, tanh and Phi are tried for; a field has a fixed number of symbols."""


def proof(subject: Subject) -> list[Row]:
    """pullback(dy)_j == sum_i dy_i dy_i/dx_j for every entry x_j, as rational functions of all inputs and of dy.

    Inputs and cotangent are symbols; hyperparameters and masks keep their values. The proof holds for the shapes at
    hand, and only small ones are tried.

    Raises MissingExtraError where sympy is not installed.
    """
    if subject.composite:
        raise UndecidedError("a layer is composed of ops: the proofs of its parts and the chain rule cover it")
    if subject.entries > ENTRIES:
        raise UndecidedError(f"{subject.entries} symbols at this shape: a proof is tried for up to {ENTRIES}")
    for kernels in KERNELS:
        try:
            return _proved(subject, kernels)
        except OutOfKernelsError:
            continue
    raise UndecidedError(f"more than {KERNELS[-1]} distinct values of exp, log, sqrt, tanh and Phi")


def _proved(subject: Subject, kernels: int) -> list[Row]:
    symbols = subject.entries + subject.cotangent.size
    numbers = RationalFunctions(symbols, kernels)
    backend = ExactBackend(numbers)
    point = [_symbols(numbers, array.shape) for array in subject.arrays]
    cotangent = _symbols(numbers, subject.cotangent.shape)
    _, pullback = subject.run(backend, point, lambda: backend.lift_constants(subject.constants()), exact=True)
    dual = DualNumbers(numbers)

    def derivative(which: int, index: tuple[int, ...]) -> Any:
        """The derivative of sum(dy * y) by one entry of one array."""
        directions: list[HostArray | None] = [None] * len(point)
        directions[which] = one = np.full(point[which].shape, None, object)
        one[index] = numbers.of(1)
        return subject.slope(dual, point, directions, cotangent)

    gradients = subject.gradients(backend, pullback, cotangent, exact=True)
    rows = []
    for i, (name, gradient) in enumerate(zip(subject.names, gradients, strict=True)):
        unproved = [index for index in np.ndindex(gradient.shape) if (derivative(i, index) - gradient[index]).content]
        if unproved and (rounded := off_by_rounding(subject, i)):
            rows.append(subject.row(NAME, name, Verdict.INCONCLUSIVE, detail=rounded))
            continue
        if unproved:
            verdict = Verdict.FAIL
            first = f"[{', '.join(map(str, unproved[0]))}]"
            detail = f"{len(unproved)} of {gradient.size} entries are not the derivative as a function, such as {first}"
        else:
            verdict = Verdict.PASS
            detail = f"{gradient.size} identities in {symbols} symbols and {len(numbers.kernels)} kernels"
        error = len(unproved)
        rows.append(subject.row(NAME, name, verdict, error=error, bound=0, unit="entries", detail=detail))
    return rows


def _symbols(numbers: RationalFunctions, shape: tuple[int, ...]) -> HostArray:
    return fill(shape, (numbers.symbol() for _ in range(int(np.prod(shape)))))
