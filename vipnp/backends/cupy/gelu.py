"""Exact GELU after a linear layer's bias."""

from __future__ import annotations

from vipnp.backends.cupy.arrays import dtype_name, empty
from vipnp.backends.cupy.common import TABLE, launch_columns, pitch
from vipnp.backends.cupy.kernels import ROW_LANES, row_blocks
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback1
from vipnp.ops import gelu


def gelu_forward(u: Array, bias: Array | None) -> Array:
    """t * Phi(t), t = u + bias; u (M, K)."""
    y = empty(u.shape, dtype_name(u))
    launch_columns("gelu_forward", row_blocks(len(u), ROW_LANES), (u, y), u=u, bias=bias, y=y)
    return y


def gelu_backward(
    dy: Array, u: Array, bias: Array | None, partial: Array | None = None, *, again: bool = False
) -> tuple[Array, Array | None]:
    """du and, where asked for, what `gelu_forward` gave. partial (P, K) : where the sums of du go that make dbias."""
    du = empty(u.shape, dtype_name(u))
    y = empty(u.shape, dtype_name(u)) if again else None
    blocks = row_blocks(len(u), ROW_LANES) if partial is None else len(partial)
    launch_columns(
        "gelu_backward",
        blocks,
        (u, dy, du, y),
        dy=dy,
        u=u,
        bias=bias,
        du=du,
        y=y,
        partial=partial,
        pitch=pitch(partial),
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
