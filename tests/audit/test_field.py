"""The finite field over shapes drawn by hypothesis: exactly zero, a thousand times over; and it can fail."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.mistakes import mistakes
from vipnp import ops
from vipnp.audit.audit import subject_of
from vipnp.audit.cases import CASES, Case
from vipnp.verify.ladder import climb
from vipnp.verify.report import Verdict
from vipnp.verify.subject import Subject

OPS = [case for case in CASES.values() if case.kind == "op"]
LAYERS = [case for case in CASES.values() if case.kind in ("layer", "block")]
MODELS = [case for case in CASES.values() if case.kind == "model"]

Drawn = tuple[Case, tuple[tuple[str, int], ...]]


def shapes_of(cases: list[Case]) -> st.SearchStrategy[Drawn]:
    def sizes(case: Case) -> st.SearchStrategy[Drawn]:
        letters = {letter: st.integers(low, high) for letter, (low, high) in case.ranges.items()}
        return st.fixed_dictionaries(letters).filter(case.fits).map(lambda found: (case, tuple(sorted(found.items()))))

    return st.sampled_from(cases).flatmap(sizes)


def assert_zero(drawn: Drawn, seen: set[tuple[str, tuple[tuple[str, int], ...]]]) -> None:
    case, sizes = drawn
    seed = len(seen)
    args, kwargs = case.inputs(seed, dict(sizes))
    rows = climb("finite_field", Subject(case.op, args, kwargs, seed=seed, name=case.name))
    assert rows
    assert all(row.verdict is Verdict.PASS and row.error == 0 for row in rows), rows
    seen.add((case.name, sizes))


@pytest.mark.long
@pytest.mark.parametrize(("cases", "examples", "distinct"), [(OPS, 1600, 1000), (LAYERS, 60, 50), (MODELS, 12, 8)])
def test_exactly_zero_over_drawn_shapes(cases: list[Case], examples: int, distinct: int) -> None:
    """All inputs and parameters are random nonzero field elements; models have drop path, dropout and the loss in."""
    seen: set[tuple[str, tuple[tuple[str, int], ...]]] = set()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(shapes_of(cases))
    def zero(drawn: Drawn) -> None:
        assert_zero(drawn, seen)

    zero()
    assert len(seen) >= distinct


def with_a_mistake(op: Callable[..., Any]) -> Callable[..., Any]:
    """The op with the first gradient it returns times 1 + 1e-8."""
    planted = [mistake for mistake in mistakes(op) if mistake.kind == "slightly scaled"]
    return planted[-1].build(op.__name__)


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name != "cross_entropy"])
def test_one_planted_mistake_per_op_is_not_zero(name: str) -> None:
    wrong = with_a_mistake(getattr(ops, name))
    subject = subject_of(CASES[name])
    rows = climb("finite_field", Subject(wrong, subject.args, subject.kwargs, name=name))
    assert Verdict.FAIL in {row.verdict for row in rows}


def test_a_mistake_in_the_pullback_that_cross_entropy_hands_on_is_not_zero() -> None:
    wrong = with_a_mistake(ops.soft_cross_entropy)
    cross_entropy = types.FunctionType(
        ops.cross_entropy.__code__, {**ops.cross_entropy.__globals__, "soft_cross_entropy": wrong}
    )
    cross_entropy.__kwdefaults__ = ops.cross_entropy.__kwdefaults__
    subject = subject_of(CASES["cross_entropy"])
    (row,) = climb("finite_field", Subject(cross_entropy, subject.args, subject.kwargs, name="cross_entropy"))
    assert row.verdict is Verdict.FAIL
