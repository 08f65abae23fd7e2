"""The audit in a terminal: a progress bar, a table, the totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vipnp.audit.audit import Step, audit, plan
from vipnp.core.console import Console
from vipnp.verify.report import UNPROVED, Report, Row, Verdict, worst

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow"}

FILE_WIDTH = 132
"""Columns for what is written to a file or a pipe, where no window sets a width."""

ROOMY = 96
"""Columns at which the table has space to spare for two spaces between its columns."""


def new_console(*, stderr: bool = False) -> Console:
    """The terminal, or standard output (`stderr`: standard error) at `FILE_WIDTH` columns where that is no terminal."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=max(console.width, FILE_WIDTH))


def bar(console: Console) -> Progress:
    """A progress bar that leaves no trace when it is done; none where there is no terminal to draw it on."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def audit_with_progress(console: Console, **options: Any) -> Report:
    """`audit(**options)` under a progress bar."""
    with bar(console) as progress:
        task = progress.add_task("audit", total=len(plan(**options)))

        def advance(step: Step) -> None:
            progress.update(task, advance=1, description=f"{step.case.name}: {step.rung}")

        return audit(**options, progress=advance)


def print_report(console: Console, report: Report, *, every_argument: bool) -> None:
    """The table, then failures with their details, then the totals.

    With `every_argument` a line for each row, else one for each case and rung: the argument nearest to its bound.
    """
    padding = (0, 1 if console.width >= ROOMY else 0, 0, 0)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=padding)
    table.add_column("op", overflow="fold", min_width=10)
    table.add_column("argument", overflow="fold", min_width=8)
    table.add_column("rung", no_wrap=True)
    for heading in ("error", "bound"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", min_width=len("2^-53 of max"))
    table.add_column("verdict", min_width=len(Verdict.INCONCLUSIVE))
    previous = None
    for op, case, rung, rows in grouped(report.rows):
        name = f"{op} ({case})" if case else op
        lines = rows if every_argument else [summary(rows)]
        for line in lines:
            argument = line.argument
            if not every_argument and len(rows) > 1:
                argument += f" (of {len(rows)})"
            table.add_row(
                name if name != previous else "",
                argument,
                rung,
                figure(line.error),
                figure(line.bound),
                line.unit,
                verdict_text(rows if not every_argument else [line]),
            )
            previous = name
    console.print(table)
    for row in report.failures:
        console.print(Text(str(row), style="bold red"))
    for op, case, argument in report.unproved:
        where = f"{op}{f' ({case})' if case else ''}, argument {argument}"
        console.print(Text(f"FAIL {where}: {UNPROVED}", "bold red"))
    _print_reasons(console, report)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report.totals.items())
    if not report.ok:
        verdict, style = "The audit FAILS", "bold red"
    elif report.decided:
        verdict, style = "The audit passes", "bold green"
    else:
        verdict, style = f"Nothing fails, but no gradient was checked ({', '.join(report.rungs)} only)", "bold yellow"
    console.print(Text(f"{verdict}: {counts}.", style))


def grouped(rows: Sequence[Row]) -> list[tuple[str, str, str, list[Row]]]:
    """(op, case, rung, rows) in order."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.op, row.case, row.rung), []).append(row)
    return [(*key, found) for key, found in groups.items()]


def summary(rows: Sequence[Row]) -> Row:
    """The row to show for many: a failing one, else the one nearest to its bound, else the first."""
    failing = [row for row in rows if row.verdict is Verdict.FAIL]
    return worst(failing or rows) or (failing or list(rows))[0]


def figure(value: float | None) -> str:
    """A figure as the table shows it."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.2g}"


def verdict_text(rows: Sequence[Row]) -> Text:
    """The verdict of several rows: FAIL if one fails, PASS if all pass, else how many are undecided."""
    verdicts = [row.verdict for row in rows]
    if Verdict.FAIL in verdicts:
        return Text("FAIL", STYLES[Verdict.FAIL])
    undecided = verdicts.count(Verdict.INCONCLUSIVE)
    if undecided == len(rows):
        return Text("INCONCLUSIVE", STYLES[Verdict.INCONCLUSIVE])
    if undecided:
        return Text(f"PASS, {undecided} INCONCLUSIVE", STYLES[Verdict.INCONCLUSIVE])
    return Text("PASS", STYLES[Verdict.PASS])


def _print_reasons(console: Console, report: Report) -> None:
    """Why rows are INCONCLUSIVE, each reason once."""
    reasons: dict[str, int] = {}
    for row in report.rows:
        if row.verdict is Verdict.INCONCLUSIVE:
            reason = f"{row.rung}: {row.detail.rsplit('; ', 1)[-1]}"
            reasons[reason] = reasons.get(reason, 0) + 1
    if reasons:
        console.print("INCONCLUSIVE because", style=STYLES[Verdict.INCONCLUSIVE])
        for reason, count in reasons.items():
            console.print(Text(f"  {count:>4} x {reason}"))
