"""A time limit on code of others: an op under audit may loop for ever, and a proof may grow without end."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Literal, TypeAlias, TypeVar

T = TypeVar("T")
Where: TypeAlias = Literal["inside", "callback", "outside"]

SECONDS = 10.0
"""What `verify` gives every rung, unless told otherwise."""

SOON, AGAIN = 1e-3, 1.0
"""Seconds until the exception is raised once more: after a callback stood in its way, and after it was raised and
swallowed."""


class OutOfTimeError(BaseException):
    """The time is up. No Exception, so that an op which catches those does not swallow it."""


class _WithdrawnError(BaseException):
    """Stands in the place of an OutOfTimeError that came too late."""


def limited(seconds: float | None, function: Callable[[], T]) -> T:
    """function(), or OutOfTimeError once `seconds` are over; None sets no limit.

    It is raised inside the function, between two instructions of Python: a single call of NumPy is waited for. No
    signal is used, so that it works in every thread and leaves the caller's own alarm alone.
    """
    if seconds is None:
        return function()
    thread = threading.get_ident()
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    lock = threading.Lock()
    over = threading.Event()
    inside: list[FrameType] = []
    fired = False

    def call() -> T:
        inside.append(sys._getframe())
        return function()

    def stop() -> None:
        nonlocal fired
        wait = min(seconds, threading.TIMEOUT_MAX)
        left = False
        while not (over.wait(wait) or left):
            collects = gc.isenabled()
            gc.disable()  # else a collection could begin before the exception is raised, and its callbacks receive it
            with lock:
                place = _place(thread, inside)
                left = fired and place == "outside"  # the exception came after the function, and ended what ends this
                now = not over.is_set() and place == "inside"
                if now:
                    fired = True
                    raise_in(ctypes.c_ulong(thread), ctypes.py_object(OutOfTimeError))
            if now:
                over.wait(AGAIN)
            if collects:
                gc.enable()
            wait = SOON

    watch = threading.Thread(target=stop, daemon=True)
    watch.start()
    try:
        return call()
    except Exception as error:
        if stems_from_the_limit(error):
            raise OutOfTimeError from error
        raise
    finally:
        with lock:
            over.set()
        inside.clear()
        if fired:
            # To withdraw an exception leaves CPython's flag for one set: every call then looks for it, and under a
            # profiler never stops looking. So another takes its place and is received.
            try:
                raise_in(ctypes.c_ulong(thread), ctypes.py_object(_WithdrawnError))
                while True:
                    pass
            except _WithdrawnError:
                pass
        watch.join()


def stems_from_the_limit(error: BaseException | None) -> bool:
    """Whether an exception is what became of an OutOfTimeError: NumPy's product of objects goes on after the first
    exception of an entry, and ends with a SystemError."""
    while error is not None:
        if isinstance(error, OutOfTimeError):
            return True
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return False


def _place(thread: int, inside: list[FrameType]) -> Where:
    """Whether the thread is in the frame `inside` or deeper, and there in code that CPython calls by itself: an
    exception that leaves such code is printed and lost."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    frame = sys._current_frames().get(thread)
    place: Where = "inside"
    while frame is not None and frame not in inside:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            place = "callback"
        frame = frame.f_back
    return "outside" if frame is None else place
