"""Linear layer with bias."""

from __future__ import annotations

import math

from vipnp.core import Array, Backend, Pullback3


def linear(xp: Backend, x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback3]:
    """y = x weight^T + bias, over the last axis.

    x (*, C); weight (K, C); bias (K,); y (*, K).

    With the leading axes of x flattened to M rows, y_mk = sum_c x_mc weight_kc + bias_k, so that
    sum(dy * y) has the derivatives
        dx_mc      = sum_k dy_mk weight_kc      dx = dy weight
        dweight_kc = sum_m dy_mk x_mc           dweight = dy^T x
        dbias_k    = sum_m dy_mk                dbias = sum(dy) over the rows

    Saves: x (*, C), weight (K, C).
    Source: Goodfellow, Bengio, Courville, "Deep Learning", section 6.5.6.
    """
    features, channels = weight.shape
    leading = x.shape[:-1]
    rows = xp.reshape(x, (math.prod(leading), channels))
    y = xp.matmul(rows, weight.T) + bias

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dy_rows = xp.reshape(dy, (math.prod(leading), features))
        dx = xp.reshape(xp.matmul(dy_rows, weight), (*leading, channels))
        return dx, xp.matmul(dy_rows.T, rows), xp.sum_rows(dy_rows)

    return xp.reshape(y, (*leading, features)), pullback
