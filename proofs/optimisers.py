"""Writes what the optimisers and clipping compute as Coq: proofs/updates/NAME.v. The theorems are in proofs/optim.

The unmodified source runs on symbolic arrays, of one step on three tensors. Its rates and momenta are symbols too:
where it asks one of them a question (`if momentum`), it is run once for either answer, and a Coq conditional stands for
the question. The checks of its arguments are left out, and `math.sqrt` is the real root.

python -m proofs.optimisers [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from proofs.statements import axes, entries, kind, opening, write_or_check
from proofs.tracer import Array, RefusedError, Tracer, require
from vipnp import optim

FOLDER = Path(__file__).parent / "updates"

TENSORS = {"filter": "K C P Q", "weight": "K C", "bias": "K"}
"""The tensors of a step: one of every number of axes that a parameter of a model has."""

SIZES = ("K", "C", "P", "Q")


class UnansweredError(Exception):
    """The source asks a question that has no answer yet."""


class UpdateTracer(Tracer):
    """A tracer with what optimisers ask for besides; `answers` are those to the questions of one run."""

    def __init__(self, answers: Mapping[str, bool]) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, question: str) -> bool:
        if question not in self.answers:
            raise UnansweredError(question)
        return self.answers[question]

    def asarray(self, x: Array) -> Array:
        """Nothing: it is an array already."""
        return x

    def ones_like(self, x: Array) -> Array:
        return Array(self, x.axes, lambda _: "1")

    def where(self, condition: Any, x: Array, y: Array) -> Array:
        require(isinstance(condition, Greater), "where knows the condition `entries > number` only")
        return self.elementwise("if Rlt_dec {} {} then {} else {}", condition.number, condition.entries, x, y)

    def elementwise(self, term: str, *operands: Any) -> Array:
        y = super().elementwise(term, *operands)
        return Comparable(self, y.axes, y.at, y.name)


class Comparable(Array):
    """An array whose entries may be compared with a number."""

    def __gt__(self, number: Any) -> Greater:
        return Greater(self, number)


class Greater:
    """For every entry, whether it is greater than a number; all that can be done with it is `where`."""

    def __init__(self, entries: Array, number: Any) -> None:
        self.entries, self.number = entries, number

    def __bool__(self) -> bool:
        raise RefusedError("the optimiser looks at the value of an entry")


class Number(Array):
    """A real number by name, a rate or a momentum: true where it is not zero."""

    xp: UpdateTracer

    def __bool__(self) -> bool:  # type: ignore[override]  # an array of the tracer refuses every question
        return not self.xp.answer(f"Req_EM_T {self.name} 0")

    def __pow__(self, n: int | Step) -> Array:
        exponent = n.term if isinstance(n, Step) else f"{n}%nat"
        return self.xp.elementwise("{} ^ {}", self, Array(self.xp, (), lambda _: exponent))


class Flag:
    """True or false, by name."""

    def __init__(self, xp: UpdateTracer, name: str) -> None:
        self.xp, self.name = xp, name

    def __bool__(self) -> bool:
        return self.xp.answer(self.name)


class Step:
    """n steps and `more`, for any n."""

    def __init__(self, more: int) -> None:
        self.more = more

    @property
    def term(self) -> str:
        return "(S " * self.more + "n" + ")" * self.more

    def __add__(self, other: int) -> Step:
        return Step(self.more + other)

    def __gt__(self, other: int) -> bool:
        require(self.more > other, f"whether {self.term} steps are more than {other} depends on n")
        return True


@dataclass(frozen=True)
class Update:
    """A function of an optimiser and how it is traced.

    `call` runs it on arrays, {what: {tensor: array}}, and numbers; what it returns is by tensor, or one array.
    """

    function: Callable[..., Any]
    numbers: tuple[str, ...]
    of_tensors: tuple[str, ...]
    call: Callable[..., list[Mapping[str, Array] | Array | None]]
    others: Mapping[str, str] = field(default_factory=dict)


def adamw(
    f: Callable[..., Any], xp: UpdateTracer, of: Mapping[str, Any], *, beta1: Number, beta2: Number, **rates: Number
) -> list[Any]:
    """The first step, or the step after n + 1 others: parameters and running means."""
    later = "m" in of
    state = optim.AdamWState(Step(1) if later else 0, of.get("m", {}), of.get("v", {}))  # type: ignore[arg-type]
    params, after = f(xp, of["p"], of["g"], state, betas=(beta1, beta2), **rates)
    require(after.step.more == 2 if later else after.step == 1, "a step is not counted")
    return [params, after.exp_avg, after.exp_avg_sq]


def sgd(f: Callable[..., Any], xp: UpdateTracer, of: Mapping[str, Any], **rates: Number) -> list[Any]:
    """The first step, or one after others: parameters and buffers; without momentum there are none."""
    params, after = f(xp, of["p"], of["g"], optim.SGDState(of.get("b", {})), **rates, nesterov=Flag(xp, "nesterov"))
    return [params, after.momentum_buffer or None]


def clip(f: Callable[..., Any], xp: UpdateTracer, of: Mapping[str, Any], **numbers: Number) -> list[Any]:
    """The clipped gradients, and the norm."""
    return list(f(xp, of["g"], **numbers))


ADAMW = ("beta1", "beta2", "eps", "lr", "weight_decay")
SGD = ("lr", "momentum", "weight_decay")

UPDATES: Mapping[str, Update] = {
    "adamw_first": Update(optim.adamw, ADAMW, ("p", "g"), adamw),
    "adamw_later": Update(optim.adamw, ADAMW, ("p", "g", "m", "v"), adamw, {"n": "nat"}),
    "sgd_first": Update(optim.sgd, SGD, ("p", "g"), sgd, {"nesterov": "bool"}),
    "sgd_later": Update(optim.sgd, SGD, ("p", "g", "b"), sgd, {"nesterov": "bool"}),
    "clip_grad_norm": Update(optim.clip_grad_norm, ("max_norm",), ("g",), clip),
}


THEOREMS: Mapping[str, Mapping[str, str]] = {
    "adamw": {
        "adamw_published": "For all tensors, gradients, rates of every step and numbers of steps: if 0 <= beta2 < 1, "
        "parameters and both running means are those of algorithm 2 of Loshchilov and Hutter; a tensor of one axis "
        "does not decay."
    },
    "sgd": {
        "sgd_published": "For all tensors, gradients, rates of every step and numbers of steps: parameters and buffers "
        "are those of the formula, with and without momentum, Nesterov's and decay."
    },
    "clip_grad_norm": {
        "clip_grad_norm_published": "For all tensors: the gradients times min(1, max_norm / (norm + 1e-6)), and the "
        "norm is the root of the sum of all squares.",
        "clip_grad_norm_bounded": "For all tensors: if max_norm > 0, what is returned has a norm of at most max_norm.",
    },
}
"""The files of proofs/optim, their theorems, and what each says."""


def symbolic(function: Callable[..., Any], xp: UpdateTracer) -> Callable[..., Any]:
    """The same code, where checks of arguments do nothing and roots are symbols."""
    unchecked = {"check_real": lambda name, value, **bounds: value, "check_owned": lambda *values: None}
    known = {**function.__globals__, **unchecked, "math": SimpleNamespace(sqrt=xp.sqrt)}
    copy = FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def body(update: Update, answers: Mapping[str, bool]) -> list[str]:
    """The lines of the Coq term, for the given answers to some questions and both to every other."""
    xp = UpdateTracer(answers)
    of = {what: {n: xp.argument(f"{what}_{n}", axes(s)) for n, s in TENSORS.items()} for what in update.of_tensors}
    numbers = {n: Number(xp, (), lambda _, n=n: n, n) for n in update.numbers}  # type: ignore[misc]
    try:
        results = update.call(symbolic(update.function, xp), xp, of, **numbers)
    except UnansweredError as error:
        question = str(error)
        yes, no = (body(update, {**answers, question: answer}) for answer in (True, False))
        return [f"if {question} then", *(f"  {line}" for line in yes), "else", *(f"  {line}" for line in no)]
    terms = [tensors(r) if isinstance(r, Mapping) else "None" if r is None else entries(r) for r in results]
    if update.call is sgd and results[1] is not None:
        terms[1] = f"Some {terms[1]}"
    return [*xp.lets, tuple_of(terms)]


def tensors(tree: Mapping[str, Array]) -> str:
    require(list(tree) == list(TENSORS), f"got the tensors {list(tree)}, expected {list(TENSORS)}")
    require([a.axes for a in tree.values()] == [axes(s) for s in TENSORS.values()], "a tensor changed its shape")
    return tuple_of([entries(a) for a in tree.values()])


def tuple_of(terms: Sequence[str]) -> str:
    """A tuple of Coq, nested to the right."""
    *others, last = terms
    for term in reversed(others):
        last = f"({term}, {last})"
    return last


def definition(name: str, update: Update) -> str:
    others = [f"({n} : {kind})" for n, kind in update.others.items()]
    arrays = [f"({what}_{n} : {kind(axes(s))})" for what in update.of_tensors for n, s in TENSORS.items()]
    *lines, last = body(update, {})
    head = f"Definition {name} ({' '.join(SIZES)} : nat) ({' '.join(update.numbers)} : R)"
    return "\n".join(
        [" ".join([head, *others]), f"    {' '.join(arrays)} :=", *(f"  {x}" for x in lines), f"  {last}.", ""]
    )


def text_of(function: Callable[..., Any]) -> str:
    """The file of a function of an optimiser, from its source as it is now."""
    head = opening("proofs/optimisers.py", f"{function.__module__.replace('.', '/')}.py")
    parts = [definition(name, update) for name, update in UPDATES.items() if update.function is function]
    return "\n".join([*head, *parts])


def files() -> dict[str, str]:
    """The text of every file by name."""
    functions = dict.fromkeys(update.function for update in UPDATES.values())
    return {f"{function.__name__}.v": text_of(function) for function in functions}


def main() -> int:
    return write_or_check(FOLDER, files(), "proofs.optimisers")


if __name__ == "__main__":
    sys.exit(main())
