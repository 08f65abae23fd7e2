"""How files are written: links, permissions, devices, leftovers; and what is refused before any work."""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, as_nobody
from vipnp.checkpoint import load_weights, save_weights
from vipnp.core.files import (
    PREFIX,
    SUFFIX,
    check_output_folder,
    check_outputs,
    replaced_when_done,
    write_json,
    write_text,
)

EXAMPLE = ROOT / "examples" / "train_tiny.py"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(path.read_text()))
    reader.start()
    write_text(path, "through the pipe")
    reader.join(10)
    assert received == ["through the pipe"]
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 255), "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    dead, living = (tmp_path / f"{PREFIX}{pid}-0{SUFFIX}" for pid in (child.pid, os.getpid()))
    for path in (dead, living, tmp_path / ".vipnp-notes.tmp"):
        path.write_text("half")
    write_text(tmp_path / "file", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, ".vipnp-notes.tmp", "file"])


def test_standard_output_may_be_a_pipe_or_a_file_without_a_name(tmp_path: Path) -> None:
    """Neither has a path of its own; the link in the place of /dev/stdout stays one."""
    (tmp_path / "out").symlink_to("/proc/self/fd/1")
    program = "from vipnp.core.files import *; check_outputs({'--a': 'out'}); write_text('out', 'whole')"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, stdout=subprocess.PIPE, cwd=tmp_path, check=True).stdout == b"whole"
    with tempfile.TemporaryFile() as file:
        subprocess.run(command, stdout=file, cwd=tmp_path, check=True)
        file.seek(0)
        assert file.read() == b"whole"
    for count in (1, 2):
        with (tmp_path / "all").open("ab") as file:
            subprocess.run(command, stdout=file, cwd=tmp_path, check=True)
        assert (tmp_path / "all").read_bytes() == count * b"whole"
    assert (tmp_path / "out").is_symlink()


def test_what_is_printed_before_and_after_a_result_on_standard_output_stays(tmp_path: Path) -> None:
    """In `{ first; second; } > file` all share one place in the file: over a result that is written at another one, the
    next line is written."""
    program = "import sys; from vipnp.core.files import *; print('a'); write_text(sys.argv[1], 'whole\\n'); print('b')"
    for name in ("/dev/stdout", "/dev/fd/1", "another"):
        with (tmp_path / "all").open("wb") as file:
            place = f"/dev/fd/{file.fileno()}" if name == "another" else name
            command = [sys.executable, "-c", program, place]
            for _ in range(2):
                subprocess.run(command, stdout=file, pass_fds=[file.fileno()], check=True)
        assert (tmp_path / "all").read_bytes() == 2 * b"a\nwhole\nb\n"


def test_a_pipe_that_does_not_wait_gets_the_whole() -> None:
    """As a parent process may have set it; it holds 64 kB."""
    program = "from vipnp.core.files import *; write_text('/dev/stdout', 300_000 * 'x')"
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    with subprocess.Popen([sys.executable, "-c", program], stdout=theirs) as child:
        os.close(theirs)
        time.sleep(1)
        with os.fdopen(ours, "rb") as pipe:
            assert pipe.read() == 300_000 * b"x"
    assert child.returncode == 0


def test_a_descriptor_that_is_not_open_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match="--json: /dev/fd/999 is not open"):
        check_outputs({"--json": "/dev/fd/999"})


def test_a_descriptor_for_reading_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kept")
    with (tmp_path / "x").open() as file, pytest.raises(ValueError, match=r"--json: /dev/fd/\d+ cannot be written"):
        check_outputs({"--json": f"/dev/fd/{file.fileno()}"})


def test_what_another_machine_writes_stays(tmp_path: Path) -> None:
    """Its numbers of processes are other ones, as are those of another container: its saving failed."""
    other = tmp_path / f"{PREFIX}{2**22 + 1}-0{SUFFIX}"
    with replaced_when_done(tmp_path / "large") as temporary:
        temporary.rename(other)
        write_text(tmp_path / "small", "whole")
        assert other.exists()
        other.rename(temporary)
        temporary.write_text("large")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large", "small"]


