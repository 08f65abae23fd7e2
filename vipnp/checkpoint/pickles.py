"""What a pickle of PyTorch describes, worked out without calling anything that it names.

The standard unpickler calls what a file tells it to call. With a list of allowed names it still sizes its memo by a
number in the file and hashes whatever stands as a key, so a few bytes can fill the memory or the time. Here the
standard library takes the operations apart (`pickletools.genops`) and `described` carries out those that weights need.
A name stays a name, and a tensor becomes a record of where its numbers lie.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from vipnp.core import HostArray

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


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function that the pickle names."""

    text: str


def described(stream: IO[bytes], most_operations: int) -> tuple[Any, dict[str, Storage]]:
    """What the next pickle in `stream` describes: None, numbers, strings, lists, tuples, dicts and `Tensor`; and every
    storage that it refers to, by its key.

    Raises ValueError naming what it asks for that no weights need, or saying that it is no whole pickle, as the rest of
    a sentence that begins with the name of the file.
    """
    storages: dict[str, Storage] = {}
    try:
        return _carried_out(stream, most_operations, storages), storages
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"holds a damaged pickle ({type(error).__name__} while reading it)") from error


def _carried_out(stream: IO[bytes], most_operations: int, storages: dict[str, Storage]) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for count, (operation, value, _) in enumerate(_operations(stream)):
        if count == most_operations:
            raise ValueError(f"holds a pickle of more than {most_operations} operations, too many for its size")
        match operation.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case name if name in VALUES:
                stack.append(value)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE" as name:
                stack.append(name == "NEWTRUE")
            case "MARK":
                marks.append(len(stack))
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                item = stack.pop()
                _expect(stack[-1], list).append(item)
            case "APPENDS":
                items = since_mark()
                _expect(stack[-1], list).extend(items)
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                _filled(stack[-1], [key, item])
            case "SETITEMS":
                items = since_mark()
                _filled(stack[-1], items)
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(_known(value.replace(" ", ".")))
            case "STACK_GLOBAL":
                last, module = stack.pop(), stack.pop()
                stack.append(_known(f"{_expect(module, str)}.{_expect(last, str)}"))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_called(_expect(function, Name).text, _expect(arguments, tuple)))
            case "BUILD":  # what hangs on a mapping besides its items, such as the version of each module
                stack.pop()
                _expect(stack[-1], dict)
            case "BINPERSID":
                storage = _storage(stack.pop())
                if storages.setdefault(storage.key, storage) != storage:
                    raise ValueError(f"describes the storage {storage.key[:100]!r} in two ways")
                stack.append(storage)
            case other:
                raise ValueError(f"holds a pickle with the operation {other}, which no weights need")
    raise ValueError("holds a pickle without an end")


def _operations(stream: IO[bytes]) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    try:
        yield from pickletools.genops(stream)
    except ValueError as error:
        raise ValueError(f"holds a damaged pickle ({str(error)[:100]!r})") from error


VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    }
)
"""Operations whose argument is the value itself."""


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"holds a pickle that has a {type(value).__name__} where a {kind.__name__.lower()} should be")
    return value


def _filled(target: Any, items: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = _expect(target, dict)
    for key, item in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, int):  # to hash a nest of tuples can take forever
            raise ValueError(f"holds a mapping with a key of type {type(key).__name__}, expected names or numbers")
        found[key] = item
    return found


# --- the names that are known -----------------------------------------------------------------------------------------


def _known(name: str) -> Name:
    if name in CALLS or name in NUMBER_TYPES:
        return Name(name)
    raise ValueError(
        f"asks for {name[:100]!r}, which is no part of weights and is not run; in PyTorch, save model.state_dict()"
    )


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name not in CALLS:
        raise ValueError(f"calls {name}, which no weights do")
    return CALLS[name](*arguments)


def _mapping() -> dict[Any, Any]:
    return {}


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    return _checked(_expect(storage, Storage), storage.dtype, offset, shape, strides)


def _tensor_of_bytes(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    return _checked(_expect(storage, Storage), _number_type(dtype), offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Tensor:
    found: Tensor = _expect(tensor, Tensor)
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
    text = _expect(name, Name).text
    if text not in NUMBER_TYPES:
        raise ValueError(f"has {text} where a number type should be")
    kind = NUMBER_TYPES[text]
    if kind is None:
        raise ValueError("holds bfloat16, a number type that NumPy lacks; convert it to float32 first")
    return np.dtype(DTYPES[kind])


def _storage(identity: Any) -> Storage:
    parts = _expect(identity, tuple)
    if len(parts) not in (5, 6) or parts[0] != "storage" or (len(parts) == 6 and parts[5] is not None):
        raise ValueError("refers to something outside of the pickle that is no storage of its own")
    key = parts[2]
    return Storage(_expect(key, str), _number_type(parts[1]), _count("the length of a storage", parts[4]))


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
