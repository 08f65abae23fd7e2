"""The state of an optimiser on the host and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipnp.core import Array, Backend, HostArray
from vipnp.core.checks import check_real, shown
from vipnp.optim.checks import check_gradients, check_state


class Stateful(ABC):
    """What the optimisers share: a step on checked arrays, and pickles and deep copies by way of `state_dict`, wherever
    the arrays of the backend `xp` live. `state` is a NamedTuple; {name: array} in it has a place for each parameter,
    or none before the first step."""

    xp: Backend
    state: Any

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array], *, lr: float) -> dict[str, Array]:
        """One step; both mappings stay as they were.

        Parameters
        ----------
        params, grads : {name: array of the backend}, alike in names, shapes and dtypes.
        lr : learning rate, >= 0.

        Returns
        -------
        dict
            {name: array}, the parameters after the step.

        Raises
        ------
        TypeError
            If `lr` is no number or an array is not of the backend; the state is then as it was.
        ValueError
            If `lr` is negative, or names, shapes or dtypes of gradients, parameters and earlier parameters differ;
            likewise.
        """
        lr = check_real("lr", lr, low=0)
        check_gradients(self.xp, params, grads)
        earlier = {part: arrays for part, arrays in self.state._asdict().items() if isinstance(arrays, Mapping)}
        if any(self.state):  # a step without parameters leaves a number of steps and no means
            check_state(params, earlier)
        new_params, self.state = self._step(params, grads, lr)
        return new_params

    @abstractmethod
    def _step(self, params: Mapping[str, Array], grads: Mapping[str, Array], lr: float) -> tuple[dict[str, Array], Any]:
        """The parameters and the state after one step."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.load_state_dict(state["state"])

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on, as host arrays and numbers by name."""

    @abstractmethod
    def load_state_dict(self, mapping: Mapping[str, Any]) -> None:
        """Go on from `state_dict()` of an optimiser of this kind, on any backend.

        Parameters
        ----------
        mapping : what `state_dict` returned.

        Raises
        ------
        ValueError, TypeError
            For a mapping of another kind; the state is then as it was.
        """


def copied(xp: Backend, state: Any, parts: Sequence[str]) -> dict[str, dict[str, HostArray]]:
    """{part: {name: host copy}} of the parts of a state."""
    return {
        part: {name: np.array(xp.to_numpy(value)) for name, value in getattr(state, part).items()} for part in parts
    }


def uploaded(xp: Backend, mapping: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, Array]]:
    """The parts of a state from `mapping`, whose keys must be `keys`, as copies on the backend; numbers are left out.

    Raises ValueError for other keys, NaN and negative means of squares, TypeError for no mapping of host arrays.
    """
    if not isinstance(mapping, Mapping) or set(mapping) != set(keys):
        got = sorted(map(str, mapping)) if isinstance(mapping, Mapping) else shown(mapping)
        raise ValueError(f"mapping: got {got}, expected the state of this kind of optimizer: {', '.join(keys)}")
    parts = {key: mapping[key] for key in keys if key != "step"}
    for key, part in parts.items():
        if not isinstance(part, Mapping):
            raise TypeError(f"{key}: got {shown(part)}, expected a mapping from names to NumPy arrays")
        for name, value in part.items():
            if type(value) is not np.ndarray:
                raise TypeError(f"{key}: {name} is {shown(value)}, expected a NumPy array")
            if value.dtype.kind == "f" and np.isnan(value).any():
                raise ValueError(f"{key}: {name} has NaN in it, expected numbers")
            if key.endswith("_sq") and value.dtype.kind in "fiu" and (value < 0).any():
                raise ValueError(f"{key}: {name} has a negative number in it, expected a mean of squares")
    return [{name: xp.asarray(np.array(value)) for name, value in part.items()} for part in parts.values()]
