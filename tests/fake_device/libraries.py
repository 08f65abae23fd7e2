"""The shared libraries of CUDA, made of functions in Python.

The CuPy wheel reaches CUDA in three ways: cuBLAS and NCCL are linked to it, the driver and NVRTC are opened by name,
and the runtime is inside the wheel. So a library with the names of the first four is compiled and loaded before the
wheel looks for it, and every entry point, those of the runtime in the wheel too, gets a jump to a function written
here. x86-64 Linux alone.
"""

from __future__ import annotations

import atexit
import ctypes
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NOT_SUPPORTED = 801

PAGE = 4096
WRITABLE, EXECUTABLE = 0b011, 0b101
"""Protections of a page: read and write; read and execute."""

Entry = Callable[..., int]
"""A C function: its parameters are annotated with ctypes, it returns a status."""

_callbacks: list[Any] = []
"""What C may call must not be collected."""

_libc = ctypes.CDLL(None)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def symbols(library: str | Path, kind: str, prefix: str, *, dynamic: bool = False) -> dict[str, int]:
    """The symbols in `library` of one of the kinds that nm names, such as "tT" or "U": their offsets by name."""
    command = ["nm", *(["-D"] if dynamic else []), str(library)]
    found = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        *address, letter, name = line.split()
        name = name.split("@")[0]
        if letter in kind and name.startswith(prefix):
            found[name] = int(address[0], 16) if address else 0
    return found


def cublas() -> tuple[Path, str]:
    """The part of the wheel that is linked to cuBLAS, and the name of the library it asks for, "libcublas.so.13"."""
    libs = find_spec("cupy_backends.cuda.libs")
    assert libs is not None
    assert libs.origin is not None
    extension = next(Path(libs.origin).parent.glob("cublas.*.so"))
    listed = subprocess.run(["nm", "-D", str(extension)], check=True, capture_output=True, text=True).stdout
    return extension, next(line.split("@")[-1] for line in listed.splitlines() if " cublasCreate_v2@" in line)


CUBLAS_EXTENSION, CUBLAS_LIBRARY = cublas()
NCCL_EXTENSION = next(CUBLAS_EXTENSION.parent.glob("nccl.*.so"))
"""The part of the wheel that is linked to NCCL."""

CUDA_MAJOR = int(CUBLAS_LIBRARY.rpartition(".")[2])
"""Of the wheel, whose builds for CUDA 12 and 13 differ in the libraries they ask for."""


def make_library(name: str, functions: list[str], folder: Path) -> ctypes.CDLL:
    """A library `name` of empty functions, loaded so that who opens that name gets it."""
    source, versions, library = folder / "empty.c", folder / "versions", folder / name
    source.write_text("\n".join(f"__attribute__((aligned(16))) int {f}(void) {{ return 1; }}" for f in functions))
    versions.write_text(f"{name} {{ global: *; }};\n")
    linked = f"-Wl,-soname,{name},--version-script={versions}"
    subprocess.run(["cc", "-shared", "-fPIC", linked, "-o", str(library), str(source)], check=True)
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def divert(address: int, function: Entry) -> None:
    """Whoever calls the C function at `address` calls `function`."""
    types = [kind for name, kind in function.__annotations__.items() if name != "return"]
    result = ctypes.c_void_p if function.__annotations__.get("return") is ctypes.c_void_p else ctypes.c_int
    callback = ctypes.CFUNCTYPE(result, *types)(function)
    _callbacks.append(callback)
    target = ctypes.cast(callback, ctypes.c_void_p).value or 0
    overwrite(address, jump(target))
    # CuPy frees what it has when Python is gone already.
    atexit.register(overwrite, address, b"\x31\xc0\xc3")  # xor eax, eax; ret


def jump(target: int) -> bytes:
    """Machine code that goes on at `target`."""
    return b"\x48\xb8" + target.to_bytes(8, "little") + b"\xff\xe0"  # mov rax, target; jmp rax


def overwrite(address: int, code: bytes) -> None:
    """Put machine code in the place of what is at `address`."""
    page = address // PAGE * PAGE
    length = address + len(code) - page
    _libc.mprotect(page, length, WRITABLE)
    ctypes.memmove(address, code, len(code))
    _libc.mprotect(page, length, EXECUTABLE)


def refusal(name: str) -> Entry:
    """A function of CUDA that the fake device does without."""

    def refuse() -> int:
        print(f"the fake device has no {name}")
        return NOT_SUPPORTED

    return refuse


def address_of(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0


def install_library(name: str, entries: Mapping[str, Entry], wanted: list[str]) -> None:
    """Load a library `name` with `entries`, and with refusals for the other names in `wanted`."""
    functions = sorted({*entries, *wanted})
    with tempfile.TemporaryDirectory() as folder:
        library = make_library(name, functions, Path(folder))
    for function in functions:
        divert(address_of(library, function), entries.get(function) or refusal(function))


def inside(module: Any, prefix: str) -> dict[str, int]:
    """The addresses of the functions `prefix`... that are linked into the extension `module`."""
    entry = f"PyInit_{module.__name__.rpartition('.')[2]}"
    base = address_of(ctypes.CDLL(module.__file__), entry) - symbols(module.__file__, "T", entry)[entry]
    return {name: base + offset for name, offset in symbols(module.__file__, "tT", prefix).items()}


def install_inside(module: Any, prefix: str, entries: Mapping[str, Entry]) -> None:
    """Divert the functions `prefix`... that are linked into the extension `module`: to `entries` or to refusals."""
    addresses = inside(module, prefix)
    unknown = set(entries) - set(addresses)
    if unknown:
        raise RuntimeError(f"{module.__file__} has no {', '.join(sorted(unknown))}")
    for name, address in addresses.items():
        divert(address, entries.get(name) or refusal(name))
