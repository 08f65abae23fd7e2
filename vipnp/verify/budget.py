"""A time limit on code of others: an op under audit may loop for ever, and a proof may grow without end."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 10.0
"""What `verify` gives every rung, unless told otherwise."""

SOON = 1e-3
"""Seconds after which to look again whether a callback has returned."""

RECEIVED = 1.0
"""Seconds within which the exception should have been received: no longer is the garbage collector held up."""


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
    thread = threading.get_ident()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    lock = threading.Lock()
    over = threading.Event()
    fired = False

    def stop() -> None:
        nonlocal fired
        wait = min(seconds, threading.TIMEOUT_MAX)
        while not (over.wait(wait) or fired):
            collects = gc.isenabled()
            gc.disable()  # else a collection could begin before the exception is raised, and its callbacks receive it
            with lock:
                fired = not over.is_set() and not _in_a_callback(thread)
                if fired:
                    raise_in(ctypes.c_ulong(thread), ctypes.py_object(OutOfTimeError))
            if fired:
                over.wait(RECEIVED)
            if collects:
                gc.enable()
            wait = SOON

    watch = threading.Thread(target=stop, daemon=True)
    watch.start()
    try:
        yield
    finally:
        with lock:
            over.set()
        if fired:
            # To withdraw an exception leaves CPython's flag for one set: every call then looks for it, and under a
            # profiler never stops looking. So another takes its place and is received.
            try:
                raise_in(ctypes.c_ulong(thread), ctypes.py_object(_WithdrawnError))
                while True:
                    pass
            except _WithdrawnError:
                pass
        watch.join()  # the garbage collector stands still no longer than that


def _in_a_callback(thread: int) -> bool:
    """Whether the thread is in code that CPython calls by itself: an exception that leaves it is printed and lost."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
