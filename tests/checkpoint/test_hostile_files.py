"""Damaged and forged weight files: one clear error each, and nothing run, opened, waited for or allocated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("hostile_files.py")


def test_spoilt_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    """`python tests/checkpoint/hostile_files.py 10000 1` makes more of them."""
    count = 600
    run = subprocess.run(
        [sys.executable, str(PROGRAM), str(count), "0"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    refused, read, beyond = map(int, run.stdout.split())
    assert refused + read == count
    assert refused > count / 2
    assert read > count / 40
    assert beyond < 8_000_000
