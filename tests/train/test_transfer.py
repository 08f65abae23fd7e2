"""Fine-tuning: weights of another run, a new head, and a learning rate for each layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import command_line as vipnp
from tests.conftest import make_folder
from vipnp import get_backend
from vipnp.checkpoint import load_weights, save_pytorch, save_weights
from vipnp.models import PUBLISHED, create_model, get_config, parameter_shapes
from vipnp.train.folder import states
from vipnp.train.recipe import Recipe
from vipnp.train.settings import Settings, read_settings
from vipnp.train.transfer import learning_rate_factors, starting_model

OPTIONS = ("--epochs", "2", "--img-size", "16", "16", "--batch-size", "5", "--backend", "numpy", "--workers", "0",
           "--warmup-epochs", "0")  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two classes."""
    root = tmp_path_factory.mktemp("transfer")
    make_folder(root / "two", {"cat": 5, "dog": 4}, (20, 18))
    make_folder(root / "three", {"ant": 5, "bee": 4, "cow": 6}, (20, 18))
    result = vipnp("train", root / "two", "-o", root / "first", *OPTIONS)
    assert result.exit_code == 0, result.output
    return root / "first"


def tune(first: Path, data: str, output: Path, *options: str | Path) -> Any:
    weights = first / "last.safetensors"
    return vipnp("train", first.parent / data, "-o", output, "--weights", weights, *OPTIONS, *options)


@pytest.mark.parametrize("ema", ["0", pytest.param("0.5", marks=pytest.mark.long)])
def test_head_only_leaves_the_rest_bit_for_bit(first: Path, tmp_path: Path, ema: str) -> None:
    result = tune(first, "three", tmp_path / "r", "--head-only", "--ema", ema)
    assert result.exit_code == 0, result.output
    before, after = load_weights(first / "last.safetensors"), load_weights(states(tmp_path / "r")[-1])
    for name, value in before.items():
        if not name.startswith("head."):
            assert after[f"weight/{name}"].tobytes() == value.tobytes(), name
    assert after["weight/head.weight"].shape == (3, 64)
    assert np.abs(after["weight/head.bias"]).max() > 0
    assert {name for name in after if name.startswith("exp_avg/")} == {"exp_avg/head.weight", "exp_avg/head.bias"}
    longer = vipnp("train", "--resume", tmp_path / "r", "--epochs", "3", "--workers", "0")
    assert longer.exit_code == 0, longer.output
    assert load_weights(states(tmp_path / "r")[-1])["weight/norm.weight"].tobytes() == before["norm.weight"].tobytes()


def test_the_first_step_goes_by_the_factors(first: Path, tmp_path: Path) -> None:
    """AdamW's first step is lr sign(g) where nothing decays, so the factors are seen in one-dimensional weights."""
    lr = 1e-3
    result = tune(first, "two", tmp_path / "r", "--lr", str(lr), "--epochs", "1", "--batch-size", "9",
                  "--backbone-lr", "0.5", "--layer-decay", "0.5", "--warmup-lr", "1", "--clip-grad", "0")  # fmt: skip
    assert result.exit_code == 0, result.output
    before, after = load_weights(first / "last.safetensors"), load_weights(states(tmp_path / "r")[-1])
    factors = {"head.bias": 1, "norm.bias": 1 / 2, "network.0.3.norm1.bias": 1 / 4, "network.0.0.norm1.bias": 1 / 32,
               "patch_embed.proj.bias": 1 / 64}  # fmt: skip
    for name, factor in factors.items():
        moved = np.abs(after[f"weight/{name}"].astype(float) - before[name])
        assert np.median(moved) == pytest.approx(lr * factor, rel=0.02), name


def test_factors_count_blocks_from_the_head() -> None:
    config = PUBLISHED["vip_s7"]
    factors = learning_rate_factors(config, 1.0, 0.5)
    assert list(factors) == list(parameter_shapes(config))
    wanted = {"head.bias": 0, "norm.weight": 0, "network.4.2.mlp.fc1.bias": 1, "network.4.0.norm1.bias": 3,
              "network.3.7.norm1.bias": 4, "network.2.0.attn.proj.weight": 14, "network.1.proj.weight": 14,
              "network.0.3.norm2.bias": 15, "network.0.0.norm2.bias": 18, "patch_embed.proj.weight": 19}  # fmt: skip
    assert {name: factors[name] for name in wanted} == {name: 0.5**power for name, power in wanted.items()}
    assert learning_rate_factors(config, 0.0, 0.5) == {"head.weight": 1.0, "head.bias": 1.0}
    assert set(learning_rate_factors(config, 1.0, 1.0).values()) == {1.0}


