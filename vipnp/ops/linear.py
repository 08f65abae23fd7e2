"""Linear layer with bias."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback3
from vipnp.ops.linear_no_bias import linear_no_bias


def linear(xp: Backend, x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback3]:
    """y = x weight^T + bias, over the last axis.

    x (*, C); weight (K, C); bias (K,); y (*, K).

    y is the product of `linear_no_bias` with a bias at every row. With the leading axes of x flattened to M rows,
        dx = dy weight,  dweight = dy^T x                   as derived there
        dbias_k = sum_m dy_mk      dbias = sum(dy) over the rows

    Saves: x (*, C), weight (K, C).
    Source: Goodfellow, Bengio, Courville, "Deep Learning", section 6.5.6.
    """
    product, product_back = linear_no_bias(xp, x, weight)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dx, dweight = product_back(dy)
        return dx, dweight, xp.sum_rows(dy)

    return product + bias, pullback
