"""A backend held to the readable ops: its arrays, its kernels and every fused replacement, by values and gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Backend, HostArray
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.float32 import SEEDS, UNIT_32, beside, rounded_to_float32
from vipnp.verify.subject import Subject, relative_error
from vipnp.verify.trees import tree_astype, tree_map

NAME = "backend"


def term_by_term(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
    """out = a @ b, one product after another added to each sum, as the formula is read.

    Libraries that multiply keep between one and some sixteen partial sums, by the processor and the sizes, and none
    promises more than this: where NumPy's library happens to keep many, another may lose twice as much and be right.
    """
    out[...] = 0
    for k in range(a.shape[1]):
        out += a[:, k : k + 1] * b[k : k + 1]
    return out


IN_ORDER = NumpyBackend("numpy", product=term_by_term)
"""The readable op with its products summed in order."""


def backend_rung(backend: Backend) -> Callable[[Subject], list[Row]]:
    """The rung that holds `backend` to the readable ops."""

    def rung(subject: Subject) -> list[Row]:
        """`backend.run(op, ...)` in float64 and float32 against the readable op; says which replacements ran."""
        y, gradients, ran = _on_backend(subject, backend, np.float64)
        replaced = f"{backend.name}: {', '.join(ran) if ran else 'the readable op, nothing is replaced'}"
        names = ["y", *subject.names]
        truths = [subject.value, *subject.float64_gradients]
        rows = [
            subject.measured(NAME, name, relative_error(found, truth), subject.bound, detail=replaced)
            for name, found, truth in zip(names, [y, *gradients], truths, strict=True)
        ]
        if fault := _side_effect(subject, backend, gradients):
            rows.append(subject.row(NAME, "y", Verdict.FAIL, detail=f"{replaced}: {fault}"))
        return rows + _single_rows(subject, backend)

    return rung


def _side_effect(subject: Subject, backend: Backend, expected: Sequence[HostArray]) -> str:
    """In words, what a call on the backend does to its arguments, or another call to its y and gradients; "" where that
    is nothing."""

    def call(factor: float) -> tuple[list[Any], Any, Any]:
        arrays = [backend.asarray(factor * array) for array in subject.arrays]
        constants: Any = tree_map(backend.asarray, subject.constants())
        return arrays, *backend.run(subject.op, *subject.tree(arrays), **constants)

    def on_host(arrays: Iterable[Any]) -> list[bytes]:
        backend.synchronize()
        return [np.array(backend.to_numpy(array)).tobytes() for array in arrays]

    arrays, y, pullback = call(1.0)
    before = on_host([y])
    with contextlib.suppress(Exception):  # of an op that is not made for other inputs
        call(0.5)[2](backend.asarray(-0.75 * subject.cotangent))
    gradients = [backend.to_numpy(g) for g in subject.matched(pullback(backend.asarray(subject.cotangent)))]
    if on_host(arrays) != on_host(backend.asarray(array) for array in subject.arrays):
        return "it writes to its arguments"
    if on_host([y]) != before:
        return "another call, or the pullback, changes the y it returned"
    if any(relative_error(g, e) > subject.bound for g, e in zip(gradients, expected, strict=True)):
        return "another call before the pullback changes the gradients"
    return ""


def _single_rows(subject: Subject, backend: Backend) -> list[Row]:
    """float32 against float64 at the same inputs: geometric means over SEEDS, beside the readable op in float32, with
    NumPy's products or those of `term_by_term`, whichever lose more."""
    rounded = rounded_to_float32(subject)
    ours: list[list[float]] = []
    readable: list[list[float]] = []
    for seed in range(SEEDS):
        drawn = rounded_to_float32(rounded.redrawn(seed))
        truths = [drawn.value, *drawn.float64_gradients]
        mine, numpy, in_order = (_single_errors(drawn, truths, where) for where in (backend, subject.numpy, IN_ORDER))
        ours.append(mine)
        readable.append([max(pair) for pair in zip(numpy, in_order, strict=True)])
    return beside(subject, NAME, ["y", *subject.names], ours, readable, "float32; the readable op")


def _single_errors(drawn: Subject, truths: Sequence[HostArray], backend: Backend) -> list[float]:
    """How far y and the gradients in float32 are from `truths`, in units of 2^-24 of the largest entry."""
    y, gradients, _ = _on_backend(drawn, backend, np.float32)
    return [relative_error(found, truth) / UNIT_32 for found, truth in zip([y, *gradients], truths, strict=True)]


def _on_backend(subject: Subject, backend: Backend, dtype: type) -> tuple[HostArray, list[HostArray], list[str]]:
    """y, the gradients, and the names of the replacements that ran."""
    counting = backend.counting()
    constants: Any = tree_map(backend.asarray, tree_astype(subject.constants(), dtype))
    arrays = [backend.asarray(array.astype(dtype)) for array in subject.arrays]
    try:
        y, pullback = counting.run(subject.op, *subject.tree(arrays), **constants)
        returned = pullback(backend.asarray(subject.cotangent.astype(dtype)))
    except Exception as error:
        raise BrokenOpError(f"on backend {backend.name}, {type(error).__name__}: {error}") from error
    backend.synchronize()
    gradients = [backend.to_numpy(gradient) for gradient in subject.matched(returned)]
    fused = set(backend.replacements.values())
    ran = sorted({function.__name__ for function in counting.ran or () if function in fused})
    return np.asarray(backend.to_numpy(y)), gradients, ran
