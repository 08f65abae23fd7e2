"""What a run draws and tabulates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vipnp.train import report

ROWS = [{"epoch": 1, "loss": 2.0, "accuracy": 0.25}, {"epoch": 2, "loss": 1.5, "accuracy": 0.5}]
CLASSES = ("cat", "$ dog", "emu")
ROWS = [{"epoch": 1, "loss": 2.0, "accuracy": 0.25}, {"epoch": 2, "loss": 1.5, "accuracy": 0.5}]


def test_a_soft_label_is_printed_from_its_largest_entry_on() -> None:
    assert report.soft_label(np.array([0.004, 0.75, 0.246]), CLASSES) == "$ dog 0.75\nemu 0.25"


def test_the_worst_are_those_whose_class_is_least_likely() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    found = report.worst(labels, logits)
    p = np.exp(logits)[np.arange(40), labels] / np.exp(logits).sum(axis=1)
    assert len(found) == report.SHOWN
    assert list(found) == sorted(range(40), key=lambda i: p[i])[: report.SHOWN]
    i = found[0]
    caption = report.answer_beside_truth("cat/1.png", labels[i], logits[i], CLASSES).split("\n")
    assert caption[0] == "1.png"
    assert caption[1] == f"{CLASSES[labels[i]]} {p[i]:.0%}"
    assert caption[2].startswith(f"said {CLASSES[logits[i].argmax()]} ")


def test_a_gallery_shows_every_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a dollar sign in a caption is one, where two would begin a formula."""
    from matplotlib.axes import Axes

    pictures = [np.full((5, 7, 3), 40 * i, np.uint8) for i in range(6)]
    drawn: list[Any] = []
    real = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, x, **kwargs: (drawn.append(x), real(self, x, **kwargs))[1])
    report.gallery(tmp_path / "g.png", pictures, ["$a_{$"] * 6)
    assert [x.tolist() for x in drawn] == [x.tolist() for x in pictures]
    with Image.open(tmp_path / "g.png") as image:
        assert image.size == (int(9.6 * 120), int(5.4 * 120))


def test_a_class_without_images_has_no_recall_and_one_never_answered_no_precision(tmp_path: Path) -> None:
    """Zeros would say that the model gets them wrong."""
    report.per_class(tmp_path / "c.csv", np.array([[3, 1, 0], [0, 0, 0], [0, 2, 0]]), CLASSES)
    rows = ["class,images,recall,precision", "cat,4,0.7500,1.0000", "$ dog,0,,0.0000", "emu,2,0.0000,"]
    assert (tmp_path / "c.csv").read_text().splitlines() == rows


@pytest.mark.filterwarnings("error")
def test_long_names_leave_the_matrix_its_place(tmp_path: Path) -> None:
    """A class may be called as a file system allows; the layout of the picture collapsed, with a warning."""
    report.confusion(tmp_path / "c.png", np.eye(2, dtype=np.int64), [255 * "a", 80 * "b"])
    with Image.open(tmp_path / "c.png") as image:
        assert np.asarray(image.convert("L")).min() < 128


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("p.png", b"\x89PNG"),
        ("p.pdf", b"%PDF"),
        ("p.svg", b"<?xml"),
        ("p.JPG", b"\xff\xd8\xff"),
        ("p", b"\x89PNG"),
    ],
)
def test_the_format_follows_the_suffix(tmp_path: Path, name: str, begin: bytes) -> None:
    report.curves(tmp_path / name, ROWS)
    assert (tmp_path / name).read_bytes().startswith(begin)
    report.confusion(tmp_path / name, np.eye(3, dtype=np.int64), ["a", "b", "c"])
    assert (tmp_path / name).read_bytes().startswith(begin)
