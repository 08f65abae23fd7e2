"""The planter plants, the ladder catches, and what it does not catch is listed."""

from __future__ import annotations

import io
import types
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.conftest import ROOT
from tools import planting
from tools.mistakes import KINDS, STATEMENT_KINDS, Mistake, mistakes
from tools.planting import EQUIVALENT, Outcome, Sabotage, plantings, print_sabotage, sabotage
from vipnp import layers, ops
from vipnp.models import vision_permutator

AUDITED_OPS = ["softmax", "drop_path", "permute_width", "cross_entropy"]


@pytest.fixture(scope="module")
def planted() -> Sabotage:
    return sabotage(ops=[*AUDITED_OPS, "downsample"])


@pytest.fixture(scope="module")
def without_gradcheck() -> Sabotage:
    return sabotage(ops=["residual"], gradcheck=False)


def test_every_mistake_is_caught(planted: Sabotage) -> None:
    assert planted.ok, [o.mistake.key for o in planted.survivors]
    assert len(planted.caught) + len(planted.equivalents) == len(planted.outcomes)
    for _, count, kinds, caught, missed in planted.counts():
        assert caught >= 10
        assert kinds >= 8
        assert missed is not None
        assert 0 < missed < count
    assert planted.factor_share <= 1 / 3
    assert planted.not_counted > 0


def test_known_blind_spots_of_gradcheck_are_among_them(planted: Sabotage) -> None:
    missed = {o.mistake.kind for o in planted.outcomes if o.gradcheck_missed}
    assert {"slightly scaled", "float32 intermediate", "nonlinear cotangent"} <= missed
    caught = {o.mistake.kind for o in planted.outcomes if not o.gradcheck_missed}
    assert {"flipped sign", "doubled", "zero gradient"} <= caught


def test_every_kind_fits_somewhere() -> None:
    kinds = {mistake.kind for _, mistake, _ in plantings(None)}
    assert kinds == {*KINDS, *STATEMENT_KINDS}


def test_a_mistake_changes_one_place() -> None:
    (five_digits,) = [m for m in mistakes(ops.gelu) if m.kind == "constant of five digits"]
    assert five_digits.before == "xp.constant('rsqrt_2pi')"
    assert five_digits.after == "0.39894"
    x = np.linspace(-2, 2, 9)
    from vipnp import get_backend

    xp = get_backend("numpy")
    y, back = five_digits.build("gelu")(xp, x)
    right_y, right_back = ops.gelu(xp, x)
    np.testing.assert_array_equal(y, right_y)
    difference = np.abs(back(np.ones(9))[0] - right_back(np.ones(9))[0]).max()
    assert 1e-7 < difference < 1e-4


def test_planting_leaves_the_real_op_alone() -> None:
    before = ops.layer_norm.__code__
    found = mistakes(ops.layer_norm)
    assert ops.layer_norm.__code__ is before
    assert len({m.source for m in found}) == len(found)


def test_one_shot_pullbacks_get_no_state() -> None:
    for declared in (layers.stage, vision_permutator):
        assert "state between calls" not in {m.kind for m in mistakes(declared, one_shot=True)}
    assert "state between calls" in {m.kind for m in mistakes(ops.gelu)}
    assert "written input" not in {m.kind for m in mistakes(ops.gelu, inside=True)}


def test_equivalents_are_few_and_real() -> None:
    assert len(EQUIVALENT) <= 7
    names = ["permute_width", "shift", "weighted_permute_mlp", "permutator"]
    planted_keys = {mistake.key for _, mistake, _ in plantings(names)}
    assert set(EQUIVALENT) <= planted_keys


def test_the_documentation_counts_kinds_and_equivalents() -> None:
    text = " ".join((ROOT / "docs" / "audit.md").read_text(encoding="utf-8").split())
    assert f"one of {len(KINDS) + len(STATEMENT_KINDS)} kinds of mistake fits" in text
    assert f"{len(EQUIVALENT)} planted changes are no mistakes" in text


def survivor() -> Outcome:
    mistake = Mistake("gelu", "doubled", 3, "dx", "2 * dx", "", "vipnp.ops.gelu")
    return Outcome(mistake, "", "", gradcheck_missed=True)


def test_survivors_are_listed_and_fail() -> None:
    found = Sabotage([survivor()])
    assert not found.ok
    assert found.to_json()["survivors"] == ["gelu: doubled: dx -> 2 * dx"]
    text = io.StringIO()
    print_sabotage(Console(file=text, width=120), found)
    assert "SURVIVES: gelu: doubled: dx -> 2 * dx" in text.getvalue()
    assert not Sabotage().ok


def test_without_pytorch_its_column_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planting, "need", _missing)
    found = sabotage(ops=["residual"])
    assert found.ok
    assert found.by_kind()[0][-1] is None
    text = io.StringIO()
    print_sabotage(Console(file=text, width=120), found)
    assert "planted mistakes fail the ladder" in text.getvalue()


def test_gradcheck_can_be_left_out(without_gradcheck: Sabotage) -> None:
    every = sabotage(ops=["residual"])
    assert [o.caught_by for o in without_gradcheck.outcomes] == [o.caught_by for o in every.outcomes]
    assert {o.gradcheck_missed for o in without_gradcheck.outcomes} == {None}
    assert None not in {o.gradcheck_missed for o in every.outcomes}
    text = io.StringIO()
    print_sabotage(Console(file=text, width=120), without_gradcheck)
    assert "torch.autograd.gradcheck misses" not in text.getvalue()


def _missing(*_: Any) -> types.ModuleType:
    raise planting.MissingExtraError('torch is not installed: pip install "vipnp[test]"')


def test_two_processes_find_what_one_finds(without_gradcheck: Sabotage) -> None:
    found = sabotage(ops=["residual"], gradcheck=False, processes=2)
    assert found.to_json() == without_gradcheck.to_json()