def test_weights_that_say_nothing_of_their_model_are_told_by_the_option(first: Path, tmp_path: Path) -> None:
    assert vipnp("convert", first, tmp_path / "w.pth").exit_code == 0
    result = vipnp("train", "digits", "-o", tmp_path / "r", "--weights", tmp_path / "w.pth", "--img-size", "16", "16")
    assert result.exit_code == 2
    assert result.output.startswith(f"error: --weights: '{tmp_path / 'w.pth'}' fits no published model; for a model of")


@pytest.mark.parametrize("prefix", ["", "model."])
def test_weights_without_a_configuration_are_those_of_the_options_where_they_fit(
    prefix: str, first: Path, tmp_path: Path
) -> None:
    """The way from a run to PyTorch and back; what does not fit is told."""
    trained = load_weights(first / "best.safetensors")
    tensors = {f"{prefix}{name}": value for name, value in trained.items()}
    save_pytorch(tmp_path / "w.pth", tensors)
    save_weights(tmp_path / "w.safetensors", tensors, {"epoch": 3})
    settings = read_settings(first)
    options = ("--img-size", *settings.img_size, "--epochs", "1", "--lr", "1e-9", "--backend", "numpy")
    for file in ("w.pth", "w.safetensors"):
        folder = tmp_path / f"run of {file}"
        result = vipnp("train", settings.data, "-o", folder, "--weights", tmp_path / file, *options)
        assert result.exit_code == 0, result.output
        after = load_weights(folder / "best.safetensors")
        assert trained.keys() == after.keys()
        for name, value in trained.items():
            np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_weights_of_another_model_are_not_taken_for_what_their_shapes_fit(tmp_path: Path) -> None:
    """The file says that its residual connections are scaled otherwise."""
    make_folder(tmp_path / "d", {"cat": 3, "dog": 3}, (20, 18))
    model = create_model("vip_s7", image_size=(28, 28), num_classes=2, skip_lam=2.0)
    model.save(tmp_path / "w.safetensors")
    options = ("--model", "vip_s7", "--img-size", 28, 28, "--epochs", "1", "--weights", tmp_path / "w.safetensors")
    result = vipnp("train", tmp_path / "d", "-o", tmp_path / "r", *options)
    assert (result.exit_code, result.output.count("holds a model of its own, not vip_s7")) == (2, 1)


def test_a_broken_weight_file_is_told_by_the_option(tmp_path: Path) -> None:
    for name, contents in (("w.pth", b"PK\x03\x04 and no more"), ("w.safetensors", b"no"), ("e.pth", b"")):
        (tmp_path / name).write_bytes(contents)
        result = vipnp("train", "digits", "-o", tmp_path / "r", "--weights", tmp_path / name)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: --weights: '{tmp_path / name}' ")


def test_a_state_is_no_weight_file(first: Path, tmp_path: Path) -> None:
    result = vipnp("train", "digits", "-o", tmp_path / "r", "--weights", states(first)[-1])
    assert result.exit_code == 2
    assert f"--weights: '{states(first)[-1]}' is a state to go on from" in result.output


