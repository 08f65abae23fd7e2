"""Global average pooling."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def global_average_pool(xp: Backend, x: Array) -> tuple[Array, Pullback1]:
    """y[b,c] = mean_hw x[b,h,w,c].

    x (B, H, W, C); y (B, C).

    Each of the H*W tokens has the weight 1/(H*W):
        dx[b,h,w,c] = dy[b,c] / (H*W)

    Saves: nothing.
    Source: Lin, Chen, Yan, "Network In Network", arXiv 1312.4400, section 3.2.
    """
    B, H, W, C = x.shape

    def pullback(dy: Array) -> tuple[Array]:
        return (xp.broadcast_to(dy[:, None, None, :] / (H * W), (B, H, W, C)),)

    return xp.mean(xp.mean(x, axis=2), axis=1), pullback
