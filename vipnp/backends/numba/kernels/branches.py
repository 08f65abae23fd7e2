"""Split attention over branches that stand permuted."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.backends.numba.kernels.compiler import kernel
from vipnp.core import HostArray


@kernel
def branch_means(yh: HostArray, yw: HostArray, yc: HostArray, segment: Any, means: HostArray) -> None:
    """means[b, c] = mean_hw (h + w + c)[b, h, w, c], the branches h and w read from yh and yw.

    yh (B, N, W, H*S); yw (B, H, N, W*S); yc (B, H, W, N*S); out: means (B, C).
    Fuses the permutations back, the sum over the branches and the pooling.
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    tokens = yc.dtype.type(H * W)
    row = np.empty(C, yc.dtype)
    along = np.empty(max(H, W) * S, yc.dtype)
    for b in range(B):
        means[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for c in range(C):
                    row[c] += yc[b, h, w, c]
            for c in range(C):
                means[b, c] += row[c]
        for n in range(N):
            along[:] = 0
            for h in range(H):
                for i in range(W * S):
                    along[i] += yw[b, h, n, i]
            for w in range(W):
                for s in range(S):
                    means[b, n * S + s] += along[w * S + s]
            along[:] = 0
            for w in range(W):
                for i in range(H * S):
                    along[i] += yh[b, n, w, i]
            for h in range(H):
                for s in range(S):
                    means[b, n * S + s] += along[h * S + s]
        for c in range(C):
            means[b, c] /= tokens


@kernel
def weighted_sum(yh: HostArray, yw: HostArray, yc: HostArray, a: HostArray, segment: Any, y: HostArray) -> None:
    """y = a_h * h + a_w * w + a_c * c, the branches h and w read from yh and yw.

    yh (B, N, W, H*S); yw (B, H, N, W*S); yc (B, H, W, N*S); a (B, 3, C), in the order h, w, c; out: y (B, H, W, C).
    Fuses the permutations back and the weighted sum of split attention.
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    yc_ = yc.reshape((B, H, W, N, S))
    a_ = a.reshape((B, 3, N, S))
    y_ = y.reshape((B, H, W, N, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        y_[b, h, w, n, s] = (
                            a_[b, 0, n, s] * yh_[b, n, w, h, s]
                            + a_[b, 1, n, s] * yw_[b, h, n, w, s]
                            + a_[b, 2, n, s] * yc_[b, h, w, n, s]
                        )


@kernel
def weighted_sum_da(dy: HostArray, yh: HostArray, yw: HostArray, yc: HostArray, segment: Any, da: HostArray) -> None:
    """da[b, k, c] = sum_hw dy[b, h, w, c] * x_k[b, h, w, c], the branches x_k being h, w, c.

    dy (B, H, W, C); yh, yw, yc as in weighted_sum; out: da (B, 3, C).
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    yc_ = yc.reshape((B, H, W, N, S))
    row = np.empty((3, N, S), yc.dtype)
    row_flat = row.reshape((3, C))
    for b in range(B):
        da[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        d = dy_[b, h, w, n, s]
                        row[0, n, s] += d * yh_[b, n, w, h, s]
                        row[1, n, s] += d * yw_[b, h, n, w, s]
                        row[2, n, s] += d * yc_[b, h, w, n, s]
            for k in range(3):
                for c in range(C):
                    da[b, k, c] += row_flat[k, c]


@kernel
def weighted_sum_backward(
    dy: HostArray,
    a: HostArray,
    dmean: HostArray,
    segment: Any,
    dyh: HostArray,
    dyw: HostArray,
    dyc: HostArray,
) -> None:
    """dx_k = dy * a_k + dmean: what reaches branch k through the weighted sum and through the pooled mean.

    dy (B, H, W, C); a (B, 3, C); dmean (B, C), the gradient of the mean over the tokens divided by their number; out:
    dyh (B, N, W, H*S), dyw (B, H, N, W*S), dyc (B, H, W, N*S).
    Fuses split attention's pullback, the pooling's, and the permutations to the rows of the branches. Each output is
    written from its first entry to its last, while what is read again, one sample of dy, stays in the cache.
    """
    B, H, W, C = dy.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    a_ = a.reshape((B, 3, N, S))
    dmean_ = dmean.reshape((B, N, S))
    dyh_ = dyh.reshape((B, N, W, H, S))
    dyw_ = dyw.reshape((B, H, N, W, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    dyc[b, h, w, c] = dy[b, h, w, c] * a[b, 2, c] + dmean[b, c]
            for n in range(N):
                for w in range(W):
                    for s in range(S):
                        dyw_[b, h, n, w, s] = dy_[b, h, w, n, s] * a_[b, 1, n, s] + dmean_[b, n, s]
        for n in range(N):
            for w in range(W):
                for h in range(H):
                    for s in range(S):
                        dyh_[b, n, w, h, s] = dy_[b, h, w, n, s] * a_[b, 0, n, s] + dmean_[b, n, s]
