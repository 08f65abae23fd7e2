"""Tensors that lie one after another in one flat array."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from vipnp.core.backend import Array

Layout: TypeAlias = dict[str, tuple[tuple[int, ...], Any]]
"""Name -> shape and dtype."""


def layout(tensors: Mapping[str, Array]) -> Layout:
    """Shape and dtype of every tensor."""
    if isinstance(tensors, FlatTensors):
        return tensors.layout
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


class FlatTensors(Mapping[str, Array]):
    """Tensors of one dtype by name, each a part of one flat array, looked up when it is asked for.

    Parameters
    ----------
    flat : (size,), the tensors one after another.
    order : their names in the order in which they lie.
    layout : shape and dtype by name, in the order in which this mapping lists them.
    """

    def __init__(self, flat: Array, order: Sequence[str], layout: Layout) -> None:
        self.flat, self.order, self.layout = flat, order, layout
        self._starts: dict[str, int] | None = None

    def __getitem__(self, name: str) -> Array:
        if self._starts is None:
            self._starts, start = {}, 0
            for each in self.order:
                self._starts[each] = start
                start += math.prod(self.layout[each][0])
        shape, _ = self.layout[name]
        start = self._starts[name]
        return self.flat[start : start + math.prod(shape)].reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout)

    def __len__(self) -> int:
        return len(self.layout)
