"""What a program around training shares: numbers on its command line, its files, its progress bar, its end."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from vipnp.checkpoint import save_weights
from vipnp.checkpoint.weights import check_safetensors_name
from vipnp.cli.errors import told
from vipnp.core import HostArray
from vipnp.core.checks import check_library
from vipnp.core.files import check_outputs
from vipnp.train.ranks import StoppedError
from vipnp.train.report import check_picture
from vipnp.train.signals import stop_signals

__all__ = ["Bar", "check_files", "number", "progress", "saved_if_stopped", "told"]

Number = TypeVar("Number", int, float)


def number(kind: type[Number], low: int = 0) -> Callable[[str], Number]:
    """The `type` of an argparse option that takes finite numbers >= low."""

    def read(text: str) -> Number:
        value = kind(text)
        if not low <= value < math.inf:
            what = "a number" if kind is int else "a finite number"
            raise argparse.ArgumentTypeError(f"got {value}, expected {what} >= {low}")
        return value

    read.__name__ = kind.__name__  # which argparse calls what is no number
    return read


def check_files(*, save: Path | None, load: Path | None, plot: Path | None, json: Path | None) -> None:
    """Refuse, before any work, files that cannot be written, or only over each other. Weights may go back to the file
    they came from.

    Raises ValueError naming the option, ImportError for a library that is missing.
    """
    check_outputs({"--save": save, "--plot": plot, "--json": json})
    check_outputs({"--plot": plot, "--json": json, "--load": load})
    if save is not None:
        check_safetensors_name("--save", save)
        check_library("--save", "safetensors.numpy", extra="train")
    if plot is not None:
        check_library("--plot", "matplotlib.figure", extra="train")
        check_picture("--plot", plot)


@contextmanager
def saved_if_stopped(path: Path | None, state: Callable[[], dict[str, HostArray]]) -> Iterator[None]:
    """Where this context ends early, by an interrupt or a closed pipe, what has been learnt so far goes to `path`; of
    what has diverged, only weights that are finite."""
    try:
        yield
    except BaseException as error:
        if path is not None:
            with suppress(*[ValueError] * isinstance(error, FloatingPointError)):
                save_weights(path, state())
        raise


class Bar:
    """A progress bar in steps."""

    def __init__(self, bar: tqdm[object], stop: list[int]) -> None:
        self.bar = bar
        self.stop = stop

    def step(self) -> None:
        """A step is done. Raises StoppedError after a signal that asked for that."""
        self.bar.update()
        if self.stop:
            raise StoppedError(self.stop[0])

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.bar.write(line)


@contextmanager
def progress(steps: int) -> Iterator[Bar]:
    """A progress bar, on a terminal, whose steps end by StoppedError after SIGINT, SIGTERM or SIGHUP."""
    with stop_signals() as stop, tqdm(total=steps, unit="step", disable=None, leave=False) as bar:
        yield Bar(bar, stop)
