"""Pictures of a run: their format is that of the suffix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vipnp.train.report import confusion, curves

ROWS = [{"epoch": 1, "loss": 2.0, "accuracy": 0.25}, {"epoch": 2, "loss": 1.5, "accuracy": 0.5}]


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
    curves(tmp_path / name, ROWS)
    assert (tmp_path / name).read_bytes().startswith(begin)
    confusion(tmp_path / name, np.eye(3, dtype=np.int64), ["a", "b", "c"])
    assert (tmp_path / name).read_bytes().startswith(begin)
