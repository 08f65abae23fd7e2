"""The empty name of a file, which a variable of the shell that is not set leaves on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import command_line as vipnp

GIVEN = {
    "train": ["train", "digits", "--output=run"],
    "resume": ["train"],
    "audit": ["audit", "--op=gelu"],
    "atlas": ["atlas"],
    "predict": ["predict", "model", "photo.png"],
    "explain": ["explain", "model", "photo.png"],
    "summary": ["summary", "vip_s7"],
}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["--output", "--weights", "--config"]),
        ("resume", ["--resume"]),
        ("audit", ["--json", "--html"]),
        ("atlas", ["--output"]),
        ("predict", ["--csv", "--json", "--weights"]),
        ("explain", ["--output", "--weights"]),
        ("summary", ["--weights"]),
    ],
)
def test_an_option_with_an_empty_name(
    command: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for option in options:
        done = vipnp(*GIVEN[command], f"{option}=")
        words = " ".join(done.output.replace("│", " ").split())
        assert done.exit_code == 2
        assert f"Invalid value for '{option}'" in words
        assert "got an empty name, expected that of a file or folder" in words
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "", "b.safetensors"],
        ["convert", "a.safetensors", ""],
        ["predict", "model", ""],
        ["predict", "", "photo.png"],
        ["explain", "model", ""],
        ["eval", ""],
        ["summary", ""],
        ["train", "", "--output=run"],
    ],
)
def test_an_argument_with_an_empty_name(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    done = vipnp(*command)
    assert done.exit_code == 2
    assert "expected that of a file" in done.output or "got '', expected the name of a file or folder" in done.output


def test_an_empty_recipe_is_none_of_them(tmp_path: Path) -> None:
    done = vipnp("train", "digits", f"--output={tmp_path / 'run'}", "--recipe=")
    assert (done.exit_code, done.output.split(",")[0]) == (2, "error: recipe: got ''")
