"""What launching the kernels takes in several places: layouts and grids of tokens, scales of branches, sums of rows."""

from __future__ import annotations

import math
from typing import NamedTuple

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.kernels import ROW_LANES, WARP, launch, wide
from vipnp.core import Array

CHANNEL, HEIGHT, WIDTH = 0, 1, 2
"""Layouts, as in common.cuh."""


class Scale(NamedTuple):
    """What drop path and skip_lam make of a branch: mask[b] * factor, or factor where there is no mask.

    mask (B,), of any stride.
    """

    mask: Array | None = None
    factor: float = 1.0

    @property
    def is_one(self) -> bool:
        """Whether the branch is added as it is."""
        return self.mask is None and self.factor == 1.0

    @property
    def arguments(self) -> tuple[Array | None, int, float]:
        """mask, its stride in elements, factor."""
        stride = 0 if self.mask is None else self.mask.strides[0] // self.mask.itemsize
        return self.mask, stride, self.factor


ONE = Scale()


def path_scale(x: Array, mask: Array | None, rate: float = 0.0, skip_lam: float = 1.0) -> Scale:
    """The scale of a branch like `x`: mask (B,) / (1 - rate) / skip_lam, without the first two where mask is None."""
    wanted = wide(dtype_name(x))
    held = mask if mask is None or dtype_name(mask) == wanted else convert(mask, wanted)
    return Scale(held, 1 / ((1 - rate) * skip_lam))


class Grid(NamedTuple):
    """Activations (B, H, W, C) in segments of width S."""

    B: int
    H: int
    W: int
    C: int
    S: int

    @property
    def rows(self) -> int:
        return self.B * self.H * self.W

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        return self.H, self.W, self.C, self.S


def column_blocks(width: int, vector: int) -> int:
    """Blocks that share the columns where a lane holds `vector` of them."""
    return math.ceil(width / (WARP * vector))


def column_sum(partial: Array) -> Array:
    """(P, K) -> (K,), the rows added in an order that depends on P alone."""
    rows, width = partial.shape
    out = empty((width,), dtype_name(partial))
    launch("column_sum", dtype_name(out), (), (math.ceil(width / WARP),), (WARP, ROW_LANES), partial, out, rows, width)
    return out


def check_shape(name: str, array: Array, *shape: int) -> None:
    """Raise ValueError unless the array has that shape: a kernel goes by the sizes that it is told."""
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")


def check_parameter(name: str, parameter: Array, beside: Array, *shape: int) -> None:
    """Raise ValueError unless it has that shape, TypeError unless it is in the dtype of sums beside activations like
    `beside`."""
    check_shape(name, parameter, *shape)
    wanted = wide(dtype_name(beside))
    if dtype_name(parameter) != wanted:
        raise TypeError(f"{name}: got dtype {parameter.dtype} beside activations of {beside.dtype}, expected {wanted}")


def check_segments(segments: int, channels: int) -> None:
    """Raise ValueError unless the channels come in that many segments of one width."""
    if segments < 1 or channels % segments:
        raise ValueError(f"segments: got {segments}, expected a divisor of C = {channels}")
