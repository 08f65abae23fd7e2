"""The help of the commands."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from vipnp.cli import app

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_in_full_in_a_terminal_of_80_columns(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}).output
    words = shown.replace(",", " ").split()
    options = [name for option in COMMANDS[command].params for name in (*option.opts, *option.secondary_opts)]
    assert [name for name in options if name.startswith("-") and name not in words] == []


def test_a_width_of_zero_is_one_that_is_not_known() -> None:
    """Some shells say so, where there is no terminal; the help was empty."""
    shown = CliRunner().invoke(app, ["models", "--help"], env={"COLUMNS": "0"}).output
    assert "Usage" in shown
