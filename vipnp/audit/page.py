"""The audit as one self-contained page: formulas, code, what is saved, every figure, a picture."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from vipnp.audit.audit import chosen_cases, subject_of
from vipnp.audit.cases import Case
from vipnp.audit.mathml import pieces
from vipnp.audit.picture import curves, svg
from vipnp.audit.planting import Sabotage
from vipnp.audit.terminal import figure, summary, verdict_text
from vipnp.verify.ladder import RUNGS
from vipnp.verify.report import UNPROVED, Report, Row, Verdict, versions
from vipnp.verify.saves import saves_text

ABOUT = {
    "contract": "Nothing is written to, results share no memory with inputs, a second call gives the same bits, "
    "pullback(2 dy) is 2 pullback(dy), any memory layout gives the same, and the closure holds what is declared.",
    "value": "The forward pass against a definition written as loops over scalars.",
    "adjoint": "For linear ops on integers: ⟨J u, dy⟩ equals ⟨u, pullback(dy)⟩ bit for bit.",
    "differences": "Central differences of fourth order.",
    "complex_step": "The derivative from the imaginary part: no difference is taken, nothing cancels.",
    "finite_field": "The same source over the integers modulo 2¹²⁷-1, where a wrong formula gives a wrong number and "
    "a right one gives zero, exactly.",
    "certified": "The same source on balls with rigorous radii: a bound on the rounding error of the float64 gradient.",
    "proof": "The same source on rational functions of symbols: the derivative identity proved for small shapes.",
    "pytorch": "PyTorch's autograd in float64.",
    "float32": "float32 error in units of 2⁻²⁴, beside that of PyTorch's float32.",
    "backend": "A backend and its fused replacements against the readable ops.",
}

KINDS = {"op": "Ops", "layer": "Layers", "block": "Blocks", "model": "Models"}


def render(report: Report, planted: Sabotage | None, *, ops: Sequence[str] | None) -> str:
    """The page as a string; `ops` as given to the audit."""
    folder = files("vipnp.audit") / "templates"
    rungs = [rung for rung in (*RUNGS, "backend") if any(row.rung == rung for row in report.rows)]
    by_function = _cases_by_function(ops)
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        css=(files("vipnp.core") / "style.css").read_text(encoding="utf-8")
        + (folder / "page.css").read_text(encoding="utf-8"),
        pygments=_code_style(),
        version=escape(versions()["vipnp"]),
        headline=_headline(report, len(by_function)),
        lead="Every backward pass of this library is derived by hand. This page shows each one beside its forward "
        "pass, and what a ladder of independent checks found.",
        figures=_figures(report, planted),
        matrix=_matrix(report, by_function, rungs),
        failures="".join(f'<p class="alarm">{escape(str(row))}</p>' for row in report.failures[:50])
        + (
            ""
            if planted is None or planted.ok
            else '<p class="alarm"><a href="#sabotage">Planted mistakes</a> survive.</p>'
        )
        + "".join(
            f'<p class="alarm">{escape(f"{where}, argument {argument}: {UNPROVED}")}</p>'
            for where, argument in ((f"{op} {case}".strip(), argument) for op, case, argument in report.unproved)
        ),
        ladder="".join(f"<li><b>{_title(rung)}.</b> {escape(ABOUT[rung])}</li>" for rung in rungs),
        functions="".join(_function(name, cases, report) for name, cases in by_function.items()),
        sabotage="" if planted is None else _sabotage(planted),
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
    wrong = len({row.op for row in report.failures} | {op for op, _, _ in report.unproved})
    return f'<span class="bad">{wrong} of {functions}</span> {"fail" if wrong != 1 else "fails"} the audit.'


def _figures(report: Report, planted: Sabotage | None) -> str:
    figures = [(str(report.totals[verdict.value]), verdict.value) for verdict in Verdict]
    gradients = {
        (row.op, row.case, row.argument) for row in report.rows if row.rung in ("complex_step", "finite_field")
    }
    figures.insert(0, (str(len(gradients)), "gradients checked"))
    if planted is not None:
        real = len(planted.outcomes) - len(planted.equivalents)
        figures.append((f"{len(planted.caught)} / {real}", "planted mistakes caught"))
        if all(o.gradcheck_missed is not None for o in planted.outcomes):
            missed = sum(bool(o.gradcheck_missed) for o in planted.outcomes)
            figures.append((str(missed), "of them missed by torch gradcheck"))
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
    return _table("The largest error of every function on every rung", titles, body, kind="matrix")


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
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(function) or "")
    derivation = [p for p in paragraphs[1:] if "\n    " in f"\n{p}"]
    ahead = [p for p in paragraphs[1:] if p not in derivation]
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
<div class="sheet">
<div><h3>Forward</h3>{_formulas([" ".join(paragraphs[0].split())])}{_notes(ahead)}</div>
<div><h3>Backward</h3>{_notes(derivation)}{_formulas(_indented(paragraphs))}</div>
<div><h3>Forward code</h3>{_highlighted(forward)}</div>
<div><h3>Backward code</h3>{_highlighted(backward)}</div>
</div>
{f'<p class="saved"><b>Saved for the backward pass:</b> {escape(declared)}{held}</p>' if declared else ""}
<div class="sheet">
<div><h3>Error against the step size</h3>{svg(picture, f"Error of the derivative of {name} against the step size")}
<ul class="key">{"".join(f'<li><i class="k{i}"></i>{escape(key)}</li>' for i, key in enumerate(picture))}</ul></div>
<div><h3>Rungs</h3>{_rung_table(name, rows)}</div>
</div>
<details><summary>All {len(rows)} figures</summary>{_row_table(name, rows)}</details>
</section>"""


