"""Let the contenders take turns, and reduce their times to medians, minima and ratios; more turns may come later."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.cpu.work import Work

REFERENCE = "torch"
"""The contender that ratios refer to."""

PAUSE = 0.05
"""Seconds between two steps: the spinning threads of the last contender fall asleep in it."""


@dataclass
class Result:
    """What one contender took.

    Attributes
    ----------
    seconds : of every step, in the order of the turns.
    reference : seconds of the reference in the same turns; empty without it.
    median, minimum : of `seconds`.
    ratio : median over the turns of (seconds / reference); None without the reference.
    ratio_of_medians, ratio_of_minima : likewise.
    peak_bytes : largest resident memory of its process.
    first_call : seconds to build the step and run it once, compilation included.
    """

    contender: str
    work: Work
    seconds: list[float]
    reference: list[float]
    median: float
    minimum: float
    peak_bytes: int
    first_call: float
    ratio: float | None = None
    ratio_of_medians: float | None = None
    ratio_of_minima: float | None = None


class Process:
    """One contender in its process."""

    def __init__(self, contender: str, work: Work, cores: Sequence[int]) -> None:
        self.contender = contender
        spec = json.dumps({"contender": contender, "work": asdict(work), "cores": list(cores)})
        threads = str(len(cores))
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        environment |= {"MKL_NUM_THREADS": threads}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.cpu.child", spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def read(self, key: str) -> float:
        """The number under `key` in the next line of the process."""
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self.contender}: its process ended with status {self.child.wait()}; see its errors above"
            )
        return float(json.loads(line)[key])

    def step(self) -> float:
        """Seconds of one step."""
        assert self.child.stdin is not None
        self.child.stdin.write("step\n")
        self.child.stdin.flush()
        return self.read("seconds")

    def finish(self) -> int:
        """End the process; its largest resident memory, bytes."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        peak = int(self.read("peak_bytes"))
        self.stop()
        return peak

    def stop(self) -> None:
        """End the process, whatever it does."""
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()


def measure(
    contenders: Sequence[str],
    work: Work,
    *,
    rounds: int,
    cores: Sequence[int],
    tell: Callable[[str], None] = lambda _: None,
    until: float = math.inf,
) -> list[Result]:
    """Time every contender on `work`: `rounds` turns, one step each in every turn, A B C A B C ...

    The first steps and all compilation come before the first turn. No turn begins after `until`, a time of
    `time.monotonic`: there are results of the turns until then, and none where there was no turn.
    Raises RuntimeError if a contender's process fails.
    """
    processes: list[Process] = []
    try:
        first_calls = []
        for contender in contenders:
            tell(f"{work.label()}: starting {contender}")
            processes.append(Process(contender, work, cores))
            first_calls.append(processes[-1].read("ready"))
        times: list[list[float]] = [[] for _ in contenders]
        for turn in range(rounds):
            if time.monotonic() > until:
                break
            tell(f"{work.label()}: turn {turn + 1} of {rounds}")
            for process, seconds in zip(processes, times, strict=True):
                time.sleep(PAUSE)
                seconds.append(process.step())
        peaks = [process.finish() for process in processes]
    finally:
        for process in processes:
            process.stop()
    return reduce(contenders, work, times, peaks, first_calls) if times[0] else []


def reduce(
    contenders: Sequence[str],
    work: Work,
    times: Sequence[list[float]],
    peaks: Sequence[int],
    first_calls: Sequence[float],
) -> list[Result]:
    """Medians, minima and the ratios to the reference."""
    reference = times[list(contenders).index(REFERENCE)] if REFERENCE in contenders else []
    return [
        of_seconds(name, work, seconds, reference, peak, first)
        for name, seconds, peak, first in zip(contenders, times, peaks, first_calls, strict=True)
    ]


def of_seconds(
    contender: str, work: Work, seconds: list[float], reference: list[float], peak: int, first_call: float
) -> Result:
    """The result of these turns."""
    median, minimum = statistics.median(seconds), min(seconds)
    result = Result(contender, work, seconds, reference, median, minimum, peak, first_call)
    if reference:
        result.ratio = statistics.median(mine / theirs for mine, theirs in zip(seconds, reference, strict=True))
        result.ratio_of_medians = median / statistics.median(reference)
        result.ratio_of_minima = minimum / min(reference)
    return result


def with_more_turns(first: Result, more: Result) -> Result:
    """The result of all turns of two results of one contender and one work; its first call is that of `first`."""
    return of_seconds(
        first.contender,
        first.work,
        [*first.seconds, *more.seconds],
        [*first.reference, *more.reference] if first.reference and more.reference else [],
        max(first.peak_bytes, more.peak_bytes),
        first.first_call,
    )
