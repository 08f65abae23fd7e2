"""Device memory on the host, which knows what belongs to whom, what is free and what nobody has written."""

from __future__ import annotations

import ctypes
from bisect import bisect_right, insort
from typing import Any

import numpy as np

from tests.cuda_emulator.emulator import sanitizing
from tests.fake_device.errors import DeviceError, Status

GUARD = 256
ALIGNMENT = 512
POISON = 0xFF
"""The byte of memory that nobody has written: a NaN that no arithmetic gives, in every floating type."""

_libc = ctypes.CDLL(None)
_libc.posix_memalign.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]
_random = np.random.default_rng(0)
_beside = _random.integers(0, 256, 2 * ALIGNMENT, np.uint8)

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def bytes_at(address: int, size: int) -> Bytes:
    """A view of host memory."""
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8) if size else np.empty(0, np.uint8)


def slack(start: int, size: int) -> tuple[Bytes, Bytes]:
    """What a memory pool leaves between the array at `start` and the next: its bytes, and what they must hold.

    Random, other bytes for each array: neither poison nor a copy of what lies beside another array goes unseen.
    """
    beside = bytes_at(start + size, -size % ALIGNMENT)
    first = start // ALIGNMENT % ALIGNMENT
    return beside, _beside[first : first + beside.size]


class Block:
    """What cudaMalloc gave: `size` bytes at `address` of `device`, between guards of random bytes.

    Under the address sanitizer there are no guards: it has its own, right at the last byte.
    """

    def __init__(self, size: int, device: int) -> None:
        self.size, self.device = size, device
        self.guard = 0 if sanitizing() else GUARD
        self.arrays: dict[int, int] | None = None
        """Address and size of what a memory pool gave of this block; None where no pool stands between."""
        self.gifts: dict[int, int] = {}
        """The number of the gift at each address."""
        pointer = ctypes.c_void_p()
        margin = ALIGNMENT if self.guard else 0
        if _libc.posix_memalign(ctypes.byref(pointer), ALIGNMENT, margin + max(size, 1) + self.guard):
            raise MemoryError(f"no {size} bytes on the host")
        self._pointer = pointer
        self.address = (pointer.value or 0) + margin
        bytes_at(self.address, size)[:] = POISON
        self._guards = [bytes_at(start, self.guard) for start in (self.address - self.guard, self.address + size)]
        self._patterns = [_random.integers(0, 256, self.guard, np.uint8) for _ in self._guards]
        for guard, pattern in zip(self._guards, self._patterns, strict=True):
            guard[:] = pattern

    def intact(self) -> bool:
        """Whether nobody wrote beside it."""
        return all(map(np.array_equal, self._guards, self._patterns))

    def release(self) -> None:
        _libc.free(self._pointer)


class Memory:
    """What is allocated on all devices of a machine, `capacity` bytes on each."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used: dict[int, int] = {}
        self._starts: list[int] = []
        self._blocks: dict[int, Block] = {}
        self.pinned: dict[int, int] = {}
        self.gifts = 0
        """How often a memory pool has given an array."""

    def allocate(self, size: int, device: int) -> int:
        if self.used.get(device, 0) + size > self.capacity:
            raise DeviceError(Status.OUT_OF_MEMORY, f"no {size} bytes left")
        block = Block(size, device)
        self.used[device] = self.used.get(device, 0) + size
        insort(self._starts, block.address)
        self._blocks[block.address] = block
        return block.address

    def free(self, address: int) -> None:
        block = self._blocks.pop(address, None)
        if block is None:
            raise DeviceError(Status.INVALID_VALUE, f"cudaFree of {address:#x}, which is not allocated")
        self._starts.remove(address)
        self.used[block.device] -= block.size
        block.release()

    def block(self, address: int) -> Block | None:
        """The block that holds `address`."""
        place = bisect_right(self._starts, address) - 1
        block = self._blocks[self._starts[place]] if place >= 0 else None
        return block if block is not None and address < block.address + max(block.size, 1) else None

    def pin(self, size: int) -> int:
        """Page-locked host memory."""
        pointer = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(pointer), ALIGNMENT, max(size, 1)) or pointer.value is None:
            raise DeviceError(Status.OUT_OF_MEMORY, f"no {size} bytes on the host")
        self.pinned[pointer.value] = size
        return pointer.value

    def is_pinned(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self.pinned.items())

    def unpin(self, address: int) -> None:
        if self.pinned.pop(address, None) is not None:
            _libc.free(address)

    def give(self, address: int, size: int) -> None:
        """A memory pool hands `size` bytes of a block out."""
        block = self.block(address)
        if block is not None:
            block.arrays = {**(block.arrays or {}), address: size}
            self.gifts += 1
            block.gifts[address] = self.gifts

    def take(self, address: int) -> None:
        """They came back to the pool."""
        block = self.block(address)
        if block is not None and block.arrays:
            block.arrays.pop(address, None)

    def array(self, address: int, device: int) -> tuple[int, int]:
        """Address and size of the array at `address`; DeviceError if nothing on this device is there, or it is free."""
        block = self.block(address)
        if block is None:
            raise DeviceError(Status.ILLEGAL_ADDRESS, f"the address {address:#x} lies in no allocation")
        if block.device != device:
            raise DeviceError(Status.ILLEGAL_ADDRESS, f"memory of device {block.device} is used on device {device}")
        arrays = {block.address: block.size} if block.arrays is None else block.arrays
        for start, size in arrays.items():
            if start <= address < start + max(size, 1):
                return start, size
        raise DeviceError(Status.ILLEGAL_ADDRESS, f"the memory at {address:#x} was freed before")

    def check_since(self, address: int, gifts: int) -> None:
        """DeviceError if what lay at `address` after that many gifts is gone, or another array lies there now."""
        block = self.block(address)
        if block is None:
            raise DeviceError(Status.ILLEGAL_ADDRESS, f"the address {address:#x} of a graph lies in no allocation")
        for start, size in (block.arrays or {}).items():
            if start <= address < start + max(size, 1) and block.gifts[start] > gifts:
                raise DeviceError(Status.ILLEGAL_ADDRESS, f"the memory at {address:#x} of a graph is another array's")

    def check_guards(self, start: int, size: int) -> None:
        """DeviceError if somebody wrote beside the array of `size` bytes at `start`."""
        block = self.block(start)
        if block is None:
            return
        if not block.intact() or (block.arrays is not None and not np.array_equal(*slack(start, size))):
            raise DeviceError(Status.ILLEGAL_ADDRESS, f"something was written beside an array of {size} bytes")


def unwritten(address: int, size: int, item: int) -> bool:
    """Whether an item of `item` bytes among `size` bytes at `address` is what allocation left there."""
    words = bytes_at(address, size // item * item).view(f"u{item}")
    return bool(np.any(words == np.iinfo(words.dtype).max))
