"""Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from vipnp.core import Array, Backend
from vipnp.core.checks import check_real, check_whole, shown
from vipnp.optim.checks import check_backend
from vipnp.optim.state import Stateful, copied, uploaded

MOST_STEPS = 2**53
"""Whole numbers up to this are floating-point numbers, as a number of steps must be."""


class AdamWState(NamedTuple):
    """What AdamW remembers between two steps.

    Attributes
    ----------
    step : how many there were.
    exp_avg, exp_avg_sq : {name: array}, the running means of every gradient and of its square.
    """

    step: int
    exp_avg: Mapping[str, Array]
    exp_avg_sq: Mapping[str, Array]


def adamw(
    xp: Backend,
    params: Mapping[str, Array],
    grads: Mapping[str, Array],
    state: AdamWState,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[dict[str, Array], AdamWState]:
    """Step t = 1, 2, ... for every parameter p with gradient g; nothing is written in place.

    p = p - lr * weight_decay * p               if p has two or more dimensions
    m = beta1 * m + (1 - beta1) * g             exp_avg, 0 before the first step
    v = beta2 * v + (1 - beta2) * g^2           exp_avg_sq, likewise
    p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, algorithm 2. Decay leaves
    out biases and normalisation weights, as the official training recipe does.
    """
    beta1, beta2 = betas
    t = state.step + 1
    step_size = lr / (1 - beta1**t)
    root_correction = math.sqrt(1 - beta2**t)
    new_params, exp_avg, exp_avg_sq = {}, {}, {}
    for name, p in params.items():
        g = grads[name]
        m, v = (1 - beta1) * g, (1 - beta2) * g * g
        if t > 1:
            m = m + beta1 * state.exp_avg[name]
            v = v + beta2 * state.exp_avg_sq[name]
        if p.ndim >= 2:
            p = p * (1 - lr * weight_decay)
        p = p - step_size * m / (xp.sqrt(v) / root_correction + eps)
        # NumPy makes a scalar of what has no axes.
        new_params[name], exp_avg[name], exp_avg_sq[name] = xp.asarray(p), xp.asarray(m), xp.asarray(v)
    return new_params, AdamWState(t, exp_avg, exp_avg_sq)


class AdamW(Stateful):
    """AdamW over parameters by name; the defaults are those of the official training recipe.

    Parameters
    ----------
    xp : the backend of the parameters.
    betas : decay rates of the running means of the gradient and of its square, both in [0, 1).
    eps : > 0, added to the root of the mean square.
    weight_decay : >= 0, for tensors of two or more dimensions only.

    Raises
    ------
    ValueError
        For a number outside these bounds.
    TypeError
        For what is no number or no backend.
    """

    def __init__(
        self,
        xp: Backend,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
    ) -> None:
        check_backend(xp)
        if not isinstance(betas, tuple) or len(betas) != 2:
            raise TypeError(f"betas: got {shown(betas)}, expected a tuple of two numbers")
        self.xp = xp
        self.betas = (
            check_real("betas[0]", betas[0], low=0, high=1),
            check_real("betas[1]", betas[1], low=0, high=1),
        )
        self.eps = check_real("eps", eps, low=0, low_included=False)
        self.weight_decay = check_real("weight_decay", weight_decay, low=0)
        self.state = AdamWState(0, {}, {})

    def _step(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], lr: float
    ) -> tuple[dict[str, Array], AdamWState]:
        return self.xp.find(adamw)(
            self.xp,
            params,
            grads,
            self.state,
            lr=lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def __repr__(self) -> str:
        return (
            f"<AdamW betas={self.betas} eps={self.eps} weight_decay={self.weight_decay} after {self.state.step} steps>"
        )

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides its arguments: {"step": number of steps, "exp_avg" and "exp_avg_sq":
        {name: host NumPy copy}}."""
        return {"step": self.state.step, **copied(self.xp, self.state, ("exp_avg", "exp_avg_sq"))}

    def load_state_dict(self, mapping: Mapping[str, Any]) -> None:
        exp_avg, exp_avg_sq = uploaded(self.xp, mapping, ("step", "exp_avg", "exp_avg_sq"))
        self.state = AdamWState(check_whole("step", mapping["step"], low=0, high=MOST_STEPS), exp_avg, exp_avg_sq)
