"""The public model: official names and counts, PyTorch's weights and gradients, memory, and the API."""

from __future__ import annotations

import gc
import inspect
import math
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import vipnp
from tools.torch_vip import torch_vip
from vipnp import ViPConfig, VisionPermutator
from vipnp.audit.cases import small_config
from vipnp.layers import Mask
from vipnp.models import PUBLISHED, PUBLISHED_DROP_PATH, draw_masks, get_config, initial_parameters, parameter_shapes
from vipnp.verify.trees import tree_arrays

SIZES = {"B": 2, "H": 2, "W": 1, "N": 3, "S": 4, "P": 2, "K": 4}
SMALL = small_config(SIZES)


def small_batch(seed: int = 0, batch: int = 4, config: ViPConfig = SMALL) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(batch, config.in_channels, *config.image_size))
    return images, rng.integers(0, config.num_classes, size=batch)


def with_torch_weights(module: Any, dtype: str, config: ViPConfig) -> VisionPermutator:
    model = VisionPermutator(config, dtype=dtype)
    model.load_state_dict(module.state_dict())
    return model


# --- the published models ------------------------------------------------------------------------------------------

COUNTS = {
    "vip_s16": (23_023_552, 312, 4.036),
    "vip_s14": (29_892_904, 312, 6.856),
    "vip_s7": (25_114_984, 314, 6.902),
    "vip_m7": (55_272_488, 416, 16.284),
    "vip_l7": (87_784_936, 620, 24.340),
}


def block_names(prefix: str, C: int) -> dict[str, tuple[int, ...]]:
    """One block of a published model, written out as in the official state dict."""
    return {
        f"{prefix}.norm1.weight": (C,),
        f"{prefix}.norm1.bias": (C,),
        f"{prefix}.attn.mlp_c.weight": (C, C),
        f"{prefix}.attn.mlp_h.weight": (C, C),
        f"{prefix}.attn.mlp_w.weight": (C, C),
        f"{prefix}.attn.reweight.fc1.weight": (C // 4, C),
        f"{prefix}.attn.reweight.fc1.bias": (C // 4,),
        f"{prefix}.attn.reweight.fc2.weight": (3 * C, C // 4),
        f"{prefix}.attn.reweight.fc2.bias": (3 * C,),
        f"{prefix}.attn.proj.weight": (C, C),
        f"{prefix}.attn.proj.bias": (C,),
        f"{prefix}.norm2.weight": (C,),
        f"{prefix}.norm2.bias": (C,),
        f"{prefix}.mlp.fc1.weight": (3 * C, C),
        f"{prefix}.mlp.fc1.bias": (3 * C,),
        f"{prefix}.mlp.fc2.weight": (C, 3 * C),
        f"{prefix}.mlp.fc2.bias": (C,),
    }


def test_vip_s7_has_the_official_names_shapes_and_order() -> None:
    expected: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (192, 3, 7, 7), "patch_embed.proj.bias": (192,)}
    for block in range(4):
        expected |= block_names(f"network.0.{block}", 192)
    expected |= {"network.1.proj.weight": (384, 192, 2, 2), "network.1.proj.bias": (384,)}
    for stage, depth in ((2, 3), (3, 8), (4, 3)):
        for block in range(depth):
            expected |= block_names(f"network.{stage}.{block}", 384)
    expected |= {"norm.weight": (384,), "norm.bias": (384,), "head.weight": (1000, 384), "head.bias": (1000,)}
    assert list(parameter_shapes(get_config("vip_s7")).items()) == list(expected.items())


@pytest.mark.parametrize("name", list(COUNTS))
def test_counts_of_the_published_models(name: str) -> None:
    parameters, tensors, giga_macs = COUNTS[name]
    shapes = parameter_shapes(get_config(name))
    assert sum(math.prod(shape) for shape in shapes.values()) == parameters
    assert len(shapes) == tensors
    assert get_config(name).macs / 1e9 == pytest.approx(giga_macs, abs=0.0006)


@pytest.mark.parametrize("name", ["vip_s14", "vip_s7", "vip_m7", "vip_l7"])
def test_the_torch_module_has_the_same_names(name: str) -> None:
    with torch.device("meta"):
        module = torch_vip(get_config(name))
    state = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert list(state.items()) == list(parameter_shapes(get_config(name)).items())


def test_where_the_transitions_stand() -> None:
    shapes = {name: parameter_shapes(get_config(name)) for name in COUNTS}
    transitions = {
        name: [n for n in names if n.startswith("network") and n.count(".") == 3] for name, names in shapes.items()
    }
    assert transitions == {
        "vip_s16": [],
        "vip_s14": [],
        "vip_s7": ["network.1.proj.weight", "network.1.proj.bias"],
        "vip_m7": ["network.2.proj.weight", "network.2.proj.bias"],
        "vip_l7": ["network.1.proj.weight", "network.1.proj.bias"],
    }
    assert shapes["vip_m7"]["network.2.proj.weight"] == (512, 256, 2, 2)


def test_vip_s7_whole_against_pytorch_in_float64() -> None:
    """Every gradient of the published model within 1e-12 of its largest entry."""
    torch.manual_seed(3)
    config = get_config("vip_s7")
    module = torch_vip(config).double()
    for name, tensor in module.named_parameters():
        if tensor.ndim == 1:
            torch.nn.init.normal_(tensor, mean=float("norm" in name and name.endswith("weight")), std=0.2)
    model = with_torch_weights(module, "float64", config)
    rng = np.random.default_rng(4)
    images, labels = rng.normal(size=(2, 3, 224, 224)), np.array([3, 977])
    logits = module(torch.tensor(images))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels), label_smoothing=0.1)
    loss.backward()
    expected_logits = logits.detach().numpy()
    assert np.abs(model(images) - expected_logits).max() <= 1e-12 * np.abs(expected_logits).max()
    ours, gradients = model.loss_and_grads(images, labels, label_smoothing=0.1)
    assert ours.shape == ()
    assert float(ours) == pytest.approx(loss.item(), rel=1e-13)
    assert list(gradients) == [name for name, _ in module.named_parameters()]
    for name, tensor in module.named_parameters():
        truth = tensor.grad.numpy()
        assert np.abs(gradients[name] - truth).max() <= 1e-12 * np.abs(truth).max(), name


