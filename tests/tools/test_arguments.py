"""Every program beside the command line says what it is for, and does no work where an option is mistaken."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROOMS = ("benchmarks", "examples", "proofs", "tests", "tools", "vipnp/audit")
STARTED_BY_OTHERS = {
    "benchmarks/cpu/child.py",
    "tests/backends/hostile_calls.py",
    "tests/checkpoint/hostile_files.py",
    "tests/mpi_program.py",
}
PROGRAMS = sorted(
    name
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")
    and (name := path.relative_to(ROOT).as_posix()) not in STARTED_BY_OTHERS
)


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 20


@pytest.mark.long
@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--no-such-option", 2)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_and_a_mistaken_option_are_answered_at_once(program: str, argument: str, status: int) -> None:
    if program.startswith("examples/"):
        command = [program]
    else:
        command = ["-m", program.removesuffix(".py").removesuffix("/__main__").replace("/", ".")]
    done = subprocess.run(
        [sys.executable, *command, argument], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status, done.stderr[-2000:]
    assert (done.stdout if status == 0 else done.stderr).lower().startswith("usage:")
