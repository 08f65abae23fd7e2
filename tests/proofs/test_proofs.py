"""Every op has its theorem, stated by its source as it is today, proved in proofs/ops and recorded."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest

import vipnp.layers
import vipnp.ops
from proofs import check, layers, statements
from proofs.statements import SPECS
from proofs.tracer import RefusedError

FOLDER = Path(statements.__file__).parent


def test_every_op_has_a_theorem() -> None:
    assert {spec.op for spec in SPECS.values()} == set(vipnp.ops.__all__)


@pytest.mark.parametrize("name", SPECS)
def test_the_theorem_is_proved_in_the_file_of_its_op(name: str) -> None:
    script = (FOLDER / "ops" / f"{SPECS[name].op}.v").read_text()
    assert f"Theorem {name}_correct : {name}_is_correct.\n" in script
    assert f"Theorem {name}_value :\n" in script


def test_split_attention_of_any_number_of_branches_is_proved_and_tied_to_the_traced_ones() -> None:
    script = (FOLDER / "ops" / "split_attention_any.v").read_text()
    assert "Theorem split_attention_any_correct : split_attention_any_is_correct.\n" in script
    for said in (
        "Theorem split_attention_any_value :\n",
        "Lemma split_attention_is_any ",
        "Lemma split_attention_2_is_any ",
    ):
        assert said in script


def test_nothing_is_assumed_on_the_way() -> None:
    """Print Assumptions would show it; this says so where Coq is absent."""
    for path in FOLDER.rglob("*.v"):
        assert not re.search(r"\b(Admitted|admit|Axiom|Parameter|Conjecture)\b", path.read_text()), path


@pytest.mark.parametrize("part", [statements, layers])
def test_the_statements_are_what_the_sources_say_today(part) -> None:
    assert part.files() == {path.name: path.read_text() for path in part.FOLDER.glob("*.v")}


def test_a_changed_source_changes_its_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factor that the LayerNorm needs, dropped: the statement is another one, and its file is stale."""

    def dropped(xp, x, weight, bias, eps=1e-5):
        y, pullback = vipnp.ops.layer_norm(xp, x, weight, bias, eps)

        def wrong(dy):
            dx, dweight, dbias = pullback(dy)
            return dx + dx, dweight, dbias

        return y, wrong

    spec = SPECS["layer_norm"]
    assert statements.statement("layer_norm", dropped, spec) not in (FOLDER / "statements/layer_norm.v").read_text()


def test_a_pullback_that_remembers_its_calls_has_no_statement() -> None:
    def counting(xp, x, **drawn):
        y, pullback = vipnp.ops.dropout(xp, x, **drawn)
        calls = []

        def wrong(dy):
            calls.append(0)
            return (len(calls) * pullback(dy)[0],)

        return y, wrong

    with pytest.raises(RefusedError, match="when it is called again"):
        statements.statement("dropout", counting, SPECS["dropout"])


def test_what_is_recorded_was_proved_from_todays_sources() -> None:
    """Where this fails, a source or a statement changed after the proof: run `python -m proofs.check --record`."""
    recorded = json.loads(check.RECORD.read_text())
    assert recorded["theorems"] == check.theorems()
    assert set(recorded["assumptions"]) <= set(check.allowed())


def test_a_layer_may_only_call_ops_that_have_a_theorem_at_its_shapes() -> None:
    spec = layers.LayerSpec(vipnp.layers.mlp, "A B C D E", layers.mlp("E", "F", "G"))
    with pytest.raises(RefusedError, match="no theorem about linear"):
        layers.text_of("mlp", spec)


def test_a_layer_may_not_compute_by_itself() -> None:
    def doubled(xp, x, params):
        y, back = xp.run(vipnp.ops.gelu, x)
        return 2 * y, lambda dy: (2 * back(dy)[0], {})

    with pytest.raises(RefusedError, match="nothing but sums"):
        layers.text_of("doubled", layers.LayerSpec(doubled, "M C", {}))


def test_another_order_of_gradients_is_another_statement() -> None:
    def exchanged(xp, x, params):
        y, back = vipnp.layers.mlp(xp, x, params)

        def pullback(dy):
            dx, grads = back(dy)
            return dx, {"fc1": grads["fc1"], "fc2": {**grads["fc2"], "bias": grads["fc1"]["bias"]}}

        return y, pullback

    with pytest.raises(RefusedError, match="not shaped like its argument"):
        layers.text_of("mlp", layers.LayerSpec(exchanged, "B H W C", layers.mlp("C", "D", "K")))


TRIPLES = list(itertools.permutations(vipnp.layers.BRANCHES, 3))


@pytest.mark.parametrize(
    ("name", "triples"),
    [("permute_mlp", TRIPLES), ("weighted_permute_mlp", TRIPLES[::7]), ("permutator", TRIPLES[::42])],
)
def test_a_layer_says_the_same_about_whatever_branches_it_is_given(name: str, triples) -> None:
    """So what is proved with three unknown branches is proved with any."""
    spec = layers.LAYERS[name]
    for kinds in triples:
        others = dataclasses.replace(
            spec, branches=kinds, options=lambda c, kinds=kinds: {**spec.options(c), "branches": kinds}
        )
        assert layers.text_of(name, others) == layers.written(name)


def test_branches_in_another_order_are_another_statement() -> None:
    spec = layers.LAYERS["permute_mlp"]
    exchanged = dataclasses.replace(spec, branches=("width", "height", "channel"))
    assert layers.text_of("permute_mlp", exchanged) != layers.written("permute_mlp")


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("block", [*layers.STAGES.values(), "permutator_sum_unmasked"])
def test_a_stage_is_the_run_of_blocks_that_the_induction_is_about(block: str, depth: int) -> None:
    """Every block works on what the one before gave, with its own parameters and masks; the pullback comes back so."""
    xp = layers.run_of_blocks(block, depth)
    assert [step.theorem.name for step in xp.steps] == [block] * depth
    inputs = ["x", *(step.result.name for step in xp.steps[:-1])]
    assert [step.arguments[0].name for step in xp.steps] == inputs
    names = ["_".join(path) for path, _ in layers.leaves(layers.LAYERS[block].params)]
    masks = [n for n in layers.LAYERS[block].constants if n != "skip_lam"]
    count = len(names) + 1
    for k, step in enumerate(xp.steps):
        assert [a.name for a in step.arguments[1:]] == [f"block{k}_{n}" for n in names]
        assert [a.name for a in step.theorem.constants] == ["skip_lam", *(f"block{k}_{n}" for n in masks)]
    back = list(reversed(xp.steps))
    assert xp.back == back
    cotangents = ["dy", *(layers.projection(f"d_{step.name}", 0, count) for step in back)]
    assert [*(step.cotangent.name for step in back), xp.gradients[0].name] == cotangents
    own = [layers.projection(f"d_{step.name}", k, count) for step in xp.steps for k in range(1, count)]
    assert [g.name for g in xp.gradients[1:]] == own
