"""The one way in which this library and its tools write files: whole or not at all, never in the place of a device."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from vipnp.core.checks import shown

if sys.platform != "win32":
    import fcntl

MOST_LINKS = 40
"""As many as Linux follows."""

PREFIX, SUFFIX = ".vipnp-", ".tmp"
"""A temporary file is called .vipnp-PID-RANDOM.tmp, whatever the length of the name it stands in for."""


def check_path(name: str, path: Any) -> str:
    """`path` as a string; raises TypeError, naming the argument, unless it is one or an os.PathLike of one, ValueError
    for what no file can be called: nothing, a zero byte, half a surrogate pair."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise TypeError(f"{name}: got {shown(path)}, expected a string or an os.PathLike of one")
    try:
        fits = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        fits = False
    if not text or not fits:
        raise ValueError(f"{name}: got {shown(text)}, expected the name of a file or folder")
    return text


@contextmanager
def replaced_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file that takes the name `path` when the block ends, and is removed if the block fails.

    A reader sees the old file or the whole new one, also after a loss of power: file and folder are flushed. A symbolic
    link stays a link and its target is replaced. A file that is there keeps its permissions, a new one gets those of
    the process. A pipe or device is written to, not replaced. Temporary files that killed processes left in the folder
    are removed.

    Raises OSError naming `path` where it cannot be written, and as `check_path`.
    """
    target = _followed(check_path("path", path))
    opened = _is_opened(target)
    if target.is_symlink() and not opened:  # what leads in a circle leads nowhere, and would be replaced itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    if not opened and is_kept(target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
    try:
        written_to = opened or (target.exists() and not target.is_file())
        with (_written_to if written_to else _in_its_place)(target) as temporary:
            yield temporary
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


DESCRIPTORS = re.compile(r"/proc/[^/]+(/task/[^/]+)?/fd|/dev/fd")
"""Folders in which files stand that a process has opened; /dev/stdout leads into one."""


def _is_opened(target: Path) -> bool:
    return DESCRIPTORS.fullmatch(os.fspath(target.parent)) is not None


def _followed(path: str) -> Path:
    """Where a path leads to; to the opened file itself for one that a process holds: it may have no name, as a pipe, or
    hold what somebody has written there, as behind >> in a shell."""
    here = path
    for _ in range(MOST_LINKS):
        folder = os.path.realpath(os.path.dirname(here) or ".")
        if DESCRIPTORS.fullmatch(folder):
            return Path(folder, os.path.basename(here))
        if not os.path.islink(here):
            break
        here = os.path.join(folder, os.readlink(here))
    return Path(os.path.realpath(path))


def is_kept(path: Path) -> bool:
    """Whether there is a file that may not be written: to take another for it asks its folder alone."""
    by_effect = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    return path.is_file() and not os.access(path, os.W_OK, **by_effect)


def _descriptor(target: Path) -> int | None:
    """The descriptor by which this process holds an opened file, None for what is none of its own."""
    folder = re.sub(r"/task/\d+/fd$", "/fd", os.fspath(target.parent))
    own = folder in (f"/proc/{os.getpid()}/fd", "/dev/fd") and target.name.isdigit()
    return int(target.name) if own else None


def _write_whole(descriptor: int, contents: bytes) -> None:
    left = memoryview(contents)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # a pipe that was set not to wait, and is full
            time.sleep(0.001)


@contextmanager
def _written_to(device: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = Path(folder, "contents")
        yield elsewhere
        number = _descriptor(device)
        if number is None:
            with device.open("ab") as file:
                file.write(elsewhere.read_bytes())
        else:
            # Opened anew it would be written at a place of its own, over which the next line that is printed goes.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            _write_whole(number, elsewhere.read_bytes())


@contextmanager
def _in_its_place(target: Path) -> Iterator[Path]:
    _remove_leftovers(target.parent)
    temporary = target.parent / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    # Made as any new file is, so that the process's umask holds without being asked for.
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    locked = _lock(handle)
    if not locked:
        os.close(handle)  # Windows, which locks nothing here, gives no other name to a file that is open
    try:
        yield temporary
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _flush(temporary)
        temporary.replace(target)
        _flush(target.parent)
    finally:
        if locked:
            os.close(handle)
        temporary.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    """Keep others from removing a file for as long as it is open here; False where another keeps it, or none can."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def text_when_done(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """A text file in UTF-8, by `replaced_when_done`. What UTF-8 lacks, bytes in the name of a file, stands as Python
    escapes it: no name costs a result."""
    with (
        replaced_when_done(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text`, by `text_when_done`."""
    with text_when_done(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write `content` as JSON, by `replaced_when_done`. Raises ValueError for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


KINDS: Mapping[str, tuple[str, ...]] = {"--json": (".json",), "--csv": (".csv",), "--html": (".html", ".htm")}
"""How the files of some options are called."""

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
"""How files of pictures are called, in any case of the letters."""

TEXTS = frozenset({".csv", ".htm", ".html", ".json", ".md", ".pdf", ".py", ".svg", ".toml", ".txt"})
WEIGHTS = frozenset({".npy", ".npz", ".pt", ".pth", ".safetensors"})
NAMES_OF_WORK = PICTURES | TEXTS | WEIGHTS
"""How files are called that nobody wants to lose by a slip of the hand."""


def check_outputs(
    outputs: Mapping[str, str | os.PathLike[str] | None], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Refuse, before any work, what would lose its results or a file that is read.

    outputs : {option: file, or None where none is asked for}. inputs : the files that the program reads.

    Raises ValueError naming the option for an empty name, a folder, a folder that does not exist or cannot be written,
    a file that cannot be written, for one file given twice, for an input, and for a file of another kind.
    """
    seen: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        name = os.fspath(path)
        if not name:
            raise ValueError(f"{option}: got an empty name, expected that of a file")
        target = _followed(check_path(option, name))
        if os.path.isdir(target):
            raise ValueError(f"{option}: {name} is a folder, expected the name of a file")
        if not os.path.isdir(target.parent):
            raise ValueError(f"{option}: {name}: there is no folder {Path(name).parent} to write it to")
        if _is_opened(target) and not os.path.exists(target):
            raise ValueError(f"{option}: {name} is not open")
        if os.path.exists(target) and not _may_be_written(target):
            raise ValueError(f"{option}: {name} cannot be written")
        regular = not _is_opened(target) and (os.path.isfile(target) or not os.path.exists(target))
        if regular and not os.access(target.parent, os.W_OK | os.X_OK):
            raise ValueError(f"{option}: {name}: the folder {Path(name).parent} cannot be written")
        _check_reachable(target, f"{option}: {name} cannot be written")
        other = seen.setdefault(str(target), option)
        if other != option and regular:
            raise ValueError(f"{other} and {option}: both are {name}, expected different files")
    for path in inputs:
        target = _followed(os.fspath(path))
        if str(target) in seen and target.is_file():
            raise ValueError(f"{seen[str(target)]}: {os.fspath(path)} is one of the files to read, expected another")
    for option, path in outputs.items():
        if path is not None:
            _check_kind(option, os.fspath(path))


def _may_be_written(target: Path) -> bool:
    descriptor = _descriptor(target)
    if descriptor is None or sys.platform == "win32":
        return os.access(target, os.W_OK)
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _check_kind(option: str, name: str) -> None:
    """Raise ValueError where a picture, weights or the like would be replaced by a table or a page."""
    target, usual = Path(os.path.realpath(name)), KINDS.get(option)
    if usual and target.suffix.lower() in NAMES_OF_WORK.difference(usual, {".txt"}) and target.is_file():
        raise ValueError(f"{option}: {name} is there and no {usual[0]} file by its name, expected another")


def _check_reachable(path: Path, message: str) -> None:
    """Raise ValueError with the message where the system does not tell whether there is something at `path`."""
    try:
        os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ValueError(f"{message} ({error.strerror})") from error


def check_output_folder(option: str, folder: str | os.PathLike[str]) -> None:
    """Refuse, before any work, a folder that cannot be written to, nor made where there is none.

    Raises ValueError naming the option, TypeError as `check_path`.
    """
    name = check_path(option, folder)
    path = Path(os.path.realpath(name))
    if os.path.islink(name) and not os.path.exists(name):
        raise ValueError(f"{option}: {name} is a link to what is not there, expected a folder")
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), None)
    if there is None:
        raise ValueError(f"{option}: {name} cannot be made: there is no {path.anchor}")
    if not os.path.isdir(there):
        what = name if there == path else f"{name}: {there}"
        raise ValueError(f"{option}: {what} is a file, expected a folder")
    _check_reachable(path, f"{option}: {name} cannot be made")
    if not os.access(there, os.W_OK | os.X_OK):
        what = name if there == path else f"{name}: the folder {there}"
        raise ValueError(f"{option}: {what} cannot be written")


def new_folder(wanted: Path) -> Path:
    """Make a folder of this name, or with a number behind it where something of that name is there."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder


def write_outputs(*outputs: tuple[str, Path | None, Callable[[Path], None]]) -> None:
    """Write one file after the other, (option, file or None, how): one that cannot be written costs no other.

    Raises OSError naming every option that failed.
    """
    failed = []
    for option, path, write in outputs:
        try:
            if path is not None:
                write(path)
        except OSError as error:
            failed.append(f"{option}: {error}")
    if failed:
        raise OSError("; ".join(failed))


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        # Some file systems cannot flush a folder; the file itself has been.
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def _remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that are gone: of one that writes on another machine or in another
    container, where numbers of processes are other ones, the lock is held."""
    for leftover in folder.glob(f"{PREFIX}*{SUFFIX}"):
        process = leftover.name[len(PREFIX) :].partition("-")[0]
        if sys.platform == "win32" or not process.isdigit() or _runs(int(process)):
            continue
        with contextlib.suppress(OSError):  # another user's, or no file at all: no reason to lose what is written
            handle = os.open(leftover, os.O_WRONLY | os.O_NONBLOCK)
            try:
                if _lock(handle):
                    leftover.unlink()
            finally:
                os.close(handle)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, OSError):
        return True
    return True
