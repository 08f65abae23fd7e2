"""Threads that take parts of a batch, and what they need: bounds, sums of gradients, and BLAS in as many threads.

NumPy, BLAS and compiled kernels release the GIL, so Python threads that each take a part of the batch run side by side,
elementwise work included, and no two thread pools wait for each other.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from vipnp.core import HostArray

T = TypeVar("T")

LONGEST_WAIT = 60
"""Seconds that a fork waits for the tasks of crews."""


class Share(threading.local):
    """What the current thread has of the cores.

    Attributes
    ----------
    threads : how many a library may start for what the current thread asks of it.
    inside : whether it works on a part of a crew's task.
    undivided : whether a crew of several works on one part only, such as a single image, whatever it may start.
    """

    threads = 1
    inside = False
    undivided = False


share = Share()


class BLASThreads:
    """How many threads BLAS uses, in the whole process, while anyone is inside; the last to leave resets it.

    The number belongs to the process, so a plain save and restore would go wrong when two threads are inside at once
    and leave in another order than they came. The first to enter sets it. A limit that stands already, set by an
    environment variable or through threadpoolctl, is never raised.
    """

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.inside = 0
        self.forking = False
        self.most = sys.maxsize
        self.found = False
        self.blas: list[Any] = []
        self.openmp: list[Any] = []
        self.before: list[tuple[Any, int]] = []

    def find_libraries(self) -> None:
        """Find the libraries that are loaded by now; a BLAS that is loaded later keeps its own number of threads."""
        from threadpoolctl import ThreadpoolController  # an extra, needed by shards alone

        with self.lock:
            if self.inside == 0:
                controller = ThreadpoolController()
                self.blas = controller.select(user_api="blas").lib_controllers
                self.openmp = controller.select(user_api="openmp").lib_controllers
                self.found = True

    def allowed(self, threads: int) -> int:
        """`threads`, or the fewer that this process and, through OpenMP, the calling thread may start."""
        return min([threads, self.most, *(int(library.num_threads) for library in self.openmp)])

    @contextmanager
    def limited_to(self, threads: int) -> Iterator[None]:
        """A context in which BLAS uses at most `threads` threads."""
        if not self.found:
            self.find_libraries()
        with self.lock:
            self.lock.wait_for(lambda: share.inside or not self.forking)
            if self.inside == 0:
                # Something stands in `before` after `start_anew`.
                self.before = self.before or [(library, library.num_threads) for library in self.blas]
                for library, before in self.before:
                    library.set_num_threads(min(threads, before))
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    for library, before in self.before:
                        library.set_num_threads(before)
                    self.before = []
                self.lock.notify_all()

    def hold(self) -> None:
        """Before a fork: wait until nobody is inside, and let nobody in. BLAS shuts its threads down for a fork, which
        must not meet a product."""
        self.lock.acquire()
        self.forking = True
        if not share.inside:
            self.lock.wait_for(lambda: self.inside == 0, timeout=LONGEST_WAIT)

    def let_go(self) -> None:
        """After a fork, in the process that forked."""
        self.forking = False
        self.lock.notify_all()
        self.lock.release()

    def start_anew(self) -> None:
        """In a forked process: whoever holds a lock does not exist there.

        Where somebody was inside all the same, a lock of BLAS for products in several threads may be held for ever: it
        then works in one thread, which asks for none.
        """
        if self.inside:
            self.before = [(library, 1) for library, _ in self.before]
            self.most = 1
        self.lock, self.inside, self.forking = threading.Condition(), 0, False


blas_threads = BLASThreads()


class Making:
    """The lock under which pools of threads are made."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


making = Making()


def _start_anew() -> None:
    making.lock = threading.Lock()
    blas_threads.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=blas_threads.hold, after_in_parent=blas_threads.let_go, after_in_child=_start_anew)


class Crew:
    """`size` threads, the caller's among them, that do parts of one task; any number of callers at once."""

    def __init__(self, size: int) -> None:
        blas_threads.find_libraries()
        self.size = size
        self.pool: ThreadPoolExecutor | None = None
        self.process = 0

    def run(self, task: Callable[[int], T], parts: int) -> list[T]:
        """[task(0), ..., task(parts - 1)], side by side; BLAS gets size // parts threads in each.

        Part 0 runs in the thread that asks. All parts have ended when this returns or raises; the error of the first
        part that failed is raised.
        """
        threads = blas_threads.allowed(max(1, self.size // parts))

        def with_share(part: int) -> T:
            before = share.threads, share.inside, share.undivided
            share.threads, share.inside, share.undivided = threads, True, parts == 1 < self.size
            try:
                return task(part)
            finally:
                share.threads, share.inside, share.undivided = before

        with blas_threads.limited_to(threads):
            if parts == 1:
                return [with_share(0)]
            pool = self.workers()
            others: list[Future[T]] = []
            try:
                for part in range(1, parts):
                    others.append(pool.submit(with_share, part))
            except RuntimeError:  # the interpreter is ending and starts no more work in other threads
                pass
            try:
                results = [with_share(0)]
            finally:
                wait(others)
            here = range(1 + len(others), parts)
            return results + [other.result() for other in others] + [with_share(part) for part in here]

    def workers(self) -> ThreadPoolExecutor:
        """The pool, made when it is first needed, and made anew in a forked process, where no thread survives."""
        with making.lock:
            if self.pool is None or self.process != os.getpid():
                self.pool = ThreadPoolExecutor(max(1, self.size - 1), thread_name_prefix="vipnp-shard")
                self.process = os.getpid()
            return self.pool


def available_cores() -> int:
    """The cores this process may run on."""
    affinity: Any = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


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
