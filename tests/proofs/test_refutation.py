"""A counterexample is found to the statements of mistakes, and to none that is proved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import vipnp.layers
import vipnp.ops
from proofs import mutants
from proofs.refutation import differences, library, refuted
from proofs.statements import SPECS, Spec, statement
from tools.mistakes import mistakes
from tools.planting import EQUIVALENT


@pytest.mark.parametrize("name", library())
def test_a_proved_statement_has_no_counterexample(name: str) -> None:
    """At the points that are tried both sides are known to twenty digits, and are the same."""
    found = list(differences(library()[name], name))
    assert len(found) >= 3
    for gradient, value in found:
        assert gradient.contains(0)
        assert gradient.rad() < 1e-20
        assert value == 0


@pytest.mark.parametrize("name", ["cross_entropy", "downsample", "gelu", "linear", "mlp", "softmax", "width_branch"])
def test_every_planted_mistake_that_can_be_traced_has_a_counterexample(name: str) -> None:
    function = getattr(vipnp.ops, name, None) or getattr(vipnp.layers, name)
    right = list(mutants.texts_of(function, name))
    trial = mutants.Trial(every=0)
    fates = {mistake.key: trial.of(mistake, right) for mistake in mistakes(function)}
    assert {fate for key, fate in fates.items() if key not in EQUIVALENT} == {mutants.REFUSED, mutants.REFUTED}
    assert not trial.asked


def without_the_factor(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Callable[..., Any]]:
    """LayerNorm whose pullback has lost the factor xhat before mean_dxhat_xhat."""
    mean = xp.mean(x, axis=-1, keepdims=True)
    rstd = 1 / xp.sqrt(xp.mean((x - mean) * (x - mean), axis=-1, keepdims=True) + eps)
    xhat = (x - mean) * rstd

    def pullback(dy: Any) -> tuple[Any, Any, Any]:
        dxhat = dy * weight
        last = xp.mean(dxhat * xhat, axis=-1, keepdims=True)
        dx = rstd * (dxhat - xp.mean(dxhat, axis=-1, keepdims=True) - last)
        return dx, xp.sum_rows(dy * xhat), xp.sum_rows(dy)

    return weight * xhat + bias, pullback


def test_a_lost_factor_is_refuted() -> None:
    assert refuted(statement("layer_norm", without_the_factor, SPECS["layer_norm"]), "layer_norm")


def test_a_wrong_value_with_its_right_gradient_is_refuted_by_the_value() -> None:
    """A GELU that is twice as large, forward and backward: its gradient is right, and it is another function."""

    def doubled(xp: Any, x: Any) -> tuple[Any, Callable[[Any], tuple[Any]]]:
        y, pullback = vipnp.ops.gelu(xp, x)
        return 2 * y, lambda dy: (2 * pullback(dy)[0],)

    text, right = (statement("gelu", op, SPECS["gelu"]) for op in (doubled, vipnp.ops.gelu))
    assert not refuted(text, "gelu")
    assert refuted(text, "gelu", right)
    assert not refuted(right, "gelu", right)


def test_where_the_numbers_do_not_decide_nothing_is_refuted() -> None:
    """Every entry is divided by zero, of which Coq does not say what it is."""

    def endless(xp: Any, x: Any) -> tuple[Any, Callable[[Any], tuple[Any]]]:
        return x / (x - x), lambda dy: (dy,)

    text = statement("endless", endless, Spec("endless", {"x": "M C"}))
    assert list(differences(text, "endless")) == []
    assert not refuted(text, "endless")
