"""PyTorch's weight files without PyTorch: exact values from every container, a clear refusal of everything else."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import small_model
from vipnp import create_model
from vipnp.checkpoint import load_metadata, load_weights, save_pytorch, save_weights, weights_sha256
from vipnp.checkpoint.pytorch import read_pytorch


def tensors_of(model: Any) -> dict[str, torch.Tensor]:
    return collections.OrderedDict((name, torch.from_numpy(value)) for name, value in model.state_dict().items())


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        want = np.asarray(value)
        assert found[name].dtype == want.dtype
        assert found[name].shape == want.shape
        assert found[name].tobytes() == want.tobytes()


CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda tensors: tensors,
    "dict": dict,
    "parameters": lambda tensors: {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()},
    "state_dict": lambda tensors: {"state_dict": tensors, "epoch": 3},
    "model": lambda tensors: {"model": tensors},
    "state_dict_ema": lambda tensors: {"state_dict_ema": tensors, "epoch": 3},
    "twice": lambda tensors: {"model": {"state_dict": tensors}},
    "module.": lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    "_orig_mod.": lambda tensors: {"state_dict": {f"module._orig_mod.{name}": t for name, t in tensors.items()}},
    "timm": lambda tensors: {
        "epoch": 3,
        "arch": "vip_s7",
        "state_dict": tensors,
        "optimizer": {
            "state": {0: {"exp_avg": torch.ones(3), "step": 7}},
            "param_groups": [{"lr": 1e-3, "params": [0]}],
        },
        "args": argparse.Namespace(lr=0.1, aa="rand-m9"),
        "metric": 81.5,
        "state_dict_ema": {name: 2 * tensor for name, tensor in tensors.items()},
    },
}


def saved(content: Any, path: Path, *, legacy: bool = False, **options: Any) -> bytes:
    torch.save(content, path, _use_new_zipfile_serialization=not legacy, **options)
    return path.read_bytes()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_exact_values(container: str, legacy: bool, tmp_path: Path) -> None:
    tensors = tensors_of(small_model())
    contents = saved(CONTAINERS[container](tensors), tmp_path / "w.pth", legacy=legacy)
    assert_same(read_pytorch(contents), tensors)


def test_several_sets_of_weights_in_a_file_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Others load the averaged ones, and their accuracy is another."""
    read_pytorch(saved(CONTAINERS["state_dict"](tensors_of(small_model())), tmp_path / "w.pth"))
    assert not caplog.messages
    read_pytorch(saved(CONTAINERS["timm"](tensors_of(small_model())), tmp_path / "w.pth"))
    assert caplog.messages == ["of several sets of weights in the file that of state_dict is taken, not state_dict_ema"]
    caplog.clear()
    tensors = tensors_of(small_model())
    read_pytorch(saved({"model": {"state_dict": tensors}, "model_ema": {"state_dict": tensors}}, tmp_path / "w.pth"))
    assert caplog.messages == ["of several sets of weights in the file that of model is taken, not model_ema"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickles(protocol: int, tmp_path: Path) -> None:
    tensors = tensors_of(small_model())
    assert_same(read_pytorch(saved(tensors, tmp_path / "w", pickle_protocol=protocol)), tensors)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_types_and_layouts(legacy: bool, tmp_path: Path) -> None:
    numbers = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    tensors = {
        **{str(dtype): torch.tensor([0, 1, 3, 2]).to(dtype) for dtype in (
            torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool
        )},
        "transposed": numbers.permute(2, 0, 1),
        "part of a storage": numbers[1:, ::2, 3],
        "whole storage": numbers,
        "no axes": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "one element": torch.ones(1, 1).expand(1, 1),
    }  # fmt: skip
    assert_same(read_pytorch(saved(tensors, tmp_path / "w", legacy=legacy)), tensors)


def test_the_largest_small_published_model_is_read_where_there_is_no_pytorch(tmp_path: Path) -> None:
    """In a process that cannot import it, and without a copy of the numbers."""
    model = create_model("vip_s7", seed=3)
    code = f"""
import sys
sys.modules["torch"] = None
import tracemalloc
from pathlib import Path
from vipnp.checkpoint import load_metadata, load_weights, save_pytorch, save_weights, weights_sha256
from vipnp.checkpoint.pytorch import read_pytorch
for name in ("zip", "legacy"):
    contents = Path({str(tmp_path)!r}, name).read_bytes()
    tracemalloc.start()
    found = read_pytorch(contents)
    print(weights_sha256(found), tracemalloc.get_traced_memory()[1] < len(contents) / 10)
    tracemalloc.stop()
"""
    for name in ("zip", "legacy"):
        saved({"state_dict": tensors_of(model)}, tmp_path / name, legacy=name == "legacy")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [weights_sha256(model.state_dict()), "True"] * 2


# --- written ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_reads_what_is_written_without_it(dtype: str, tmp_path: Path) -> None:
    model = small_model(dtype=dtype)
    tensors = {
        **model.state_dict(),
        "no axes": np.array(2.5, dtype),
        "empty": np.zeros((0, 3), dtype),
        "turned": np.arange(6, dtype=dtype).reshape(2, 3).T,
    }
    path = tmp_path / "w.pth"
    save_pytorch(path, tensors)
    for mapped in (False, True):
        found = torch.load(path, weights_only=True, mmap=mapped)
        assert type(found) is collections.OrderedDict
        assert_same({name: tensor.numpy() for name, tensor in found.items()}, tensors)
        assert all(tensor.is_contiguous() for tensor in found.values())
        assert all(tensor.data_ptr() % 64 == 0 for tensor in found.values() if mapped and tensor.numel())
    assert_same(load_weights(path), tensors)
    save_pytorch(tmp_path / "again.pth", load_weights(path))
    assert (tmp_path / "again.pth").read_bytes() == path.read_bytes()


def test_both_formats_go_into_each_other_bit_by_bit(tmp_path: Path) -> None:
    tensors = small_model().state_dict()
    save_weights(tmp_path / "a", tensors)
    save_pytorch(tmp_path / "b", load_weights(tmp_path / "a"))
    save_weights(tmp_path / "c", load_weights(tmp_path / "b"))
    assert load_weights(tmp_path / "b").keys() == tensors.keys()
    assert_same(load_weights(tmp_path / "c"), load_weights(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_only_finite_float_tensors_are_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="b: got NaN or infinity, expected finite numbers"):
        save_pytorch(tmp_path / "w.pth", {"b": np.array([np.nan])})
    with pytest.raises(TypeError, match="b: got int64, expected a NumPy array of float32 or float64"):
        save_pytorch(tmp_path / "w.pth", {"b": np.array([1])})
    assert not (tmp_path / "w.pth").exists()


# --- one front door ---------------------------------------------------------------------------------------------------


def test_the_contents_decide_and_not_the_name(tmp_path: Path) -> None:
    tensors = tensors_of(small_model())
    for name, write in {
        "zip.safetensors": lambda path: saved(tensors, path),
        "legacy.safetensors": lambda path: saved(tensors, path, legacy=True),
        "safetensors": lambda path: save_weights(path, small_model().state_dict()),
    }.items():
        write(tmp_path / name)
        path = (tmp_path / name).rename(tmp_path / (name if "." in name else f"{name}.pth"))
        assert_same(dict(sorted(load_weights(path).items())), dict(sorted(tensors.items())))
        assert load_metadata(path) == {}


def test_an_error_names_the_file(tmp_path: Path) -> None:
    saved(small_module(), tmp_path / "module.pth")
    with pytest.raises(ValueError, match=r"^path: '.*module\.pth' asks for 'torch\.nn\.modules\.linear\.Linear'"):
        load_weights(tmp_path / "module.pth")
    saved({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ValueError, match=r"^path: '.*epoch\.pth' holds no weights under its entries epoch, expected"):
        load_weights(tmp_path / "epoch.pth")
    saved({}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"^path: '.*empty\.pth' holds an empty mapping, expected a mapping"):
        load_weights(tmp_path / "empty.pth")
    saved(dict.fromkeys(["\x1b[31mred", *map(str, range(50))]), tmp_path / "names.pth")
    with pytest.raises(ValueError, match=r"its entries \\x1b\[31mred, 0, 1 and 48 more, expected a mapping"):
        load_weights(tmp_path / "names.pth")
    saved([torch.ones(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"^path: '.*list\.pth' holds a list, expected a mapping"):
        load_weights(tmp_path / "list.pth")


def small_module() -> torch.nn.Module:
    return torch.nn.Linear(2, 3)


# --- refusals ---------------------------------------------------------------------------------------------------------


def archive(pickled: bytes, records: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A zip file around a pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as file:
        for name, content in {"data.pkl": pickled, **(records or {})}.items():
            file.writestr(f"a/{name}", content)
    return stream.getvalue()


def tensor_pickle(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    numel: int = 6,
    offset: int = 0,
    storage: bytes = b"ctorch\nFloatStorage\n",
) -> bytes:
    """{"w": a tensor}, protocol 2, by hand."""

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def counts(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    identity = b"(X\x07\0\0\0storage" + storage + b"X\x01\0\0\0\x30X\x03\0\0\0cpu" + number(numel) + b"tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n("
    rebuilt += identity + number(offset) + counts(shape) + counts(strides) + b"\x89NtR"
    return b"\x80\x02}X\x01\0\0\0w" + rebuilt + b"s."


NUMBERS = {"data/0": np.arange(6, dtype=np.float32).tobytes()}


def test_the_hand_written_pickle_is_read_as_a_tensor() -> None:
    """So that the refusals below are for what they change."""
    found = read_pytorch(archive(tensor_pickle((2, 3), (3, 1)), NUMBERS))
    np.testing.assert_array_equal(found["w"], [[0, 1, 2], [3, 4, 5]])
    assert not found["w"].flags.writeable


def test_a_tensor_that_is_negated_when_it_is_read_is_refused(tmp_path: Path) -> None:
    """PyTorch stores the numbers and a mark; we gave them as they are stored."""
    tensor = torch.complex(torch.ones(3), torch.ones(3)).conj().imag
    assert tensor.is_neg()
    with pytest.raises(ValueError, match=r"holds a tensor that PyTorch negates when it reads it; save tensor\.resolve"):
        read_pytorch(saved({"w": tensor}, tmp_path / "w.pth"))
    assert read_pytorch(saved({"w": tensor.resolve_neg()}, tmp_path / "w.pth"))["w"][0] == -1


def nested_key() -> bytes:
    """A mapping whose key is a tuple of tuples of tuples ...: to hash it takes 2**60 steps."""
    return b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns."


REFUSED = {
    "runs a command": (archive(b"cposix\nsystem\n(X\x04\0\0\0truetR."), "asks for 'posix.system', which is no part of"),
    "in the newer protocol": (
        archive(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."),
        "asks for 'builtins.eval'",
    ),
    "calls a number type": (archive(b"ctorch\nFloatStorage\n)R."), "calls torch.FloatStorage, which no weights do"),
    "calls a string": (archive(b"X\x01\0\0\0a)R."), "has a str where a name should be"),
    "class by number": (archive(b"\x80\x02\x82\x01."), "the operation EXT1, which no weights need"),
    "instance": (archive(b"(iposix\nsystem\n."), "the operation INST, which no weights need"),
    "set by state": (archive(b"ctorch\nFloatStorage\n}b."), "has a Name where a dict should be"),
    "memo of four thousand million": (archive(b"\x80\x02Nr\xff\xff\xff\xff."), "holds a nonetype, expected a mapping"),
    "key that takes forever": (archive(nested_key()), "a key of type tuple, expected names or numbers"),
    "long string": (archive(b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"a."), "expected 1099511627776 bytes"),
    "long bytearray": (archive(b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a."), "expected 1099511627776 bytes"),
    "a million lists": (archive(b"\x80\x02" + b"]" * 10**6 + b"."), "more than 11"),
    "no end": (archive(b"\x80\x02}"), "pickle exhausted before seeing STOP"),
    "empty stack": (archive(b"\x80\x02s."), "holds a damaged pickle"),
    "no pickle": (archive(b"\xfe."), "holds a damaged pickle (\"at position 0, opcode"),
    "itself": (archive(b"\x80\x02}q\x00X\x05\0\0\0modelh\x00s."), "holds 'model' of type dict among its tensors"),
    "storage beyond its end": (archive(tensor_pickle((7,), (1,)), NUMBERS), "reaches beyond its storage of 6 numbers"),
    "offset": (archive(tensor_pickle((6,), (1,), offset=1), NUMBERS), "reaches beyond its storage"),
    "huge offset": (archive(tensor_pickle((6,), (1,), offset=2**70), NUMBERS), "has an offset that is no count"),
    "negative offset": (archive(tensor_pickle((6,), (1,), offset=-1), NUMBERS), "has an offset that is no count"),
    "negative stride": (archive(tensor_pickle((6,), (-1,), offset=5), NUMBERS), "has strides that is no count"),
    "negative side": (archive(tensor_pickle((-6,), (1,)), NUMBERS), "has a shape that is no count"),
    "huge by stride 0": (archive(tensor_pickle((2**40,), (0,)), NUMBERS), "whose elements overlap"),
    "overlapping rows": (archive(tensor_pickle((2, 3), (2, 1)), NUMBERS), "whose elements overlap"),
    "many axes": (archive(tensor_pickle((1,) * 9, (1,) * 9), NUMBERS), "no sequence of at most 8 counts"),
    "strides for another shape": (archive(tensor_pickle((2, 3), (1,)), NUMBERS), "of shape (2, 3) with 1 strides"),
    "larger than its record": (archive(tensor_pickle((7,), (1,), numel=7), NUMBERS), "has 24 bytes for a storage of 7"),
    "2**60 numbers": (archive(tensor_pickle((1,), (1,), numel=2**60), NUMBERS), "has 24 bytes for a storage of 11"),
    "no record": (archive(tensor_pickle((6,), (1,))), "lacks its record 'a/data/0'"),
    "bfloat16": (archive(tensor_pickle((6,), (1,), storage=b"ctorch\nBFloat16Storage\n")), "convert it to float32"),
    "unknown type": (archive(tensor_pickle((6,), (1,), storage=b"ctorch\nQInt8Storage\n")), "asks for 'torch.QInt8"),
    "type that is a function": (
        archive(tensor_pickle((6,), (1,), storage=b"ctorch._utils\n_rebuild_parameter\n")),
        "has torch._utils._rebuild_parameter where a number type should be",
    ),
    "compressed": (
        archive(tensor_pickle((6,), (1,)), {"data/0": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED),
        "compressed or encrypted records",
    ),
    "program": (archive(tensor_pickle((6,), (1,)), {**NUMBERS, "constants.pkl": b"."}), "is a TorchScript program"),
    "big-endian": (archive(tensor_pickle((6,), (1,)), {**NUMBERS, "byteorder": b"big"}), "holds big-endian numbers"),
    "two pickles": (archive(tensor_pickle((6,), (1,)), {"../b/data.pkl": b"."}), "without the one data.pkl"),
    "cut": (archive(tensor_pickle((6,), (1,)), NUMBERS)[:-30], "is no whole zip archive"),
    "text": (b"hello", "is no weight file of PyTorch"),
    "nothing": (b"", "is no weight file of PyTorch"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["photo.JPG", "w.safetensors", "a.npz", "notes.txt"])
def test_a_file_of_another_kind_is_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("kept")
    with pytest.raises(
        ValueError, match=r"path: got '.*', expected the name of a file of PyTorch, such as weights\.pth"
    ):
        save_pytorch(tmp_path / name, {"x": np.zeros(3)})
    assert (tmp_path / name).read_text() == "kept"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_pytorch_is_called_so(tmp_path: Path) -> None:
    """It has compressed records, of which files of weights have none."""
    torch.jit.save(torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3)), tmp_path / "p.pt")
    with pytest.raises(ValueError, match="is a TorchScript program, expected weights"):
        load_weights(tmp_path / "p.pt")


@pytest.mark.parametrize("case", REFUSED)
def test_one_clear_error(case: str) -> None:
    contents, message = REFUSED[case]
    tracemalloc.start()
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
        read_pytorch(contents)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
    assert peak < 2 * len(contents) + 40_000_000
