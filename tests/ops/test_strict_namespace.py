"""Every op, layer and model on array_api_strict's second device, where nothing but the standard works.

This suite alone must reach every line and branch of vipnp/ops and vipnp/layers (`make coverage`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.namespaces import StrictBackend, TorchBackend
from vipnp import ViPConfig, VisionPermutator, get_backend
from vipnp.audit.cases import CASES, Case, small_config
from vipnp.verify.trees import tree_arrays, tree_map

NUMPY = get_backend("numpy")


@pytest.mark.parametrize("world", [StrictBackend, TorchBackend])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_same_source_same_numbers(case: Case, world: Any) -> None:
    xp = world()
    args, kwargs = case.inputs()
    y_numpy, pullback_numpy = case.op(NUMPY, *args, **kwargs)
    dy = np.random.default_rng(3).normal(size=np.shape(y_numpy))
    y, pullback = case.op(xp, *tree_map(xp.asarray, args), **tree_map(xp.asarray, kwargs))
    assert xp.owns(y)
    scale = 1e-11 if case.hard else 1e-13
    np.testing.assert_allclose(xp.to_numpy(y), y_numpy, rtol=0, atol=scale * np.abs(y_numpy).max())
    tree = tuple(pullback(xp.asarray(dy)))
    expected = tuple(pullback_numpy(dy))
    if case.one_shot:
        with pytest.raises(RuntimeError, match="one-shot"):
            pullback(xp.asarray(dy))
    for (name, gradient), (_, truth) in zip(tree_arrays(tree), tree_arrays(expected), strict=True):
        assert xp.owns(gradient), name
        np.testing.assert_allclose(
            xp.to_numpy(gradient), truth, rtol=0, atol=scale * max(np.abs(truth).max(), 1e-3), err_msg=name
        )


def test_whole_model_with_every_draw() -> None:
    config: ViPConfig = small_config(
        {"B": 2, "H": 2, "W": 1, "N": 2, "S": 4, "P": 2, "K": 4}, drop_path=0.4, dropout=0.2, skip_lam=2.0
    )
    rng = np.random.default_rng(5)
    images = rng.normal(size=(4, 2, *config.image_size))
    labels = rng.integers(0, 4, size=4)
    losses, gradients = [], []
    for backend in (NUMPY, StrictBackend()):
        model = VisionPermutator(config, backend=backend, dtype="float64", seed=3)
        loss, grads = model.loss_and_grads(images, labels, label_smoothing=0.1, rng=np.random.default_rng(8))
        losses.append(float(loss))
        gradients.append({name: backend.to_numpy(gradient) for name, gradient in grads.items()})
        logits = backend.to_numpy(model(images))
        assert logits.shape == (4, 4)
        assert [grid.shape for grid in model.features(images)] == [(4, 4, 2, 8), (4, 2, 1, 12), (4, 2, 1, 8)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-14)
    for name, gradient in gradients[0].items():
        np.testing.assert_allclose(
            gradients[1][name], gradient, rtol=0, atol=1e-13 * max(np.abs(gradient).max(), 1e-3), err_msg=name
        )
