"""Arrays of the storage dtypes, and what changes one into the other."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cupy

from vipnp.backends.cupy.kernels import CPP_TYPES, THREADS, dtype_of, launch, vector_length
from vipnp.core import Array


def dtype_name(x: Array) -> str:
    """The name "float32", "float64", "float16" or "bfloat16"; TypeError for another dtype."""
    return _storage(x.dtype)


@cache
def _storage(dtype: Any) -> str:
    """NumPy makes the name anew each time that it is asked for it, which a step does two thousand times."""
    name: str = dtype.name
    if name not in CPP_TYPES:
        raise TypeError(f"got an array of dtype {name}, the CUDA kernels take {', '.join(CPP_TYPES)}")
    return name


def empty(shape: tuple[int, ...], dtype: str) -> Array:
    """An array whose values nobody has written yet."""
    return cupy.ndarray(shape, dtype_of(dtype))


def contiguous(x: Array) -> Array:
    """`x` itself where it is C-contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else cupy.ascontiguousarray(x)


def convert(x: Array, dtype: str) -> Array:
    """`x` in `dtype`, C-contiguous; `x` itself if it is that already.

    Between float32 and the two-byte types; TypeError for anything else.
    """
    before = dtype_name(x)
    x = contiguous(x)
    if before == dtype:
        return x
    if "float64" in (before, dtype) or "float32" not in (before, dtype):
        raise TypeError(f"no conversion from {before} to {dtype}")
    y = empty(x.shape, dtype)
    vector = vector_length(x.size, x, y)
    grid = (math.ceil(x.size / vector / THREADS),)
    launch("convert", before, (CPP_TYPES[dtype], str(vector)), grid, (THREADS,), x=x, y=y, packs=x.size // vector)
    return y