# --- initialisation ------------------------------------------------------------------------------------------------


def test_official_initialisation() -> None:
    config = get_config("vip_s7", layers=(1, 1, 1, 1))
    values = initial_parameters(config, seed=1)
    for name, value in values.items():
        module, kind = name.rsplit(".", 1)
        if "norm" in module:
            assert np.array_equal(value, np.ones_like(value) if kind == "weight" else np.zeros_like(value)), name
        elif values[f"{module}.weight"].ndim == 4:
            bound = math.prod(values[f"{module}.weight"].shape[1:]) ** -0.5
            assert np.abs(value).max() <= bound, name
            assert np.abs(value).max() > 0.9 * bound, name
            assert abs(value.mean()) < 4 * bound / math.sqrt(3 * value.size), name
        elif kind == "weight":
            assert value.std() == pytest.approx(0.02, rel=4 / math.sqrt(2 * value.size)), name
            assert abs(value.mean()) < 4 * 0.02 / math.sqrt(value.size), name
        else:
            assert not value.any(), name


def test_the_seed_decides_the_weights() -> None:
    first, same, other = (VisionPermutator(SMALL, seed=seed).state_dict() for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])
    assert all(value.dtype == np.float32 for value in first.values())
    double = VisionPermutator(SMALL, seed=5, dtype="float64").state_dict()
    assert all(np.array_equal(double[name].astype(np.float32), first[name]) for name in first)


# --- the API --------------------------------------------------------------------------------------------------------


def test_list_models_and_signature() -> None:
    assert vipnp.list_models() == list(COUNTS)
    assert PUBLISHED_DROP_PATH.keys() == PUBLISHED.keys()
    parameters = inspect.signature(vipnp.create_model).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert defaults == {"num_classes": 1000, "in_channels": 3, "backend": "numpy", "dtype": "float32", "seed": 0}


