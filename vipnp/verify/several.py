"""An op that returns several arrays, as one that returns a single one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.worlds.exact import ExactArray
from vipnp.verify.worlds.shaken import ShakenArray


def in_one_array(parts: Sequence[Any]) -> Any:
    """The entries of several arrays in one of rank 1."""
    for part in parts:
        if isinstance(part, np.ndarray) and type(part) not in (np.ndarray, ShakenArray, ExactArray):
            raise BrokenOpError(f"y has a {type(part).__name__} in it, expected arrays of NumPy's own class")
    if not sum(int(np.prod(np.shape(part))) for part in parts):
        raise UndecidedError("y has no entries: there is nothing to differentiate")
    flat = [np.reshape(np.asarray(part), (-1,)) for part in parts]
    # Indices beside values leave their dtype, and so do numbers of Python, as in NumPy's own arithmetic.
    weak = [type(part) is float or array.dtype.kind in "biu" for part, array in zip(parts, flat, strict=True)]
    reals = [array.dtype for array, light in zip(flat, weak, strict=True) if not light]
    return np.concatenate([a.astype(reals[0]) if reals and light else a for a, light in zip(flat, weak, strict=True)])


@dataclass(frozen=True)
class OfOneArray:
    """A pullback of a tuple of cotangents as one of a single array, that of `in_one_array`."""

    pullback: Callable[[Any], Any]
    parts: tuple[Any, ...]
    """What the op returned."""

    @property
    def ends(self) -> HostArray:
        """Where every part but the last ends."""
        return np.cumsum([np.size(part) for part in self.parts])[:-1]

    def split(self, dy: Any) -> tuple[Any, ...]:
        """The cotangents of the parts."""
        pairs = zip(np.split(dy, self.ends), self.parts, strict=True)
        return tuple(np.reshape(cotangent, np.shape(part)) for cotangent, part in pairs)

    def __call__(self, dy: Any) -> Any:
        return self.pullback(self.split(dy))


def parts_of(y: Any, pullback: Callable[[Any], Any]) -> dict[str, Any]:
    """What an op returned as its value, by name: y, or y[0], y[1], ... where it is a tuple."""
    if isinstance(pullback, OfOneArray):
        return {f"y[{i}]": part for i, part in enumerate(pullback.parts)}
    return {"y": y}
