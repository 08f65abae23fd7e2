"""Weights in safetensors files: whole files only, exact values, clear refusals."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.conftest import as_nobody, small_model
from vipnp.checkpoint import load_metadata, load_weights, save_weights, weights_sha256
from vipnp.core.files import replaced_when_done


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip_keeps_every_bit(tmp_path: Path, dtype: str) -> None:
    model, other = small_model(seed=1, dtype=dtype), small_model(seed=2, dtype=dtype)
    save_weights(tmp_path / "w.safetensors", model.state_dict())
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.keys() == model.state_dict().keys()
    other.load_state_dict(loaded)
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(other.state_dict()[name], tensor)
    assert weights_sha256(loaded) == weights_sha256(other.state_dict()) == weights_sha256(model.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_pytorch_reads_our_file_and_we_read_its(tmp_path: Path) -> None:
    model = small_model()
    save_weights(tmp_path / "ours.safetensors", model.state_dict())
    tensors = safetensors.torch.load_file(tmp_path / "ours.safetensors")
    safetensors.torch.save_file({name: 2 * t for name, t in tensors.items()}, tmp_path / "theirs.safetensors")
    twice = load_weights(str(tmp_path / "theirs.safetensors"))
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(twice[name], 2 * tensor)


def test_arrays_that_are_not_contiguous_are_saved_by_value(tmp_path: Path) -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    save_weights(tmp_path / "w.safetensors", {"a": matrix.T, "b": matrix[:, ::2]})
    loaded = load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(loaded["a"], matrix.T)
    np.testing.assert_array_equal(loaded["b"], matrix[:, ::2])


def test_a_tensor_without_axes_keeps_its_shape(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"a": np.array(1.5, np.float32)})
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded["a"].shape == ()
    assert loaded["a"] == np.float32(1.5)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_and_fail() -> None:
        with replaced_when_done(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_and_fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with replaced_when_done(tmp_path / "file") as temporary:
            temporary.write_text("new")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_the_digest_sees_names_shapes_dtypes_and_values_and_no_order() -> None:
    a, b = np.arange(6, dtype=np.float32), np.ones(2, dtype=np.float32)
    changed = a.copy()
    changed[3] = np.nextafter(changed[3], np.float32(9))
    digests = [
        weights_sha256(tensors)
        for tensors in (
            {"a": a, "b": b},
            {"a": a, "c": b},
            {"a": a.reshape(2, 3), "b": b},
            {"a": a.astype(np.float64), "b": b},
            {"a": changed, "b": b},
        )
    ]
    assert len(set(digests)) == len(digests)
    assert weights_sha256({"a": a[::-1][::-1].astype(">f4"), "b": b}) == digests[0]
    assert weights_sha256({"b": b, "a": a}) == digests[0]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"path: there is no file .*none\.safetensors"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(ValueError, match=r"path: .*pickle\.pth' is no whole safetensors file"):
        load_weights(tmp_path / "pickle.pth")
    save_weights(tmp_path / "w.safetensors", {"a": np.ones(9, np.float32)})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-4])
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        load_weights(tmp_path / "cut.safetensors")
    safetensors.torch.save_file({"a": torch.ones(2).bfloat16()}, tmp_path / "bf16.safetensors")
    with pytest.raises(ValueError, match="convert it to float32"):
        load_weights(tmp_path / "bf16.safetensors")
    importlib.import_module("ml_dtypes")
    with pytest.raises(ValueError, match="convert it to float32"):
        load_weights(tmp_path / "bf16.safetensors")
    with pytest.raises(TypeError, match="b: got int64, expected a NumPy array of float32 or float64"):
        save_weights(tmp_path / "x.safetensors", {"a": np.ones(2), "b": np.ones(2, dtype=np.int64)})
    for number in (np.nan, np.inf):
        with pytest.raises(ValueError, match="b: got NaN or infinity, expected finite numbers"):
            save_weights(tmp_path / "x.safetensors", {"a": np.ones(2), "b": np.array([1.0, number])})
    with pytest.raises(TypeError, match="a: got list"):
        save_weights(tmp_path / "x.safetensors", {"a": [1.0]})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="tensors: got list, expected a mapping from names to NumPy arrays"):
        save_weights(tmp_path / "x.safetensors", [np.ones(2)])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tensors: got the name 3, expected a string"):
        save_weights(tmp_path / "x.safetensors", {3: np.ones(2)})  # type: ignore[dict-item]
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.ckpt", "x.BIN", "x.pth.tar", "x.npz"])
def test_the_name_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    """It held a safetensors file, which torch.load and np.load do not read."""
    path = tmp_path / name
    for save in (lambda: save_weights(path, {"a": np.ones(2)}), lambda: small_model().save(path)):
        with pytest.raises(ValueError, match=r"^path: got ") as caught:
            save()
        expected = "expected the name of a safetensors file; vipnp convert makes a .pth of it"
        assert str(caught.value) == f"path: got {str(path)!r}, {expected}"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["photo.PNG", "a.b.jpg", "results.json", "train.py"])
def test_weights_replace_no_file_of_another_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=r"^path: got .*, expected the name of a safetensors file$"):
        save_weights(tmp_path / name, {"a": np.ones(2)})
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"__metadata__": np.ones(2)}, "tensors: got the name '__metadata__', which the format keeps for itself"),
        ({"a": np.ma.masked_array(np.ones(2), [True, False])}, "a: got MaskedArray, expected a NumPy array"),
        ({"a": np.ones(2).view(np.memmap)}, "a: got memmap, expected a NumPy array"),
        ({"a": np.ones(2, ">f4")}, "a: got >f4, expected a NumPy array of float32 or float64"),
        ({"a": np.ones(2, np.float16)}, "a: got float16, expected a NumPy array of float32 or float64"),
        ({"a": np.ones(2, np.longdouble)}, "a: got .*, expected a NumPy array of float32 or float64"),
        ({"\ud800": np.ones(2)}, r"tensors: got the name '\\ud800', expected one that UTF-8 can hold"),
    ],
)
def test_what_a_file_would_not_give_back_is_not_written(
    tmp_path: Path, tensors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        save_weights(tmp_path / "w.safetensors", tensors)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metadata", [[1], {"a": float("nan")}, {"a": object()}])
def test_metadata_that_json_lacks(tmp_path: Path, metadata: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="metadata: "):
        save_weights(tmp_path / "w.safetensors", {"a": np.ones(2)}, metadata)
    assert not list(tmp_path.iterdir())


def file_of(path: Path, header: dict[str, Any], data: bytes) -> Path:
    """A safetensors file by hand."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "BF16", "C64", "Q9"])
