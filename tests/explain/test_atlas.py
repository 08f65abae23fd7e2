"""`vipnp atlas`: the four mixings at equal parameters, their receptive fields, the table and the picture."""

from __future__ import annotations

import csv
import dataclasses
import io
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vipnp import VisionPermutator
from vipnp.cli import app
from vipnp.cli.atlas import mixing_config, step_seconds
from vipnp.data import load_data_set
from vipnp.explain import receptive_fields, watched
from vipnp.explain.atlas import Trained, draw, table
from vipnp.explain.receptive import shares
from vipnp.layers import MIXINGS

IMAGES = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)


def test_all_mixings_have_as_many_parameters() -> None:
    counts = {VisionPermutator(mixing_config("digits", m, (8, 8), 10)).num_parameters for m in MIXINGS}
    assert len(counts) == 1


@pytest.mark.parametrize(
    ("mixing", "seen"), [("plane", (64, 64)), ("line", (15, 64)), ("axial", (9, 31)), ("point", (5, 13))]
)
def test_what_the_middle_token_sees(mixing: str, seen: tuple[int, int]) -> None:
    """How many patches reach it through one block and through two.

    A split attention looks at the mean of the whole plane, so that every patch reaches a token a little: the branches
    are summed here. On 8 x 8, (4, 4) is the middle: two axial shifts reach 33
    places, of which two lie outside.
    """
    config = dataclasses.replace(mixing_config("digits", mixing, (8, 8), 10), fusion="sum")
    twin, tape = watched(VisionPermutator(config, dtype="float64", seed=3))
    twin.vjp(IMAGES.astype(np.float64))
    assert tuple(int((field > 0).sum()) for field in receptive_fields(tape, 1)) == seen


def trained(mixing: str, seed: int, accuracy: float) -> Trained:
    rng = np.random.default_rng(seed)
    fields = [field / field.sum() for field in rng.uniform(size=(4, 8, 8))]
    return Trained("digits", mixing, seed, 5, 7, accuracy, 0.25, fields[:2], fields[2:])


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    found = [trained("line", 0, 0.75), trained("line", 1, 0.5), trained("point", 0, 0.25)]
    rows = list(csv.DictReader(io.StringIO(table(found))))
    assert [row["mixing"] for row in rows] == ["line", "line", "point"]
    assert float(rows[1]["on_lines_after_2"]) == pytest.approx(shares(found[1].after[1], (8, 8))[1], abs=1e-4)
    draw(tmp_path / "atlas.png", found)
    with Image.open(tmp_path / "atlas.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 0


def test_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["atlas", "-o", str(tmp_path), "--data", "cifar"])
    assert (result.exit_code, result.stderr) == (2, "error: --data: got 'cifar', expected one of digits, phototiles\n")
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["atlas", "-o", str(tmp_path / "file")])
    assert result.exit_code == 2
    assert "is a file, expected a folder" in result.stderr


@pytest.mark.parametrize("name", ["atlas.csv", "atlas.png"])
def test_no_file_of_the_users_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of the user\n")
    result = CliRunner().invoke(app, ["atlas", "-o", str(tmp_path), "--data", "digits"])
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: --output: {tmp_path} holds {name} and no table of vipnp atlas: they would be replaced; take another "
        "folder\n"
    )
    assert (tmp_path / name).read_text() == "of the user\n"


def test_no_model_is_lost_whose_line_cannot_be_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An atlas goes in the place of an earlier one; a set that is given twice is trained on once."""
    command = import_module("vipnp.cli.atlas")

    def train_one(name: str, data: object, mixing: str, seed: int, *_: object) -> Trained:
        return dataclasses.replace(trained(mixing, seed, 0.5), data=name)

    def left(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command, "train_one", train_one)
    monkeypatch.setattr(command, "step_seconds", lambda *_: dict.fromkeys(MIXINGS, 0.1))
    arguments = ["atlas", "-o", str(tmp_path), "--data", "digits", "--data", "digits", "--seeds", "1"]
    for _ in range(2):
        assert CliRunner().invoke(app, arguments).exit_code == 0
        assert len((tmp_path / "atlas.csv").read_text().splitlines()) == 1 + len(MIXINGS)
    monkeypatch.setattr(command.typer, "echo", left)
    CliRunner().invoke(app, arguments)
    assert len((tmp_path / "atlas.csv").read_text().splitlines()) == 1 + 1


def test_the_time_of_a_step_is_taken_for_every_mixing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("vipnp.cli.atlas"), "TURNS", 1)
    seconds = step_seconds("digits", load_data_set("digits"))
    assert list(seconds) == list(MIXINGS)
    assert min(seconds.values()) > 0
