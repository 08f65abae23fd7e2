"""How a rung ends early."""

from __future__ import annotations


class BrokenOpError(Exception):
    """The op does something that is wrong by itself: it raises, or returns no gradients, too few, or of a wrong shape.

    `argument` names the argument it concerns, None for all of them.
    """

    def __init__(self, message: str, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument


class WrongFormError(BrokenOpError):
    """The function is no op: it returns no pair (y, pullback), or its pullback no tuple of a gradient an argument."""


class UndecidedError(Exception):
    """A rung cannot decide about this op; the message says why."""
