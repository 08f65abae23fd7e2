"""What is handed over in the place of a path: one error that names the argument, before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vipnp
from tests.conftest import small_model
from vipnp.checkpoint import load_metadata, load_weights, save_pytorch, save_weights
from vipnp.data import load_data_set

TENSORS = {"a": np.zeros(3, np.float32)}

TAKES_A_PATH: dict[str, Callable[[Any], Any]] = {
    "load": vipnp.load,
    "load_weights": load_weights,
    "load_metadata": load_metadata,
    "save_weights": lambda path: save_weights(path, TENSORS),
    "save_pytorch": lambda path: save_pytorch(path, TENSORS),
    "model.save": lambda path: small_model().save(path),
    "load_data_set": load_data_set,
}


class Returns:
    """An os.PathLike of anything."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __fspath__(self) -> Any:
        return self.value

    def __repr__(self) -> str:
        return f"Returns({self.value!r})"


@pytest.mark.parametrize("function", TAKES_A_PATH)
@pytest.mark.parametrize("path", [None, 3, 0.5, True, b"w", [], {}, np.zeros(2), Returns(b"w"), Returns(3)], ids=repr)
def test_what_is_no_path(function: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=r"^(path|data): got .*, expected a string or an os\.PathLike of one$"):
        TAKES_A_PATH[function](path)
    assert os.listdir() == []


@pytest.mark.parametrize("function", TAKES_A_PATH)
@pytest.mark.parametrize("path", ["", "a\0b", "\ud800", Returns("")], ids=repr)
def test_what_no_file_is_called(function: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^(path|data): got .*, expected the name of a file or folder$"):
        TAKES_A_PATH[function](path)


def test_any_path_of_a_string_is_one(tmp_path: Path) -> None:
    for path in (tmp_path / "w", str(tmp_path / "w"), Returns(str(tmp_path / "w"))):
        save_weights(path, TENSORS)  # type: ignore[arg-type]
        np.testing.assert_array_equal(load_weights(path)["a"], TENSORS["a"])  # type: ignore[arg-type]


def test_a_name_is_checked_before_the_file_is_read(tmp_path: Path) -> None:
    small_model().save(tmp_path / "m")
    for name, error in ((3, TypeError), (b"vip_s7", TypeError), ("vip_s8", ValueError)):
        with pytest.raises(error, match=r"^name: got .*, expected one of vip_"):
            vipnp.load(tmp_path / "m", name=name)  # type: ignore[arg-type]
