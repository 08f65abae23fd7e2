"""Puts the fake device under the CuPy wheel of this process. There is no way back."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
os.environ["CUPY_ACCELERATORS"] = ""

from tests.fake_device.entries import CUBLAS, DRIVER, NVRTC, RUNTIME
from tests.fake_device.libraries import install_inside, install_library, symbols
from tests.fake_device.machine import MACHINE, Machine


def install_libraries() -> None:
    """Put the libraries of the fake device under CuPy."""
    install_library("libcuda.so.1", DRIVER, [])
    install_library("libnvrtc.so.13", NVRTC, [])
    libs = find_spec("cupy_backends.cuda.libs")
    folder = Path(libs.origin).parent
    extension = next(folder.glob("cublas.*.so"))
    install_library("libcublas.so.13", CUBLAS, list(symbols(extension, "U", "cublas", dynamic=True)))
    install_library("libcublasLt.so.13", {}, [])
    install_inside(import_module("cupy_backends.cuda.api.runtime"), "cuda", RUNTIME)


def install() -> Machine:
    """The machine that CuPy finds from now on."""
    install_libraries()
    from tests.fake_device.pool import watch_pool

    watch_pool()
    return MACHINE
