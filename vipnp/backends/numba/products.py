"""Who multiplies the matrices of the fused CPU table: OpenBLAS, oneDNN, MKL or NumPy, behind one signature.

The first and the last are those of vipnp.backends.numpy.blas; oneDNN and MKL are loaded here.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_name

from vipnp.backends.numba.choice import by_kind, kept
from vipnp.backends.numba.kernels.adamw import adamw_entries
from vipnp.backends.numba.kernels.compiler import cache_folder
from vipnp.backends.numpy.blas import (
    INNER,
    Product,
    cblas_product,
    default_product,
    in_steps,
    numpy_product,
    openblas_product,
)
from vipnp.backends.numpy.threads import share
from vipnp.core import HostArray

AMD = ("amdfam", "athlon", "barcelona", "bdver", "btver", "k8", "opteron", "znver")
"""How LLVM's names of AMD's processors begin."""


DISTRIBUTIONS: Mapping[str, str] = MappingProxyType(
    {"numpy": "numpy", "openblas": "numpy", "onednn": "onednn-cpu-gomp", "mkl": "mkl"}
)
"""Library -> the distribution that brings it."""

MKL_THREADING_SEQUENTIAL = 1
"""From mkl_service.h."""


def mkl_product() -> Product:
    """The product by MKL, in as many threads as the calling thread has of the cores.

    It is one elsewhere than on Linux, where PyTorch brings the OpenMP of Intel that MKL would load a second time, which
    ends the process. In a forked process `default_product` multiplies: Intel's OpenMP may wait there for ever.
    Raises ImportError naming the extra if the `mkl` wheel is missing or cannot be loaded.
    """
    library = library_of(DISTRIBUTIONS["mkl"], ("libmkl_rt.", "mkl_rt."), extra="mkl", title="MKL")
    if sys.platform != "linux":
        library.MKL_Set_Threading_Layer(MKL_THREADING_SEQUENTIAL)
    multiply = cblas_product(library, "cblas_{}", ctypes.c_int, None)
    process, in_fork = os.getpid(), default_product()

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        if os.getpid() != process:
            return in_fork(a, b, out)
        threads = min(share.threads, library.MKL_Get_Max_Threads())
        before = library.MKL_Set_Num_Threads_Local(0)  # an interrupt that comes now leaves MKL's default
        try:
            library.MKL_Set_Num_Threads_Local(threads)
            return multiply(a, b, out)
        finally:
            library.MKL_Set_Num_Threads_Local(before)

    return product


def onednn_product() -> Product:
    """The product by oneDNN's dnnl_sgemm, in steps of the inner sum; in float64, which it lacks, by `default_product`.

    oneDNN starts as many threads of OpenMP as the calling thread has of the cores. How many it may start is a property
    of the calling thread, which is put back. In a forked process it is one: GNU's OpenMP has lost its threads there and
    would wait for them for ever.
    Raises ImportError naming the extra if its wheel is missing or cannot be loaded.
    """
    library = library_of(DISTRIBUTIONS["onednn"], ("libdnnl.",), extra="onednn", title="oneDNN")
    letter, size, real, pointer = ctypes.c_char, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    sgemm = library.dnnl_sgemm
    sgemm.argtypes = [letter, letter, size, size, size, real, *[pointer, size] * 2, real, pointer, size]
    get_threads, set_threads = library.omp_get_max_threads, library.omp_set_num_threads
    process = os.getpid()

    def gemm(*arguments: Any) -> None:
        before = get_threads()
        try:
            set_threads(min(share.threads, before) if os.getpid() == process else 1)
            status = sgemm(*arguments)
        finally:
            set_threads(before)
        if status:
            M, N, K = arguments[2:5]
            raise RuntimeError(f"oneDNN's dnnl_sgemm failed with status {status} on ({M}, {K}) @ ({K}, {N})")

    single, double = in_steps({np.dtype(np.float32): gemm}, (b"N", b"T"), INNER), default_product()

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        return (single if out.dtype == np.float32 else double)(a, b, out)

    return product


def library_of(distribution: str, names: tuple[str, ...], *, extra: str, title: str) -> Any:
    """The shared library of an installed distribution whose file name begins with one of `names`.

    Raises ImportError naming the extra if it is missing or cannot be loaded.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name.startswith(names) and not file.name.endswith(".lib"):
            try:
                return ctypes.CDLL(str(file.locate()))
            except OSError as problem:
                raise ImportError(f'{title} cannot be loaded ({problem}): pip install "vipnp[{extra}]"') from problem
    raise ImportError(f'products="{extra}" needs {title}, which is not installed: pip install "vipnp[{extra}]"')


def by_share(divided: Product, undivided: Product) -> Product:
    """`divided` for the parts of a batch, one thread each; `undivided` where one part has all the threads."""

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        return (undivided if share.undivided else divided)(a, b, out)

    return product


def libraries() -> dict[str, Product]:
    """Name -> product, of those that are there: mkl, onednn and what NumPy brings along, on AMD's processors mkl last.
    Warns of a library that is installed and cannot be loaded."""
    makers = {"mkl": mkl_product, "onednn": onednn_product}
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as problem:
            if isinstance(problem.__cause__, OSError):
                warnings.warn(f"{problem}; until then another library multiplies", RuntimeWarning, stacklevel=2)
    last = default_product()
    found["numpy" if last is numpy_product else "openblas"] = last
    if "mkl" in found and get_host_cpu_name().startswith(AMD):
        found["mkl"] = found.pop("mkl")
    return found


def ranked_product() -> Product:
    """The first of `libraries`.

    MKL is ahead in one thread and behind in the several that a single image has, oneDNN there on a busy machine: so
    `default_product` multiplies then. The choice depends on nothing that varies between runs, since other products
    round otherwise.
    """
    found = libraries()
    first, last = next(iter(found.values())), default_product()
    return first if first is last else by_share(first, last)


def measured_product() -> tuple[Product, str, str]:
    """(the product by the library that was the fastest on this machine for its kind, how that is known, the library of
    every kind).

    What is not divided is left to `default_product` as in `ranked_product`, which takes the place of this one where
    there is one library only or no choice can be kept (choice.py).
    """
    found = libraries()
    first = next(iter(found))
    if len(found) == 1:
        return found[first], f"{first}, the only one that is installed", first
    versions = {name: metadata.version(DISTRIBUTIONS[name]) for name in found}
    choice, source = kept(found, {"processor": get_host_cpu_name(), **versions}, cache_folder(adamw_entries))
    if choice is None:
        return by_share(found[first], default_product()), f"{first}, {source}", first
    counts = Counter(choice.values())
    named = " and ".join(f"{name} for {counts[name]}" for name in found if counts[name])
    note = f"{named} of {len(choice)} kinds of products, {source}"
    several = "; ".join(f"{kind}: {name}" for kind, name in sorted(choice.items()))
    kinds = several if len(counts) > 1 else next(iter(counts))
    return by_share(by_kind(found, choice), default_product()), note, kinds


PRODUCTS: Mapping[str, Callable[[], Product]] = MappingProxyType(
    {
        "auto": lambda: measured_product()[0],
        "ranked": ranked_product,
        "openblas": openblas_product,
        "onednn": onednn_product,
        "mkl": mkl_product,
        "numpy": lambda: numpy_product,
    }
)
"""Name -> the function that makes the product."""
