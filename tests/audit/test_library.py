"""The audit: what it climbs, at which sizes, and that it goes on when one op fails."""

from __future__ import annotations

import inspect
import itertools
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vipnp import get_backend, ops
from vipnp.audit.audit import LADDER, applies, audit, chosen_cases, op_names, plan, size_sets
from vipnp.audit.cases import CASES
from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Replacements
from vipnp.verify import Verdict
from vipnp.verify.ladder import climb
from vipnp.verify.subject import Subject

REGULAR = [case.name for case in CASES.values() if not case.hard]
PROVED = ("linear", "layer_norm", "gelu", "softmax", "cross_entropy", "permute_height", "permute_width", "patch_embed")
PROVED += ("global_average_pool", "residual", "drop_path")


@pytest.mark.long
def test_every_case_passes_the_rungs_that_are_not_about_derivatives() -> None:
    """The others are climbed by `make whole-audit`."""
    report = audit(rungs=["contract", "value", "adjoint"])
    assert report.ok, str(report)
    passed = {(row.op, row.case) for row in report.rows if row.verdict is Verdict.PASS}
    assert len(passed) == len(CASES)


def test_float32_is_as_good_as_pytorch_on_every_op() -> None:
    report = audit(ops=list(ops.__all__), rungs=["float32"])
    assert not report.failures, str(report)


def test_proofs() -> None:
    report = audit(ops=PROVED, rungs=["proof"])
    assert {row.verdict for row in report.rows} == {Verdict.PASS}
    assert {row.op for row in report.rows} == set(PROVED)


def test_what_applies() -> None:
    names = {(step.case.name, step.rung) for step in plan()}
    assert ("linear", "adjoint") in names
    assert ("gelu", "adjoint") not in names
    assert ("mlp", "proof") not in names
    assert all((name, "complex_step") in names and (name, "finite_field") in names for name in CASES)
    assert not applies("float32", CASES["softmax/saturated"])
    assert set(LADDER) == {rung for _, rung in names}


@pytest.mark.parametrize("name", REGULAR)
def test_every_two_letters_differ_at_some_sizes(name: str) -> None:
    case = CASES[name]
    sets = size_sets(case)
    assert all(case.fits(sizes) for sizes in sets[1:])
    for a, b in itertools.combinations(case.ranges, 2):
        fixed = all(low == high for low, high in (case.ranges[a], case.ranges[b]))
        assert fixed or any(sizes[a] != sizes[b] for sizes in sets), (a, b)


def test_a_case_with_two_equal_sizes_is_also_audited_at_others() -> None:
    """And so is an op with a size of 1. No case of the table is such a one: their own sizes tell every two apart."""
    case = CASES["permute_height"]
    assert size_sets(case) == [case.sizes]
    for sizes in ({**case.sizes, "B": case.sizes["N"]}, {**case.sizes, "B": 1}):
        first, *others = size_sets(replace(case, sizes=sizes))
        assert first == sizes
        assert any(other["B"] not in (1, other["N"]) for other in others)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("permute_height", "(B, N, W, H, S)", "(N, B, W, H, S)"),
        ("permute_height", "(B, N, W, H, S)", "(B, N, S, H, W)"),
        ("permute_width", "(B, H, N, W, S)", "(N, H, B, W, S)"),
        ("permute_width", "(B, H, N, W, S)", "(B, H, N, S, W)"),
        ("patch_embed", "(B, h, w, C, P, Q)", "(B, P, w, C, h, Q)"),
    ],
)
def test_the_audit_itself_sees_two_sizes_exchanged(
    monkeypatch: pytest.MonkeyPatch, name: str, before: str, after: str
) -> None:
    source = inspect.getsource(getattr(ops, name))
    assert source.count(before) == 1
    scope = dict(vars(sys.modules[f"vipnp.ops.{name}"]))
    exec(source.replace(before, after), scope)
    monkeypatch.setattr("vipnp.audit.audit.CASES", {name: replace(CASES[name], op=scope[name])})
    assert audit(rungs=["contract", "complex_step", "finite_field"]).failures


def test_the_complex_step_alone_passes_because_the_field_decides_hard_cases() -> None:
    report = audit(ops=["layer_norm"], rungs=["complex_step"])
    assert report.ok, str(report)
    assert {row.case for row in report.rows if row.rung == "finite_field"} == {"C=2", "mean=1000"}
    assert any(row.verdict is Verdict.INCONCLUSIVE for row in report.rows if row.rung == "complex_step")


def test_names() -> None:
    assert [case.name for case in chosen_cases(["gelu", "layer_norm/eps"])] == ["layer_norm/eps", "gelu"]
    assert len(chosen_cases(["layer_norm"])) == 4
    assert "model_loss" in op_names()
    with pytest.raises(ValueError, match=r"unknown name 'layernorm' \(did you mean 'layer_norm'"):
        audit(ops=["layernorm"])
    with pytest.raises(ValueError, match="needs a backend"):
        audit(ops=["gelu"], rungs=["backend"])


