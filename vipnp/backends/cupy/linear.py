"""Linear layers and the patch embedding: products by cuBLAS."""

from __future__ import annotations

from collections.abc import Callable

import cupy

from vipnp.backends.cupy.arrays import convert, dtype_name
from vipnp.backends.cupy.common import TABLE, check_parameter, check_shape
from vipnp.backends.cupy.products import HasPrecision, operand, product, rows_of
from vipnp.backends.cupy.residual import residual_backward, residual_forward
from vipnp.core import Array, Pullback2, Pullback3
from vipnp.ops import linear, linear_no_bias, patch_embed


def linear_rows(
    xp: HasPrecision, x: Array, weight: Array, bias: Array | None
) -> tuple[Array, Callable[[Array], tuple[Array, Array, Array | None]]]:
    """y = x weight^T + bias on rows (M, C), in the dtype of x. Saves: the operands of the product."""
    dtype, weight_dtype = dtype_name(x), dtype_name(weight)
    check_shape("weight", weight, weight.shape[0], x.shape[1])
    if bias is not None:
        check_parameter("bias", bias, x, weight.shape[0])
    x_operand = operand(xp, x)
    weight_operand = convert(rows_of(weight), dtype_name(x_operand))
    y = product(xp, x_operand, weight_operand, transpose_b=True, dtype=dtype)
    if bias is not None:
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
    check_shape("weight", weight, K, C, P, Q)
    check_parameter("bias", bias, x, K)
    h, w = height // P, width // Q
    check_shape("x", x, B, C, h * P, w * Q)
    gathered = cupy.permute_dims(x.reshape(B, C, h, P, w, Q), (0, 2, 4, 1, 3, 5))
    patches = operand(xp, cupy.ascontiguousarray(gathered).reshape(B * h * w, C * P * Q))
    y, linear_back = linear_rows(xp, patches, weight.reshape(K, C * P * Q), bias)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dpatches, dweight, dbias = linear_back(dy)
        dpatches = convert(dpatches, dtype_name(x)).reshape(B, h, w, C, P, Q)
        dx = cupy.ascontiguousarray(cupy.permute_dims(dpatches, (0, 3, 1, 4, 2, 5)))
        return dx.reshape(B, C, height, width), dweight.reshape(K, C, P, Q), dbias

    return y.reshape(B, h, w, K), pullback
