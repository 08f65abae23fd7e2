"""`python -m tests.cuda_emulator`: every check of the CUDA kernels that needs no GPU.

    compile    every instantiation by NVRTC for five architectures: registers, shared memory, no spills
    seed n     every kernel against the readable ops, blocks, warps and lanes in the order of seed n, with address and
               undefined-behaviour sanitizers
    device     the backend end to end: training steps, streams, two devices, planted mistakes of its Python code
    mistakes   planted mistakes of the kernels, each of which must be caught, and the emulator's own tests
    benchmark  what the GPU benchmark computes

All but the first and the last run on the CuPy wheel itself, with the fake device of tests/fake_device below it. Two run
at a time. Ends with one line each and exit status 1 if one failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.cuda_emulator.emulator import sanitizer_environment

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
SEEDS = (1, 2, 3)
FAKE_DEVICE = {"VIPNP_FAKE_DEVICE": "1"}


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
    compiled = Part("compile", ("tests/backends/cupy/test_compile.py", "-s", *everything), {})
    mistakes = Part(
        "mistakes",
        ("tests/fake_device/test_kernel_mistakes.py", "tests/cuda_emulator/test_emulator.py", *everything),
        FAKE_DEVICE,
    )
    benchmark = Part("benchmark", ("tests/benchmarks/test_gpu_step.py", *everything), {})
    device = Part("device", ("tests/fake_device", "--ignore-glob=*kernel*", *everything), FAKE_DEVICE)
    return [seeds[0], compiled, mistakes, device, benchmark, *seeds[1:]]


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
    sys.exit(main())
