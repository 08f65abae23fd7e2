"""The tiny example as a user runs it: its files, its repeatability, its refusals, and the same steps on any backend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.namespaces import StrictBackend
from vipnp import ViPConfig, VisionPermutator, get_backend
from vipnp.checkpoint import load_weights, weights_sha256
from vipnp.core import Backend
from vipnp.data import load_digits
from vipnp.train import Evaluation
from vipnp.train.report import confusion_table

EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))

import five_splits  # noqa: E402
import train_tiny  # noqa: E402


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "train_tiny.py", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder and the standard output of one short run that writes every file."""
    folder = tmp_path_factory.mktemp("first")
    files = ["--save", folder / "w.safetensors", "--plot", folder / "curves.png", "--json", folder / "result.json"]
    done = run("--epochs", "2", "--batch-size", "64", "--lr", "0.004", "--seed", "3", "--split", "2", *files)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_a_run_writes_its_results(first: Any) -> None:
    folder, printed = first
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "result.json", "w.safetensors"]
    result = result_of(folder)
    assert result["backend"] == "numpy"
    assert (result["seed"], result["split"], result["epochs"]) == (3, 2, 2)
    assert (result["batch_size"], result["lr"]) == (64, 0.004)
    assert 0 < result["cpu_seconds"] < 60
    assert result["train_seconds"] > 0
    assert len(result["loss_per_epoch"]) == len(result["test_accuracy_per_epoch"]) == 2
    assert result["test_accuracy_per_epoch"][-1] == result["test_accuracy"]
    counts = np.array(result["confusion_matrix"])
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(load_digits(2).test_labels))
    assert counts.trace() / counts.sum() == pytest.approx(result["test_accuracy"])
    assert result["weights_sha256"] == weights_sha256(load_weights(folder / "w.safetensors"))
    assert {"python", "vipnp", "numpy", "scipy", "scikit-learn"} <= set(result["versions"])
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert f"test accuracy {result['test_accuracy']:.2%}" in printed
    assert "epoch   2/2  loss" in printed


@pytest.mark.long
def test_the_same_seed_gives_the_same_weights_in_another_process(first: Any, tmp_path: Path) -> None:
    arguments = ("--epochs", "2", "--batch-size", "64", "--lr", "0.004", "--split", "2")
    again = run(*arguments, "--seed", "3", "--json", tmp_path / "result.json")
    assert again.returncode == 0, again.stderr
    ours, theirs = result_of(first[0]), result_of(tmp_path)
    for key in ("weights_sha256", "loss_per_epoch", "test_accuracy", "confusion_matrix"):
        assert ours[key] == theirs[key]


def test_saved_weights_are_tested_without_training(first: Any) -> None:
    folder, _ = first
    saved = ["--load", str(folder / "w.safetensors"), "--epochs", "0", "--split", "2"]
    loaded = train_tiny.main(saved)
    assert loaded["loss_per_epoch"] == []
    for key in ("weights_sha256", "test_accuracy", "confusion_matrix"):
        assert loaded[key] == result_of(folder)[key]
    assert train_tiny.main(["--epochs", "0", "--split", "2"])["weights_sha256"] != loaded["weights_sha256"]


def test_the_seed_decides_weights_and_order() -> None:
    untrained = {train_tiny.main(["--epochs", "0", "--seed", seed])["weights_sha256"] for seed in "0123"}
    assert len(untrained) == 4
    ten = [first_losses(get_backend("numpy"), train_tiny.CONFIG, seed=seed, count=2) for seed in (0, 0, 1)]
    assert ten[0] == ten[1] != ten[2]


def first_losses(xp: Backend, config: ViPConfig, *, seed: int, count: int, dtype: str = "float32") -> list[float]:
    """The losses of the first steps of the example on split 0."""
    digits = load_digits(0)
    recipe = replace(train_tiny.RECIPE, epochs=1, warmup_epochs=0)
    model = VisionPermutator(config, backend=xp, seed=seed, dtype=dtype)
    images = digits.train_images[: count * recipe.batch_size].astype(dtype)
    (losses,) = train_tiny.train(model, images, digits.train_labels[: len(images)], recipe, seed)
    return list(losses)


