"""`python -m tests.cuda_emulator`: every check of the CUDA kernels that needs no GPU.

    compile    every instantiation by NVRTC for five architectures: registers, shared memory, no spills
    seed n     every kernel against the readable ops, blocks, warps and lanes in the order of seed n, with address and
               undefined-behaviour sanitizers
    backend    the backend's own Python code on a stand-in for CuPy, and what the GPU benchmark computes
    device     the CuPy wheel itself on a fake device: training steps, streams, two devices, planted mistakes
    mistakes   planted mistakes, each of which must be caught, and the emulator's own tests

Two run at a time. Ends with one line each and exit status 1 if one failed.
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
        Part(f"seed {n}", ("tests/test_cuda_kernels.py", *everything), {**sanitized, "VIPNP_EMULATOR_SEED": str(n)})
        for n in SEEDS
    ]
    compiled = Part("compile", ("tests/test_cuda_compile.py", "-s", *everything), {})
    mistakes = Part("mistakes", ("tests/test_cuda_mistakes.py", "tests/test_cuda_emulator.py", *everything), {})
    backend = Part("backend", ("tests/test_cuda_backend.py", "tests/test_cuda_benchmark.py", *everything), {})
    device = Part("device", ("tests/fake_device", *everything), {"VIPNP_FAKE_DEVICE": "1"})
    return [seeds[0], compiled, mistakes, backend, device, *seeds[1:]]


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
