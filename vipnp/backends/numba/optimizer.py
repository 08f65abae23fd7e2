"""AdamW in one pass over the parameters, one thread a part of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp.backends.numba.block import prepared
from vipnp.backends.numba.kernels import adamw_entries
from vipnp.backends.numpy.threads import bounds
from vipnp.core import Array, HostArray, Replacements
from vipnp.optim.adamw import AdamWState, adamw

TABLE = Replacements()
"""Replacements for a backend with a crew."""


@TABLE.replaces(adamw)
def adamw_in_one_pass(
    xp: Any,
    params: Mapping[str, Array],
    grads: Mapping[str, Array],
    state: AdamWState,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[dict[str, Array], AdamWState]:
    """vipnp.optim.adamw.adamw: every entry is read once and written once, each thread taking a part of every tensor.

    Nothing is written in place: what is returned is new memory, which the arrays it replaces leave to the next step.
    Tensors other than float32 and float64, and of mixed dtypes, run the readable step.
    Raises TypeError or ValueError unless every gradient and every mean is an array like its parameter.
    """
    others = {"grads": grads}
    if state.step:
        others |= {"exp_avg": state.exp_avg, "exp_avg_sq": state.exp_avg_sq}
    if any(
        p.dtype not in (np.float32, np.float64) or any(other[name].dtype != p.dtype for other in others.values())
        for name, p in params.items()
    ):
        return xp.readable(  # type: ignore[no-any-return]
            adamw, params, grads, state, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
        )
    step = state.step + 1
    params = {name: prepared(name, p, p.shape) for name, p in params.items()}
    grads, *means = (
        {name: prepared(f"{part} of {name}", other[name], p.shape) for name, p in params.items()}
        for part, other in others.items()
    )
    exp_avg_before, exp_avg_sq_before = means or [{name: np.zeros_like(p) for name, p in params.items()}] * 2
    new_params, exp_avg, exp_avg_sq = (
        {name: np.empty_like(p, order="C") for name, p in params.items()} for _ in range(3)
    )
    corrections = 1 - betas[0] ** step, math.sqrt(1 - betas[1] ** step)

    def update(part: int) -> None:
        for name, p in params.items():
            entries = bounds(p.size, xp.crew.size)[part]

            def own(array: Array, entries: slice = entries) -> HostArray:
                return array.reshape(-1)[entries]  # type: ignore[no-any-return]

            adamw_entries(
                own(p),
                own(grads[name]),
                own(exp_avg_before[name]),
                own(exp_avg_sq_before[name]),
                lr,
                betas,
                eps,
                weight_decay if p.ndim >= 2 else 0.0,
                corrections,
                own(new_params[name]),
                own(exp_avg[name]),
                own(exp_avg_sq[name]),
            )

    xp.crew.run(update, xp.crew.size)
    return new_params, AdamWState(step, exp_avg, exp_avg_sq)
