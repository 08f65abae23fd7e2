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
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Protocol

from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Array, Backend, Replacements
from vipnp.core.tree import flatten
from vipnp.layers import PermutatorParams, permutator
from vipnp.train.ranks import Ranks
from vipnp.train.shards import tree_sum


class Sums(Protocol):
    """Sums of flat arrays over all ranks, which post them in the same order."""

    name: str
    """What carries them."""
    beside: bool
    """Whether a sum goes on while the backward pass does."""

    def post(self, flat: Array) -> Callable[[], Array]:
        """Begin to sum `flat`, and take it over. Returns what waits for the sum and gives it."""


class HostSums:
    """Sums through the memory of the host, by MPI, in another thread."""

    def __init__(self, xp: Backend, ranks: Ranks, reduce: str) -> None:
        self.xp, self.ranks, self.fast = xp, ranks, reduce == "fast"
        self.name = "MPI"
        self.beside = xp.name != "cupy"  # a copy to the host would wait for all that the device has to do
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="vipnp-exchange")

    def post(self, flat: Array) -> Callable[[], Array]:
        """See `Sums`."""
        add = self.ranks.fast_sum if self.fast else self.ranks.tree_sum
        future = self.thread.submit(add, self.xp.to_numpy(flat))
        return lambda: self.xp.asarray(future.result())


class Leaf(threading.local):
    """The shard that the current thread computes: its place among those of this rank, None outside of any, and its
    share of the batch."""

    place: int | None = None
    share = 1.0


class Exchange:
    """The sums over all ranks of the gradients of a step: a bucket for every block, in the order of the backward pass,
    and one for what is left."""

    def __init__(self, xp: Backend, sums: Sums) -> None:
        self.xp, self.sums = xp, sums
        self.lock = threading.Lock()
        self.leaf = Leaf()
        self.places = range(0)
        self.filled = 0
        self.names: dict[int, list[str]] = {}
        self.found: dict[int, dict[int, Array]] = {}
        self.pending: dict[int, Callable[[], Array]] = {}

    def begin(self, blocks: Mapping[str, PermutatorParams], places: range, filled: int) -> None:
        """A step with these blocks by the prefixes of their names, of `places` shards here, `filled` of them with an
        image."""
        self.places, self.filled, self.pending = places, filled, {}
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
        flat = self.xp.concat([by_name[name].reshape(-1) for name, _ in flatten(params)])
        flat *= share
        with self.lock:
            found = self.found[block]
            found[place] = flat
            if len(found) == self.filled:
                total = tree_sum(found.get, self.places, operator.iadd)
                assert total is not None, "a shard with an image came before"
                self.pending[block] = self.sums.post(total)
                found.clear()

    def finish(self, rest: Mapping[str, Array] | None, like: Mapping[str, Array]) -> dict[str, Array]:
        """The summed gradients of all parameters `like`: those posted, and `rest`, None where this rank had no image.
        It then sends -0.0, since x + -0.0 is x, whatever the sign of a zero."""

        def nothing(names: list[str]) -> Array:
            return self.xp.full(sum(math.prod(like[name].shape) for name in names), -0.0, dtype=like[names[0]].dtype)

        posted = self.posted()
        left = [name for name in like if name not in posted]
        if rest is None:
            for block, names in reversed(self.names.items()):
                self.pending[block] = self.sums.post(nothing(names))
            flat = nothing(left)
        else:
            flat = self.xp.concat([rest[name].reshape(-1) for name in left])
        last = self.sums.post(flat)
        sums: dict[str, Array] = {}
        for names, result in [*((self.names[block], result) for block, result in self.pending.items()), (left, last)]:
            flat, start = result(), 0
            for name in names:
                end = start + math.prod(like[name].shape)
                sums[name], start = flat[start:end].reshape(like[name].shape), end
        return {name: sums[name] for name in like}


def nccl_for(xp: Backend) -> Any:
    """The module that sums by NCCL, where arrays lie on a GPU and CuPy finds the library; else None."""
    if xp.name != "cupy":
        return None
    from vipnp.backends.cupy import nccl  # which imports CuPy

    return nccl if nccl.version() else None


def sums_over(ranks: Ranks, xp: Backend, reduce: str) -> Sums:
    """The sums of all ranks, which begin them together: by NCCL where it is there, which must be on all or none."""
    nccl = nccl_for(xp)
    if nccl is None:
        return HostSums(xp, ranks, reduce)
    group = ranks.gather(None if ranks.rank else nccl.new_group())[0]
    sums: Sums = nccl.NcclSums(xp, ranks.rank, ranks.size, group, reduce)
    return sums


def data_parallel(backend: Backend, exchange: Exchange) -> Backend:
    """`backend` whose blocks hand their gradients to `exchange`."""
    twin = copy.copy(backend)
    works = twin
    if isinstance(twin, NumpyBackend) and twin.shard is not None:
        works = twin.shard = copy.copy(twin.shard)
    block = works.replacements.get(permutator, permutator)

    def permutator_posting(
        xp: Any, x: Array, params: PermutatorParams, **options: Any
    ) -> tuple[Array, Callable[[Array], tuple[Array, PermutatorParams]]]:
        y, back = block(xp, x, params, **options)

        def pullback(dy: Array) -> tuple[Array, PermutatorParams]:
            dx, grads = back(dy)
            exchange.add(params, grads)
            return dx, grads

        return y, pullback

    table = Replacements({permutator: permutator_posting})
    if backend.name == "cupy":  # a fused stage runs no block of its own
        from vipnp.backends.cupy.stage import posting

        table.update(posting(exchange.add))
    works.replacements = MappingProxyType({**works.replacements, **table})
    return twin
