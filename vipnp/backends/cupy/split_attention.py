"""Pooling and weighted sum of the branches, each in its layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.common import CHANNEL, TABLE, Grid, check_shape, sum_rows
from vipnp.backends.cupy.kernels import THREADS, constant, launch, vector_length, wide
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback1
from vipnp.ops import global_average_pool, split_attention

CHANNEL_LANES = constant("split_attention.cu", "CHANNEL_LANES")
TOKEN_LANES = constant("split_attention.cu", "TOKEN_LANES")
"""Of a block: the packs of channels it has, and the tokens it takes at a time."""

TOKENS_A_BLOCK = 256
"""Of which a thread takes eight, so that the softmax before them weighs little."""

SUMMED_TOKENS_A_BLOCK = 128
"""Where sums over the tokens are taken and no softmax: more blocks, whose sums are added up afterwards."""


class Branches(NamedTuple):
    """One to three branches (B, H, W, C), each in its layout."""

    arrays: tuple[Array, ...]
    layouts: tuple[int, ...]

    def named(self, letter: str) -> dict[str, Any]:
        """What the kernels take, always three: `letter`_0, ... and layout_0, ..."""
        absent = 3 - len(self.arrays)
        names = (f"{letter}_0", f"{letter}_1", f"{letter}_2", "layout_0", "layout_1", "layout_2")
        return dict(zip(names, (*self.arrays, *(None,) * absent, *self.layouts, *(CHANNEL,) * absent), strict=True))


def _launch(
    name: str, tokens_a_block: int, grid: Grid, branches: Branches | None, vectored: tuple[Array, ...], **arguments: Any
) -> None:
    """Start a kernel over samples, channels and shares of the tokens. vectored : what it reads or writes in packs."""
    vector = vector_length(math.gcd(grid.S, grid.C), *vectored)
    template = (str(vector),) if branches is None else (str(vector), str(len(branches.arrays)))
    blocks = (grid.B, math.ceil(grid.C / (CHANNEL_LANES * vector)), _shares(grid, tokens_a_block))
    launch(name, dtype_name(vectored[0]), template, blocks, (CHANNEL_LANES, TOKEN_LANES), **arguments)


def _shares(grid: Grid, tokens_a_block: int) -> int:
    return math.ceil(grid.H * grid.W / tokens_a_block)


def pool_forward(branches: Branches, grid: Grid) -> Array:
    """(B, C): the mean over the tokens of the sum of one or three branches."""
    dtype = dtype_name(branches.arrays[0])
    partial = empty((_shares(grid, SUMMED_TOKENS_A_BLOCK), grid.B * grid.C), wide(dtype))
    _launch(
        "pool_forward",
        SUMMED_TOKENS_A_BLOCK,
        grid,
        branches,
        branches.arrays,
        **branches.named("x"),
        partial=partial,
        **grid.sizes,
    )
    return sum_rows(partial).reshape(grid.B, grid.C)


def split_attention_forward(logits: Array, branches: Branches, grid: Grid) -> Array:
    """(M, C): the weighted sum of the branches, logits (B, C, k)."""
    y = empty((grid.rows, grid.C), dtype_name(branches.arrays[0]))
    _launch(
        "split_attention_forward",
        TOKENS_A_BLOCK,
        grid,
        branches,
        (y, *branches.arrays),
        logits=logits,
        **branches.named("x"),
        y=y,
        **grid.sizes,
    )
    return y


def split_attention_backward_logits(dy: Array, logits: Array, branches: Branches, grid: Grid) -> Array:
    """dlogits (B, C, k): the first pass."""
    dtype = wide(dtype_name(dy))
    shares = _shares(grid, SUMMED_TOKENS_A_BLOCK)
    partial = empty((shares, *logits.shape), dtype)
    _launch(
        "split_attention_backward_weights",
        SUMMED_TOKENS_A_BLOCK,
        grid,
        branches,
        (dy, *branches.arrays),
        dy=dy,
        **branches.named("x"),
        partial=partial,
        **grid.sizes,
    )
    dlogits = empty(logits.shape, dtype)
    size = grid.B * grid.C
    launch(
        "split_attention_backward_logits",
        dtype,
        (str(len(branches.arrays)),),
        (math.ceil(size / THREADS),),
        (THREADS,),
        partial=partial,
        logits=logits,
        dlogits=dlogits,
        shares=shares,
        size=size,
    )
    return dlogits


def split_attention_backward_branches(
    dy: Array, logits: Array, dpooled: Array | None, layouts: tuple[int, ...], grid: Grid
) -> tuple[Array, ...]:
    """The gradients (M, C) of the branches, each in its layout: the second pass. dpooled (B, C) or None."""
    gradients = Branches(tuple(empty((grid.rows, grid.C), dtype_name(dy)) for _ in layouts), layouts)
    _launch(
        "split_attention_backward_branches",
        TOKENS_A_BLOCK,
        grid,
        gradients,
        (dy, *gradients.arrays),
        dy=dy,
        logits=logits,
        dpooled=dpooled,
        **gradients.named("dx"),
        **grid.sizes,
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
        _launch("pool_backward", TOKENS_A_BLOCK, grid, None, (dx,), dpooled=dpooled, dx=dx, H=H, W=W, C=C)
        return (dx,)

    return pool_forward(Branches((rows_of(x),), (CHANNEL,)), grid), pullback
