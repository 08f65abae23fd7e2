"""A part of the optimiser's step for every rank (ZeRO-1).

The parameters, one after another, are cut between two tensors into parts of about the same size. A rank keeps the
running means of its own part, updates that, and gets the new weights of the others. AdamW takes every entry by itself,
so that the bits are those of ranks that all make the whole step.
Source: Rajbhandari, Rasley, Ruwase, He, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", arXiv
1910.02054, section 5.1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np

from vipnp.core import Array, Backend, HostArray
from vipnp.train.ranks import Ranks


def parts_of(sizes: Mapping[str, int], ranks: int) -> list[list[str]]:
    """The names that each of `ranks` ranks owns, in the order of `sizes`: a tensor goes where its middle lies."""
    total = sum(sizes.values())
    parts: list[list[str]] = [[] for _ in range(ranks)]
    for (name, size), end in zip(sizes.items(), itertools.accumulate(sizes.values()), strict=True):
        parts[(2 * end - size) * ranks // (2 * total)].append(name)
    return parts


class Owners:
    """Which rank owns which of the tensors `shapes` of one dtype, and their way from the owners to others.

    mine : the names that this rank owns.
    """

    def __init__(self, ranks: Ranks, xp: Backend, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> None:
        self.ranks, self.xp, self.shapes, self.dtype = ranks, xp, dict(shapes), dtype
        entries = {name: math.prod(shape) for name, shape in shapes.items()}
        parts = parts_of(entries, ranks.size)
        self.mine = parts[ranks.rank]
        self.sizes = [sum(entries[name] for name in part) for part in parts]

    def everywhere(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of all ranks, of which these are this one's."""
        whole = self._named(self.ranks.joined(self._flat(tensors), self.sizes))
        return {name: self.xp.asarray(value) for name, value in whole.items()}

    def on_first(self, tensors: Mapping[str, Array]) -> dict[str, HostArray]:
        """The tensors of all ranks, of which these are this one's, as host arrays on rank 0; nothing elsewhere."""
        flat = self.ranks.joined(self._flat(tensors), self.sizes, first_only=True)
        return {} if self.ranks.rank else self._named(flat)

    def _flat(self, tensors: Mapping[str, Array]) -> HostArray:
        mine = [self.xp.to_numpy(tensors[name]).reshape(-1) for name in self.mine]
        return np.concatenate([np.empty(0, self.dtype), *mine])

    def _named(self, flat: HostArray) -> dict[str, HostArray]:
        ends = itertools.accumulate(math.prod(shape) for shape in self.shapes.values())
        parts = np.split(flat, list(ends)[:-1])
        return {name: part.reshape(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
