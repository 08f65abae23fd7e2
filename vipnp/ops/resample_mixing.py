"""Carry a mixing matrix over to another grid."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def resample_mixing(xp: Backend, weight: Array, *, spread: Array, gather: Array) -> tuple[Array, Pullback1]:
    """y[h, t, k, s] = sum_ij spread[h, i] weight[i, t, j, s] gather[j, k].

    weight (G*S, G*S), seen as (G, S, G, S): the matrix that mixes the G places of a column (or row) and its S channels;
    spread (H, G), gather (G, H), constants; y (H*S, H*S), seen as (H, S, H, S).

    The new matrix first gathers H places into the G that `weight` knows, mixes these, and spreads the result over the H
    places. For each t and s, y_ts = spread weight_ts gather is linear in weight, so that
        dweight_ts = spread^T dy_ts gather^T

    Saves: spread (H, G), gather (G, H).
    Source: vipnp's own, after the resizing of position embeddings in Dosovitskiy et al., "An Image is Worth 16x16
    Words", arXiv 2010.11929, section 3.2.
    """
    H, G = spread.shape
    size, _ = weight.shape
    S = size // G

    def pullback(dy: Array) -> tuple[Array]:
        dy_rows = xp.reshape(xp.permute_dims(xp.reshape(dy, (H * S, H, S)), (0, 2, 1)), (H * S * S, H))
        scattered = xp.reshape(xp.matmul(dy_rows, gather.T), (H * S, S, G))
        columns = xp.reshape(xp.permute_dims(scattered, (0, 2, 1)), (H, S * G * S))
        return (xp.reshape(xp.matmul(spread.T, columns), (G * S, G * S)),)

    spread_out = xp.reshape(xp.matmul(spread, xp.reshape(weight, (G, S * G * S))), (H * S, G, S))
    rows = xp.reshape(xp.permute_dims(spread_out, (0, 2, 1)), (H * S * S, G))
    mixed = xp.reshape(xp.matmul(rows, gather), (H * S, S, H))
    return xp.reshape(xp.permute_dims(mixed, (0, 2, 1)), (H * S, H * S)), pullback
