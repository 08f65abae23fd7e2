"""Pooling and weighted sum of the branches, each in its layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.common import CHANNEL, Grid, check_shape
from vipnp.backends.cupy.kernels import ROW_LANES, WARP, launch, wide
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback1, Replacements
from vipnp.ops import global_average_pool, split_attention

TABLE = Replacements()
"""Readable op -> the function here that runs CUDA kernels."""


TOKENS_A_BLOCK = 64


class Branches(NamedTuple):
    """Two or three branches (B, H, W, C), each in its layout."""

    arrays: tuple[Array, ...]
    layouts: tuple[int, ...]

    @property
    def pointers(self) -> tuple[Array | None, Array | None, Array | None]:
        first, second, *rest = (*self.arrays, None)
        return first, second, rest[0] if rest else None

    @property
    def codes(self) -> tuple[int, int, int]:
        first, second, third, *_ = (*self.layouts, CHANNEL, CHANNEL)
        return first, second, third


def sample_blocks(grid: Grid) -> tuple[int, int, int]:
    """Blocks over samples and channels, each of which goes through all tokens."""
    return grid.B, math.ceil(grid.C / WARP), 1


def token_blocks(grid: Grid) -> tuple[int, int, int]:
    """Blocks over samples, channels and tokens."""
    return grid.B, math.ceil(grid.C / WARP), math.ceil(grid.H * grid.W / TOKENS_A_BLOCK)


def pool_forward(branches: Branches, grid: Grid) -> Array:
    """(B, C): the mean over the tokens of the sum of one to three branches."""
    dtype = dtype_name(branches.arrays[0])
    pooled = empty((grid.B, grid.C), wide(dtype))
    block = (WARP, ROW_LANES)
    launch(
        "pool_forward",
        dtype,
        (),
        sample_blocks(grid),
        block,
        *branches.pointers,
        *branches.codes,
        pooled,
        *grid.sizes,
    )
    return pooled


def split_attention_forward(logits: Array, branches: Branches, grid: Grid) -> Array:
    """(M, C): the weighted sum of the branches, logits (B, C, k)."""
    dtype = dtype_name(branches.arrays[0])
    y = empty((grid.rows, grid.C), dtype)
    launch(
        "split_attention_forward",
        dtype,
        (str(len(branches.arrays)),),
        token_blocks(grid),
        (WARP, ROW_LANES),
        logits,
        *branches.pointers,
        *branches.codes,
        y,
        *grid.sizes,
    )
    return y


def split_attention_backward_logits(dy: Array, logits: Array, branches: Branches, grid: Grid) -> Array:
    """dlogits (B, C, k): the first pass."""
    dtype = dtype_name(dy)
    dlogits = empty(logits.shape, wide(dtype))
    launch(
        "split_attention_backward_logits",
        dtype,
        (str(len(branches.arrays)),),
        sample_blocks(grid),
        (WARP, ROW_LANES),
        dy,
        logits,
        *branches.pointers,
        *branches.codes,
        dlogits,
        *grid.sizes,
    )
    return dlogits


def split_attention_backward_branches(
    dy: Array, logits: Array, dpooled: Array | None, layouts: tuple[int, ...], grid: Grid
) -> tuple[Array, ...]:
    """The gradients (M, C) of the branches, each in its layout: the second pass. dpooled (B, C) or None."""
    dtype = dtype_name(dy)
    gradients = Branches(tuple(empty((grid.rows, grid.C), dtype) for _ in layouts), layouts)
    launch(
        "split_attention_backward_branches",
        dtype,
        (str(len(layouts)),),
        token_blocks(grid),
        (WARP, ROW_LANES),
        dy,
        logits,
        dpooled,
        *gradients.codes,
        *gradients.pointers,
        *grid.sizes,
    )
    return gradients.arrays


@TABLE.replaces(split_attention)
def split_attention_cuda(
    xp: Any, logits: Array, *branches: Array
) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Two or three branches; more run the readable op, in the dtype of sums. Saves: logits (B, C, k), branches."""
    if len(branches) not in (2, 3):
        return _split_attention_of_many(xp, logits, *branches)
    shape = branches[0].shape
    B, H, W, C = shape
    check_shape("logits", logits, B, C, len(branches))
    for i, branch in enumerate(branches):
        check_shape(f"branches[{i}]", branch, *shape)
    grid = Grid(B, H, W, C, C)
    held = Branches(tuple(map(rows_of, branches)), (CHANNEL,) * len(branches))
    wide_logits = _widened(logits, held.arrays[0])
    y = split_attention_forward(wide_logits, held, grid)

    def pullback(dy: Array) -> tuple[Array, ...]:
        rows = rows_of(dy)
        dlogits = split_attention_backward_logits(rows, wide_logits, held, grid)
        gradients = split_attention_backward_branches(rows, wide_logits, None, held.layouts, grid)
        return convert(dlogits, dtype_name(logits)), *(gradient.reshape(shape) for gradient in gradients)

    return y.reshape(shape), pullback


def _split_attention_of_many(
    xp: Any, logits: Array, *branches: Array
) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    dtype = dtype_name(branches[0])
    y, readable_back = split_attention(xp, *(_widened(array, branches[0]) for array in (logits, *branches)))

    def pullback(dy: Array) -> tuple[Array, ...]:
        return tuple(convert(gradient, dtype) for gradient in readable_back(_widened(dy, branches[0])))

    return convert(y, dtype), pullback


def _widened(values: Array, beside: Array) -> Array:
    """`values` in the dtype of sums beside activations like `beside`."""
    return convert(values, wide(dtype_name(beside)))


@TABLE.replaces(global_average_pool)
def global_average_pool_cuda(xp: HasPrecision, x: Array) -> tuple[Array, Pullback1]:
    """The mean in float32 where x is of two bytes. Saves: nothing."""
    B, H, W, C = x.shape
    grid = Grid(B, H, W, C, C)
    dtype = dtype_name(x)

    def pullback(dy: Array) -> tuple[Array]:
        dx = empty((B, H, W, C), dtype)
        dpooled = convert(dy, wide(dtype))
        launch("pool_backward", dtype, (), token_blocks(grid), (WARP, ROW_LANES), dpooled, dx, H, W, C)
        return (dx,)

    return pool_forward(Branches((rows_of(x), None), (CHANNEL,)), grid), pullback
