"""A run's figures as events that TensorBoard reads."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vipnp.train.folder import EVENTS

if TYPE_CHECKING:
    from vipnp.train.run import Progress


class Events:
    """The writer of a run's events, within a context. It opens its file with the first step, and has TensorBoard drop
    what an earlier, killed process wrote of later ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / EVENTS
        self.writer: Any = None

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def add(self, done: Progress) -> None:
        """What is told of a step, or of the end of an epoch."""
        from tensorboardX import SummaryWriter

        step = done.epoch * done.steps + done.step
        if self.writer is None:
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
        found = {"loss": done.loss, "lr": done.lr} if done.accuracy is None else {"accuracy": done.accuracy}
        for name, value in found.items():
            self.writer.add_scalar(name, value, step)
