"""`mpirun -n R vipnp train`: the same bits for any R, and one clear message when a rank cannot go on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_run import assert_same_bits
from vipnp.train.run import states

pytest.importorskip("mpi4py")
ROOT = Path(__file__).parent.parent
MPIRUN = Path(sys.executable).parent / "mpirun"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "500"}


def program(ranks: int, *arguments: str | Path, script: str = "") -> list[str]:
    launcher = [str(MPIRUN), "-n", str(ranks)] if ranks else []
    return [*launcher, sys.executable, "-m", "tests.mpi_program", script, *map(str, arguments)]


def ran(ranks: int, *arguments: str | Path, script: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(ranks, *arguments, script=script),
        env={**ENVIRONMENT, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


DIGITS = "train digits --drop-path 0.2 --mixup 0.4 --clip-grad 0.5 --workers 1 --save-every 5"
KINDS = [(backend, dtype) for backend in ("numpy", "numba") for dtype in ("float32", "float64")]


def train(folder: Path, ranks: int, batch_size: int, kinds: list[tuple[str, str]]) -> None:
    """An epoch of the digits, of 1437 images, in one process (ranks = 0) or under mpirun."""
    common = f"{DIGITS} --epochs 1 --batch-size {batch_size}"
    commands = [f"{common} --backend {b} --dtype {d} -o {folder / f'{b}-{d}-{ranks}'}" for b, d in kinds]
    done = ran(ranks, *commands)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (f"{ranks} ranks, each {8 // max(ranks, 1)} of 8 shards" in done.stdout) == (ranks > 1), done.stdout


def assert_any_number_gives_the_same_bits(folder: Path, numbers: list[int], batch_size: int, kinds: list[Any]) -> None:
    for ranks in (0, *numbers):
        train(folder, ranks, batch_size, kinds)
        for backend, dtype in kinds:
            one, other = folder / f"{backend}-{dtype}-0", folder / f"{backend}-{dtype}-{ranks}"
            assert_same_bits(one, other)
            assert states(other)[-1].name == f"step-{-(-1437 // batch_size):08}.safetensors"


@pytest.mark.ranks
def test_any_number_of_ranks_gives_the_same_bits_after_fifty_steps(tmp_path: Path) -> None:
    """Drop path, mixup and clipping; two backends, two dtypes; more ranks than cores."""
    assert_any_number_gives_the_same_bits(tmp_path, [1, 2, 4, 8], 29, KINDS)


def test_two_and_four_ranks_give_the_same_bits(tmp_path: Path) -> None:
    """Likewise for a few steps, of which the last has one image, for one of the ranks."""
    assert_any_number_gives_the_same_bits(tmp_path, [2, 4], 359, [("numpy", "float64"), ("numba", "float32")])
