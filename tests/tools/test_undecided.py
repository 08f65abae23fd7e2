"""Rungs that no longer decide are told of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.undecided import RUNGS, main, undecided
from vipnp.audit.cases import CASES


def rows(verdicts: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    """An audit of which everything passes but what `verdicts` has by rung and op, two arguments a case."""
    found = []
    for rung in RUNGS:
        for name in CASES:
            op, _, case = name.partition("/")
            for verdict in ("PASS", verdicts.get((rung, op), "PASS")):
                found.append({"rung": rung, "op": op, "case": case, "verdict": verdict})
    return found


def of_op(op: str, *, hard: bool) -> list[str]:
    return [name for name, case in CASES.items() if name.partition("/")[0] == op and case.hard == hard]


def test_an_open_rung_is_named_on_regular_inputs_alone() -> None:
    found = rows({("certified", "layer_norm"): "INCONCLUSIVE", ("pytorch", "gelu"): "INCONCLUSIVE"})
    assert of_op("layer_norm", hard=True)
    expected = [f"certified: {name}" for name in of_op("layer_norm", hard=False)]
    assert list(undecided(found)) == [*expected, *(f"pytorch: {name}" for name in of_op("gelu", hard=False))]


def test_what_was_not_climbed_is_named() -> None:
    left = [row for row in rows({}) if (row["rung"], row["op"]) != ("differences", "linear")]
    assert list(undecided(left)) == ["differences: linear"]


def test_it_ends_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "audit.json"
    for verdict, told in (("PASS", ""), ("INCONCLUSIVE", "left open: finite_field: stage\n")):
        path.write_text(json.dumps({"rows": rows({("finite_field", "stage"): verdict})}))
        assert main(str(path)) == bool(told)
        assert capsys.readouterr().out.startswith(told)
