"""Patch embedding: a convolution whose stride is its kernel."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback3
from vipnp.ops.linear import linear


def patch_embed(xp: Backend, x: Array, weight: Array, bias: Array) -> tuple[Array, Pullback3]:
    """y[b,i,j,k] = sum_cpq x[b, c, i*P + p, j*Q + q] * weight[k,c,p,q] + bias[k].

    x (B, C, h*P, w*Q) channels first; weight (K, C, P, Q); bias (K,); y (B, h, w, K) channels last.

    The patches do not overlap, so each is a row of C*P*Q numbers in (channel, row, column) order, and the convolution
    is `linear` on these rows, with the weight as a matrix (K, C*P*Q): dweight is that matrix's gradient in the shape of
    the weight, and dx is dpatches with every number put back where it was taken from.

    Saves: patches (B, h, w, C*P*Q), weight (K, C, P, Q).
    Source: Hou et al., arXiv 2106.12368, section 3.1.
    """
    B, C, height, width = x.shape
    K, _, P, Q = weight.shape
    h, w = height // P, width // Q
    gathered = xp.permute_dims(xp.reshape(x, (B, C, h, P, w, Q)), (0, 2, 4, 1, 3, 5))
    patches = xp.reshape(gathered, (B, h, w, C * P * Q))
    y, linear_back = linear(xp, patches, xp.reshape(weight, (K, C * P * Q)), bias)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dpatches, dmatrix, dbias = linear_back(dy)
        dgathered = xp.reshape(dpatches, (B, h, w, C, P, Q))
        dx = xp.reshape(xp.permute_dims(dgathered, (0, 3, 1, 4, 2, 5)), (B, C, height, width))
        return dx, xp.reshape(dmatrix, (K, C, P, Q)), dbias

    return y, pullback
