"""The channel MLP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from vipnp.core import Array, Backend
from vipnp.layers.masks import Mask, masked
from vipnp.ops import dropout, gelu, linear


class LinearParams(TypedDict):
    """weight (K, C), bias (K,)."""

    weight: Array
    bias: Array


class MLPParams(TypedDict):
    """fc1: weight (R*C, C), bias (R*C,); fc2: weight (K, R*C), bias (K,)."""

    fc1: LinearParams
    fc2: LinearParams


def mlp(
    xp: Backend, x: Array, params: MLPParams, *, hidden_mask: Mask | None = None, out_mask: Mask | None = None
) -> tuple[Array, Callable[[Array], tuple[Array, MLPParams]]]:
    """y = fc2(gelu(fc1(x))), along the channels of every token, with dropout after the GELU and after fc2.

    x (*, C); y (*, K): K = C in a block, 3C where it reweights the branches of a Permute-MLP.
    The backward pass runs the pullbacks in reverse order.
    Source: Hou et al., arXiv 2106.12368, equation 2 (Channel-MLP).
    """
    a, fc1_back = xp.run(linear, x, **params["fc1"])
    a, gelu_back = xp.run(gelu, a)
    a, hidden_back = masked(xp, dropout, a, hidden_mask)
    a, fc2_back = xp.run(linear, a, **params["fc2"])
    y, out_back = masked(xp, dropout, a, out_mask)

    def pullback(dy: Array) -> tuple[Array, MLPParams]:
        (da,) = out_back(dy)
        da, dweight2, dbias2 = fc2_back(da)
        (da,) = hidden_back(da)
        (da,) = gelu_back(da)
        dx, dweight1, dbias1 = fc1_back(da)
        return dx, {"fc1": {"weight": dweight1, "bias": dbias1}, "fc2": {"weight": dweight2, "bias": dbias2}}

    return y, pullback
