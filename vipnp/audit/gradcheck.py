"""The gradient error of every op, layer and model, with NumPy and SciPy alone.

    python -m vipnp.audit.gradcheck

Two rungs of the ladder: the complex step, to the last digits of float64, and the finite field, where right is zero.
Exit status 1 if anything fails.
"""

from __future__ import annotations

import argparse
import sys

from vipnp.audit.audit import subject_of
from vipnp.audit.cases import CASES
from vipnp.core.output import readers_may_leave
from vipnp.verify.ladder import climb
from vipnp.verify.report import Report, worst

HEADER = ("op", "argument with the largest error", "complex step", "bound", "finite field", "verdict")
LAYOUT = "{:<30} {:<42} {:>12} {:>8} {:>12}  {}"


def main() -> int:
    """Print the table; the exit status."""
    print("Error of the hand-written gradients, relative to the largest entry of each (complex step), and over the")
    print("integers modulo 2^127-1 (finite field). Ill-conditioned cases are decided by the finite field.\n")
    print(LAYOUT.format(*HEADER))
    arguments = 0
    failed = False
    for name, case in CASES.items():
        subject = subject_of(case)
        report = Report([row for rung in ("complex_step", "finite_field") for row in climb(rung, subject)])
        print(_line(name, report), flush=True)
        for failure in report.failures:
            print(f"    {failure}")
        arguments += len(subject.names)
        failed = failed or not report.ok
    print(f"\n{len(CASES)} cases, {arguments} gradients: {'FAIL' if failed else 'all PASS'}")
    return int(failed)


def _line(name: str, report: Report) -> str:
    steps = [row for row in report.rows if row.rung == "complex_step"]
    exact = [row.error for row in report.rows if row.rung == "finite_field"]
    largest = worst(steps)
    figures = (
        ("-", "-") if largest is None or largest.error is None else (f"{largest.error:.1e}", f"{largest.bound:.0e}")
    )
    field = "undecided" if None in exact else "zero" if not any(exact) else "NOT ZERO"
    verdict = "PASS" if report.ok else "FAIL"
    return LAYOUT.format(name, largest.argument if largest else "-", *figures, field, verdict)


if __name__ == "__main__":
    with readers_may_leave():
        argparse.ArgumentParser(
            prog="python -m vipnp.audit.gradcheck",
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ).parse_args()
        status = main()
    sys.exit(status)
