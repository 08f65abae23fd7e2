"""The steps that are written as Coq are those that NumPy takes, from the same source."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from proofs import optimisers
from proofs.optimisers import TENSORS, UPDATES, UpdateTracer
from proofs.statements import axes
from proofs.terms import definition
from proofs.tracer import RefusedError
from vipnp import optim
from vipnp.backends import get_backend

XP = get_backend("numpy")
SIZES = {"K": 3, "C": 2, "P": 4, "Q": 5}
RATES = {"beta1": 0.75, "beta2": 0.5, "eps": 0.125, "lr": 0.25, "weight_decay": 0.375}


def shape(tensor: str) -> tuple[int, ...]:
    return tuple(SIZES[size] for (size,) in axes(TENSORS[tensor]))


def drawn(rng: np.random.Generator, *, positive: bool = False) -> dict[str, np.ndarray]:
    """Eighths, which floats hold exactly."""
    return {n: rng.integers(1 if positive else -9, 10, shape(n)) / 8 for n in TENSORS}


def as_function(values: Any) -> Any:
    return (lambda i: as_function(values[i])) if isinstance(values, list) else Fraction(values)


def flattened(value: Any) -> list[Any]:
    """The entries of a tuple of Coq that is nested to the right."""
    return [*flattened(value[0]), *flattened(value[1])] if isinstance(value, tuple) else [value]


def difference(name: str, given: dict[str, Any], expected: list[np.ndarray]) -> float:
    """The largest difference between the results of a written update and those of NumPy."""
    text = optimisers.files()[f"{UPDATES[name].function.__name__}.v"]
    names, term = definition(text + "\n", name)
    found = flattened(term(*(given[n] for n in names)))
    assert len(found) == len(expected)
    worst = 0.0
    for f, array in zip(found, expected, strict=True):
        for index in itertools.product(*map(range, array.shape)):
            entry = f
            for i in index:
                entry = entry(i)
            worst = max(worst, abs(float(entry) - float(array[index])))
    return worst


def arrays(**trees: dict[str, np.ndarray]) -> dict[str, Any]:
    return {f"{what}_{n}": as_function(a.tolist()) for what, tree in trees.items() for n, a in tree.items()}


def exact(numbers: dict[str, float]) -> dict[str, Fraction]:
    return {n: Fraction(v) for n, v in numbers.items()}


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_adamw(steps: int) -> None:
    rng = np.random.default_rng(steps)
    p, g, m, v = drawn(rng), drawn(rng), drawn(rng), drawn(rng, positive=True)
    state = optim.AdamWState(steps, m if steps else {}, v if steps else {})
    others = {n: r for n, r in RATES.items() if not n.startswith("beta")}
    params, after = optim.adamw(XP, p, g, state, betas=(RATES["beta1"], RATES["beta2"]), **others)
    given = {**SIZES, **exact(RATES), **arrays(p=p, g=g)}
    if steps:
        given |= {"n": steps - 1, **arrays(m=m, v=v)}
    expected = [*params.values(), *after.exp_avg.values(), *after.exp_avg_sq.values()]
    assert difference("adamw_later" if steps else "adamw_first", given, expected) < 1e-14


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.75])
@pytest.mark.parametrize("weight_decay", [0.0, 0.375])
def test_sgd(later: bool, nesterov: bool, momentum: float, weight_decay: float) -> None:
    rng = np.random.default_rng(0)
    p, g, b = drawn(rng), drawn(rng), drawn(rng)
    numbers = {"lr": 0.25, "momentum": momentum, "weight_decay": weight_decay}
    params, after = optim.sgd(XP, p, g, optim.SGDState(b if later else {}), nesterov=nesterov, **numbers)
    given = {**SIZES, **exact(numbers), "nesterov": nesterov, **arrays(p=p, g=g)}
    expected = [*params.values(), *after.momentum_buffer.values()]
    if not momentum:
        expected.append(np.zeros(()))  # where there are no buffers Coq has None
    assert difference("sgd_later" if later else "sgd_first", given | (arrays(b=b) if later else {}), expected) == 0


@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_clipping(max_norm: float) -> None:
    g = drawn(np.random.default_rng(0))
    clipped, norm = optim.clip_grad_norm(XP, g, max_norm=max_norm)
    given = {**SIZES, "max_norm": Fraction(max_norm), **arrays(g=g)}
    assert difference("clip_grad_norm", given, [*clipped.values(), np.asarray(norm)]) < 1e-14


def test_the_updates_are_what_the_sources_say_today() -> None:
    assert optimisers.files() == {path.name: path.read_text() for path in optimisers.FOLDER.glob("*.v")}


@pytest.mark.parametrize("file", optimisers.THEOREMS)
def test_every_update_has_its_theorems(file: str) -> None:
    script = (optimisers.FOLDER.parent / "optim" / f"{file}.v").read_text()
    for name in optimisers.THEOREMS[file]:
        assert f"Theorem {name} : " in script


def test_an_optimiser_may_not_look_at_entries() -> None:
    xp = UpdateTracer({})
    x = xp.argument("x", axes("K")) * 2
    with pytest.raises(RefusedError, match="value of an entry"):
        bool(x > 1)
