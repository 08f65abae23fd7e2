"""LayerNorm with what crosses the edge of a block: residual, drop path and the layouts of the branches."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from vipnp.backends.cupy.arrays import dtype_name, empty
from vipnp.backends.cupy.common import ONE, TABLE, Grid, RowSums, Scale, check_parameter, pitch
from vipnp.backends.cupy.kernels import NORM_TEMPLATES, WARP, constant, launch, vector_length, wide
from vipnp.backends.cupy.products import HasPrecision, rows_of
from vipnp.core import Array, Pullback3
from vipnp.ops import layer_norm

NORM_WARPS = constant("layer_norm.cu", "WARPS")
"""Rows that a block goes through at a time, one warp each."""


def norm_template(dtype: str, width: int, vector: int) -> tuple[str, str]:
    """(VEC, CHUNKS) of the smallest kernel that takes rows of `width` channels.

    Raises ValueError if there is none.
    """
    best = None
    for kernel_vector, chunks in NORM_TEMPLATES[dtype]:
        if vector % kernel_vector == 0 and width <= WARP * kernel_vector * chunks:
            rank = (kernel_vector * chunks, -kernel_vector)
            if best is None or rank < best[0]:
                best = (rank, (str(kernel_vector), str(chunks)))
    if best is None:
        largest = max(WARP * v * chunks for v, chunks in NORM_TEMPLATES[dtype] if vector % v == 0)
        raise ValueError(
            f"C: got {width} channels of {dtype} that come in multiples of {vector}; the LayerNorm kernels take at "
            f"most {largest} of these: use get_backend('cupy', fused=False)"
        )
    return best[1]


class NormSaved(NamedTuple):
    """What the backward pass of a LayerNorm needs: its input z (M, C), mean (M,), rstd (M,)."""

    z: Array
    mean: Array
    rstd: Array


def norm_forward(
    x: Array,
    weight: Array,
    bias: Array,
    eps: float,
    grid: Grid,
    *,
    branch: Array | None = None,
    branch_bias: Array | None = None,
    scale: Scale = ONE,
    permuted: bool = False,
) -> tuple[Array, Any, Any, NormSaved]:
    """LayerNorm of z = x + (branch + branch_bias) * scale, or of x: y, y_height, y_width and what backward needs.

    x, branch, y, z (M, C); y_height (B*N*W, H*S), y_width (B*H*N, W*S) are None unless `permuted`. saved.z is z or x.
    """
    dtype, wide_dtype = dtype_name(x), wide(dtype_name(x))
    z = x if branch is None else empty(x.shape, dtype)
    outputs = [empty(x.shape, dtype) if wanted else None for wanted in (True, permuted, permuted)]
    y, y_height, y_width = outputs
    mean, rstd = empty((grid.rows,), wide_dtype), empty((grid.rows,), wide_dtype)
    template = norm_template(dtype, grid.C, vector_length(math.gcd(grid.S, grid.C), x, branch, z, *outputs))
    blocks = math.ceil(grid.rows / NORM_WARPS)
    launch(
        "norm_forward",
        dtype,
        template,
        (blocks,),
        (NORM_WARPS * WARP,),
        x=x,
        branch=branch,
        branch_bias=branch_bias,
        **scale.arguments,
        weight=weight,
        bias=bias,
        eps=eps,
        z=z,
        y=y,
        y_height=y_height,
        y_width=y_width,
        mean_out=mean,
        rstd_out=rstd,
        M=grid.rows,
        **grid.sizes,
    )
    return y, y_height, y_width, NormSaved(z, mean, rstd)


class NormGradients(NamedTuple):
    """dx (M, C); dbranch (M, C), the gradient of the branch that was added to x; y, y_height, y_width once more, None
    where not asked for."""

    dx: Array
    dbranch: Array
    y: tuple[Any, ...]


def norm_backward(
    dy: tuple[Array, Array | None, Array | None],
    saved: NormSaved,
    weight: Array,
    bias: Array,
    grid: Grid,
    partial: Array,
    *,
    dresidual: Array | None = None,
    scale: Scale | None = None,
    again: tuple[bool, bool, bool] = (False, False, False),
) -> NormGradients:
    """The backward pass of `norm_forward`.

    dy : gradients of y, y_height, y_width. partial (P, 2*C or 3*C) : where the sums go that make dweight, dbias and,
    where a branch was added, the gradient of its bias. dresidual : what reaches x past the LayerNorm. scale : that of
    the branch, None where none was added. again : which of y, y_height, y_width to write once more.
    """
    dtype = dtype_name(saved.z)
    dx = empty(saved.z.shape, dtype)
    dbranch = None if scale is None or scale.is_one else empty(saved.z.shape, dtype)
    y = [empty(saved.z.shape, dtype) if wanted else None for wanted in again]
    template = norm_template(
        dtype, grid.C, vector_length(math.gcd(grid.S, grid.C), *dy, saved.z, dresidual, dx, dbranch, *y)
    )
    launch(
        "norm_backward",
        dtype,
        template,
        (partial.shape[0],),
        (NORM_WARPS * WARP,),
        **dict(zip(("dy_channel", "dy_height", "dy_width"), dy, strict=True)),
        z=saved.z,
        mean=saved.mean,
        rstd=saved.rstd,
        weight=weight,
        bias=bias,
        dresidual=dresidual,
        **(scale or ONE).arguments,
        dx=dx,
        dbranch=dbranch,
        **dict(zip(("y", "y_height", "y_width"), y, strict=True)),
        partial=partial,
        pitch=pitch(partial),
        sums=2 if scale is None else 3,
        M=grid.rows,
        **grid.sizes,
    )
    return NormGradients(dx, dx if dbranch is None else dbranch, tuple(y))


@TABLE.replaces(layer_norm)
def layer_norm_cuda(
    xp: HasPrecision, x: Array, weight: Array, bias: Array, eps: float = 1e-5
) -> tuple[Array, Pullback3]:
    """Saves: x (*, C), mean, rstd (M,), weight, bias (C,)."""
    for name, parameter in (("weight", weight), ("bias", bias)):
        check_parameter(name, parameter, x, x.shape[-1])
    rows = rows_of(x)
    grid = Grid(rows.shape[0], 1, 1, rows.shape[1], rows.shape[1])
    y, _, _, saved = norm_forward(rows, weight, bias, eps, grid)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        sums = RowSums(grid.rows, (2 * grid.C,), x)
        gradients = norm_backward((rows_of(dy), None, None), saved, weight, bias, grid, sums[0])
        (total,) = sums.totals()
        return gradients.dx.reshape(x.shape), total[: grid.C], total[grid.C :]

    return y.reshape(x.shape), pullback
