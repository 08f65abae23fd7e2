"""Matrix products into given memory: through NumPy's BLAS, or MKL's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from vipnp.backends import HostArray

Product: TypeAlias = Callable[[HostArray, HostArray, HostArray], HostArray]
"""product(a, b, out): out = a @ b, and out is returned. a (M, K), b (K, N), each C-contiguous or the transpose of such;
out (M, N) C-contiguous; all of one dtype, float32 or float64. In one thread: the caller's."""

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112
"""The enumerators of cblas.h."""

MKL_THREADING_SEQUENTIAL = 1
"""From mkl_service.h."""


def numpy_product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
    """out = a @ b by NumPy, with the BLAS it was built with."""
    return np.matmul(a, b, out=out)


def mkl_product() -> Product:
    """The product by MKL's cblas_sgemm and cblas_dgemm, MKL itself running in one thread.

    Raises ImportError naming the extra if the `mkl` wheel or a symbol in it is missing.
    """
    library = _mkl_library()
    library.MKL_Set_Threading_Layer(MKL_THREADING_SEQUENTIAL)
    functions = {
        np.dtype(np.float32): _typed(library.cblas_sgemm, ctypes.c_float),
        np.dtype(np.float64): _typed(library.cblas_dgemm, ctypes.c_double),
    }

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        (rows, inner), columns = a.shape, b.shape[1]
        a_turned, b_turned = not a.flags.c_contiguous, not b.flags.c_contiguous
        functions[out.dtype](
            ROW_MAJOR,
            TRANSPOSE if a_turned else NO_TRANSPOSE,
            TRANSPOSE if b_turned else NO_TRANSPOSE,
            rows,
            columns,
            inner,
            1.0,
            a.ctypes.data,
            max(1, rows if a_turned else inner),
            b.ctypes.data,
            max(1, inner if b_turned else columns),
            0.0,
            out.ctypes.data,
            max(1, columns),
        )
        return out

    return product


def _mkl_library() -> Any:
    try:
        files = metadata.files("mkl") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith(("libmkl_rt.", "mkl_rt.")) and not file.name.endswith(".lib"):
            try:
                return ctypes.CDLL(str(file.locate()))
            except OSError as problem:
                raise ImportError(
                    f'MKL is installed but cannot be loaded ({problem}); pip install "vipnp[mkl]"'
                ) from problem
    raise ImportError('products="mkl" needs MKL, which is not installed: pip install "vipnp[mkl]"')


def _typed(gemm: Any, real: Any) -> Any:
    integer, pointer = ctypes.c_int, ctypes.c_void_p
    gemm.argtypes = [*[integer] * 6, real, pointer, integer, pointer, integer, real, pointer, integer]
    gemm.restype = None
    return gemm


PRODUCTS: Mapping[str, Callable[[], Product]] = MappingProxyType({"numpy": lambda: numpy_product, "mkl": mkl_product})
"""Name -> the function that makes the product."""
