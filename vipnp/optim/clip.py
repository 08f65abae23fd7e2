"""Gradient clipping by the norm of all gradients together."""

from __future__ import annotations

from collections.abc import Mapping

from vipnp.core import Array, Backend
from vipnp.core.checks import check_real
from vipnp.optim.checks import check_owned

EPS = 1e-6
"""PyTorch's guard against a division by a zero norm."""


def clip_grad_norm(xp: Backend, grads: Mapping[str, Array], *, max_norm: float) -> tuple[Mapping[str, Array], Array]:
    """Gradients scaled by min(1, max_norm / (norm + 1e-6)), and the norm before: the root of the sum of all squares.

    The norm is a 0-d array of the backend; nothing waits for the device.
    Raises TypeError if `max_norm` is no number or a gradient no array of the backend, ValueError if `max_norm` is not
    finite and > 0 or if there are no gradients.
    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", arXiv 1211.5063.
    """
    max_norm = check_real("max_norm", max_norm, low=0, low_included=False)
    check_owned(xp, "grads", grads)
    if not grads:
        raise ValueError("grads: got no gradient at all, expected at least one")
    norm = xp.sqrt(sum(xp.sum(g * g) for g in grads.values()))
    scale = max_norm / (norm + EPS)
    scale = xp.where(scale > 1, xp.ones_like(scale), scale)
    return {name: xp.asarray(g * scale) for name, g in grads.items()}, norm
