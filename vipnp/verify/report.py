"""What the audit found: rows, verdicts, totals, and their JSON form."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from vipnp.core.versions import installed

SCHEMA = 1
"""Version of the JSON form; it grows when a field changes its meaning or goes away."""

DERIVATIVE_RUNGS = ("complex_step", "finite_field", "differences")
"""The rungs that look at derivatives: at least one of them must PASS for every argument that one of them looked at."""

COMPARING_RUNGS = ("proof", "pytorch", "backend")
"""The rungs that hold gradients against an identity, another implementation, or the readable op."""

UNPROVED = "none of differences, complex step and finite field gives a PASS"
"""What a report says of an argument where that is not so."""


class Verdict(StrEnum):
    """PASS: shown right. FAIL: shown wrong. INCONCLUSIVE: this rung cannot decide, for the reason in the detail."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Row:
    """What one rung found about one argument of one op.

    Attributes
    ----------
    op, case : which function, and which of its cases.
    argument, shape : of which argument, "y" and "saved" among them, and its shape.
    rung : who found it.
    error, bound : the figure and what it may be at most; None where the rung has none.
    unit : theirs: "of max" is relative to the largest entry of the tensor, "2^-53 of max" counts in units of 2^-53 of
    it.
    verdict, detail : the result, and what there is to say about it.
    """

    op: str
    case: str
    argument: str
    shape: tuple[int, ...]
    rung: str
    error: float | None
    bound: float | None
    unit: str
    verdict: Verdict
    detail: str

    def __str__(self) -> str:
        return f"{self.verdict} {self.rung}: {self.words}"

    @property
    def words(self) -> str:
        """The row without its rung and verdict."""
        where = f"{self.op}{f' ({self.case})' if self.case else ''}, argument {self.argument} {self.shape}"
        figure = "" if self.error is None else f", error {self.error:.3g}"
        bound = "" if self.bound is None or self.error is None else f" (bound {self.bound:.3g}) {self.unit}"
        return f"{where}{figure}{bound}{f': {self.detail}' if self.detail else ''}"


@dataclass
class Report:
    """All rows of an audit. `ok` is the verdict on the whole.

    Attributes
    ----------
    rows : in the order in which they were found.
    seed : of everything that was drawn.
    """

    rows: list[Row] = field(default_factory=list)
    seed: int = 0

    @property
    def rungs(self) -> list[str]:
        """The rungs that were climbed, in order."""
        return list(dict.fromkeys(row.rung for row in self.rows))

    @property
    def failures(self) -> list[Row]:
        """The rows whose verdict is FAIL."""
        return [row for row in self.rows if row.verdict is Verdict.FAIL]

    @property
    def unproved(self) -> list[tuple[str, str, str]]:
        """(op, case, argument) of every argument that a derivative rung looked at and none passed."""
        looked_at = [row for row in self.rows if row.rung in DERIVATIVE_RUNGS]
        passed = {(row.op, row.case, row.argument) for row in looked_at if row.verdict is Verdict.PASS}
        return [
            key for key in dict.fromkeys((row.op, row.case, row.argument) for row in looked_at) if key not in passed
        ]

    @property
    def undecided(self) -> list[tuple[str, str]]:
        """(op, case) of everything about which no rung says PASS."""
        passed = {(row.op, row.case) for row in self.rows if row.verdict is Verdict.PASS}
        found = dict.fromkeys((row.op, row.case) for row in self.rows)
        return [key for key in found if key not in passed]

    @property
    def decided(self) -> bool:
        """Whether the report is ok and a rung that looks at gradients passed for every case. Nothing else shows a
        gradient right; one that could not decide, for want of a package, shows nothing."""
        passed = {
            (row.op, row.case)
            for row in self.rows
            if row.rung in (*DERIVATIVE_RUNGS, *COMPARING_RUNGS) and row.verdict is Verdict.PASS
        }
        return self.ok and {(row.op, row.case) for row in self.rows} == passed

    @property
    def ok(self) -> bool:
        """No row fails, every argument passes differences, the complex step or the finite field where one of them was
        asked for, and something passes for every case. A report without rows is not ok: nothing was shown.
        """
        return bool(self.rows) and not (self.failures or self.unproved or self.undecided)

    @property
    def totals(self) -> dict[str, int]:
        """How many rows have each verdict."""
        counts = Counter(row.verdict for row in self.rows)
        return {verdict.value: counts[verdict] for verdict in Verdict}

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows.

        Parameters
        ----------
        rows : what a rung found.
        """
        self.rows.extend(rows)

    def __str__(self) -> str:
        """The failures, one a line, what several rungs say alike once, then the totals and the rungs that are open."""
        rungs: dict[str, list[str]] = {}
        for row in self.failures:
            rungs.setdefault(row.words, []).append(row.rung)
        lines = [f"{Verdict.FAIL} {', '.join(found)}: {words}" for words, found in rungs.items()]
        lines += [
            f"FAIL {op}{f' ({case})' if case else ''}, argument {argument}: {UNPROVED}"
            for op, case, argument in self.unproved
        ]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in self.totals.items())
        verdict = "NOT ok" if not self.ok else "ok" if self.decided else "nothing fails, but no gradient was checked"
        undecided = dict.fromkeys(row.rung for row in self.rows if row.verdict is Verdict.INCONCLUSIVE)
        which = f" ({', '.join(undecided)})" if undecided else ""
        return "\n".join([*lines, f"{verdict}: {counts}{which}"])

    def to_json(self) -> dict[str, Any]:
        """The JSON form that docs/audit.md describes."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "decided": self.decided,
            "seed": self.seed,
            "versions": versions(),
            "totals": self.totals,
            "unproved": [list(key) for key in self.unproved],
            "rows": [{**asdict(row), "error": _figure(row.error), "bound": _figure(row.bound)} for row in self.rows],
        }


def _figure(value: float | None) -> float | str | None:
    """JSON has no infinity and no NaN: they are written as the strings "inf" and "nan"."""
    return value if value is None or math.isfinite(value) else str(value)


def versions() -> dict[str, str]:
    """Python, and every package the rungs may use, with its version; "missing" where it is not installed."""
    packages = (
        "vipnp",
        "numpy",
        "scipy",
        "array-api-compat",
        "array-api-strict",
        "python-flint",
        "sympy",
        "torch",
        "cupy-cuda12x",
        "cupy-cuda13x",
        "numba",
        "onednn-cpu-gomp",
        "mkl",
    )
    found = installed(*packages)
    machine = {"python": found["python"], "machine": f"{platform.system()} {platform.machine()}"}
    return {**machine, **{package: found.get(package, "missing") for package in packages}}


def worst(rows: Sequence[Row]) -> Row | None:
    """The row with the largest error relative to its bound; None where no row has a figure."""

    def badness(row: Row) -> float:
        assert row.error is not None
        if math.isnan(row.error):
            return math.inf
        return row.error / row.bound if row.bound else (math.inf if row.error else 0.0)

    with_figure = [row for row in rows if row.error is not None]
    return max(with_figure, key=badness, default=None)
