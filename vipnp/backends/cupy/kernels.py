"""The CUDA kernels: their sources, every instantiation there is, and how one is launched.

The sources stand beside this file. Each is compiled by NVRTC when one of its kernels is first launched for a storage
type; CuPy keeps the result on disk.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cupy
import numpy as np

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

THREADS = 256
"""Threads of a block where a kernel goes through a flat array."""

ROW_LANES = 8
"""Rows that a block of the column kernels goes through at a time, one warp each."""

NORM_WARPS = 4
"""Rows that a block of the LayerNorm kernels goes through at a time, one warp each."""

LARGEST_BLOCK_OF_ROWS = 512
"""Blocks that share the rows of a column sum: a constant, so that the order of the sum is the same on every device."""

NORM_TEMPLATES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "float32": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
    "float64": ((1, 8), (2, 4), (4, 2), (2, 8), (4, 4)),
    "float16": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
    "bfloat16": ((1, 8), (2, 4), (4, 2), (1, 16), (2, 8), (4, 4), (4, 8)),
}
"""(VEC, CHUNKS) of the LayerNorm kernels: a lane of a warp holds VEC * CHUNKS channels in registers."""

VECTORS = (1, 2, 4)
"""Neighbouring elements that one instruction moves."""

NULL = np.uintp(0)


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


_VECTOR_TEMPLATES = tuple((str(vector),) for vector in VECTORS)

KERNELS: Mapping[str, Kernel] = {
    "norm_forward": Kernel("layer_norm.cu", _norm_templates()),
    "norm_backward": Kernel("layer_norm.cu", _norm_templates()),
    "gelu_forward": Kernel("gelu.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "gelu_backward": Kernel("gelu.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "residual_forward": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "residual_backward": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "dropout": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "column_sum": Kernel("residual.cu", _each(WIDE_TYPES, ())),
    "exchange": Kernel("residual.cu", _each(CPP_TYPES, *_VECTOR_TEMPLATES)),
    "convert": Kernel(
        "residual.cu",
        {
            "float32": tuple((CPP_TYPES[to], str(vector)) for to in ("float16", "bfloat16") for vector in VECTORS),
            "float16": tuple((CPP_TYPES["float32"], str(vector)) for vector in VECTORS),
            "bfloat16": tuple((CPP_TYPES["float32"], str(vector)) for vector in VECTORS),
        },
    ),
    "pool_forward": Kernel("split_attention.cu", _each(CPP_TYPES, ())),
    "pool_backward": Kernel("split_attention.cu", _each(CPP_TYPES, ())),
    "split_attention_forward": Kernel("split_attention.cu", _each(CPP_TYPES, ("2",), ("3",))),
    "split_attention_backward_logits": Kernel("split_attention.cu", _each(CPP_TYPES, ("2",), ("3",))),
    "split_attention_backward_branches": Kernel("split_attention.cu", _each(CPP_TYPES, ("2",), ("3",))),
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
def signature(name: str) -> tuple[str, ...]:
    """The type of each parameter as the source declares it, such as "const T*" or "long long"."""
    found = re.search(rf"\b{name}\(([^)]*)\) {{", source(KERNELS[name].file))
    if found is None:
        raise LookupError(f"{KERNELS[name].file} has no kernel {name}")
    return tuple(parameter.strip().rpartition(" ")[0] for parameter in found[1].split(","))


def wide(dtype: str) -> str:
    """The dtype of sums, statistics and parameters beside activations stored as `dtype`."""
    return "float64" if dtype == "float64" else "float32"


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


@cache
def _function(name: str, dtype: str, template: tuple[str, ...]) -> tuple[Any, tuple[Callable[[Any], Any] | None, ...]]:
    wide_type = np.dtype(wide(dtype)).type
    scalars: dict[str, Callable[[Any], Any]] = {
        "A": wide_type,
        "Wide<T>": wide_type,
        "int": np.int32,
        "long long": np.int64,
    }
    function = _module(KERNELS[name].file, dtype).get_function(expression(name, dtype, template))
    return function, tuple(scalars.get(kind) for kind in signature(name))


def launch(
    name: str, dtype: str, template: tuple[str, ...], grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any
) -> None:
    """Start one instantiation on the current stream; nothing waits for it.

    arguments : arrays, C-contiguous and of the dtypes the kernel takes; None for a null pointer; numbers, which become
    scalars of the kernel's types; a structure of NumPy in the layout of the kernel's.
    """
    function, scalars = _function(name, dtype, template)
    function(
        grid,
        block,
        tuple(
            scalar(value) if scalar else NULL if value is None else value
            for scalar, value in zip(scalars, arguments, strict=True)
        ),
    )


def row_blocks(rows: int, rows_a_block: int) -> int:
    """How many blocks share the rows of a column sum."""
    return min(math.ceil(rows / rows_a_block), LARGEST_BLOCK_OF_ROWS)


def all_instantiations() -> Iterator[tuple[str, str]]:
    """(file, expression) of everything that can be launched."""
    for file in files():
        for each in expressions(file):
            yield file, each
