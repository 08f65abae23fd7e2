"""Memory of the device: what is used and free, and what is said when there is none left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

POOL_YIELD = 0.95
"""The share of free memory that arrays can have: the pool's blocks are larger than what they hold."""

STEP_DOWN = 0.95
"""What a batch that was thought to fit and does not is made smaller by."""


class DeviceMemoryError(MemoryError):
    """The device has no memory left; the message says how much was asked for, in use and free."""


class Memory(NamedTuple):
    """Bytes on the device: in use by arrays, still available to them, and in all."""

    used: int
    available: int
    total: int


@dataclass
class PeakMemory:
    """Bytes in use before watching began, and the most that were added to them at a time."""

    before: int
    added: int = 0


def first_images(tree: Any, images: int, batch: int | None) -> Any:
    """`tree` with every array over the batch cut to its first `images`; dicts are parameters and stay whole."""
    if isinstance(tree, list | tuple):
        parts = [first_images(part, images, batch) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    if hasattr(tree, "shape") and tree.ndim and tree.shape[0] == batch:
        return tree[:images]
    return tree


def size_text(count: int) -> str:
    """A number of bytes as a person reads it."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count / 2**10:.2f} KiB"
