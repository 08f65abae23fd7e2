"""`vipnp explain`: what it shows is the computation of `model.vjp`, and bad input is one clear error."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import command_line as vipnp
from vipnp import VisionPermutator
from vipnp.audit.cases import small_config
from vipnp.checkpoint import save_weights
from vipnp.data import Transform
from vipnp.explain import explain, receptive_fields, shares, watched
from vipnp.explain.page import render
from vipnp.layers import BRANCHES, MIXINGS
from vipnp.models import ViPConfig
from vipnp.train.folder import held_alone

CONFIG = dataclasses.replace(
    small_config({"B": 1, "H": 2, "W": 3, "N": 3, "S": 4, "P": 2, "K": 5}), in_channels=3, drop_path=0.2
)
IMAGE = np.random.default_rng(0).normal(size=(1, 3, *CONFIG.image_size))


@pytest.fixture(scope="module")
def model() -> VisionPermutator:
    model = VisionPermutator(CONFIG, dtype="float64", seed=1)
    rng = np.random.default_rng(1)
    model.load_state_dict({k: v + 0.2 * rng.normal(size=v.shape) for k, v in model.state_dict().items()})
    return model


# --- the numbers are those of model.vjp -------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [None, 0, 4])
def test_the_gradient_at_the_image_is_that_of_vjp(model: VisionPermutator, target: int | None) -> None:
    found = explain(model, IMAGE, target)
    logits, pullback = model.vjp(IMAGE)
    assert found.logits.tobytes() == logits[0].tobytes()
    assert found.target == (int(logits[0].argmax()) if target is None else target)
    cotangent = np.zeros_like(logits)
    cotangent[0, found.target] = 1
    dimages, _ = pullback(cotangent)
    assert found.gradient.tobytes() == dimages[0].tobytes()


def test_the_gradient_at_a_block_predicts_what_a_nudge_does(model: VisionPermutator) -> None:
    """The bias of a block's last layer is added to every token: its gradient is the sum of the block's over them."""
    twin, tape = watched(model)
    logits, pullback = twin.vjp(IMAGE)
    cotangent = np.random.default_rng(2).normal(size=logits.shape)
    _, grads = pullback(cotangent)
    blocks = [step for step in tape.steps if step.is_block]
    names = [name for name in grads if name.endswith("mlp.fc2.bias")]
    assert len(names) == len(blocks) == sum(CONFIG.layers)
    for name, step in zip(names, blocks, strict=True):
        np.testing.assert_allclose(np.asarray(step.gradient).sum(axis=(0, 1, 2)), grads[name], rtol=1e-12, atol=1e-14)


def test_attention_is_what_the_gradients_of_vjp_say(model: VisionPermutator) -> None:
    """With the other two branches zero, the gradient of the last bias of `reweight` is q a_0 (1 - a_0), -q a_0 a_1 and
    -q a_0 a_2 for some q: the ratios give the weights."""
    found = explain(model, IMAGE)
    state = model.state_dict()
    for block in found.blocks:
        weights = np.asarray(block.attention)
        assert weights.shape[1] == 3
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
        changed = dict(state)
        for place in ("mlp_w", "mlp_c"):
            changed[f"{block.name}.attn.{place}.weight"] = np.zeros_like(state[f"{block.name}.attn.{place}.weight"])
        alone = VisionPermutator(CONFIG, dtype="float64")
        alone.load_state_dict(changed)
        logits, pullback = alone.vjp(IMAGE)
        _, grads = pullback(np.ones_like(logits) * np.arange(logits.shape[1]))
        slope = grads[f"{block.name}.attn.reweight.fc2.bias"].reshape(-1, 3)
        again = next(b for b in explain(alone, IMAGE).blocks if b.name == block.name)
        a = np.asarray(again.attention)
        expected = -slope[:, 1:] / slope[:, :1] * (1 - a[:, :1])
        np.testing.assert_allclose(a[:, 1:], expected, rtol=1e-9)


def test_strength_is_the_norm_of_the_weights_between_two_tokens(model: VisionPermutator) -> None:
    state = model.state_dict()
    shapes = {f"network.{s.place}.{i}": s for s in CONFIG.stages() for i in range(s.depth)}
    for block in explain(model, IMAGE).blocks:
        S = shapes[block.name].channels // shapes[block.name].segments
        for branch in block.branches:
            weight = state[f"{block.name}.attn.{branch.place}.weight"]
            if branch.kind == "channel":
                assert branch.strength is None
                continue
            assert branch.strength is not None
            n = {"height": block.grid[0], "width": block.grid[1]}[branch.kind]
            for i in range(n):
                for j in range(n):
                    square = sum(weight[i * S + t, j * S + s] ** 2 for t in range(S) for s in range(S))
                    assert branch.strength[i, j] == pytest.approx(square**0.5, rel=1e-12)


def test_receptive_fields_by_differences() -> None:
    """Every pixel is moved, and the middle token of a block followed through `features`."""
    config = dataclasses.replace(CONFIG, layers=(1, 1, 1))
    model = VisionPermutator(config, dtype="float64", seed=2)
    twin, tape = watched(model)
    twin(IMAGE)
    fields = receptive_fields(tape, config.patch_size)
    step = 1e-5
    mass = np.zeros((len(fields), *IMAGE.shape[2:]))
    for index in np.ndindex(IMAGE.shape):
        ends = []
        for sign in (1, -1):
            moved = IMAGE.copy()
            moved[index] += sign * step
            ends.append([grid[0, grid.shape[1] // 2, grid.shape[2] // 2].sum() for grid in model.features(moved)])
        for k, (up, down) in enumerate(zip(*ends, strict=True)):
            mass[(k, *index[2:])] += abs(up - down) / (2 * step)
    P = config.patch_size
    patches = mass.reshape(len(fields), mass.shape[1] // P, P, mass.shape[2] // P, P).sum(axis=(2, 4))
    for field, expected in zip(fields, patches, strict=True):
        np.testing.assert_allclose(field, expected / expected.sum(), rtol=1e-6, atol=1e-8)


def test_one_block_of_summed_branches_sees_a_cross_and_two_see_all() -> None:
    """Nothing reaches a token in one block but its row and its column."""
    config = ViPConfig((2,), (12,), (3,), (False,), 2, image_size=(10, 6), num_classes=2, fusion="sum")
    twin, tape = watched(VisionPermutator(config, dtype="float64", seed=3))
    twin(np.random.default_rng(0).normal(size=(4, 3, 10, 6)))
    first, second = receptive_fields(tape, 2)
    assert shares(first, (5, 3))[1] == pytest.approx(1, abs=1e-14)
    assert (first > 0).sum() == 5 + 3 - 1
    assert (second > 0).all()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", CONFIG)


def make_run(folder: Path, config: ViPConfig) -> Path:
    folder.mkdir()
    model = VisionPermutator(config, seed=1)
    save_weights(
        folder / "best.safetensors",
        model.state_dict(),
        metadata={
            "config": dataclasses.asdict(config),
            "classes": [f"class <{k}>" for k in range(config.num_classes)],
            "transform": dataclasses.asdict(Transform(size=config.image_size)),
        },
    )
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)).save(path)
    return path


def test_files_beside_the_run(run: Path, photo: Path) -> None:
    result = vipnp("explain", run, photo)
    assert result.exit_code == 0, result.output
    folder = run / "explain-a photo"
    for name in ("input", "gradient", "attention", "branches", "gradients", "fields"):
        with Image.open(folder / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 0, name
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "a photo.png" in page
    assert "class &lt;" in page
    assert "class <" not in page
    assert "http" not in page
    transform = Transform(size=CONFIG.image_size)
    with Image.open(photo) as opened, Image.open(folder / "input.png") as seen:
        again = (np.asarray(seen, np.float32) / 255 - transform.mean) / transform.std
        exact = transform.evaluation(opened.convert("RGB"))
        np.testing.assert_allclose(again.transpose(2, 0, 1), exact, rtol=0, atol=8 * 2.0**-24)


def test_each_image_has_a_page_of_its_own(
    run: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images in two folders, or in two formats, share a name, and a name may be as long as a file system takes. The
    folder at hand, where the images may lie, gets nothing."""
    images = [photo, photo.with_suffix(".bmp"), tmp_path / "b" / photo.name, tmp_path / f"{251 * 'a'}.png"]
    (tmp_path / "b").mkdir()
    for image in images[1:]:
        shutil.copy(photo, image)
    monkeypatch.chdir(tmp_path / "b")
    monkeypatch.setattr("vipnp.explain.pictures.write_pictures", lambda *_: [])  # which takes its time
    pages = []
    for model, image in zip((run, run / "best.safetensors", run, run), images, strict=True):
        result = vipnp("explain", model, image)
        assert result.exit_code == 0, result.output
        pages.append(Path(result.output.rstrip().partition(": see ")[2]))
    names = ["explain-a photo", "explain-a photo-2", "explain-a photo-3", f"explain-{60 * 'a'}"]
    assert pages == [run / name / "index.html" for name in names]
    for image, page in zip(images, pages, strict=True):
        assert f"{image.name}, explained" in page.read_text(encoding="utf-8")
    assert os.listdir() == [photo.name]


