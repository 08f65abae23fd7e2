"""Matrix products into given memory: through the OpenBLAS that NumPy brings along, through MKL, or through NumPy.

OpenBLAS and MKL are called by their C interface, because that can add to what stands in the result already, and
`numpy.matmul` cannot: see `INNER`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_info

from vipnp.backends import HostArray
from vipnp.backends.numpy import INNER

Product: TypeAlias = Callable[[HostArray, HostArray, HostArray], HostArray]
"""product(a, b, out): out = a @ b, and out is returned. a (M, K), b (K, N), each C-contiguous or the transpose of such;
out (M, N) C-contiguous; all of one dtype, float32 or float64. It starts in the caller's thread."""

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112
"""The enumerators of cblas.h."""

MKL_THREADING_SEQUENTIAL = 1
"""From mkl_service.h."""

OPENBLAS_NAMES = (
    ("scipy_cblas_{}64_", ctypes.c_int64),
    ("cblas_{}64_", ctypes.c_int64),
    ("scipy_cblas_{}", ctypes.c_int),
    ("cblas_{}", ctypes.c_int),
)
"""How builds of OpenBLAS name a function of cblas.h, and the integers it then takes."""


def cblas_product(library: Any, pattern: str, integer: Any, step: int | None) -> Product:
    """The product by cblas_sgemm and cblas_dgemm of `library`, `step` terms of the inner sum at a time (None: all).

    pattern : how the library names its functions. integer : the type of their sizes.
    Raises AttributeError if the library lacks them.
    """
    enumerator, pointer = ctypes.c_int, ctypes.c_void_p
    functions = {}
    for dtype, name, real in ((np.float32, "sgemm", ctypes.c_float), (np.float64, "dgemm", ctypes.c_double)):
        gemm = getattr(library, pattern.format(name))
        gemm.argtypes = [*[enumerator] * 3, *[integer] * 3, real, *[pointer, integer] * 2, real, pointer, integer]
        gemm.restype = None
        functions[np.dtype(dtype)] = gemm

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        (M, K), N = a.shape, b.shape[1]
        if K == 0 or out.size == 0:
            out[...] = 0
            return out
        gemm, size = functions[out.dtype], out.itemsize
        a_at, b_at, out_at = a.ctypes.data, b.ctypes.data, out.ctypes.data
        a_turned, b_turned = not a.flags.c_contiguous, not b.flags.c_contiguous
        a_stride, b_stride = size * (M if a_turned else 1), size * (1 if b_turned else N)
        for start in range(0, K, step or K):
            gemm(
                ROW_MAJOR,
                TRANSPOSE if a_turned else NO_TRANSPOSE,
                TRANSPOSE if b_turned else NO_TRANSPOSE,
                M,
                N,
                min(step or K, K - start),
                1.0,
                a_at + start * a_stride,
                M if a_turned else K,
                b_at + start * b_stride,
                K if b_turned else N,
                1.0 if start else 0.0,
                out_at,
                N,
            )
        return out

    return product


def openblas_product(step: int | None = INNER) -> Product:
    """The product by the OpenBLAS that NumPy brings along, in steps of the inner sum.

    OpenBLAS adds up to 384 products one after another before it adds partial sums, MKL 192, and the rounding error goes
    with it. A step of 192 costs about 1 % of the time, since the result is added to as it is written.
    Raises ImportError where NumPy has no OpenBLAS that shows its C interface.
    """
    for information in threadpool_info():
        path = information["filepath"]
        if information["internal_api"] == "openblas" and "numpy" in path:
            library = ctypes.CDLL(path)
            for pattern, integer in OPENBLAS_NAMES:
                if hasattr(library, pattern.format("sgemm")):
                    return cblas_product(library, pattern, integer, step)
    raise ImportError(
        'products="openblas" needs a NumPy with OpenBLAS inside, as its wheels have: use products="numpy"'
    )


def mkl_product() -> Product:
    """The product by MKL, MKL itself running in one thread.

    Raises ImportError naming the extra if the `mkl` wheel is missing or cannot be loaded.
    """
    try:
        files = metadata.files("mkl") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith(("libmkl_rt.", "mkl_rt.")) and not file.name.endswith(".lib"):
            try:
                library = ctypes.CDLL(str(file.locate()))
            except OSError as problem:
                raise ImportError(f'MKL cannot be loaded ({problem}): pip install "vipnp[mkl]"') from problem
            library.MKL_Set_Threading_Layer(MKL_THREADING_SEQUENTIAL)
            return cblas_product(library, "cblas_{}", ctypes.c_int, None)
    raise ImportError('products="mkl" needs MKL, which is not installed: pip install "vipnp[mkl]"')


def numpy_product() -> Product:
    """The product by `numpy.matmul`, in steps of the inner sum; for a NumPy with another BLAS inside."""

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        np.matmul(a[:, :INNER], b[:INNER], out=out)
        for start in range(INNER, a.shape[1], INNER):
            out += a[:, start : start + INNER] @ b[start : start + INNER]
        return out

    return product


def default_product() -> Product:
    """`openblas_product` where there is one, else `numpy_product`."""
    try:
        return openblas_product()
    except ImportError:
        return numpy_product()


PRODUCTS: Mapping[str, Callable[[], Product]] = MappingProxyType(
    {"auto": default_product, "openblas": openblas_product, "mkl": mkl_product, "numpy": numpy_product}
)
"""Name -> the function that makes the product."""
