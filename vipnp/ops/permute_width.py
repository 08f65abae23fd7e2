"""Exchange the width with the segments of the channels."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def permute_width(xp: Backend, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """y[b, h, n, w*S + s] = x[b, h, w, n*S + s],  N = segments,  S = C/N.

    x (B, H, W, N*S); y (B, H, N, W*S): the rows of y hold a whole row of the image for one segment of channels, so a
    linear layer over the last axis of y mixes along the width.

    It is a permutation of the entries, so its transpose is its inverse; and exchanging W with N once more, with
    segments = W, puts every entry back:
        dx = permute_width(dy, segments=W)

    Saves: nothing.
    Source: Hou et al., "Vision Permutator", arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    B, H, W, C = x.shape
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        exchanged_back = xp.permute_dims(xp.reshape(dy, (B, H, N, W, S)), (0, 1, 3, 2, 4))
        return (xp.reshape(exchanged_back, (B, H, W, C)),)

    exchanged = xp.permute_dims(xp.reshape(x, (B, H, W, N, S)), (0, 1, 3, 2, 4))
    return xp.reshape(exchanged, (B, H, N, W * S), copy=True), pullback  # where a size is one it would be a view of x
