"""Exchanging gradients while the backward pass goes on: data parallelism as a replacement of the Permutator block.

The block in the table does what the block of the backend does, readable or fused, and when its pullback returns, hands
the gradients of its parameters to an `Exchange`. As soon as those of every shard of this rank are in, their sum goes
into a bucket that another thread exchanges with the other ranks, block by block, while this one walks on backwards.
Ops, layers and models know nothing of it.
"""

from __future__ import annotations

import copy
import math
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np

from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Array, Backend, HostArray, Replacements
from vipnp.core.tree import flatten
from vipnp.layers import STANDARD_BRANCHES, BlockMasks, BranchKind, FusionKind, PermutatorParams, permutator
from vipnp.train.ranks import Ranks
from vipnp.train.shards import tree_sum


class Leaf(threading.local):
    """The shard that the current thread computes: its place among those of this rank, None outside of any, and its
    share of the batch."""

    place: int | None = None
    share = 1.0


class Exchange:
    """The sums over all ranks of the gradients of a step: a bucket for every block, in the order of the backward pass,
    and one for what is left."""

    def __init__(self, ranks: Ranks, reduce: str) -> None:
        self.sum_over_ranks = ranks.fast_sum if reduce == "fast" else ranks.tree_sum
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="vipnp-exchange")
        self.lock = threading.Lock()
        self.leaf = Leaf()
        self.places = range(0)
        self.filled = 0
        self.names: dict[int, list[str]] = {}
        self.found: dict[int, dict[int, HostArray]] = {}
        self.sums: dict[int, Future[HostArray]] = {}

    def begin(self, blocks: Mapping[str, PermutatorParams], places: range, filled: int) -> None:
        """A step with these blocks by the prefixes of their names, of `places` shards here, `filled` of them with an
        image."""
        self.places, self.filled, self.sums = places, filled, {}
        self.names = {id(params): [name for name, _ in flatten(params, prefix)] for prefix, params in blocks.items()}
        self.found = {block: {} for block in self.names}

    def posted(self) -> set[str]:
        """The names of the gradients that `add` takes."""
        return {name for names in self.names.values() for name in names}

    @contextmanager
    def of_shard(self, place: int, share: float) -> Iterator[None]:
        """What the current thread runs in here is the shard at `place`, whose gradients count by `share`."""
        self.leaf.place, self.leaf.share = place, share
        try:
            yield
        finally:
            self.leaf.place = None

    def add(self, params: PermutatorParams, grads: PermutatorParams) -> None:
        """The gradients of a block, of the current shard. Other threads end this block before the one in front of it as
        well, so that all ranks post their buckets in the same order."""
        block, place, share = id(params), self.leaf.place, self.leaf.share
        if place is None or block not in self.names:
            return
        by_name = dict(flatten(grads))
        flat = np.concatenate([(share * by_name[name]).reshape(-1) for name, _ in flatten(params)])
        with self.lock:
            found = self.found[block]
            found[place] = flat
            if len(found) == self.filled:
                total = tree_sum(found.get, self.places, operator.add)
                assert total is not None, "a shard with an image came before"
                self.sums[block] = self.thread.submit(self.sum_over_ranks, total)
                found.clear()

    def finish(self, rest: Mapping[str, HostArray] | None, like: Mapping[str, Array]) -> dict[str, HostArray]:
        """The summed gradients of all parameters `like`: those posted, and `rest`, None where this rank had no image.
        It then sends -0.0, since x + -0.0 is x, whatever the sign of a zero."""

        def nothing(names: list[str]) -> HostArray:
            return np.full(sum(math.prod(like[name].shape) for name in names), -0.0, str(like[names[0]].dtype))

        posted = self.posted()
        left = [name for name in like if name not in posted]
        if rest is None:
            for block, names in reversed(self.names.items()):
                self.sums[block] = self.thread.submit(self.sum_over_ranks, nothing(names))
            flat = nothing(left)
        else:
            flat = np.concatenate([rest[name].reshape(-1) for name in left])
        last = self.thread.submit(self.sum_over_ranks, flat)
        sums: dict[str, HostArray] = {}
        for names, future in [*((self.names[block], future) for block, future in self.sums.items()), (left, last)]:
            edges = np.cumsum([math.prod(like[name].shape) for name in names])[:-1]
            for name, part in zip(names, np.split(future.result(), edges), strict=True):
                sums[name] = part.reshape(like[name].shape)
        return {name: sums[name] for name in like}


def data_parallel(backend: NumpyBackend, exchange: Exchange) -> NumpyBackend:
    """`backend` whose blocks hand their gradients to `exchange`."""
    twin = copy.copy(backend)
    works: Backend = twin
    if twin.shard is not None:
        works = twin.shard = copy.copy(twin.shard)
    block = works.replacements.get(permutator, permutator)
    table = Replacements()

    @table.replaces(permutator)
    def permutator_posting(
        xp: Any,
        x: Array,
        params: PermutatorParams,
        *,
        segments: int,
        fusion: FusionKind = "weighted",
        branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
        skip_lam: float = 1.0,
        masks: BlockMasks = BlockMasks(),  # noqa: B008 - a NamedTuple of None is immutable
    ) -> tuple[Array, Callable[[Array], tuple[Array, PermutatorParams]]]:
        y, back = block(
            xp, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
        )

        def pullback(dy: Array) -> tuple[Array, PermutatorParams]:
            dx, grads = back(dy)
            exchange.add(params, grads)
            return dx, grads

        return y, pullback

    works.replacements = MappingProxyType({**works.replacements, **table})
    return twin
