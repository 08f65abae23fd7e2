"""Residual, drop path, dropout, and the bias of a linear layer with its gradient."""

from __future__ import annotations

import math

import cupy

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.common import ONE, TABLE, Scale, check_shape, launch_columns, path_scale, sum_blocks, sum_rows
from vipnp.backends.cupy.kernels import ROW_LANES, THREADS, launch, row_blocks, vector_length, wide
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback1, Pullback2
from vipnp.ops import drop_path, dropout, residual


def residual_forward(x: Array | None, branch: Array, bias: Array | None, scale: Scale = ONE, tokens: int = 1) -> Array:
    """x + (branch + bias) * scale[row / tokens]; x, branch (M, K), x or bias None for nothing."""
    y = empty(branch.shape, dtype_name(branch))
    launch_columns(
        "residual_forward",
        row_blocks(len(branch), ROW_LANES),
        (branch, x, y),
        x=x,
        branch=branch,
        bias=bias,
        **scale.arguments,
        y=y,
        tokens=tokens,
    )
    return y


def residual_backward(
    dy: Array, scale: Scale = ONE, tokens: int = 1, *, bias: bool = False
) -> tuple[Array, Array | None]:
    """dbranch = dy * scale[row / tokens], dy itself where the scale is one; and its sum over the rows, or None."""
    rows, width = dy.shape
    dtype = dtype_name(dy)
    if scale.is_one and not bias:
        return dy, None
    dbranch = None if scale.is_one else empty(dy.shape, dtype)
    blocks = sum_blocks(rows) if bias else row_blocks(rows, ROW_LANES)
    partial = empty((blocks, width), wide(dtype)) if bias else None
    launch_columns(
        "residual_backward",
        blocks,
        (dy, dbranch),
        dy=dy,
        **scale.arguments,
        dbranch=dbranch,
        partial=partial,
        tokens=tokens,
    )
    return dy if dbranch is None else dbranch, None if partial is None else sum_rows(partial)


@TABLE.replaces(residual)
def residual_cuda(xp: HasPrecision, x: Array, branch: Array, skip_lam: float = 1.0) -> tuple[Array, Pullback2]:
    """Saves: nothing."""
    check_shape("branch", branch, *x.shape)
    scale = Scale(factor=1 / skip_lam)
    y = residual_forward(rows_of(x), rows_of(branch), None, scale)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dbranch, _ = residual_backward(rows_of(dy), scale)
        return dy, dbranch.reshape(dy.shape)

    return y.reshape(x.shape), pullback


@TABLE.replaces(drop_path)
def drop_path_cuda(xp: HasPrecision, x: Array, *, mask: Array, rate: float) -> tuple[Array, Pullback1]:
    """Saves: mask (B,)."""
    check_shape("mask", mask, x.shape[0])
    scale = path_scale(x, mask, rate)
    tokens = math.prod(x.shape[1:-1])

    def scaled(values: Array) -> Array:
        return residual_forward(None, rows_of(values), None, scale, tokens).reshape(values.shape)

    def pullback(dy: Array) -> tuple[Array]:
        return (scaled(dy),)

    return scaled(x), pullback


@TABLE.replaces(dropout)
def dropout_cuda(xp: HasPrecision, x: Array, *, mask: Array, rate: float) -> tuple[Array, Pullback1]:
    """Saves: mask (*)."""
    dtype = dtype_name(x)
    check_shape("mask", mask, *x.shape)
    wide_mask = convert(mask, wide(dtype))

    def masked(values: Array) -> Array:
        values = cupy.ascontiguousarray(values)
        y = empty(values.shape, dtype)
        vector = vector_length(values.size, values, y)
        packs = values.size // vector
        blocks = (math.ceil(packs / THREADS),)
        launch(
            "dropout",
            dtype,
            (str(vector),),
            blocks,
            (THREADS,),
            x=values,
            mask=wide_mask,
            factor=1 / (1 - rate),
            y=y,
            packs=packs,
        )
        return y

    def pullback(dy: Array) -> tuple[Array]:
        return (masked(dy),)

    return masked(x), pullback
