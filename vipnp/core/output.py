"""Standard output, which may be closed by whoever reads it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

CLOSED_PIPE = 141
"""The exit status of a program whose reader has left: 128 and the number of SIGPIPE."""


@contextmanager
def readers_may_leave() -> Iterator[None]:
    """Where the pipe at standard output is closed, as by `| head`, the program ends without a word. What the encoding
    of the output lacks stands as Python escapes it: no name costs a result.

    Raises SystemExit with CLOSED_PIPE then; OSError where standard output is closed from the start or is full.
    """
    if sys.stdout is None:
        raise OSError("standard output: it is closed, expected a terminal, a file or a pipe")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whose encoding may lack a letter of a class or file
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        to_nowhere(sys.stdout)
        sys.exit(CLOSED_PIPE)
    except BaseException:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):  # full: what is left in the buffer would be an error at the interpreter's end
            to_nowhere(sys.stdout)
        raise


def is_standard_output(*files: str | os.PathLike[str] | None) -> bool:
    """Whether one of `files` is what standard output goes to, as /dev/stdout is: then a program that reads it expects
    nothing else there, and lines for people go to standard error."""
    for file in files:
        if file is not None and os.fspath(file) != os.devnull:
            with contextlib.suppress(OSError, ValueError):  # a file that is not there, or no standard output
                if os.path.samestat(os.fstat(1), os.stat(file)):
                    return True
    return False


def to_nowhere(stream: TextIO) -> None:
    """Lead a stream that cannot be written nowhere, so that the interpreter does not fail at its end on what is still
    in Python's buffer."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
