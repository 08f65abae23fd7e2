"""Looks for a counterexample to a statement as it is written: sizes, numbers and curves for which its equation fails.

Every number is a ball of Arb: the exact result lies in it. So where the ball of a difference leaves out zero, the two
sides differ for certain, and the statement has no proof. That none is found says nothing.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from flint import arb, arb_series, ctx, fmpq

from proofs.terms import Parser, definition, python_name

HERE = Path(__file__).parent
BITS, ENTRIES, ATTEMPTS = 256, 64, 12
"""The precision of the balls; about how many entries the largest array may have; and how often a point is drawn."""


WEIGHT = "nat -> nat -> nat -> nat -> R"
"""What the weight of a branch is in Coq."""


class UndecidedError(Exception):
    """What the term says at this point cannot be told from the balls, or has no derivative."""


@contextlib.contextmanager
def precise() -> Iterator[None]:
    """Balls of BITS bits, and power series that end with t^1."""
    before = ctx.prec, ctx.cap
    ctx.prec, ctx.cap = BITS, 2
    try:
        yield
    finally:
        ctx.prec, ctx.cap = before


# --- what the names of Coq mean, for power series in t up to t^1: a value with its derivative ------------------------


def series(x: Any) -> arb_series:
    return x if isinstance(x, arb_series) else arb_series([x])


def finite(x: arb_series) -> arb_series:
    if not (x[0].is_finite() and x[1].is_finite()):
        raise UndecidedError
    return x


def divided(a: Any, b: Any) -> Any:
    try:
        return fmpq(a) / b if isinstance(a, int) else a / b
    except ZeroDivisionError as error:
        raise UndecidedError from error


def is_zero(x: Any) -> Callable[[Any], bool]:
    value, slope = series(x)[0], series(x)[1]
    if value != 0:
        return lambda zero: False
    if not (value == 0 and slope == 0):
        raise UndecidedError
    return lambda zero: True


def maximum(n: int) -> Callable[[Callable[[int], Any]], Any]:
    def of(f: Callable[[int], Any]) -> Any:
        largest, *others = (series(f(i)) for i in range(n))
        for x in others:
            if x[0] > largest[0]:
                largest = x
            elif not x[0] < largest[0]:
                raise UndecidedError
        return largest

    return of


with precise():
    RSQRT_2PI = 1 / (2 * arb.pi()).sqrt()

MEANING: Mapping[str, Any] = {
    "divided": divided,
    "sum": lambda n: lambda f: sum(map(f, range(n))),
    "maximum": maximum,
    "exp": lambda x: finite(series(x).exp()),
    "ln": lambda x: finite(series(x).log()),
    "sqrt": lambda x: finite(series(x).sqrt()),
    "Phi": lambda x: (1 + (series(x) / arb(2).sqrt()).erf()) / 2,
    "INR": lambda n: n,
    "rsqrt_2pi": RSQRT_2PI,
    "Req_EM_T": is_zero,
    "Nat.eqb": lambda m: lambda n: m == n,
    "fst": lambda pair: pair[0],
    "snd": lambda pair: pair[1],
}


def curried(function: Callable[..., Any], count: int) -> Any:
    return (lambda x: curried(partial(function, x), count - 1)) if count else function()


@cache
def library() -> dict[str, str]:
    """The file of every function that a layer may call."""
    files = [path.read_text() for folder in ("statements", "layers") for path in (HERE / folder).glob("*.v")]
    return {name: text for text in files for name in re.findall(r"^Definition (\w+) \(", text, re.M)}


def defined(text: str, name: str) -> Any:
    """The function `name` of `text`, with what it calls as proofs/statements and proofs/layers have it."""
    words = {*re.findall(r"\w+", text)} & library().keys() - {*re.findall(r"^Definition (\w+)", text, re.M)}
    parameters, function = definition(text, name, {**MEANING, **{word: called(word) for word in words}})
    return curried(function, len(parameters))


@cache
def called(name: str) -> Any:
    return defined(library()[name], name)


# --- the statement ----------------------------------------------------------------------------------------------------


def refuted(text: str, name: str, right: str | None = None) -> bool:
    """Whether a counterexample is found to `name_is_correct` in `text`; or to the value, where `right` is a text about
    the same function with the value that is asked for."""
    return any(gradient != 0 or value != 0 for gradient, value in differences(text, name, right))


def differences(text: str, name: str, right: str | None = None) -> Iterator[tuple[arb, arb]]:
    """At every point that is drawn and can be decided: by how much the left side of the equation is more than the right
    one; and the sum of dy times what the value is too much."""
    statement = Statement(text, name)
    functions = [defined(text, name), *([defined(right, name)] if right else [])]
    for seed in range(ATTEMPTS):
        try:
            with precise():
                found = statement.at(Random(seed), *functions)
        except UndecidedError:
            continue
        yield found


class Statement:
    """The parts of `name_is_correct` as it is written."""

    def __init__(self, text: str, name: str) -> None:
        found = re.search(
            rf"Definition {name}_is_correct : Prop :=\n  forall (.*?),\n(.*)  exists v : (.*?),\n"
            rf".*  let g := snd \({name} (.*?)\) dy in\n(.*?) =\n(.*?)\.\n",
            text,
            re.S,
        )
        assert found, f"no statement about {name}"
        quantified, premises, self.y, self.arguments, self.left, self.right = found.groups()
        groups = re.findall(r"\(([^:()]*) : ([^()]*)\)", quantified)
        self.kinds = {n: kind for names, kind in groups for n in names.split()}
        self.branches = re.findall(r"\((branch_\w) : ", quantified)
        self.below = dict(re.findall(r"\(forall i, \((\w+) i < (\w+)\)%nat\)", premises))

    def at(self, rng: Random, function: Any, right: Any = None) -> tuple[arb, arb]:
        """What is left of the equation, and of the value, at a point: sizes, constants, curves x + t*u, and dy."""
        values: dict[str, Any] = dict(self.drawn_sizes(rng))
        velocities = [n for n in self.kinds if n.startswith("u_")]
        for n, kind in self.kinds.items():
            if n in velocities:
                values[n] = u = entries(kind, lambda *i: eighth(rng))
                values[n[2:]] = entries(kind, partial(lambda u, *i: arb_series([eighth(rng), at(u, i)]), u))
            elif n in self.below:
                values[n] = entries(kind, partial(lambda n, *i: rng.randrange(values[self.below[n]]), n))
            elif kind == "R":
                values[n] = abs(eighth(rng))
            elif kind != "nat" and f"u_{n}" not in self.kinds:
                values[n] = entries(kind, lambda *i: rng.choice([0, 1, 1, 1]) * eighth(rng))
        values |= {n: self.branch(k, values) for k, n in enumerate(self.branches, 1)}
        y, pullback = self.called(function, values)
        values["dy"] = entries(self.y, lambda *i: eighth(rng))
        values["v"] = entries(self.y, lambda *i: series(at(y, i))[1])
        values["g"] = constant(pullback(values["dy"]), [self.kinds[n] for n in velocities])
        gradient = evaluated(self.left, values) - evaluated(self.right, values)
        if right is None:
            return gradient, arb(0)
        expected, _ = self.called(right, values)
        values["v"] = entries(self.y, lambda *i: series(at(y, i))[0] - series(at(expected, i))[0])
        return gradient, evaluated(self.left, values)

    def drawn_sizes(self, rng: Random) -> list[tuple[str, int]]:
        """One, two and three, so that not all arrays are large."""
        names = [n for n, kind in self.kinds.items() if kind == "nat"]
        while True:
            lengths = [rng.randint(1, 3) for _ in names]
            if math.prod(lengths) <= ENTRIES * 2 ** max(0, len(names) - 5):
                return list(zip(names, lengths, strict=True))

    def branch(self, k: int, values: Mapping[str, Any]) -> Any:
        """One of the functions that a statement is about any of: y = k * weight[0, 0, 0, 0] * x, with its gradients."""

        def of(x: Any, weight: Any) -> Any:
            factor = k * at(weight, (0, 0, 0, 0))

            def pullback(dy: Any) -> Any:
                slope = k * evaluated(self.left, {**values, "dy": dy, "v": x})
                dweight = entries(WEIGHT, lambda *i: 0 if any(i) else slope)
                return entries(self.y, lambda *i: factor * at(dy, i)), dweight

            return entries(self.y, lambda *i: factor * at(x, i)), pullback

        return curried(of, 2)

    def called(self, function: Any, values: Mapping[str, Any]) -> Any:
        """The function at its arguments; what the statement writes as the curve `(x 0)` is a series here."""
        for name in self.arguments.replace(" 0)", "").replace("(", "").split():
            function = function(values[name])
        return function


def eighth(rng: Random) -> fmpq:
    """Not zero."""
    return fmpq(rng.choice([-1, 1]) * rng.randint(1, 24), 8)


def entries(kind: str, entry: Callable[..., Any]) -> Any:
    """The array with these entries, each asked for once; a number where the kind is R."""
    count = len(kind.split(" -> ")) - 1

    def rest(*index: int) -> Any:
        return cache(lambda i: rest(*index, i)) if len(index) < count else entry(*index)

    return rest()


def at(array: Any, index: Sequence[int]) -> Any:
    for i in index:
        array = array(i)
    return array


def constant(nested: Any, kinds: Sequence[str]) -> Any:
    """A tuple of arrays of these kinds at t = 0."""
    *others, last = kinds
    if others:
        return constant(nested[0], others), constant(nested[1], [last])
    return entries(last, lambda *i: series(at(nested, i))[0])


def evaluated(term: str, values: Mapping[str, Any]) -> arb:
    names = {python_name(n): value for n, value in {**MEANING, **values}.items()}
    result: arb = arb(0) + eval(code(term), {**names, "array": cache, "divided": divided})
    return result


@cache
def code(term: str) -> Any:
    return compile(Parser(term).term(), "term", "eval")