def test_the_first_ten_losses_agree_with_the_strict_namespace() -> None:
    config = replace(train_tiny.CONFIG, drop_path=0.2, dropout=0.1)
    ours = first_losses(get_backend("numpy"), config, seed=0, count=10, dtype="float64")
    strict = first_losses(StrictBackend(), config, seed=0, count=10, dtype="float64")
    assert len(ours) == 10
    assert len(set(ours)) == 10
    assert strict == pytest.approx(ours, rel=1e-12)
    single = first_losses(StrictBackend(), config, seed=0, count=10)
    assert single == pytest.approx(first_losses(get_backend("numpy"), config, seed=0, count=10), rel=1e-5)
    assert single == pytest.approx(ours, rel=1e-4)


REFUSALS = [
    (["--backend", "nump"], "invalid choice: 'nump'"),
    (["--backend", "array_api"], "invalid choice: 'array_api'"),
    (["--split", "5"], "--split: invalid choice: 5"),
    (["--epochs", "-1"], "--epochs: got -1, expected a number >= 0"),
    (["--epochs", "many"], "--epochs: invalid int value: 'many'"),
    (["--seed", "-1"], "--seed: got -1, expected a number >= 0"),
    (["--batch-size", "0"], "--batch-size: got 0, expected a number >= 1"),
    (["--lr", "-1"], "lr: got -1.0"),
    (["--lr", "nan"], "lr: got nan"),
    (["--lr", "inf", "--epochs", "0"], "--lr: got inf, expected a finite number >= 0"),
    (["--save", "no/such/w.safetensors"], "there is no folder no/such"),
    (["--plot", "no/such/p.png"], "there is no folder no/such"),
    (["--plot", "p.xyz"], "--plot: got 'p.xyz', expected a name that ends in one of .png, .pdf, .svg, .jpg"),
    (["--json", "no/such/r.json"], "there is no folder no/such"),
    (["--save", "w.pth"], "--save: got 'w.pth', expected the name of a safetensors file"),
    (["--save", "."], "--save: . is a folder, expected the name of a file"),
    (["--plot", "."], "--plot: . is a folder"),
    (["--json", "."], "--json: . is a folder"),
    (["--save", "same.f", "--json", "./same.f"], "--save and --json: both are same.f, expected different files"),
    (["--plot", "same.f", "--json", "same.f"], "--plot and --json: both are same.f"),
    (["--json", "w.safetensors", "--load", "w.safetensors"], "--json and --load: both are w.safetensors"),
    (["--load", "none.safetensors"], "there is no file 'none.safetensors'"),
    (["--lo", "none"], "unrecognized arguments: --lo none"),
]


def refused_before_training(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_tiny, "train_epoch", lambda *_, **__: pytest.fail("training began"))
    with pytest.raises(SystemExit) as stopped:
        train_tiny.main(arguments)
    assert stopped.value.code == 2


def test_a_run_that_diverges_says_so_where_it_would_save_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train_tiny.main(["--epochs", "1", "--lr", "1e6", "--save", str(tmp_path / "w.safetensors")])
    assert stopped.value.code == 1
    assert "try a smaller lr" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "library"), [("--save", "safetensors"), ("--plot", "matplotlib")])
