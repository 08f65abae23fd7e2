"""Threads that take parts of a batch, and what they need: bounds, sums of gradients, and BLAS in as many threads.

NumPy, BLAS and compiled kernels release the GIL, so Python threads that each take a part of the batch run side by side,
elementwise work included, and no two thread pools wait for each other.

Ctrl-C may be pressed at any moment. Python raises it in the main thread at the beginning of a function, on the way
back from a call or at the next turn of a loop, so also in the midst of a `finally`, or of the methods of
threading.Condition and of the futures made of it, which then stay locked. So what threads share is guarded here by
locks written in C, which a `with` takes and gives back as a whole, and what has to be undone can be undone twice.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from vipnp.core import HostArray

T = TypeVar("T")

LONGEST_WAIT = 60
"""Seconds that a fork waits for the tasks of crews."""

MANY_INTERRUPTS = 1000
"""What has been raised so often is no interrupt."""


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


def _to_its_end(act: Callable[[], None]) -> None:
    """act(), once more after every interrupt; the last of these is raised then."""
    raised: BaseException | None = None
    for _ in range(MANY_INTERRUPTS):
        try:
            act()
            break
        except BaseException as error:
            raised = error
    if raised is not None:
        raise raised


class BLASThreads:
    """How many threads BLAS uses, in the whole process, while anyone is inside; the last to leave resets it.

    The number belongs to the process, so a plain save and restore would go wrong when two threads are inside at once
    and leave in another order than they came. The first to enter sets it. A limit that stands already, set by an
    environment variable or through threadpoolctl, is never raised.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.gate = threading.RLock()
        """Held for a fork; who comes passes through it."""
        self.users: set[object] = set()
        self.most = sys.maxsize
        self.found = False
        self.blas: list[Any] = []
        self.openmp: list[Any] = []
        self.before: list[tuple[Any, int]] = []

    @property
    def inside(self) -> int:
        """How many are inside."""
        return len(self.users)

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

    def limited(self, threads: int, function: Callable[[], T]) -> T:
        """function(), while BLAS uses at most `threads` threads."""
        user = object()
        try:
            self.enter(user, threads)
            return function()
        finally:
            try:
                _to_its_end(lambda: self.leave(user))
            except BaseException:  # an interrupt, which may have come before anything was done
                self.leave(user)
                raise

    def enter(self, user: object, threads: int) -> None:
        """Let `user` in. After an interrupt it may be in or not; `leave` is right for both."""
        if not self.found:
            self.find_libraries()
        if share.inside:
            self._enter(user, threads)
        else:
            with self.gate:
                self._enter(user, threads)

    def _enter(self, user: object, threads: int) -> None:
        with self.lock:
            if not self.users:
                # Something stands in `before` after `start_anew`.
                self.before = self.before or [(library, library.num_threads) for library in self.blas]
                self.users.add(user)
                for library, before in self.before:
                    library.set_num_threads(min(threads, before))
            self.users.add(user)

    def leave(self, user: object) -> None:
        """Let `user` out, who may be out already."""
        with self.lock:
            self.users.discard(user)
            if not self.users:
                for library, before in self.before:
                    library.set_num_threads(before)
                self.before = []

    def hold(self) -> None:
        """Before a fork: let nobody in, and wait until nobody is inside. BLAS shuts its threads down for a fork, which
        must not meet a product."""
        try:
            if not share.inside:  # another fork may hold the gate, and wait for the part that forks here
                self.gate.acquire()
                end = time.monotonic() + LONGEST_WAIT
                while self.users and time.monotonic() < end:
                    time.sleep(0.0005)
        finally:
            self.lock.acquire()

    def let_go(self) -> None:
        """After a fork, in the process that forked."""
        self.lock.release()
        if not share.inside:
            self.gate.release()

    def start_anew(self) -> None:
        """In a forked process: whoever holds a lock does not exist there.

        Where somebody was inside all the same, a lock of BLAS for products in several threads may be held for ever: it
        then works in one thread, which asks for none.
        """
        if self.users:
            self.before = [(library, 1) for library, _ in self.before]
            self.most = 1
        self.lock, self.gate, self.users = threading.RLock(), threading.RLock(), set()


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
        self.calls: SimpleQueue[Callable[[], None] | None] | None = None
        self.process = 0

    def run(self, task: Callable[[int], T], parts: int) -> list[T]:
        """[task(0), ..., task(parts - 1)], side by side; BLAS gets size // parts threads in each.

        Part 0 runs in the thread that asks. All parts have ended when this returns or raises; the error of the first
        part that failed is raised. An interrupt waits for the parts that have begun, and begins no other.
        """
        threads = blas_threads.allowed(max(1, self.size // parts))

        def with_share(part: int) -> T:
            before = share.threads, share.inside, share.undivided
            share.threads, share.inside, share.undivided = threads, True, parts == 1 < self.size
            try:
                return task(part)
            finally:
                share.threads, share.inside, share.undivided = before

        def whole() -> list[T]:
            return [with_share(0)] if parts == 1 else self._side_by_side(with_share, parts)

        return blas_threads.limited(threads, whole)

    def _side_by_side(self, task: Callable[[int], T], parts: int) -> list[T]:
        calls = self.workers()
        doer: dict[int, str] = {}
        """Part -> who does it: whoever sets it first, which is one act. To ask again changes nothing."""
        results: dict[int, T] = {}
        errors: dict[int, BaseException] = {}
        ended = [threading.Lock() for _ in range(parts)]

        def by_worker(part: int) -> None:
            if doer.setdefault(part, "worker") == "worker":
                try:
                    results[part] = task(part)
                except BaseException as error:
                    errors[part] = error
                finally:
                    ended[part].release()

        def by_caller(part: int) -> None:
            if doer.setdefault(part, "caller") == "caller":
                try:
                    results[part] = task(part)
                except Exception as error:
                    errors[part] = error

        def wait() -> None:
            for part in range(1, parts):
                if doer.setdefault(part, "caller") == "worker":
                    with ended[part]:
                        pass

        for lock in ended:
            lock.acquire()
        try:
            for part in range(1, parts):
                calls.put(functools.partial(by_worker, part))
            # Also what no worker has begun: there is none any more when the interpreter ends.
            for part in range(parts):
                by_caller(part)
        finally:
            try:
                _to_its_end(wait)
            except BaseException:
                wait()
                raise
        try:
            if errors:
                raise errors[min(errors)]
        finally:
            errors.clear()  # an error holds this frame, and with it all arrays
        return [results[part] for part in range(parts)]

    def workers(self) -> SimpleQueue[Callable[[], None] | None]:
        """What the other threads are to call: they begin when they are first needed, and anew in a forked process,
        where no thread survives."""
        with making.lock:
            if self.calls is None or self.process != os.getpid():
                calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
                try:
                    for number in range(max(1, self.size - 1)):
                        weakref.finalize(self, calls.put, None)  # first, since an interrupt may come between
                        threading.Thread(target=_work, args=(calls,), name=f"vipnp-shard_{number}", daemon=True).start()
                except RuntimeError:  # no more threads, as while the interpreter ends: the caller does what is left
                    if number == 0:
                        return calls
                self.calls, self.process = calls, os.getpid()
            return self.calls


def _work(calls: SimpleQueue[Callable[[], None] | None]) -> None:
    for call in iter(calls.get, None):
        call()
        del call  # and the arrays of its task, before waiting for the next


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
