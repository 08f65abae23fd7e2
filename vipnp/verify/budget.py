"""A time limit on code of others: an op under audit may loop for ever, and a proof may grow without end."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 10.0
"""What `verify` gives every rung, unless told otherwise."""


class OutOfTimeError(BaseException):
    """The time is up. No Exception, so that an op which catches those does not swallow it."""


class _WithdrawnError(BaseException):
    """Stands in the place of an OutOfTimeError that came too late."""


@contextmanager
def budget(seconds: float | None) -> Iterator[None]:
    """OutOfTimeError inside, once `seconds` are over; None sets no limit.

    It is raised between two instructions of Python: a single call of NumPy is waited for. No signal is used, so that it
    works in every thread and leaves the caller's own alarm alone.
    """
    if seconds is None:
        yield
        return
    thread = ctypes.c_ulong(threading.get_ident())
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    lock = threading.Lock()
    over = fired = False

    def stop() -> None:
        nonlocal fired
        with lock:
            if not over:
                fired = True
                raise_in(thread, ctypes.py_object(OutOfTimeError))

    watch = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        with lock:
            over = True
        watch.cancel()
        if fired:
            # To withdraw an exception leaves CPython's flag for one set: every call then looks for it, and under a
            # profiler never stops looking. So another takes its place and is received.
            try:
                raise_in(thread, ctypes.py_object(_WithdrawnError))
                while True:
                    pass
            except _WithdrawnError:
                pass
