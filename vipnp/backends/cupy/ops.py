"""CUDA kernels in the place of single ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import cupy

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.kernels import (
    NORM_TEMPLATES,
    NORM_WARPS,
    ROW_LANES,
    THREADS,
    WARP,
    launch,
    row_blocks,
    vector_length,
    wide,
)
from vipnp.backends.cupy.products import HasPrecision, operand, product, rows_of
from vipnp.core import Array, Pullback1, Pullback2, Pullback3, Replacements
from vipnp.ops import (
    cross_entropy,
    drop_path,
    dropout,
    gelu,
    global_average_pool,
    layer_norm,
    linear,
    linear_no_bias,
    patch_embed,
    permute_height,
    permute_width,
    residual,
    soft_cross_entropy,
    split_attention,
)

TABLE = Replacements()
"""Readable op -> the function here that runs CUDA kernels."""

CHANNEL, HEIGHT, WIDTH = 0, 1, 2
"""Layouts, as in common.cuh."""

CROSS_ENTROPY_THREADS = 128

TOKENS_A_BLOCK = 64


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


# --- LayerNorm ------------------------------------------------------------------------------------------------------


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
    """What the backward pass of a LayerNorm needs: x (M, C), mean (M,), rstd (M,)."""

    x: Array
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
    """LayerNorm of r = x + (branch + branch_bias) * scale, or of x: y, y_height, y_width and what backward needs.

    x, branch, y, r (M, C); y_height (B*N*W, H*S), y_width (B*H*N, W*S) are None unless `permuted`. saved.x is r.
    """
    dtype, wide_dtype = dtype_name(x), wide(dtype_name(x))
    r = x if branch is None else empty(x.shape, dtype)
    outputs = [empty(x.shape, dtype) if wanted else None for wanted in (True, permuted, permuted)]
    mean, rstd = empty((grid.rows,), wide_dtype), empty((grid.rows,), wide_dtype)
    template = norm_template(dtype, grid.C, vector_length(math.gcd(grid.S, grid.C), x, branch, r, *outputs))
    blocks = math.ceil(grid.rows / NORM_WARPS)
    launch(
        "norm_forward",
        dtype,
        template,
        (blocks,),
        (NORM_WARPS * WARP,),
        x,
        branch,
        branch_bias,
        *scale.arguments,
        weight,
        bias,
        eps,
        r,
        *outputs,
        mean,
        rstd,
        grid.rows,
        *grid.sizes,
    )
    y, y_height, y_width = outputs
    return y, y_height, y_width, NormSaved(r, mean, rstd)


class NormGradients(NamedTuple):
    """dx (M, C); dbranch (M, C), the gradient of the branch that was added to x; dweight, dbias, dbranch_bias (C,);
    y, y_height, y_width once more, None where not asked for."""

    dx: Array
    dbranch: Array
    dweight: Array
    dbias: Array
    dbranch_bias: Array | None
    y: tuple[Any, ...]


def norm_backward(
    dy: tuple[Array, Array | None, Array | None],
    saved: NormSaved,
    weight: Array,
    bias: Array,
    grid: Grid,
    *,
    dresidual: Array | None = None,
    scale: Scale | None = None,
    again: tuple[bool, bool, bool] = (False, False, False),
) -> NormGradients:
    """The backward pass of `norm_forward`.

    dy : gradients of y, y_height, y_width. dresidual : what reaches x past the LayerNorm. scale : that of the branch,
    None where none was added. again : which of y, y_height, y_width to write once more.
    """
    dtype, wide_dtype = dtype_name(saved.x), wide(dtype_name(saved.x))
    dx = empty(saved.x.shape, dtype)
    dbranch = None if scale is None or scale.is_one else empty(saved.x.shape, dtype)
    y = [empty(saved.x.shape, dtype) if wanted else None for wanted in again]
    sums = 2 if scale is None else 3
    blocks = row_blocks(grid.rows, NORM_WARPS)
    partial = empty((blocks, sums * grid.C), wide_dtype)
    template = norm_template(
        dtype, grid.C, vector_length(math.gcd(grid.S, grid.C), *dy, saved.x, dresidual, dx, dbranch, *y)
    )
    launch(
        "norm_backward",
        dtype,
        template,
        (blocks,),
        (NORM_WARPS * WARP,),
        *dy,
        saved.x,
        saved.mean,
        saved.rstd,
        weight,
        bias,
        dresidual,
        *(scale or ONE).arguments,
        dx,
        dbranch,
        *y,
        partial,
        sums,
        grid.rows,
        *grid.sizes,
    )
    total = column_sum(partial)
    dweight, dbias, *rest = (total[i * grid.C : (i + 1) * grid.C] for i in range(sums))
    return NormGradients(
        dx,
        dx if dbranch is None else dbranch,
        dweight,
        dbias,
        rest[0] if rest else None,
        tuple(y),
    )


def check_parameters(x: Array, *parameters: Array) -> None:
    """Raise TypeError unless the parameters are in the dtype of sums beside activations like x."""
    wanted = wide(dtype_name(x))
    for parameter in parameters:
        if dtype_name(parameter) != wanted:
            raise TypeError(f"got a parameter of dtype {parameter.dtype} for {x.dtype} activations, expected {wanted}")


@TABLE.replaces(layer_norm)
def layer_norm_cuda(
    xp: HasPrecision, x: Array, weight: Array, bias: Array, eps: float = 1e-5
) -> tuple[Array, Pullback3]:
    """Saves: x (*, C), mean, rstd (M,), weight, bias (C,)."""
    check_parameters(x, weight, bias)
    rows = rows_of(x)
    grid = Grid(rows.shape[0], 1, 1, rows.shape[1], rows.shape[1])
    y, _, _, saved = norm_forward(rows, weight, bias, eps, grid)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        gradients = norm_backward((rows_of(dy), None, None), saved, weight, bias, grid)
        return gradients.dx.reshape(x.shape), gradients.dweight, gradients.dbias

    return y.reshape(x.shape), pullback


# --- element by element and column sums -----------------------------------------------------------------------------


def gelu_forward(z: Array, bias: Array | None) -> Array:
    """u * Phi(u), u = z + bias; z (M, K)."""
    y = empty(z.shape, dtype_name(z))
    rows, width = z.shape
    vector = vector_length(width, z, y)
    blocks = (column_blocks(width, vector), row_blocks(rows, ROW_LANES))
    launch("gelu_forward", dtype_name(z), (str(vector),), blocks, (WARP, ROW_LANES), z, bias, y, rows, width)
    return y


def gelu_backward(
    dy: Array, z: Array, bias: Array | None, *, again: bool = False
) -> tuple[Array, Array | None, Array | None]:
    """dz, dbias (None where there is no bias) and, where asked for, what `gelu_forward` gave."""
    rows, width = z.shape
    dtype = dtype_name(z)
    dz = empty(z.shape, dtype)
    y = empty(z.shape, dtype) if again else None
    vector = vector_length(width, dy, z, dz, y)
    blocks = row_blocks(rows, ROW_LANES)
    partial = None if bias is None else empty((blocks, width), wide(dtype))
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
        rows,
        width,
    )
    return dz, None if partial is None else column_sum(partial), y


@TABLE.replaces(gelu)
def gelu_cuda(xp: HasPrecision, x: Array) -> tuple[Array, Pullback1]:
    """Saves: x (*)."""
    rows = rows_of(x)

    def pullback(dy: Array) -> tuple[Array]:
        dz, _, _ = gelu_backward(rows_of(dy), rows, None)
        return (dz.reshape(x.shape),)

    return gelu_forward(rows, None).reshape(x.shape), pullback


def residual_forward(x: Array | None, branch: Array, bias: Array | None, scale: Scale = ONE, tokens: int = 1) -> Array:
    """x + (branch + bias) * scale[row / tokens]; x, branch (M, K), x or bias None for nothing."""
    y = empty(branch.shape, dtype_name(branch))
    rows, width = branch.shape
    vector = vector_length(width, x, branch, y)
    launch(
        "residual_forward",
        dtype_name(branch),
        (str(vector),),
        (column_blocks(width, vector), row_blocks(rows, ROW_LANES)),
        (WARP, ROW_LANES),
        x,
        branch,
        bias,
        *scale.arguments,
        y,
        rows,
        width,
        tokens,
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
    vector = vector_length(width, dy, dbranch)
    blocks = row_blocks(rows, ROW_LANES)
    partial = empty((blocks, width), wide(dtype)) if bias else None
    launch(
        "residual_backward",
        dtype,
        (str(vector),),
        (column_blocks(width, vector), blocks),
        (WARP, ROW_LANES),
        dy,
        *scale.arguments,
        dbranch,
        partial,
        rows,
        width,
        tokens,
    )
    return dy if dbranch is None else dbranch, None if partial is None else column_sum(partial)


@TABLE.replaces(residual)
def residual_cuda(xp: HasPrecision, x: Array, branch: Array, skip_lam: float = 1.0) -> tuple[Array, Pullback2]:
    """Saves: nothing."""
    scale = Scale(factor=1 / skip_lam)
    y = residual_forward(rows_of(x), rows_of(branch), None, scale)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dbranch, _ = residual_backward(rows_of(dy), scale)
        return dy, dbranch.reshape(dy.shape)

    return y.reshape(x.shape), pullback


@TABLE.replaces(drop_path)
def drop_path_cuda(xp: HasPrecision, x: Array, *, mask: Array, rate: float) -> tuple[Array, Pullback1]:
    """Saves: mask (B,)."""
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
    wide_mask = convert(mask, wide(dtype))

    def masked(values: Array) -> Array:
        values = cupy.ascontiguousarray(values)
        y = empty(values.shape, dtype)
        vector = vector_length(values.size, values, y)
        packs = values.size // vector
        blocks = (math.ceil(packs / THREADS),)
        launch("dropout", dtype, (str(vector),), blocks, (THREADS,), values, wide_mask, 1 / (1 - rate), y, packs)
        return y

    def pullback(dy: Array) -> tuple[Array]:
        return (masked(dy),)

    return masked(x), pullback


# --- linear layers --------------------------------------------------------------------------------------------------


def linear_rows(
    xp: HasPrecision, x: Array, weight: Array, bias: Array | None
) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array | None]]]:
    """y = x weight^T + bias on rows (M, C), in the dtype of x. Saves: the operands of the product."""
    dtype, weight_dtype = dtype_name(x), dtype_name(weight)
    x_operand = operand(xp, x)
    weight_operand = convert(rows_of(weight), dtype_name(x_operand))
    y = product(xp, x_operand, weight_operand, transpose_b=True, dtype=dtype)
    if bias is not None:
        check_parameters(x, bias)
        y = residual_forward(None, y, bias)

    def pullback(dy: Array) -> tuple[Array, Array, Array | None]:
        rows = rows_of(dy)
        dy_operand = convert(rows, dtype_name(x_operand))
        dx = product(xp, dy_operand, weight_operand, dtype=dtype)
        dweight = product(xp, dy_operand, x_operand, transpose_a=True, dtype=weight_dtype)
        _, dbias = residual_backward(rows, bias=bias is not None)
        return dx, dweight, dbias

    return y, pullback


@TABLE.replaces(linear)
def linear_cuda(xp: HasPrecision, x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback3]:
    """Saves: x (*, C), weight (K, C), both as the product takes them."""
    y, linear_back = linear_rows(xp, rows_of(x), weight, bias)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dx, dweight, dbias = linear_back(dy)
        return dx.reshape(x.shape), dweight, dbias

    return y.reshape(*x.shape[:-1], y.shape[1]), pullback


@TABLE.replaces(linear_no_bias)
def linear_no_bias_cuda(xp: HasPrecision, x: Array, weight: Array) -> tuple[Array, Pullback2]:
    """Saves: x (*, C), weight (K, C), both as the product takes them."""
    y, linear_back = linear_rows(xp, rows_of(x), weight, None)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dx, dweight, _ = linear_back(dy)
        return dx.reshape(x.shape), dweight

    return y.reshape(*x.shape[:-1], y.shape[1]), pullback


@TABLE.replaces(patch_embed)
def patch_embed_cuda(xp: HasPrecision, x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback3]:
    """The tokens in the storage dtype of the backend. Saves: patches (B*h*w, C*P*Q), weight (K, C, P, Q), as the
    product takes them."""
    B, C, height, width = x.shape
    K, _, P, Q = weight.shape
    h, w = height // P, width // Q
    gathered = cupy.permute_dims(x.reshape(B, C, h, P, w, Q), (0, 2, 4, 1, 3, 5))
    patches = operand(xp, cupy.ascontiguousarray(gathered).reshape(B * h * w, C * P * Q))
    y, linear_back = linear_rows(xp, patches, weight.reshape(K, C * P * Q), bias)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dpatches, dweight, dbias = linear_back(dy)
        dpatches = convert(dpatches, dtype_name(x)).reshape(B, h, w, C, P, Q)
        dx = cupy.ascontiguousarray(cupy.permute_dims(dpatches, (0, 3, 1, 4, 2, 5)))
        return dx.reshape(B, C, height, width), dweight.reshape(K, C, P, Q), dbias

    return y.reshape(B, h, w, K), pullback


# --- permutations ---------------------------------------------------------------------------------------------------


def exchange(x: Array, outer: int, first: int, middle: int, second: int, width: int) -> Array:
    """y[o, j, m, i, s] = x[o, i, m, j, s] of x (outer, first, middle, second, width), as flat memory like x's."""
    x = cupy.ascontiguousarray(x)
    y = empty(x.shape, dtype_name(x))
    vector = vector_length(width, x, y)
    blocks = outer * second * middle
    launch("exchange", dtype_name(x), (str(vector),), (blocks,), (THREADS,), x, y, first, middle, second, width)
    return y