def test_one_op_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of order")

    broken.__name__ = "gelu"
    monkeypatch.setattr("vipnp.audit.audit.CASES", {**CASES, "gelu": replace(CASES["gelu"], op=broken)})
    report = audit(ops=["gelu", "softmax"], rungs=["contract", "complex_step"])
    assert {row.op for row in report.failures} == {"gelu"}
    assert {row.op for row in report.rows if row.verdict is Verdict.PASS} == {"softmax"}
    assert "out of order" in report.failures[0].detail


# --- a backend held to the readable ops ---------------------------------------------------------------------------


def backend_replacing_gelu(factor: float) -> NumpyBackend:
    table = Replacements()

    @table.replaces(ops.gelu)
    def quick_gelu(xp: Any, x: Any) -> Any:
        y, back = ops.gelu(xp, x)
        return y, lambda dy: (factor * back(dy)[0],)

    backend = NumpyBackend()
    backend.name = "quick"
    backend.replacements = table
    return backend


def test_a_right_replacement_passes_and_is_named() -> None:
    report = audit(ops=["gelu", "mlp"], rungs=["backend"], backend=backend_replacing_gelu(1.0))
    assert {row.verdict for row in report.rows} == {Verdict.PASS}
    assert any("quick_gelu" in row.detail for row in report.rows if row.op == "mlp")


def test_a_wrong_replacement_fails_in_the_op_and_in_the_layers_that_use_it() -> None:
    report = audit(ops=["gelu", "mlp", "softmax"], rungs=["backend"], backend=backend_replacing_gelu(1 + 1e-8))
    assert {row.op for row in report.failures} == {"gelu", "mlp"}
    assert "quick_gelu" in report.failures[0].detail


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("x", "it writes to its arguments"),
        ("y", "another call, or the pullback, changes the y it returned"),
        ("dx", "another call before the pullback changes the gradients"),
    ],
)
def test_a_replacement_that_keeps_or_takes_memory_fails(fault: str, words: str) -> None:
    """Its values and gradients are right where every call ends before the next one begins."""
    buffers: dict[Any, Any] = {}

    def kept(array: Any) -> Any:
        buffer = buffers.setdefault((array.shape, array.dtype), np.empty_like(array))
        buffer[...] = array
        return buffer

    backend = backend_replacing_gelu(1.0)
    table = Replacements()

    @table.replaces(ops.gelu)
    def careless_gelu(xp: Any, x: Any) -> Any:
        y, back = ops.gelu(xp, x.copy())
        if fault == "x":
            x[...] = y
        saved = kept(x) if fault == "dx" else x.copy()
        return kept(y) if fault == "y" else y, lambda dy: ops.gelu(xp, saved)[1](dy) if fault == "dx" else back(dy)

    backend.replacements = table
    report = audit(ops=["gelu"], rungs=["backend"], backend=backend)
    assert {row.detail for row in report.failures} == {f"quick: careless_gelu: {words}"}


@pytest.mark.parametrize(("bits", "right"), [(24, True), (16, False)])
def test_products_may_be_summed_in_any_order_and_not_of_rounded_factors(bits: int, right: bool) -> None:
    """One partial sum of 147 terms, as MKL and oneDNN keep, loses three times what OpenBLAS does at these sizes."""

    def backwards(a: Any, b: Any, out: Any) -> Any:
        def rounded(factor: Any) -> Any:
            mantissa, exponent = np.frexp(factor)
            return np.ldexp(np.rint(mantissa * 2.0**bits), exponent - bits).astype(factor.dtype)

        out[...] = 0
        for k in reversed(range(a.shape[1])):
            out += rounded(a[:, k : k + 1]) * rounded(b[k : k + 1])
        return out

    report = audit(ops=["patch_embed"], rungs=["backend"], backend=NumpyBackend("backwards", product=backwards))
    single = [row for row in report.rows if row.unit.startswith("2^-24")]
    assert [row.argument for row in single if row.verdict is Verdict.FAIL] == ([] if right else ["y", "x", "weight"])


def test_the_plain_backend_is_held_to_itself() -> None:
    report = audit(ops=["layer_norm"], backend=get_backend("numpy"), rungs=["backend", "contract"])
    assert report.ok
    assert any("nothing is replaced" in row.detail for row in report.rows)


def test_a_backend_that_raises_is_a_failure() -> None:
    class Broken(NumpyBackend):
        def ndtr(self, x: Any) -> Any:
            raise MemoryError("no room")

    report = audit(ops=["gelu"], rungs=["backend"], backend=Broken())
    assert "on backend numpy, MemoryError: no room" in report.failures[0].detail


def test_unknown_exceptions_end_in_a_row() -> None:
    subject = Subject(ops.gelu, (np.ones(2),), name="gelu")

    def rung(_: Subject) -> Any:
        raise KeyError("oops")

    (row,) = climb("value", subject, rung)
    assert row.verdict is Verdict.FAIL
    assert "KeyError: 'oops'" in row.detail
