"""From an exception of the library to one line for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def told() -> Iterator[None]:
    """Errors of input end the command with one line and status 2, a diverged run with status 1."""
    try:
        yield
    except FloatingPointError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, MemoryError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
