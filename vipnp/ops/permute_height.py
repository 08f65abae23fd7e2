"""Exchange the height with the segments of the channels."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def permute_height(xp: Backend, x: Array, segments: int) -> tuple[Array, Pullback1]:
    """y[b, n, w, h*S + s] = x[b, h, w, n*S + s],  N = segments,  S = C/N.

    x (B, H, W, N*S); y (B, N, W, H*S): the rows of y hold a whole column of the image for one segment of channels, so a
    linear layer over the last axis of y mixes along the height.

    It is a permutation of the entries, so its transpose is its inverse; and exchanging H with N once more, with
    segments = H, puts every entry back:
        dx = permute_height(dy, segments=H)

    Saves: nothing.
    Source: Hou et al., "Vision Permutator", arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    B, H, W, C = x.shape
    N, S = segments, C // segments

    def pullback(dy: Array) -> tuple[Array]:
        exchanged_back = xp.permute_dims(xp.reshape(dy, (B, N, W, H, S)), (0, 3, 2, 1, 4))
        return (xp.reshape(exchanged_back, (B, H, W, C)),)

    exchanged = xp.permute_dims(xp.reshape(x, (B, H, W, N, S)), (0, 3, 2, 1, 4))
    return xp.reshape(exchanged, (B, N, W, H * S), copy=True), pullback  # where a size is one it would be a view of x
