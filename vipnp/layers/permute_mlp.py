"""Permute-MLP, plain: the sum of the branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from vipnp.core import Array, Backend
from vipnp.layers.branches import BRANCHES, STANDARD_BRANCHES, BranchKind, BranchParams
from vipnp.layers.masks import Mask, masked
from vipnp.layers.mlp import LinearParams
from vipnp.ops import dropout, linear


class PermuteMLPParams(TypedDict):
    """mlp_c, mlp_h, mlp_w: weight of the branch in that place (layers/branches.py); proj: weight (C, C), bias (C,)."""

    mlp_c: BranchParams
    mlp_h: BranchParams
    mlp_w: BranchParams
    proj: LinearParams


def permute_mlp(
    xp: Backend,
    x: Array,
    params: PermuteMLPParams,
    *,
    segments: int,
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    mask: Mask | None = None,
) -> tuple[Array, Callable[[Array], tuple[Array, PermuteMLPParams]]]:
    """y = proj(h + w + c), the branches h, w, c of x, with dropout after the projection.

    x, y (B, H, W, C). `branches` says which kind stands in the places mlp_h, mlp_w, mlp_c; the paper's ablation puts
    "channel" in the place of "height" or "width".

    Each branch receives the gradient d of the sum, and dx is the sum of what the three send back.
    Source: Hou et al., arXiv 2106.12368, section 3.2 and Algorithm 1.
    """
    kind_h, kind_w, kind_c = branches
    h, h_back = xp.run(BRANCHES[kind_h], x, params["mlp_h"], segments=segments)
    w, w_back = xp.run(BRANCHES[kind_w], x, params["mlp_w"], segments=segments)
    c, c_back = xp.run(BRANCHES[kind_c], x, params["mlp_c"], segments=segments)
    a, proj_back = xp.run(linear, h + w + c, **params["proj"])
    y, mask_back = masked(xp, dropout, a, mask)

    def pullback(dy: Array) -> tuple[Array, PermuteMLPParams]:
        (da,) = mask_back(dy)
        d, dweight, dbias = proj_back(da)
        dx_h, dparams_h = h_back(d)
        dx_w, dparams_w = w_back(d)
        dx_c, dparams_c = c_back(d)
        return dx_h + dx_w + dx_c, {
            "mlp_c": dparams_c,
            "mlp_h": dparams_h,
            "mlp_w": dparams_w,
            "proj": {"weight": dweight, "bias": dbias},
        }

    return y, pullback
