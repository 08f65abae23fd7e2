"""`vipnp train`, `eval`, `predict` and resuming: the same bits whatever stops a run, and nothing lost."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import as_nobody, make_folder
from tests.conftest import command_line as vipnp
from vipnp.checkpoint import load_metadata, load_weights, save_weights
from vipnp.cli.errors import reason
from vipnp.core.output import CLOSED_PIPE
from vipnp.data import load_data_set, open_image
from vipnp.models import VisionPermutator, load
from vipnp.train import report, start
from vipnp.train.folder import check_contents, held_alone, prepare_folder, record_of_settings, states
from vipnp.train.ranks import Ranks, StoppedError
from vipnp.train.recipe import RECIPES, Recipe, recipe_from
from vipnp.train.run import Progress, Run
from vipnp.train.saved import load_saved
from vipnp.train.settings import Settings, check_recorded, read_settings, tiny_config
from vipnp.train.signals import stop_signals
from vipnp.train.start import new_run

LIMITED = ("lr", "min_lr", "warmup_lr", "weight_decay", "clip_grad", "mixup", "cutmix")
"""The options of a recipe that are no shares."""

OPTIONS = ("--epochs", "3", "--img-size", "16", "16", "--batch-size", "5", "--drop-path", "0.2", "--cutmix", "0.5",
           "--reprob", "0.3", "--ema", "0.9", "--save-every", "2", "--backend", "numpy")  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("photos") / "d", {"cat": 9, "dog": 8, "emu": 7}, (20, 18))


@pytest.fixture(scope="module")
def whole(photos: Path) -> Path:
    """A run that nothing stopped."""
    folder = photos.parent / "whole"
    result = vipnp("train", photos, "-o", folder, *OPTIONS, "--workers", "0")
    assert result.exit_code == 0, result.output
    return folder


def test_the_shards_that_a_result_depends_on_are_recorded_and_no_matter_of_the_machine(whole: Path) -> None:
    assert tomllib.loads((whole / "config.toml").read_text())["run"]["shards"] == 8


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def last_weights(folder: Path) -> dict[str, Any]:
    return load_weights(states(folder)[-1])


def assert_same_bits(first: Path, second: Path) -> None:
    one, other = last_weights(first), last_weights(second)
    assert set(one) == set(other)
    for name, value in one.items():
        assert value.tobytes() == other[name].tobytes(), name
    assert (first / "best.safetensors").read_bytes() == (second / "best.safetensors").read_bytes()
    columns = ("epoch", "loss", "lr", "accuracy")
    rows = [(rows_of(folder / "metrics.csv")) for folder in (first, second)]
    assert [[row[c] for c in columns] for row in rows[0]] == [[row[c] for c in columns] for row in rows[1]]


# --- the run folder ---------------------------------------------------------------------------------------------------


def test_a_folder_has_one_run_at_a_time(photos: Path, whole: Path, tmp_path: Path) -> None:
    """Neither another run nor the same once more; what is there stays, and then the next may."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with held_alone("run", folder):
        for arguments in (("--resume", folder), (photos, "-o", folder, *OPTIONS, "--overwrite")):
            result = vipnp("train", *arguments)
            assert result.exit_code == 2
            assert f"run: got {folder}, where another vipnp is at work" in result.output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert vipnp("train", "--resume", folder).exit_code == 0


