"""Who multiplies the matrices of the fused CPU table: OpenBLAS, MKL or NumPy, behind one signature.

The first and the last are those of vipnp.backends.blas; MKL is loaded here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from importlib import metadata
from types import MappingProxyType

from llvmlite.binding import get_host_cpu_name

from vipnp.backends.blas import Product, cblas_product, default_product, numpy_product, openblas_product

MKL_THREADING_SEQUENTIAL = 1
"""From mkl_service.h."""

AMD = ("amdfam", "athlon", "barcelona", "bdver", "btver", "k8", "opteron", "znver")
"""How LLVM's names of AMD's processors begin."""


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


def fastest_product() -> Product:
    """MKL where it is installed, unless the processor is AMD's, on which OpenBLAS is the faster; else OpenBLAS, else
    NumPy.

    The choice depends on nothing that varies between runs, since other products round otherwise.
    """
    if not get_host_cpu_name().startswith(AMD):
        try:
            return mkl_product()
        except ImportError:
            pass
    return default_product()


PRODUCTS: Mapping[str, Callable[[], Product]] = MappingProxyType(
    {"auto": fastest_product, "openblas": openblas_product, "mkl": mkl_product, "numpy": lambda: numpy_product}
)
"""Name -> the function that makes the product."""