def test_create_model_with_overrides() -> None:
    model = vipnp.create_model(
        "vip_s7",
        num_classes=7,
        in_channels=1,
        layers=(1, 2),
        embed_dims=(8, 12),
        segments=(2, 3),
        transitions=[True, False],
        patch_size=2,
        image_size=(8, 4),
        drop_path=0.2,
    )
    assert model.config.transitions == (True, False)
    assert model.config.drop_path_rates() == [0.0, 0.1, 0.2]
    assert model(np.zeros((2, 1, 8, 4), np.float32)).shape == (2, 7)
    assert "parameters=" in repr(model)
    assert model.num_parameters == sum(value.size for value in model.state_dict().values())
    assert model.macs == model.config.macs


def test_an_int_is_a_square_image() -> None:
    assert get_config("vip_s7", image_size=448, segments=(32, 16, 16, 16)).image_size == (448, 448)
    assert [s.height for s in get_config("vip_s7", image_size=448).stages()] == [64, 32, 32, 32]


def test_weights_written_by_pytorch_load_by_name() -> None:
    torch.manual_seed(0)
    module = torch_vip(SMALL)
    model = with_torch_weights(module, "float32", SMALL)
    images = small_batch()[0].astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.tensor(images)).numpy()
    np.testing.assert_allclose(model(images), expected, rtol=0, atol=4e-6 * np.abs(expected).max())


def test_state_dict_is_a_copy_and_loads_back() -> None:
    model, other = VisionPermutator(SMALL, seed=1), VisionPermutator(SMALL, seed=2)
    state = model.state_dict()
    assert other.load_state_dict(state) == ([], [])
    images = small_batch()[0].astype(np.float32)
    assert np.array_equal(model(images), other(images))
    before = model(images)
    for value in state.values():
        value[...] = np.nan
    assert np.array_equal(model(images), before)
    assert np.array_equal(other(images), before)


