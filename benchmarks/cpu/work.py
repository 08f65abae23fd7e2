"""What is measured: a model, a batch, and what is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vipnp.models import ViPConfig
from vipnp.models.config import get_config

Task = Literal["train", "infer"]
TASKS: tuple[Task, ...] = ("train", "infer")

Step = Callable[[], object]
"""Runs what is timed once."""

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05


@dataclass(frozen=True)
class Work:
    """One thing to time, the same for every contender.

    Attributes
    ----------
    model : a published name.
    batch : images.
    task : "train" (forward, loss, backward, AdamW) or "infer" (forward).
    image_size : side of the images in pixels; None is the model's own.
    depth : blocks a stage; None is the model's own.
    """

    model: str
    batch: int
    task: Task
    image_size: int | None = None
    depth: int | None = None

    def config(self) -> ViPConfig:
        """The configuration of the model."""
        config = get_config(self.model)
        changes: dict[str, Any] = {}
        if self.image_size is not None:
            changes["image_size"] = self.image_size
        if self.depth is not None:
            changes["layers"] = (self.depth,) * len(config.layers)
        return dataclasses.replace(config, **changes)

    def label(self) -> str:
        """One line for tables."""
        extra = [f"{self.image_size} px"] if self.image_size else []
        extra += [f"{self.depth} blocks a stage"] if self.depth else []
        return ", ".join([f"{self.model} {self.task}", f"batch {self.batch}", *extra])


def images_and_labels(work: Work, config: ViPConfig) -> tuple[Any, Any]:
    """The same random batch for every contender."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((work.batch, config.in_channels, *config.image_size), dtype=np.float32)
    return images, rng.integers(0, config.num_classes, work.batch)
