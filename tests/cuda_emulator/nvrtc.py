"""The kernels compiled by NVRTC as CuPy compiles them, with what ptxas reports on each."""

from __future__ import annotations

import re
from typing import NamedTuple

from cupy.cuda import nvrtc

from tests.cuda_emulator.emulator import cuda_headers

OPTIONS = ("-ftz=true", "--device-as-default-execution-space", "--ptxas-options=-v")
"""What CuPy adds to the options of a RawModule, and a report on every kernel."""

REPORT = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


class Usage(NamedTuple):
    """What one compiled kernel takes of the machine: registers a thread, bytes of shared memory and of spills."""

    registers: int
    shared: int
    spills: int


class Compiled(NamedTuple):
    """usages, names : of each instantiation by its name in C++, what it takes and its name in `cubin`, an ELF file."""

    usages: dict[str, Usage]
    names: dict[str, str]
    cubin: bytes


def compiled(source: str, expressions: list[str], architecture: int, options: tuple[str, ...]) -> Compiled:
    """The instantiations `expressions` of the kernels in `source`; RuntimeError in the compiler's words if it fails."""
    program = nvrtc.createProgram(source, "kernels.cu", (), ())
    for expression in expressions:
        nvrtc.addNameExpression(program, expression)
    every = (f"-arch=sm_{architecture}", *options, *OPTIONS, f"-I{cuda_headers()}")
    try:
        nvrtc.compileProgram(program, every)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(nvrtc.getProgramLog(program)) from error
    reports = {}
    for found in REPORT.finditer(nvrtc.getProgramLog(program)):
        shared = re.search(r"(\d+) bytes smem", found["rest"])
        reports[found["name"]] = Usage(
            int(found["registers"]), int(shared[1]) if shared else 0, int(found["stores"]) + int(found["loads"])
        )
    names = {expression: nvrtc.getLoweredName(program, expression) for expression in expressions}
    cubin = nvrtc.getCUBIN(program) + b"\0"  # CuPy takes it for a string and cuts its last byte off
    nvrtc.destroyProgram(program)
    return Compiled({expression: reports[name] for expression, name in names.items()}, names, cubin)
