"""The formulas of docstrings as MathML.

Docstrings write mathematics the way code does: `dx = rstd * (d - mean(d))`, `y[b,k] = sum_c x[b,c] * weight[k,c]`,
`s_k (delta_kj - s_j)`. This reads that notation and leaves alone what is prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

GREEK = {"eps": "ε", "Phi": "Φ", "phi": "φ", "delta": "δ", "pi": "π"}
HATS = {"xhat": "x", "yhat": "y"}
PROSE = re.compile(
    r"(?<![\w.\[])(the|of|at|over|by|with|to|for|in|its|and|all|put|back|every|where|from|along|after|per|is|are)(?![\w(\[])"
)
"""Words that show a clause, or the rest of one, to be English."""

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*)|(\.\.\.|[-+*/^=()\[\],|@<>:]))")


class NotMathError(ValueError):
    """The text does not follow the notation."""


@dataclass(frozen=True)
class Piece:
    """Part of a line: a formula as MathML, or prose as HTML text."""

    html: str
    is_math: bool


def pieces(line: str) -> list[Piece]:
    """A line of a docstring as formulas and prose, in order."""
    found = []
    for clause in _clauses(line):
        formula, prose = _formula_and_prose(clause)
        math = to_mathml(formula) if "=" in formula else None
        if math is None:
            found.append(Piece(escape(clause), False))
            continue
        found.append(Piece(math, True))
        if prose:
            found.append(Piece(escape(prose), False))
    return found


def to_mathml(formula: str) -> str | None:
    """A formula as a <math> element; None where it does not follow the notation."""
    try:
        parser = _Parser(formula)
        body = parser.relation()
        parser.expect_end()
    except NotMathError:
        return None
    return f'<math display="inline"><mrow>{body}</mrow></math>'


def _clauses(line: str) -> Iterator[str]:
    """The parts of a line between commas outside brackets, and between wide gaps."""
    depth, start = 0, 0
    text = re.sub(r"\s{2,}=", " =", line.strip())
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and (text.startswith(", ", i) or text.startswith("   ", i) or text.startswith("; ", i)):
            yield from filter(None, [text[start:i].strip()])
            start = i + 1
    yield from filter(None, [text[start:].strip(" .")])


def _formula_and_prose(clause: str) -> tuple[str, str]:
    """What stands before the first English word after the equals sign, and the rest."""
    left, equals, right = clause.partition("=")
    word = PROSE.search(right)
    if not equals or word is None:
        return clause, ""
    first = word.start()
    if not right[:first].strip():
        return "", clause
    return (left + equals + right[:first]).strip(), right[first:].strip()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.glued: list[bool] = []
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if match is None:
                raise NotMathError(text[position:])
            self.tokens.append(match[0].strip())
            self.glued.append(not match[0][0].isspace())
            position = match.end()
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise NotMathError(f"expected {expected}, got {token!r}")
        self.at += 1
        return token

    def expect_end(self) -> None:
        if self.peek():
            raise NotMathError(self.peek())

    def relation(self) -> str:
        parts = [self.sum()]
        while self.peek() == "=":
            self.take()
            parts.append(f"<mo>=</mo>{self.sum()}")
        return "".join(parts)

    def sum(self) -> str:
        parts = [self.product()]
        while self.peek() in ("+", "-"):
            operator = "+" if self.take() == "+" else "&minus;"
            parts.append(f"<mo>{operator}</mo>{self.product()}")
        return "".join(parts)

    def product(self) -> str:
        result = self.power()
        while True:
            token = self.peek()
            if token in ("*", "@"):
                self.take()
                result += f"<mo>·</mo>{self.power()}"
            elif token == "/":
                self.take()
                below = self.power(bare=True)
                result = f"<mfrac><mrow>{_unwrapped(result)}</mrow><mrow>{below}</mrow></mfrac>"
            elif token and (token[0].isalnum() or token == "("):
                result += f"<mspace width='0.2em'/>{self.power()}"
            else:
                return result

    def power(self, *, bare: bool = False) -> str:
        base = self.primary(bare=bare)
        if self.peek() == "^":
            self.take()
            exponent = self.primary(bare=True)
            return f"<msup><mrow>{base}</mrow><mrow>{exponent}</mrow></msup>"
        return base

    def primary(self, *, bare: bool = False) -> str:
        token = self.take()
        if token == "-":
            return f"<mo>&minus;</mo>{self.power()}"
        if token == "...":
            return "<mo>…</mo>"
        if token == "(":
            inside = self.listed(")")
            return inside if bare else f"<mo>(</mo>{inside}<mo>)</mo>"
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if not token[0].isalpha():
            raise NotMathError(token)
        return self.named(token)

    def named(self, token: str) -> str:
        base, _, subscript = token.partition("_")
        if base in ("sum", "mean") and subscript and self.peek() not in ("(", "="):
            operator = "<mo>∑</mo>" if base == "sum" else "<mi>mean</mi>"
            return f"<munder>{operator}<mrow>{_index(subscript)}</mrow></munder>{self.product()}"
        if self.peek() == "(" and self.glued[self.at]:
            self.take()
            inside = self.listed(")")
            if token == "sqrt":
                return f"<msqrt><mrow>{inside}</mrow></msqrt>"
            return f"{_name(token)}<mo>(</mo>{inside}<mo>)</mo>"
        if base.isalpha() and subscript and len(subscript) <= 3 and base not in ("skip", "label"):
            indices = _index(subscript)
            token = base
        else:
            indices = ""
        if self.peek() == "[":
            self.take()
            inside = self.listed("]")
            indices = f"{indices}<mo>,</mo>{inside}" if indices else inside
        name = _name(token)
        return f"<msub>{name}<mrow>{indices}</mrow></msub>" if indices else name

    def listed(self, closing: str) -> str:
        parts = []
        while self.peek() != closing:
            if self.peek() == "":
                raise NotMathError(f"no {closing}")
            if self.peek() == ",":
                self.take()
                parts.append("<mo>,</mo>")
            elif self.peek() in ("*", ":") and len(parts) % 2 == 0:
                parts.append(f"<mo>{self.take()}</mo>")
            else:
                parts.append(self.relation())
        self.take(closing)
        return "".join(parts)


def _name(token: str) -> str:
    if token in HATS:
        return f"<mover><mi>{HATS[token]}</mi><mo>^</mo></mover>"
    return f"<mi>{GREEK.get(token, token.replace('_', ' '))}</mi>" if "_" not in token else f"<mtext>{token}</mtext>"


def _index(letters: str) -> str:
    return "".join(f"<mn>{c}</mn>" if c.isdigit() else f"<mi>{c}</mi>" for c in letters)


def _unwrapped(mathml: str) -> str:
    """A fraction's numerator needs no brackets around all of it."""
    whole = re.fullmatch(r"<mo>\(</mo>(.*)<mo>\)</mo>", mathml)
    if whole is None:
        return mathml
    depth = 0
    for mark in re.finditer(r"<mo>([()])</mo>", whole[1]):
        depth += 1 if mark[1] == "(" else -1
        if depth < 0:
            return mathml
    return whole[1]
