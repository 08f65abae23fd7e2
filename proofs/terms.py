"""Evaluates the part of Coq that this folder writes: for comparison with NumPy, and for counterexamples.

A definition becomes a Python function. An array is a function of one natural number that returns the rest of the array,
or a number, and a tuple of more than two is nested to the left, as Coq has them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from scipy.special import ndtr

TOKEN = re.compile(r"\s*(\d+|:=|=>|->|[A-Za-z_][\w.']*|%nat|\S)")
END_OF_APPLICATION = re.compile(r"[^\w(]|(in|then|else|with|end|_)$|^$")


def divided(a: Any, b: Any) -> Any:
    """Exact where both are rational."""
    return a / b if isinstance(a, float) or isinstance(b, float) else Fraction(a) / b


MEANING: Mapping[str, Any] = {
    "divided": divided,
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
    "fst": lambda pair: pair[0],
    "snd": lambda pair: pair[1],
}
"""What the names of Coq mean, for numbers that are fractions or floats."""


def definition(text: str, name: str, meaning: Mapping[str, Any] = MEANING) -> tuple[list[str], Callable[..., Any]]:
    """The parameters of `Definition name` in `text`, and the function of all of them that it defines."""
    found = re.search(rf"^Definition {name} (.*?) :=\n(.*?)\.\n\n", text, flags=re.S | re.M)
    assert found, f"no definition of {name}"
    parameters = [n for group in re.findall(r"\(([^:()]*):", found[1]) for n in group.split()]
    parser = Parser(found[2])
    source = f"lambda {', '.join(map(python_name, parameters))}: {parser.term()}"
    assert not parser.tokens, f"left over: {parser.tokens[:5]}"
    known = {python_name(n): value for n, value in meaning.items()}
    return parameters, eval(source, {**known, "array": cache, "divided": meaning["divided"]})


def python_name(name: str) -> str:
    """No name of Python ends like this one."""
    return re.sub(r"[.']", "_q", name) + "_"


class Parser:
    """Recursive descent; every method takes the tokens of one term and returns it as an expression of Python."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)[::-1]

    def peek(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def take(self, *expected: str) -> str:
        token: str = self.tokens.pop()
        assert not expected or token in expected, f"got {token}, expected {expected}"
        return token

    def until(self, end: str) -> list[str]:
        """The tokens before `end`, which is taken as well."""
        taken = []
        while (token := self.take()) != end:
            taken.append(token)
        return taken

    def term(self) -> str:
        forms = {"fun": self.function, "let": self.let, "if": self.choice, "match": self.cases}
        return forms.get(self.peek(), self.sum)()

    def function(self) -> str:
        """An array is computed once an entry."""
        self.take("fun")
        declared = " ".join(self.until("=>"))
        names, _, kind = declared.partition(" : ")
        function = self.term()
        for name in reversed(names.split()):
            function = f"lambda {python_name(name)}: {function}"
            function = f"array({function})" if kind == "nat" else f"({function})"
        return function

    def let(self) -> str:
        self.take("let")
        name = self.until(":=")[0]
        value = self.term()
        self.take("in")
        return f"(lambda {python_name(name)}: {self.term()})({value})"

    def choice(self) -> str:
        self.take("if")
        test = self.application()
        self.take("then")
        yes = self.term()
        self.take("else")
        return f"({yes} if {test} else {self.term()})"

    def cases(self) -> str:
        self.take("match")
        value = self.term()
        self.take("with")
        found = ""
        more = True
        while more:
            pattern = self.atom()
            self.take("=>")
            body = self.term()
            more = self.take("|", "end") == "|"
            found += f"{body} if {value} == {pattern} else " if more else body
        return f"({found})"

    def sum(self) -> str:
        left = self.product()
        while self.peek() in ("+", "-"):
            left = f"({left} {self.take()} {self.product()})"
        return left

    def product(self) -> str:
        left = self.negation()
        while self.peek() in ("*", "/"):
            product = self.take() == "*"
            right = self.negation()
            left = f"({left} * {right})" if product else f"divided({left}, {right})"
        return left

    def negation(self) -> str:
        """Coq's minus binds tighter than its product."""
        if self.peek() != "-":
            return self.application()
        self.take()
        return f"(-{self.negation()})"

    def application(self) -> str:
        head = self.atom()
        while not END_OF_APPLICATION.match(self.peek()):
            head = f"{head}({self.atom()})"
        if self.peek() == "^":
            self.take()
            return f"({head} ** {self.atom()})"
        return head

    def atom(self) -> str:
        name = self.take()
        if name == "(":
            found = self.term()
            while self.take(",", ")") == ",":
                found = f"({found}, {self.term()})"
            return found
        if self.peek() == "%nat":
            self.take()
        return name if name.isdigit() or name == "_" else python_name(name)


def flattened(nested: Any, count: int) -> list[Any]:
    """The parts of a tuple of so many."""
    return [nested] if count == 1 else [*flattened(nested[0], count - 1), nested[1]]
