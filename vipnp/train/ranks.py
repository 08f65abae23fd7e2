"""The processes of a run: one, or as many as mpirun started.

Every rank computes its subtree of the shards of a batch (vipnp.train.shards) and then exchanges sums with its
neighbours by recursive doubling, which climbs the rest of the same tree. MPI is used through mpi4py, and imported only
where a launcher started more than one process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from vipnp.backends.numpy.threads import available_cores
from vipnp.core import HostArray
from vipnp.train.watch import PATIENCE, go_on_watched

LAUNCHERS = (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"), ("PMIX_RANK", "SLURM_NTASKS"))
"""Variables that tell a process its rank and how many there are: of Open MPI, of PMI (MPICH, Intel, Slurm), of Slurm's
PMIx."""

LAUNCHERS_TURN = 5.0
"""Seconds in which the launcher ends a rank that could not reach another one, before it tells so itself."""

REDUCTIONS = ("exact", "fast")
"""How ranks add up gradients: by the tree, or in whatever order the MPI library finds fastest."""


class StoppedError(Exception):
    """A signal asked the run to stop; what was done is saved, and all ranks end. number : of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class AgreedError(ValueError):
    """A failure that every rank knows of, told by this one."""


class ToldElsewhereError(Exception):
    """A failure that every rank knows of, told by another one."""