def test_what_cannot_be_removed_costs_no_file(tmp_path: Path) -> None:
    """A folder of such a name, or the file of another user where only owners may remove."""
    dead = 2**22 + 1  # more than the system counts to
    (tmp_path / f"{PREFIX}{dead}-a{SUFFIX}").mkdir()
    write_text(tmp_path / "x.txt", "x")
    assert (tmp_path / "x.txt").read_text() == "x"


def test_a_link_in_a_circle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.txt").symlink_to("x.txt")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "x.txt", "x")
    assert (tmp_path / "x.txt").is_symlink()
    assert len(os.listdir(tmp_path)) == 1


def test_the_umask_of_the_process_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda *_: pytest.fail("umask belongs to all threads"))
    write_text(tmp_path / "file", "whole")


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"--a": ""}, "--a: got an empty name, expected that of a file"),
        ({"--a": "{tmp}"}, "--a: .* is a folder, expected the name of a file"),
        ({"--a": "{tmp}/no/f"}, "--a: .*: there is no folder .*no to write it to"),
        ({"--a": "{tmp}/f", "--b": "{tmp}/./f"}, "--a and --b: both are .*, expected different files"),
        ({"--a": "{tmp}/f", "--b": "{tmp}/link"}, "--a and --b: both are"),
    ],
)
def test_outputs_that_would_be_lost(tmp_path: Path, outputs: dict[str, str], message: str) -> None:
    (tmp_path / "link").symlink_to("f")
    with pytest.raises(ValueError, match=message):
        check_outputs({option: path.format(tmp=tmp_path) for option, path in outputs.items()})


def test_a_file_that_is_for_reading_alone_is_not_replaced(open_folder: Path) -> None:
    """To take a new file for it asks the folder alone; who has made it so wants to keep it."""
    path = open_folder / "kept.json"
    path.write_text("kept")
    path.chmod(0o444)
    with as_nobody(), pytest.raises(PermissionError, match=r"kept\.json"):
        write_json(path, {})
    assert path.read_text() == "kept"


def test_a_folder_that_cannot_be_looked_into_is_named(open_folder: Path) -> None:
    (open_folder / "locked").mkdir(0o700)
    with as_nobody(), pytest.raises(ValueError, match=r"^--a: .*locked/f cannot be written \(Permission denied\)$"):
        check_outputs({"--a": open_folder / "locked" / "f"})
    with pytest.raises(ValueError, match=r"^--a: .* cannot be written \(File name too long\)$"):
        check_outputs({"--a": open_folder / ("n" * 300)})


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("file", "--output: .*file is a file, expected a folder$"),
        ("file/a/b", "--output: .*file/a/b: .*file is a file, expected a folder$"),
        ("", "--output: got '', expected the name of a file or folder"),
        ("nowhere", "--output: nowhere is a link to what is not there, expected a folder$"),
        ("n" * 300, "--output: n+ cannot be made \\(File name too long\\)$"),
        ("locked", "--output: locked cannot be written$"),
        ("locked/a/b", "--output: locked/a/b: the folder .*locked cannot be written$"),
    ],
)
def test_folders_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "locked")
    with pytest.raises(ValueError, match=f"^{message}"):
        check_output_folder("--output", folder)


def test_folders_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", tmp_path / "link", tmp_path / "link" / "c"):
        check_output_folder("--output", folder)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_file_that_is_read_is_no_output(tmp_path: Path) -> None:
    photo, link, new = tmp_path / "photo.jpg", tmp_path / "link", tmp_path / "new"
    photo.write_bytes(b"a photo")
    link.symlink_to(photo)
    check_outputs({"--csv": new, "--json": "/dev/null"}, inputs=[photo, tmp_path, "/dev/null"])
    for output in (photo, link):
        with pytest.raises(ValueError, match=r"^--csv: .*photo\.jpg is one of the files to read, expected another$"):
            check_outputs({"--json": new, "--csv": output}, inputs=[photo])


