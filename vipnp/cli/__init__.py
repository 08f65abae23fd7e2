"""The command line: `vipnp COMMAND`, one file a command."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

try:
    import rich  # noqa: F401 - imported here so that a missing one is reported like a missing typer
    import typer
except ModuleNotFoundError as error:
    sys.exit(f'{error.name} is not installed: pip install "vipnp[train]"')

from typer.core import TyperGroup

from vipnp import __version__
from vipnp.cli.atlas import atlas
from vipnp.cli.audit import audit
from vipnp.cli.convert import convert
from vipnp.cli.errors import told
from vipnp.cli.eval import evaluate
from vipnp.cli.explain import explain
from vipnp.cli.models import models
from vipnp.cli.predict import predict
from vipnp.cli.summary import summary
from vipnp.cli.train import train


class Program(TyperGroup):
    """The commands; what goes wrong before one begins, such as printing the help, is told as theirs is."""

    def main(self, *args: Any, **options: Any) -> Any:
        if os.environ.get("COLUMNS") == "0":  # a width that is not known, as some shells say, and not one of nothing
            del os.environ["COLUMNS"]
        with told():
            return super().main(*args, **options)


app = typer.Typer(cls=Program, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def show_version(wanted: bool) -> None:
    """Print the version and end, where that is asked for."""
    if wanted:
        typer.echo(f"vipnp {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The Vision Permutator, derived by hand."""


app.command()(train)
app.command("eval")(evaluate)
app.command()(predict)
app.command()(explain)
app.command()(atlas)
app.command()(convert)
app.command()(summary)
app.command()(models)
app.command()(audit)

__all__ = ["app"]