def test_the_same_classes_keep_their_head(first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = tune(first, "two", tmp_path / "r", "--lr", "0")
    assert result.exit_code == 0, result.output
    assert not caplog.messages
    before, after = load_weights(first / "last.safetensors"), load_weights(states(tmp_path / "r")[-1])
    for name, value in before.items():
        assert after[f"weight/{name}"].tobytes() == value.tobytes(), name


def test_other_classes_get_a_new_head_and_it_is_said(
    first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_folder(tmp_path / "other", {"elk": 4, "fox": 4}, (20, 18))
    result = tune(first, str(tmp_path / "other"), tmp_path / "r", "--lr", "0")
    assert result.exit_code == 0, result.output
    assert caplog.messages == ["classes: other names than the file's: the head is new and has to be trained"]
    head = load_weights(states(tmp_path / "r")[-1])["weight/head.weight"]
    assert not np.array_equal(head, load_weights(first / "last.safetensors")["head.weight"])


def test_the_weights_of_a_run_folder_are_its_best(first: Path, tmp_path: Path) -> None:
    result = vipnp("train", first.parent / "two", "-o", tmp_path / "r", "--weights", first, *OPTIONS, "--lr", "0")
    assert result.exit_code == 0, result.output
    state, best = load_weights(states(tmp_path / "r")[-1]), load_weights(first / "best.safetensors")
    assert all(state[f"weight/{name}"].tobytes() == value.tobytes() for name, value in best.items())


def test_published_weights_are_fitted(first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_pytorch(tmp_path / "w.pth.tar", create_model("vip_s14", image_size=(28, 28)).state_dict())
    command = ("train", first.parent / "two", "-o", tmp_path / "r", *OPTIONS, "--weights", tmp_path / "w.pth.tar")
    wrong = vipnp(*command, "--img-size", "28", "28")
    assert wrong.exit_code == 2
    assert "holds another model than vip_tiny for images of 28 x 28: layers " in wrong.output
    assert not (tmp_path / "r").exists()
    caplog.clear()
    settings = Settings("d", "vip_s14", (28, 42), 3, 1, 0.2, "numpy", 2, Recipe(drop_path=0.1),
                        weights=str(tmp_path / "w.pth.tar"))  # fmt: skip
    model = starting_model(settings, ("cat", "dog"), get_backend("numpy"))
    assert caplog.messages[1:] == [
        "image size: 28 x 42 instead of the file's 28 x 28: the mixing matrices are interpolated",
        "classes: 2 instead of the file's 1000: the head is new and has to be trained",
    ]
    assert model.config == get_config("vip_s14", image_size=(28, 42), num_classes=2, drop_path=0.1)
    before, after = load_weights(tmp_path / "w.pth.tar"), model.state_dict()
    assert after["network.0.0.mlp.fc1.weight"].tobytes() == before["network.0.0.mlp.fc1.weight"].tobytes()
    assert after["network.0.0.attn.mlp_h.weight"].tobytes() == before["network.0.0.attn.mlp_h.weight"].tobytes()


@pytest.mark.parametrize(
    ("size", "patch", "fits"), [((32, 32), 4, "16 16"), ((25, 25), 5, "16 16"), ((30, 45), 3, "16 24")]
)
def test_what_makes_it_another_model_is_named(
    first: Path, tmp_path: Path, size: tuple[int, int], patch: int, fits: str
) -> None:
    """The patch of vip_tiny follows from the size of the images, and a size that has the patch is named."""
    result = tune(first, "two", tmp_path / "r", "--img-size", *map(str, size), "--drop-path", "0.1")
    assert result.exit_code == 2
    assert result.output == (
        f"error: --weights: {first / 'last.safetensors'} holds another model than vip_tiny for images of "
        f"{size[0]} x {size[1]}: patch_size 2, expected {patch}; it is 2 with --img-size {fits}\n"
    )
    if size == (30, 45):
        told = tune(first, "three", tmp_path / "r", "--img-size", *fits.split(), "--epochs", "1")
        assert told.exit_code == 0, told.output


def test_a_size_that_a_published_model_cannot_have(first: Path, tmp_path: Path) -> None:
    """Without --img-size it is that of the recipe, which the message did not tell how to change."""
    result = vipnp("train", first.parent / "two", "-o", tmp_path / "r", "--model", "vip_s7", "--backend", "numpy")
    assert result.exit_code == 2
    assert result.output == (
        "error: image_size: got (64, 64), expected multiples of patch_size 7; give --img-size 224 224, as published, "
        "or 70 70, the nearest size that fits\n"
    )


def test_what_does_not_go_together(first: Path, tmp_path: Path) -> None:
    both = tune(first, "two", tmp_path / "r", "--head-only", "--backbone-lr", "0.1")
    assert both.exit_code == 2
    assert "--head-only: got --backbone-lr 0.1 with it" in both.output
    resumed = vipnp("train", "--resume", first, "--weights", first / "best.safetensors")
    assert "--resume: got --weights with it" in resumed.output
    no_run = vipnp("train", first.parent / "two", "-o", tmp_path / "r", "--weights", first.parent, *OPTIONS)
    assert no_run.exit_code == 2
    assert f"--weights: {first.parent} holds no best.safetensors: it is no run folder" in no_run.output
    missing = vipnp("train", first.parent / "two", "-o", tmp_path / "r", "--weights", tmp_path / "none", *OPTIONS)
    assert missing.exit_code == 2
    assert "none" in missing.output
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("options", "told"), [((), False), (("--seed", "1"), True), (("--validation", "0.5"), True)], ids=str
)
def test_weights_of_a_run_that_held_out_other_images_are_told_of(
    first: Path, tmp_path: Path, options: tuple[str, ...], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Some of those that are held out now may have been trained on; where the division is the same, none was."""
    result = tune(first, "two", tmp_path / "r", *options)
    assert result.exit_code == 0, result.output
    warning = "--weights: the run that wrote them held out other images (--validation 0.2 --seed 0): where it had this"
    assert (warning in caplog.text) == told


def test_of_a_folder_that_is_divided_already_no_other_division_is_told(
    first: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("train", "val"):
        make_folder(tmp_path / "two" / part, {"cat": 3, "dog": 2}, (20, 18))
    result = vipnp("train", tmp_path / "two", "-o", tmp_path / "r", "--weights", first, *OPTIONS, "--seed", "1")
    assert result.exit_code == 0, result.output
    assert "held out other images" not in caplog.text
