"""`model.save` and `vipnp.load`: all that a model needs travels in its file, and published weights find their model."""

from __future__ import annotations

import collections
import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

import vipnp
from tests.conftest import small_model
from vipnp.checkpoint import load_weights, save_pytorch, save_weights
from vipnp.data import Transform
from vipnp.models import PUBLISHED, VisionPermutator, create_model, get_config, parameter_shapes
from vipnp.models.saved import with_channels

CLASSES = ("ant", "bee", "cat", "dog", "emu")
COLOUR = Transform((12, 8), mean=(0.125, 0.25, 0.375), std=(0.5, 0.625, 0.75), crop_pct=0.8, interpolation="nearest")


def assert_same_weights(first: VisionPermutator, second: VisionPermutator) -> None:
    assert first.config == second.config
    assert first.dtype == second.dtype
    for name, value in first.state_dict().items():
        assert second.state_dict()[name].tobytes() == value.tobytes(), name


def zeros(name: str, **overrides: Any) -> dict[str, Any]:
    """Tensors of the shapes of a published model, which take no time to draw and no memory."""
    shapes = parameter_shapes(get_config(name, **overrides))
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


# --- save and load ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_everything_comes_back(tmp_path: Path, dtype: str, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    model = small_model(seed=3, dtype=dtype)
    model.classes, model.transform = CLASSES, COLOUR
    model.save(tmp_path / "m.safetensors")
    again = vipnp.load(tmp_path / "m.safetensors", backend=backend)
    assert_same_weights(model, again)
    assert again.classes == CLASSES
    assert again.transform == COLOUR
    assert again.backend.name == backend
    assert not caplog.records
    images = np.random.default_rng(0).standard_normal((2, 3, 12, 8)).astype(dtype)
    expected = model(images)
    np.testing.assert_allclose(again(images), expected, rtol=0, atol=16 * np.finfo(dtype).eps * np.abs(expected).max())
    assert vipnp.load(tmp_path / "m.safetensors", dtype="float64").dtype == "float64"


def test_a_model_without_names_has_none_afterwards(tmp_path: Path) -> None:
    model = VisionPermutator(dataclasses.replace(small_model().config, fusion="sum", drop_path=0.25), seed=1)
    model.save(tmp_path / "m")
    again = vipnp.load(str(tmp_path / "m"))
    assert_same_weights(model, again)
    assert again.classes is None
    assert again.transform is None


