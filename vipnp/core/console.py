"""Rich's console, for those who have it."""

from __future__ import annotations

import errno

import rich.console


class Console(rich.console.Console):
    """A console that tells of a reader who has left as any output does, where rich would end with status 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "the reader of standard output has left")
