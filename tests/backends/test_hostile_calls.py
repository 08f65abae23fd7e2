"""Fused CPU functions never leave the memory of their arrays, whatever they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("hostile_calls.py")


@pytest.mark.long
@pytest.mark.parametrize(("count", "seed"), [(10000, 0)])
def test_calls_that_do_not_fit_end_in_errors_and_touch_no_other_memory(tmp_path: Path, count: int, seed: int) -> None:
    """Compiled with checks of every index; `python tests/backends/hostile_calls.py 10000 1` makes others."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(PROGRAM), str(count), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    refused, agreed = map(int, run.stdout.split())
    assert refused + agreed == count
    assert refused > count / 2
    assert agreed > count / 8
