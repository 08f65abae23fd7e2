"""Compiles CUDA kernels with g++ behind cuda_emulator.h, and runs them.

Environment:
    VIPNP_EMULATOR_SANITIZE=1   address and undefined-behaviour sanitizers; Python must have libasan preloaded
                                (`sanitizer_environment`), and the process ends at the first fault
    VIPNP_EMULATOR_SEED=n       the seed of the order of blocks, warps and lanes
    CXX                         the compiler, g++ unless given
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
HEADER, RUNTIME = HERE / "cuda_emulator.h", HERE / "cuda_emulator.cpp"
BUILD = HERE / "build"

COMPILER = os.environ.get("CXX", "g++")
# Hidden, because CuPy's own kernels of one name and other arguments must not share what a template holds.
FLAGS = (
    *("-std=c++20", "-O0", "-fPIC", "-fvisibility=hidden"),
    *("-fno-strict-aliasing", "-ffp-contract=off", "-Wno-unknown-pragmas"),
)
EXPORTED = 'extern "C" __attribute__((visibility("default")))'
SANITIZERS = ("-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


class KernelError(RuntimeError):
    """What the emulator found wrong in a kernel while it ran."""


def sanitizing() -> bool:
    """Whether kernels are compiled with the sanitizers."""
    return os.environ.get("VIPNP_EMULATOR_SANITIZE") == "1"


def seed() -> int:
    """The seed of the order in which blocks, warps and lanes run."""
    return int(os.environ.get("VIPNP_EMULATOR_SEED", "1"))


def sanitizer_environment() -> dict[str, str]:
    """The environment of a Python process that loads kernels compiled with the sanitizers."""
    library = subprocess.run(
        [COMPILER, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:abort_on_error=0:exitcode=99",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
        "VIPNP_EMULATOR_SANITIZE": "1",
    }


@cache
def cuda_headers() -> Path:
    """The folder of cuda_bf16.h: that of the wheel nvidia-cuda-runtime, or of a CUDA toolkit."""
    wheel = importlib.util.find_spec("nvidia")
    folders = [Path(root) for root in (wheel.submodule_search_locations or [] if wheel else [])]
    candidates = [header.parent for folder in folders for header in sorted(folder.glob("*/include/cuda_bf16.h"))]
    toolkit = Path(os.environ.get("CUDA_PATH", "/usr/local/cuda")) / "include"
    for candidate in (*candidates, toolkit):
        if (candidate / "cuda_bf16.h").is_file():
            return candidate
    raise RuntimeError("found no cuda_bf16.h: pip install nvidia-cuda-runtime")


def build(source: str, expressions: Sequence[str], options: Sequence[str] = (), *, sanitized: bool) -> Path:
    """The shared library of the kernels `expressions` in `source`; made once for the same text, flags and `options`."""
    lines = [f'#include "{HEADER.name}"', '#line 1 "kernel.cu"', source, '#line 1 "launchers.cpp"']
    for i, expression in enumerate(expressions):
        launch = f"emulator::Launch<&{expression}>"
        lines.append(
            f"{EXPORTED} const char* run_{i}(const unsigned* grid, const unsigned* block, void** arguments, "
            f"unsigned seed) {{ return {launch}::run(grid, block, arguments, seed); }}"
            f"{EXPORTED} const char* signature_{i}() {{ return {launch}::signature(); }}"
        )
    text = "\n".join(lines)
    flags = (*FLAGS, *(SANITIZERS if sanitized else ()), *options)
    library = BUILD / f"{_key(text, *flags)}.so"
    if not library.exists():
        runtime = _runtime(flags)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            unit, made = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
            unit.write_text(text)
            _compile(*flags, "-shared", f"-I{runtime}", str(unit), str(runtime / "runtime.o"), "-o", str(made))
            made.replace(library)
    return library


@cache
def _runtime(flags: tuple[str, ...]) -> Path:
    """A folder with the emulator's header, what g++ makes of it, and the emulator itself, which every library holds:
    three quarters of the time of a small kernel went into these two."""
    folder = BUILD / _key("runtime", *flags)
    if not folder.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as made:
            header = Path(made) / "runtime" / HEADER.name
            header.parent.mkdir()
            header.write_text(HEADER.read_text())
            _compile(*flags, "-x", "c++-header", "-w", str(header), "-o", f"{header}.gch")
            _compile(*flags, "-c", str(RUNTIME), "-o", str(header.parent / "runtime.o"))
            with contextlib.suppress(OSError):  # another process was first
                header.parent.rename(folder)
    return folder


def _key(*parts: str) -> str:
    emulator = (HEADER.read_text(), RUNTIME.read_text(), COMPILER, str(cuda_headers()))
    return hashlib.sha256("\0".join([*parts, *emulator]).encode()).hexdigest()[:24]


def _compile(*arguments: str) -> None:
    command = [COMPILER, *arguments, f"-isystem{HERE / 'headers'}", f"-isystem{cuda_headers()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{COMPILER} could not compile the kernels:\n{done.stderr[:4000]}")


class Kernel:
    """One compiled kernel.

    parameters : the kind of each parameter in C++: "float32*" is a pointer, "int32" a number, "struct 40 ..." a class
    of 40 bytes. reads_only : whether the parameter is a pointer to what the kernel must not write.
    """

    def __init__(self, library: ctypes.CDLL, index: int, expression: str) -> None:
        self.expression = expression
        self._run = getattr(library, f"run_{index}")
        self._run.restype = ctypes.c_char_p
        signature = getattr(library, f"signature_{index}")
        signature.restype = ctypes.c_char_p
        kinds = signature().decode().split(",")[:-1]
        self.parameters = tuple(kind.removeprefix("const ") for kind in kinds)
        self.reads_only = tuple(kind.startswith("const ") for kind in kinds)

    def __call__(self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[bytes]) -> None:
        """Run the whole grid; `arguments` are the bytes of each parameter.

        Raises KernelError for a race, a barrier not reached by all, or a wrong index into shared memory.
        """
        three = ctypes.c_uint * 3
        buffers = [ctypes.create_string_buffer(value, len(value)) for value in arguments]
        pointers = (ctypes.c_void_p * len(buffers))(*(ctypes.addressof(buffer) for buffer in buffers))
        error = self._run(three(*(*grid, 1, 1)[:3]), three(*(*block, 1, 1)[:3]), pointers, ctypes.c_uint(seed()))
        if error:
            raise KernelError(f"{self.expression}: {error.decode()}")


def load(
    source: str, expressions: Sequence[str], options: Sequence[str] = (), *, sanitized: bool | None = None
) -> dict[str, Kernel]:
    """The kernels `expressions` of `source`, compiled with `options` beside the emulator's own; with the sanitizers
    where `sanitizing()` says so, unless `sanitized` is given."""
    sanitized = sanitizing() if sanitized is None else sanitized
    library = ctypes.CDLL(str(build(source, expressions, options, sanitized=sanitized)))
    return {name: Kernel(library, i, name) for i, name in enumerate(expressions)}
