"""The audit as one self-contained page: formulas, code, what is saved, every figure, a picture."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from latex2mathml.converter import convert
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from vipnp.audit import theorem
from vipnp.audit.audit import LADDER, chosen_cases, subject_of
from vipnp.audit.cases import Case
from vipnp.audit.picture import curves, svg
from vipnp.audit.terminal import figure, summary, verdict_text
from vipnp.optim import adamw, clip_grad_norm, sgd
from vipnp.verify.report import UNPROVED, Report, Row, Verdict, versions
from vipnp.verify.saves import saves_text

ABOUT = {
    "contract": "Nothing is written to, results share no memory with inputs, a second call gives the same bits, "
    "pullback(2 dy) is 2 pullback(dy), any memory layout gives the same, and the closure holds what is declared.",
    "value": "The forward pass against a definition written as loops over scalars.",
    "adjoint": "For linear ops on integers: ⟨J u, dy⟩ equals ⟨u, pullback(dy)⟩ bit for bit.",
    "differences": "Central differences of fourth order.",
    "elsewhere": "Other sizes (1, one more, 131, 1031) and values (zeros, ones, ties, large entries).",
    "complex_step": "The derivative from the imaginary part: no difference is taken, nothing cancels.",
    "finite_field": "The same source over the integers modulo 2¹²⁷-1, where a wrong formula gives a wrong number and "
    "a right one gives zero, exactly.",
    "certified": "The same source on balls with rigorous radii: a bound on the rounding error of the float64 gradient.",
    "proof": "The same source on rational functions of symbols: the derivative identity proved for small shapes.",
    "pytorch": "PyTorch's autograd in float64.",
    "float32": "float32 error in units of 2⁻²⁴, beside that of PyTorch's float32.",
    "theorem": "Coq's kernel accepted a proof for every shape and all real inputs, written from the source that runs.",
    "backend": "A backend and its fused replacements against the readable ops.",
}

KINDS = {"op": "Ops", "layer": "Layers", "block": "Blocks", "model": "Models"}


@dataclass(frozen=True)
class Appendix:
    """What a tool adds to the page: (number, label) figures for the summary, a section and, where something is wrong, a
    line of HTML for the top."""

    figures: Sequence[tuple[str, str]]
    section: str
    alarm: str


def render(report: Report, appendix: Appendix | None = None, *, ops: Sequence[str] | None) -> str:
    """The page as a string; `ops` as given to the audit."""
    folder = files("vipnp.audit") / "templates"
    rungs = [rung for rung in (*LADDER, "backend") if any(row.rung == rung for row in report.rows)]
    by_function = _cases_by_function(ops)
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        css=(files("vipnp.core") / "style.css").read_text(encoding="utf-8")
        + (folder / "page.css").read_text(encoding="utf-8"),
        pygments=_code_style(),
        version=escape(versions()["vipnp"]),
        headline=_headline(report, len(by_function)),
        lead="Every backward pass of this library is derived by hand. This page shows each one beside its forward "
        "pass, and what a ladder of independent checks found.",
        figures=_figures(report, appendix.figures if appendix else ()),
        matrix=_matrix(report, by_function, rungs),
        failures="".join(f'<p class="alarm">{escape(str(row))}</p>' for row in report.failures[:50])
        + (appendix.alarm if appendix else "")
        + "".join(
            f'<p class="alarm">{escape(f"{where}, argument {argument}: {UNPROVED}")}</p>'
            for where, argument in ((f"{op} {case}".strip(), argument) for op, case, argument in report.unproved)
        ),
        ladder="".join(f"<li><b>{_title(rung)}.</b> {escape(ABOUT[rung])}</li>" for rung in rungs),
        functions="".join(_function(name, cases, report) for name, cases in by_function.items())
        + (_optimisers() if ops is None and theorem.NAME in rungs else ""),
        appendix=appendix.section if appendix else "",
        versions="".join(f"<span>{escape(k)} {escape(v)}</span> " for k, v in versions().items())
        + f"<span>seed {report.seed}</span>",
    )


# --- the summary --------------------------------------------------------------------------------------------------


def _cases_by_function(ops: Sequence[str] | None) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in sorted(chosen_cases(ops), key=lambda case: list(KINDS).index(case.kind)):
        found.setdefault(case.op.__name__, []).append(case)
    return found


def _headline(report: Report, count: int) -> str:
    functions = f"{count} function{'s' if count != 1 else ''}"
    if report.ok and not report.decided:
        return f"Nothing fails in {functions}, but no gradient was checked: {escape(', '.join(report.rungs))} only."
    if report.ok:
        return f'Every gradient of {functions} is <span class="good">right</span>.'
    wrong = len({row.op for row in report.failures} | {op for op, *_ in (*report.unproved, *report.undecided)})
    return f'<span class="bad">{wrong} of {functions}</span> {"fail" if wrong != 1 else "fails"} the audit.'


def _figures(report: Report, more: Sequence[tuple[str, str]]) -> str:
    figures = [(str(report.totals[verdict.value]), verdict.value) for verdict in Verdict]
    gradients = {
        (row.op, row.case, row.argument) for row in report.rows if row.rung in ("complex_step", "finite_field")
    }
    figures.insert(0, (str(len(gradients)), "gradients checked"))
    figures.extend(more)
    return "".join(f"<li><b>{escape(number)}</b><span>{escape(label)}</span></li>" for number, label in figures)


def _matrix(report: Report, by_function: dict[str, list[Case]], rungs: Sequence[str]) -> str:
    body, kind = [], ""
    for name, cases in by_function.items():
        if cases[0].kind != kind:
            kind = cases[0].kind
            body.append(f'<tr class="kind"><td colspan="{len(rungs) + 1}">{KINDS[kind]}</td></tr>')
        cells = "".join(
            f"<td>{_cell([r for r in report.rows if r.op == name and r.rung == rung])}</td>" for rung in rungs
        )
        body.append(f'<tr><th scope="row" class="name"><a href="#{name}">{escape(name)}</a></th>{cells}</tr>')
    titles = ["function", *(_title(rung) for rung in rungs)]
    return table("The figure nearest to its bound, of every function on every rung", titles, body, kind="matrix")


def _cell(rows: Sequence[Row]) -> str:
    if not rows:
        return '<span class="none">·</span>'
    passing = [row for row in rows if row.verdict is Verdict.PASS]
    failing = [row for row in rows if row.verdict is Verdict.FAIL]
    shown = summary(failing or passing or rows)
    text = _figure_html(shown.error) if shown.error is not None else "—"
    return f'<span class="cell {_class(rows)}" title="{escape(str(shown))}">{text}</span>'


def _class(rows: Sequence[Row]) -> str:
    verdicts = {row.verdict for row in rows}
    if Verdict.FAIL in verdicts:
        return "fail"
    if verdicts == {Verdict.PASS}:
        return "pass"
    return "part" if Verdict.PASS in verdicts else "inconclusive"


# --- one function -------------------------------------------------------------------------------------------------


def _function(name: str, cases: Sequence[Case], report: Report) -> str:
    function = cases[0].op
    forward, backward = _source(function)
    rows = [row for row in report.rows if row.op == name]
    regular = next((case for case in cases if not case.hard), cases[0])
    picture = curves(subject_of(regular, report.seed))
    saved = [row for row in rows if row.argument == "saved"]
    declared = saves_text(inspect.getdoc(function) or "")
    held = f" <span class='cell {_class(saved)}'>{verdict_text(saved)}</span>" if saved else ""
    signature = ", ".join(p for p in inspect.signature(function).parameters if p != "xp")
    return f"""<section class="function" id="{name}">
