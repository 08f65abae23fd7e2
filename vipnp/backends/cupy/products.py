"""Matrix products through cuBLAS, two-dimensional all of them, in the precision of the backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from cupy.cuda import runtime
from cupy.cuda.device import get_cublas_handle
from cupy_backends.cuda import libs

from vipnp.backends.cupy.arrays import contiguous, convert, dtype_name, empty
from vipnp.backends.cupy.recordable_blas import RecordableBlas
from vipnp.core import Array

CUDA_TYPES = {
    "float16": runtime.CUDA_R_16F,
    "bfloat16": runtime.CUDA_R_16BF,
    "float32": runtime.CUDA_R_32F,
    "float64": runtime.CUDA_R_64F,
}

_SCALARS = {dtype: (np.ones((), dtype), np.zeros((), dtype)) for dtype in ("float32", "float64")}
_ADDRESSES = {dtype: tuple(scalar.ctypes.data for scalar in scalars) for dtype, scalars in _SCALARS.items()}
"""Of one and zero on the host, which outlive every product that reads them."""


class HasPrecision(Protocol):
    """What the products ask of the backend: "float32", "tf32" or "bfloat16"."""

    precision: str


def operand(xp: HasPrecision, x: Array) -> Array:
    """`x` (M, K) in the dtype that products take: bfloat16 for float32 where the backend says so, else as it is.

    Raises TypeError for float64 on a backend of lower precision.
    """
    name = dtype_name(x)
    if name == "float64" and xp.precision != "float32":
        raise TypeError(
            f"got a float64 array on a backend of precision {xp.precision!r}; float64 needs precision='float32'"
        )
    return convert(x, "bfloat16") if xp.precision == "bfloat16" and name == "float32" else x


def product(
    xp: HasPrecision, a: Array, b: Array, *, transpose_a: bool = False, transpose_b: bool = False, dtype: str
) -> Array:
    """op(a) op(b) in `dtype`, op the transpose where asked for: C-contiguous matrices of one dtype, sums in float32.

    float64 sums for float64. With precision "tf32" the entries of float32 matrices are rounded to TF32.
    Storage of `dtype` is that of a and b, or float32.
    """
    rows, inner = a.shape[::-1] if transpose_a else a.shape
    columns = b.shape[0] if transpose_b else b.shape[1]
    out = empty((rows, columns), dtype)
    name = dtype_name(a)
    compute = libs.cublas.CUBLAS_COMPUTE_64F if name == "float64" else libs.cublas.CUBLAS_COMPUTE_32F
    if name == "float32" and xp.precision == "tf32":
        compute = libs.cublas.CUBLAS_COMPUTE_32F_FAST_TF32
    one, zero = _ADDRESSES["float64" if name == "float64" else "float32"]
    # cuBLAS counts by columns: what it takes for b^T a^T is a b by rows.
    arguments = (
        _operation(transpose_b),
        _operation(transpose_a),
        columns,
        rows,
        inner,
        one,
        b.data.ptr,
        CUDA_TYPES[name],
        b.shape[1],
        a.data.ptr,
        CUDA_TYPES[name],
        a.shape[1],
        zero,
        out.data.ptr,
        CUDA_TYPES[dtype],
        columns,
        compute,
        libs.cublas.CUBLAS_GEMM_DEFAULT,
    )
    if _recording.blas is None:
        libs.cublas.gemmEx(get_cublas_handle(), *arguments)
    else:
        _recording.blas.gemm(*arguments)
    return out


class _Recording(threading.local):
    """Where the products of this thread go while it records a graph."""

    blas: RecordableBlas | None = None


_recording = _Recording()


@contextmanager
def recorded_by(blas: RecordableBlas) -> Iterator[None]:
    """Within this context the products of this thread go to `blas`."""
    _recording.blas = blas
    try:
        yield
    finally:
        _recording.blas = None


def _operation(transpose: bool) -> Any:
    return libs.cublas.CUBLAS_OP_T if transpose else libs.cublas.CUBLAS_OP_N


def rows_of(x: Array) -> Array:
    """(*, C) as a C-contiguous matrix (M, C); a copy only where `x` is not contiguous."""
    x = contiguous(x)
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
