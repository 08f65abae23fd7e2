"""The command line of a program that takes nothing."""

from __future__ import annotations

import argparse


def takes_none(about: str | None) -> None:
    """Answer --help with `about`, the docstring of a program, and refuse every other argument: no work begins by a
    mistaken option."""
    argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
