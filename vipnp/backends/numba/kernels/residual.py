"""The residual with the bias before it, and the sums over tokens that are gradients of such biases."""

from __future__ import annotations

import numpy as np

from vipnp.backends.numba.kernels.compiler import kernel
from vipnp.core import HostArray


@kernel
def residual(x: HostArray, branch: HostArray, branch_bias: HostArray, scale: HostArray, y: HostArray) -> None:
    """y = x + branch + scale[b] * branch_bias.

    x, branch (B, H, W, C), the branch scaled already; branch_bias (C,); scale (B,); out: y (B, H, W, C).
    Fuses the bias of fc2, drop path and the residual.
    """
    B, H, W, C = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    y[b, h, w, c] = x[b, h, w, c] + branch[b, h, w, c] + scale[b] * branch_bias[c]


@kernel
def token_sums(x: HostArray, sums: HostArray) -> None:
    """sums[b, c] = sum_hw x[b, h, w, c].

    x (B, H, W, C); out: sums (B, C).
    """
    B, H, W, C = x.shape
    row = np.empty(C, x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for c in range(C):
                    row[c] += x[b, h, w, c]
            for c in range(C):
                sums[b, c] += row[c]