@TABLE.replaces(permute_height)
def permute_height_cuda(xp: HasPrecision, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """Saves: nothing."""
    B, H, W, C = x.shape
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        return (exchange(dy, B, N, W, H, S).reshape(B, H, W, C),)

    return exchange(x, B, H, W, N, S).reshape(B, N, W, H * S), pullback


@TABLE.replaces(permute_width)
def permute_width_cuda(xp: HasPrecision, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """Saves: nothing."""
    B, H, W, C = x.shape
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        return (exchange(dy, B * H, N, 1, W, S).reshape(B, H, W, C),)

    return exchange(x, B * H, W, 1, N, S).reshape(B, H, N, W * S), pullback


# --- split attention ------------------------------------------------------------------------------------------------


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


# --- cross-entropy --------------------------------------------------------------------------------------------------


def _cross_entropy(
    logits: Array, targets: Array | None, labels: Array | None, label_smoothing: float
) -> tuple[Array, Pullback1]:
    dtype = wide(dtype_name(logits))
    z = convert(logits, dtype)
    B, K = z.shape
    row_loss, saved = empty((B,), dtype), empty((B, 3), dtype)
    against = (targets, labels, label_smoothing, label_smoothing / K)
    block = (CROSS_ENTROPY_THREADS,)
    launch("cross_entropy_forward", dtype, (), (B,), block, z, *against, row_loss, saved, 1 / B, K)
    loss = column_sum(row_loss.reshape(B, 1)).reshape(())

    def pullback(dloss: Array) -> tuple[Array]:
        dlogits = empty((B, K), dtype)
        launch("cross_entropy_backward", dtype, (), (B,), block, dloss, z, *against, saved, dlogits, 1 / B, K)
        return (convert(dlogits, dtype_name(logits)),)

    return loss, pullback


@TABLE.replaces(cross_entropy)
def cross_entropy_cuda(
    xp: HasPrecision, logits: Array, *, labels: Array, label_smoothing: float = 0.0
) -> tuple[Array, Pullback1]:
    """Saves: logits (B, K), labels (B,), and three numbers for each row."""
    return _cross_entropy(logits, None, cupy.ascontiguousarray(labels, dtype="int64"), label_smoothing)


@TABLE.replaces(soft_cross_entropy)
def soft_cross_entropy_cuda(xp: HasPrecision, logits: Array, *, targets: Array) -> tuple[Array, Pullback1]:
    """Saves: logits, targets (B, K), and three numbers for each row."""
    return _cross_entropy(logits, convert(targets, wide(dtype_name(logits))), None, 0.0)
