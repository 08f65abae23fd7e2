"""`vipnp audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path

UNDECIDED = 3
"""The exit status where nothing fails and no rung that looks at derivatives was climbed: not checked is not right."""


def audit(
    op: Annotated[list[str] | None, typer.Option(help="An op, layer or model to audit; all by default.")] = None,
    rung: Annotated[list[str] | None, typer.Option(help="A rung of the ladder to climb; all by default.")] = None,
    backend: Annotated[str | None, typer.Option(help="A backend to hold to the readable ops.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of inputs, cotangents and field elements.", min=0)] = 0,
    json: Annotated[Path | None, typer.Option(parser=path, help="Write every row to this JSON file.")] = None,
    html: Annotated[Path | None, typer.Option(parser=path, help="Write the audit as one self-contained page.")] = None,
    sabotage: Annotated[bool, typer.Option("--sabotage", help="Plant mistakes; each must fail the ladder.")] = False,
    gradcheck: Annotated[bool, typer.Option(help="Let PyTorch's gradcheck try the planted mistakes too.")] = True,
) -> None:
    """Hold every hand-written gradient against the ladder of checks. Exit status 1 if anything fails, 3 if no
    gradient was checked."""
    with told():
        from vipnp.audit import terminal
        from vipnp.backends import get_backend
        from vipnp.core.checks import check_library
        from vipnp.core.files import check_outputs, write_json, write_outputs, write_text
        from vipnp.core.output import is_standard_output

        try:
            check_outputs({"--json": json, "--html": html})
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        if html is not None or sabotage:
            check_library("--html" if html else "--sabotage", "latex2mathml.converter", extra="audit")
            from vipnp.audit import page
        if sabotage:
            _reach_tools()
        elif not gradcheck:
            raise typer.BadParameter("--no-gradcheck: got it alone, expected --sabotage: it tries planted mistakes")
        console = terminal.new_console(stderr=is_standard_output(json, html))
        try:
            held = None if backend is None else get_backend(backend)
            report = terminal.audit_with_progress(console, ops=op, rungs=rung, backend=held, seed=seed)
        except (ValueError, ImportError, RuntimeError) as error:
            raise typer.BadParameter(str(error)) from error
        planted: Any = None

        def write(appendix: Any = None) -> None:
            content = report.to_json()
            if planted is not None:
                content["sabotage"] = planted.to_json()
            write_outputs(
                ("--json", json, lambda path: write_json(path, content)),
                ("--html", html, lambda path: write_text(path, page.render(report, appendix, ops=op))),
            )

        try:
            write()  # before anything is printed, so that a closed pipe loses none
        finally:  # nor does a full disk lose what was found
            terminal.print_report(console, report, every_argument=op is not None)
        if sabotage:
            from tools import planting, planting_page

            planted = planting.sabotage_with_progress(console, ops=op, seed=seed, gradcheck=gradcheck)
            try:
                write(planting_page.appendix(planted))
            finally:
                planting.print_sabotage(console, planted)
        right = report.ok and (planted is None or planted.ok)
        status = 1 if not right else 0 if report.decided else UNDECIDED
    if status:
        raise typer.Exit(status)


def _reach_tools() -> None:
    """Make the folder tools/ of the checkout importable; it is not installed."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / "tools" / "planting.py").is_file():
        raise typer.BadParameter(
            f"--sabotage: got vipnp installed in {checkout}, expected a checkout of its repository, where tools/ holds "
            "the planter of mistakes"
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
