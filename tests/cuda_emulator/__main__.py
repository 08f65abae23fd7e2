"""`python -m tests.cuda_emulator`: every check of the CUDA kernels that needs no GPU.

    compile    every instantiation by NVRTC for five architectures: registers, shared memory, no spills
    seed n     every kernel against the readable ops, blocks, warps and lanes in the order of seed n, with address and
               undefined-behaviour sanitizers
    device     the backend end to end: training steps, streams, two devices, planted mistakes of its Python code
    mistakes   planted mistakes of the kernels, each of which must be caught, and the emulator's own tests
    benchmark  what the GPU benchmark computes
    cuda12     training, graphs and the first cases in bfloat16, on the CuPy wheel for CUDA 12
    compile12  every instantiation by the NVRTC of CUDA 12 for sm_90

All but compile, compile12 and benchmark run on the CuPy wheel itself, with the fake device of tests/fake_device below
it. Two run at a time. Ends with one line each and exit status 1 if one failed. The wheel for CUDA 12 and its NVRTC
stand in a folder of their own, where `make .venv/.cuda12` puts them; the other parts use the wheel for CUDA 13.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.cuda_emulator.emulator import sanitizer_environment
from tools.arguments import takes_none

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
SEEDS = (1, 2, 3)
FAKE_DEVICE = {"VIPNP_FAKE_DEVICE": "1"}

CUDA12_FOLDER = Path(sys.prefix) / "cuda12"
CUDA12 = {
    "VIPNP_CUDA": "12",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(CUDA12_FOLDER), os.environ.get("PYTHONPATH")])),
}
CUDA12_COMPILER = {"LD_PRELOAD": str(CUDA12_FOLDER / "nvidia" / "cuda_nvrtc" / "lib" / "libnvrtc.so.12")}
"""CuPy takes an NVRTC that is loaded already; left alone it finds that of CUDA 13 in the environment first."""
BESIDE_CUDA13 = (
    "-o",
    r"filterwarnings=error"
    "\n"
    r"ignore:\s+-+\s+CuPy may not function correctly because multiple CuPy packages are installed:UserWarning",
)
"""CuPy warns of the other wheel in the environment, which stands behind this one and is not imported."""
WHEEL = "tests/cuda_emulator/test_wheel.py"
PRECISIONS = ("float32", "tf32", "bfloat16")
IN_EACH_PRECISION = (
    "test_training.py::test_losses_are_those_of_numpy",
    "test_graph.py::test_same_bits_as_the_step_as_it_comes",
)


class Part(NamedTuple):
    """One run of pytest: its name, its arguments and what it adds to the environment."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


def parts() -> list[Part]:
    """Everything there is to run, in an order in which kernels are compiled once."""
    everything = ("-m", "kernels or not kernels")
    sanitized = sanitizer_environment()
    seeds = [
        Part(
            f"seed {n}",
            ("tests/fake_device/test_kernels.py", *everything),
            {**sanitized, **FAKE_DEVICE, "VIPNP_EMULATOR_SEED": str(n)},
        )
        for n in SEEDS
    ]
    compiled = Part("compile", (WHEEL, "tests/backends/cupy/test_compile.py", "-s", *everything), {})
    mistakes = Part(
        "mistakes",
        ("tests/fake_device/test_kernel_mistakes.py", "tests/cuda_emulator/test_emulator.py", *everything),
        FAKE_DEVICE,
    )
    benchmark = Part("benchmark", ("tests/benchmarks/test_gpu_step.py", *everything), {})
    device = Part("device", ("tests/fake_device", "--ignore-glob=*kernel*", *everything), FAKE_DEVICE)
    cuda12 = Part(
        "cuda12",
        (
            WHEEL,
            *(f"tests/fake_device/{test}[{precision}-lazy]" for precision in PRECISIONS for test in IN_EACH_PRECISION),
            "tests/fake_device/test_training.py::test_a_step_on_the_second_device",
            "tests/fake_device/test_backend.py::test_steps_use_every_entry_of_the_table",
            "tests/fake_device/test_kernels.py::test_replacement_against_the_readable_op",
            *("-k", "not replacement or bfloat16-0", *BESIDE_CUDA13, *everything),
        ),
        {**FAKE_DEVICE, **CUDA12},
    )
    compiled12 = Part(
        "compile12",
        (WHEEL, "tests/backends/cupy/test_compile.py", "-k", "not instantiation or 90", *BESIDE_CUDA13, *everything),
        {**CUDA12, **CUDA12_COMPILER},
    )
    return [seeds[0], compiled, mistakes, device, benchmark, cuda12, compiled12, *seeds[1:]]


def run(part: Part) -> tuple[str, int, float]:
    """Its name, exit status and seconds; its output is printed when it is over."""
    start = time.perf_counter()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", **part.environment}
    done = subprocess.run([*PYTEST, *part.arguments], env=environment, capture_output=True, text=True, check=False)
    print(f"--- {part.name}\n{done.stdout}{done.stderr if done.returncode else ''}", flush=True)
    return part.name, done.returncode, time.perf_counter() - start


def main() -> int:
    start = time.perf_counter()
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(run, parts()))
    for name, status, seconds in results:
        print(f"{name:10s} {'passed' if status == 0 else 'FAILED'} {seconds:6.0f} s")
    print(f"{'together':10s}        {time.perf_counter() - start:6.0f} s")
    return int(any(status for _, status, _ in results))


if __name__ == "__main__":
    takes_none(__doc__)
    sys.exit(main())
