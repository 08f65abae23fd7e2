"""The docstrings of the public names have the sections of numpydoc, and these match the signatures.

Ops and layers have a form of their own, formula, shapes, Saves and Source: tests/ops/test_form.py holds them to it.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from typing import Any, is_typeddict

import pytest

MODULES = (
    "vipnp",
    "vipnp.backends",
    "vipnp.checkpoint",
    "vipnp.data",
    "vipnp.explain",
    "vipnp.interop.torch",
    "vipnp.models",
    "vipnp.optim",
    "vipnp.train",
    "vipnp.verify",
)
FORMULAS = ("vipnp.layers", "vipnp.ops", "vipnp.models.vision_permutator", "vipnp.optim")
"""Functions from here that take a backend first are described by formula and shapes."""

FIELDS = ("Parameters", "Attributes")
SECTIONS = (*FIELDS, "Returns", "Yields", "Raises", "References")
HEADING = re.compile(rf"^({'|'.join(SECTIONS)})\n-+\n", re.MULTILINE)


def public() -> dict[str, Any]:
    """Every public function, class and method by its name."""
    found = {}
    for module in map(import_module, MODULES):
        own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
        for name in getattr(module, "__all__", [name for name in own if name[0] != "_"]):
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[f"{thing.__module__}.{name}"] = thing
                found.update({f"{thing.__module__}.{name}.{method}": f for method, f in methods(thing)})
    return found


def methods(thing: Any) -> Iterator[tuple[str, Any]]:
    own = [base for base in getattr(thing, "__mro__", ()) if base.__module__.startswith("vipnp.")]
    for name, member in {name: member for base in reversed(own) for name, member in vars(base).items()}.items():
        function = getattr(member, "__func__", member)
        if inspect.isfunction(function) and name[0] != "_":
            yield name, function


def sections(docstring: str) -> dict[str, str]:
    parts = HEADING.split(docstring)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def named(text: str) -> list[str]:
    """The names that the entries of a section begin with."""
    heads = re.findall(r"^([*\w]+(?:, [*\w]+)*)(?: : |$)", text, re.MULTILINE)
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


def faults(thing: Any) -> list[str]:
    """Where the docstring does not match the signature or what the body raises."""
    docstring = inspect.getdoc(thing) or ""
    found = sections(docstring)
    signature = inspect.signature(thing)
    parameters = [name for name in signature.parameters if name not in ("self", "cls")]
    wrong = []
    described = named("\n".join(found.get(section, "") for section in FIELDS))
    missing = [name for name in parameters if name not in described]
    unknown = [name for name in named(found.get("Parameters", "")) if name not in parameters]
    if missing or unknown:
        wrong.append(f"parameters not described: {missing}, described but not there: {unknown}")
    returns = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    if inspect.isfunction(thing) and parameters and returns and not {"Returns", "Yields"} & set(found):
        wrong.append("no Returns")
    if re.search(r"^\s*Raises(?!\n-)", docstring, re.MULTILINE) or re.search(r"\. Raises", docstring):
        wrong.append("Raises is no section")
    raised = named(found.get("Raises", ""))
    if not set(raised) <= exceptions():
        wrong.append(f"not all exceptions: {raised}")
    if inspect.isfunction(thing):
        silent = raises(thing) & exceptions() - set(raised)
        wrong += [f"raises {name} and does not say so" for name in sorted(silent)]
    return wrong


def exceptions(kind: type[BaseException] = BaseException) -> set[str]:
    """The names of all exceptions that are there."""
    return {kind.__name__}.union(*map(exceptions, kind.__subclasses__()))


def raises(function: Any) -> set[str]:
    """What the body of `function` itself raises, functions inside it left out."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    calls = set()
    left: list[ast.AST] = list(ast.iter_child_nodes(tree))
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            calls.add(node.exc.func.id)
        left += ast.iter_child_nodes(node)
    return calls


def has_formula(name: str, thing: Any) -> bool:
    return inspect.isfunction(thing) and name.startswith(FORMULAS) and "xp" in inspect.signature(thing).parameters


def is_made(thing: Any) -> bool:
    """Whether the class is called to make something: no enumeration, no type for the type checker alone."""
    return not (issubclass(thing, enum.Enum) or is_typeddict(thing) or getattr(thing, "_is_protocol", False))


PUBLIC = {
    name: thing
    for name, thing in public().items()
    if (is_made(thing) if inspect.isclass(thing) else not has_formula(name, thing))
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_matches_the_signature(name: str) -> None:
    assert not faults(PUBLIC[name])


def test_what_does_not_match_is_seen() -> None:
    def good(a: int, *rest: int) -> int:
        """Add.

        Parameters
        ----------
        a, *rest : the numbers.

        Returns
        -------
        int
            Their sum.

        Raises
        ------
        ValueError
            Without a rest.
        """
        if not rest:
            raise ValueError("rest: got none, expected some")
        return a + sum(rest)

    def changed(old: str, new: str) -> list[str]:
        assert good.__doc__ is not None
        assert old in good.__doc__
        good.__doc__, kept = good.__doc__.replace(old, new), good.__doc__
        try:
            return faults(good)
        finally:
            good.__doc__ = kept

    assert not faults(good)
    assert changed("a, *rest :", "a :") == ["parameters not described: ['rest'], described but not there: []"]
    assert changed("a, *rest :", "a, b, rest :") == ["parameters not described: [], described but not there: ['b']"]
    assert changed("Returns\n        -------\n        int\n            Their sum.\n", "") == ["no Returns"]
    assert changed("ValueError", "TypeError") == ["raises ValueError and does not say so"]
    assert changed("ValueError", "ValueErrors")[0] == "not all exceptions: ['ValueErrors']"
    assert "Raises is no section" in changed("Raises\n        ------\n", "Raises\n")
