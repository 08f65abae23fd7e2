"""Matrix products into given memory, the inner sum in steps: through the OpenBLAS inside NumPy, or through NumPy.

A BLAS that adds several hundred products one after another into a float32 loses more than one that stops to add partial
sums. OpenBLAS adds up to 384 on AVX-512, Intel's MKL 192. Here it is `INNER` for all. OpenBLAS is called by its C
interface where that can be found, because it can add to what stands in the result already, so that a step costs 3 % of
the time; `numpy.matmul` cannot, and it costs 11 %.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from vipnp.core.backend import HostArray

Product: TypeAlias = Callable[[HostArray, HostArray, HostArray], HostArray]
"""product(a, b, out): out = a @ b, and out is returned. a (M, K), b (K, N), each C-contiguous or the transpose of such;
out (M, N) C-contiguous; all of one dtype, float32 or float64. It starts in the caller's thread."""

Gemm: TypeAlias = Callable[..., object]
"""gemm(a_order, b_order, M, N, K, 1.0, a, lda, b, ldb, beta, out, ldc): out = a @ b + beta * out, all row by row at the
addresses a, b and out, the rows of a and b (columns, where their order says transposed) lda and ldb entries apart."""

INNER = 192
"""Products that are added up before partial sums are. It takes a factor of 0.7 off the rounding error of OpenBLAS."""

FEW_ROWS, FEW_ROWS_INNER = 3, 64
"""So many rows OpenBLAS is given one by one, and so many products of theirs are added up before partial sums are."""

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112
"""The enumerators of cblas.h."""

OPENBLAS_NAMES = (
    ("scipy_cblas_{}64_", ctypes.c_int64),
    ("cblas_{}64_", ctypes.c_int64),
    ("scipy_cblas_{}", ctypes.c_int),
)
"""How builds of OpenBLAS for NumPy name a function of cblas.h, and the integers it then takes. The plain name is not
among them, since it does not tell the size of the integers."""


def in_steps(functions: Mapping[Any, Gemm], orders: tuple[Any, Any], step: int | None) -> Product:
    """The product by one of `functions`, dtype -> gemm, `step` terms of the inner sum at a time (None: all).

    orders : how they call a matrix as it is, and a transposed one.
    """

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        (M, K), N = a.shape, b.shape[1]
        if K == 0 or out.size == 0:
            out[...] = 0
            return out
        gemm, size = functions[out.dtype], out.itemsize
        a_at, b_at, out_at = a.ctypes.data, b.ctypes.data, out.ctypes.data
        a_turned, b_turned = not a.flags.c_contiguous, not b.flags.c_contiguous
        lda, ldb = M if a_turned else K, K if b_turned else N
        a_stride, b_stride = size * (M if a_turned else 1), size * (1 if b_turned else N)
        for start in range(0, K, step or K):
            terms, beta = min(step or K, K - start), 1.0 if start else 0.0
            a_from, b_from = a_at + start * a_stride, b_at + start * b_stride
            gemm(orders[a_turned], orders[b_turned], M, N, terms, 1.0, a_from, lda, b_from, ldb, beta, out_at, N)
        return out

    return product


def cblas_product(library: Any, pattern: str, integer: Any, step: int | None) -> Product:
    """The product by cblas_sgemm and cblas_dgemm of `library`, in steps of the inner sum.

    pattern : how the library names its functions. integer : the type of their sizes.
    Raises AttributeError if the library lacks them.
    """
    enumerator, pointer = ctypes.c_int, ctypes.c_void_p
    functions = {}
    for dtype, name, real in ((np.float32, "sgemm", ctypes.c_float), (np.float64, "dgemm", ctypes.c_double)):
        function = getattr(library, pattern.format(name))
        function.argtypes = [*[enumerator] * 3, *[integer] * 3, real, *[pointer, integer] * 2, real, pointer, integer]
        function.restype = None
        functions[np.dtype(dtype)] = partial(function, ROW_MAJOR)
    return in_steps(functions, (NO_TRANSPOSE, TRANSPOSE), step)


def cblas_takes(*matrices: HostArray) -> bool:
    """Whether cblas takes these matrices as they are: one dtype, float32 or float64, aligned, no gaps, row or column
    after row or column."""
    dtype = matrices[0].dtype
    return dtype in (np.float32, np.float64) and all(
        matrix.dtype == dtype and matrix.flags.aligned and (matrix.flags.c_contiguous or matrix.flags.f_contiguous)
        for matrix in matrices
    )


def by_rows(multiply: Product, multiply_row: Product) -> Product:
    """`multiply`, but row by row, by `multiply_row`, where there are only a few.

    OpenBLAS multiplies a single row by a vector kernel, which keeps as many partial sums as a register has numbers, and
    two rows or three by the one made for many, which keeps one: the logits of two images so had 3.7 times PyTorch's
    error. By rows it was still 1.6 times on AVX2, whose registers have eight, until their steps became shorter.
    """

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        if not (0 < len(a) <= FEW_ROWS and a.flags.c_contiguous):
            return multiply(a, b, out)
        for row in range(len(a)):
            multiply_row(a[row : row + 1], b, out[row : row + 1])
        return out

    return product


@cache
def openblas_product(step: int | None = INNER) -> Product:
    """The product by the OpenBLAS that NumPy brings along, in steps of the inner sum (None: in one).

    Raises ImportError where NumPy has no OpenBLAS that shows its C interface.
    """
    # The system looks for a name in a library and in those it was linked with.
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    for pattern, integer in OPENBLAS_NAMES:
        if hasattr(library, pattern.format("sgemm")):
            steps = (step, step and min(step, FEW_ROWS_INNER))
            return by_rows(*(cblas_product(library, pattern, integer, size) for size in steps))
    raise ImportError(
        'products="openblas" needs a NumPy with OpenBLAS inside, as its wheels have: use products="numpy"'
    )


def numpy_product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
    """The product by `numpy.matmul`, in steps of the inner sum, for any layouts and dtypes."""
    np.matmul(a[:, :INNER], b[:INNER], out=out)
    for start in range(INNER, a.shape[1], INNER):
        out += a[:, start : start + INNER] @ b[start : start + INNER]
    return out


def default_product() -> Product:
    """`openblas_product` where there is one, else `numpy_product`."""
    try:
        return openblas_product()
    except ImportError:
        return numpy_product
