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


def gelu_forward(z: Array, bias: Array | None) -> Array:
    """u * Phi(u), u = z + bias; z (M, K)."""
    y = empty(z.shape, dtype_name(z))
    rows, width = z.shape
    vector = vector_length(width, z, y)
    blocks = (column_blocks(width, vector), row_blocks(rows, ROW_LANES))
    launch("gelu_forward", dtype_name(z), (str(vector),), blocks, (WARP, ROW_LANES), z, bias, y, rows, width)
    return y


def gelu_backward(
    dy: Array, z: Array, bias: Array | None, partial: Array | None = None, *, again: bool = False
) -> tuple[Array, Array | None]:
    """dz and, where asked for, what `gelu_forward` gave. partial (P, K) : where the sums of dz go that make dbias."""
    rows, width = z.shape
    dtype = dtype_name(z)
    dz = empty(z.shape, dtype)
    y = empty(z.shape, dtype) if again else None
    vector = vector_length(width, dy, z, dz, y)
    blocks = row_blocks(rows, ROW_LANES) if partial is None else partial.shape[0]
    launch(
        "gelu_backward",
        dtype,
        (str(vector),),
        (column_blocks(width, vector), blocks),
        (WARP, ROW_LANES),
        dy,
        z,
        bias,
        dz,
        y,
        partial,
        pitch(partial),
        rows,
        width,
    )
    return dz, y


@TABLE.replaces(gelu)
def gelu_cuda(xp: HasPrecision, x: Array) -> tuple[Array, Pullback1]:
    """Saves: x (*)."""
    rows = rows_of(x)

    def pullback(dy: Array) -> tuple[Array]:
        dz, _ = gelu_backward(rows_of(dy), rows, None)
        return (dz.reshape(x.shape),)

    return gelu_forward(rows, None).reshape(x.shape), pullback