def test_a_weight_file_and_a_folder_of_choice(run: Path, photo: Path, tmp_path: Path) -> None:
    result = vipnp("explain", run / "best.safetensors", photo, "-o", tmp_path / "out" / "deep", "--class", "class <3>")
    assert result.exit_code == 0, result.output
    assert "class &lt;3&gt;" in (tmp_path / "out" / "deep" / "index.html").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "deep" / "gradient.png").is_file()


def test_two_at_once_do_not_mix_their_pictures(run: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with held_alone("another", folder):
        result = vipnp("explain", run, photo, "-o", folder)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: --output: got {folder}, where another vipnp is at work, expected a folder")
    assert not list(folder.iterdir())


def test_the_line_that_is_printed_names_the_class_that_was_asked_for(run: Path, photo: Path, tmp_path: Path) -> None:
    likeliest, _, page = vipnp("explain", run, photo, "-o", tmp_path / "out").output.partition(": see ")
    assert page == f"{tmp_path / 'out' / 'index.html'}\n"
    unlikely = next(name for name in ("class <0>", "class <1>") if name != likeliest)
    for name in (likeliest, unlikely):
        asked = "" if name == likeliest else f", with the gradients of {name}"
        result = vipnp("explain", run, photo, "-o", tmp_path / "out", "--class", name)
        assert result.output == f"{likeliest}{asked}: see {page}"


def test_summed_branches_have_no_attention(photo: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "sum", dataclasses.replace(CONFIG, fusion="sum"))
    assert vipnp("explain", folder, photo, "-o", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out" / "attention.png").exists()
    assert (tmp_path / "out" / "fields.png").exists()


def test_a_picture_is_not_written_over_the_photo(run: Path, photo: Path, tmp_path: Path) -> None:
    assert vipnp("explain", run, photo, "-o", tmp_path).exit_code == 0
    mine = tmp_path / "input.png"
    shutil.copy(photo, mine)
    result = vipnp("explain", run, mine, "-o", tmp_path)
    assert result.exit_code == 2
    assert f"error: --output: input.png: {mine} is one of the files to read" in result.output
    assert mine.read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("name", ["index.html", "gradient.png"])
def test_no_file_of_the_users_is_written_over(run: Path, photo: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine \xff")
    result = vipnp("explain", run, photo, "-o", tmp_path)
    assert (result.exit_code, (tmp_path / name).read_bytes()) == (2, b"mine \xff")
    assert result.output.startswith(f"error: --output: {tmp_path} holds {name} and no page of vipnp explain")
    (tmp_path / name).unlink()
    for _ in range(2):  # its own may be
        assert vipnp("explain", run, photo, "-o", tmp_path).exit_code == 0


def test_bad_input(run: Path, photo: Path, tmp_path: Path) -> None:
    small, text = tmp_path / "small.png", tmp_path / "text.png"
    Image.new("RGB", (1, 9)).save(small)
    text.write_text("no image")
    for arguments, message in (
        ((run, tmp_path / "none.png"), "is no file, expected an image"),
        ((run, tmp_path), "is a folder, expected an image"),
        ((run, text), "text.png: is no whole image"),
        ((run, small), "image: got 9 x 1 pixels, expected at least 2 x 2, one patch"),
        ((tmp_path / "no run", photo), "expected a run folder"),
        (("vip_s7", photo), "needs its weights"),
        ((run, photo, "--class", "cat"), "--class: got 'cat', expected a class of the model: class <0>, class <1>"),
        ((run, photo, "-o", photo), "--output:"),
    ):
        result = vipnp("explain", *arguments)
        assert result.exit_code == 2, arguments
        assert message in result.output
        assert result.output.count("error:") == 1
    assert not list(run.glob("explain-*"))
    shutil.rmtree(run)


@pytest.mark.parametrize("mixing", ["plane", "axial", "point"])
def test_what_a_token_takes_in_other_mixings(mixing: str) -> None:
    """The strengths between tokens are the norms of the derivatives of the branch, taken by running it."""
    config = dataclasses.replace(CONFIG, branches=MIXINGS[mixing])
    model = VisionPermutator(config, dtype="float64", seed=1)
    shape = config.stages()[0]
    tokens, channels = shape.height * shape.width, shape.channels
    for branch in explain(model, IMAGE.astype(np.float64), 1).blocks[0].branches:
        if branch.strength is None:
            continue
        weight = {"weight": model.state_dict()[f"network.0.0.attn.{branch.place}.weight"]}
        found = np.zeros((tokens, tokens))
        for j in range(tokens):
            one = np.zeros((channels, tokens, channels))
            one[:, j] = np.eye(channels)
            x = one.reshape(channels, shape.height, shape.width, channels)
            y, _ = BRANCHES[branch.kind](model.backend, x, weight, segments=shape.segments)
            found[:, j] = np.linalg.norm(y.reshape(channels, tokens, channels), axis=(0, 2))
        # A plane has one weight for every channel.
        scale = np.sqrt(channels) if branch.kind == "plane" else 1
        np.testing.assert_allclose(branch.strength * scale, found, rtol=1e-12, atol=1e-15)


def test_the_page_holds_the_gradients_of_vjp(model: VisionPermutator) -> None:
    """Every number of the page as JSON and base64, against a vjp that nobody watched."""
    text = render(explain(model, IMAGE, 2), np.zeros((*CONFIG.image_size, 3), np.uint8), "abcde", "x.png")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    _, pullback = model.vjp(IMAGE)
    dimages, _ = pullback(np.eye(5)[2:3])
    norm = np.linalg.norm(dimages[0], axis=0).astype("<f4")
    assert base64.b64decode(data["gradient"]["float32"]) == norm.tobytes()
    state = model.state_dict()
    first = data["blocks"][0]["branches"][0]
    weight = state["network.0.0.attn.mlp_h.weight"].reshape(4, 4, 4, 4)
    strength = np.sqrt((weight**2).sum(axis=(1, 3))).astype("<f4")
    found = np.frombuffer(base64.b64decode(first["strength"]["float32"]), "<f4").reshape(4, 4)
    np.testing.assert_allclose(found, strength, rtol=1e-6)


def test_bad_arguments_of_the_function(model: VisionPermutator) -> None:
    with pytest.raises(ValueError, match=r"target: got 5, expected a class in \[0, 5\)"):
        explain(model, IMAGE, 5)
    for target in (True, 1.0, "cat"):
        with pytest.raises(TypeError, match=f"target: got {target!r}, expected an integer"):
            explain(model, IMAGE, target)  # type: ignore[arg-type]
    assert type(explain(model, IMAGE, np.int64(1)).target) is int  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model: got 'm\.safetensors', expected a VisionPermutator"):
        explain("m.safetensors", IMAGE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image: got 2 images, expected one"):
        explain(model, np.concatenate([IMAGE, IMAGE]))
    with pytest.raises(ValueError, match=r"images: got shape \(1, 3, "):
        explain(model, IMAGE[:, :, :-1])
