"""A run as it is seen at the terminal and in its log."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vipnp.cli.errors import tell
from vipnp.core.checks import one_line
from vipnp.data.unreadable import told_of
from vipnp.train.folder import EVENTS, LOG
from vipnp.train.ranks import StoppedError

if TYPE_CHECKING:
    from vipnp.train.run import Progress as Told
    from vipnp.train.run import Run

RATE_OVER = 3600.0
"""Seconds back that the time that is left is reckoned from: two steps must lie in them, and one may take minutes."""


def memory() -> str:
    """The most memory that this process has taken, where the system says that."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"  {most / 1e6:,.0f} MB"


def rate(images_per_second: float) -> str:
    """With two digits at least: a large model on few cores sees an image in several seconds."""
    digits = 0 if images_per_second >= 10 else 1 if images_per_second >= 1 else 2
    return f"{images_per_second:.{digits}f} images/s"


def in_shell(folder: Path) -> str:
    """A folder as a shell takes it, on one line."""
    return one_line(shlex.quote(str(folder)))


class Events:
    """The writer of a run's events. It opens its file with the first step, and has TensorBoard drop
    what an earlier, killed process wrote of later ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / EVENTS
        self.writer: Any = None

    def add(self, done: Told) -> None:
        """What is told of a step, or of the end of an epoch."""
        from tensorboardX import SummaryWriter

        step = done.epoch * done.steps + done.step
        if self.writer is None:
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
        found = {"loss": done.loss, "lr": done.lr} if done.accuracy is None else {"accuracy": done.accuracy}
        for name, value in found.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Nothing more is to be told."""
        if self.writer is not None:
            self.writer.close()


class Warned(logging.Handler):
    """Tells what the library warns of, and keeps it: a run's folder may not be there yet."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Tell the message of a record."""
        self.lines.append(one_line(record.getMessage()))
        tell(self.lines[-1])

    def __enter__(self) -> Self:
        logging.getLogger("vipnp").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("vipnp").removeHandler(self)


def carry_out(run: Run, workers: int, save_every: int, *, tensorboard: bool, warned: Sequence[str] = ()) -> None:
    """Train, with a progress bar on rank 0, and events there where they are asked for. warned : lines that have been
    told, for the log."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from vipnp.core.console import Console
    from vipnp.train import report

    first = run.ranks.rank == 0
    console = Console(quiet=not first)

    def keep(line: str) -> None:
        if first:
            with (run.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    def print_line(line: str) -> None:
        line = one_line(line)
        console.print(line, markup=False, soft_wrap=True)
        keep(line)

    for line in warned:
        keep(line)
    print_line(
        f"{len(run.data.train)} images to train on, {len(run.data.validation)} held out, "
        f"{len(run.data.classes)} classes; "
        f"{run.settings.model} of {run.model.num_parameters:,} parameters at {run.settings.img_size[0]} x "
        f"{run.settings.img_size[1]} on {run.backend.name}"
    )
    others = told_of(run.data.passed_over, run.data.classes)
    if others:
        print_line(others)
    for file in run.data.left_out:
        print_line(f"left out, since it cannot be read: {file}")
    if run.exchange is not None:
        places = run.ranks.gather(f"{os.getpid()} on {platform.node()}")
        print_line(
            f"{run.ranks.size} ranks, each {len(run.shards)} of {run.settings.shards} shards in {run.crew.size} "
            f"threads, gradients by {run.exchange.sums.name}; "
            f"rank: process {', '.join(f'{rank}: {place}' for rank, place in enumerate(places))}"
        )
        means = [f"{size / 1e6:.1f}" for size in run.ranks.gather(run.bytes_of_means())]
        print_line(f"MB of running means of the optimiser, by rank: {', '.join(means)}")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with (
        Progress(
            *columns,
            console=console,
            transient=True,
            disable=not (first and console.is_terminal),
            speed_estimate_period=RATE_OVER,
        ) as bar,
        closing(Events(run.folder)) as events,
    ):
        waits_for = "" if run.backend.name == "numpy" else "the first step compiles the kernels, or loads them"
        task = bar.add_task("", total=run.settings.recipe.passes * run.steps_per_epoch, figures=waits_for)
        trained = False

        def step_done(done: Any) -> None:
            nonlocal trained
            trained = True
            if tensorboard and first:
                events.add(done)
            bar.update(
                task,
                completed=done.epoch * done.steps + done.step,
                description=f"epoch {done.epoch + 1}/{done.epochs}",
                figures=f"loss {done.loss:.3f}  lr {done.lr:.1e}  {rate(done.images_per_second)}{memory()}",
            )
            if done.accuracy is not None:
                row = {"epoch": done.epoch + 1, "loss": done.loss, "accuracy": done.accuracy}
                print_line(report.epoch_line(row, done.epochs))

        def show(parts: Any) -> None:
            seen = [pair for part in parts for pair in zip(part.x, part.targets, strict=True)][: report.SHOWN]
            if seen:  # of a small batch, the first of the ranks may have no image
                report.gallery(
                    run.folder / "train_batch.png",
                    [run.transform.pixels(x) for x, _ in seen],
                    [report.soft_label(target, run.data.classes) for _, target in seen],
                )

        try:
            rows = run.train(workers=workers, save_every=save_every, report=step_done, show=show if first else None)
        except StoppedError as stopped:
            if first:
                tell(f"stopped by {stopped}; go on with: vipnp train --resume {in_shell(run.folder)}")
            raise
    if run.ranks.size > 1:
        print_line(f"most memory, by rank: {', '.join(run.ranks.gather(memory().strip() or 'not known'))}")
    if not first:
        return
    folder = in_shell(run.folder)
    if not trained:
        print_line(
            f"all {run.settings.recipe.epochs} epochs are done; to train on: vipnp train --resume {folder} --epochs M, "
            "with more of them"
        )
    report.curves(run.folder / "curves.png", rows)
    print_line(
        f"best accuracy {max(row['accuracy'] for row in rows):.2%} on the {len(run.data.validation)} held-out images"
    )
    print_line(f"next: vipnp eval {folder}   vipnp predict {folder} IMAGE...")
