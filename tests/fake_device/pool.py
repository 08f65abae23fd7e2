"""CuPy's memory pool, watched: what it hands out is poisoned, what comes back is free."""

from __future__ import annotations

from typing import Any

import cupy
from cupy.cuda.memory_hook import MemoryHook

from tests.cuda_emulator.emulator import sanitizing
from tests.fake_device.machine import MACHINE


class Watch(MemoryHook):  # type: ignore[misc]
    """CuPy calls these whenever its pool gives or takes."""

    name = "the fake device"

    def malloc_postprocess(self, **given: Any) -> None:
        address, size = given["mem_ptr"], given["size"]
        if address:
            with MACHINE.lock:
                MACHINE.memory.give(address, size)
                MACHINE.poison(address, size, cupy.cuda.get_current_stream().ptr)

    def free_preprocess(self, **given: Any) -> None:
        with MACHINE.lock:
            MACHINE.memory.take(given["mem_ptr"])


def watch_pool() -> None:
    """From now on, in this thread. Under the sanitizers each array is an allocation, with guards at its last byte."""
    if sanitizing():
        cupy.cuda.set_allocator(None)
    Watch().__enter__()