class Ranks:
    """The one process of a run without MPI, and what a run asks of its ranks.

    Attributes
    ----------
    rank, size : this process, and how many there are. local_rank, local_size : likewise on this machine.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1

    def gather(self, value: Any) -> list[Any]:
        """`value` of every rank, in their order, on all of them."""
        return [value]

    def tree_sum(self, flat: HostArray) -> HostArray:
        """The sum of `flat` over the ranks, added as neighbours, the same bits on all of them. Takes `flat` over."""
        return flat

    def fast_sum(self, flat: HostArray) -> HostArray:
        """The sum of `flat` over the ranks in an order that the MPI library chooses. Takes `flat` over."""
        return flat

    def joined(self, flat: HostArray, sizes: Sequence[int], *, first_only: bool = False) -> HostArray:
        """`flat` of every rank, of these sizes, one after another; with `first_only` nothing but on rank 0."""
        return flat

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Work after which all ranks go on, or none: where one failed, one tells and all raise."""
        yield

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work in which a failure of one rank ends them all."""
        yield

    def compare(self, values: Mapping[str, Any]) -> None:
        """Raise AgreedError naming what is not the same on all ranks."""

    def cores(self) -> int:
        """Cores of this machine for this rank."""
        return available_cores()


class MPIRanks(Ranks):
    """The ranks of an MPI communicator.

    Waiting sleeps between two looks, where MPI itself would spin: ranks may share cores with each other.
    """

    def __init__(self, mpi: Any) -> None:
        self.mpi = mpi
        self.comm = mpi.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        local = self.comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = local.rank, local.size
        local.Free()
        self.received = np.empty(0, np.uint8)

    def gather(self, value: Any) -> list[Any]:
        data = np.frombuffer(self.mpi.pickle.dumps(value), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._wait(self.comm.Iallgather(np.array([data.size], np.int64), sizes))
        found = np.empty(sizes.sum(), np.uint8)
        self._wait(self.comm.Iallgatherv(data, [found, sizes.tolist()]))
        return [self.mpi.pickle.loads(part.tobytes()) for part in np.split(found, np.cumsum(sizes)[:-1])]

    def tree_sum(self, flat: HostArray) -> HostArray:
        if self.received.size < flat.nbytes:  # kept, since new memory costs more than the sum
            self.received = np.empty(flat.nbytes, np.uint8)
        other = self.received[: flat.nbytes].view(flat.dtype)
        distance = 1
        while distance < self.size:
            partner = self.rank ^ distance
            self._wait(self.comm.Irecv(other, partner), self.comm.Isend(flat, partner))
            flat += other  # a + b is b + a to the last bit
            distance *= 2
        return flat

    def fast_sum(self, flat: HostArray) -> HostArray:
        self._wait(self.comm.Iallreduce(self.mpi.IN_PLACE, flat))
        return flat

    def joined(self, flat: HostArray, sizes: Sequence[int], *, first_only: bool = False) -> HostArray:
        here = not (first_only and self.rank)
        found = np.empty(sum(sizes) if here else 0, flat.dtype)
        if first_only:
            self._wait(self.comm.Igatherv(flat, [found, sizes] if here else None))
        else:
            self._wait(self.comm.Iallgatherv(flat, [found, sizes]))
        return found

    def _wait(self, *requests: Any) -> None:
        pause = 0.0
        while not self.mpi.Request.Testall(list(requests)):
            time.sleep(pause)
            pause = min(1e-3, pause + 2e-5)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        problem = None
        try:
            yield
        except Exception as error:
            problem = error
        texts = self.gather(None if problem is None else str(problem))
        failed = [rank for rank, text in enumerate(texts) if text is not None]
        if not failed:
            return
        if self.rank != failed[0]:
            raise ToldElsewhereError from problem
        of_all = len(failed) == self.size and len(set(texts)) == 1
        raise AgreedError(texts[self.rank] if of_all else f"rank {self.rank}: {texts[self.rank]}") from problem

    @contextmanager
    def together(self) -> Iterator[None]:
        """StoppedError, FloatingPointError and what `agreed` raises come on every rank; anything else on one, which
        ends all."""
        try:
            yield
        except (AgreedError, ToldElsewhereError, StoppedError):
            raise
        except FloatingPointError as error:
            if self.rank:
                raise ToldElsewhereError from error
            raise
        except BaseException as error:
            if isinstance(error, self.mpi.Exception):  # most likely another rank is gone, and named elsewhere
                time.sleep(LAUNCHERS_TURN)
            what = str(error) if isinstance(error, Exception) and str(error) else repr(error)
            print(f"error: rank {self.rank}: {what}", file=sys.stderr, flush=True)
            time.sleep(PATIENCE)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # MPI would say once more that there was an error
            self.comm.Abort(2)

    def compare(self, values: Mapping[str, Any]) -> None:
        found = self.gather(dict(values))
        with self.agreed():
            for name, value in found[0].items():
                for rank, others in enumerate(found):
                    if others[name] != value:
                        raise ValueError(f"{name}: rank {rank} has {others[name]}, rank 0 has {value}")

    def cores(self) -> int:
        return max(1, min(available_cores(), (os.cpu_count() or 1) // self.local_size))


def launched() -> tuple[int, int] | None:
    """(rank, number of ranks) as the launcher of this process told it; None where there was none."""
    for rank, size in LAUNCHERS:
        if rank in os.environ and size in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return None


@cache
def get_ranks() -> Ranks:
    """The ranks that this process is one of; where there are several, a child of it goes on (vipnp.train.watch), the
    first time: no MPI library is sure to work in a child of the process that started it.

    Raises ImportError where a launcher started several and mpi4py or its MPI library is missing, RuntimeError where
    that library is not the launcher's. All ranks find the same, and one tells: the others raise ToldElsewhereError.
    """
    place = launched()
    if place is None or place[1] == 1:
        return Ranks()
    rank, size = place
    go_on_watched(rank)
    problem: Exception
    try:
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of the mismatch that is an error here
            from mpi4py import MPI

        if size == MPI.COMM_WORLD.size:
            return MPIRanks(MPI)
        problem = RuntimeError(
            f"mpirun: it started {size} processes, and mpi4py's MPI library sees {MPI.COMM_WORLD.size}; expected the "
            f"mpirun of that library, {MPI.Get_library_version().splitlines()[0].strip()}"
        )
    except ModuleNotFoundError as error:
        problem = ImportError(f'mpirun: mpi4py is not installed: pip install "vipnp[mpi]" ({error.name} is missing)')
    except (ImportError, RuntimeError) as error:
        problem = ImportError(f"mpirun: mpi4py finds no MPI library to load: {' '.join(str(error).split())}")
    if rank:
        raise ToldElsewhereError from problem
    raise problem