def test_nothing_of_a_replaced_run_is_taken_for_the_new_one(photos: Path, whole: Path, tmp_path: Path) -> None:
    """Its weights were evaluated on the new run's held-out images, on which they had been trained."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    again = (photos, "-o", folder, *OPTIONS, "--overwrite", "--seed", "1")
    result = vipnp("train", *again, "--weights", folder)
    assert result.exit_code == 2
    assert f"--weights: got {folder / 'best.safetensors'}, which the new run replaces" in result.output
    assert (folder / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()
    result = vipnp("train", *again, "--lr", "1e6", "--clip-grad", "0", "--warmup-epochs", "0")
    assert result.exit_code == 1, result.output
    assert {path.name for path in folder.iterdir()}.isdisjoint({"best.safetensors", "last.safetensors"})
    result = vipnp("eval", folder)
    assert result.exit_code == 2
    assert "holds no best.safetensors" in result.output


def test_a_reader_that_leaves_ends_a_run_as_any_command(photos: Path, tmp_path: Path) -> None:
    """With the status of a closed pipe, where 1 is that of a run that diverged."""
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "vipnp", "train", str(photos), "-o", str(tmp_path / "run"), *OPTIONS]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_what_a_run_leaves(whole: Path) -> None:
    assert (whole / "classes.txt").read_text() == "cat\ndog\nemu\n"
    assert len((whole / "split.csv").read_text().splitlines()) == 24
    assert "passed over" not in (whole / "log.txt").read_text()
    for name in ("curves.png", "train_batch.png"):
        assert (whole / name).read_bytes().startswith(b"\x89PNG")
    assert [row["epoch"] for row in rows_of(whole / "metrics.csv")] == ["1", "2", "3"]
    assert len(states(whole)) == 2
    log = (whole / "log.txt").read_text().splitlines()
    assert log[0].endswith("on numpy")
    assert [line[:9] for line in log[1:4]] == ["epoch   1", "epoch   2", "epoch   3"]
    assert log[-1] == f"next: vipnp eval {whole}   vipnp predict {whole} IMAGE..."
    settings = read_settings(whole)
    assert settings.recipe.cutmix == 0.5
    assert settings.recipe.smoothing == RECIPES["small"].smoothing
    assert not list(whole.rglob("*.tmp"))


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.long)])
def test_the_number_of_workers_changes_nothing(photos: Path, whole: Path, tmp_path: Path, workers: int) -> None:
    assert vipnp("train", photos, "-o", tmp_path / "r", *OPTIONS, "--workers", workers).exit_code == 0
    assert_same_bits(whole, tmp_path / "r")


def test_stopped_at_every_step_and_resumed(photos: Path, whole: Path, tmp_path: Path) -> None:
    """A signal after each step: the run is taken up a dozen times and ends in the same bits."""
    folder = tmp_path / "r"
    settings, data = read_settings(whole), load_data_set(photos)
    prepare_folder(folder, settings, data, {})
    stops = 0
    while True:
        run = Run(folder, settings, data)
        try:
            run.train(workers=0, save_every=100, report=lambda _: os.kill(os.getpid(), signal.SIGTERM))
        except StoppedError:
            stops += 1
        else:
            break
    assert stops >= 10
    assert_same_bits(whole, folder)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_and_resumed(photos: Path, whole: Path, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "r"
    program = "import os, sys; os.environ['OPENBLAS_NUM_THREADS'] = '1'; from vipnp.cli import app; app(sys.argv[1:])"
    arguments: list[str | Path] = ["train", photos, "-o", folder, *OPTIONS, "--workers", "2"]
    rng = np.random.default_rng(seed)
    kills = 0
    while True:
        child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.DEVNULL)
        while not (folder / "split.csv").exists() and child.poll() is None:
            time.sleep(0.01)
        patience = rng.uniform(0, 1.2) if kills < 4 else None
        try:
            assert child.wait(patience) == 0
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
        arguments = ["train", "--resume", folder, "--workers", "1"]
    assert kills
    assert_same_bits(whole, folder)


def test_a_broken_state_is_passed_over(whole: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    newest = states(folder)[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert vipnp("train", "--resume", folder).exit_code == 0
    assert_same_bits(whole, folder)


def test_a_run_none_of_whose_states_can_be_read_does_not_begin_again(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    older, newest = states(folder)
    newest.write_bytes(newest.read_bytes()[:100])
    save_weights(older, {"weight/a": np.ones(3)}, {"step": 1})
    result = vipnp("train", "--resume", folder)
    assert result.exit_code == 2
    assert f"error: run: no state in {folder / 'state'} can be read (path: {str(newest)!r} is no whole" in result.output
    newest.unlink()
    result = vipnp("train", "--resume", folder)
    assert "is no state of a run: it lacks best, exp_avg, exp_avg_sq, loss_sum, rows" in result.output
    assert (folder / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


@pytest.mark.long
def test_a_run_folder_may_be_called_as_its_embedded_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--epochs", "1", "--batch-size", "500", "--backend", "numpy")
    assert vipnp("train", "digits", "-o", "digits", *options).exit_code == 0
    result = vipnp("train", "--resume", "digits")
    assert result.exit_code == 0, result.output
    make_folder(tmp_path / "mnist5k", {"cat": 2, "dog": 2})
    assert load_data_set("./mnist5k").classes == ("cat", "dog")
    assert len(load_data_set("mnist5k").classes) == 10


def test_more_epochs_go_on_from_the_last(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    assert vipnp("train", "--resume", folder, "--epochs", 4).exit_code == 0
    assert [row["epoch"] for row in rows_of(folder / "metrics.csv")] == ["1", "2", "3", "4"]
    assert read_settings(folder).recipe.epochs == 4


def test_unreadable_files_are_named_and_left_out_only_when_asked(photos: Path, tmp_path: Path) -> None:
    """What was left out stays so when the file is whole again: the run goes on with the same images."""
    data, folder = tmp_path / "d", tmp_path / "r"
    shutil.copytree(photos, data)
    good = (data / "dog" / "3.png").read_bytes()
    (data / "dog" / "3.png").write_bytes(good[: len(good) // 2])
    (data / "cat" / "1.png").write_bytes(b"")
    refused = vipnp("train", data, "-o", folder, *OPTIONS)
    assert refused.exit_code == 2
    assert "data: 2 of 24 files cannot be read (--skip-unreadable leaves them out)" in refused.output
    assert "cat/1.png: is no whole image" in refused.output
    assert "dog/3.png: is no whole image" in refused.output
    assert not folder.exists()
    first = vipnp("train", data, "-o", folder, *OPTIONS, "--skip-unreadable")
    assert first.exit_code == 0, first.output
    log = (folder / "log.txt").read_text().splitlines()
    assert log[1:3] == [f"left out, since it cannot be read: {name}" for name in ("cat/1.png", "dog/3.png")]
    assert (folder / "split.csv").read_text().splitlines()[-1] == '"dog/3.png",,unreadable'
    assert vipnp("eval", folder, "--backend", "numpy").exit_code == 0
    (data / "dog" / "3.png").write_bytes(good)
    again = vipnp("train", "--resume", folder, "--epochs", 4)
    assert again.exit_code == 0, again.output
    assert [row["epoch"] for row in rows_of(folder / "metrics.csv")] == ["1", "2", "3", "4"]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_resume_takes_only_epochs(whole: Path, photos: Path) -> None:
    result = vipnp("train", "--resume", whole, "--lr", 0.1)
    assert result.exit_code == 2
    assert "--resume: got --lr with it; only --epochs may change" in result.output
    others = vipnp("train", photos, "--resume", whole, "--seed", 0, "-b", 3, "--head-only", "--epochs", 5, "-j", 1)
    assert "--resume: got DATA, --batch-size, --seed, --head-only with it; only" in others.output


@pytest.mark.parametrize("name", ["log.txt", "curves.png", "classes.txt", "state"])
def test_a_folder_with_files_of_those_names_is_no_run_folder(name: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text("my own")
    result = vipnp("train", photos, "-o", tmp_path)
    assert result.exit_code == 2
    assert f"--output: {tmp_path} holds {name}, which a run would replace" in result.output
    assert (tmp_path / name).read_text() == "my own"


def with_images_of_its_own(whole: Path, photos: Path, place: Path) -> tuple[Path, Path]:
    """A copy of the run, and one of its images, which the copied run takes for its own."""
    folder, data = Path(shutil.copytree(whole, place / "r")), Path(shutil.copytree(photos, place / "data")).resolve()
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace(json.dumps(str(photos)), json.dumps(str(data))))
    return folder, data


def test_evaluation_is_never_on_images_of_the_training(photos: Path, whole: Path, tmp_path: Path) -> None:
    """Where the held-out files of a class are gone, one that the run was trained on would take their place."""
    folder, data = with_images_of_its_own(whole, photos, tmp_path)
    held_out = [name for name in load_data_set(data, seed=0).validation.names if name.startswith("emu/")]
    for name in held_out[1:]:
        (data / name).unlink()
    assert vipnp("eval", folder).exit_code == 0  # fewer, and none of the others
    assert "trained on" not in vipnp("eval", folder, "--data", data).stderr
    (data / held_out[0]).unlink()
    told = vipnp("eval", folder, "--data", data)
    assert told.stderr.startswith("the run was trained on images of these names: emu/")
    told = vipnp("eval", folder, "--data", data, "--all")
    assert told.stderr.startswith("the run was trained on images of these names: cat/")
    result = vipnp("eval", folder)
    assert result.exit_code == 2
    assert "error: data: the run was trained on emu/" in result.output
    assert "other files are missing or new: put them back as they were" in result.output
    (folder / "split.csv").unlink()
    assert f"error: run: {folder} holds no split.csv: it is no whole run folder\n" == vipnp("eval", folder).output


def test_images_that_have_other_names_are_told(photos: Path, whole: Path, tmp_path: Path) -> None:
    """They may be those that the run was trained on."""
    folder, data = with_images_of_its_own(whole, photos, tmp_path)
    assert vipnp("eval", folder).stderr == ""
    before = load_data_set(data, seed=0)
    for number, name in enumerate(before.train.names):
        (data / name).rename((data / name).with_name(f"renamed-{number}.png"))
    (data / before.validation.names[0]).unlink()
    told = vipnp("eval", folder).stderr
    assert told.startswith("held out now, and not when the run began: cat/renamed-")
    assert f"images that it was trained on are not where they were ({len(before.train)}): " in told
    assert told.endswith("; images that were held out are not where they were (1)\n")


def test_images_that_were_divided_into_folders_since_are_told(photos: Path, whole: Path, tmp_path: Path) -> None:
    """Whoever divides a folder after training holds out images that the run has seen. A run of a divided folder, in
    which names stand in both parts, is told nothing of other images of these names."""
    data = tmp_path / "data"
    for part, numbers in (("train", (0, 3)), ("val", (3, 6))):
        for label in ("cat", "dog", "emu"):
            (data / part / label).mkdir(parents=True)
            for number in range(*numbers):
                shutil.copy(photos / label / f"{number}.png", data / part / label / f"{number}.png")
    trained = {name for name in load_data_set(photos, seed=0).train.names if re.search(r"[345]\.png", name)}
    result = vipnp("eval", shutil.copytree(whole, tmp_path / "copy"), "--data", data)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(f"the run was trained on images of these names: {sorted(trained)[0]}, ")
    for number in range(3):
        for label in ("cat", "dog", "emu"):
            (data / "val" / label / f"{number + 3}.png").rename(data / "val" / label / f"{number}.png")
    folder = tmp_path / "r"
    assert vipnp("train", data, "-o", folder, *OPTIONS, "--epochs", "1").exit_code == 0
    assert vipnp("eval", folder).stderr == vipnp("eval", folder, "--data", data).stderr == ""
    line = "the run was trained on images of these names: cat/0.png, "
    assert vipnp("eval", folder, "--data", data / "train", "--all").stderr.startswith(line)
    assert vipnp("eval", folder, "--data", data / "val", "--all").stderr == ""


def test_the_seconds_of_an_epoch_are_those_before_a_stop_too(photos: Path, whole: Path, tmp_path: Path) -> None:
    folder, waited = tmp_path / "r", 0.3
    settings, data = read_settings(whole), load_data_set(photos)
    prepare_folder(folder, settings, data, {})

    def wait_and_stop(_: Progress) -> None:
        time.sleep(waited)
        os.kill(os.getpid(), signal.SIGTERM)

    began = time.perf_counter()
    for _ in range(2):
        with pytest.raises(StoppedError):
            Run(folder, settings, data).train(workers=0, save_every=100, report=wait_and_stop)
    rows = Run(folder, settings, data).train(workers=0, save_every=100)
    assert 2 * waited <= rows[0]["seconds"]
    assert sum(row["seconds"] for row in rows) <= time.perf_counter() - began  # and those of the first in no other


def test_a_run_that_goes_on_by_other_products_says_so(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another library rounds otherwise: the bits are not those of a run without a stop."""
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    for state in states(folder):
        counters = load_metadata(state)
        counters["settings"]["products"] = "another"
        save_weights(state, load_weights(state), counters)
    assert vipnp("train", "--resume", folder, "--epochs", "4").exit_code == 0
    (told,) = caplog.messages
    assert told.startswith("matrices are multiplied by other libraries than before: the bits are not those of a run")
    assert told.endswith("before: another)")
    assert told in (folder / "log.txt").read_text().splitlines()
    caplog.clear()
    assert vipnp("train", "--resume", folder, "--epochs", "5").exit_code == 0
    assert not caplog.messages


