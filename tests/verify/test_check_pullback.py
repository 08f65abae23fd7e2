"""The front door: one call in somebody's test suite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vipnp import ops
from vipnp.verify import Verdict, check_pullback, verify

X = np.random.default_rng(5).normal(size=(3, 4))


def test_a_right_op_passes_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    check_pullback(ops.softmax, [X])
    check_pullback(ops.residual, [X, 2 * X], kwargs={"skip_lam": 2.0}, rungs=["contract", "complex_step"])
    assert capsys.readouterr().out == ""


def test_a_wrong_op_raises_the_report() -> None:
    def wrong(xp: Any, x: Any) -> Any:
        return x * x, lambda dy: (dy * x,)

    with pytest.raises(AssertionError, match=r"FAIL complex_step: wrong, argument x \(3, 4\)") as caught:
        check_pullback(wrong, [X])
    # pytest shows the line that called it, and none of ours
    assert [entry.name for entry in caught.traceback.filter(caught)] == ["test_a_wrong_op_raises_the_report"]


def test_without_a_twin_a_wrong_op_does_not_fail_against_pytorch() -> None:
    report = verify(lambda xp, x: (2 * x, lambda dy: (dy,)), [X])
    assert not report.ok
    verdicts = {row.rung: row.verdict for row in report.rows}
    assert verdicts["adjoint"] is Verdict.FAIL
    assert verdicts["pytorch"] is verdicts["float32"] is Verdict.INCONCLUSIVE


def test_a_report_names_the_rungs_that_could_not_decide() -> None:
    report = verify(ops.gelu, [X], rungs=["value", "adjoint", "complex_step"])
    assert str(report) == "ok: 1 PASS, 0 FAIL, 2 INCONCLUSIVE (value, adjoint)"
    assert str(verify(ops.gelu, [X], rungs=["complex_step"])) == "ok: 1 PASS, 0 FAIL, 0 INCONCLUSIVE"


def test_rungs_that_look_at_no_gradient_are_no_check() -> None:
    with pytest.raises(AssertionError, match="no gradient was checked"):
        check_pullback(ops.softmax, [X], rungs=["contract"])


def test_bad_input_is_refused_as_by_verify() -> None:
    with pytest.raises(ValueError, match="unknown rung 'contrakt'"):
        check_pullback(ops.softmax, [X], rungs=["contrakt"])
