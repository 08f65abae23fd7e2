"""What a pickle of PyTorch describes: a tensor becomes a record of where its numbers lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from vipnp.core import HostArray
from vipnp.core.pickles import Language, Name, carried_out, expect

MOST_AXES = 8

DTYPES: Mapping[str, str] = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "int8": "|i1",
    "uint8": "|u1",
    "bool": "|b1",
}
"""PyTorch's name of a number type -> NumPy's."""

STORAGES: Mapping[str, str] = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
"""torch.FloatStorage holds float32, and so on."""


@dataclass(frozen=True, slots=True)
class Storage:
    """`numel` numbers in a row, kept in the file under `key`."""

    key: str
    dtype: np.dtype[Any]
    numel: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """Numbers of a storage as an array; `offset` and `strides` count numbers, not bytes."""

    storage: Storage
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def over(self, numbers: memoryview) -> HostArray:
        """The array in the bytes of its storage: not a copy, and not to be written."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        size = self.dtype.itemsize
        strides = tuple(size * stride for stride in self.strides)
        return np.ndarray(self.shape, self.dtype, numbers, size * self.offset, strides)


def described(stream: IO[bytes], most_operations: int) -> tuple[Any, dict[str, Storage]]:
    """What the next pickle in `stream` describes, with `Tensor` among its values; and every storage that it refers to,
    by its key.

    Raises ValueError as `vipnp.core.pickles.carried_out`.
    """
    storages: dict[str, Storage] = {}

    def refer(identity: Any) -> Storage:
        storage = _storage(identity)
        if storages.setdefault(storage.key, storage) != storage:
            raise ValueError(f"describes the storage {storage.key[:100]!r} in two ways")
        return storage

    language = Language("weights", CALLS, NUMBER_TYPES, _build, refer, hint="; in PyTorch, save model.state_dict()")
    return carried_out(stream, most_operations, language), storages


# --- the names that are known -----------------------------------------------------------------------------------------


def _build(value: Any, state: Any) -> None:
    """What hangs on a mapping besides its items, such as the version of each module, is passed over."""
    expect(value, dict)


def _mapping() -> dict[Any, Any]:
    return {}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
    _check_plain(rest)
    return _checked(expect(storage, Storage), storage.dtype, offset, shape, strides)


def _tensor_of_bytes(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> Tensor:
    _check_plain(rest)
    return _checked(expect(storage, Storage), _number_type(dtype), offset, shape, strides)


def _check_plain(rest: Sequence[Any]) -> None:
    """Raise ValueError where what is said of a tensor besides makes other numbers of those that are stored."""
    if any(isinstance(part, dict) and part.get("neg") for part in rest):
        raise ValueError("holds a tensor that PyTorch negates when it reads it; save tensor.resolve_neg()")


def _parameter(tensor: Any, *_: Any) -> Tensor:
    found: Tensor = expect(tensor, Tensor)
    return found


CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "argparse.Namespace": _mapping,  # the options of timm's training script stand beside its weights
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
}

NUMBER_TYPES: Mapping[str, str | None] = {
    **{f"torch.{name}": name for name in DTYPES},
    **{f"{module}.{name}Storage": kind for name, kind in STORAGES.items() for module in ("torch", "torch.cuda")},
    "torch.storage.UntypedStorage": "uint8",
    "torch.UntypedStorage": "uint8",
    "torch.BFloat16Storage": None,
    "torch.cuda.BFloat16Storage": None,
    "torch.bfloat16": None,
}
"""What names a number type; None where NumPy lacks it."""


def _number_type(name: Any) -> np.dtype[Any]:
    text = expect(name, Name).text
    if text not in NUMBER_TYPES:
        raise ValueError(f"has {text} where a number type should be")
    kind = NUMBER_TYPES[text]
    if kind is None:
        raise ValueError("holds bfloat16, a number type that NumPy lacks; convert it to float32 first")
    return np.dtype(DTYPES[kind])


def _storage(identity: Any) -> Storage:
    parts = expect(identity, tuple)
    if len(parts) not in (5, 6) or parts[0] != "storage" or (len(parts) == 6 and parts[5] is not None):
        raise ValueError("refers to something outside of the pickle that is no storage of its own")
    key = parts[2]
    return Storage(expect(key, str), _number_type(parts[1]), _count("the length of a storage", parts[4]))


def _count(what: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError(f"has {what} that is no count")
    return value


def _counts(what: str, values: Any) -> tuple[int, ...]:
    if type(values) not in (tuple, list) or len(values) > MOST_AXES:
        raise ValueError(f"has {what} that is no sequence of at most {MOST_AXES} counts")
    return tuple(_count(what, value) for value in values)


def _checked(storage: Storage, dtype: np.dtype[Any], offset: Any, shape: Any, strides: Any) -> Tensor:
    """The tensor, if it lies within its storage and no two of its elements are the same number."""
    found = Tensor(storage, dtype, _count("an offset", offset), _counts("a shape", shape), _counts("strides", strides))
    if len(found.shape) != len(found.strides):
        raise ValueError(f"has a tensor of shape {found.shape} with {len(found.strides)} strides")
    reach = 0
    if math.prod(found.shape):
        for stride, side in sorted(zip(found.strides, found.shape, strict=True)):
            if side > 1 and stride <= reach:
                raise ValueError(f"has a tensor of shape {found.shape} whose elements overlap")
            reach += (side - 1) * stride
        reach += found.offset + 1
    if reach * dtype.itemsize > storage.numel * storage.dtype.itemsize:
        raise ValueError(
            f"has a tensor of shape {found.shape} that reaches beyond its storage of {storage.numel} numbers"
        )
    return found