<h2>{escape(name)} <code class="signature">({escape(signature)})</code></h2>
<h3>Derivation</h3>
{_derivation(name)}
<h3>Docstring</h3>
<pre class="code docstring" tabindex="0">{escape(inspect.getdoc(function) or "")}</pre>
<div class="sheet">
<div><h3>Forward code</h3>{_highlighted(forward)}</div>
<div><h3>Backward code</h3>{_highlighted(backward)}</div>
</div>
{f'<p class="saved"><b>Saved for the backward pass:</b> {escape(declared)}{held}</p>' if declared else ""}
<div class="sheet">
<div><h3>Error against the step size</h3>{svg(picture, f"Error of the derivative of {name} against the step size")}
<ul class="key">{"".join(f'<li><i class="k{i}"></i>{escape(key)}</li>' for i, key in enumerate(picture))}</ul></div>
<div><h3>Rungs</h3>{_rung_table(name, rows)}</div>
</div>
{theorems(function)}
<details><summary>All {len(rows)} figures</summary>{_row_table(name, rows)}</details>
</section>"""


def theorems(function: Callable[..., Any]) -> str:
    """The theorems in the letters of the docstring, what they assume, and their proofs; nothing where there is none."""
    found = theorem.theorems_about(function)
    changed = theorem.changes(function, found)
    parts = []
    for name, entry in found.items():
        if "says" in entry:
            parts.append(f"""<p class="note"><b>{escape(name)}.</b> {escape(entry["says"])}</p>
