"""Weights in files: safetensors written and read, PyTorch's format written and read, and no pickle ever run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.checkpoint.pytorch import is_pytorch, read_pytorch, write_pytorch
from vipnp.core import HostArray
from vipnp.core.files import replaced_when_done

METADATA = "vipnp"
"""The key of the header under which our metadata stands, as JSON."""

LONGEST_HEADER = 100_000_000
"""Bytes; what claims a longer header is no safetensors file (the format's own limit)."""


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, HostArray], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write {name: host array}, such as `model.state_dict()`, to the safetensors file `path`.

    metadata : what JSON can hold, kept in the file's header for `load_metadata`.

    A reader sees the old file or the whole new one (`vipnp.core.files`).
    Raises TypeError if `tensors` is no mapping, a name no string or a value no NumPy array of float32 or float64,
    ValueError if one is not finite, OSError where the folder cannot be written, ImportError naming the extra to install
    where safetensors is missing.
    """
    _check_tensors(tensors)
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise _missing_safetensors() from error
    header = None if metadata is None else {METADATA: json.dumps(metadata)}
    contents = save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, header)
    with replaced_when_done(path) as temporary:
        temporary.write_bytes(contents)


def save_pytorch(path: str | os.PathLike[str], tensors: Mapping[str, HostArray]) -> None:
    """Write {name: host array} to the file `path` as `torch.save(state_dict, path)` would; no PyTorch is needed.

    `torch.load(path, weights_only=True)` gives the same names and values back. Like `save_weights`, but such a file has
    no place for metadata.
    """
    _check_tensors(tensors)
    with replaced_when_done(path) as temporary, temporary.open("wb") as file:
        write_pytorch(file, tensors)


def load_weights(path: str | os.PathLike[str]) -> dict[str, HostArray]:
    """{name: host array} of every tensor in the file `path`; give it to `model.load_state_dict`.

    The contents decide, not the name: safetensors, or a file of PyTorch (.pth, .pth.tar, .pt), of which no pickle is
    run. Usual containers, such as "state_dict", and prefixes, such as "module.", are taken off in a PyTorch file. The
    arrays are not to be written.

    Raises FileNotFoundError if there is no such file, ValueError if it is no whole weight file or holds anything but
    weights, such as a whole module, or numbers that NumPy lacks, such as bfloat16, ImportError naming the extra to
    install where safetensors is missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: there is no file {os.fspath(path)!r}")
    # Read first: a file that is mapped into memory and cut short by another process kills this one.
    contents = Path(path).read_bytes()
    if is_pytorch(contents):
        try:
            return read_pytorch(contents)
        except ValueError as error:
            raise ValueError(f"path: {os.fspath(path)!r} {error}") from error
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise _missing_safetensors() from error
    try:
        tensors = dict(sorted(load(contents).items()))  # the library gives them in random order
    except SafetensorError as error:
        raise ValueError(
            f"path: {os.fspath(path)!r} is no whole safetensors file ({error}) and none of PyTorch"
        ) from error
    except (TypeError, KeyError) as error:
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
    """What `save_weights` was given as `metadata`; empty where the file has none of it, as PyTorch's.

    Raises FileNotFoundError if there is no such file, ValueError if it is no whole weight file.
    """
    with open(path, "rb") as file:
        if is_pytorch(file.read(64)):
            return {}
        file.seek(0)
        start = file.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or size > LONGEST_HEADER:
            raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file")
        try:
            found = json.loads(json.loads(file.read(size).decode()).get("__metadata__", {}).get(METADATA, "{}"))
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


def _check_tensors(tensors: Mapping[str, HostArray]) -> None:
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


def _missing_safetensors() -> ImportError:
    return ImportError('weights in files need safetensors: pip install "vipnp[train]"')
