"""Another implementation: PyTorch's autograd in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.extras import need
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row
from vipnp.verify.rungs.noise import or_nothing, rounding_of_gradient, rounding_of_terms
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_map

NAME = "pytorch"


def pytorch(subject: Subject) -> list[Row]:
    """Every gradient, and y, against those of the PyTorch twin.

    Raises UndecidedError where no twin was given, MissingExtraError where PyTorch is not installed.
    """
    truths = twin_results(subject, "float64")  # first: without a twin a wrong op fails elsewhere, and not here
    found = [subject.value, *subject.float64_gradients]
    if found[0].shape != truths[0].shape:
        raise BrokenOpError(f"y has shape {found[0].shape}, the PyTorch twin gives {truths[0].shape}")
    rows = [subject.compared(NAME, "y", found[0], truths[0])]
    for i, (name, result, truth) in enumerate(zip(subject.names, found[1:], truths[1:], strict=True)):
        row = subject.compared(NAME, name, result, truth)
        rows.append(or_nothing(row, result, truth, partial(_rounding, subject, i)))
    return rows


def _rounding(subject: Subject, which: int) -> float:
    """That of one gradient; of one that is exactly zero, which has none, as much as sum(dy * y) is rounded."""
    largest = float(np.max(np.abs(subject.arrays[which]), initial=0.0)) or 1.0
    return rounding_of_gradient(subject, which) or rounding_of_terms(subject) / largest


def twin_gradients(
    subject: Subject, dtype: str, arrays: Sequence[HostArray] | None = None, cotangent: HostArray | None = None
) -> list[HostArray]:
    """PyTorch's gradients in `dtype`, at the arrays and the cotangent of the subject unless others are given."""
    return twin_results(subject, dtype, arrays, cotangent)[1:]


def twin_results(
    subject: Subject, dtype: str, arrays: Sequence[HostArray] | None = None, cotangent: HostArray | None = None
) -> list[HostArray]:
    """PyTorch's y, and its gradients as `twin_gradients` gives them."""
    if subject.twin is None:
        raise UndecidedError("no PyTorch twin to compare with was given")
    torch = need("torch", "test")
    kind = getattr(torch, dtype)

    def tensor(values: Any) -> Any:
        values = np.ascontiguousarray(values) if values.ndim else values
        made = torch.tensor(values)
        return made.to(kind) if values.dtype.kind == "f" else made

    with one_thread(torch):
        inputs = [tensor(array).requires_grad_() for array in (subject.arrays if arrays is None else arrays)]
        y = subject.twin(*subject.tree(inputs), **tree_map(tensor, subject.constants()))
        if isinstance(y, (tuple, list)):
            y = torch.cat([part.reshape(-1) for part in y])
        y.backward(tensor(subject.cotangent if cotangent is None else cotangent))
    gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in inputs]
    return [np.asarray(tensor.detach().numpy()) for tensor in (y, *gradients)]


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """PyTorch on one thread inside: on tensors this small, a second one only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