def test_a_missing_library_is_told_before_training(
    option: str, library: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    refused_before_training([option, str(tmp_path / "file")], monkeypatch)
    assert f'{option} needs {library}: pip install "vipnp[train]"' in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_before_training(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    refused_before_training(["--json", str(tmp_path / "result.json")], monkeypatch)
    assert f"the folder {tmp_path} cannot be written" in capsys.readouterr().err


def test_every_output_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(train_tiny, "save_weights", fail)
    files = ["--save", str(tmp_path / "w.safetensors"), "--json", str(tmp_path / "result.json")]
    with pytest.raises(SystemExit):
        train_tiny.main(["--epochs", "0", *files])
    assert "--save: disk full" in capsys.readouterr().err
    assert result_of(tmp_path)["epochs"] == 0


def test_weights_may_go_back_to_the_file_they_came_from(first: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes((first[0] / "w.safetensors").read_bytes())
    train_tiny.main(["--epochs", "0", "--load", str(path), "--save", str(path)])
    assert path.read_bytes() == (first[0] / "w.safetensors").read_bytes()


@pytest.mark.parametrize("lr", [0.0, 1e-7])
def test_no_epoch_has_a_higher_rate_than_asked_for(lr: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def note(*_: Any, lr: float, **__: Any) -> list[float]:
        rates.append(lr)
        return [0.0]

    monkeypatch.setattr(train_tiny, "train_epoch", note)
    recipe = replace(train_tiny.RECIPE, lr=lr, epochs=5)
    digits = load_digits(0)
    list(train_tiny.train(VisionPermutator(train_tiny.CONFIG), digits.train_images, digits.train_labels, recipe, 0))
    assert rates == [lr] * 5


def test_a_rate_of_zero_leaves_the_weights_alone() -> None:
    digits = load_digits(0)
    recipe = replace(train_tiny.RECIPE, lr=0.0, epochs=2)
    model = VisionPermutator(train_tiny.CONFIG)
    before = weights_sha256(model.state_dict())
    assert len(list(train_tiny.train(model, digits.train_images[:64], digits.train_labels[:64], recipe, 0))) == 2
    assert weights_sha256(model.state_dict()) == before


@pytest.mark.parametrize(("arguments", "message"), REFUSALS)
def test_refusals_are_one_line_and_leave_nothing(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused_before_training(arguments, monkeypatch)
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert message in last
    assert "error: " in last
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vipnp.checkpoint import save_weights

    weights = VisionPermutator(train_tiny.CONFIG).state_dict()
    weights["head.weight"] = weights["head.weight"][:3]
    save_weights(tmp_path / "w.safetensors", weights)
    with pytest.raises(SystemExit):
        train_tiny.main(["--load", str(tmp_path / "w.safetensors")])
    assert "head.weight (3, 64) instead of (10, 64)" in capsys.readouterr().err


def test_the_confusion_table_has_truth_in_rows() -> None:
    table = confusion_table(np.array([[5, 0], [2, 31]])).strip("\n").split("\n")
    assert [line.split() for line in table] == [["true", "\\", "answer", "0", "1"], ["0", "5", "."], ["1", "2", "31"]]


@pytest.mark.parametrize(
    ("accuracies", "cpu_seconds", "status"),
    [
        ([0.985] * 5, [60.0] * 5, 0),
        ([0.98, 0.99, 0.99, 0.99, 0.98], [30.0] * 5, 0),
        ([0.984] * 5, [30.0] * 5, 1),
        ([0.979, 1, 1, 1, 1], [30.0] * 5, 1),
        ([0.99] * 5, [190.0, 190.0, 190.0, 180.0, 190.0], 0),
        ([0.99] * 5, [190.0, 190.0, 190.0, 180.1, 190.0], 1),
    ],
)
def test_five_splits_hold_accuracy_and_cpu_seconds_against_the_goals(
    accuracies: list[float], cpu_seconds: list[float], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(split: int) -> dict[str, Any]:
        return {
            "split": split,
            "test_accuracy": accuracies[split],
            "train_seconds": 1.0,
            "cpu_seconds": cpu_seconds[split],
        }

    monkeypatch.setattr(five_splits, "run_split", pretend)
    assert five_splits.main() == status


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--splits=2", 2)])
@pytest.mark.parametrize("name", ["five_splits.py", "choose_digits_recipe.py"])
def test_examples_without_options_train_for_no_option(name: str, argument: str, status: int) -> None:
    """They took any argument for none, and trained for minutes where help was asked for."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, argument], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status
    assert f"usage: {name} [-h]" in done.stdout + done.stderr


@pytest.mark.long
def test_one_of_the_five_runs_is_a_process_of_its_own() -> None:
    result = five_splits.run_split(3, "--epochs", "0")
    assert (result["split"], result["epochs"]) == (3, 0)
    assert 0 < result["cpu_seconds"] < 60


@pytest.mark.long
def test_the_recipe_was_chosen_among_candidates_without_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image that a candidate is trained or validated on is in no test set."""
    import choose_digits_recipe  # which takes seconds

    chosen = choose_digits_recipe.Candidate(train_tiny.RECIPE, turned=0, moved=0)
    assert chosen in choose_digits_recipe.CANDIDATES.values()
    tested = {image.tobytes() for split in range(5) for image in load_digits(split).test_images}
    used: list[bytes] = []

    def note(model: Any, images: Any, labels: Any, *_: Any, **__: Any) -> Any:
        used.extend(image.tobytes() for image in images)
        return Evaluation(0.5, labels)

    monkeypatch.setattr(choose_digits_recipe, "train", note)
    monkeypatch.setattr(choose_digits_recipe, "evaluate", note)
    assert choose_digits_recipe.validation_accuracy(chosen) == 0.5
    assert len(set(used)) == load_digits(0).development
    assert not set(used) & tested
