"""The form of ops and layers, read from their syntax trees."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from vipnp import layers, ops

FILES = sorted(path for package in (ops, layers) for path in Path(inspect.getfile(package)).parent.glob("*.py"))


def functions(source: str) -> Iterator[ast.FunctionDef]:
    """The module-level functions."""
    yield from (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))


def stored(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def rebound_captures(function: ast.FunctionDef) -> set[str]:
    """Names that a closure in `function` reads and that are bound again after the closure was defined."""
    found: set[str] = set()
    for i, statement in enumerate(function.body):
        if isinstance(statement, ast.FunctionDef):
            arguments = {argument.arg for argument in statement.args.args}
            captured = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)} - stored(statement) - arguments
            later = set().union(*(stored(node) for node in function.body[i + 1 :]), set())
            found |= captured & later
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_functions_are_plain(path: Path) -> None:
    """Undecorated (mutation testing passes over decorated functions), documented, and no captured name bound again."""
    for function in functions(path.read_text()):
        assert not function.decorator_list, function.name
        assert ast.get_docstring(function), function.name
        assert not rebound_captures(function), function.name


def test_a_rebound_capture_is_seen() -> None:
    (wrong,) = functions(
        "def op(xp, x):\n    def pullback(dy):\n        return dy * x\n    x = x + 1\n    return x, pullback"
    )
    assert rebound_captures(wrong) == {"x"}


def written_names(function: ast.FunctionDef) -> set[str]:
    """What is assigned by index, attribute or augmented assignment: what an op could be writing in place."""
    targets = [
        target
        for node in ast.walk(function)
        if isinstance(node, (ast.Assign, ast.AugAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(node, ast.AugAssign) or isinstance(target, (ast.Subscript, ast.Attribute))
    ]
    return {ast.unparse(target) for target in targets}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_ops_write_nothing_in_place(path: Path) -> None:
    for function in functions(path.read_text()):
        assert not written_names(function) & {argument.arg for argument in function.args.args}, function.name
        assert not {name for name in written_names(function) if "[" not in name}, function.name


@pytest.mark.parametrize("path", sorted(Path(inspect.getfile(ops)).parent.glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_one_op_a_file_named_after_it(path: Path) -> None:
    assert [function.name for function in functions(path.read_text())] == [path.stem]
    docstring = inspect.getdoc(getattr(ops, path.stem)) or ""
    assert "Saves:" in docstring


@pytest.mark.parametrize("name", [*ops.__all__, *(n for n in layers.__all__ if inspect.isfunction(getattr(layers, n)))])
def test_every_op_and_layer_names_its_source(name: str) -> None:
    function = getattr(ops, name, None) or getattr(layers, name)
    assert "\nSource: " in (inspect.getdoc(function) or "")
