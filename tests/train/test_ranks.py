"""`mpirun -n R vipnp train`: the same bits for any R, and one clear message when a rank cannot go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.train.processes import parent, running
from tests.train.test_run import assert_same_bits
from vipnp.checkpoint import load_weights
from vipnp.train.folder import states
from vipnp.train.ranks import LAUNCHERS_TURN, MPIRanks
from vipnp.train.settings import read_settings
from vipnp.train.watch import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheel with mpirun is for Linux")
ROOT = Path(__file__).parents[2]
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
        timeout=600,
    )


DIGITS = "train digits --drop-path 0.2 --mixup 0.4 --clip-grad 0.5 --workers 1 --save-every 5"
KINDS = [(backend, dtype) for backend in ("numpy", "numba") for dtype in ("float32", "float64")]


def train(folder: Path, ranks: int, batch_size: int, kinds: list[tuple[str, str]]) -> None:
    """An epoch of the digits, of 1437 images, in one process (ranks = 0) or under mpirun."""
    common = f"{DIGITS} --epochs 1 --batch-size {batch_size}"
    commands = [f"{common} --backend {b} --precision {d} -o {folder / f'{b}-{d}-{ranks}'}" for b, d in kinds]
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


def test_the_fast_sum_is_near_the_exact_one(tmp_path: Path) -> None:
    """Float64 gradients are added in another order: after ten steps the weights differ by 1e-9 at most, the tolerance
    stated in docs/scale.md."""
    common = f"{DIGITS} --epochs 2 --batch-size 359 --backend numpy --precision float64"
    done = ran(4, *(f"{common} --reduce {how} -o {tmp_path / how}" for how in ("exact", "fast")))
    assert done.returncode == 0, done.stderr
    exact, fast = (load_weights(states(tmp_path / how)[-1]) for how in ("exact", "fast"))
    moved = 0.0
    for name, value in exact.items():
        np.testing.assert_allclose(fast[name], value, rtol=0, atol=1e-9, err_msg=name)
        moved = max(moved, float(np.abs(value).max()))
    assert moved > 0.1
    assert read_settings(tmp_path / "fast").reduce == "fast"


QUICK = f"{DIGITS} --epochs 2 --batch-size 359 --backend numpy"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, of ten steps."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    assert ran(0, f"{QUICK} -o {folder}").returncode == 0
    return folder


def test_a_rank_reads_only_its_own_images(quick: Path, tmp_path: Path) -> None:
    """Of four ranks together every image once an epoch, each rank no more than its shards of a batch; held-out images
    once an epoch as well."""
    done = ran(4, f"{QUICK} -o {tmp_path / 'run'}", script="count_reads", READS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    texts = [(tmp_path / f"{rank}.txt").read_text() for rank in range(4)]
    logs = [[tuple(map(int, line.split())) for line in text.splitlines()] for text in texts]
    reads = Counter(read for log in logs for read in log)
    assert set(reads) == {(n, index) for n in (1437, 360) for index in range(n)}
    assert set(reads.values()) == {2}
    trained = [sum(n == 1437 for n, _ in log) for log in logs]
    assert sum(trained) == 2 * 1437
    assert max(trained) - min(trained) <= 2 * 5
    assert_same_bits(quick, tmp_path / "run")


def test_a_sharded_optimizer_gives_the_same_bits(quick: Path, tmp_path: Path) -> None:
    """Four ranks, and then from the state in the middle on two, and one; each keeps the means of its own part."""
    folder = tmp_path / "run"
    means = None
    for ranks, command in (
        (4, f"{QUICK} -o {folder}"),
        (2, f"train --resume {folder}"),
        (0, f"train --resume {folder}"),
    ):
        done = ran(ranks, f"{command} --shard-optimizer")
        assert done.returncode == 0, done.stderr
        assert_same_bits(quick, folder)
        if ranks:
            (line,) = re.findall(r"^MB of running means of the optimiser, by rank: (.+)$", done.stdout, re.MULTILINE)
            parts = list(map(float, line.split(", ")))
            assert len(parts) == ranks
            assert max(parts) < 1.5 * sum(parts) / ranks
            assert means is None or sum(parts) == pytest.approx(means, abs=0.05 * 6)
            means = sum(parts)
        states(folder)[-1].unlink()


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_sharded_optimizer_with_rates_by_layer(tmp_path: Path, ranks: int) -> None:
    """In float64 on the numba backend; of the head alone most ranks own nothing."""
    for name, rates in (("layers", "--layer-decay 0.7"), ("head", "--head-only")):
        common = f"{DIGITS} --epochs 2 --batch-size 359 --backend numba --precision float64 {rates}"
        one, other = tmp_path / f"{name}-1", tmp_path / name
        for command in (f"{common} -o {one}", f"{common} --shard-optimizer -o {other}"):
            done = ran(0 if command.endswith("-1") else ranks, command)
            assert done.returncode == 0, done.stderr
        assert_same_bits(one, other)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("other_images", "images: rank 1 has a list of CRC-32 "),
        ("other_version", "version of numpy: rank 1 has 1.0, rank 0 has "),
        ("other_start", "weights: rank 1 has "),
        ("other_weights", "weights after step 2: rank 1 has "),
        ("fails_later", "rank 1: the disk is on fire"),
        ("no_mpi4py", 'mpirun: mpi4py is not installed: pip install "vipnp[mpi]"'),
    ],
)
def test_ranks_that_cannot_go_on_together(tmp_path: Path, script: str, message: str) -> None:
    done = ran(2, f"{QUICK} -o {tmp_path / 'run'}", script=script)
    assert done.returncode == 2, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"error: {message}")


def test_ranks_that_do_not_divide_the_shards(quick: Path, tmp_path: Path) -> None:
    """In a new run, of which nothing is then written, and in one that goes on."""
    for command in (f"{QUICK} -o {tmp_path / 'run'}", f"train --resume {quick} --epochs 3"):
        done = ran(3, command)
        assert done.returncode == 2
        expected = "error: ranks: got 3, expected a divisor of the 8 shards of a batch (--shards)\n"
        assert done.stderr == expected
    assert not (tmp_path / "run").exists()


def test_ranks_with_other_options(tmp_path: Path) -> None:
    one, other = (program(0, f"{QUICK} --lr {lr} -o {tmp_path / 'run'}") for lr in (1e-3, 2e-3))
    done = subprocess.run(
        [str(MPIRUN), "-n", "1", *one, ":", "-n", "1", *other],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "error: lr: rank 1 has 0.002, rank 0 has 0.001\n"
    assert not (tmp_path / "run").exists()


def test_without_an_mpi_library(tmp_path: Path) -> None:
    done = ran(2, f"{QUICK} -o {tmp_path / 'run'}", MPI4PY_LIBMPI="/nowhere/libmpi.so")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: mpirun: mpi4py finds no MPI library to load: ")


def test_the_launcher_of_another_mpi(tmp_path: Path) -> None:
    """Open MPI's variables, and a library that knows nothing of them: every process takes itself for the only one."""
    done = ran(0, f"{QUICK} -o {tmp_path / 'run'}", OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="2")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: mpirun: it started 2 processes, and mpi4py's MPI library sees 1; expected")


