"""A cuBLAS handle whose products a CUDA graph can record: CuPy refuses its own while a stream is captured."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from cupy.cuda import runtime
from cupy_backends.cuda import libs

from vipnp.core import Array

_INT, _POINTER = ctypes.c_int, ctypes.c_void_p

SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasDestroy_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasGemmEx": (
        *(_POINTER, _INT, _INT, _INT, _INT, _INT, _POINTER),
        *(_POINTER, _INT, _INT) * 2,
        *(_POINTER, _POINTER, _INT, _INT),
        *(_INT, _INT),
    ),
}


@cache
def _library() -> ctypes.CDLL:
    """The cuBLAS that CuPy has loaded: the loader finds it by its name."""
    _ = libs.cublas
    library = ctypes.CDLL(f"libcublas.so.{runtime.runtimeGetVersion() // 1000}")
    for name, types in SIGNATURES.items():
        getattr(library, name).argtypes = types
    return library


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_library(), name)(*arguments)
    if status:
        raise RuntimeError(f"{name}: got status {status} of cuBLAS")


class RecordableBlas:
    """A handle on one stream with a workspace of its own: what a graph records must not lie in memory that others use.

    Parameters
    ----------
    stream : the stream that is going to be captured.
    workspace : an array that nobody else uses as long as the graph lives.
    """

    def __init__(self, stream: Any, workspace: Array) -> None:
        handle = ctypes.c_void_p()
        _call("cublasCreate_v2", ctypes.byref(handle))
        self._handle = handle
        _call("cublasSetStream_v2", handle, stream.ptr)
        # After the stream: setting that takes a workspace away.
        _call("cublasSetWorkspace_v2", handle, workspace.data.ptr, workspace.nbytes)

    def gemm(self, *arguments: Any) -> None:
        """`cublasGemmEx` without its handle."""
        _call("cublasGemmEx", self._handle, *arguments)

    def close(self) -> None:
        """Give the handle back."""
        _call("cublasDestroy_v2", self._handle)
