"""One training step by `TrainingStep`, against the same by hand; its graphs are tested in tests/fake_device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vipnp import VisionPermutator
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend
from vipnp.optim import AdamW, clip_grad_norm
from vipnp.train import TrainingStep

SIZES = {"B": 2, "H": 2, "W": 1, "N": 2, "S": 4, "P": 2, "K": 4}


def model_and_batch() -> tuple[VisionPermutator, Any, Any]:
    model = VisionPermutator(small_config(SIZES, drop_path=0.4), seed=3)
    rng = np.random.default_rng(5)
    images = rng.normal(size=(3, model.config.in_channels, *model.config.image_size)).astype(np.float32)
    return model, images, rng.integers(0, 4, 3)


@pytest.mark.parametrize("max_norm", [None, 0.3])
def test_it_is_gradients_clipping_and_the_optimizer(max_norm: float | None) -> None:
    (model, images, labels), (other, _, _) = model_and_batch(), model_and_batch()
    xp = get_backend("numpy")
    optimizer, rng, draws = AdamW(xp), np.random.default_rng(1), np.random.default_rng(1)
    step = TrainingStep(other, AdamW(xp), label_smoothing=0.1, max_norm=max_norm)
    for lr in (1e-2, 2e-2):
        loss, grads = model.loss_and_grads(images, labels, label_smoothing=0.1, rng=rng)
        if max_norm is not None:
            grads, norm = clip_grad_norm(xp, grads, max_norm=max_norm)
            assert norm > max_norm
        model.set_parameters(optimizer.update(model.parameters(), grads, lr=lr))
        assert step(images, labels, lr=lr, rng=draws) == loss
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value, err_msg=name)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing: got 1"),
        ({"max_norm": 0}, ValueError, "max_norm: got 0"),
        ({"graph": 1}, TypeError, "graph: got 1, expected True or False"),
        ({"graph": True}, ValueError, r"graph: got a model on <.*numpy.*>, expected get_backend\('cupy'\)"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], error: type[Exception], message: str) -> None:
    model, _, _ = model_and_batch()
    with pytest.raises(error, match=message):
        TrainingStep(model, AdamW(model.backend), **options)


@pytest.mark.parametrize("lr", [-1, float("nan"), "fast"])
def test_a_wrong_learning_rate_is_told_before_any_work(lr: Any) -> None:
    model, images, labels = model_and_batch()
    rng = np.random.default_rng(1)
    with pytest.raises((ValueError, TypeError), match=f"lr: got {lr!r}"):
        TrainingStep(model, AdamW(model.backend))(images, labels, lr=lr, rng=rng)
    assert rng.random() == np.random.default_rng(1).random()
