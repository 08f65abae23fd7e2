"""The CUDA kernels: their sources, every instantiation there is, and how one is launched.

The sources stand beside this file. What a kernel takes and the constants that its launch goes by are read from them.
Each is compiled by NVRTC when one of its kernels is first launched for a storage type; CuPy keeps the result on disk.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Mapping
from ctypes import addressof, c_void_p, create_string_buffer
from functools import cache
from importlib import import_module
from pathlib import Path
from struct import Struct, calcsize
from typing import Any, NamedTuple

import cupy
import numpy as np
from cupy.cuda import driver, get_current_stream, runtime

from vipnp.core import Array

CPP_TYPES: Mapping[str, str] = {
    "float32": "float",
    "float64": "double",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
}
"""Storage dtype -> its C++ type. Sums, statistics and parameters are float32, float64 where the storage is."""

WIDE_TYPES = ("float32", "float64")

OPTIONS = ("--std=c++17",)

WARP = 32


def constant(file: str, name: str) -> int:
    """The constant `name` of a source file."""
    found = re.search(rf"^constexpr int {name} = (\d+);$", Path(__file__).with_name(file).read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"{file} has no constant {name}")
    return int(found[1])


THREADS = constant("common.cuh", "THREADS")
ROW_LANES = constant("common.cuh", "ROW_LANES")
PARTS = constant("optimizer.cu", "PARTS")

PARTS_LAYOUT = np.dtype([("from", np.uint64, PARTS), ("start", np.int64, PARTS + 1)])
"""That of Parts in optimizer.cu."""

LARGEST_BLOCK_OF_ROWS = 512
"""Blocks that share the rows of a sum: a constant, so that its order is the same on every device."""

NORM_TEMPLATES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "float32": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
    "float64": ((1, 8), (2, 4), (4, 2), (2, 8), (4, 4)),
    "float16": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
    "bfloat16": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
}
"""(VEC, CHUNKS) of the LayerNorm kernels: a lane of a warp holds VEC * CHUNKS channels in registers."""

VECTORS = (1, 2, 4)
"""Neighbouring elements that one instruction moves."""


class Kernel(NamedTuple):
    """A kernel template: its file, and the arguments it is instantiated with.

    templates : storage dtype -> the lists of template arguments after the type.
    """

    file: str
    templates: Mapping[str, tuple[tuple[str, ...], ...]]


def _norm_templates() -> dict[str, tuple[tuple[str, ...], ...]]:
    return {
        dtype: tuple((str(vector), str(chunks)) for vector, chunks in templates)
        for dtype, templates in NORM_TEMPLATES.items()
    }


def _each(dtypes: Mapping[str, str] | tuple[str, ...], *templates: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(dtypes, templates)


def _vector_templates(*branches: str) -> tuple[tuple[str, ...], ...]:
    return tuple((str(vector), count) for vector in VECTORS for count in branches)


_VECTOR_TEMPLATES = tuple((str(vector),) for vector in VECTORS)

KERNELS: Mapping[str, Kernel] = {
    "norm_forward": Kernel("layer_norm.cu", _norm_templates()),
    "norm_backward": Kernel("layer_norm.cu", _norm_templates()),
    "gelu_forward": Kernel("gelu.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "gelu_backward": Kernel("gelu.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "residual_forward": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "residual_backward": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "dropout": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "sum_rows": Kernel("residual.cu", _each(WIDE_TYPES, ())),
    "exchange": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "convert": Kernel(
        "residual.cu",
        {
            "float32": tuple((CPP_TYPES[to], str(vector)) for to in ("float16", "bfloat16") for vector in VECTORS),
            "float16": tuple((CPP_TYPES["float32"], str(vector)) for vector in VECTORS),
            "bfloat16": tuple((CPP_TYPES["float32"], str(vector)) for vector in VECTORS),
        },
    ),
    "pool_forward": Kernel("split_attention.cu", _each(CPP_TYPES, *_vector_templates("1", "3"))),
    "pool_backward": Kernel("split_attention.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "split_attention_forward": Kernel("split_attention.cu", _each(CPP_TYPES, *_vector_templates("2", "3"))),
    "split_attention_backward_weights": Kernel("split_attention.cu", _each(CPP_TYPES, *_vector_templates("2", "3"))),
    "split_attention_backward_logits": Kernel("split_attention.cu", _each(WIDE_TYPES, ("2",), ("3",))),
    "split_attention_backward_branches": Kernel("split_attention.cu", _each(CPP_TYPES, *_vector_templates("2", "3"))),
    "cross_entropy_forward": Kernel("cross_entropy.cu", _each(WIDE_TYPES, ())),
    "cross_entropy_backward": Kernel("cross_entropy.cu", _each(WIDE_TYPES, ())),
    "join": Kernel("optimizer.cu", _each(WIDE_TYPES, ())),
    "sum_of_squares": Kernel("optimizer.cu", _each(WIDE_TYPES, ())),
    "clip_gradient": Kernel("optimizer.cu", _each(WIDE_TYPES, ())),
    "adamw_update": Kernel("optimizer.cu", _each(WIDE_TYPES, ())),
}
"""Every kernel by name."""


def expression(name: str, dtype: str, template: tuple[str, ...]) -> str:
    """The C++ name of one instantiation, such as "norm_forward<float, 4, 2>"."""
    return f"{name}<{', '.join((CPP_TYPES[dtype], *template))}>"


def expressions(file: str, dtype: str | None = None) -> list[str]:
    """Every instantiation in `file`, or those of one storage dtype."""
    return [
        expression(name, each, template)
        for name, kernel in KERNELS.items()
        if kernel.file == file
        for each, templates in kernel.templates.items()
        if dtype in (None, each)
        for template in templates
    ]


def files() -> list[str]:
    """The names of the source files, in the order of `KERNELS`."""
    return list(dict.fromkeys(kernel.file for kernel in KERNELS.values()))


@cache
def source(file: str) -> str:
    """The text of a source file after that of common.cuh, which all of them start from."""
    return "".join(Path(__file__).with_name(name).read_text() for name in ("common.cuh", file))


@cache
def signature(name: str) -> dict[str, str]:
    """Each parameter with its type as the source declares it, such as "const T*" or "long long"."""
    found = re.search(rf"\b{name}\(([^)]*)\) {{", source(KERNELS[name].file))
    if found is None:
        raise LookupError(f"{KERNELS[name].file} has no kernel {name}")
    declared = (parameter.strip().rpartition(" ") for parameter in found[1].split(","))
    return {parameter: kind for kind, _, parameter in declared}


def wide(dtype: str) -> str:
    """The dtype of sums, statistics and parameters beside activations stored as `dtype`."""
    return "float64" if dtype == "float64" else "float32"


@cache
def dtype_of(name: str) -> Any:
    """The NumPy dtype of that name; bfloat16 is that of ml_dtypes."""
    return np.dtype(import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)


def vector_length(width: int, *arrays: Array | None) -> int:
    """The largest pack that divides `width` and the address of each array."""
    for vector in reversed(VECTORS):
        if width % vector == 0 and all(
            array is None or array.data.ptr % (vector * array.dtype.itemsize) == 0 for array in arrays
        ):
            return vector
    raise AssertionError("an address is a multiple of the size of its element")


@cache
def _module(file: str, dtype: str) -> Any:
    return cupy.RawModule(code=source(file), options=OPTIONS, name_expressions=expressions(file, dtype))


class Parameter(NamedTuple):
    """One parameter of an instantiation.

    letter : its type in the module struct. dtype : that of the array it takes the address of, else None. types : those
    of Python that it takes. declared : its type in C++.
    """

    name: str
    letter: str
    dtype: Any
    types: tuple[type, ...]
    declared: str


def _parameters(name: str, dtype: str, template: tuple[str, ...]) -> tuple[Parameter, ...]:
    elements = {"T": dtype, "A": wide(dtype), "Wide<T>": wide(dtype), "From": dtype, "long long": "int64"}
    elements["To"] = next((storage for storage, cpp in CPP_TYPES.items() if cpp in template), dtype)
    real = ("d" if wide(dtype) == "float64" else "f", (int, float))
    kinds: dict[str, tuple[str, tuple[type, ...]]] = {
        "int": ("i", (int,)),
        "long long": ("q", (int,)),
        "Parts<A>": (f"{PARTS_LAYOUT.itemsize}s", (bytes,)),
    }
    parameters = []
    for parameter, kind in signature(name).items():
        if kind.endswith("*"):
            held = dtype_of(elements[kind.removeprefix("const ").removesuffix("*")])
            parameters.append(Parameter(parameter, "P", held, (cupy.ndarray,), kind))
        else:
            letter, types = kinds.get(kind, real)
            parameters.append(Parameter(parameter, letter, None, types, kind))
    return tuple(parameters)


class Prepared:
    """One instantiation on one device, as one thread starts it: its arguments are packed where the driver reads them.

    Numbers become scalars of the types that the source declares, arrays their addresses.
    """

    def __init__(self, name: str, dtype: str, template: tuple[str, ...]) -> None:
        self.name = name
        function = _module(KERNELS[name].file, dtype).get_function(expression(name, dtype, template))
        self._function = function.kernel.ptr
        self._parameters = _parameters(name, dtype, template)
        letters = [parameter.letter for parameter in self._parameters]
        self._struct = Struct("".join(letters))
        self._arguments = create_string_buffer(self._struct.size)
        begin = addressof(self._arguments)
        ends = [calcsize("".join(letters[: i + 1])) for i in range(len(letters))]
        starts = (begin + end - calcsize(letter) for end, letter in zip(ends, letters, strict=True))
        self._addresses = (c_void_p * len(letters))(*starts)
        self._at = addressof(self._addresses)
        self._names = tuple(signature(name))
        self._expected: list[tuple[Any, Any]] = [(parameter.dtype, parameter.types) for parameter in self._parameters]

    def start(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: Mapping[str, Any]) -> None:
        """Enqueue it on the current stream. TypeError unless `arguments` are what the source declares."""
        if tuple(arguments) != self._names:
            arguments = self._in_order(arguments)
        values: list[Any] = []
        for value, (dtype, types) in zip(arguments.values(), self._expected, strict=True):
            if dtype is None:
                fits = isinstance(value, types)
            else:
                # Nearly always the same object, and comparing dtypes takes longer than all else here.
                fits = value is None or (isinstance(value, types) and (value.dtype is dtype or value.dtype == dtype))
            if not fits:
                raise self._refused(len(values), value)
            values.append(value if dtype is None else 0 if value is None else value.data.ptr)
        self._struct.pack_into(self._arguments, 0, *values)
        x, y, z = (*grid, 1, 1)[:3]
        # CUDA takes no grid of no blocks: over empty arrays one block finds nothing to do.
        driver.launchKernel(
            self._function,
            *(x or 1, y or 1, z or 1),
            *(*block, 1, 1)[:3],
            0,
            get_current_stream().ptr,
            self._at,
            0,
        )

    def _in_order(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if arguments.keys() != set(self._names):
            raise TypeError(f"{self.name}: got {', '.join(arguments)}, expected {', '.join(self._names)}")
        return {name: arguments[name] for name in self._names}

    def _refused(self, i: int, value: Any) -> TypeError:
        name, _, dtype, _, declared = self._parameters[i]
        got = f"an array of {value.dtype}" if hasattr(value, "dtype") else type(value).__name__
        return TypeError(f"{self.name}: {name}: got {got}, expected {declared}{f' of {dtype}' if dtype else ''}")


class _Ready(threading.local):
    """What this thread has prepared, by device, name, dtype and template."""

    def __init__(self) -> None:
        self.kernels: dict[tuple[int, str, str, tuple[str, ...]], Prepared] = {}


_ready = _Ready()


def launch(
    name: str,
    dtype: str,
    template: tuple[str, ...],
    grid: tuple[int, ...],
    block: tuple[int, ...],
    /,
    **arguments: Any,
) -> None:
    """Start one instantiation on the current stream; nothing waits for it.

    arguments : by the names that the source gives its parameters: arrays, C-contiguous; None for a null pointer;
    numbers; the bytes of a structure in the layout of the kernel's.

    Raises TypeError for names or types other than those that the source declares.
    """
    key = (runtime.getDevice(), name, dtype, template)
    prepared = _ready.kernels.get(key)
    if prepared is None:
        prepared = _ready.kernels[key] = Prepared(name, dtype, template)
    prepared.start(grid, block, arguments)


def row_blocks(rows: int, rows_a_block: int) -> int:
    """How many blocks share the rows of a sum over rows."""
    return min(math.ceil(rows / rows_a_block), LARGEST_BLOCK_OF_ROWS)


def all_instantiations() -> Iterator[tuple[str, str]]:
    """(file, expression) of everything that can be launched."""
    for file in files():
        for each in expressions(file):
            yield file, each
