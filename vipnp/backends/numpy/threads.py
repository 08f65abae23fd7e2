"""Threads that take parts of a batch, and what they need: bounds, sums of gradients, and BLAS in as many threads.

NumPy, BLAS and compiled kernels release the GIL, so Python threads that each take a part of the batch run side by side,
elementwise work included, and no two thread pools wait for each other.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from vipnp.core import HostArray

T = TypeVar("T")


class Share(threading.local):
    """What the current thread has of the cores.

    Attributes
    ----------
    threads : how many a library may start for what the current thread asks of it.
    """

    threads = 1


share = Share()


class BLASThreads:
    """How many threads BLAS uses, in the whole process, while anyone is inside; the last to leave resets it.

    The number belongs to the process, so a plain save and restore would go wrong when two threads are inside at once
    and leave in another order than they came. The first to enter sets it.
    """

    def __init__(self) -> None:
        self.controller: Any = None
        self.lock = threading.Lock()
        self.inside = 0
        self.limit: Any = None

    def find_libraries(self) -> None:
        """Find the BLAS libraries that are loaded by now; one that is loaded later keeps its own number of threads."""
        from threadpoolctl import ThreadpoolController  # an extra, needed by shards alone

        with self.lock:
            if self.inside == 0:
                self.controller = ThreadpoolController()

    @contextmanager
    def limited_to(self, threads: int) -> Iterator[None]:
        """A context in which BLAS uses at most `threads` threads."""
        if self.controller is None:
            self.find_libraries()
        with self.lock:
            if self.inside == 0:
                self.limit = self.controller.limit(limits=threads, user_api="blas")
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.limit.restore_original_limits()


blas_threads = BLASThreads()


class Crew:
    """`size` threads, the caller's among them, that do parts of one task; any number of callers at once."""

    def __init__(self, size: int) -> None:
        blas_threads.find_libraries()
        self.size = size
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.process = 0

    def run(self, task: Callable[[int], T], parts: int) -> list[T]:
        """[task(0), ..., task(parts - 1)], side by side; BLAS gets size // parts threads in each.

        Part 0 runs in the thread that asks. All parts have ended when this returns or raises; the error of the first
        part that failed is raised.
        """
        threads = max(1, self.size // parts)

        def with_share(part: int) -> T:
            before, share.threads = share.threads, threads
            try:
                return task(part)
            finally:
                share.threads = before

        with blas_threads.limited_to(threads):
            if parts == 1:
                return [with_share(0)]
            pool = self.workers()
            others: list[Future[T]] = [pool.submit(with_share, part) for part in range(1, parts)]
            try:
                results = [with_share(0)]
            finally:
                wait(others)
            return results + [other.result() for other in others]

    def workers(self) -> ThreadPoolExecutor:
        """The pool, made when it is first needed, and made anew in a forked process, where no thread survives."""
        with self.lock:
            if self.pool is None or self.process != os.getpid():
                self.pool = ThreadPoolExecutor(max(1, self.size - 1), thread_name_prefix="vipnp-shard")
                self.process = os.getpid()
            return self.pool


def bounds(length: int, parts: int) -> list[slice]:
    """`length` entries in `parts` consecutive slices whose lengths differ by at most one."""
    edges = [length * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def sum_trees(crew: Crew, trees: Sequence[Any]) -> Any:
    """Leaf by leaf, trees[0] + trees[1] + ..., added in this order into the arrays of trees[0], which is returned."""
    if len(trees) > 1:
        leaves = [list(_leaves(tree)) for tree in trees]

        def add(part: int) -> None:
            for total, *others in zip(*leaves, strict=True):
                rows = bounds(len(total), len(trees))[part]
                for other in others:
                    np.add(total[rows], other[rows], out=total[rows])

        crew.run(add, len(trees))
    return trees[0]


def _leaves(tree: Any) -> list[HostArray]:
    if isinstance(tree, dict):
        return [leaf for child in tree.values() for leaf in _leaves(child)]
    if isinstance(tree, tuple):
        return [leaf for child in tree for leaf in _leaves(child)]
    return [tree]
