"""Let the contenders take turns, and reduce their times to medians, minima and ratios."""

from __future__ import annotations

import json
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
    median, minimum : of `seconds`.
    ratio : median over the turns of (seconds / the reference's seconds in the same turn); None without the reference.
    ratio_of_medians, ratio_of_minima : likewise.
    peak_bytes : largest resident memory of its process.
    first_call : seconds to build the step and run it once, compilation included.
    """

    contender: str
    work: Work
    seconds: list[float]
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
) -> list[Result]:
    """Time every contender on `work`: `rounds` turns, one step each in every turn, A B C A B C ...

    The first steps and all compilation come before the first turn. Raises RuntimeError if a contender's process fails.
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
            tell(f"{work.label()}: turn {turn + 1} of {rounds}")
            for process, seconds in zip(processes, times, strict=True):
                time.sleep(PAUSE)
                seconds.append(process.step())
        peaks = [process.finish() for process in processes]
    finally:
        for process in processes:
            process.stop()
    return reduce(contenders, work, times, peaks, first_calls)


def reduce(
    contenders: Sequence[str],
    work: Work,
    times: Sequence[list[float]],
    peaks: Sequence[int],
    first_calls: Sequence[float],
) -> list[Result]:
    """Medians, minima and the ratios to the reference."""
    results = [
        Result(name, work, seconds, statistics.median(seconds), min(seconds), peak, first)
        for name, seconds, peak, first in zip(contenders, times, peaks, first_calls, strict=True)
    ]
    reference = next((result for result in results if result.contender == REFERENCE), None)
    if reference is not None:
        for result in results:
            pairs = zip(result.seconds, reference.seconds, strict=True)
            result.ratio = statistics.median(mine / theirs for mine, theirs in pairs)
            result.ratio_of_medians = result.median / reference.median
            result.ratio_of_minima = result.minimum / reference.minimum
    return results
