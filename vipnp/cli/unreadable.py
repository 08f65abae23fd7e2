"""The option --skip-unreadable, and the errors that name it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

SkipUnreadable: TypeAlias = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out files that are no whole images.")
]


def naming_the_way_out(error: ValueError) -> ValueError:
    """The error of an unreadable image, with the option that leaves the image out."""
    return type(error)(f"{error} (--skip-unreadable leaves it out)")
