"""`vipnp models`, `summary` and `convert`, and `model.summary()`."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import command_line as vipnp
from tests.conftest import small_model
from tests.models.test_saved import CLASSES, COLOUR, zeros
from vipnp.checkpoint import load_metadata, load_weights, save_pytorch
from vipnp.layers import permutator, stage
from vipnp.models import (
    PUBLISHED,
    Layer,
    VisionPermutator,
    get_config,
    parameter_shapes,
    vision_permutator,
)

# --- models -----------------------------------------------------------------------------------------------------------


def test_models_lists_every_published_model() -> None:
    result = vipnp("models")
    assert result.exit_code == 0
    _, *lines = result.output.splitlines()
    assert [line.split()[0] for line in lines] == list(PUBLISHED)
    for line, (name, config) in zip(lines, PUBLISHED.items(), strict=True):
        parameters = sum(math.prod(shape) for shape in parameter_shapes(config).values())
        assert f" {parameters:,} " in line, name
        assert f" {config.macs:,} " in line, name


# --- summary ----------------------------------------------------------------------------------------------------------


def every(layer: Layer) -> list[Layer]:
    return [layer, *(deeper for inner in layer.inside for deeper in every(inner))]


@pytest.mark.parametrize("name", PUBLISHED)
def test_macs_by_layer_have_the_names_of_weights(name: str) -> None:
    config = PUBLISHED[name]
    counts = config.layer_macs()
    shapes = parameter_shapes(config)
    assert set(counts) == {key.removesuffix(".weight") for key, shape in shapes.items() if len(shape) > 1}
    assert sum(counts.values()) == config.macs
    for layer, count in counts.items():
        assert count % math.prod(shapes[f"{layer}.weight"]) == 0, layer


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("fusion", ["weighted", "sum"])
def test_a_summary_is_what_runs(backend: str, fusion: Any) -> None:
    config = get_config("vip_s7", image_size=(28, 56), num_classes=5)
    config = dataclasses.replace(config, layers=(1, 2, 1, 1), fusion=fusion)
    model = VisionPermutator(config, backend=backend)
    whole = model.summary().model
    assert (whole.parameters, whole.macs, whole.output) == (model.num_parameters, model.macs, (5,))
    for layer in every(whole):
        assert layer.parameters >= sum(inner.parameters for inner in layer.inside), layer.name
        assert layer.macs >= sum(inner.macs for inner in layer.inside), layer.name
    stages = {layer.name: layer for layer in every(whole) if layer.op is stage}
    blocks = {layer.name: layer for layer in every(whole) if layer.op is permutator}
    assert list(stages) == ["network.0", "network.2", "network.3", "network.4"]
    assert stages["network.0"].output == (4, 8, 192)
    if backend == "numba" and fusion == "weighted":  # a stage of one image is one call
        assert {layer.function.__name__ for layer in stages.values()} == {"stage_by_images"}
        assert not blocks
    else:
        assert list(blocks) == ["network.0.0", "network.2.0", "network.2.1", "network.3.0", "network.4.0"]
        assert {layer.function.__name__ for layer in blocks.values()} == {"permutator"}

    counted: Any = model.backend.inference().counting()
    counted.run(vision_permutator, np.zeros((1, 3, 28, 56), np.float32), model.params, config=config)
    ran = counted.ran + (counted.shard.ran if counted.shard else collections.Counter())
    functions = collections.Counter(layer.function for layer in every(whole))
    assert functions <= ran
    if backend == "numpy":
        assert functions == ran
        leaves = [layer for layer in every(whole) if not layer.inside and layer.parameters]
        assert sum(layer.parameters for layer in leaves) == model.num_parameters
        assert sum(layer.macs for layer in leaves) == model.macs
        assert sorted(name for layer in leaves for name in layer.weights) == sorted(parameter_shapes(config))


def test_a_call_left_to_the_readable_op_is_shown_as_that() -> None:
    model = VisionPermutator(dataclasses.replace(small_model().config, fusion="sum"), backend="numba")
    blocks = [layer for layer in every(model.summary().model) if layer.op is permutator]
    assert blocks
    assert {layer.file.partition(":")[0] for layer in blocks} == {"vipnp/layers/permutator.py"}


def test_summary_of_a_name_a_file_and_a_depth(tmp_path: Path) -> None:
    small_model().save(tmp_path / "m.safetensors")
    result = vipnp("summary", tmp_path / "m.safetensors", "--depth", "0")
    assert result.exit_code == 0, result.output
    header, line = result.output.splitlines()
    assert header.split("  ")[0] == "layer"
    model = small_model()
    assert line.split()[:4] == ["vision_permutator", "5", f"{model.num_parameters:,}", f"{model.macs:,}"]
    deeper = vipnp("summary", tmp_path / "m.safetensors", "--depth", "9").output
    assert "network.0.0.attn.reweight.fc1" in deeper
    assert str(vipnp("summary", tmp_path / "m.safetensors").output) == f"{small_model().summary()}\n"
    wrong = vipnp("summary", "vip_s77")
    assert wrong.exit_code == 2
    assert wrong.output == (
        "error: model: there is no file or folder 'vip_s77', expected a run folder, a weight file or a published name "
        "(did you mean 'vip_s7'?)\n"
    )


def test_summary_of_a_published_name_needs_no_weights() -> None:
    result = vipnp("summary", "vip_s14")
    assert result.exit_code == 0, result.output
    assert "network.0.0 to network.0.3" in result.output
    assert f" {PUBLISHED['vip_s14'].macs:,} " in result.output


# --- convert ----------------------------------------------------------------------------------------------------------


def random_state(name: str) -> dict[str, Any]:
    """Tensors of all names of a model, but small ones: a length is at most 3."""
    rng = np.random.default_rng(1)
    shapes = parameter_shapes(PUBLISHED[name])
    return {
        key: rng.standard_normal([min(3, side) for side in shape], dtype=np.float32) for key, shape in shapes.items()
    }


def contained(state: dict[str, Any], container: str) -> Any:
    tensors = collections.OrderedDict((name, torch.from_numpy(value)) for name, value in state.items())
    parallel = collections.OrderedDict((f"module.{name}", value) for name, value in tensors.items())
    return {
        "bare": tensors,
        "state_dict": {"state_dict": tensors, "epoch": 300, "arch": "vip"},
        "model": {"model": tensors},
        "parallel": {"state_dict": parallel, "epoch": 300},
    }[container]


KINDS_OF_FILES = list(itertools.product(["bare", "state_dict", "model", "parallel"], [False, True]))


@pytest.mark.parametrize(("name", "container", "legacy"), [
    (name, *kind) for name, kind in zip(itertools.cycle(PUBLISHED), KINDS_OF_FILES, strict=False)
])  # fmt: skip
def test_every_published_model_and_every_container_both_ways(
    tmp_path: Path, name: str, container: str, legacy: bool
) -> None:
    state = random_state(name)
    source = tmp_path / "in.pth.tar"
    torch.save(contained(state, container), source, _use_new_zipfile_serialization=not legacy)
    there = vipnp("convert", source, tmp_path / "w.safetensors")
    assert there.exit_code == 0, there.output
    back = vipnp("convert", tmp_path / "w.safetensors", tmp_path / "out.pth")
    assert back.exit_code == 0, back.output
    for found in (load_weights(tmp_path / "w.safetensors"), torch.load(tmp_path / "out.pth", weights_only=True)):
        assert set(found) == set(state)
        for key, value in state.items():
            assert np.asarray(found[key]).tobytes() == value.tobytes(), key


def test_it_says_what_it_wrote_and_what_it_left_out(tmp_path: Path) -> None:
    save_pytorch(tmp_path / "w.pth", zeros("vip_s7", image_size=(28, 28)))
    result = vipnp("convert", tmp_path / "w.pth", tmp_path / "w.safetensors")
    count = sum(value.size for value in zeros("vip_s7", image_size=(28, 28)).values())
    assert result.output.endswith(f"w.safetensors: {len(zeros('vip_s7'))} tensors, {count:,} numbers, of vip_s7\n")
    model = small_model()
    model.classes, model.transform = CLASSES, COLOUR
    model.save(tmp_path / "m.safetensors")
    same = vipnp("convert", tmp_path / "m.safetensors", tmp_path / "copy.safetensors")
    assert same.output.endswith(" a model of its own\n")
    assert load_metadata(tmp_path / "copy.safetensors") == load_metadata(tmp_path / "m.safetensors")
    lossy = vipnp("convert", tmp_path / "m.safetensors", tmp_path / "m.pth")
    assert lossy.output.endswith(
        "left out, since the format has no place for it: config, classes, transform; vipnp.load and vipnp predict need "
        f"that, so keep {tmp_path / 'm.safetensors'}\n"
    )


def test_the_weights_of_a_run(tmp_path: Path) -> None:
    model = small_model()
    (tmp_path / "run").mkdir()
    refused = vipnp("convert", tmp_path / "run", tmp_path / "m.pth")
    assert (refused.exit_code, refused.output.partition(":")[2]) == (
        2,
        f" source: {tmp_path / 'run'} holds no best.safetensors: it is no run folder, or its first epoch is not over\n",
    )
    model.save(tmp_path / "run" / "best.safetensors")
    assert vipnp("convert", tmp_path / "run", tmp_path / "m.pth").exit_code == 0
    assert set(load_weights(tmp_path / "m.pth")) == set(model.state_dict())


def test_published_weights_below_a_prefix_are_known_and_keep_it(tmp_path: Path) -> None:
    tensors = {f"model.{name}": value for name, value in zeros("vip_s7", image_size=(28, 28)).items()}
    save_pytorch(tmp_path / "p.pth", tensors)
    assert vipnp("convert", tmp_path / "p.pth", tmp_path / "p.safetensors").output.endswith(", of vip_s7\n")
    assert load_weights(tmp_path / "p.safetensors").keys() == tensors.keys()


def test_no_file_is_lost(tmp_path: Path) -> None:
    save_pytorch(tmp_path / "w.pth", {"x": np.ones((2, 3), np.float32)})
    (tmp_path / "old.safetensors").write_text("mine")
    refused = vipnp("convert", tmp_path / "w.pth", tmp_path / "old.safetensors")
    assert refused.exit_code == 2
    assert "is there already: --overwrite replaces it" in refused.output
    assert (tmp_path / "old.safetensors").read_text() == "mine"
    named = vipnp("convert", tmp_path / "w.pth", tmp_path / "new.npz")
    assert named.exit_code == 2
    assert "expected a name in .safetensors, .pth, .pth.tar or .pt" in named.output
    broken = vipnp("convert", tmp_path / "old.safetensors", tmp_path / "w.pth", "--overwrite")
    assert broken.exit_code == 2
    assert load_weights(tmp_path / "w.pth")["x"].shape == (2, 3)
    done = vipnp("convert", tmp_path / "w.pth", tmp_path / "old.safetensors", "--overwrite")
    assert done.output.endswith("1 tensors, 6 numbers, of no published model\n")


def test_converting_loads_no_pytorch(tmp_path: Path) -> None:
    model = small_model()
    save_pytorch(tmp_path / "w.pth", model.state_dict())
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from vipnp.cli.convert import convert\n"
        f"convert(Path({str(tmp_path / 'w.pth')!r}), Path({str(tmp_path / 'w.safetensors')!r}), False)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for name, value in load_weights(tmp_path / "w.safetensors").items():
        assert value.tobytes() == model.state_dict()[name].tobytes()
