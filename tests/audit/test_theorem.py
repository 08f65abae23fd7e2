"""The rung "theorem": a function has its theorem as long as no module that the theorem is about has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from vipnp import layers, ops, optim
from vipnp.audit import page, theorem
from vipnp.audit.audit import audit, subject_of
from vipnp.audit.cases import CASES
from vipnp.verify import Verdict
from vipnp.verify.ladder import climb

BLOCKS = ["mlp", "permute_mlp", "weighted_permute_mlp", "downsample", "permutator", "stage"]
MODELS = ["vision_permutator", "model_loss"]


def verdicts(name: str) -> dict[str, Verdict]:
    return {row.op: row.verdict for row in climb(theorem.NAME, subject_of(CASES[name]), theorem.theorem)}


@pytest.mark.parametrize("name", [*ops.__all__, *BLOCKS, *MODELS])
def test_every_op_and_layer_and_the_network_has_its_theorem(name: str) -> None:
    assert verdicts(name) == {name: Verdict.PASS}


def test_the_rung_of_the_audit_passes_wherever_a_theorem_is_about_the_case() -> None:
    report = audit(rungs=[theorem.NAME])
    assert {row.verdict for row in report.rows} == {Verdict.PASS}
    climbed = {f"{row.op}/{row.case}" if row.case else row.op for row in report.rows}
    proved = {name for name, case in CASES.items() if theorem.theorems_about(case.op)}
    assert climbed == proved


def test_split_attention_of_five_branches_rests_on_the_theorem_about_any_number() -> None:
    (row, *_) = climb(theorem.NAME, subject_of(CASES["split_attention/k=5"]), theorem.theorem)
    assert row.verdict is Verdict.PASS
    assert "logits (B, C, K), branches (K, B, H, W, C)" in row.detail


def edited(module: str) -> Callable[[str], str]:
    digest = theorem.source_digest

    def of(name: str) -> str:
        return "another" if name == module else digest(name)

    return of


def test_a_changed_op_loses_its_theorem_and_so_does_every_layer_that_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theorem, "source_digest", edited("vipnp.ops.gelu"))
    of = ("gelu", "mlp", "permutator", *MODELS)
    assert [verdicts(n)[n] for n in of] == [Verdict.INCONCLUSIVE] * len(of)
    assert [verdicts(n)[n] for n in ("linear", "permute_mlp")] == [Verdict.PASS] * 2
    (row, *_) = climb(theorem.NAME, subject_of(CASES["permutator"]), theorem.theorem)
    assert "vipnp.ops.gelu: not the source that Coq" in row.detail
    assert "vipnp.ops.gelu changed since" in page.theorems(layers.permutator)


def test_another_function_of_the_same_name_has_no_theorem() -> None:
    def gelu(xp, x):
        return ops.gelu(xp, x)

    gelu.__module__ = ops.gelu.__module__
    subject = replace(subject_of(CASES["gelu"]), op=gelu)
    (row,) = climb(theorem.NAME, subject, theorem.theorem)
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.detail.startswith("gelu: not the source")


def test_a_function_without_a_theorem_says_so() -> None:
    (row, *_) = climb(theorem.NAME, replace(subject_of(CASES["gelu"]), op=subject_of), theorem.theorem)
    assert (row.verdict, row.detail) == (Verdict.INCONCLUSIVE, "no theorem is recorded about this function")


def test_the_page_shows_theorem_proof_and_assumptions() -> None:
    shown = page.theorems(ops.layer_norm)
    for part in (
        "⟨dy, v⟩ = ⟨dx, u_x⟩ + ⟨dweight, u_weight⟩ + ⟨dbias, u_bias⟩",
        "0 &lt; eps",
        "by_rows",
        "Classical_Prop",
    ):
        assert part in shown
    assert "changed since" not in shown
    assert page.theorems(subject_of) == ""


@pytest.mark.parametrize("module", ["vipnp.layers.stage", "vipnp.models.vision_permutator", "vipnp.ops.patch_embed"])
def test_the_theorem_of_the_network_is_bound_to_what_it_puts_together(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(theorem, "source_digest", edited(module))
    assert [verdicts(n)[n] for n in MODELS] == [Verdict.INCONCLUSIVE] * 2


@pytest.mark.parametrize("function", [optim.adamw, optim.sgd, optim.clip_grad_norm])
def test_the_page_shows_the_theorems_of_an_optimiser_and_whether_it_changed(
    function: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page.theorems(function)
    assert f"Theorem {function.__name__}_published" in shown
    assert "For all tensors" in shown
    assert "changed since" not in shown
    monkeypatch.setattr(theorem, "source_digest", edited(function.__module__))
    assert f"{function.__module__} changed since" in page.theorems(function)
