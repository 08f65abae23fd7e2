"""`at_resolution`: the same model on another grid."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipnp import VisionPermutator, create_model, get_backend
from vipnp.audit.cases import small_config
from vipnp.checkpoint import load_weights, save_pytorch
from vipnp.layers import MIXINGS
from vipnp.models.resolution import interpolation, nearest_size
from vipnp.ops import resample_mixing
from vipnp.optim import AdamW

XP = get_backend("numpy")
SIZES = {"B": 3, "H": 3, "W": 2, "N": 3, "S": 4, "P": 2, "K": 5}


@given(old=st.integers(1, 12), new=st.integers(1, 12))
def test_interpolation_keeps_what_is_linear(old: int, new: int) -> None:
    matrix = interpolation(old, new)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert (matrix >= 0).all()
    middles = [(np.arange(n) + 0.5) / n for n in (old, new)]
    inside = (middles[1] >= middles[0][0]) & (middles[1] <= middles[0][-1])
    np.testing.assert_allclose((matrix @ middles[0])[inside], middles[1][inside], rtol=0, atol=1e-15)
    if old == new:
        np.testing.assert_array_equal(matrix, np.eye(old))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_its_own_size_is_the_same_model(dtype: str) -> None:
    model = VisionPermutator(small_config(SIZES), dtype=dtype, seed=1)
    same = model.at_resolution(*model.config.image_size)
    for name, value in model.state_dict().items():
        assert same.state_dict()[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("size", [(8, 16), (20, 4), (12, 8)])
def test_other_sizes_run_and_train(size: tuple[int, int]) -> None:
    model = VisionPermutator(small_config(SIZES), dtype="float64", seed=1)
    other = model.at_resolution(*size)
    assert other.config.image_size == size
    images = np.random.default_rng(0).normal(size=(2, other.config.in_channels, *size))
    loss, grads = other.loss_and_grads(images, np.array([0, 3]))
    assert np.isfinite(loss)
    assert set(grads) == set(model.parameters())
    assert model.config.image_size != other.config.image_size or size == model.config.image_size


@pytest.mark.parametrize("mixing", MIXINGS)
def test_other_mixings_are_carried_over_too(mixing: str) -> None:
    """At its own size to the last bit; a matrix over the plane like one along the height, then one along the width."""
    model = VisionPermutator(dataclasses.replace(small_config(SIZES), branches=mixing), dtype="float64", seed=1)
    same = model.at_resolution(*model.config.image_size)
    for name, value in model.state_dict().items():
        assert same.state_dict()[name].tobytes() == value.tobytes(), name
    other = model.at_resolution(20, 16)
    images = np.random.default_rng(0).normal(size=(2, other.config.in_channels, 20, 16))
    _, grads = other.loss_and_grads(images, np.array([0, 3]))
    assert set(grads) == set(model.parameters())
    if mixing == "plane":
        name = "network.0.0.attn.mlp_h.weight"
        before, after = (stage.config.stages()[0] for stage in (model, other))
        rows, columns = [
            (interpolation(a, b), interpolation(b, a))
            for a, b in ((before.height, after.height), (before.width, after.width))
        ]
        weight = model.state_dict()[name].reshape(before.height, before.width, before.height, before.width)
        expected = np.einsum("gi,vj,ijkl,kh,lw->gvhw", rows[0], columns[0], weight, rows[1], columns[1])
        np.testing.assert_allclose(other.state_dict()[name], expected.reshape(len(other.state_dict()[name]), -1), 1e-12)


def test_a_matrix_carried_over_mixes_as_before() -> None:
    """To three times the grid and a column that is linear between the old places: gathered, mixed, spread out."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 8))
    up, down = interpolation(4, 12), interpolation(12, 4)
    larger, _ = resample_mixing(XP, weight, spread=up, gather=down)
    column = rng.normal(size=(12, 2))
    mixed = np.einsum("itjs,js->it", weight.reshape(4, 2, 4, 2), down @ column)
    np.testing.assert_allclose(larger @ column.reshape(24), (up @ mixed).reshape(24), rtol=0, atol=1e-13)


def test_a_published_layout_at_another_shape() -> None:
    model = create_model("vip_s7", layers=(1, 1, 1, 1), num_classes=3)
    other = model.at_resolution(252, 196)
    assert [grid.shape[1:3] for grid in other.features(np.zeros((1, 3, 252, 196), np.float32))] == [
        (36, 28), (18, 14), (18, 14), (18, 14),
    ]  # fmt: skip


def test_published_weights_at_256_by_192_run_and_fine_tune(tmp_path: Path) -> None:
    """vip_s16, with one of its blocks, from a file as PyTorch saves it; the patches of the others do not divide 256."""
    save_pytorch(tmp_path / "w.pth", create_model("vip_s16", layers=(1,), num_classes=3, seed=1).state_dict())
    model = create_model("vip_s16", layers=(1,), num_classes=3)
    model.load_state_dict(load_weights(tmp_path / "w.pth"))
    model = model.at_resolution(256, 192)
    images = np.random.default_rng(0).normal(size=(3, 3, 256, 192)).astype(np.float32)
    assert model.features(images)[0].shape == (3, 16, 12, 336)
    optimizer = AdamW(model.backend)
    losses = []
    for _ in range(4):
        loss, grads = model.loss_and_grads(images, np.array([2, 0, 1]))
        losses.append(float(loss))
        model.set_parameters(optimizer.update(model.parameters(), grads, lr=1e-3))
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ValueError, match=r"nearest size that fits is \(252, 196\)"):
        create_model("vip_s7", layers=(1, 1, 1, 1), num_classes=3).at_resolution(256, 192)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (13, 8),
            r"image_size: got \(13, 8\), expected multiples of patch_size 2.*nearest size that fits is \(12, 8\)",
        ),
        ((10, 8), r"expected multiples of 2 for its merge.*nearest size that fits is \(8, 8\)"),
    ],
)
def test_sizes_that_do_not_fit_name_the_nearest(size: tuple[int, int], message: str) -> None:
    model = VisionPermutator(small_config(SIZES), seed=1)
    with pytest.raises(ValueError, match=message):
        model.at_resolution(*size)
    fits: Any = nearest_size(model.config, *size)
    assert model.at_resolution(*fits).config.image_size == fits


def test_a_size_that_no_memory_holds_is_refused_before_any_work() -> None:
    model = VisionPermutator(small_config(SIZES), seed=1)
    for height in (400_000, 4 * 10**400):
        with pytest.raises(ValueError, match=r"^config: got a model of more than .* weights, .* image_size") as error:
            model.at_resolution(height, 8)
        assert "nearest" not in str(error.value)
