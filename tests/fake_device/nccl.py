"""The functions of NCCL that CuPy calls, for ranks that are threads of this process, a device each.

What a rank asks for takes its turn on its stream and is done when the other ranks it needs have come to theirs. A send
and a receive meet in the order in which each side asked for them; outside of a group each holds its stream up alone, so
that two ranks that both send first wait for each other for ever. NCCL says nothing of what happens where types or
counts differ; here that is a fault.
"""

# No postponed annotations here: libraries.py reads the types.
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char, c_int, c_size_t, c_void_p
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from tests.fake_device.entries import Integer, Pointer, entry, text_of
from tests.fake_device.errors import DeviceError, Status
from tests.fake_device.machine import MACHINE, PATIENCE
from tests.fake_device.memory import bytes_at, unwritten
from tests.fake_device.streams import Operation

NCCL: dict[str, Callable[..., Any]] = {}
"""The entry points by name."""

VERSION = 22707
DTYPES = {7: np.dtype(np.float32), 8: np.dtype(np.float64)}
"""ncclDataType_t -> dtype, of what is used."""

SUM = 0
INVALID_USAGE, REMOTE_ERROR = 5, 6


class UniqueId(Structure):
    """ncclUniqueId."""

    _fields_ = (("internal", c_char * 128),)


@dataclass
class Part:
    """What one rank asks for: the elements at `address`, to send, to receive into, or to add up."""

    rank: int
    address: int
    number: int
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        MACHINE._room(self.address, self.size, MACHINE.device)

    @property
    def size(self) -> int:
        return self.number * self.dtype.itemsize

    def read(self) -> np.ndarray[Any, Any]:
        if unwritten(self.address, self.size, self.dtype.itemsize):
            raise DeviceError(Status.ILLEGAL_ADDRESS, f"NCCL: rank {self.rank} sends what nobody has written")
        return bytes_at(self.address, self.size).view(self.dtype)

    def write(self, values: np.ndarray[Any, Any]) -> None:
        bytes_at(self.address, self.size).view(self.dtype)[:] = values


@dataclass
class Meeting:
    """Parts that belong together, and the operation that is held until all are there."""

    operation: Operation
    parts: dict[str, Part] = field(default_factory=dict)


@dataclass
class Group:
    """Ranks that know each other: how many, their devices, what they have asked for and not yet got, by whom it takes,
    and the error that all of them see."""

    size: int
    devices: dict[int, int] = field(default_factory=dict)
    open: dict[Any, deque[Meeting]] = field(default_factory=lambda: defaultdict(deque))
    asked: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    error: int = 0
    called: list[str] = field(default_factory=list)
    """What the ranks have called."""


@dataclass
class Communicator:
    """A rank of a group."""

    group: Group
    rank: int


class _Asked(threading.local):
    """The groups of calls that this thread has begun, and what it asked for in them."""

    depth = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Communicator, int | None, Any, str, Part]] = []


GROUPS: dict[bytes, Group] = {}
"""By the name that all ranks give."""

COMMUNICATORS: dict[int, Communicator] = {}
_numbers = count(1)
_asked = _Asked()


@entry(NCCL)
def ncclGetErrorString(status: c_int) -> c_void_p:
    return text_of(status)


@entry(NCCL)
def ncclGetVersion(version: Integer) -> None:
    version[0] = VERSION


@entry(NCCL)
def ncclGetUniqueId(name: POINTER(UniqueId)) -> None:
    name[0].internal = b"group %d" % next(_numbers)


@entry(NCCL)
def ncclCommInitRankConfig(
    communicator: Pointer, size: c_int, name: UniqueId, rank: c_int, config: c_void_p
) -> int | None:
    """Waits until all ranks are here."""
    group = GROUPS.setdefault(bytes(name), Group(size))
    if group.size != size or rank in group.devices or MACHINE.device in group.devices.values():
        return INVALID_USAGE
    group.devices[rank] = MACHINE.device
    MACHINE.posted.notify_all()
    if not MACHINE.posted.wait_for(lambda: len(group.devices) == size, PATIENCE):
        return REMOTE_ERROR
    communicator[0] = next(_numbers)
    COMMUNICATORS[communicator[0]] = Communicator(group, rank)
    return None


@entry(NCCL)
def ncclCommDestroy(communicator: c_void_p) -> None:
    COMMUNICATORS.pop(communicator, None)