def started(folder: Path, command: str, ranks: int) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that has saved a state since it began, and the processes of its ranks."""
    before = {path.name for path in states(folder)}
    process = subprocess.Popen(
        program(ranks, command), env=ENVIRONMENT, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "rank: process" in line:
            break
    while process.poll() is None and {path.name for path in states(folder)} <= before:
        time.sleep(0.01)
    return process, [int(number) for number in re.findall(r": (\d+) on", line)]


def test_an_interrupt_reaches_all_ranks(quick: Path, tmp_path: Path) -> None:
    """One message; taken up by another number of ranks, the run ends in the same bits."""
    folder = tmp_path / "run"
    process, _ = started(folder, f"{QUICK} --save-every 1 -o {folder}", 2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=240)
    assert process.returncode == 128 + signal.SIGINT
    lines = [line for line in told.splitlines() if not line.startswith("[mpiexec")]
    assert lines == [f"stopped by SIGINT; go on with: vipnp train --resume {folder}"]
    assert ran(4, f"train --resume {folder}").returncode == 0
    assert_same_bits(quick, folder)


def kill_and_resume(
    whole: Path, folder: Path, command: str, rng: np.random.Generator, *, watcher: bool = False
) -> None:
    """kill -9 of a random rank at a random moment ends all within 30 s with one message that names it, and so does that
    of the process that watches it, which the launcher tells; another number of ranks ends in the bits of `whole`."""
    process, pids = started(folder, f"{command} -o {folder}", 4)
    time.sleep(rng.uniform(0, 1))
    rank = int(rng.integers(4))
    number = pids[rank]
    if process.poll() is None:
        with suppress(OSError):  # it was about to end
            os.kill(parent(number) if watcher else number, signal.SIGKILL)
    _, told = process.communicate(timeout=30)
    while any(running(pid) for pid in pids):
        time.sleep(0.01)
    if process.returncode:
        expected = "" if watcher else rf"error: rank {rank}: process {number} on \S+ was ended by signal 9, Killed\n"
        assert re.fullmatch(expected, told), told
    assert ran(int(rng.choice([0, 1, 2, 8])), f"train --resume {folder}").returncode == 0
    assert_same_bits(whole, folder)


def test_a_killed_rank_ends_all_and_another_number_goes_on(quick: Path, tmp_path: Path) -> None:
    kill_and_resume(quick, tmp_path / "run", f"{QUICK} --save-every 1", np.random.default_rng(0))


@pytest.mark.parametrize("of_mpi", [True, False])
def test_an_error_of_mpi_is_told_after_the_launchers_turn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], of_mpi: bool
) -> None:
    """It most likely says that another rank is gone, which is told where that happened."""

    class MPIError(Exception):
        pass

    statuses: list[int] = []
    comm = SimpleNamespace(rank=2, size=4, Split_type=lambda _: comm, Free=lambda: None, Abort=statuses.append)
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: told.append((seconds, capsys.readouterr().err)))
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    with MPIRanks(SimpleNamespace(COMM_WORLD=comm, COMM_TYPE_SHARED=0, Exception=MPIError)).together():
        raise (MPIError if of_mpi else OSError)("no way there")
    line = (PATIENCE, "error: rank 2: no way there\n")
    assert told == ([(LAUNCHERS_TURN, ""), line] if of_mpi else [line])
    assert statuses == [2]


@pytest.mark.ranks
def test_a_killed_watcher_ends_all_as_well(quick: Path, tmp_path: Path) -> None:
    kill_and_resume(quick, tmp_path / "run", f"{QUICK} --save-every 1", np.random.default_rng(20), watcher=True)


@pytest.mark.ranks
@pytest.mark.parametrize("seed", range(10))
def test_killed_at_ten_random_moments(quick: Path, tmp_path: Path, seed: int) -> None:
    kill_and_resume(quick, tmp_path / "run", f"{QUICK} --save-every 1", np.random.default_rng(seed + 1))


@pytest.mark.ranks
def test_the_command_of_the_readme(tmp_path: Path) -> None:
    (command,) = re.findall(r"^mpirun -n 2 vipnp (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    done = ran(2, command.replace("runs/", f"{tmp_path}/"))
    assert done.returncode == 0, done.stderr
    assert "best accuracy" in done.stdout
    assert ran(0, command.replace("runs/digits", f"{tmp_path}/one")).returncode == 0
    assert_same_bits(tmp_path / "one", tmp_path / "digits")