def test_number_types_that_numpy_lacks_name_the_file(tmp_path: Path, dtype: str) -> None:
    bits = {"F4": 4, "F6_E2M3": 6, "BF16": 16, "C64": 64}.get(dtype, 8)
    header = {"a": {"dtype": dtype, "shape": [4], "data_offsets": [0, bits // 2]}}
    with pytest.raises(ValueError, match=r"w\.safetensors' (holds a number type|is no whole safetensors file)"):
        load_weights(file_of(tmp_path / "w.safetensors", header, bytes(bits // 2)))


def test_more_axes_than_numpy_has(tmp_path: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}
    with pytest.raises(ValueError, match=r"path: '.*w\.safetensors' holds a tensor that NumPy cannot hold"):
        load_weights(file_of(tmp_path / "w.safetensors", header, bytes(4)))


@pytest.mark.parametrize("read", [load_weights, load_metadata])
def test_what_cannot_be_read_is_not_called_missing(open_folder: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(open_folder / "pipe")
    for path in (open_folder, open_folder / "pipe"):
        with pytest.raises(
            ValueError, match=r"a pipe or a device, expected a file, such as the best\.safetensors of a run"
        ):
            read(path)
    with pytest.raises(OSError, match="cannot be read: File name too long"):
        read(open_folder / ("n" * 300))
    locked = open_folder / "locked"
    locked.write_bytes(b"")
    locked.chmod(0)
    with as_nobody(), pytest.raises(OSError, match="cannot be read: Permission denied"):
        read(locked)


def test_names_from_a_file_cannot_command_the_terminal_or_flood_it(tmp_path: Path) -> None:
    model = small_model()
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    for names in (["\x1b[31mred\x07\r\u202e"], ["n" * 200_000], [f"tensor {i}" for i in range(20_000)]):
        path = file_of(tmp_path / "w.safetensors", dict.fromkeys(names, entry), b"")
        with pytest.raises(ValueError, match="unexpected: ") as caught:
            model.load_state_dict(load_weights(path))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 4000


@pytest.mark.parametrize("tensors", [None, [np.zeros(3)], np.zeros(3), {"a": [0.0]}, {"a": None}])
def test_the_digest_is_of_named_arrays(tensors: Any) -> None:
    with pytest.raises(TypeError, match=r"(tensors|a): got \w+, expected a "):
        weights_sha256(tensors)