def test_a_run_that_goes_on_with_other_versions_of_libraries_says_so(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    state = states(folder)[-1]
    counters = load_metadata(state)
    recorded = counters["settings"]["versions"]
    assert recorded["numpy"] == np.__version__
    counters["settings"]["versions"] = {**recorded, "numpy": "1.99", "pillow": "9", "python": "3.9", "cores": "77"}
    save_weights(state, load_weights(state), counters)
    for epochs, expected in (("4", ("numpy 1.99", "pillow 9")), ("5", ())):
        caplog.clear()
        assert vipnp("train", "--resume", folder, "--epochs", epochs).exit_code == 0
        found = [re.findall(r"(\w+) [\d.]+, before: ([\d.]+)", line) for line in caplog.messages]
        assert [" ".join(pair) for line in found for pair in line] == list(expected)
    assert "libraries are of other versions than before: the bits need not be" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("name", ["split.csv", "metrics.csv", "classes.txt"])
def test_predictions_replace_no_file_of_the_run(name: str, whole: Path, photos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    before = (folder / name).read_bytes()
    for model in (folder, folder / "best.safetensors"):
        result = vipnp("predict", model, photos, "--csv", folder / name)
        assert result.exit_code == 2
        assert f"error: --csv: {folder / name} is one of the files to read, expected another" in result.output
    assert (folder / name).read_bytes() == before


def test_images_per_second_are_those_of_this_process(photos: Path, tmp_path: Path) -> None:
    """Of a batch that is larger than the set, and of a run that went on within an epoch, they were far more."""
    folder = tmp_path / "r"
    options = ("--epochs", "1", "--img-size", "16", "16", "--backend", "numpy")
    assert vipnp("train", photos, "-o", folder, *options, "--batch-size", "100000").exit_code == 0
    settings = read_settings(folder)
    (tmp_path / "other").mkdir()
    run = Run(tmp_path / "other", settings, load_data_set(photos), Ranks())
    told: list[Progress] = []
    began = time.perf_counter()
    run.train(workers=0, save_every=100, report=told.append)
    assert told[0].images_per_second >= len(run.data.train) / (time.perf_counter() - began)
    assert told[0].images_per_second < 100_000


ODD_NAMES = ["\U0001f4f7", "two\nlines"]
ODD_NAMES += [pytest.param(name, marks=pytest.mark.long) for name in ("del\x7f", "quote'd \"b\\\\", "\x1b[31m")]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_folders_of_any_name_in_utf8(name: str, tmp_path: Path) -> None:
    data = make_folder(tmp_path / name, {"cat": 3, "dog": 3})
    folder = tmp_path / f"run {name}"
    result = vipnp("train", data, "-o", folder, "--epochs", "1", "--img-size", "12", "10", "--backend", "numpy")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert all(line.isprintable() for line in lines)
    if str(folder).isprintable():
        assert shlex.split(lines[-1])[3] == str(folder)
    for command in (("train", "--resume", folder, "--epochs", "2"), ("eval", folder), ("predict", folder, data)):
        assert vipnp(*command).exit_code == 0


def test_a_folder_that_is_no_utf8_is_refused_before_any_work(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "caf\udce9", {"cat": 3, "dog": 3})
    result = vipnp("train", data, "-o", tmp_path / "r", "--epochs", "1", "--backend", "numpy")
    assert result.exit_code == 2
    assert result.output.startswith("error: data: got '")
    assert result.output.endswith("expected UTF-8, in which config.toml is written: rename it\n")
    assert not (tmp_path / "r").exists()


def test_photos_whose_names_are_no_utf8(whole: Path, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "d"
    for name in ("cat", "dog", "emu"):
        (data / name).mkdir(parents=True)
        for i, end in enumerate(("\udce9", "\x1b[31m", "\n")):
            shutil.copy(photos / name / f"{i}.png", data / name / f"{i}{end}.png")
    result = vipnp("predict", whole, data, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 9
    assert all(line.isprintable() for line in result.output.splitlines())
    assert "cat/0\\udce9.png,1," in (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert f"{data}/cat/0\udce9.png" in [row["file"] for row in json.loads((tmp_path / "a.json").read_text())]
    folder = tmp_path / "r"
    options = ("--epochs", "1", "--img-size", "16", "16", "--backend", "numpy", "--validation", "0.9")
    assert vipnp("train", data, "-o", folder, *options).exit_code == 0
    result = vipnp("eval", folder)
    assert result.exit_code == 0, result.output
    (evaluated,) = folder.glob("eval-*/predictions.csv")
    assert "0\\udce9.png" in evaluated.read_text(encoding="utf-8")
    pages = tmp_path / "pages"
    assert vipnp("explain", whole, data / "cat" / "0\udce9.png", "-o", pages).exit_code == 0
    assert "0\\udce9.png" in (pages / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "metrics.csv", "log.txt"])
def test_a_file_for_reading_alone_that_an_epoch_writes_is_told_before_it(
    name: str, whole: Path, open_folder: Path
) -> None:
    folder = Path(shutil.copytree(whole, open_folder / "r"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    check_contents(folder)
    (folder / name).chmod(0o444)
    with as_nobody(), pytest.raises(ValueError, match=rf"run: .*{name} cannot be written, which is with every epoch"):
        check_contents(folder)


def test_states_that_cannot_be_listed_are_not_none(whole: Path, open_folder: Path) -> None:
    """A run without states and figures begins again, and replaces the best weights."""
    folder = open_folder / "r"
    shutil.copytree(whole, folder)
    (folder / "state").chmod(0)
    with as_nobody(), pytest.raises(PermissionError, match="state"):
        states(folder)
    assert states(open_folder / "none") == []


def test_a_run_whose_states_were_taken_away_does_not_begin_again(whole: Path, tmp_path: Path) -> None:
    """They take three times the space of the weights; without them its best weights and curves would be replaced."""
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    shutil.rmtree(folder / "state")
    for options in ((), ("--epochs", "5"), ("--epochs", "1")):
        result = vipnp("train", "--resume", folder, *options)
        assert result.exit_code == 2
        assert result.output == (
            f"error: run: {folder} has done epochs, and no state in {folder / 'state'} to go on from: it would begin "
            f"again and replace its best weights; begin another run with --output, from them with --weights {folder}\n"
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_a_run_that_was_killed_before_its_first_state_begins_again(whole: Path, tmp_path: Path) -> None:
    """With weights of its first epoch and no figures: those are written after the state."""
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    shutil.rmtree(folder / "state")
    (folder / "metrics.csv").unlink()
    assert vipnp("train", "--resume", folder).exit_code == 0
    assert_same_bits(folder, whole)


def test_images_that_have_moved_are_evaluated_where_they_are(photos: Path, tmp_path: Path) -> None:
    """Divided as for the run, also where its share and seed are not the usual ones: none that it was trained on."""
    folder, before, after = tmp_path / "r", tmp_path / "before", tmp_path / "after"
    shutil.copytree(photos, before)
    options = ("--epochs", "1", "--img-size", "16", "16", "--backend", "numpy", "--validation", "0.4", "--seed", "3")
    assert vipnp("train", before, "-o", folder, *options).exit_code == 0
    before.rename(after)
    for command, end in (
        (("eval", folder), f"evaluate others by vipnp eval {folder} --data FOLDER\n"),
        (("train", "--resume", folder), f"write where they are now into {folder / 'config.toml'}, as data\n"),
    ):
        result = vipnp(*command)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: data: there is no folder '{before}'")
        assert result.output.endswith(f"put them back, or {end}")
    config = folder / "config.toml"
    config.write_text(config.read_text().replace(str(before), str(after)))
    assert vipnp("train", "--resume", folder, "--epochs", "2").exit_code == 0
    config.write_text(config.read_text().replace(str(after), str(before)))
    held_out = {line.split(",")[0] for line in (folder / "split.csv").read_text().splitlines() if "validation" in line}
    for model in (folder, folder / "best.safetensors", folder / "last.safetensors"):
        assert "accuracy" in vipnp("eval", model, "--data", after, "--backend", "numpy").output
        (evaluated,) = folder.glob("eval-*/predictions.csv")
        assert {json.dumps(row["file"]) for row in rows_of(evaluated)} == held_out
        shutil.rmtree(evaluated.parent)
    copied = Path(shutil.copy(folder / "best.safetensors", tmp_path / "copied.safetensors"))
    assert vipnp("eval", copied, "--data", after, "--backend", "numpy").exit_code == 0
    (evaluated,) = tmp_path.glob("eval-*/predictions.csv")
    assert {json.dumps(row["file"]) for row in rows_of(evaluated)} == held_out


@pytest.mark.parametrize("division", [[], {"share": 0.2}, 0.2, None])
def test_a_division_of_another_kind_is_refused(whole: Path, photos: Path, tmp_path: Path, division: Any) -> None:
    file = tmp_path / "w.safetensors"
    said = {**load_metadata(whole / "best.safetensors"), "division": division}
    save_weights(file, load_weights(whole / "best.safetensors"), said)
    result = vipnp("eval", file, "--data", photos)
    assert (result.exit_code, result.output) == (
        2,
        f"error: model: {str(file)!r} has metadata of another kind (division)\n",
    )


def test_weights_that_do_not_say_what_they_were_trained_on(whole: Path, photos: Path, tmp_path: Path) -> None:
    """Saved from Python, or written elsewhere: a part of the same images would be no test, which is told."""
    file = tmp_path / "w.safetensors"
    load(whole / "best.safetensors").save(file)
    result = vipnp("eval", file, "--data", photos, "--backend", "numpy")
    assert result.stderr.startswith(
        f"{file} does not say what it was trained on; where that is of {photos}, give other"
    )
    assert " does not say " not in vipnp("eval", file, "--data", photos, "--all", "--backend", "numpy").stderr


def test_all_images_of_another_folder(whole: Path, tmp_path: Path) -> None:
    """A test set of its own: by default a part of it, which is said, and all of it where that is asked for."""
    folder, other = tmp_path / "r", tmp_path / "test"
    shutil.copytree(whole, folder)
    make_folder(other, {"cat": 5, "dog": 3, "emu": 2}, (20, 18))
    part = vipnp("eval", folder, "--data", other, "--backend", "numpy")
    assert re.search(r" on [2-8] images held out of 10; details in ", part.output), part.output
    every = vipnp("eval", folder, "--data", other, "--all", "--backend", "numpy")
    assert " on 10 images; details in " in every.output, every.output
    for options, message in (
        (("--all",), "--all: got no --data, expected a folder of other images than the run's own"),
        (("--all", "--data", "digits"), "--all: got digits, which has a part for training, expected one folder of"),
    ):
        result = vipnp("eval", folder, *options)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: {message}")


def test_weights_that_name_no_classes_are_evaluated_on_folders_in_order(whole: Path, tmp_path: Path) -> None:
    """As published weights are on ImageNet's folders; where there are more, nobody knows which is which."""
    (tmp_path / "w").mkdir()
    model = load(whole / "best.safetensors")
    model.classes = None
    model.save(tmp_path / "w" / "m.safetensors")
    folders = {"n01": 3, "n02": 2, "n03": 4}
    others = make_folder(tmp_path / "test", folders, (20, 18))
    result = vipnp("eval", tmp_path / "w" / "m.safetensors", "--data", others, "--all")
    line = "does not name its classes: the folders are taken for them in order, from n01 for 0 to n03 for 2\n"
    assert result.stderr.endswith(f"m.safetensors {line}")
    rows = rows_of(Path(result.stdout.strip().rpartition(" in ")[2]) / "predictions.csv")
    assert {name: sum(row["class"] == name for row in rows) for name in folders} == folders
    for number, name in enumerate(folders):
        (others / name).rename(others / str(number))
    again = vipnp("eval", tmp_path / "w" / "m.safetensors", "--data", others, "--all")
    assert (again.stderr, again.stdout.split(" in ")[0]) == ("", result.stdout.split(" in ")[0])
    for number, name in enumerate(("2", "10", "n9")):
        (others / str(number)).rename(others / f"_{name}")
    for name in ("2", "10", "n9"):
        (others / f"_{name}").rename(others / name)
    result = vipnp("eval", tmp_path / "w" / "m.safetensors", "--data", others, "--all")
    assert result.exit_code == 2
    assert "order for people and in another for programs (10 before 2, B before a): call them 0, 1, 2" in result.output
    for number, name in enumerate(("2", "10", "n9")):
        (others / name).rename(others / f"_{number}")
    for number in range(3):
        (others / f"_{number}").rename(others / str(number))
    make_folder(others, {"n04": 2}, (20, 18))
    result = vipnp("eval", tmp_path / "w" / "m.safetensors", "--data", others, "--all")
    assert result.output == "error: data: got classes that are not the model's: n04; expected some of 0, 1, 2\n"


def test_published_weights_are_evaluated_by_their_name(tmp_path: Path) -> None:
    result = vipnp("eval", "vip_s7", "--weights", tmp_path / "no.pth", "--data", tmp_path)
    assert result.output == f"error: --weights: there is no file '{tmp_path / 'no.pth'}'\n"


def test_weights_that_stay_are_their_own_average(photos: Path, whole: Path, tmp_path: Path) -> None:
    """With --head-only the rest of the network stays as it is, to the last bit."""
    options = ("--weights", whole, "--head-only", "--ema", "0.9", "--epochs", "2", "--img-size", 16, 16, "-b", "4")
    result = vipnp("train", photos, "-o", tmp_path / "r", *options)
    assert result.exit_code == 0, result.output
    before, after = (load_weights(folder / "best.safetensors") for folder in (whole, tmp_path / "r"))
    other = {name for name, value in after.items() if value.tobytes() != before[name].tobytes()}
    assert other == {"head.weight", "head.bias"}


def test_a_test_set_may_have_fewer_classes_and_no_others(whole: Path, tmp_path: Path) -> None:
    """The answers are counted by name: of two classes that are not the model's first two, too."""
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    others = make_folder(tmp_path / "test", {"dog": 3, "emu": 2}, (20, 18))
    result = vipnp("eval", folder, "--data", others, "--all", "--backend", "numpy")
    assert " on 5 images, of 2 of the model's 3 classes; details in " in result.output, result.output
    rows = rows_of(Path(result.output.strip().rpartition(" in ")[2]) / "predictions.csv")
    assert {row["class"] for row in rows} == {"dog", "emu"}
    assert all(row["file"].startswith(row["class"]) for row in rows)
    right = np.mean([row["class"] == row["answer"] for row in rows])
    assert result.output.startswith(f"accuracy {right:.2%} on")
    shutil.move(others / "emu", tmp_path / "emu")
    alone = vipnp("eval", folder, "--data", others, "--all", "--backend", "numpy")
    assert " on 3 images, of 1 of the model's 3 classes; details in " in alone.output, alone.output
    (others / "dog").rename(others / "hog")
    result = vipnp("eval", folder, "--data", others, "--all", "--backend", "numpy")
    assert result.exit_code == 2
    assert result.output == ("error: data: got classes that are not the model's: hog; expected some of cat, dog, emu\n")


def test_the_settings_of_another_program_are_not_a_run(whole: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(whole / "best.safetensors", tmp_path / "my.safetensors")
    (tmp_path / "config.toml").write_text("[server]\nport = 80\n")
    result = vipnp("eval", tmp_path / "my.safetensors", "--data", photos, "--backend", "numpy")
    assert result.exit_code == 0, result.output


def test_two_evaluations_of_one_second_have_a_folder_each(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    monkeypatch.setattr(time, "strftime", lambda _: "eval-now")
    for name in ("eval-now", "eval-now-2", "eval-now-3"):
        assert vipnp("eval", folder, "--backend", "numpy").output.endswith(f"{folder / name}\n")


def test_resume_with_other_images_names_them(whole: Path, photos: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "d", tmp_path / "r"
    shutil.copytree(photos, data)
    shutil.copytree(whole, folder)
    settings = dataclasses.replace(read_settings(folder), data=str(data))
    (folder / "config.toml").write_text(settings.to_toml({}))
    for number in range(4):
        (data / "cat" / f"{number}.png").rename(data / "cat" / f"new, {number}.png")
    (data / "dog" / "0.png").rename(data / "emu" / "100.png")
    result = vipnp("train", "--resume", folder)
    assert result.exit_code == 2
    found = re.fullmatch(
        r"error: --resume: got other images than the run began with: 5 new \((.*) and 2 more\), 5 missing \((.*) and 2 "
        r"more\); expected the same: put back what is missing and take out what is new, or begin another run with "
        r"--output\n",
        result.output,
    )
    assert found, result.output
    new = {f"cat/new, {number}.png" for number in range(4)} | {"emu/100.png"}
    missing = {f"cat/{number}.png" for number in range(4)} | {"dog/0.png"}
    for group, expected in enumerate((new, missing), start=1):
        assert set(re.findall(r"\w+/[\w, ]+\.png", found[group])) <= expected


def test_a_finished_run_says_so(whole: Path, tmp_path: Path) -> None:
    """It told its best accuracy as if it had trained."""
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    result = vipnp("train", "--resume", folder)
    assert result.exit_code == 0
    line = f"all 3 epochs are done; to train on: vipnp train --resume {folder} --epochs M, with more of them"
    assert line in result.output.splitlines()
    assert_same_bits(whole, folder)
    assert "epochs are done" not in vipnp("train", "--resume", folder, "--epochs", 4).output


def test_the_loss_that_is_told_is_that_of_the_epoch(whole: Path) -> None:
    """It was the last step's, and that in metrics.csv and curves.png the mean over the epoch."""
    told = re.findall(r"^epoch .* loss ([\d.]+) ", (whole / "log.txt").read_text(), re.MULTILINE)
    assert told == [f"{float(row['loss']):.4f}" for row in rows_of(whole / "metrics.csv")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "expected DATA and --output FOLDER, or --resume FOLDER"),
        (("train", "{photos}", "-o", "{whole}"), "holds a run already"),
        (("train", "{photos}", "-o", "{photos}/cat/0.png"), "is a file, expected a folder"),
        (("train", "{photos}", "-o", "{tmp}/r", "--lr", "-1"), "lr: got -1.0, expected a number in [0, 1000000]"),
        (
            ("train", "{photos}", "-o", "{tmp}/r", "--img-size", "0", "16"),
            "error: img_size: got 0, expected an",
        ),
        (("train", "{photos}", "-o", "{tmp}/r", "--img-size", "9", "99999"), "error: img_size: got 99999, expected"),
        (("train", "{photos}", "-o", "{tmp}/r", "--backend", "array_api"), "error: backend: got 'array_api', expected"),
        (("train", "{photos}", "-o", "{tmp}/r", "--backend", "nunpy"), "numba, numpy, cupy (did you mean 'numpy'?)"),
        (("train", "{photos}", "-o", "{tmp}/r", "--mixup", "1e308"), "error: mixup: got 1e+308, expected a number in"),
        (
            ("train", "{photos}", "-o", "{tmp}/r", "--seed", str(2**64)),
            f"error: seed: got {2**64}, expected an",
        ),
        (("train", "{photos}", "-o", "{tmp}/r", "--validation", "1"), "error: validation: got 1.0, expected a number"),
        (("train", "{photos}", "-o", "{tmp}/r", "--scale", "0.9", "0.5"), "error: scale: got (0.9, 0.5), expected 0 <"),
        (("train", "{photos}", "-o", "{tmp}/r", "--recipe", "smal"), "did you mean 'small'?"),
        (("train", "{photos}", "-o", "{tmp}/r", "--img-size", "16", "15"), "img_size: got (16, 15), expected sides"),
        (("train", "{photos}", "-o", "{tmp}/r", "--model", "vip_s8"), "vip_m7, vip_l7 (did you mean 'vip_s7'?)"),
        (
            ("train", "{photos}", "-o", "{tmp}/r", "--crop-pct", "7"),
            "crop_pct: got 7.0, expected a number in [0.01, 1]",
        ),
        (("train", "{photos}", "-o", "{tmp}/r", "--config", "{tmp}/none.toml"), "none.toml cannot be read (No such"),
        (("train", "--resume", "{tmp}"), "holds no config.toml: it is no run folder"),
        (("eval", "{tmp}"), "holds no best.safetensors"),
        (("predict", "{whole}", "x" * 300), "error: " + "x" * 38 + "..." + "x" * 38 + ": File name too long"),
        (("predict", "{whole}", "{photos}/cat/0.png", "--csv", "{photos}/cat/0.png"), "is one of the files to read"),
        (("predict", "{whole}", "{photos}", "--json", "{whole}/best.safetensors"), "is one of the files to read"),
        (("train", "{photos}", "-o", "{photos}/run"), "run lies among the images in"),
        (("train", "{photos}", "-o", "{photos}/cat/0.png/run"), "0.png is a file, expected a folder"),
        (("train", "", "-o", "{tmp}/r"), "error: data: got '', expected the name of a file or folder"),
        (("train", "--resume", "{whole}", "--epochs", "2"), "--epochs: got 2, expected 3 or more: so many are done"),
        (("predict", "{whole}", "{tmp}/none.jpg"), "is not there, expected an image or a folder of them"),
        (("predict", "vip_s7", "{photos}/cat/0.png", "--weights", "no.pth"), "--weights: there is no file 'no.pth'"),
        (("predict", "runs/none", "{photos}/cat/0.png"), "model: there is no file or folder 'runs/none', expected a"),
        (("predict", "vip_s7", "{photos}/cat/0.png"), "needs its weights: --weights FILE"),
        (("predict", "{whole}", "{photos}/cat/0.png", "--csv", "{tmp}/no/where.csv"), "--csv: "),
        (("predict", "{state}", "{photos}/cat/0.png"), "is a state to go on from, expected the run's folder or its"),
        (("convert", "{state}", "{tmp}/x.pth"), "is a state to go on from, expected the run's folder or its weights"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], message: str, photos: Path, whole: Path, tmp_path: Path
) -> None:
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    places = {"photos": photos, "whole": whole, "tmp": tmp_path, "state": states(whole)[-1]}
    result = vipnp(*(part.format(**places) for part in arguments))
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.strip().count("\n") == 0
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--model", "vip_s8", "model"),
        ("--interpolation", "best", "interpolation"),
        ("--crop-pct", "7", "crop_pct"),
        ("--weights", "none.pth", "--weights"),
        ("--aa", "x", "aa"),
    ],
)
def test_what_is_wrong_is_told_before_all_images_are_read(
    option: str, value: str, named: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred thousand photographs, that takes minutes."""
    monkeypatch.setattr(start, "unreadable", lambda *_: pytest.fail("the images are read"))
    result = vipnp("train", photos, "-o", tmp_path / "r", *OPTIONS, option, value)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {named}: ")


def test_images_beyond_the_memory_are_refused_before_any_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of 4 pictures of 4096 x 2048, of 3 float32 values a pixel, where a page of memory is lacking."""
    arguments = ["train", photos, "-o", tmp_path / "r", *OPTIONS, "--img-size", "4096", "2048", "--batch-size", "4"]
    needed = 4 * 4096 * 2048 * 3 * 4
    monkeypatch.setattr(start.os, "sysconf", {"SC_PHYS_PAGES": needed // 4096 - 1, "SC_PAGE_SIZE": 4096}.get)
    result = vipnp(*arguments)
    expected = (
        "error: img_size: got (4096, 2048), expected images of which a step of 4 fits into memory: they take 0.4 GB, "
    )
    assert (result.exit_code, result.output) == (2, f"{expected}and this machine has 0.4 GB\n")
    assert not (tmp_path / "r").exists()


def test_two_sides_that_are_none() -> None:
    """Of one number, the next option was taken for the other, and the message named neither."""
    result = vipnp("train", "digits", "--img-size", "96", "-o", "r")
    assert result.exit_code == 2
    assert "got '96 -o', expected height and width, such as 96 128" in " ".join(result.output.split()).replace(
        " │ │ ", " "
    )


def test_an_unknown_key_of_the_file_names_the_nearest(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("epoch = 3\n")
    result = vipnp("train", photos, "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2
    assert "c.toml has 'epoch', which is no option (did you mean 'epochs'?)" in result.output
    for line in (
        "epochs = 'three'",
        "epochs = 2.5",
        "epochs = true",
        "epochs = [1]",
        "img_size = [16, 16.5]",
        "lr = {}",
    ):
        (tmp_path / "c.toml").write_text(line)
        result = vipnp("train", photos, "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
        assert result.exit_code == 2
        assert line.split()[0].replace("_", "-") in result.output
    assert not (tmp_path / "r").exists()


def test_the_file_gives_any_option_and_the_command_line_goes_first(photos: Path, tmp_path: Path) -> None:
    content = f"""
        data = {json.dumps(str(photos))}
        output = {json.dumps(str(tmp_path / "r"))}
        img_size = [8, 12]
        epochs = 7
        mixup = 0.3
        backend = "numpy"
        precision = "float64"
        sched_on_updates = false
    """
    (tmp_path / "c.toml").write_text(content)
    result = vipnp("train", "--epochs", 1, "--config", tmp_path / "c.toml")
    assert result.exit_code == 0, result.output
    settings = read_settings(tmp_path / "r")
    assert (settings.img_size, settings.precision, settings.recipe.mixup) == ((8, 12), "float64", 0.3)
    assert (settings.recipe.epochs, settings.recipe.sched_on_updates) == (1, False)


def test_the_configuration_of_a_run_is_a_file_of_options(whole: Path, tmp_path: Path) -> None:
    """Another run with it has the bits of the first."""
    result = vipnp("train", "--config", whole / "config.toml", "-o", tmp_path / "r", "--workers", 0)
    assert result.exit_code == 0, result.output
    assert read_settings(tmp_path / "r") == read_settings(whole)
    assert (tmp_path / "r" / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize("content", ["lr = " + "[" * 5000 + "]" * 5000, "lr = " + "1" * 5000, "[run]\nlr = 1"])
def test_a_file_of_options_that_is_none_is_named(content: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(content)
    result = vipnp("train", photos, "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2
    assert result.output.startswith(f"error: config: {tmp_path / 'c.toml'} ")


def test_a_pipe_of_options_is_not_waited_for(photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.toml")
    result = vipnp("train", photos, "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2
    assert "c.toml is a folder, a pipe or a device, expected a TOML file" in result.output


@pytest.mark.parametrize("name", ["log.txt", "metrics.csv", "curves.png", "last.safetensors", "state"])
def test_what_is_no_file_of_a_run_is_told_before_any_work(name: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    (shutil.rmtree if (folder / name).is_dir() else os.unlink)(folder / name)
    os.mkfifo(folder / name)
    result = vipnp("train", "--resume", folder, "--epochs", 4)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: run: got {folder / name}, which is no f")
    if name == "metrics.csv":
        result = vipnp("train", "--config", folder / "config.toml", "-o", folder, "--overwrite")
        assert result.output.startswith(f"error: run: got {folder / name}, which is no file")


@pytest.mark.parametrize("name", ["state", "tensorboard"])
def test_a_folder_of_a_run_that_cannot_be_written_is_told_before_any_work(
    name: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    (folder / name).mkdir(exist_ok=True)
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder / name)
    again = ("--config", folder / "config.toml", "-o", folder, "--overwrite")
    for options in (("--resume", folder, "--epochs", "4"), again):
        result = vipnp("train", *options)
        assert (result.exit_code, result.output) == (2, f"error: run: {folder / name} cannot be written\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == kept


def without_record(state: Path) -> None:
    """Make of a state what an older version wrote."""
    counters = load_metadata(state)
    del counters["settings"]
    save_weights(state, load_weights(state), counters)


@pytest.mark.parametrize(("line", "other"), [("batch_size = 5", "batch_size = 2"), ("ema = 0.9", "ema = 0.0")])
def test_a_configuration_that_old_states_do_not_fit(line: str, other: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    for state in states(folder):
        without_record(state)
    assert vipnp("train", "--resume", folder).exit_code == 0
    text = (folder / "config.toml").read_text()
    assert line in text
    (folder / "config.toml").write_text(text.replace(line, other))
    result = vipnp("train", "--resume", folder, "--epochs", 5)
    assert result.exit_code == 2
    assert "config.toml has another batch_size or ema than the last state was made with" in result.output


EDITED = {"lr = 0.002": "lr = 0.001", "weight_decay = 0.05": "weight_decay = 0.0", "batch_size = 5": "batch_size = 2",
          "ema = 0.9": "ema = 0.0", "seed = 0": "seed = 1", "validation = 0.2": "validation = 0.5",
          "img_size = [16, 16]": "img_size = [16, 8]", 'weights = ""': 'weights = "w"', "shards = 8": "shards = 4",
          "scale = [0.35, 1.0]": "scale = [0.5, 1.0]", 'aa = ""': 'aa = "rand-m9-mstd0.5-inc1"'}  # fmt: skip


def test_settings_that_the_states_were_not_made_with_are_named(whole: Path, tmp_path: Path) -> None:
    """Before the images are looked at: another seed would be told as changed images."""
    folder = Path(shutil.copytree(whole, tmp_path / "r"))
    text = (folder / "config.toml").read_text()
    for line, other in EDITED.items():
        assert text.count(f"\n{line}\n") == 1
        (folder / "config.toml").write_text(text.replace(f"\n{line}\n", f"\n{other}\n"))
        (name, was), now = line.split(" = "), other.split(" = ")[1].replace('"', "'")
        was = was.replace('"', "'")
        result = vipnp("train", "--resume", folder)
        assert (result.exit_code, result.output) == (
            2,
            f"error: run: {folder / 'config.toml'} has {name} = {now}, not {was}, with which its states were made: put "
            "it back, or begin another run with --output\n",
        )
    assert {path.name for path in folder.rglob("*")} == {path.name for path in whole.rglob("*")}


def test_settings_that_may_change_before_a_run_goes_on(whole: Path, photos: Path, tmp_path: Path) -> None:
    """Another backend, images that have moved, more epochs."""
    folder, data = tmp_path / "r", tmp_path / "data"
    shutil.copytree(whole, folder)
    shutil.copytree(photos, data)
    text = (folder / "config.toml").read_text()
    for line, other in (
        ('backend = "numpy"', 'backend = "numba"'),
        (json.dumps(str(photos)), json.dumps(str(data))),
        ("epochs = 3", "epochs = 4"),
    ):
        assert line in text
        text = text.replace(line, other)
    (folder / "config.toml").write_text(text)
    settings = read_settings(folder)
    check_recorded(folder, settings, record_of_settings(folder))
    record = record_of_settings(folder)
    assert record["lr"] == settings.recipe.lr
    assert not {"data", "backend", "epochs"} & record.keys()


def test_a_run_that_ended_while_another_read_its_images_is_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*arguments: Any, **options: Any) -> Run:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "config.toml").write_text("another's")
        return new_run(*arguments, **options)

    monkeypatch.setattr(start, "new_run", meanwhile)
    result = vipnp("train", photos, "-o", tmp_path / "r", *OPTIONS)
    assert result.exit_code == 2
    assert "r holds a run already" in result.output
    assert (tmp_path / "r" / "config.toml").read_text() == "another's"


def test_signals_that_are_ignored_stay_so() -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
        assert stop == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every scalar in the events of a run, by its name: records are a length (8 bytes), its checksum
    (4), an event, and a checksum of that (4)."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted((folder / "tensorboard").iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.mark.long
def test_events_for_tensorboard(whole: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    result = vipnp("train", photos, "-o", folder, *OPTIONS, "--tensorboard")
    assert result.exit_code == 0, result.output
    assert_same_bits(whole, folder)
    found, rows = scalars(folder), rows_of(folder / "metrics.csv")
    steps = len(found["loss"])
    assert [step for step, _ in found["loss"]] == list(range(1, steps + 1))
    per_epoch = steps // 3
    assert [step for step, _ in found["accuracy"]] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert [value for _, value in found["accuracy"]] == pytest.approx([float(row["accuracy"]) for row in rows])
    assert found["lr"][-1][1] == pytest.approx(float(rows[-1]["lr"]))
    assert vipnp("train", "--resume", folder, "--epochs", 4, "--tensorboard").exit_code == 0
    assert [step for step, _ in scalars(folder)["accuracy"]] == [k * per_epoch for k in (1, 2, 3, 4)]


def test_a_loss_that_is_not_finite_keeps_the_best_weights(whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    real = VisionPermutator.loss_and_grads
    monkeypatch.setattr(
        VisionPermutator, "loss_and_grads", lambda *args, **kwargs: (np.float32("nan"), real(*args, **kwargs)[1])
    )
    result = vipnp("train", "--resume", folder, "--epochs", 4)
    assert result.exit_code == 1
    assert "the loss of step" in result.output
    assert "learning rate" in result.output
    assert {path.name: path.read_bytes() for path in folder.glob("*.safetensors")} == before


def test_weights_that_blow_up_are_told_with_step_rate_and_norm_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    options = ("--lr", "1e6", "--warmup-epochs", 0, "--clip-grad", 0, "--img-size", 16, 16, "--backend", "numpy")
    result = vipnp("train", photos, "-o", tmp_path / "r", "--epochs", 9, *options)
    assert result.exit_code == 1
    assert re.fullmatch(
        r"error: (the loss of step \d+ is (nan|inf) at learning rate \S+ \(norm of all gradients \S+\)"
        r"|the logits of \S+ are not finite after step \d+, at learning rate \S+); the last state and the best weights "
        r"are kept: try a smaller --lr\n",
        result.stderr,
    ), result.stderr


@pytest.mark.parametrize(("backend", "said"), [("numba", True), ("numpy", False)])
def test_a_terminal_is_told_what_the_first_step_waits_for(
    backend: str, said: bool, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if it were one
    result = vipnp("train", photos, "-o", tmp_path / "r", *OPTIONS, "--epochs", 1, "--backend", backend)
    assert result.exit_code == 0, result.output
    assert ("the first step compiles the kernels" in result.output) == said


# --- eval and predict -------------------------------------------------------------------------------------------------


def test_eval_gives_the_accuracy_of_the_run(whole: Path) -> None:
    result = vipnp("eval", whole, "--backend", "numpy")
    assert result.exit_code == 0, result.output
    best = max(float(row["accuracy"]) for row in rows_of(whole / "metrics.csv"))
    assert f"accuracy {best:.2%} on" in result.output
    output = Path(result.output.strip().rpartition(" in ")[2])
    rows = rows_of(output / "predictions.csv")
    assert np.mean([row["class"] == row["answer"] for row in rows]) == pytest.approx(best)
    assert {path.name for path in output.iterdir()} == {
        "predictions.csv",
        "per_class.csv",
        "confusion.png",
        "worst.png",
    }


def test_a_weight_file_without_a_run_is_evaluated_on_other_images(whole: Path, photos: Path, tmp_path: Path) -> None:
    file = shutil.copy(whole / "best.safetensors", tmp_path / "w.safetensors")
    result = vipnp("eval", file)
    expected = f"error: run: {tmp_path} holds no config.toml, which says of what images: evaluate others by vipnp eval "
    assert (result.exit_code, result.output) == (2, f"{expected}{file} --data FOLDER\n")
    assert vipnp("eval", file, "--data", photos).exit_code == 0


def test_predict_agrees_with_the_model(whole: Path, photos: Path, tmp_path: Path) -> None:
    file = photos / "dog" / "1.png"
    result = vipnp("predict", whole, file, "--topk", 2, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    saved = load_saved(whole)
    logits = saved.model(saved.transform.evaluation(Image.open(file))[None])[0].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum()
    best = np.argsort(-p)[:2]
    answers = json.loads((tmp_path / "a.json").read_text())[0]["answers"]
    assert [answer["class"] for answer in answers] == [saved.classes[k] for k in best]
    assert [answer["probability"] for answer in answers] == pytest.approx(p[best], abs=1e-6)
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3


def test_a_full_disk_loses_no_answer(whole: Path, photos: Path, tmp_path: Path) -> None:
    outputs = ("--csv", "/dev/full", "--json", tmp_path / "answers.json")
    result = vipnp("predict", whole, photos / "cat" / "0.png", *outputs)
    assert result.exit_code == 2
    assert result.stdout.startswith(str(photos / "cat" / "0.png"))
    assert result.stderr == "error: --csv: [Errno 28] No space left on device: '/dev/full'\n"
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 1


def test_a_full_disk_does_not_lose_the_accuracy(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "per_class", full)
    result = vipnp("eval", whole)
    assert result.exit_code == 2
    assert result.stdout.startswith("accuracy ")
    assert result.stderr == "error: No space left on device\n"


@pytest.mark.parametrize("command", ["eval {whole}", "explain {whole} {photos}/cat/0.png -o {tmp}/e",
                                     "train {photos} -o {tmp}/r", "atlas -o {tmp}/a"])  # fmt: skip
def test_pictures_that_cannot_be_drawn_are_told_before_any_work(
    command: str, whole: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    before = sorted(whole.iterdir())
    result = vipnp(*command.format(whole=whole, photos=photos, tmp=tmp_path).split())
    assert result.exit_code == 2
    assert result.output == f'error: {command.split()[0]} needs matplotlib: pip install "vipnp[train]"\n'
    assert sorted(whole.iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_weights_that_cannot_be_written_are_told_before_any_work(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told after the first epoch, which was lost."""
    monkeypatch.setitem(sys.modules, "safetensors", None)
    result = vipnp("train", photos, "-o", tmp_path / "r")
    assert (result.exit_code, result.output) == (2, 'error: train needs safetensors: pip install "vipnp[train]"\n')
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_told_with_its_extra(whole: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    result = vipnp("predict", whole, photos / "cat" / "0.png")
    assert (result.exit_code, result.output) == (2, 'error: PIL is not installed: pip install "vipnp[train]"\n')


def test_pillow_is_named_with_its_extra_from_python_too(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for read in (lambda: open_image(photos / "cat" / "0.png"), lambda: load_data_set(photos).train.picture(0, 3),
                 lambda: load_data_set("digits").train.picture(0, 1), lambda: load_data_set("phototiles")):  # fmt: skip
        with pytest.raises(ImportError, match=r'needs PIL: pip install "vipnp\[train\]"'):
            read()


@pytest.mark.parametrize(
    ("package", "advice"),
    [
        ("rich.table", ': pip install "vipnp[train]"'),
        ("latex2mathml", ': pip install "vipnp[audit]"'),
        ("flint", ': pip install "vipnp[audit]"'),
        ("mpi4py", ': pip install "vipnp[mpi]"'),
        ("of_somebody_else", ""),
    ],
)
def test_a_missing_package_is_told_with_the_extra_that_brings_it(package: str, advice: str) -> None:
    missing = ModuleNotFoundError(f"No module named {package!r}", name=package)
    assert reason(missing) == f"{package.split('.')[0]} is not installed{advice}"


def test_a_share_to_hold_out_that_is_not_used_is_told(tmp_path: Path) -> None:
    options = ("--epochs", "1", "--img-size", "16", "16", "--backend", "numpy")
    for part in ("train", "val"):
        make_folder(tmp_path / "d" / part, {"cat": 3, "dog": 2}, (20, 18))
    asked = vipnp("train", tmp_path / "d", "-o", tmp_path / "r", *options, "--validation", "0.3")
    assert asked.stderr == "validation: 0.3 is not used: the data comes divided, with 50.0% held out\n"
    assert vipnp("train", tmp_path / "d", "-o", tmp_path / "s", *options).stderr == ""
    assert vipnp("train", tmp_path / "d" / "train", "-o", tmp_path / "t", *options, "--validation", "0.3").stderr == ""


def test_the_channels_of_a_picture_are_those_of_colour_or_grey(photos: Path) -> None:
    for split in (load_data_set(photos).train, load_data_set("digits").train):
        assert [split.picture(0, channels).mode for channels in (1, 3)] == ["L", "RGB"]
        with pytest.raises(ValueError, match="channels: got 2, expected 3 or 1"):
            split.picture(0, 2)


def test_a_run_in_float64_writes_its_weights_in_float64(photos: Path, tmp_path: Path) -> None:
    """They were rounded to float32, and evaluated so."""
    folder = tmp_path / "r"
    assert vipnp("train", photos, "-o", folder, *OPTIONS, "--precision", "float64").exit_code == 0
    last = last_weights(folder)  # with their average, which is what is evaluated and written
    for name, value in load_weights(folder / "last.safetensors").items():
        assert np.array_equal(value, last[f"ema/{name}"]), name
    assert load(folder / "best.safetensors").dtype == "float64"


def test_an_evaluation_puts_no_pictures_among_the_images(whole: Path, photos: Path, tmp_path: Path) -> None:
    others = Path(shutil.copytree(photos, tmp_path / "d"))
    shutil.copy(whole / "best.safetensors", others / "best.safetensors")
    before = sorted(others.rglob("*"))
    result = vipnp("eval", others / "best.safetensors", "--data", others)
    assert result.exit_code == 2
    assert f"model: {others} lies among the images in {others}" in result.output
    assert sorted(others.rglob("*")) == before


@pytest.mark.parametrize("below", ["", "cat", "cat/new"])
def test_an_explanation_puts_no_pictures_among_the_images(below: str, whole: Path, photos: Path) -> None:
    """They would be of its class, and the run could not go on."""
    before = sorted(photos.rglob("*"))
    for model in (whole, whole / "best.safetensors"):
        result = vipnp("explain", model, photos / "cat" / "0.png", "-o", photos / below)
        assert result.exit_code == 2
        assert f"error: --output: {photos / below} lies among the images in {photos}, expected" in result.output
    assert sorted(photos.rglob("*")) == before


def test_weights_are_not_converted_over_themselves(whole: Path, tmp_path: Path) -> None:
    """A checkpoint of PyTorch would lose the state of its optimiser."""
    shutil.copy(whole / "best.safetensors", tmp_path / "w.safetensors")
    result = vipnp("convert", tmp_path / "w.safetensors", tmp_path / "w.safetensors", "--overwrite")
    assert result.exit_code == 2
    assert "is one of the files to read" in result.output


def test_predict_passes_over_no_folder_in_silence(whole: Path, photos: Path, open_folder: Path) -> None:
    shutil.copytree(photos, open_folder / "d")
    (open_folder / "d" / "cat" / "._0.png").write_bytes(b"what some systems put beside a photo")
    (open_folder / "d" / "more").symlink_to(photos)
    weights = shutil.copy(whole / "best.safetensors", open_folder)
    result = vipnp("predict", weights, open_folder / "d")
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 48
    (open_folder / "d" / "dog").chmod(0)
    try:
        with as_nobody():
            result = vipnp("predict", weights, open_folder / "d")
    finally:
        (open_folder / "d" / "dog").chmod(0o700)
    assert (result.exit_code, result.output) == (2, f"error: {open_folder}/d/dog: Permission denied\n")


def test_images_that_come_out_nearly_black_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(5):
            Image.fromarray(np.full((16, 16), 800 * i, np.uint16)).save(tmp_path / "d" / name / f"{i}.tif")
    result = vipnp("train", tmp_path / "d", "-o", tmp_path / "r", *OPTIONS, "--epochs", "1")
    assert result.exit_code == 0, result.output
    (line,) = caplog.messages
    assert line.startswith(
        "nearly black: of the 10 grey images of more than 8 bits the brightest pixel has 4.9% of white"
    )


def test_predict_skips_broken_files_only_when_asked(whole: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "cat" / "0.png", tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"")
    shutil.copy(tmp_path / "good.png", tmp_path / "a.png")
    (tmp_path / "photo.heic").touch()
    result = vipnp("predict", whole, tmp_path, "--csv", tmp_path / "o.csv")
    assert result.exit_code == 2
    assert "bad.png: is no whole image" in result.output
    assert result.output.endswith(" (--skip-unreadable leaves it out)\n")
    assert result.output.startswith("passed over, since their names are no images': 1 .heic\n")
    assert f"\n{tmp_path / 'a.png'}: " in result.output  # the answers before it are not lost
    assert not (tmp_path / "o.csv").exists()
    result = vipnp("predict", whole, tmp_path, "--skip-unreadable")
    assert result.exit_code == 0
    assert "good.png: " in result.output
    result = vipnp("predict", whole, tmp_path / "bad.png", "--skip-unreadable", "--csv", tmp_path / "o.csv")
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, "error: images: none of 1 can be read")
    assert not (tmp_path / "o.csv").exists()


def test_eval_skips_broken_files_only_when_asked(whole: Path, photos: Path, tmp_path: Path) -> None:
    others = Path(shutil.copytree(photos, tmp_path / "d"))
    (others / "cat" / "bad.png").write_bytes(b"")
    (others / "dog" / "photo.heic").touch()
    result = vipnp("eval", whole, "--data", others, "--all")
    assert result.exit_code == 2
    assert result.stderr.startswith("passed over, since their names are no images': 1 .heic\n")
    assert "bad.png: is no whole image" in result.stderr
    assert result.stderr.endswith(" (--skip-unreadable leaves it out)\n")
    result = vipnp("eval", whole, "--data", others, "--all", "--skip-unreadable")
    assert result.exit_code == 0, result.output
    assert f"skipped: {others / 'cat' / 'bad.png'}: is no whole image" in result.stderr
    everything = vipnp("eval", whole, "--data", photos, "--all")
    assert result.stdout.partition(";")[0] == everything.stdout.partition(";")[0]
    for file in others.rglob("*.png"):
        file.write_bytes(b"")
    result = vipnp("eval", whole, "--data", others, "--all", "--skip-unreadable")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, "error: data: none of 25 images can be read")


def test_a_weight_file_that_says_nothing_of_its_model(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"x": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="fits no published model"):
        load_saved(tmp_path / "w.safetensors")


# --- recipe -----------------------------------------------------------------------------------------------------------


def test_the_published_learning_rates() -> None:
    recipe = recipe_from("vip-imagenet", {}, "vip_l7")
    assert (recipe.passes, recipe.drop_path, recipe.crop_pct) == (310, 0.3, 0.875)
    expected = {0: 1e-6, 1: 1.009e-4, 10: 1.0e-3, 19: 1.9e-3, 20: 1.978e-3, 150: 1.005e-3, 299: 1.005e-5}
    for epoch, lr in expected.items():
        for step in (0, 625, 1250):
            assert recipe.learning_rate(epoch + step / 1251) == pytest.approx(lr, rel=1e-3)
    assert {recipe.learning_rate(epoch) for epoch in range(300, 310)} == {1e-5}
    assert recipe_from("vip-imagenet", {"sched_on_updates": True}).learning_rate(0.5) > 5e-5
    assert recipe_from("vip-imagenet", {"drop_path": 0.05}, "vip_l7").drop_path == 0.05


def test_a_cooldown_follows_the_epochs(photos: Path, tmp_path: Path) -> None:
    options = ("--epochs", 2, "--cooldown-epochs", 1, "--no-sched-on-updates", "--warmup-epochs", 1,
               "--img-size", 16, 16, "--backend", "numpy")  # fmt: skip
    result = vipnp("train", photos, "-o", tmp_path / "r", *options)
    assert result.exit_code == 0, result.output
    assert "epoch   3/3" in result.output
    rates = [float(row["lr"]) for row in rows_of(tmp_path / "r" / "metrics.csv")]
    assert rates == pytest.approx([1e-6, (1e-5 + 2e-3) / 2, 1e-5])


def test_accumulated_gradients_are_those_of_the_whole_batch(photos: Path, whole: Path, tmp_path: Path) -> None:
    data = load_data_set(photos)
    found = []
    for parts in (1, 3):
        settings = read_settings(whole)
        recipe = dataclasses.replace(settings.recipe, grad_accum_steps=parts, drop_path=0.0)
        run = Run(tmp_path, dataclasses.replace(settings, recipe=recipe), data)
        x = np.random.default_rng(0).standard_normal((7, 3, 16, 16), dtype=np.float32)
        targets = np.eye(3, dtype=np.float32)[np.arange(7) % 3]
        found.append(run._loss_and_grads(x, targets, np.random.default_rng(0)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for name, gradient in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], gradient, rtol=0, atol=3e-6 * np.abs(gradient).max() + 1e-12)


SPOILT = {
    "seed = 0": [('seed = "z"', "seed: got 'z', expected an integer)"), ("seed = -1", "seed: got -1, expected")],
    "img_size = [16, 16]": [("img_size = 16", "img_size: got 16, expected (height, width)"),
                            ("img_size = [16]", "img_size: got (16,), expected (height, width)")],
    "channels = 3": [("channels = 2", "channels: got 2, expected 1 or 3")],
    "validation = 0.2": [("validation = true", "validation: got True, expected a number")],
    'model = "vip_tiny"': [("model = 1", "model: got 1, expected a string")],
    "scale = [0.35, 1.0]": [("scale = 1", "scale: got 1, expected (low, high)")],
    "lr = 0.002": [('lr = "a"', "lr: got 'a', expected a number")],
}  # fmt: skip


@pytest.mark.parametrize(("line", "other", "message"), [(k, *pair) for k, found in SPOILT.items() for pair in found])
def test_a_spoilt_configuration_is_named(line: str, other: str, message: str, whole: Path, tmp_path: Path) -> None:
    """Whatever a field holds, it is the configuration that is told of, not the images that come out otherwise."""
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    config = (folder / "config.toml").read_text()
    assert config.count(f"{line}\n") == 1
    (folder / "config.toml").write_text(config.replace(f"{line}\n", f"{other}\n"))
    result = vipnp("train", "--resume", folder)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: run: {folder / 'config.toml'} is no configuration of a run ({message}")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is no text in UTF-8 ("), (b"a,,unreadable\n", "is no list of a run's images (")],
)
def test_a_spoilt_list_of_images_is_named(content: bytes, message: str, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(whole, folder)
    (folder / "split.csv").write_bytes(content)
    for command in (("train", "--resume"), ("eval",)):
        result = vipnp(*command, folder)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: run: {folder / 'split.csv'} {message}")
        assert result.output.count("\n") == 1


def test_a_recipe_travels_through_its_file(tmp_path: Path) -> None:
    settings = Settings("d", "vip_tiny", (16, 24), 3, 1, 0.3, "numpy", 2, Recipe(lr=1e-4, scale=(0.5, 0.75)))
    (tmp_path / "config.toml").write_text(settings.to_toml({"versions": {"python": "3"}}))
    assert read_settings(tmp_path) == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({name: 1e308}, rf"^{name}: got 1e\+308, expected a number in \[0, 1") for name in LIMITED),
        ({"scale": [0.5, 1.0]}, r"scale: got \[0.5, 1.0\], expected \(low, high\)"),
        ({"scale": (0.5, "1")}, "scale: got '1', expected a number"),
        ({"epochs": 0}, "epochs: got 0, expected an integer >= 1"),
        ({"epochs": True}, "epochs: got True, expected an integer"),
        ({"epochs": 10**400}, r"epochs: got int, expected an integer in \[1, 1000000\]"),
        ({"warmup_epochs": 10**6 + 1}, r"warmup_epochs: got 1000001, expected an integer in \[0, 1000000\]"),
        ({"lr": 10**400}, r"lr: got int, expected a number in \[0, 1000000\]"),
        ({"sched_on_updates": 1}, "sched_on_updates: got 1, expected True or False"),
        ({"aa": "rand"}, "aa: got 'rand', expected a name such as rand-m9-mstd0.5-inc1"),
        ({"smoothing": 1.0}, r"smoothing: got 1.0, expected a number in \[0, 1\)"),
        ({"flip": 1.5}, r"flip: got 1.5, expected a number in \[0, 1\]"),
        ({"mixup": float("nan")}, r"mixup: got nan, expected a number in \[0, 1000000.0\]"),
        ({"mixupp": 1}, r"mixupp: is no option \(did you mean 'mixup'\?\)"),
    ],
)
def test_bad_recipes(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        recipe_from("small", options)


@pytest.mark.parametrize(("size", "patch"), [((8, 8), 2), ((28, 28), 4), ((32, 32), 4), ((64, 64), 8), ((96, 64), 8)])
def test_the_patch_of_the_tiny_model(size: tuple[int, int], patch: int) -> None:
    assert tiny_config(num_classes=3, in_channels=1, image_size=size).patch_size == patch


def test_an_int_stands_for_a_square_and_what_is_no_size_is_refused() -> None:
    assert tiny_config(num_classes=3, in_channels=1, image_size=28).image_size == (28, 28)
    for size, kind, message in (
        ("28", TypeError, "image_size: got '28', expected an integer"),
        (None, TypeError, "image_size: got None, expected an integer"),
        ((28.0, 28), TypeError, "image_size: got 28.0, expected an integer"),
        ((28,), TypeError, r"image_size: got \(28,\), expected \(height, width\)"),
        (0, ValueError, "image_size: got 0, expected an integer >= 1"),
        (10**9, ValueError, "image_size: got 1000000000, expected an integer in"),
    ):
        with pytest.raises(kind, match=message):
            tiny_config(num_classes=3, in_channels=1, image_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["[recipe]\nlr = 0.1\n", "[[recipe]]\nlr = 0.1\n", "lr = {a = 1}\n"])
def test_a_table_where_an_option_is_due_is_called_one(tmp_path: Path, text: str) -> None:
    """Half of a run's config.toml was taken for the option --recipe, whose value nobody had written."""
    (tmp_path / "c.toml").write_text(text)
    result = vipnp("train", "digits", "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert result.exit_code == 2
    assert re.search("c.toml has a table '(recipe|lr)', expected options by name", result.output)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("epochs = true", "epochs = True, expected what its option takes"),
     ("shard_optimizer = 3", "shard_optimizer = 3, expected true or false"),
     ("sched_on_updates = [true]", "sched_on_updates = [True], expected true or false")],
)  # fmt: skip
def test_what_is_true_or_false_and_what_is_not(tmp_path: Path, line: str, expected: str) -> None:
    """The message named neither the file nor what stands in it."""
    (tmp_path / "c.toml").write_text(f"{line}\n")
    result = vipnp("train", "digits", "-o", tmp_path / "r", "--config", tmp_path / "c.toml")
    assert (result.exit_code, result.output) == (2, f"error: config: {tmp_path / 'c.toml'} has {expected}\n")


def test_a_link_to_nothing_is_called_one(whole: Path, tmp_path: Path) -> None:
    link = tmp_path / "loop"
    link.symlink_to(link)
    for arguments, name in ((("predict", whole, link), "images"), (("predict", link, link), "model")):
        result = vipnp(*arguments)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: {name}: {str(link)!r} is a link to what is not there")