class DLPackOnly:
    """An array that other libraries can read through DLPack alone."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape = array, array.shape

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_dlpack_and_other_precisions_load() -> None:
    model, other = VisionPermutator(SMALL, seed=1), VisionPermutator(SMALL, seed=2)
    other.load_state_dict({name: DLPackOnly(value) for name, value in model.state_dict().items()})
    assert np.array_equal(other.state_dict()["head.weight"], model.state_dict()["head.weight"])
    other.load_state_dict({name: value.astype(np.float16) for name, value in model.state_dict().items()})
    assert other.state_dict()["head.weight"].dtype == np.float32


def test_a_mismatch_lists_everything_and_changes_nothing() -> None:
    model = VisionPermutator(SMALL, seed=1)
    before = model.state_dict()
    wrong = VisionPermutator(SMALL, seed=2).state_dict()
    del wrong["norm.bias"]
    wrong["extra.weight"] = np.zeros(3)
    wrong["head.bias"] = np.zeros(9)
    with pytest.raises(ValueError, match=r"wrong shapes: head.bias \(9,\) instead of \(4,\)") as caught:
        model.load_state_dict(wrong)
    assert "missing: norm.bias" in str(caught.value)
    assert "unexpected: extra.weight" in str(caught.value)
    with pytest.raises(ValueError, match=r"wrong shapes: head\.bias"):
        model.load_state_dict(wrong, strict=False)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    del wrong["head.bias"]
    keys = model.load_state_dict(wrong, strict=False)
    assert keys == (["norm.bias", "head.bias"], ["extra.weight"])
    assert np.array_equal(model.state_dict()["head.weight"], wrong["head.weight"])
    assert np.array_equal(model.state_dict()["head.bias"], before["head.bias"])


def test_reset_classifier() -> None:
    model = VisionPermutator(SMALL, seed=1)
    body = model.state_dict()
    model.reset_classifier(9, seed=4)
    assert model.config.num_classes == 9
    assert model(small_batch()[0].astype(np.float32)).shape == (4, 9)
    assert model.state_dict()["head.weight"].std() == pytest.approx(0.02, rel=0.3)
    assert not model.state_dict()["head.bias"].any()
    assert all(np.array_equal(body[name], value) for name, value in model.state_dict().items() if "head" not in name)
    with pytest.raises(ValueError, match="num_classes: got 0, expected an integer >= 1"):
        model.reset_classifier(0)
    assert model.config.num_classes == 9


def test_parameters_are_the_arrays_of_the_model() -> None:
    model = VisionPermutator(SMALL)
    halved = {name: value / 2 for name, value in model.parameters().items()}
    model.set_parameters(halved)
    assert all(model.parameters()[name] is value for name, value in halved.items())
    assert list(model.parameters()) == list(parameter_shapes(SMALL))
    with pytest.raises(
        TypeError, match=r"^head.bias: got ndarray of dtype float64, expected a float32 array of backend 'numpy'$"
    ):
        model.set_parameters({**halved, "head.bias": np.zeros(4)})
    with pytest.raises(TypeError, match=r"head\.bias: got Tensor"):
        model.set_parameters({**halved, "head.bias": torch.zeros(4)})
    with pytest.raises(ValueError, match=r"missing: patch_embed.proj.weight.*unexpected: x"):
        model.set_parameters({"x": np.zeros(2, np.float32)})
    for wrong in (None, 3):
        with pytest.raises(TypeError, match=f"^tensors: got {wrong}, expected a mapping from names to arrays$"):
            model.set_parameters(wrong)  # type: ignore[arg-type]
    assert model.parameters()["head.bias"] is halved["head.bias"]


def test_features_are_the_grids_after_each_stage() -> None:
    model = VisionPermutator(SMALL, dtype="float64", seed=2)
    images, _ = small_batch()
    grids = model.features(images)
    assert [grid.shape for grid in grids] == [(4, 4, 2, 12), (4, 2, 1, 16), (4, 2, 1, 12)]
    assert model.config.strides == (2, 4, 4)
    assert {tuple(np.multiply(grid.shape[1:3], n)) for grid, n in zip(grids, model.config.strides, strict=True)} == {
        model.config.image_size
    }
    state = model.state_dict()
    last = grids[-1]
    centred = last - last.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    pooled = (normed * state["norm.weight"] + state["norm.bias"]).mean((1, 2))
    np.testing.assert_allclose(pooled @ state["head.weight"].T + state["head.bias"], model(images), atol=1e-13)


# --- loss and gradients ---------------------------------------------------------------------------------------------


def test_targets_may_be_distributions() -> None:
    model = VisionPermutator(SMALL, dtype="float64")
    images, labels = small_batch()
    onehot = np.eye(4)[labels]
    loss, grads = model.loss_and_grads(images, labels)
    soft_loss, soft_grads = model.loss_and_grads(images, onehot)
    assert float(loss) == float(soft_loss)
    assert all(np.array_equal(grads[name], soft_grads[name]) for name in grads)
    smoothed, _ = model.loss_and_grads(images, labels, label_smoothing=0.2)
    mixed, _ = model.loss_and_grads(images, 0.8 * onehot + 0.05)
    assert float(smoothed) == pytest.approx(float(mixed), rel=1e-14)
    assert float(smoothed) != float(loss)


def test_labels_of_any_integer_type() -> None:
    model = VisionPermutator(SMALL, dtype="float64")
    images, labels = small_batch()
    losses = {float(model.loss_and_grads(images, labels.astype(t))[0]) for t in ("int8", "uint8", "int32", "int64")}
    assert losses == {float(model.loss_and_grads(images, labels.tolist())[0])}


def test_no_rng_means_no_draws() -> None:
    quiet = VisionPermutator(SMALL, dtype="float64")
    noisy = VisionPermutator(small_config(SIZES, drop_path=0.5, dropout=0.3), dtype="float64")
    images, labels = small_batch()
    plain = float(quiet.loss_and_grads(images, labels)[0])
    assert float(noisy.loss_and_grads(images, labels)[0]) == plain
    draws = [float(noisy.loss_and_grads(images, labels, rng=np.random.default_rng(s))[0]) for s in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert len({plain, *draws}) == 3
    assert float(quiet.loss_and_grads(images, labels, rng=np.random.default_rng(1))[0]) == plain


def test_draws_have_their_rates() -> None:
    config = small_config(SIZES, layers=(4, 1, 1), drop_path=0.5, dropout=0.25)
    rng = np.random.default_rng(0)
    blocks = draw_masks(vipnp.get_backend("numpy"), rng, config, batch=4000, dtype="float32")
    assert len(blocks) == 6
    for i, masks in enumerate(blocks):
        assert (masks.attn_path is None) == (masks.mlp_path is None) == (i == 0)
        for mask in masks:
            if mask is not None:
                assert isinstance(mask, Mask)
                assert mask.mask.dtype == np.float32
                assert set(np.unique(mask.mask)) == {0.0, 1.0}
                spread = math.sqrt(mask.rate * (1 - mask.rate) / mask.mask.size)
                assert mask.mask.mean() == pytest.approx(1 - mask.rate, abs=5 * spread)
    assert [None if m.mlp_path is None else m.mlp_path.rate for m in blocks] == [None, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert blocks[0].hidden is not None
    assert blocks[0].hidden.rate == 0.25
    assert blocks[0].hidden.mask.shape == (4000, 4, 2, 24)
    flat = [mask.mask.ravel()[:200] for masks in blocks for mask in masks if mask is not None]
    assert len({part.tobytes() for part in flat}) == len(flat)


def test_draws_cross_to_the_device_in_two_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    xp = vipnp.get_backend("numpy")
    uploads: list[Any] = []
    plain: Callable[..., Any] = xp.asarray
    monkeypatch.setattr(xp, "asarray", lambda values, dtype=None: uploads.append(values) or plain(values, dtype))
    config = small_config(SIZES, layers=(5, 1, 1), drop_path=0.5, dropout=0.25)
    draw_masks(xp, np.random.default_rng(0), config, batch=3, dtype="float64")
    assert len(uploads) == 2


# --- memory ---------------------------------------------------------------------------------------------------------


def peak_of(call: Callable[[], Any]) -> int:
    """The most memory, in bytes, that `call` had allocated at once through NumPy and Python."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def torch_peak_of(call: Callable[[], Any]) -> int:
    """The same for PyTorch, from the allocations its profiler records."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def deep_config(depth: int) -> ViPConfig:
    return ViPConfig((depth,), (64,), (8,), (False,), patch_size=4, image_size=(64, 32), num_classes=5)


def test_inference_keeps_nothing() -> None:
    """12 blocks need hardly more than one, and at most half more than PyTorch in inference mode."""
    images = np.random.default_rng(0).normal(size=(8, 3, 64, 32)).astype(np.float32)
    one, twelve = (VisionPermutator(deep_config(depth)) for depth in (1, 12))
    for model in (one, twelve):
        model(images)
    peak_one, peak_twelve = peak_of(lambda: one(images)), peak_of(lambda: twelve(images))
    assert peak_twelve <= 1.1 * peak_one
    module, tensor = torch_vip(deep_config(12)).eval(), torch.tensor(images)
    with torch.inference_mode():
        module(tensor)
        peak_torch = torch_peak_of(lambda: module(tensor))
    assert peak_twelve <= 1.5 * peak_torch


def test_a_backward_pass_leaves_nothing_alive() -> None:
    model = VisionPermutator(deep_config(2))
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(4, 3, 64, 32)).astype(np.float32), rng.integers(0, 5, size=4)
    model.loss_and_grads(images, labels)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        loss, grads = model.loss_and_grads(images, labels)
        kept = sum(gradient.nbytes for gradient in grads.values()) + loss.nbytes
        held = tracemalloc.get_traced_memory()[0]
        assert held <= kept + 256 * 1024
    finally:
        tracemalloc.stop()
        gc.enable()
    gone = [weakref.ref(gradient) for gradient in grads.values()]
    del grads
    assert not any(reference() is not None for reference in gone)


def test_the_pullback_frees_as_it_goes() -> None:
    """While the pullback of a model walks backwards, what it holds shrinks."""
    xp = vipnp.get_backend("numpy")
    config = deep_config(6)
    model = VisionPermutator(config)
    images = np.random.default_rng(0).normal(size=(4, 3, 64, 32)).astype(np.float32)
    tracemalloc.start()
    try:
        from vipnp.models import vision_permutator

        logits, pullback = xp.run(vision_permutator, images, model.params, config=config)
        before = tracemalloc.get_traced_memory()[0]
        _, grads = pullback(np.ones_like(logits))
        kept = sum(gradient.nbytes for _, gradient in tree_arrays(grads))
        after = tracemalloc.get_traced_memory()[0]
        assert after - kept < before / 4
    finally:
        tracemalloc.stop()
