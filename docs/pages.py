"""The pages of the site that are made from the source: one an op, one a part of the package; and tutorials that run."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tools.formulas import sections
from vipnp import ops
from vipnp.audit.audit import audit
from vipnp.audit.terminal import figure
from vipnp.verify.report import Report

GENERATED = "generated"

PARTS = (
    "vipnp",
    "vipnp.layers",
    "vipnp.optim",
    "vipnp.models",
    "vipnp.train",
    "vipnp.data",
    "vipnp.checkpoint",
    "vipnp.verify",
    "vipnp.explain",
    "vipnp.interop.torch",
    "vipnp.backends",
    "vipnp.core",
)
"""The parts of the package with a page of their own; ops have one each."""


def write(docs: Path) -> None:
    """Write all pages into docs/generated."""
    folder = docs / GENERATED
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "ops").mkdir(parents=True)
    (folder / "api").mkdir()
    derivations = sections((docs / "math.md").read_text(encoding="utf-8"))
    report = audit(ops=ops.__all__)
    for name in ops.__all__:
        (folder / "ops" / f"{name}.md").write_text(op_page(name, derivations[name], report), encoding="utf-8")
    for part in PARTS:
        (folder / "api" / f"{part}.md").write_text(api_page(part), encoding="utf-8")


def op_page(name: str, section: str, report: Report) -> str:
    """The derivation of an op, its source, what it saves, and what every rung of the audit measures."""
    function = getattr(ops, name)
    derivation = re.sub(r"^File: .*$", "", section, flags=re.MULTILINE).replace("](../", "](../../../")
    derivation = re.sub(r"\]\(#", "](../../math.md#", derivation)
    rows = [
        f"| {row.rung.replace('_', ' ')} | {row.case or 'regular'} | `{row.argument}` | {figure(row.error)} "
        f"| {figure(row.bound)} | {row.unit} | {row.verdict} | {cell(row.detail)} |"
        for row in report.rows
        if row.op == name
    ]
    return f"""# `{name}`

{fenced("text", inspect.getdoc(function) or "")}

## Derivation

In the [letters](../../math.md#letters) and by the [conventions](../../math.md#conventions) of all derivations.
{derivation}
## Source

{fenced("python", inspect.getsource(inspect.getmodule(function) or function))}

## Measured

What every rung of the [audit](../../audit.md) found when this page was made. Theorems are about real numbers and every
size; what rounding does is measured. What is proved, and what is only compared: [proofs](../../proofs.md).

| rung | case | argument | error | bound | unit | verdict | |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}
"""


def cell(text: str) -> str:
    """Text in a cell of a table, where nothing in it is Markdown."""
    return re.sub(r"([\\`*_|<>\[\]$])", r"\\\1", " ".join(text.split()))


def api_page(part: str) -> str:
    """The public names of a part of the package, each with its signature and its docstring."""
    module = import_module(part)
    own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == part and name[0] != "_"]
    names = [name for name in getattr(module, "__all__", own) if not inspect.ismodule(getattr(module, name))]
    described = "\n\n".join(described_name(part, name, getattr(module, name)) for name in names)
    return f"# `{part}`\n\n{fenced('text', inspect.getdoc(module) or '')}\n\n{described}\n"


def described_name(part: str, name: str, thing: Any) -> str:
    """A class with its public methods, a function, or a value."""
    if isinstance(thing, type):
        methods = "\n\n".join(
            directive("method", f"{method}{signature(function)}", inspect.getdoc(function) or "", "````")
            for method, function in public_methods(thing)
        )
        about = thing.__dict__.get("__doc__") or ""
        return directive("class", f"{part}.{name}{signature(thing)}", inspect.cleandoc(about), "`````", methods)
    if inspect.isroutine(thing):
        return directive("function", f"{part}.{name}{signature(thing)}", inspect.getdoc(thing) or "", "````")
    return directive("data", f"{part}.{name}", "", "````")


def public_methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods of a class that it or another of this library defines, in their order."""
    own = [base for base in reversed(cls.__mro__) if base.__module__.startswith("vipnp.")]
    for name, member in {name: member for base in own for name, member in vars(base).items()}.items():
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield name, function


def signature(function: Callable[..., Any]) -> str:
    """The names of the parameters, and their defaults where these are plain values."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # an enumeration or an exception of Python's own
        return ""
    shown = []
    star = False
    for p in parameters:
        if p.name == "self":
            continue
        if p.kind is p.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        plain = isinstance(p.default, int | float | str | tuple | type(None))
        default = "" if p.default is p.empty else f"={p.default!r}" if plain else "=..."
        shown.append(f"{stars}{p.name}{default}")
    return f"({', '.join(shown)})"


def directive(kind: str, head: str, docstring: str, ticks: str, inside: str = "") -> str:
    """An entry of the index, its docstring as it stands in the source."""
    about = f"\n{fenced('text', docstring)}\n" if docstring else ""
    return f"{ticks}{{py:{kind}}} {head}\n{about}\n{inside}\n{ticks}"


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def executed(text: str) -> str:
    """A tutorial with the output of every block of Python below it; the blocks run one after the other."""
    namespace: dict[str, Any] = {"__name__": "tutorial"}

    def run(match: re.Match[str]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match[1], "tutorial", "exec"), namespace)
        output = printed.getvalue()
        return match[0] + (f"\n{fenced('text', output)}" if output else "")

    return re.sub(r"^```python\n(.*?)^```", run, text, flags=re.DOTALL | re.MULTILINE)


def linked(text: str, here: Path, docs: Path) -> str:
    """The text with links to files of the repository beside docs/ as their names: an op's file leads to its page, what
    is no page of the site is not linked to. A link to what is not there stays, for Sphinx to refuse."""

    def lead(match: re.Match[str]) -> str:
        title, target = match[1], match[2]
        path = (here / target.partition("#")[0]).resolve()
        if docs in path.parents or not path.exists():
            return match[0]
        if path.parent.name == "ops" and path.stem in ops.__all__:
            return f"[{title}](/{GENERATED}/ops/{path.stem}.md)"
        return title

    return re.sub(r"\[([^\]]+)\]\(([^)\s:]+)\)", lead, text)
