"""Sums over the GPUs of several ranks by NCCL, beside the backward pass.

It has run neither on hardware nor with NVIDIA's library: tests run it, and CuPy's binding under it, on a fake device.

What is posted is summed on a stream of its own, once an event says that it is there. In the exact sum a rank exchanges
in step k with the rank whose number differs in bit k, and both add the same two numbers: the tree of
`vipnp.train.shards`. The fast sum is NCCL's allreduce, which adds in an order of its own.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import cupy

from vipnp.backends.cupy.arrays import dtype_name
from vipnp.core import Array

with warnings.catch_warnings(action="ignore", category=UserWarning):  # where there is no library; `version` tells
    from cupy.cuda import nccl

PAUSE = 1e-4
"""Seconds between two looks whether a sum is there and nothing has failed."""


def version() -> str | None:
    """Of the library, None where there is none."""
    return str(nccl.get_version()) if nccl.available else None


def new_group() -> tuple[int, ...]:
    """A name for a group of ranks, made by one of them."""
    name: tuple[int, ...] = nccl.get_unique_id()
    return name


class NcclSums:
    """The sums of a rank.

    Parameters
    ----------
    xp : the cupy backend.
    rank, size : this rank, and how many there are; each has a device of its own. Waits until all are here.
    group : of `new_group`, the same on all ranks.
    reduce : "exact" or "fast".
    """

    beside = True

    def __init__(self, xp: Any, rank: int, size: int, group: tuple[int, ...], reduce: str) -> None:
        self.xp, self.rank, self.size = xp, rank, size
        self.name = f"NCCL {version()}"
        self.dtypes = {"float32": nccl.NCCL_FLOAT32, "float64": nccl.NCCL_FLOAT64}
        self.sum = self._fast_sum if reduce == "fast" else self._tree_sum
        with xp.device:
            self.communicator = nccl.NcclCommunicator(size, group, rank)
            self.stream = cupy.cuda.Stream(non_blocking=True)

    def post(self, flat: Array) -> Callable[[], Array]:
        """Begin to sum `flat` over the ranks, which all post in the same order; takes it over.

        Returns what waits for the sum and gives it. The current stream is to be the same in all calls: that a sum waits
        for its event is also what makes it safe for this stream to take memory that a sum before has left.
        """
        with self.xp.device:
            self.stream.wait_event(cupy.cuda.get_current_stream().record())
            with self.stream:
                self.sum(flat)
                done = self.stream.record()

        def result() -> Array:
            self._wait(done)
            return flat

        return result

    def _tree_sum(self, flat: Array) -> None:
        other = cupy.empty_like(flat)
        what = (flat.size, self.dtypes[dtype_name(flat)])
        distance = 1
        while distance < self.size:
            partner = self.rank ^ distance
            nccl.groupStart()
            self.communicator.send(flat.data.ptr, *what, partner, self.stream.ptr)
            self.communicator.recv(other.data.ptr, *what, partner, self.stream.ptr)
            nccl.groupEnd()
            cupy.add(flat, other, out=flat)
            distance *= 2

    def _fast_sum(self, flat: Array) -> None:
        dtype, address = self.dtypes[dtype_name(flat)], flat.data.ptr
        self.communicator.allReduce(address, address, flat.size, dtype, nccl.NCCL_SUM, self.stream.ptr)

    def _wait(self, done: Any) -> None:
        """Wait on the host, which looks for errors: a sum that lacks a rank would never end by itself."""
        while True:
            try:
                self.communicator.check_async_error()
            except nccl.NcclError as error:
                self.communicator.abort()
                raise RuntimeError(f"NCCL: {error}") from error
            if done.done:
                return
            time.sleep(PAUSE)