def test_classes_must_be_one_for_each_output(tmp_path: Path) -> None:
    model = small_model()
    model.classes = CLASSES[:3]
    with pytest.raises(ValueError, match="classes: got 3 names for 5 outputs"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    model.reset_classifier(7)
    assert model.classes is None


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("classes", (1, 2, 3, 4, 5), TypeError, r"classes: got \(1, 2, 3, 4, 5\), expected strings"),
        ("classes", ("a", "b", "c", "d", None), TypeError, "classes: got .*, expected strings"),
        ("classes", "abcde", TypeError, "classes: got 'abcde', expected a sequence of names"),
        ("classes", 5, TypeError, "classes: got 5, expected a sequence of names"),
        ("classes", dict.fromkeys("abcde", 0), TypeError, "classes: got {'a': 0, .*}, expected a sequence of names"),
        ("transform", "imagenet", TypeError, r"transform: got 'imagenet', expected a vipnp\.data\.Transform"),
        (
            "transform",
            dataclasses.replace(COLOUR, size=(12, 12)),
            ValueError,
            r"transform: got one to \(12, 12\) and",
        ),
        ("transform", dataclasses.replace(COLOUR, channels=1, mean=(0.5,), std=(0.5,)), ValueError, "and 1 channels"),
    ],
)
def test_nothing_is_written_that_would_not_load(
    tmp_path: Path, name: str, value: Any, error: type[Exception], message: str
) -> None:
    model = small_model()
    setattr(model, name, value)
    with pytest.raises(error, match=message):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_another_size_keeps_classes_and_moves_the_transform() -> None:
    model = small_model()
    model.classes, model.transform = CLASSES, COLOUR
    other = model.at_resolution(16, 24)
    assert other.classes == CLASSES
    assert other.transform == dataclasses.replace(COLOUR, size=(16, 24))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"layers": [10**6, 1]}}, "has other tensors than the model that it describes; 1000001 blocks"),
        ({"config": {"layers": [10**12, 1]}}, "has metadata of another kind (config: got a model of more than"),
        ({"config": {"mlp_ratio": 2}}, "of another shape: network.0.0.mlp.fc1.weight (24, 8), not (16, 8)"),
        ({"config": {"num_classes": 6}}, "names 5 classes for 6 outputs"),
        ({"config": {"patch_size": -1}}, "has metadata of another kind (patch_size: got -1"),
        ({"config": {"unknown": 1}}, "has metadata of another kind"),
        ({"config": [1]}, "has metadata of another kind"),
        ({"classes": "abcde"}, "classes that are no list of names"),
        ({"classes": [1, 2, 3, 4, 5]}, "classes that are no list of names"),
        ({"transform": {"size": [8, 12]}}, "has a transform to another image size"),
        ({"transform": {"size": 12}}, "has metadata of another kind (size: got 12"),
        ({"transform": {"mean": ["a", 1, 2]}}, "has metadata of another kind (mean[0]: got 'a'"),
        ({"transform": {"std": [0, 1, 2]}}, "has metadata of another kind (std[0]: got 0"),
        ({"transform": {"crop_pct": "all"}}, "has metadata of another kind (crop_pct: got 'all'"),
        ({"transform": {"crop_pct": 1e-320}}, "has metadata of another kind (crop_pct: got 1e-320"),
        ({"transform": {"interpolation": "x" * 10**6}}, "has metadata of another kind (interpolation: got str"),
        ({"config": {"branches": "x" * 10**6}}, "has metadata of another kind (branches: got str"),
        ({"config": {"x" * 10**6: 1}}, "has metadata of another kind"),
        ({"transform": 3}, "has metadata of another kind"),
        ({"transform": {"mean": [1e308, 0, 0]}}, "has metadata of another kind (mean[0]: got 1e+308"),
        ({"transform": {"std": [1e-320, 1, 1]}}, "has metadata of another kind (std[0]: got 1e-320"),
        ({"transform": {"std": [1e308, 1, 1]}}, "has metadata of another kind (std[0]: got 1e+308"),
        ({"transform": {"exif": "no"}}, "has metadata of another kind (exif: got 'no', expected True or False"),
        ({"transform": {"channels": 3.0}}, "has metadata of another kind (channels: got 3.0"),
        ({"transform": {"ratio": [0, 0]}}, "has metadata of another kind (ratio: got 0, expected a number in"),
        ({"config": {"\x1b[31m": 1}}, r"unexpected keyword argument '\x1b[31m'"),
    ],
)
def test_metadata_is_held_against_the_tensors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    model = small_model()
    described = {
        "config": dataclasses.asdict(model.config),
        "classes": list(CLASSES),
        "transform": dataclasses.asdict(COLOUR),
    }
    for key, change in changes.items():
        described[key] = {**described[key], **change} if isinstance(change, dict) else change  # type: ignore[dict-item]
    save_weights(tmp_path / "m", model.state_dict(), json.loads(json.dumps(described)))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
        vipnp.load(tmp_path / "m")
    assert str(caught.value).startswith(f"path: '{tmp_path / 'm'}' ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", ["config", "unknown"])
def test_metadata_that_is_nested_without_end(tmp_path: Path, key: str) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    contents = safetensors.numpy.save(small_model().state_dict(), {"vipnp": f'{{"{key}": {nested}}}'})
    (tmp_path / "m").write_bytes(contents)
    with pytest.raises(ValueError, match=r"is no whole safetensors file \(maximum recursion depth"):
        vipnp.load(tmp_path / "m")


# --- published weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_model_is_found_by_its_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vipnp.models.saved.load_weights", lambda path: zeros(name))
    monkeypatch.setattr("vipnp.models.saved.load_metadata", lambda path: {})
    model = vipnp.load("weights")
    assert model.config == PUBLISHED[name]
    crop = 0.875 if name == "vip_l7" else 0.9
    assert model.transform == Transform(size=(224, 224), crop_pct=crop, exif=False)
    assert model.classes is None


def test_a_pytorch_file_of_vip_s7_gives_the_logits_of_its_weights(tmp_path: Path) -> None:
    model = create_model("vip_s7", seed=5, image_size=(28, 56))
    tensors = collections.OrderedDict((f"module.{k}", torch.from_numpy(v)) for k, v in model.state_dict().items())
    torch.save({"state_dict": tensors, "epoch": 300}, tmp_path / "vip_s7.pth.tar")
    again = vipnp.load(tmp_path / "vip_s7.pth.tar")
    assert_same_weights(model, again)
    image = np.random.default_rng(0).standard_normal((1, 3, 28, 56), dtype=np.float32)
    np.testing.assert_array_equal(again(image), model(image))


