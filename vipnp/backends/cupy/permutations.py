"""The two permutations of the branches, and any exchange of two axes of rows."""

from __future__ import annotations

import cupy

from vipnp.backends.cupy.arrays import dtype_name, empty
from vipnp.backends.cupy.common import TABLE, check_segments
from vipnp.backends.cupy.kernels import THREADS, launch, vector_length
from vipnp.backends.cupy.products import HasPrecision
from vipnp.core import Array, Pullback1
from vipnp.ops import permute_height, permute_width


def exchange(x: Array, outer: int, first: int, middle: int, second: int, width: int) -> Array:
    """y[o, j, m, i, s] = x[o, i, m, j, s] of x (outer, first, middle, second, width), as flat memory like x's."""
    x = cupy.ascontiguousarray(x)
    y = empty(x.shape, dtype_name(x))
    vector = vector_length(width, x, y)
    blocks = outer * second * middle
    sizes = {"I": first, "M": middle, "J": second, "S": width}
    launch("exchange", dtype_name(x), (str(vector),), (blocks,), (THREADS,), x=x, y=y, **sizes)
    return y


@TABLE.replaces(permute_height)
def permute_height_cuda(xp: HasPrecision, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """Saves: nothing."""
    B, H, W, C = x.shape
    check_segments(segments, C)
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        return (exchange(dy, B, N, W, H, S).reshape(B, H, W, C),)

    return exchange(x, B, H, W, N, S).reshape(B, N, W, H * S), pullback


@TABLE.replaces(permute_width)
def permute_width_cuda(xp: HasPrecision, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """Saves: nothing."""
    B, H, W, C = x.shape
    check_segments(segments, C)
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        return (exchange(dy, B * H, N, 1, W, S).reshape(B, H, W, C),)

    return exchange(x, B * H, W, 1, N, S).reshape(B, H, N, W * S), pullback
