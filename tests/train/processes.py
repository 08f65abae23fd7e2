"""Processes that tests look at from outside, on Linux."""

from __future__ import annotations

from pathlib import Path


def running(number: int) -> bool:
    """Whether a process of this number runs; one that has ended may stand in the table a while longer."""
    try:
        return _stat(number)[0] != "Z"
    except OSError:
        return False


def parent(number: int) -> int:
    """The number of the process that started this one."""
    return int(_stat(number)[1])


def _stat(number: int) -> list[str]:
    """What the system says of a process after its name: state, parent and more."""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