def test_names_of_a_foreign_file_reach_no_terminal_as_they_are(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"\x1b[31mred" + "n" * 200_000: np.ones(2, np.float32)})
    with pytest.raises(ValueError, match="fits no published model") as error:
        vipnp.load(tmp_path / "w.safetensors")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


def test_a_wrong_name_says_the_right_one(tmp_path: Path) -> None:
    save_pytorch(tmp_path / "w.pth", zeros("vip_s14"))
    with pytest.raises(ValueError, match=r"w\.pth' holds weights of vip_s14, not of vip_s7$"):
        vipnp.load(tmp_path / "w.pth", name="vip_s7")
    with pytest.raises(ValueError, match=r"did you mean 'vip_s16'\?"):
        vipnp.load(tmp_path / "w.pth", name="vip_s15")
    few = {name: value for name, value in zeros("vip_s14").items() if ".norm1." not in name}
    save_pytorch(tmp_path / "few.pth", {**few, "extra": np.zeros(2, np.float32)})
    message = (
        r"fits no published model; nearest is vip_s14; 36 missing: [^ ]*norm1\.weight, [^ ]*, [^ ]* and 33 more; "
        r"1 unexpected: extra; for a model of your own, load the file that model\.save wrote, which holds its "
        r"configuration, or give it: vipnp\.VisionPermutator\(config\)\.load_state_dict\("
        r"vipnp\.checkpoint\.load_weights\(path\)\)$"
    )
    with pytest.raises(ValueError, match=message):
        vipnp.load(tmp_path / "few.pth")
    small_model().save(tmp_path / "small")
    with pytest.raises(ValueError, match="holds a model of its own, not vip_s7"):
        vipnp.load(tmp_path / "small", name="vip_s7")


