"""Move groups of channels over the grid."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def shift(xp: Backend, x: Array, *, rows: Array, columns: Array) -> tuple[Array, Pullback1]:
    """y[b, g, v, n*S + s] = sum_hw rows[n, g, h] columns[n, v, w] x[b, h, w, n*S + s],  S = C/N.

    x (B, H, W, C), y (B, G, V, C); rows (N, G, H), columns (N, V, W), constants: for each of N groups of channels, from
    which row and which column a token takes. A row of zeros takes nothing, the identity stays where it is.

    Each group is linear in x, y_n = rows_n x_n columns_n^T, so that
        dx_n = rows_n^T dy_n columns_n

    Saves: rows (N, G, H), columns (N, V, W).
    Source: Yu et al., "S2-MLP", arXiv 2106.07477, section 3.2; Lian et al., "AS-MLP", arXiv 2107.08391, section 3.2.
    """
    B, H, W, C = x.shape
    N, G, _ = rows.shape
    _, V, _ = columns.shape
    S = C // N

    def pullback(dy: Array) -> tuple[Array]:
        da = xp.reshape(xp.permute_dims(xp.reshape(dy, (B, G, V, N, S)), (3, 1, 2, 0, 4)), (N, G, V * B * S))
        da = xp.matmul(xp.permute_dims(rows, (0, 2, 1)), da)
        da = xp.reshape(xp.permute_dims(xp.reshape(da, (N, H, V, B, S)), (0, 2, 1, 3, 4)), (N, V, H * B * S))
        da = xp.matmul(xp.permute_dims(columns, (0, 2, 1)), da)
        return (xp.reshape(xp.permute_dims(xp.reshape(da, (N, W, H, B, S)), (3, 2, 1, 0, 4)), (B, H, W, C)),)

    a = xp.reshape(xp.permute_dims(xp.reshape(x, (B, H, W, N, S)), (3, 1, 2, 0, 4)), (N, H, W * B * S))
    a = xp.matmul(rows, a)
    a = xp.reshape(xp.permute_dims(xp.reshape(a, (N, G, W, B, S)), (0, 2, 1, 3, 4)), (N, W, G * B * S))
    a = xp.matmul(columns, a)
    return xp.reshape(xp.permute_dims(xp.reshape(a, (N, V, G, B, S)), (3, 2, 1, 0, 4)), (B, G, V, C)), pullback
