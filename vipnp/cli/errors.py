"""From an exception of the library to one line for the person at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vipnp.train.ranks import StoppedError, ToldElsewhereError


@contextmanager
def told() -> Iterator[None]:
    """Errors of input end the command with one line and status 2, a diverged run with status 1, and one
    that a signal stopped with 128 and the number of the signal; of several ranks one tells."""
    try:
        yield
    except ToldElsewhereError as error:
        raise typer.Exit(2) from error
    except StoppedError as stopped:
        raise typer.Exit(128 + stopped.number) from stopped
    except FloatingPointError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, MemoryError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
