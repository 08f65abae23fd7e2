"""Device memory on the host: poisoned, with guards that show a write outside an array, and a limit."""

from __future__ import annotations

import ctypes
import itertools
import weakref
from typing import Any

import numpy as np

from tests.cuda_emulator.emulator import KernelError, sanitizing

GUARD = 256
_guard_bytes = np.random.default_rng(0)

POISON = 0xFF
"""The byte of memory nobody wrote: NaN as floating point, -1 as an integer."""

_libc = ctypes.CDLL(None)
_libc.posix_memalign.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]


class Memory:
    """One allocation: `size` bytes at `address`, a multiple of 256 as CuPy's are."""

    def __init__(self, size: int) -> None:
        guard = 0 if sanitizing() else GUARD  # the sanitizer has guards of its own, right at the last byte
        pointer = ctypes.c_void_p()
        if _libc.posix_memalign(ctypes.byref(pointer), 256, max(size, 1) + 2 * guard):
            raise MemoryError(f"no {size} bytes on the host")
        assert pointer.value is not None
        self.size = size
        self.address = pointer.value + guard
        everything = (ctypes.c_uint8 * (max(size, 1) + 2 * guard)).from_address(pointer.value)
        whole: np.ndarray[Any, Any] = np.frombuffer(everything, np.uint8)
        whole[:] = POISON
        # Random bytes, other ones for each array: neither poison nor a copy of another guard goes unseen.
        self._pattern = _guard_bytes.integers(0, 256, (2, guard), np.uint8)
        self._guards = (whole[:guard], whole[guard + max(size, 1) :])
        for part, pattern in zip(self._guards, self._pattern, strict=True):
            part[:] = pattern
        weakref.finalize(self, _libc.free, pointer)

    def view(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """The bytes as a C-contiguous array."""
        raw = (ctypes.c_uint8 * max(self.size, 1)).from_address(self.address)
        raw.owner = self  # type: ignore[attr-defined]
        count = int(np.prod(shape))
        return np.frombuffer(raw, np.uint8, count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)

    def check(self) -> None:
        """Raises KernelError if somebody wrote beside the allocation."""
        if not all(map(np.array_equal, self._guards, self._pattern)):
            raise KernelError(f"a kernel wrote beside an array of {self.size} bytes")


class Pool:
    """All allocations of the device, with CuPy's accounting: what nobody references any more is free again."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.limit = 0
        self._live: dict[int, tuple[int, weakref.ref[Memory]]] = {}
        self._keys = itertools.count()
        self.used = 0
        self.peak = 0

    def fits(self, size: int) -> bool:
        return self.used + size <= (self.limit or self.capacity)

    def allocate(self, size: int) -> Memory:
        memory = Memory(size)
        key = next(self._keys)
        self._live[key] = (size, weakref.ref(memory))
        self.used += size
        self.peak = max(self.peak, self.used)
        weakref.finalize(memory, self._release, key)
        return memory

    def _release(self, key: int) -> None:
        self.used -= self._live.pop(key)[0]

    def at(self, address: int) -> tuple[Memory, int]:
        """The allocation that holds `address`, and how far into it that is; KernelError if there is none."""
        for _, reference in self._live.values():
            memory = reference()
            if memory is not None and memory.address <= address < memory.address + max(memory.size, 1):
                return memory, address - memory.address
        raise KernelError(f"the address {address:#x} belongs to no array on the device")
