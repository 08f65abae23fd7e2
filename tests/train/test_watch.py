"""A watched rank: how it ends is how the process that the launcher sees ends, with a line where it was killed."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.processes import running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked at in /proc")
ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, signal, time
from vipnp.train.watch import go_on_watched
go_on_watched(3)
print(os.getpid(), flush=True)
{}
"""
COUNTING = """
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("waits", flush=True)
while not asked:
    time.sleep(0.01)
time.sleep(0.2)
print("asked to stop", len(asked), "times")
"""


def started(then: str) -> tuple[subprocess.Popen[str], int]:
    """A program that does `then` as a watched rank, and the number of that process."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(then)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert child != process.pid
    return process, child


@pytest.mark.parametrize(("then", "status"), [("", 0), ("raise SystemExit(5)", 5)])
def test_a_rank_that_ends_by_itself_tells_what_it_has_to_tell(then: str, status: int) -> None:
    process, child = started(then)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == status
    assert not running(child)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_rank_that_is_killed_is_named(number: signal.Signals) -> None:
    process, child = started("time.sleep(600)")
    os.kill(child, number)
    _, told = process.communicate(timeout=60)
    reason = f"was ended by signal {number.value}, {signal.strsignal(number)}"
    assert told == f"error: rank 3: process {child} on {platform.node()} {reason}\n"
    assert process.returncode == 128 + number


def test_a_rank_that_was_asked_to_stop_is_not_named() -> None:
    process, child = started("time.sleep(600)")
    os.kill(child, signal.SIGTERM)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 128 + signal.SIGTERM


def test_a_rank_ends_with_the_process_that_watches_it() -> None:
    process, child = started("time.sleep(600)")
    process.kill()
    _, told = process.communicate(timeout=60)
    assert told == ""  # a launcher that ends all ranks kills both, after the rank that was lost is named
    while running(child):
        time.sleep(0.01)


def test_a_signal_to_the_group_is_the_business_of_the_rank() -> None:
    """It comes once, and the watching process waits for what the rank makes of it."""
    process, _ = started(COUNTING)
    assert process.stdout is not None
    assert process.stdout.readline() == "waits\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60) == ("asked to stop 1 times\n", "")
    assert process.returncode == 0