@pytest.mark.parametrize("prefix", ["model.", "model.backbone."])
def test_what_a_framework_puts_before_every_name_is_taken_off_and_said(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of published weights alone: in any other file such a name is the user's own."""
    path, official = tmp_path / "w.pth", zeros("vip_s7", **SMALLER)
    tensors = {f"{prefix}{name}": tensor for name, tensor in official.items()}
    save_pytorch(path, tensors)
    assert load_weights(path).keys() == tensors.keys()
    model = vipnp.load(path)
    assert model.state_dict().keys() == official.keys()
    assert caplog.messages[0] == f"names: {prefix!r} is taken off every one of them"
    for other in ({"net.0.weight": np.ones(2)}, {**tensors, "loss.weight": np.ones(2)}):
        save_pytorch(path, other)
        with pytest.raises(ValueError, match="fits no published model"):
            vipnp.load(path)


def test_weights_alone_are_loaded_as_the_error_says(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "own.pth"
    save_pytorch(path, model.state_dict())
    with pytest.raises(ValueError, match="fits no published model; for a model of your own, load the file ") as caught:
        vipnp.load(path)
    made = VisionPermutator(model.config, seed=9)
    call = str(caught.value).rpartition("vipnp.VisionPermutator(config).")[2]
    eval(f"made.{call}", {"made": made, "vipnp": vipnp, "path": path})
    for name, value in made.state_dict().items():
        assert np.array_equal(value, model.state_dict()[name]), name


SMALLER = {"num_classes": 10, "in_channels": 1, "image_size": (112, 84)}


def test_weights_of_other_classes_channels_and_size_are_taken_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_pytorch(tmp_path / "w.pth", zeros("vip_s7", **SMALLER))
    model = vipnp.load(tmp_path / "w.pth", name="vip_s7")
    assert model.config == get_config("vip_s7", **SMALLER)
    assert model.transform is not None
    assert (model.transform.size, model.transform.channels) == ((112, 84), 1)
    assert caplog.messages == [
        "vip_s7: the weights have num_classes = 10, as published it is 1000",
        "vip_s7: the weights have in_channels = 1, as published it is 3",
        "vip_s7: the weights have image_size = (112, 84), as published it is (224, 224)",
    ]


def test_a_model_made_for_others_than_its_file_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = small_model(seed=2, dtype="float64")
    model.classes, model.transform = CLASSES, COLOUR
    model.save(tmp_path / "m")
    fitted = {"in_channels": 1, "image_size": (16, 24), "num_classes": 3, "seed": 4}
    other = vipnp.load(tmp_path / "m", dtype="float64", **fitted)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert caplog.messages == [
        "input channels: 1 instead of the file's 3: the weights of the patch embedding are summed over them",
        "image size: 16 x 24 instead of the file's 12 x 8: the mixing matrices are interpolated",
        "classes: 3 instead of the file's 5: the head is new and has to be trained",
    ]
    assert (other.config.in_channels, other.config.image_size, other.config.num_classes) == (1, (16, 24), 3)
    assert other.transform == dataclasses.replace(COLOUR, size=(16, 24), channels=1, mean=(0.25,), std=(0.625,))
    expected = vipnp.load(tmp_path / "m", dtype="float64").at_resolution(16, 24)
    expected.reset_classifier(3, seed=4)
    grey = np.random.default_rng(0).standard_normal((2, 1, 16, 24))
    np.testing.assert_allclose(other(grey), expected(np.repeat(grey, 3, axis=1)), rtol=1e-12, atol=0)


def test_a_backbone_gets_a_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = zeros("vip_s7", num_classes=1000)
    whole = {name: value for name, value in weights.items() if not name.startswith("head.")}
    save_pytorch(tmp_path / "w.pth", whole)
    model = vipnp.load(tmp_path / "w.pth", num_classes=3, seed=4)
    assert caplog.messages == ["classes: 3 instead of the file's none: the head is new and has to be trained"]
    assert model.config == get_config("vip_s7", num_classes=3)
    assert np.any(model.parameters()["head.weight"])
    with pytest.raises(ValueError, match="got a model of more than 2,147,483,648 weights"):
        vipnp.load(tmp_path / "w.pth", num_classes=10**12)
    with pytest.raises(ValueError, match=r"missing: .*head.*; .* give a backbone a new head"):
        vipnp.load(tmp_path / "w.pth")


def test_the_seed_is_checked_where_no_head_is_drawn_too(tmp_path: Path) -> None:
    small_model().save(tmp_path / "m")
    with pytest.raises(TypeError, match="seed: got 'x', expected an integer"):
        vipnp.load(tmp_path / "m", seed="x")  # type: ignore[arg-type]


def test_a_transform_of_numpys_numbers_is_saved(tmp_path: Path) -> None:
    model = small_model()
    height, width = map(np.int64, COLOUR.size)
    mean = tuple(map(np.float32, COLOUR.mean))
    numbers = {"flip": np.float64(0.25), "scale": (np.float32(0.5), np.int64(1)), "exif": np.False_}
    model.transform = dataclasses.replace(
        COLOUR, size=(height, width), channels=np.int64(3), mean=mean, crop_pct=np.float64(0.5), **numbers
    )
    model.save(tmp_path / "m")
    assert vipnp.load(tmp_path / "m").transform == model.transform


def test_channels_beyond_all_use_are_refused_before_they_are_made(tmp_path: Path) -> None:
    small_model().save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"^config: got a model of more than 2,147,483,648 weights"):
        vipnp.load(tmp_path / "m", in_channels=10**12)


def test_an_image_size_is_a_pair(tmp_path: Path) -> None:
    small_model().save(tmp_path / "m")
    for size in (8, "a", (8, 8, 8)):
        with pytest.raises(TypeError, match=r"^image_size: got .*, expected \(height, width\)$"):
            vipnp.load(tmp_path / "m", image_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6])
def test_equal_channels_give_what_they_gave(channels: int) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 2, 2)).astype(np.float32)
    found = with_channels(weight, channels)
    assert found.shape == (4, channels, 2, 2)
    assert found.dtype == np.float32
    exact = weight.astype(np.float64).sum(axis=1)
    bound = channels * np.finfo(np.float32).eps * np.abs(exact).max()
    np.testing.assert_allclose(found.sum(axis=1, dtype=np.float64), exact, rtol=0, atol=bound)
    if channels == 6:
        np.testing.assert_array_equal(found[:, 4], weight[:, 1] / 2)


@pytest.mark.parametrize("classes", [0, "3", 2.5, np.zeros(0), np.zeros((2, 2))])
def test_a_number_of_classes_is_a_whole_one(tmp_path: Path, classes: Any) -> None:
    small_model().save(tmp_path / "m")
    with pytest.raises((TypeError, ValueError), match=r"^num_classes: got .*, expected an integer"):
        vipnp.load(tmp_path / "m", num_classes=classes)
