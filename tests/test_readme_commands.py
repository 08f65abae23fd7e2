"""The commands of README.md, as they are printed and in their order, in a folder that holds what they name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, fenced, make_folder
from vipnp import create_model
from vipnp.checkpoint import save_pytorch

LEFT_OUT = {"make test": "it is what runs the rest of the tests"}
"""The commands that are not run, and why."""

WRITES = re.compile(r"(?:-o|--save|--plot|--json) (\S+)")


def commands(text: str) -> list[str]:
    """The lines of the blocks of shell commands, those that a backslash continues joined."""
    return [line for block in fenced(text, "sh") for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def is_left_out(command: str) -> bool:
    return command.partition("#")[0].strip() in LEFT_OUT


def test_every_block_of_the_readme_is_run_by_some_test() -> None:
    """What is no Python stands in blocks marked as shell, and what is left out of them is printed there."""
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^```(.+)$", text, re.MULTILINE)) == {"sh", "python"}
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(fenced(text, "sh") + fenced(text, "python"))
    printed = commands(text)
    assert sum(map(is_left_out, printed)) == len(LEFT_OUT)
    assert len(printed) > 10


def test_a_line_that_goes_on_is_one_command() -> None:
    assert commands("```sh\na \\\n  b  # c\n\nd\n```\n```python\ne\n```\n") == ["a    b  # c", "d"]


@pytest.mark.readme
def test_the_commands_run_as_printed(tmp_path: Path) -> None:
    """Each ends with status 0 and leaves the files that its options name. `make train` is told in its environment to
    end early: `make digits` trains the same split to its end."""
    for name in ("Makefile", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in ("pyproject.toml", "constraints.txt"):  # older than what is installed: make has nothing to install
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    make_folder(tmp_path / "photos", {"cat": 12, "dog": 12}, size=(70, 60))
    make_folder(tmp_path / "birds", {"jay": 5, "owl": 5}, size=(70, 60))
    Image.open(tmp_path / "photos" / "cat" / "0.png").save(tmp_path / "photo.jpg")
    save_pytorch(tmp_path / "vip_s7.pth.tar", create_model("vip_s7").state_dict())

    environment = {
        **os.environ,
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        "TRAIN_ARGS": "--epochs 1",
    }
    for command in commands((ROOT / "README.md").read_text()):
        if is_left_out(command):
            continue
        done = subprocess.run(
            ["bash", "-euc", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert not [name for name in WRITES.findall(command) if not (tmp_path / name).exists()], command
