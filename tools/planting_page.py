"""The planted mistakes on the page of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tools.planting import Sabotage
from vipnp.audit.page import Appendix, table


def appendix(planted: Sabotage) -> Appendix:
    """Figures, section and alarm for `vipnp.audit.page.render`."""
    real = len(planted.outcomes) - len(planted.equivalents)
    figures = [(f"{len(planted.caught)} / {real}", "planted mistakes caught")]
    if all(o.gradcheck_missed is not None for o in planted.outcomes):
        missed = sum(bool(o.gradcheck_missed) for o in planted.outcomes)
        figures.append((str(missed), "of them missed by torch gradcheck"))
    alarm = "" if planted.ok else '<p class="alarm"><a href="#sabotage">Planted mistakes</a> survive.</p>'
    return Appendix(figures, _section(planted), alarm)


def _section(planted: Sabotage) -> str:
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
    return table(f"Planted mistakes by {title}", [title, *headings], body, numbers=headings)


def _mistake_table(planted: Sabotage) -> str:
    body = []
    for outcome in planted.outcomes:
        mistake = outcome.mistake
        missed = {None: "-", True: "missed", False: "caught"}[outcome.gradcheck_missed]
        state, word = ("pass", outcome.caught_by.replace("_", " ")) if outcome.caught_by else ("fail", "survives")
        body.append(
            f"<tr><td>{escape(mistake.function)}:{mistake.line}</td><td>{escape(mistake.kind)}</td>"
            f'<td class="mistake"><code>{escape(mistake.before)}</code> → <code>{escape(mistake.after)}</code></td>'
            f'<td><span class="cell {state}">{word}</span></td><td>{missed}</td></tr>'
        )
    return table("Every planted mistake", ("place", "kind", "change", "caught by", "gradcheck"), body)
