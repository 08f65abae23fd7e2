"""Standard output that is closed, full or left by its reader."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vipnp
from tests.conftest import command_line
from vipnp import VisionPermutator
from vipnp.__main__ import main
from vipnp.audit.cases import small_config
from vipnp.core.output import CLOSED_PIPE
from vipnp.data import Transform

VIPNP = [sys.executable, "-c", "from vipnp.cli import app; app()"]
AUDIT = [*VIPNP, "audit", "--op", "gelu", "--rung", "value", "--rung", "finite_field"]
GRADCHECK = [sys.executable, "-m", "vipnp.audit.gradcheck"]


@pytest.mark.parametrize("command", [[*VIPNP, "models"], AUDIT, GRADCHECK], ids=["models", "audit", "gradcheck"])
def test_a_reader_that_leaves_ends_the_command_without_a_word(command: list[str]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert done.stderr == ""
    assert done.returncode == CLOSED_PIPE


def test_the_files_of_an_audit_are_there_before_anything_is_printed(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    outputs = ["--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html")]
    done = subprocess.run([*AUDIT, *outputs], stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    assert done.returncode == CLOSED_PIPE
    assert json.loads((tmp_path / "a.json").read_text())["ok"]
    assert "gelu" in (tmp_path / "a.html").read_text()


@pytest.fixture(params=["", "1"], ids=["buffered", "unbuffered"])
def buffering(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output with Python's buffer, which is written at the end, and without."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize("command", [[*VIPNP, "models"], AUDIT, [*AUDIT, "--json", "/dev/full"]])
def test_a_full_disk_is_one_line(command: list[str]) -> None:
    with open("/dev/full" if "--json" not in command else os.devnull, "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("buffering")
def test_help_on_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*VIPNP, "models", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")


def test_what_an_audit_found_is_printed_where_its_files_cannot_be_written(tmp_path: Path) -> None:
    files = ["--json", "/dev/full", "--html", str(tmp_path / "a.html")]
    done = subprocess.run([*AUDIT, *files], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --json: [Errno 28] No space left on device: '/dev/full'\n"
    assert "gelu" in done.stdout
    assert (tmp_path / "a.html").is_file()


def test_an_error_is_no_result_where_standard_error_is_closed() -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *VIPNP, "summary", "no such model"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the weights of a model, a picture and a file that is none."""
    config = small_config({"B": 1, "H": 2, "W": 2, "N": 1, "S": 4, "P": 2, "K": 2})
    model = VisionPermutator(dataclasses.replace(config, in_channels=3))
    model.transform = Transform(size=model.config.image_size)
    model.save(tmp_path / "m.safetensors")
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    (tmp_path / "a.png").touch()
    return tmp_path


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="this system has no such file")
@pytest.mark.parametrize("command", ["predict", "audit", "train_tiny"])
def test_results_on_standard_output_stand_there_alone(command: str, folder: Path) -> None:
    """As in vipnp predict RUN photos --json /dev/stdout | jq; what is for people goes to standard error."""
    tiny = [sys.executable, str(Path(__file__).parents[2] / "examples" / "train_tiny.py"), "--epochs", "1"]
    commands = {
        "predict": [*VIPNP, "predict", str(folder / "m.safetensors"), str(folder / "b.png")],
        "audit": AUDIT,
        "train_tiny": tiny,
    }
    done = subprocess.run([*commands[command], "--json", "/dev/stdout"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    words = {"predict": "b.png: ", "audit": "The audit passes", "train_tiny": "test accuracy"}[command]
    assert words in done.stderr
    alone = subprocess.run([*commands[command], "--json", str(folder / "x.json")], capture_output=True, text=True)
    assert words in alone.stdout
    assert words not in alone.stderr


def test_no_result_is_lost_where_standard_error_is_full(folder: Path) -> None:
    """Nor does an error end with another status, of which the line would have told."""
    predict = [*VIPNP, "predict", str(folder / "m.safetensors"), str(folder / "a.png"), str(folder / "b.png")]
    convert = [*VIPNP, "convert", str(folder / "m.safetensors"), str(folder / "m.pth")]
    for command, status, out in (
        (predict, 2, ""),
        ([*predict, "--skip-unreadable"], 0, "b.png: "),
        (convert, 0, "m.pth: "),
    ):
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=full, text=True)
        assert done.returncode == status, command
        assert out in done.stdout


def test_a_folder_at_hand_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *VIPNP, "train", "digits", "-o", "r"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: the folder at hand is not there any more: go to another\n"


@pytest.mark.parametrize("command", [[*VIPNP, "models"], AUDIT], ids=["models", "audit"])
def test_a_closed_output_is_said_before_any_work(command: list[str]) -> None:
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        2,
        "error: standard output: it is closed, expected a terminal, a file or a pipe\n",
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_name_that_the_encoding_lacks_costs_no_result(encoding: str) -> None:
    program = "import sys; from vipnp.cli.errors import told\nwith told(): print('\u732b 90 %'); sys.exit(0)"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u732b 90 %\n", "")


@pytest.mark.parametrize("module", ["vipnp", "vipnp.cli"])
def test_the_command_line_is_a_module_too(module: str) -> None:
    """Python said that it cannot be directly executed."""
    done = subprocess.run([sys.executable, "-m", module, "models"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("vip_l7 ")
    wrong = subprocess.run([sys.executable, "-m", module, "trian"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "Usage: vipnp " in wrong.stderr


def test_an_interrupt_while_modules_are_imported_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Interrupt:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "vipnp.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "vipnp.cli", raising=False)
    monkeypatch.delattr(vipnp, "cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupt(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capfd.readouterr() == ("", "")


def test_the_version() -> None:
    result = command_line("--version")
    assert (result.exit_code, result.output) == (0, f"vipnp {version('vipnp')}\n")