def _formulas(lines: Sequence[str]) -> str:
    items: list[str] = []
    for line in lines:
        shown: list[str] = []
        prose = []
        for piece in pieces(line):
            if piece.is_math:
                shown.append(piece.html)
            else:
                prose.append(piece.html)
        if prose:
            aside = f'<span class="aside">{", ".join(prose)}</span>'
            shown[-1:] = [f"{shown[-1]} {aside}"] if shown else [aside]
        items += shown
    if not items:
        return '<p class="note">The pullback of the parts, in reverse order.</p>'
    listed = "".join(f'<li tabindex="0">{item}</li>' for item in items)
    return f'<ul class="formulas">{listed}</ul>'


def _indented(paragraphs: Sequence[str]) -> list[str]:
    return [line for p in paragraphs[1:] for line in p.split("\n") if line.startswith("    ")]


def _notes(paragraphs: Sequence[str]) -> str:
    """The prose of the docstring; formulas, Saves and Source have their own places."""
    found = []
    for paragraph in paragraphs:
        lines = [line for line in paragraph.split("\n") if not line.startswith("    ")]
        text = re.split(r"\bSaves:", " ".join(lines))[0].strip()
        source = re.search(r"Source:\s*(.*)", " ".join(lines), re.DOTALL)
        text = text.split("Source:")[0].strip()
        if text:
            found.append(f'<p class="note">{_inline(text)}</p>')
        if source:
            found.append(f'<p class="note">Source: {_inline(source[1])}</p>')
    return "".join(found)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _powers(text))


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
    titles = ("rung", "largest error", "bound", "unit", "verdict")
    return _table(f"What every rung found about {name}", titles, body, numbers=("largest error", "bound"))


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
    return _table(f"Every figure of {name}", titles, body, numbers=("error", "bound"))


# --- the planted mistakes -----------------------------------------------------------------------------------------


def _sabotage(planted: Sabotage) -> str:
    real = len(planted.outcomes) - len(planted.equivalents)
    kinds = _count_table("kind of mistake", ["planted", "caught", "gradcheck misses"], planted.by_kind())
    counts = _count_table("function", ["planted", "kinds", "caught", "gradcheck misses"], planted.counts())
    survivors = "".join(f'<p class="alarm">Survives: {escape(o.mistake.key)}</p>' for o in planted.survivors)
    equivalents = "".join(
        f'<li class="mistake"><code>{escape(mistake.key)}</code>: {escape(reason)}</li>'
        for mistake, reason in planted.equivalents
    )
    listed = f"<h3>Changes that are no mistakes</h3><ul>{equivalents}</ul>" if equivalents else ""
    return f"""<section class="function" id="sabotage">
<h2>Does the ladder catch mistakes?</h2>
<p>{real} mistakes were planted in the backward passes, one at a time, at every place in the syntax tree where one of
the kinds below fits; {len(planted.caught)} fail the ladder. The last column counts those that
<code>torch.autograd.gradcheck</code> passes at its defaults (in its fast mode for layers and models). Another
{planted.not_counted} changes crash or break a shape and are not counted; {planted.factor_share:.0%} only scale a
gradient.</p>
{survivors}
<div class="sheet">{kinds}{counts}</div>
{listed}
<details><summary>All {len(planted.outcomes)} planted mistakes</summary>
{_mistake_table(planted)}</details>
</section>"""


def _count_table(title: str, headings: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    body = [
        f"<tr><td>{escape(str(name))}</td>"
        + "".join(f'<td class="number">{"-" if value is None else value}</td>' for value in values)
        + "</tr>"
        for name, *values in rows
    ]
    return _table(f"Planted mistakes by {title}", [title, *headings], body, numbers=headings)


def _mistake_table(planted: Sabotage) -> str:
    body = []
    for outcome in planted.outcomes:
        mistake = outcome.mistake
        missed = {None: "-", True: "missed", False: "caught"}[outcome.gradcheck_missed]
        state, word = ("pass", _title(outcome.caught_by)) if outcome.caught_by else ("fail", "survives")
        body.append(
            f"<tr><td>{escape(mistake.function)}:{mistake.line}</td><td>{escape(mistake.kind)}</td>"
            f'<td class="mistake"><code>{escape(mistake.before)}</code> → <code>{escape(mistake.after)}</code></td>'
            f'<td><span class="cell {state}">{word}</span></td><td>{missed}</td></tr>'
        )
    return _table("Every planted mistake", ("place", "kind", "change", "caught by", "gradcheck"), body)


def _table(
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
