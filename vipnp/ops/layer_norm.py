"""Layer normalisation over the channels."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback3


def layer_norm(xp: Backend, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, Pullback3]:
    """y = weight * xhat + bias,  xhat = (x - mean) * rstd,  rstd = 1/sqrt(var + eps),  over the last axis.

    x, y (*, C); weight, bias (C,). The variance is the biased one, mean((x - mean)^2). Where it overflows, rstd is 0
    and y = bias.

    With d = dy * weight, the gradient that reaches xhat: xhat depends on x_j directly, through the mean and through
    rstd, and d(rstd)/dx_j = -rstd^2 * xhat_j / C, so that
        dx      = rstd * (d - mean(d) - xhat * mean(d * xhat))
        dweight = sum(dy * xhat),  dbias = sum(dy)              over all leading axes

    Saves: xhat (*, C), rstd (*, 1), weight (C,).
    Source: Ba, Kiros, Hinton, "Layer Normalization", arXiv 1607.06450, equation 3.
    """
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    rstd = 1 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    xhat = centred * rstd

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        d = dy * weight
        mean_d = xp.mean(d, axis=-1, keepdims=True)
        mean_dxhat = xp.mean(d * xhat, axis=-1, keepdims=True)
        dx = rstd * (d - mean_d - xhat * mean_dxhat)
        return dx, xp.sum_rows(dy * xhat), xp.sum_rows(dy)

    return weight * xhat + bias, pullback
