"""Weights in files: safetensors written and read, PyTorch's format written and read, and no pickle ever run."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.checkpoint.pytorch import is_pytorch, read_pytorch, write_pytorch
from vipnp.core import HostArray
from vipnp.core.checks import printable, shown
from vipnp.core.files import PICTURES, TEXTS, check_path, replaced_when_done

METADATA = "vipnp"
"""The key of the header under which our metadata stands, as JSON."""

RESERVED = "__metadata__"
"""No tensor of a safetensors file can be called so."""

LONGEST_HEADER = 100_000_000
"""Bytes; what claims a longer header is no safetensors file (the format's own limit)."""

NAMES_OF_OTHERS = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".npy", ".npz")
"""How files of weights in other formats are called."""


def check_safetensors_name(option: str, path: str | os.PathLike[str]) -> None:
    """Raise ValueError, naming the option or argument, for a file that would be taken for one of another format."""
    name = check_path(option, path)
    hint = "; vipnp convert makes a .pth of it" if name.lower().endswith(NAMES_OF_OTHERS) else ""
    if hint or Path(name).suffix.lower() in PICTURES | TEXTS:
        raise ValueError(f"{option}: got {name!r}, expected the name of a safetensors file{hint}")


def save_weights(
    path: str | os.PathLike[str], tensors: Mapping[str, HostArray], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write weights to a safetensors file. A reader sees the old file or the whole new one (`vipnp.core.files`).

    Parameters
    ----------
    path : of the file.
    tensors : {name: host array of float32 or float64}, such as `model.state_dict()`.
    metadata : what JSON can hold, kept in the file's header for `load_metadata`.

    Raises
    ------
    TypeError
        If `path` is neither a string nor a path, `tensors` no mapping, a name no string, a value no such array, or JSON
        cannot hold `metadata`.
    ValueError
        If `path` has the name of another format, such as .pth, a tensor is not finite or called "__metadata__", which
        the format keeps for itself, or JSON cannot hold a number in `metadata`.
    OSError
        Where the file cannot be written.
    ImportError
        Naming the extra to install where safetensors is missing.
    """
    check_safetensors_name("path", path)
    _check_tensors(tensors)
    if RESERVED in tensors:
        raise ValueError(f"tensors: got the name {RESERVED!r}, which the format keeps for itself, expected another")
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise _missing_safetensors() from error
    header = None if metadata is None else {METADATA: _as_json(metadata)}
    contents = save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}, header)
    with replaced_when_done(path) as temporary:
        temporary.write_bytes(contents)


def save_pytorch(path: str | os.PathLike[str], tensors: Mapping[str, HostArray]) -> None:
    """Write weights as `torch.save(state_dict, path)` would; no PyTorch is needed.

    `torch.load(path, weights_only=True)` gives the same names and values back. Such a file has no place for metadata.

    Parameters
    ----------
    path : of the file.
    tensors : {name: host array of float32 or float64}.

    Raises
    ------
    TypeError, ValueError, OSError
        As `save_weights`; ValueError for names of pictures, of texts and of weights in other formats than PyTorch's.
    """
    name = check_path("path", path)
    if Path(name).suffix.lower() in PICTURES | TEXTS | {".safetensors", ".npy", ".npz"}:
        raise ValueError(f"path: got {name!r}, expected the name of a file of PyTorch, such as weights.pth")
    _check_tensors(tensors)
    with replaced_when_done(path) as temporary, temporary.open("wb") as file:
        write_pytorch(file, tensors)


def load_weights(path: str | os.PathLike[str]) -> dict[str, HostArray]:
    """The weights in a file.

    The contents decide, not the name: safetensors, or a file of PyTorch (.pth, .pth.tar, .pt), of which no pickle is
    run. Usual containers, such as "state_dict", and prefixes, such as "module.", are taken off in a PyTorch file.

    Parameters
    ----------
    path : of the file.

    Returns
    -------
    dict
        {name: host array} of every tensor, for `model.load_state_dict`. The arrays are not to be written.

    Raises
    ------
    TypeError
        If `path` is neither a string nor a path.
    FileNotFoundError
        If there is no such file.
    OSError
        If it cannot be read.
    ValueError
        If it is no whole weight file, or holds anything but weights, such as a whole module, or numbers that NumPy
        lacks, such as bfloat16.
    ImportError
        Naming the extra to install where safetensors is missing.
    """
    _check_readable(path)
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
    except ValueError as error:  # a shape, such as one of more than 64 axes
        raise ValueError(f"path: {os.fspath(path)!r} holds a tensor that NumPy cannot hold ({error})") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "fiub":  # bfloat16, once ml_dtypes has made it known to NumPy
            raise ValueError(
                f"path: {os.fspath(path)!r} holds a number type that NumPy lacks "
                f"({printable(name)} is {tensor.dtype}); convert it to float32 first"
            )
    return tensors


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save_weights` was given as `metadata`.

    Parameters
    ----------
    path : of the file.

    Returns
    -------
    dict
        Empty where the file has none of it, as PyTorch's.

    Raises
    ------
    TypeError
        If `path` is neither a string nor a path.
    FileNotFoundError
        If there is no such file.
    OSError
        If it cannot be read.
    ValueError
        If it is no whole weight file.
    """
    _check_readable(path)
    with open(path, "rb") as file:
        if is_pytorch(file.read(64)):
            return {}
        file.seek(0)
        start = file.read(8)
        size = int.from_bytes(start, "little")
        if len(start) < 8 or size > LONGEST_HEADER:
            raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file")
        try:
            found = json.loads(json.loads(file.read(size).decode()).get(RESERVED, {}).get(METADATA, "{}"))
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ValueError(f"path: {os.fspath(path)!r} is no whole safetensors file ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"path: {os.fspath(path)!r} has metadata that is no mapping")
    return found


def weights_sha256(tensors: Mapping[str, HostArray]) -> str:
    """A digest of names, shapes, dtypes and exact values, whatever the order of the names.

    Parameters
    ----------
    tensors : {name: host array}.

    Returns
    -------
    str
        64 hex digits.

    Raises
    ------
    TypeError
        If `tensors` is no mapping to NumPy arrays.
    """
    _check_mapping(tensors)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not isinstance(tensor, np.ndarray):
            raise TypeError(f"{printable(name)}: got {type(tensor).__name__}, expected a NumPy array")
        little_endian = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        digest.update(f"{name} {little_endian.dtype.str} {tensor.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


def _check_mapping(tensors: Any) -> None:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors: got {type(tensors).__name__}, expected a mapping from names to NumPy arrays")


def _check_tensors(tensors: Mapping[str, HostArray]) -> None:
    _check_mapping(tensors)
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"tensors: got the name {shown(name)}, expected a string")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"tensors: got the name {shown(name)}, expected one that UTF-8 can hold")
        # Exactly NumPy's class: what a masked array or a matrix means would not be in the file.
        if type(tensor) is not np.ndarray or tensor.dtype not in (np.float32, np.float64):
            kind = tensor.dtype if type(tensor) is np.ndarray else type(tensor).__name__
            raise TypeError(f"{printable(name)}: got {kind}, expected a NumPy array of float32 or float64")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{printable(name)}: got NaN or infinity, expected finite numbers")


def _as_json(metadata: Any) -> str:
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata: got {shown(metadata)}, expected a mapping")
    try:
        return json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"metadata: {error}") from error


def _check_readable(path: str | os.PathLike[str]) -> None:
    """One line for what cannot be read. A pipe or a device is no weight file either: reading one may never end."""
    name = check_path("path", path)
    try:
        kind = os.stat(name).st_mode
        if stat.S_ISREG(kind):
            os.close(os.open(name, os.O_RDONLY))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"path: there is no file {name!r}") from error
    except OSError as error:
        raise OSError(f"path: {name!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(kind):
        wanted = "a file, such as the best.safetensors of a run"
        raise ValueError(f"path: {name!r} is a folder, a pipe or a device, expected {wanted}")


def _missing_safetensors() -> ImportError:
    return ImportError('weights in files need safetensors: pip install "vipnp[train]"')
