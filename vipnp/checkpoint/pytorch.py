"""Weight files of PyTorch without PyTorch: the zip archives of today read and written, the format before version 1.6
read."""

from __future__ import annotations

import io
import logging
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from vipnp.checkpoint.pickles import Storage, Tensor, described
from vipnp.core import HostArray
from vipnp.core.checks import listed

ZIP_START, LEGACY_START = b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""How the two formats begin; the second is a pickle of the magic number."""

LEGACY_PROTOCOL = 1001

LONGEST_PICKLE = 2**23
"""Bytes; that of vip_l7 with optimizer and averaged weights has less than a tenth of them."""

MOST_RECORDS = 20_000

_log = logging.getLogger("vipnp")

CONTAINERS = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema", "module", "net", "weights")
"""Under which of its entries a training script keeps the weights; the first that is there is taken, which is said."""

PREFIXES = ("module.", "_orig_mod.")
"""What wrapped models put before every name."""

PROGRAM = "is a TorchScript program, expected weights"


def is_pytorch(contents: bytes) -> bool:
    """Whether a file that begins like this is meant to be one of PyTorch."""
    return contents.startswith((ZIP_START, LEGACY_START))


def read_pytorch(contents: bytes) -> dict[str, HostArray]:
    """{name: array} of the weights in the contents of a PyTorch file; the arrays look into `contents`.

    Nothing in the file is run, and nothing is allocated by a number in it. Usual containers and prefixes around the
    weights are taken off.

    Raises ValueError saying what is wrong, as the rest of a sentence that begins with the name of the file.
    """
    most_operations = 100_000 + len(contents) // 100
    if contents.startswith(ZIP_START):
        return _from_zip(contents, most_operations)
    if contents.startswith(LEGACY_START):
        return _from_legacy(contents, most_operations)
    raise ValueError("is no weight file of PyTorch")


def write_pytorch(file: BinaryIO, tensors: Mapping[str, HostArray]) -> None:
    """Write {name: array of float32 or float64} to an empty `file` as `torch.save` of a state dict does."""
    pickled = [b"\x80\x02", EMPTY_MAPPING, b"("]
    for key, (name, tensor) in enumerate(tensors.items()):
        storage = {"f4": "FloatStorage", "f8": "DoubleStorage"}[tensor.dtype.str[1:]]
        strides = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(tensor.ndim))
        identity = [b"(", _packed("storage"), f"ctorch\n{storage}\n".encode()]
        identity += [_packed(str(key)), _packed("cpu"), _packed(tensor.size), b"tQ"]
        pickled += [_packed(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", *identity, _packed(0)]
        pickled += [_packed(tensor.shape), _packed(strides), b"\x89", EMPTY_MAPPING, b"tR"]
    pickled.append(b"u.")
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", b"".join(pickled))
        _add(archive, file, "byteorder", b"little")
        for key, tensor in enumerate(tensors.values()):
            _add(archive, file, f"data/{key}", tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes())
        _add(archive, file, "version", b"3\n")


EMPTY_MAPPING = b"ccollections\nOrderedDict\n)R"


def _packed(value: str | int | tuple[int, ...]) -> bytes:
    """What a pickle of `value` consists of between its first and its last operation."""
    return pickle.dumps(value, 2)[2:-1]


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, content: bytes) -> None:
    """A record whose content begins at a multiple of 64 bytes, as PyTorch wants it to map a file into memory."""
    info = zipfile.ZipInfo(f"archive/{name}")
    padding = -(file.tell() + 30 + len(info.filename) + 4) % 64
    info.extra = b"FB" + struct.pack("<H", padding) + bytes(padding)
    archive.writestr(info, content)


def unwrapped(found: Any) -> dict[str, Tensor]:
    """The mapping from names to tensors in what a file holds, without its container and common prefixes.

    Raises ValueError if there is none.
    """
    outer: list[int] = []  # a mapping may hold itself
    while isinstance(found, dict) and id(found) not in outer and not any(isinstance(x, Tensor) for x in found.values()):
        outer.append(id(found))
        inner = {name: found[name] for name in CONTAINERS if isinstance(found.get(name), dict)}
        if not inner:
            what = f"no weights under its entries {listed(found)}" if found else "an empty mapping"
            raise ValueError(f"holds {what}, expected a mapping from names to tensors")
        taken = next(iter(inner))
        others = [name for name in inner if name != taken and _has_tensors(inner[name])]
        if others:
            _log.warning("of several sets of weights in the file that of %s is taken, not %s", taken, listed(others))
        found = inner[taken]
    if not isinstance(found, dict):
        raise ValueError(f"holds a {type(found).__name__.lower()}, expected a mapping from names to tensors")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"holds {str(name)[:100]!r} of type {type(tensor).__name__} among its tensors")
    tensors: dict[str, Tensor] = found
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _has_tensors(held: Mapping[Any, Any]) -> bool:
    """Whether a mapping, or one right inside, holds a tensor."""
    inside = (part for part in held.values() if isinstance(part, dict))
    return any(isinstance(x, Tensor) for part in (held, *inside) for x in part.values())


def _arrays(found: Any, numbers: Callable[[Storage], memoryview]) -> dict[str, HostArray]:
    tensors = unwrapped(found)
    views = {tensor.storage.key: numbers(tensor.storage) for tensor in tensors.values()}
    return {name: tensor.over(views[tensor.storage.key]) for name, tensor in tensors.items()}


# --- zip --------------------------------------------------------------------------------------------------------------


def _from_zip(contents: bytes, most_operations: int) -> dict[str, HostArray]:
    records = _records(contents)
    roots = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("is a zip archive without the one data.pkl of a PyTorch file")
    root = roots[0]
    if f"{root}constants.pkl" in records:
        raise ValueError(PROGRAM)
    if f"{root}byteorder" in records and bytes(_record(records, f"{root}byteorder")) != b"little":
        raise ValueError("holds big-endian numbers, expected little-endian")
    pickled = _record(records, f"{root}data.pkl")
    if len(pickled) > LONGEST_PICKLE:
        raise ValueError(f"holds a pickle of {len(pickled)} bytes, expected at most {LONGEST_PICKLE}")
    found, _ = described(io.BytesIO(pickled), most_operations)

    def numbers(storage: Storage) -> memoryview:
        record = _record(records, f"{root}data/{storage.key}")
        if len(record) != storage.numel * storage.dtype.itemsize:
            raise ValueError(f"has {len(record)} bytes for a storage of {storage.numel} numbers of {storage.dtype}")
        return record

    return _arrays(found, numbers)


def _records(contents: bytes) -> dict[str, tuple[memoryview, int]]:
    """Name -> the bytes of every record of a zip archive, and their checksum.

    Records must be stored as they are, which is how PyTorch writes them, and must not overlap: so all of them together
    are no larger than the file.
    """
    if contents.count(b"PK\x01\x02") > MOST_RECORDS:
        raise ValueError(f"is a zip archive of more than {MOST_RECORDS} records")
    try:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, EOFError) as error:
        raise ValueError(f"is no whole zip archive ({str(error)[:100]!r})") from error
    view, records, end = memoryview(contents), dict[str, tuple[memoryview, int]](), 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            if any(other.filename.endswith("/constants.pkl") for other in infos):
                raise ValueError(PROGRAM)
            raise ValueError("is a zip archive with compressed or encrypted records, which PyTorch does not write")
        header = view[max(info.header_offset, 0) :][:30]
        if len(header) < 30 or header[:4] != ZIP_START:
            raise ValueError(f"is a damaged zip archive: {info.filename[:100]!r} is not where it should be")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        if info.header_offset < end or info.filename in records:
            raise ValueError(f"is a zip archive in which {info.filename[:100]!r} overlaps another record")
        end = start + info.file_size
        if end > len(contents):
            raise ValueError(f"is a zip archive in which {info.filename[:100]!r} goes beyond the end")
        records[info.filename] = view[start:end], info.CRC
    return records


def _record(records: Mapping[str, tuple[memoryview, int]], name: str) -> memoryview:
    if name not in records:
        raise ValueError(f"lacks its record {name[:100]!r}")
    found, checksum = records[name]
    if zlib.crc32(found) != checksum:
        raise ValueError(f"is damaged: the checksum of {name[:100]!r} is another")
    return found


# --- before version 1.6 -----------------------------------------------------------------------------------------------


def _from_legacy(contents: bytes, most_operations: int) -> dict[str, HostArray]:
    """Pickles of magic number, protocol, system, weights and the keys of the storages; then every storage: its length
    in eight bytes and its numbers."""
    place = 0
    storages: dict[str, Storage] = {}

    def following() -> Any:
        nonlocal place, storages
        stream = io.BytesIO(contents[place : place + LONGEST_PICKLE])
        found, storages = described(stream, most_operations)
        place += stream.tell()
        return found

    _, protocol, system, found = (following() for _ in range(4))
    described_storages = storages
    keys = following()
    if protocol != LEGACY_PROTOCOL:
        raise ValueError(f"is of an unknown version of PyTorch's legacy format, expected {LEGACY_PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("holds big-endian numbers, expected little-endian")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("has no list of its storages")
    if len(set(keys)) != len(keys) or set(keys) != set(described_storages):
        raise ValueError("has a list of storages that are not those of its tensors")
    views = {}
    for key in keys:
        storage = described_storages[key]
        start, size = place + 8, storage.numel * storage.dtype.itemsize
        if start + size > len(contents):
            raise ValueError(f"ends within a storage of {storage.numel} numbers")
        if int.from_bytes(contents[place:start], "little") != storage.numel:
            raise ValueError(f"has another length than {storage.numel} before a storage of that many numbers")
        views[key] = memoryview(contents)[start : start + size]
        place = start + size
    return _arrays(found, lambda storage: views[storage.key])
