"""A batch in logical shards, and sums over them by one fixed binary tree.

A shard is one forward and backward pass by itself, in one thread of BLAS, with random draws of its own. How many
threads or processes share the work decides who computes a shard and who adds two sums, never what is added to what: the
result is the same to the last bit for any number of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vipnp.core.checks import shown

T = TypeVar("T")

MOST_SHARDS = 1024
"""Parts of a batch at most; the published recipe has 2,048 images in one."""


def check_shards(shards: Any) -> None:
    """Raise TypeError or ValueError unless `shards` is a power of two, MOST_SHARDS at most."""
    expected = f"expected a power of two up to {MOST_SHARDS}"
    if isinstance(shards, bool) or not isinstance(shards, int):
        raise TypeError(f"shards: got {shown(shards)}, {expected}")
    if not 1 <= shards <= MOST_SHARDS or shards & (shards - 1):
        raise ValueError(f"shards: got {shown(shards)}, {expected}")


def shards_of(shards: int, rank: int, ranks: int) -> range:
    """The shards that rank `rank` of `ranks` computes. Raises ValueError unless the ranks divide them."""
    if shards % ranks:
        raise ValueError(f"ranks: got {ranks}, expected a divisor of the {shards} shards of a batch (--shards)")
    each = shards // ranks
    return range(rank * each, (rank + 1) * each)


def tree_sum(leaf: Callable[[int], T | None], shards: range, add: Callable[[T, T], T]) -> T | None:
    """leaf(i) over `shards`, a power of two of them, added as neighbours: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).

    None is an empty shard and adds nothing. Leaves are made in their order, and no more than 1 + log2(len(shards)) of
    their sums are held at a time. The sum over an aligned half, quarter ... of the shards is a node of the same tree,
    so that threads and processes can take one each.
    """
    if len(shards) == 1:
        return leaf(shards[0])
    half = len(shards) // 2
    left, right = tree_sum(leaf, shards[:half], add), tree_sum(leaf, shards[half:], add)
    if left is None or right is None:
        return right if left is None else left
    return add(left, right)
