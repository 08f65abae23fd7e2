"""A process that waits for a rank, and tells what killed it.

A launcher that sees a rank die kills the others at once, so that none of them could tell which one was lost. It sees
the watching process instead of the rank: that one learns from the system which signal its child died of, tells it, and
ends after that.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from threading import Thread
from typing import NoReturn

from vipnp.train.signals import STOPPING

PATIENCE = 0.3
"""Seconds between a message and the end of all ranks, in which mpirun passes the message on."""


def go_on_watched(rank: int) -> None:
    """Go on as a child of this process, which waits for it: see `_end_as`. Nothing where the system cannot fork."""
    if not hasattr(os, "fork"):
        return
    # Launchers send signals to the group of processes: the child gets them as well, and they are its business.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in STOPPING}
    alive, held = os.pipe()
    child = os.fork()
    if child:
        os.close(alive)
        _end_as(child, rank)
    os.close(held)
    Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
    for number, handler in before.items():
        signal.signal(number, handler)


def _end_as(child: int, rank: int) -> NoReturn:
    """Wait for `child` and end with its exit status; where a signal killed it, with 128 and the number of that, after a
    line that names `rank` and the signal, unless it is one that asks to stop."""
    status = 1
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status < 0:
            number, status = -status, 128 - status
            if number not in STOPPING:  # with those, launchers end the ranks that are left
                what = f"was ended by signal {number}, {signal.strsignal(number)}"
                _tell(rank, f"process {child} on {platform.node()} {what}")
                time.sleep(PATIENCE)
    finally:
        os._exit(status)


def _end_with_parent(pipe: int) -> NoReturn:
    """Wait until the other end of the pipe is closed, as the system does when the parent is killed, and end as well.

    Without a word: a launcher that ends all ranks kills both, in either order, after the rank that was lost is named.
    """
    os.read(pipe, 1)
    os._exit(2)


def _tell(rank: int, what: str) -> None:
    print(f"error: rank {rank}: {what}", file=sys.stderr, flush=True)
