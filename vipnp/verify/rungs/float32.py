"""float32 accuracy: what training sees, beside PyTorch's own float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.pytorch import twin_gradients
from vipnp.verify.subject import Subject, geometric_mean, relative_error
from vipnp.verify.trees import tree_astype

NAME = "float32"

UNIT_32 = 2.0**-24
"""Half the distance from 1 to the next float32."""

SEEDS = 8
"""The error of one tensor on one input is a coin toss; the geometric mean over seeds is not."""

FLOOR = 0.5
"""An error of less than half a unit counts as half a unit: a correctly rounded gradient has that much."""

UNITS = 4.0
RATIO = 2.0
"""A tensor's error may be UNITS of 2^-24 of its largest entry, or RATIO times that of PyTorch; of a backend, RATIO
times that of the readable op."""

COMPOSITE_RATIO = 1.1
"""Over all tensors of a layer or model together, the error may be so many times PyTorch's."""

FEW = 2
"""So few tensors are not judged together: a layer of one weight is one matrix product, as a branch of the Permute-MLP,
and that would compare the libraries that multiply, which add in another order from processor to processor."""


def float32(subject: Subject) -> list[Row]:
    """The error of every float32 gradient against PyTorch's float64 at the same inputs, geometric mean over SEEDS
    inputs.

    Raises UndecidedError where no twin was given, MissingExtraError where PyTorch is not installed.
    """
    if subject.twin is None:
        raise UndecidedError("no PyTorch twin to compare with was given")
    rounded = rounded_to_float32(subject)
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for seed in range(SEEDS):
        drawn = rounded.redrawn(seed)
        arrays, cotangent = [_rounded(array) for array in drawn.arrays], _rounded(drawn.cotangent)
        truth = twin_gradients(rounded, "float64", arrays, cotangent)
        single = _single_gradients(rounded, arrays, cotangent)
        peer = twin_gradients(rounded, "float32", arrays, cotangent)
        ours.append([relative_error(g, t) / UNIT_32 for g, t in zip(single, truth, strict=True)])
        theirs.append([relative_error(g, t) / UNIT_32 for g, t in zip(peer, truth, strict=True)])
    rows = beside(subject, NAME, subject.names, ours, theirs, "PyTorch's float32")
    if subject.composite and len(subject.names) > FEW:
        ratio = geometric_mean([e for errors in ours for e in errors], FLOOR) / geometric_mean(
            [e for errors in theirs for e in errors], FLOOR
        )
        verdict = Verdict.PASS if ratio <= COMPOSITE_RATIO else Verdict.FAIL
        rows.append(
            subject.row(NAME, "all tensors", verdict, error=ratio, bound=COMPOSITE_RATIO, unit="times PyTorch's error")
        )
    return rows


def beside(
    subject: Subject,
    rung: str,
    names: Sequence[str],
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    whose: str,
) -> list[Row]:
    """A row for each of `names`: our errors over several inputs, in units, beside those of somebody else."""
    rows = []
    for name, mine, its in zip(names, zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        error, peer = geometric_mean(mine, FLOOR), geometric_mean(its, FLOOR)
        bound = max(UNITS, RATIO * peer)
        rows.append(subject.measured(rung, name, error, bound, "2^-24 of max", f"{whose}: {peer:.2f}"))
    return rows


def rounded_to_float32(subject: Subject) -> Subject:
    """The same subject at the nearest float32 inputs and constants, still in float64."""
    return replace(
        subject,
        args=subject.tree(map(_rounded, subject.arrays)),
        kwargs=tree_astype(subject.constants(), np.float32, np.float64),
    )


def _single_gradients(subject: Subject, arrays: Sequence[HostArray], cotangent: HostArray) -> list[HostArray]:
    """The gradients with everything in float32."""
    single, dy = tree_astype((list(arrays), cotangent), np.float32)
    _, pullback = subject.run(subject.numpy, single, tree_astype(subject.constants(), np.float32))
    return subject.gradients(subject.numpy, pullback, dy)


def _rounded(array: HostArray) -> HostArray:
    """The nearest float32 values, in float64."""
    return array.astype(np.float32).astype(np.float64)
