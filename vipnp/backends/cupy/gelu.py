"""Exact GELU after a linear layer's bias."""

from __future__ import annotations

from vipnp.backends.cupy.arrays import dtype_name, empty
from vipnp.backends.cupy.common import column_blocks, pitch
from vipnp.backends.cupy.kernels import ROW_LANES, WARP, launch, row_blocks, vector_length
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback1, Replacements
from vipnp.ops import gelu

TABLE = Replacements()
"""Readable op -> the function here that runs CUDA kernels."""


def gelu_forward(u: Array, bias: Array | None) -> Array:
    """t * Phi(t), t = u + bias; u (M, K)."""
    y = empty(u.shape, dtype_name(u))
    rows, width = u.shape
    vector = vector_length(width, u, y)
    blocks = (column_blocks(width, vector), row_blocks(rows, ROW_LANES))
    launch(
        "gelu_forward", dtype_name(u), (str(vector),), blocks, (WARP, ROW_LANES), u=u, bias=bias, y=y, M=rows, K=width
    )
    return y


def gelu_backward(
    dy: Array, u: Array, bias: Array | None, partial: Array | None = None, *, again: bool = False
) -> tuple[Array, Array | None]:
    """du and, where asked for, what `gelu_forward` gave. partial (P, K) : where the sums of du go that make dbias."""
    rows, width = u.shape
    dtype = dtype_name(u)
    du = empty(u.shape, dtype)
    y = empty(u.shape, dtype) if again else None
    vector = vector_length(width, dy, u, du, y)
    blocks = row_blocks(rows, ROW_LANES) if partial is None else partial.shape[0]
    launch(
        "gelu_backward",
        dtype,
        (str(vector),),
        (column_blocks(width, vector), blocks),
        (WARP, ROW_LANES),
        dy=dy,
        u=u,
        bias=bias,
        du=du,
        y=y,
        partial=partial,
        pitch=pitch(partial),
        M=rows,
        K=width,
    )
    return du, y


@TABLE.replaces(gelu)
def gelu_cuda(xp: HasPrecision, x: Array) -> tuple[Array, Pullback1]:
    """Saves: x (*)."""
    rows = rows_of(x)

    def pullback(dy: Array) -> tuple[Array]:
        dx, _ = gelu_backward(rows_of(dy), rows, None)
        return (dx.reshape(x.shape),)

    return gelu_forward(rows, None).reshape(x.shape), pullback