def test_outputs_that_are_fine(tmp_path: Path) -> None:
    check_outputs({"--a": tmp_path / "f", "--b": tmp_path / "g", "--c": None, "--d": "/dev/null", "--e": "/dev/null"})
    assert not list(tmp_path.iterdir())


def test_a_file_cut_short_while_it_is_loaded_is_an_error_and_no_crash(tmp_path: Path) -> None:
    """It is read before it is parsed; mapped into memory, the process dies by SIGBUS."""
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": np.zeros(1 << 20, np.float32)})
    program = f"""
import sys
import tempfile
from pathlib import Path
import vipnp.checkpoint.weights as weights
real = Path.read_bytes
def cut(self):
    contents = real(self)
    with open({str(path)!r}, "r+b") as file:
        file.truncate(100)
    return contents
Path.read_bytes = cut
print(weights.load_weights({str(path)!r})["w"].sum())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0.0"
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_weights(path)


def started(tmp_path: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(EXAMPLE), "--save", str(tmp_path / "w.safetensors"), "--batch-size", "500"]
    command += arguments
    # A test run in the background of a shell ignores SIGINT, and its children would too.
    restore = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen(command, env=environment, text=True, preexec_fn=restore, **options)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
    ],
)
def test_an_interrupt_saves_the_weights(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with started(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("epoch"):
            assert child.poll() is None
        time.sleep(0.05)
        child.send_signal(number)
        child.communicate()
    assert child.returncode == status
    assert load_weights(tmp_path / "w.safetensors")


@pytest.mark.long
def test_a_closed_pipe_saves_the_weights(tmp_path: Path) -> None:
    with started(tmp_path, "--epochs", "4", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("epoch"):
            assert child.poll() is None
        child.stdout.close()
        child.wait()
        assert child.stderr is not None
        assert "Traceback" not in child.stderr.read()
    assert load_weights(tmp_path / "w.safetensors")


@pytest.mark.long
def test_what_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    with started(
        tmp_path, "--epochs", "1", "--json", "/dev/full", "--plot", str(tmp_path / "p.png"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        _, told = child.communicate()
    assert child.returncode == 2
    assert "--json: " in told
    assert load_weights(tmp_path / "w.safetensors")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the temporary one, and no file at all, as the operating system has it of a full device."""
    for path, number in (("/dev/full", errno.ENOSPC), (tmp_path / "no folder" / "a.txt", errno.ENOENT)):
        with pytest.raises(OSError, match=re.escape(repr(str(path)))) as caught:
            write_text(path, "x" * 100_000)
        assert caught.value.errno == number


def test_a_failed_block_leaves_the_pipe_alone(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def fail() -> None:
        with replaced_when_done(path):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize(
    ("option", "lost", "taken"),
    [
        ("--json", ("photo.PNG", "best.safetensors", "table.csv"), ("a.json", "a.JSON", "a.out", "a")),
        ("--csv", ("photo.jpg", "run.toml", "a.json"), ("a.csv", "a.txt")),
        ("--html", ("w.pth", "a.json"), ("a.html", "a.htm")),
    ],
)
def test_a_table_replaces_no_picture_and_no_weights(
    option: str, lost: tuple[str, ...], taken: tuple[str, ...], tmp_path: Path
) -> None:
    for name in (*lost, *taken):
        check_outputs({option: tmp_path / name})  # which is not there
        (tmp_path / name).write_text("mine")
    for name in taken:
        check_outputs({option: tmp_path / name})
    for name in lost:
        message = f"{option}: {tmp_path / name} is there and no .{option[2:]} file by its name, expected another"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            check_outputs({option: tmp_path / name})
