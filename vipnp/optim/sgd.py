"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vipnp.core import Array, Backend
from vipnp.core.checks import check_flag, check_real
from vipnp.optim.checks import check_backend
from vipnp.optim.state import Stateful, copied, uploaded


class SGDState(NamedTuple):
    """What SGD remembers between two steps.

    Attributes
    ----------
    momentum_buffer : {name: array} of every parameter, empty before the first step.
    """

    momentum_buffer: dict[str, Array]


def sgd(
    xp: Backend,
    params: Mapping[str, Array],
    grads: Mapping[str, Array],
    state: SGDState,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[dict[str, Array], SGDState]:
    """One step for every parameter p with gradient g; nothing is written in place.

    g = g + weight_decay * p
    b = momentum * b + g                        (b = g at the first step, a copy: g stays the caller's)
    p = p - lr * (g + momentum * b)             with nesterov,
    p = p - lr * b                              without

    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep learning",
    ICML 2013, in the form of PyTorch, which scales by lr last.
    """
    new_params = {}
    buffers = {}
    for name, p in params.items():
        g = grads[name]
        if weight_decay:
            g = g + weight_decay * p
        step = g
        if momentum:
            earlier = state.momentum_buffer.get(name)
            b = xp.astype(g, g.dtype) if earlier is None else momentum * earlier + g
            buffers[name] = xp.asarray(b)  # NumPy makes a scalar of what has no axes
            step = g + momentum * b if nesterov else b
        new_params[name] = xp.asarray(p - lr * step)
    return new_params, SGDState(buffers)


class SGD(Stateful):
    """SGD with momentum over parameters by name; weight decay, where asked for, is added to every gradient.

    Parameters
    ----------
    xp : the backend of the parameters.
    momentum : in [0, 1).
    nesterov : look ahead along the momentum; needs momentum > 0.
    weight_decay : >= 0.

    Raises
    ------
    ValueError
        For a number outside these bounds.
    TypeError
        For what is no number, no flag or no backend.
    """

    def __init__(
        self, xp: Backend, *, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        check_backend(xp)
        self.xp = xp
        self.momentum = check_real("momentum", momentum, low=0, high=1)
        self.weight_decay = check_real("weight_decay", weight_decay, low=0)
        self.nesterov = check_flag("nesterov", nesterov)
        if self.nesterov and not momentum:
            raise ValueError(f"nesterov: got {nesterov} with momentum {momentum}, expected momentum > 0")
        self.state = SGDState({})

    def _step(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], lr: float
    ) -> tuple[dict[str, Array], SGDState]:
        return self.xp.find(sgd)(
            self.xp,
            params,
            grads,
            self.state,
            lr=lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    def __repr__(self) -> str:
        return f"<SGD momentum={self.momentum} nesterov={self.nesterov} weight_decay={self.weight_decay}>"

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides its arguments: {"momentum_buffer": {name: host NumPy copy}}."""
        return copied(self.xp, self.state, ("momentum_buffer",))

    def load_state_dict(self, mapping: Mapping[str, Any]) -> None:
        (momentum_buffer,) = uploaded(self.xp, mapping, ("momentum_buffer",))
        self.state = SGDState(momentum_buffer)
