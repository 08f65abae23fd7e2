"""The three branches of a Permute-MLP: linear along the height, the width and the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, TypedDict

from vipnp.core import Array, Backend
from vipnp.ops import linear_no_bias, permute_height, permute_width


class BranchParams(TypedDict):
    """weight: (H*S, H*S) along the height, (W*S, W*S) along the width, (C, C) along the channels."""

    weight: Array


BranchKind: TypeAlias = Literal["height", "width", "channel"]
BranchPullback: TypeAlias = Callable[[Array], tuple[Array, BranchParams]]


def height_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, g, w, n*S + t] = sum_hs x[b, h, w, n*S + s] * weight[g*S + t, h*S + s],  N = segments,  S = C/N.

    x, y (B, H, W, C): each column of the image is mixed along its height, one segment of channels at a time.
    Permute, linear, and permute back; the permutation with segments = H undoes the one with segments = N.
    Source: Hou et al., arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    _, H, _, _ = x.shape
    a, permute_back = xp.run(permute_height, x, segments)
    a, linear_back = xp.run(linear_no_bias, a, **params)
    y, restore_back = xp.run(permute_height, a, H)

    def pullback(dy: Array) -> tuple[Array, BranchParams]:
        (da,) = restore_back(dy)
        da, dweight = linear_back(da)
        (dx,) = permute_back(da)
        return dx, {"weight": dweight}

    return y, pullback


def width_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, h, v, n*S + t] = sum_ws x[b, h, w, n*S + s] * weight[v*S + t, w*S + s],  N = segments,  S = C/N.

    x, y (B, H, W, C): each row of the image is mixed along its width, one segment of channels at a time.
    Permute, linear, and permute back; the permutation with segments = W undoes the one with segments = N.
    Source: Hou et al., arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    _, _, W, _ = x.shape
    a, permute_back = xp.run(permute_width, x, segments)
    a, linear_back = xp.run(linear_no_bias, a, **params)
    y, restore_back = xp.run(permute_width, a, W)

    def pullback(dy: Array) -> tuple[Array, BranchParams]:
        (da,) = restore_back(dy)
        da, dweight = linear_back(da)
        (dx,) = permute_back(da)
        return dx, {"weight": dweight}

    return y, pullback


def channel_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, h, w, k] = sum_c x[b, h, w, c] * weight[k, c].

    x, y (B, H, W, C): each token is mixed along its channels. The segments play no part here; the three branches share
    one signature so that one can stand in another's place.
    Source: Hou et al., arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    y, linear_back = xp.run(linear_no_bias, x, **params)

    def pullback(dy: Array) -> tuple[Array, BranchParams]:
        dx, dweight = linear_back(dy)
        return dx, {"weight": dweight}

    return y, pullback


BRANCHES: Mapping[BranchKind, Callable[..., tuple[Array, BranchPullback]]] = MappingProxyType(
    {"height": height_branch, "width": width_branch, "channel": channel_branch}
)
"""What may stand in each of the three places of a Permute-MLP."""

STANDARD_BRANCHES: tuple[BranchKind, BranchKind, BranchKind] = ("height", "width", "channel")
"""The branches of the published models, in the places mlp_h, mlp_w, mlp_c."""
