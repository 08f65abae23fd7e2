"""Mutation testing of vipnp/ops and vipnp/layers: every small change of their source must make a test fail.

    python tools/mutation.py [--jobs N]

Runs mutmut afresh (configured in pyproject.toml) with the tests in tests/ops/test_details.py, prints the mutants of
every function and how many were killed, and fails unless all were: a mutant that survives, times out or meets no
test is a failure, and so is a function without mutants (mutmut passes over decorated functions in silence) or a pragma
that hides a line.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("vipnp/ops", "vipnp/layers")
MUTANTS = ROOT / "mutants"
PRAGMA = "no mutate"


def sources() -> list[Path]:
    """The files to mutate, relative to the root."""
    return sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[str]:
    """The functions and methods of a file under the names that mutmut gives them; nested ones belong to the outer."""
    module = ".".join(path.with_suffix("").parts)
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module}.x_{node.name}"
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{module}.xǁ{node.name}ǁ{method.name}"


def statuses(path: Path) -> Iterator[tuple[str, str, str]]:
    """(mutant, function, status) of every mutant of a file, as mutmut left them."""
    from mutmut.stats import status_by_exit_code

    results = json.loads((MUTANTS / f"{path}.meta").read_text())["exit_code_by_key"]
    for mutant, exit_code in results.items():
        yield mutant, mutant.rpartition("__mutmut_")[0], status_by_exit_code[exit_code]


def run_mutmut(jobs: int) -> None:
    """A fresh run; SystemExit where mutmut itself fails, as it does when a test fails on the unchanged source."""
    shutil.rmtree(MUTANTS, ignore_errors=True)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"mutmut failed with exit status {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def report() -> list[str]:
    """Print the table; what is wrong, one line each."""
    problems = []
    total: Counter[str] = Counter()
    print(f"{'function':64} {'mutants':>7} {'killed':>7}")
    for path in sources():
        if PRAGMA in (ROOT / path).read_text():
            problems.append(f"{path}: a pragma hides a line from mutation testing")
        found = list(statuses(path)) if any(True for _ in functions(path)) else []
        for function in functions(path):
            counts = Counter(status for _, owner, status in found if owner == function)
            print(f"{function.replace('.x_', '.'):64} {counts.total():7} {counts['killed']:7}")
            total += counts
            if not counts:
                problems.append(f"{function}: no mutants")
        problems += [f"{mutant}: {status}" for mutant, _, status in found if status != "killed"]
    print(f"{'total':64} {total.total():7} {total['killed']:7}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time (default: all cores)"
    )
    jobs = parser.parse_args().jobs
    began = time.monotonic()
    run_mutmut(jobs)
    problems = report()
    print(f"{time.monotonic() - began:.0f} s")
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problems; see a mutant with: python -m mutmut show NAME")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
