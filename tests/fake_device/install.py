"""Puts the fake device under the CuPy wheel of this process. There is no way back."""

from __future__ import annotations

import os
from importlib import import_module

os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
os.environ["CUPY_ACCELERATORS"] = ""

from tests.fake_device.entries import CUBLAS, DRIVER, NVRTC, RUNTIME
from tests.fake_device.libraries import (
    CUBLAS_EXTENSION,
    CUBLAS_LIBRARY,
    CUDA_MAJOR,
    NCCL_EXTENSION,
    install_inside,
    install_library,
    symbols,
)
from tests.fake_device.machine import MACHINE, Machine
from tests.fake_device.nccl import NCCL


def install_libraries() -> None:
    """Put the libraries of the fake device under CuPy, under the names that the wheel asks for."""
    install_library("libcuda.so.1", DRIVER, [])
    install_library(f"libnvrtc.so.{CUDA_MAJOR}", NVRTC, [])
    wanted = symbols(CUBLAS_EXTENSION, "U", "cublas", dynamic=True)
    install_library(CUBLAS_LIBRARY, CUBLAS, list(wanted))
    install_library(f"libcublasLt.so.{CUDA_MAJOR}", {}, [])
    install_library("libnccl.so.2", NCCL, list(symbols(NCCL_EXTENSION, "U", "nccl", dynamic=True)))
    install_inside(import_module("cupy_backends.cuda.api.runtime"), "cuda", RUNTIME)


def install() -> Machine:
    """The machine that CuPy finds from now on."""
    install_libraries()
    from tests.fake_device.pool import watch_pool

    watch_pool()
    return MACHINE
