"""LayerNorm, with the permutations behind it and the residual before it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.backends.numba.kernels.compiler import inlined, kernel
from vipnp.core import HostArray


@inlined
def normalise_row(x: HostArray, weight: HostArray, bias: HostArray, eps: float, y: HostArray) -> tuple[float, float]:
    """(mean, rstd) of one token x (C,), the variance from the centred values; out: y (C,), its LayerNorm."""
    C = x.dtype.type(x.size)
    mean = x.dtype.type(0)
    for c in range(x.size):
        mean += x[c]
    mean /= C
    variance = x.dtype.type(0)
    for c in range(x.size):
        centred = x[c] - mean
        variance += centred * centred
    rstd = x.dtype.type(1) / np.sqrt(variance / C + x.dtype.type(eps))
    for c in range(x.size):
        y[c] = (x[c] - mean) * rstd * weight[c] + bias[c]
    return mean, rstd


@kernel
def layer_norm_permuted(
    x: HostArray,
    weight: HostArray,
    bias: HostArray,
    eps: float,
    segment: Any,
    y: HostArray,
    yh: HostArray,
    yw: HostArray,
    mean: HostArray,
    rstd: HostArray,
) -> None:
    """y = layer_norm(x, weight, bias, eps),  yh = permute_height(y),  yw = permute_width(y).

    x (B, H, W, C); weight, bias (C,); segment, anything of length S (a tuple's is known when the kernel is compiled,
    so that the loops along a segment unroll); out: y (B, H, W, N*S), yh (B, N, W, H*S), yw (B, H, N, W*S), mean, rstd
    (B, H, W).
    Fuses LayerNorm with the permutations of the height and the width branch. Each output is written from its first
    entry to its last, while what is read again, one sample of y, stays in the cache.
    """
    B, H, W, C = x.shape
    S = len(segment)
    N = C // S
    y_ = y.reshape((B, H, W, N, S))
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                m, r = normalise_row(x[b, h, w], weight, bias, eps, y[b, h, w])
                mean[b, h, w] = m
                rstd[b, h, w] = r
            for n in range(N):
                for w in range(W):
                    for s in range(S):
                        yw_[b, h, n, w, s] = y_[b, h, w, n, s]
        for n in range(N):
            for w in range(W):
                for h in range(H):
                    for s in range(S):
                        yh_[b, n, w, h, s] = y_[b, h, w, n, s]


@kernel
def residual_layer_norm(
    x: HostArray,
    branch: HostArray,
    branch_bias: HostArray,
    scale: HostArray,
    weight: HostArray,
    bias: HostArray,
    eps: float,
    z: HostArray,
    y: HostArray,
) -> None:
    """z = x + branch + scale[b] * branch_bias,  y = layer_norm(z, weight, bias, eps).

    x, branch (B, H, W, C), the branch scaled already; branch_bias, weight, bias (C,); scale (B,); out: z, y
    (B, H, W, C).
    Fuses the bias of the projection, drop path, the residual and norm2.
    """
    B, H, W, C = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    z[b, h, w, c] = x[b, h, w, c] + branch[b, h, w, c] + scale[b] * branch_bias[c]
                normalise_row(z[b, h, w], weight, bias, eps, y[b, h, w])


@kernel
def layer_norm(
    x: HostArray, weight: HostArray, bias: HostArray, eps: float, y: HostArray, mean: HostArray, rstd: HostArray
) -> None:
    """y = weight * xhat + bias,  xhat = (x - mean) * rstd.

    x (B, H, W, C); weight, bias (C,); out: y (B, H, W, C), mean, rstd (B, H, W).
    """
    B, H, W, _ = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                m, r = normalise_row(x[b, h, w], weight, bias, eps, y[b, h, w])
                mean[b, h, w] = m
                rstd[b, h, w] = r


@inlined
def row_backward(
    dy: HostArray, x: HostArray, m: float, r: float, weight: HostArray, skip: HostArray, dx: HostArray, sums: HostArray
) -> None:
    """One token of layer_norm_backward: dx (C,), and its share added to sums (2, C)."""
    zero = x.dtype.type(0)
    mean_d, mean_dxhat = zero, zero
    for c in range(x.size):
        xhat = (x[c] - m) * r
        sums[0, c] += dy[c] * xhat
        sums[1, c] += dy[c]
        d = dy[c] * weight[c]
        mean_d += d
        mean_dxhat += d * xhat
    mean_d /= x.dtype.type(x.size)
    mean_dxhat /= x.dtype.type(x.size)
    for c in range(x.size):
        xhat = (x[c] - m) * r
        dx[c] = skip[c] + r * (dy[c] * weight[c] - mean_d - xhat * mean_dxhat)


@kernel
def layer_norm_backward(
    dy: HostArray,
    x: HostArray,
    mean: HostArray,
    rstd: HostArray,
    weight: HostArray,
    skip: HostArray,
    dx: HostArray,
    sums: HostArray,
) -> None:
    """dx = skip + rstd * (d - mean(d) - xhat * mean(d * xhat)),  d = dy * weight,  xhat = (x - mean) * rstd.

    dy, x, skip (B, H, W, C), skip being the gradient that the residual hands on; mean, rstd (B, H, W); weight (C,);
    out: dx (B, H, W, C), sums (B, 2, C) = sum over the tokens of dy * xhat and of dy, the gradients of weight and bias.
    Fuses the LayerNorm pullback with the sum at the residual.
    """
    B, H, W, C = x.shape
    row = np.empty((2, C), x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                row_backward(
                    dy[b, h, w], x[b, h, w], mean[b, h, w], rstd[b, h, w], weight, skip[b, h, w], dx[b, h, w], row
                )
            for k in range(2):
                for c in range(C):
                    sums[b, k, c] += row[k, c]


@kernel
def layer_norm_permuted_backward(
    dy: HostArray,
    dyh: HostArray,
    dyw: HostArray,
    x: HostArray,
    mean: HostArray,
    rstd: HostArray,
    weight: HostArray,
    skip: HostArray,
    segment: Any,
    dx: HostArray,
    sums: HostArray,
) -> None:
    """layer_norm_backward of dy + permute_height's pullback of dyh + permute_width's pullback of dyw.

    dy (B, H, W, N*S); dyh (B, N, W, H*S); dyw (B, H, N, W*S); the others as there. The sum of the three replaces dy.
    Fuses the permutations back, the sum over the branches and layer_norm_backward.
    """
    B, H, W, C = x.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    dyh_ = dyh.reshape((B, N, W, H, S))
    dyw_ = dyw.reshape((B, H, N, W, S))
    row = np.empty((2, C), x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        dy_[b, h, w, n, s] += dyh_[b, n, w, h, s] + dyw_[b, h, n, w, s]
                row_backward(
                    dy[b, h, w], x[b, h, w], mean[b, h, w], rstd[b, h, w], weight, skip[b, h, w], dx[b, h, w], row
                )
            for k in range(2):
                for c in range(C):
                    sums[b, k, c] += row[k, c]
