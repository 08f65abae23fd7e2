"""The table of accuracies at other image sizes: what is compared with what."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tools import image_sizes
from tools.image_sizes import FACTORS, Figures, resized, table
from vipnp.data import DataSet, Split


def test_pictures_at_their_own_size_are_as_they_are() -> None:
    images = np.random.default_rng(0).normal(size=(3, 1, 8, 6)).astype(np.float32)
    np.testing.assert_array_equal(resized(images, (8, 6)), images)
    assert resized(images, (12, 3)).shape == (3, 1, 12, 3)
    flat = np.full((2, 1, 8, 6), 0.25, np.float32)
    np.testing.assert_allclose(resized(flat, (6, 9)), 0.25, rtol=1e-6)


def test_the_table_has_means_and_the_spread() -> None:
    found = [Figures("digits", seed, 6, 8, 0.5 + seed / 10, 0.75, 0.25, 1.0) for seed in (0, 1)]
    (row,) = table(found).splitlines()[2:]
    assert row == (
        "| digits | 6 x 8 | 55.0% (50.0% to 60.0%) | 75.0% (75.0% to 75.0%) | 25.0% (25.0% to 25.0%) "
        "| 100.0% (100.0% to 100.0%) |"
    )


def test_every_size_is_measured_and_its_own_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    split = Split(tuple("abcdef"), np.arange(6) % 3, pixels=rng.integers(0, 256, (6, 8, 8), np.uint8))
    monkeypatch.setattr(image_sizes, "load_data_set", lambda _: DataSet(("x", "y", "z"), split, split))
    seen: list[tuple[tuple[int, ...], float]] = []
    monkeypatch.setattr(
        image_sizes, "tuned", lambda model, images, labels, *, lr, **_: seen.append((images.shape[2:], lr))
    )
    assert image_sizes.main(["--data", "digits", "--seeds", "1", "--csv", str(tmp_path / "f.csv")]) == 0
    sizes = [(round(8 * h), round(8 * w)) for h, w in FACTORS]
    tuning = [(s, image_sizes.FINE_TUNING_RATE) for size in sizes for s in dict.fromkeys((size, (8, 8)))]
    assert seen == [((8, 8), image_sizes.LEARNING_RATE), *tuning]
    with (tmp_path / "f.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["height"]), int(row["width"])) for row in rows] == sizes


def test_an_output_that_cannot_be_written_is_told_before_the_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_sizes, "measured", lambda *_: pytest.fail("trained"))
    with pytest.raises(SystemExit):
        image_sizes.main(["--csv", ""])
    assert "--csv: . is a folder, expected the name of a file" in capsys.readouterr().err
