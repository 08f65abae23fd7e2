"""Weights in files: the safetensors format, never pickle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.core import HostArray

METADATA = "vipnp"
"""The key of the header under which our metadata stands, as JSON."""

LONGEST_HEADER = 100_000_000
"""Bytes; what claims a longer header is no safetensors file (the format's own limit)."""


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, HostArray], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write {name: host array}, such as `model.state_dict()`, to the safetensors file `path`.

    metadata : what JSON can hold, kept in the file's header for `load_metadata`.

    The file is written under a temporary name in the same folder and then renamed, so a reader sees the old file or
    the whole new one.
    Raises TypeError if `tensors` is no mapping, a name no string or a value no NumPy array of float32 or float64,
    ValueError if one is not finite, OSError where the folder cannot be written, ImportError naming the extra to install
    where safetensors is missing.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors: got {type(tensors).__name__}, expected a mapping from names to NumPy arrays")
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"tensors: got the name {name!r}, expected a string")
        if not isinstance(tensor, np.ndarray) or tensor.dtype not in (np.float32, np.float64):
            kind = tensor.dtype if isinstance(tensor, np.ndarray) else type(tensor).__name__
            raise TypeError(f"{name}: got {kind}, expected a NumPy array of float32 or float64")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name}: got NaN or infinity, expected finite numbers")
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise _missing_safetensors() from error
    header = None if metadata is None else {METADATA: json.dumps(metadata)}
    contents = save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, header)
    with replaced_when_done(path) as temporary:
        temporary.write_bytes(contents)


def load_weights(path: str | os.PathLike[str]) -> dict[str, HostArray]:
    """{name: host array} of every tensor in the safetensors file `path`; give it to `model.load_state_dict`.

    Raises FileNotFoundError if there is no such file, ValueError if it is no whole safetensors file (a pickle of
    PyTorch is not read) or holds numbers that NumPy lacks, such as bfloat16, ImportError naming the extra
    to install where safetensors is missing.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise _missing_safetensors() from error
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file {os.fspath(path)!r}")
    try:
        tensors = dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file ({error})") from error
    except TypeError as error:
        raise ValueError(
            f"path: {os.fspath(path)!r} holds a number type that NumPy lacks ({error}); convert it to float32 first"
        ) from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "fiub":  # bfloat16, once ml_dtypes has made it known to NumPy
            raise ValueError(
                f"path: {os.fspath(path)!r} holds a number type that NumPy lacks ({name} is {tensor.dtype}); "
                "convert it to float32 first"
            )
    return tensors


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_weights` was given as `metadata`; empty where the file has none of it.

    Raises FileNotFoundError if there is no such file, ValueError if it is no whole safetensors file.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or size > LONGEST_HEADER:
            raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file")
        try:
            found = json.loads(json.loads(file.read(size)).get("__metadata__", {}).get(METADATA, "{}"))
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"path: {os.fspath(path)!r} has metadata that is no mapping")
    return found


def weights_sha256(tensors: Mapping[str, HostArray]) -> str:
    """A digest of names, shapes, dtypes and exact values of {name: host array}, in their order; 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        little_endian = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        digest.update(f"{name} {little_endian.dtype.str} {tensor.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


@contextmanager
def replaced_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that takes its name when the block ends, and is removed if the block fails."""
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _missing_safetensors() -> ImportError:
    return ImportError('weights in files need safetensors: pip install "vipnp[train]"')
