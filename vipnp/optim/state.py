"""The state of an optimiser on the host and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vipnp.core import Array, Backend, HostArray
from vipnp.core.checks import shown


class Pickled(ABC):
    """An optimiser that pickles and deep-copies by its `state_dict`, wherever the arrays of its backend live."""

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
        """Go on from what `state_dict` returned."""


def copied(xp: Backend, state: Any, parts: Sequence[str]) -> dict[str, dict[str, HostArray]]:
    """{part: {name: host copy}} of the parts of a state."""
    return {
        part: {name: np.array(xp.to_numpy(value)) for name, value in getattr(state, part).items()} for part in parts
    }


def uploaded(xp: Backend, mapping: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, Array]]:
    """The parts of a state from `mapping`, whose keys must be `keys`, as copies on the backend; numbers are left out.

    Raises ValueError for other keys, TypeError for what is no mapping of host arrays.
    """
    if not isinstance(mapping, Mapping) or set(mapping) != set(keys):
        got = sorted(map(str, mapping)) if isinstance(mapping, Mapping) else shown(mapping)
        raise ValueError(f"mapping: got {got}, expected the state of this kind of optimizer: {', '.join(keys)}")
    parts = [mapping[key] for key in keys if key != "step"]
    for key, part in zip([key for key in keys if key != "step"], parts, strict=True):
        for name, value in part.items() if isinstance(part, Mapping) else [(key, part)]:
            if not isinstance(value, np.ndarray):
                raise TypeError(f"{key}: {name} is {shown(value)}, expected a NumPy array")
    return [{name: xp.asarray(np.array(value)) for name, value in part.items()} for part in parts]
