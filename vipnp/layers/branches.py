"""The branches of a Permute-MLP: linear along the height, the width and the channels, and, for comparison, what other
models of this family mix: the whole plane, and shifted channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from vipnp.core import Array, Backend
from vipnp.ops import linear_no_bias, permute_height, permute_width, shift


class BranchParams(TypedDict):
    """weight: (H*S, H*S) along the height, (W*S, W*S) along the width, (H*W, H*W) over the plane, else (C, C)."""

    weight: Array


BranchKind: TypeAlias = Literal["height", "width", "channel", "plane", "point", "axial_height", "axial_width"]
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


def plane_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, g, v, c] = sum_hw x[b, h, w, c] * weight[g*W + v, h*W + w].

    x, y (B, H, W, C): each channel is mixed over the whole plane by one matrix, the height branch of a single column of
    H*W tokens whose segments are the channels. The segments of the model play no part.
    Source: the token mixing of Tolstikhin et al., "MLP-Mixer", arXiv 2105.01601, equation 1, without its hidden layer.
    """
    B, H, W, C = x.shape
    a, column_back = xp.run(height_branch, xp.reshape(x, (B, H * W, 1, C)), params, segments=C)

    def pullback(dy: Array) -> tuple[Array, BranchParams]:
        dx, dparams = column_back(xp.reshape(dy, (B, H * W, 1, C)))
        return xp.reshape(dx, (B, H, W, C)), dparams

    return xp.reshape(a, (B, H, W, C)), pullback


Matrices: TypeAlias = list[list[list[float]]]


class Shift(NamedTuple):
    """How the quarters of the channels move: `offsets`, rows and columns of each. At the edge of the grid a token keeps
    its own where `clamped`; else zeros come in."""

    offsets: tuple[tuple[int, int], ...]
    clamped: bool


SHIFTS: Mapping[BranchKind, Shift] = MappingProxyType(
    {
        "point": Shift(((1, 0), (-1, 0), (0, 1), (0, -1)), clamped=True),
        "axial_height": Shift(((-2, 0), (-1, 0), (1, 0), (2, 0)), clamped=False),
        "axial_width": Shift(((0, -2), (0, -1), (0, 1), (0, 2)), clamped=False),
    }
)
"""The shift of each branch that has one. The axial ones leave the offset 0 to the channel branch beside them."""


def shift_matrices(kind: BranchKind, height: int, width: int) -> tuple[Matrices, Matrices]:
    """`rows` (4, height, height) and `columns` (4, width, width) of `vipnp.ops.shift`, as lists of numbers."""
    offsets, clamped = SHIFTS[kind]
    rows = [_moved(height, offset, clamped) for offset, _ in offsets]
    columns = [_moved(width, offset, clamped) for _, offset in offsets]
    return rows, columns


def _moved(length: int, offset: int, clamped: bool) -> list[list[float]]:
    """The matrix by which place i takes from place i - offset."""
    last = length - 1
    taken = [min(max(i - offset, 0), last) if clamped else i - offset for i in range(length)]
    return [[float(j == place) for j in range(length)] for place in taken]


def point_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, h, w, k] = sum_c a[b, h, w, c] * weight[k, c],  a = x with each quarter of its channels moved by one token.

    x, y (B, H, W, C): the quarters come from above, below, left and right; at the edge a token keeps its own.
    Source: Yu et al., "S2-MLP", arXiv 2106.07477, section 3.2.
    """
    return _shifted(xp, x, params, "point")


def axial_height_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, h, w, k] = sum_c a[b, h, w, c] * weight[k, c],  a = x with its quarters moved by -2, -1, 1, 2 rows.

    x, y (B, H, W, C): beyond the edge there are zeros.
    Source: Lian et al., "AS-MLP", arXiv 2107.08391, section 3.2.
    """
    return _shifted(xp, x, params, "axial_height")


def axial_width_branch(xp: Backend, x: Array, params: BranchParams, *, segments: int) -> tuple[Array, BranchPullback]:
    """y[b, h, w, k] = sum_c a[b, h, w, c] * weight[k, c],  a = x with its quarters moved by -2, -1, 1, 2 columns.

    x, y (B, H, W, C): beyond the edge there are zeros.
    Source: Lian et al., "AS-MLP", arXiv 2107.08391, section 3.2.
    """
    return _shifted(xp, x, params, "axial_width")


def _shifted(xp: Backend, x: Array, params: BranchParams, kind: BranchKind) -> tuple[Array, BranchPullback]:
    """Move the quarters of the channels as `kind` says, then mix the channels."""
    _, H, W, _ = x.shape
    rows, columns = (xp.asarray(matrices, dtype=x.dtype) for matrices in shift_matrices(kind, H, W))
    a, shift_back = xp.run(shift, x, rows=rows, columns=columns)
    y, linear_back = xp.run(linear_no_bias, a, **params)

    def pullback(dy: Array) -> tuple[Array, BranchParams]:
        da, dweight = linear_back(dy)
        (dx,) = shift_back(da)
        return dx, {"weight": dweight}

    return y, pullback


BRANCHES: Mapping[BranchKind, Callable[..., tuple[Array, BranchPullback]]] = MappingProxyType(
    {
        "height": height_branch,
        "width": width_branch,
        "channel": channel_branch,
        "plane": plane_branch,
        "point": point_branch,
        "axial_height": axial_height_branch,
        "axial_width": axial_width_branch,
    }
)
"""What may stand in each of the three places of a Permute-MLP."""

STANDARD_BRANCHES: tuple[BranchKind, BranchKind, BranchKind] = ("height", "width", "channel")
"""The branches of the published models, in the places mlp_h, mlp_w, mlp_c."""

MIXINGS: Mapping[str, tuple[BranchKind, BranchKind, BranchKind]] = MappingProxyType(
    {
        "plane": ("plane", "channel", "channel"),
        "line": STANDARD_BRANCHES,
        "axial": ("axial_height", "axial_width", "channel"),
        "point": ("point", "channel", "channel"),
    }
)
"""The branches by what a token takes from: all tokens (MLP-Mixer), its row and column (the published models), its
neighbours on both axes (AS-MLP), the four beside it (S2-MLP)."""