<pre class="code" tabindex="0">{escape(entry["proof"])}</pre>""")
            continue
        shapes = ", ".join(f"{n} ({s.replace(' ', ', ')})" if s else n for n, s in entry["arrays"].items())
        given = "".join(f"; {n} ({s.replace(' ', ', ')})" if s else f"; {n}" for n, s in entry["constants"].items())
        sizes = ", ".join([*(f"{n} > 0" for n in entry["sizes"]), *entry["assume"]])
        sides = " + ".join(f"⟨d{n}, u_{n}⟩" for n in entry["arrays"])
        gradients = ", ".join(f"d{n}" for n in entry["arrays"])
        parts.append(f"""<p class="note"><b>{escape(name)}.</b> For all {escape(sizes)}, all real
{escape(shapes + given)}: where the arrays move along curves with derivatives u, y has a derivative v, and for every dy,
with {escape(gradients)} = pullback(dy),</p><p class="formulas">⟨dy, v⟩ = {escape(sides)}.</p>
<pre class="code" tabindex="0">{escape(entry["proof"])}</pre>""")
    if not parts:
        return ""
    stale = f'<p class="alarm">Proved of another source: {escape(", ".join(changed))} changed since.</p>'
    parts.append(f'<p class="note">Assumed at most: {escape(", ".join(theorem.record()["assumptions"]))}.</p>')
    head = f"{len(parts) - 1} theorem{'s' if len(parts) != 2 else ''}, by Coq {theorem.record()['coq']}"
    return f"<details><summary>{head}</summary>{stale if changed else ''}{''.join(parts)}</details>"


def _optimisers() -> str:
    """The theorems about the optimisers, which no other rung is about."""
    sections = "".join(
        f"<h3>{escape(function.__name__)}</h3>{theorems(function)}" for function in (adamw, sgd, clip_grad_norm)
    )
    return f'<section class="function" id="optimisers"><h2>Optimisers</h2>{sections}</section>'


def _derivation(name: str) -> str:
    """The formulas of the function in docs/math.md, which `python -m tools.formulas` put into the package."""
    recorded = json.loads((files("vipnp.audit") / "formulas.json").read_text(encoding="utf-8")).get(name)
    if recorded is None:
        return '<p class="note">The pullbacks of its parts, in reverse order.</p>'
    items = "".join(f'<li tabindex="0">{convert(formula, display="block")}</li>' for formula in recorded)
    return f'<ul class="formulas">{items}</ul>'


def _powers(text: str) -> str:
    """Text with 2^-53 and x_j as people write them."""
    raised = re.sub(r"(?<=[\w)])\^(-?\d+)", r"<sup>\1</sup>", escape(text, quote=False))
    return re.sub(r"(?<=[a-z])_([ij])\b", r"<sub>\1</sub>", raised).replace("<sup>-", "<sup>&minus;")


def _source(function: Callable[..., Any]) -> tuple[str, str]:
    """The forward and the backward part of the source, without the docstring."""
    text = textwrap.dedent(inspect.getsource(function))
    lines = text.splitlines()
    tree = ast.parse(text).body[0]
    assert isinstance(tree, ast.FunctionDef)
    first = tree.body[0]
    hidden = range(first.lineno - 1, first.end_lineno or 0) if ast.get_docstring(tree) else range(0)
    inner = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "pullback"]
    if not inner:
        kept = [line for i, line in enumerate(lines) if i not in hidden]
        return "\n".join(kept), "# the pullback of the op it calls"
    start, end = inner[0].lineno - 1, inner[0].end_lineno or len(lines)
    forward = [line for i, line in enumerate(lines) if i not in hidden and not start <= i < end]
    squeezed = re.sub(r"\n\s*\n(\s*\n)+", "\n\n", "\n".join(forward))
    return squeezed, textwrap.dedent("\n".join(lines[start:end]))


def _highlighted(code: str) -> str:
    return f'<pre class="code" tabindex="0">{highlight(code, PythonLexer(), HtmlFormatter(nowrap=True))}</pre>'


def _code_style() -> str:
    def rules(style: str) -> Iterator[str]:
        for line in HtmlFormatter(style=style).get_style_defs(".code").splitlines():
            if line.startswith(".code ."):
                yield line

    light, dark = "\n".join(rules("friendly")), "\n".join(rules("github-dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def _rung_table(name: str, rows: Sequence[Row]) -> str:
    body = []
    for rung in dict.fromkeys(row.rung for row in rows):
        of = [row for row in rows if row.rung == rung]
        decided = [row for row in of if row.verdict is not Verdict.INCONCLUSIVE] or of
        shown = summary(decided)
        verdict = f'<span class="cell {_class(of)}">{verdict_text(of)}</span>'
        body.append(
            f'<tr><td>{_title(rung)}</td><td class="number">{_figure_html(shown.error)}</td>'
            f'<td class="number">{_figure_html(shown.bound)}</td><td>{_powers(shown.unit)}</td><td>{verdict}</td></tr>'
        )
    titles = ("rung", "nearest to its bound", "bound", "unit", "verdict")
    return table(f"What every rung found about {name}", titles, body, numbers=("nearest to its bound", "bound"))


def _row_table(name: str, rows: Sequence[Row]) -> str:
    body = []
    for row in rows:
        verdict = f'<span class="cell {_class([row])}">{row.verdict}</span>'
        shape = "&times;".join(map(str, row.shape)) if row.shape else ""
        body.append(
            f"<tr><td>{escape(row.case)}</td><td><code>{escape(row.argument)}</code></td><td>{shape}</td>"
            f'<td>{_title(row.rung)}</td><td class="number">{_figure_html(row.error)}</td>'
            f'<td class="number">{_figure_html(row.bound)}</td><td>{_powers(row.unit)}</td><td>{verdict}</td>'
            f'<td class="detail">{_powers(row.detail)}</td></tr>'
        )
    titles = ("case", "argument", "shape", "rung", "error", "bound", "unit", "verdict", "detail")
    return table(f"Every figure of {name}", titles, body, numbers=("error", "bound"))


def table(
    caption: str, titles: Sequence[str], rows: Sequence[str], *, numbers: Sequence[str] = (), kind: str = ""
) -> str:
    """A table that can be scrolled, also by keyboard. numbers : the titles of columns that are set to the right."""
    head = "".join(
        f'<th scope="col"{" class=number" if title in numbers else ""}>{escape(title)}</th>' for title in titles
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _title(rung: str) -> str:
    return rung.replace("_", " ")


def _figure_html(value: float | None) -> str:
    """A figure with a power of ten as people write it."""
    text = figure(value)
    match = re.fullmatch(r"([\d.]+)e([+-]\d+)", text)
    if match is None:
        return escape(text)
    return f"{match[1]}·10<sup>{int(match[2])}</sup>".replace("-", "&minus;")
