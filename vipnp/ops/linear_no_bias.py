"""Linear layer without bias."""

from __future__ import annotations

import math

from vipnp.core import Array, Backend, Pullback2


def linear_no_bias(xp: Backend, x: Array, weight: Array) -> tuple[Array, Pullback2]:
    """y = x weight^T, over the last axis.

    x (*, C); weight (K, C); y (*, K).

    With the leading axes of x flattened to M rows, y_mk = sum_c x_mc weight_kc, so that sum(dy * y) has the derivatives
        dx_mc      = sum_k dy_mk weight_kc      dx = dy weight
        dweight_kc = sum_m dy_mk x_mc           dweight = dy^T x

    Saves: x (*, C), weight (K, C).
    Source: Goodfellow, Bengio, Courville, "Deep Learning", section 6.5.6.
    """
    features, channels = weight.shape
    leading = x.shape[:-1]
    rows = xp.reshape(x, (math.prod(leading), channels))

    def pullback(dy: Array) -> tuple[Array, Array]:
        dy_rows = xp.reshape(dy, (math.prod(leading), features))
        dx = xp.reshape(xp.matmul(dy_rows, weight), (*leading, channels))
        return dx, xp.matmul(dy_rows.T, rows)

    return xp.reshape(xp.matmul(rows, weight.T), (*leading, features)), pullback
