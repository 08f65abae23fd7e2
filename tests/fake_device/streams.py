"""Work in the order that CUDA promises, and in no other.

What is enqueued is an operation, with those it has to wait for: the one before it on its stream, that of an event it
was told to wait for, and what the default stream adds. Nothing else holds it back. A lazy timeline runs an operation
when somebody waits for it and no sooner; one with a seed also runs now and then some other that could go. A program
that lacks a dependency then reads what nobody has written yet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

CHANCE = 0.2
"""That an operation that could go is run when another is enqueued."""


class DeadlockError(Exception):
    """Operations that wait for each other."""


class Operation:
    """Something for the device to do, once the operations in `after` are done, and not while it is `held`: while
    another rank has not asked for its part."""

    def __init__(self, work: Callable[[], None], after: Iterable[Operation | None], *, held: bool = False) -> None:
        self.work = work
        self.after = [operation for operation in after if operation is not None and not operation.done]
        self.held = held
        self.done = False

    @property
    def ready(self) -> bool:
        return not self.held and all(operation.done for operation in self.after)


class Recorded(NamedTuple):
    """Work that a graph is to do, and the addresses that it uses."""

    work: Callable[[], None]
    addresses: tuple[int, ...]


class Stream:
    """A queue of one device. `blocking` streams wait for the default stream, and it for them."""

    def __init__(self, device: int, *, blocking: bool) -> None:
        self.device = device
        self.blocking = blocking
        self.last: Operation | None = None
        self.recorded: list[Recorded] | None = None
        """What it is asked for while it is captured; None while it is not."""
        self.relaxed = False
        self.waits: list[Operation | None] = []


class Timeline:
    """The streams of a machine and what is enqueued on them.

    order : "eager" runs everything at once, "lazy" as late as possible, a number is the seed of orders in between.
    """

    def __init__(self, order: str | int = "eager") -> None:
        self.order = order
        self.random = random.Random(order)
        self.pending: list[Operation] = []
        self.streams: dict[int, Stream] = {}
        self._handles = count(0x1000, 0x10)

    def create(self, device: int, *, blocking: bool) -> int:
        handle = next(self._handles)
        self.streams[handle] = Stream(device, blocking=blocking)
        return handle

    def default(self, device: int) -> Stream:
        """The default stream of a device."""
        return self.streams.setdefault(-1 - device, Stream(device, blocking=True))

    def stream(self, handle: int | None, device: int) -> Stream:
        """That of a handle; 0 and None are the default stream of `device`. KeyError for none."""
        return self.streams[handle] if handle else self.default(device)

    def beside(self, stream: Stream) -> list[Stream]:
        """The streams in step with this one: all blocking ones with the default stream, and it with them."""
        default = self.default(stream.device)
        if stream is default:
            return [other for other in self.streams.values() if other.blocking and other.device == stream.device]
        return [default] if stream.blocking else []

    def enqueue(self, stream: Stream, work: Callable[[], None]) -> None:
        operation = Operation(work, [stream.last, *stream.waits, *(other.last for other in self.beside(stream))])
        stream.waits.clear()
        stream.last = operation
        self.pending.append(operation)
        if self.order == "eager":
            self.run(operation)
        elif isinstance(self.order, int) and self.random.random() < CHANCE:
            ready = [other for other in self.pending if other.ready]
            if ready:
                self.run(self.random.choice(ready))

    def run(self, operation: Operation | None) -> bool:
        """Run `operation` and all that it waits for; whether that went to its end, and not to one that is held."""
        stack = [operation] if operation is not None else []
        while stack:
            now = stack[-1]
            if now.held:
                return False
            waiting = [other for other in now.after if not other.done]
            if waiting:
                if waiting[-1] in stack:
                    raise DeadlockError
                stack.append(waiting[-1])
                continue
            stack.pop()
            if not now.done:
                now.done, now.after = True, []
                self.pending.remove(now)
                now.work()
        return True

    def run_all(self, device: int | None = None) -> None:
        """Run what is enqueued on a device, or on all of them."""
        streams = [stream for stream in self.streams.values() if device in (None, stream.device)]
        self.random.shuffle(streams)
        for stream in streams:
            self.run(stream.last)
