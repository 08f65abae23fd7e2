"""Every default of the public functions, as documented."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from vipnp import ViPConfig, VisionPermutator, create_model, layers, ops
from vipnp.backends.cupy import backend as cupy_backend
from vipnp.backends.numba import backend as numba_backend
from vipnp.backends.numpy import backend as numpy_backend
from vipnp.layers import STANDARD_BRANCHES, BlockMasks
from vipnp.optim import SGD, AdamW, cosine_lr
from vipnp.train import TrainingStep, train_epoch

DEFAULTS: dict[Callable[..., Any], dict[str, Any]] = {
    AdamW: {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05},
    SGD: {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0},
    ops.layer_norm: {"eps": 1e-5},
    ops.residual: {"skip_lam": 1.0},
    ops.cross_entropy: {"label_smoothing": 0.0},
    layers.permutator: {
        "fusion": "weighted",
        "branches": ("height", "width", "channel"),
        "skip_lam": 1.0,
        "masks": BlockMasks(None, None, None, None, None),
    },
    layers.stage: {"fusion": "weighted", "branches": ("height", "width", "channel"), "skip_lam": 1.0, "masks": None},
    layers.mlp: {"hidden_mask": None, "out_mask": None},
    create_model: {"num_classes": 1000, "in_channels": 3, "backend": "numpy", "dtype": "float32", "seed": 0},
    VisionPermutator: {"backend": "numpy", "dtype": "float32", "seed": 0},
    VisionPermutator.loss_and_grads: {"label_smoothing": 0.0, "rng": None},
    TrainingStep: {"label_smoothing": 0.0, "max_norm": None, "graph": False},
    VisionPermutator.load_state_dict: {"strict": True},
    VisionPermutator.reset_classifier: {"seed": 0},
    numpy_backend.create: {"shards": 1, "keep_memory": True},
    numba_backend.create: {"shards": None, "products": "auto", "keep_memory": True},
    cupy_backend.create: {"device": 0, "precision": "float32", "fused": True, "memory_limit": None},
}


@pytest.mark.parametrize("function", DEFAULTS, ids=lambda function: function.__qualname__)
def test_defaults(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    found = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    assert found == DEFAULTS[function]


def test_defaults_of_training() -> None:
    parameters = inspect.signature(train_epoch).parameters
    assert parameters["label_smoothing"].default == 0.0
    assert parameters["max_norm"].default is None
    assert parameters["augment"].default is None


def test_defaults_of_the_schedule() -> None:
    """The rate of the first epoch is that of the warmup, the rate after the last the smallest."""
    assert cosine_lr(0, lr=1.0, epochs=9, warmup_epochs=2) == 1e-6
    assert cosine_lr(9, lr=1.0, epochs=9) == 1e-5
    assert cosine_lr(0, lr=1.0, epochs=9) == 1.0


def test_defaults_of_a_configuration() -> None:
    found = {field.name: field.default for field in dataclasses.fields(ViPConfig)}
    known = {name: default for name, default in found.items() if default is not dataclasses.MISSING}
    assert known == {
        "mlp_ratio": 3,
        "image_size": (224, 224),
        "in_channels": 3,
        "num_classes": 1000,
        "fusion": "weighted",
        "branches": STANDARD_BRANCHES,
        "skip_lam": 1.0,
        "drop_path": 0.0,
        "dropout": 0.0,
    }
