"""Evaluates the part of Coq that proofs/statements.py writes, so that a statement can be compared with NumPy.

An array is a Python function of one natural number that returns the rest of the array, or a number.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from scipy.special import ndtr

Env = Mapping[str, Any]
Term = Callable[[Env], Any]

TOKEN = re.compile(r"\s*(\d+|:=|=>|->|[A-Za-z_][\w.']*|%nat|\S)")
END_OF_APPLICATION = re.compile(r"[^\w(]|(in|then|else|with|end|_)$|^$")

MEANING: Env = {
    "sum": lambda n: lambda f: sum((f(i) for i in range(n)), start=Fraction(0)),
    "maximum": lambda n: lambda f: max(f(i) for i in range(n)),
    "exp": lambda x: math.exp(x),
    "ln": lambda x: math.log(x),
    "sqrt": lambda x: math.sqrt(x),
    "Phi": lambda x: float(ndtr(float(x))),
    "INR": Fraction,
    "S": lambda n: n + 1,
    "rsqrt_2pi": 1 / math.sqrt(2 * math.pi),
    "Req_EM_T": lambda x: lambda y: x == y,
    "Nat.eqb": lambda m: lambda n: m == n,
    "Rlt_dec": lambda x: lambda y: x < y,
    "Some": lambda x: x,
    "None": 0,
}


def definition(text: str, name: str) -> tuple[list[str], Callable[..., Any]]:
    """The parameters of `Definition name` in `text`, and its body as a function of them."""
    found = re.search(rf"^Definition {name} (.*?) :=\n(.*?)\.\n\n", text, flags=re.S | re.M)
    assert found, f"no definition of {name}"
    parameters = [n for group in re.findall(r"\(([^:()]*):", found[1]) for n in group.split()]
    parser = Parser(found[2])
    body = parser.term()
    assert not parser.tokens, f"left over: {parser.tokens[:5]}"
    return parameters, lambda *values: body({**MEANING, **dict(zip(parameters, values, strict=True))})


class Parser:
    """Recursive descent; every method takes the tokens of one term and returns its value as a function of names."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected: str) -> str:
        token = self.tokens.pop(0)
        assert not expected or token in expected, f"got {token}, expected {expected}"
        return token

    def term(self) -> Term:
        forms = {"fun": self.function, "let": self.let, "if": self.choice, "match": self.cases}
        return forms.get(self.peek(), self.sum)()

    def function(self) -> Term:
        self.take("fun")
        names = []
        while self.peek() not in (":", "=>"):
            names.append(self.take())
        while self.take() != "=>":  # a type
            pass
        body = self.term()
        return lambda env: curried(names, body, env)

    def let(self) -> Term:
        self.take("let")
        name = self.take()
        self.take(":=")
        value = self.term()
        self.take("in")
        body = self.term()
        return lambda env: body({**env, name: value(env)})

    def choice(self) -> Term:
        self.take("if")
        test = self.application()
        self.take("then")
        yes = self.term()
        self.take("else")
        no = self.term()
        return lambda env: yes(env) if test(env) else no(env)

    def cases(self) -> Term:
        self.take("match")
        value = self.term()
        self.take("with")
        branches: dict[str, Term] = {}
        more = True
        while more:
            pattern = self.atom_name()
            self.take("=>")
            branches[pattern] = self.term()
            more = self.take("|", "end") == "|"
        return lambda env: branches.get(str(value(env)), branches["_"])(env)

    def atom_name(self) -> str:
        name = self.take()
        if self.peek() == "%nat":
            self.take()
        return name

    def sum(self) -> Term:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = binary(self.take(), left, self.product())
        return left

    def product(self) -> Term:
        left = self.negation()
        while self.peek() in ("*", "/"):
            left = binary(self.take(), left, self.negation())
        return left

    def negation(self) -> Term:
        """Coq's minus binds tighter than its product."""
        if self.peek() != "-":
            return self.application()
        self.take()
        operand = self.negation()
        return lambda env: -operand(env)

    def application(self) -> Term:
        head = self.atom()
        while not END_OF_APPLICATION.match(self.peek()):
            head = applied(head, self.atom())
        if self.peek() == "^":
            self.take()
            return power(head, self.atom())
        return head

    def atom(self) -> Term:
        if self.peek() == "(":
            self.take()
            parts = [self.term()]
            while self.take(",", ")") == ",":
                parts.append(self.term())
            return parts[0] if len(parts) == 1 else lambda env: tuple(part(env) for part in parts)
        name = self.atom_name()
        return (lambda env: int(name)) if name.isdigit() else (lambda env: env[name])


def binary(sign: str, left: Term, right: Term) -> Term:
    compute = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": divided}[sign]
    return lambda env: compute(left(env), right(env))


def power(base: Term, exponent: Term) -> Term:
    return lambda env: base(env) ** exponent(env)


def divided(a: Any, b: Any) -> Any:
    """Exact where both are rational."""
    return a / b if isinstance(a, float) or isinstance(b, float) else Fraction(a) / b


def applied(head: Term, argument: Term) -> Term:
    return lambda env: head(env)(argument(env))


def curried(names: list[str], body: Term, env: Env) -> Any:
    """A function of several arguments as Coq has them; an array is computed once an entry."""
    name, *others = names

    def call(value: Any) -> Any:
        inner = {**env, name: value}
        return curried(others, body, inner) if others else body(inner)

    return cache(call)
