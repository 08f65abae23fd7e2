"""A tiny model in training, for the tests of the cupy backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp import ViPConfig, VisionPermutator
from vipnp.core import Backend
from vipnp.optim import AdamW
from vipnp.optim.clip import clip_grad_norm

SIZES = {"B": 2, "H": 2, "W": 1, "N": 2, "S": 4, "P": 2, "K": 4}
BATCH = 4


def batch(config: ViPConfig, size: int = BATCH) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    images = rng.normal(size=(size, config.in_channels, *config.image_size)).astype(np.float32)
    return images, rng.integers(0, config.num_classes, size=size)


class Training:
    """A tiny model, its optimiser and its draws; `step` is one training step on arrays of the backend."""

    def __init__(self, xp: Backend, config: ViPConfig) -> None:
        self.xp = xp
        self.model = VisionPermutator(config, backend=xp, seed=3)
        self.optimizer = AdamW(xp)
        self.rng = np.random.default_rng(1)
        self.images, self.labels = (xp.asarray(array) for array in batch(config))

    def step(self) -> tuple[Any, dict[str, Any]]:
        loss, grads = self.model.loss_and_grads(self.images, self.labels, label_smoothing=0.1, rng=self.rng)
        clipped, _ = self.xp.find(clip_grad_norm)(self.xp, grads, max_norm=1.0)
        self.model.set_parameters(self.optimizer.update(self.model.parameters(), clipped, lr=1e-3))
        return loss, grads