@entry(NCCL)
def ncclCommAbort(communicator: c_void_p) -> None:
    """What nobody else came for is over."""
    group = COMMUNICATORS.pop(communicator).group
    group.called.append("abort")
    for meetings in group.open.values():
        for meeting in meetings:
            meeting.operation.held, meeting.operation.work = False, lambda: None


@entry(NCCL)
def ncclCommGetAsyncError(communicator: c_void_p, error: Integer) -> None:
    error[0] = COMMUNICATORS[communicator].group.error


@entry(NCCL)
def ncclGroupStart() -> None:
    _asked.depth += 1


@entry(NCCL)
def ncclGroupEnd() -> int | None:
    if not _asked.depth:
        return INVALID_USAGE
    _asked.depth -= 1
    _begin()
    return None


@entry(NCCL)
def ncclSend(
    address: c_void_p, number: c_size_t, dtype: c_int, peer: c_int, communicator: c_void_p, stream: c_void_p
) -> None:
    mine = COMMUNICATORS[communicator]
    _ask(mine, stream, (mine.rank, peer), "send", Part(mine.rank, address, number, DTYPES[dtype]))


@entry(NCCL)
def ncclRecv(
    address: c_void_p, number: c_size_t, dtype: c_int, peer: c_int, communicator: c_void_p, stream: c_void_p
) -> None:
    mine = COMMUNICATORS[communicator]
    _ask(mine, stream, (peer, mine.rank), "receive", Part(mine.rank, address, number, DTYPES[dtype]))


@entry(NCCL)
def ncclAllReduce(
    source: c_void_p,
    to: c_void_p,
    number: c_size_t,
    dtype: c_int,
    operation: c_int,
    communicator: c_void_p,
    stream: c_void_p,
) -> None:
    if operation != SUM or source != to:
        raise DeviceError(Status.NOT_SUPPORTED, f"ncclAllReduce: operation {operation}, expected a sum in place")
    mine = COMMUNICATORS[communicator]
    turn = mine.group.asked[mine.rank] = mine.group.asked[mine.rank] + 1
    _ask(mine, stream, turn, f"rank {mine.rank}", Part(mine.rank, to, number, DTYPES[dtype]))


def _ask(mine: Communicator, stream: int | None, key: Any, side: str, part: Part) -> None:
    mine.group.called.append(side)
    _asked.calls.append((mine, stream, key, side, part))
    _begin()


def _begin() -> None:
    """Enqueue what was asked for, unless a group of calls is still open: its calls hold a stream up together."""
    if _asked.depth or not _asked.calls:
        return
    calls, _asked.calls = _asked.calls, []
    for handle in {handle for _, handle, *_ in calls}:
        MACHINE.enqueue(handle, "NCCL", lambda: None)
        stream = MACHINE.stream(handle)
        arrived = stream.last
        assert arrived is not None
        for mine, other, key, side, part in calls:
            if other == handle:
                meeting = _meeting(mine.group, key, side, part)
                meeting.operation.after.append(arrived)
                stream.waits.append(meeting.operation)
        MACHINE.enqueue(handle, "NCCL", lambda: None)
    if MACHINE.timeline.order == "eager":
        for operation in list(MACHINE.timeline.pending):
            MACHINE.timeline.run(operation)
    MACHINE.posted.notify_all()


def _meeting(group: Group, key: Any, side: str, part: Part) -> Meeting:
    """The first of the open ones that lacks this side, or a new one; let go when it is complete."""
    for meeting in group.open[key]:
        if side not in meeting.parts:
            break
    else:
        meeting = Meeting(Operation(lambda: None, [], held=True))
        MACHINE.timeline.pending.append(meeting.operation)
        group.open[key].append(meeting)
    meeting.parts[side] = part
    if len({(each.number, each.dtype) for each in meeting.parts.values()}) > 1:
        group.error = INVALID_USAGE
        raise DeviceError(Status.INVALID_VALUE, f"NCCL: parts that differ: {meeting.parts}")
    exchange = isinstance(key, tuple)
    if len(meeting.parts) == (2 if exchange else group.size):
        meeting.operation.work = (lambda: _copy(meeting)) if exchange else (lambda: _add_up(meeting))
        meeting.operation.held = False
        group.open[key].remove(meeting)
    return meeting


def _copy(meeting: Meeting) -> None:
    meeting.parts["receive"].write(meeting.parts["send"].read())


def _add_up(meeting: Meeting) -> None:
    """In the order of the ranks, from the last one on."""
    parts = sorted(meeting.parts.values(), key=lambda part: -part.rank)
    total = sum(part.read() for part in parts)
    for part in parts:
        part.write(np.asarray(total))
