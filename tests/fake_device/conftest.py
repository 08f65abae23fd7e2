"""The tests of this folder run in a process of their own: `VIPNP_FAKE_DEVICE=1 python -m pytest tests/fake_device`.

`make kernels` does so. What is put under CuPy cannot be taken away again, so any other run leaves this folder out.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

collect_ignore_glob = [] if os.environ.get("VIPNP_FAKE_DEVICE") == "1" else ["test_*.py"]

if not collect_ignore_glob:
    from tests.fake_device.install import install

    install()


@pytest.fixture(autouse=True)
def machine() -> Iterator[Any]:
    """The machine, as new; a test that leaves a fault on it has failed."""
    from cupy import get_default_memory_pool

    from tests.fake_device.machine import MACHINE

    MACHINE.reset()
    MACHINE.forget()
    yield MACHINE
    MACHINE.timeline.run_all()
    faults = [fault.reason for fault in MACHINE.faults]
    MACHINE.forget()
    gc.collect()
    get_default_memory_pool().set_limit(size=0)
    get_default_memory_pool().free_all_blocks()
    assert not faults, "\n".join(faults)
