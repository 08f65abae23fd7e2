"""The names of files and folders on the command line."""

from __future__ import annotations

import os
from pathlib import Path

import typer


def path(name: str | os.PathLike[str]) -> Path:
    """`name` as a path. An empty one, which Python takes for the folder at hand, is refused: it comes from a variable
    of the shell that is not set."""
    if not os.fspath(name):
        raise typer.BadParameter("got an empty name, expected that of a file or folder")
    return Path(name)
