"""Permute-MLP, weighted: split attention over the branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from vipnp.core import Array, Backend
from vipnp.layers.branches import BRANCHES, STANDARD_BRANCHES, BranchKind, BranchParams
from vipnp.layers.masks import Mask, masked
from vipnp.layers.mlp import LinearParams, MLPParams, mlp
from vipnp.ops import dropout, global_average_pool, linear, split_attention


class WeightedPermuteMLPParams(TypedDict):
    """mlp_c, mlp_h, mlp_w: weight of the branch in that place (layers/branches.py); reweight: fc1 weight (C/4, C), bias
    (C/4,), fc2 weight (3C, C/4), bias (3C,); proj: weight (C, C), bias (C,)."""

    mlp_c: BranchParams
    mlp_h: BranchParams
    mlp_w: BranchParams
    reweight: MLPParams
    proj: LinearParams


def weighted_permute_mlp(
    xp: Backend,
    x: Array,
    params: WeightedPermuteMLPParams,
    *,
    segments: int,
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    mask: Mask | None = None,
) -> tuple[Array, Callable[[Array], tuple[Array, WeightedPermuteMLPParams]]]:
    """y = proj(a_h * h + a_w * w + a_c * c), the branches h, w, c of x, with dropout after the projection.

    x, y (B, H, W, C). The weights a are the softmax over the branches of logits (B, C, 3), the output (B, 3C) of the
    MLP `reweight` on the spatial mean of h + w + c; its row 3*channel + branch, branches in the order h, w, c.
    `branches` says which kind stands in the places mlp_h, mlp_w, mlp_c; the paper's ablation puts "channel" in the
    place of "height" or "width".

    A branch reaches y twice, through the weighted sum and through the pooled mean, so it receives the sum of both
    gradients; the one through the mean is the same for all three.
    Source: Hou et al., arXiv 2106.12368, section 3.2 (Weighted Permute-MLP), with the split attention of Zhang et al.,
    arXiv 2004.08955.
    """
    B, _, _, C = x.shape
    kind_h, kind_w, kind_c = branches
    h, h_back = xp.run(BRANCHES[kind_h], x, params["mlp_h"], segments=segments)
    w, w_back = xp.run(BRANCHES[kind_w], x, params["mlp_w"], segments=segments)
    c, c_back = xp.run(BRANCHES[kind_c], x, params["mlp_c"], segments=segments)
    a, pool_back = xp.run(global_average_pool, h + w + c)
    a, reweight_back = xp.run(mlp, a, params["reweight"])
    a, attention_back = xp.run(split_attention, xp.reshape(a, (B, C, 3)), h, w, c)
    a, proj_back = xp.run(linear, a, **params["proj"])
    y, mask_back = masked(xp, dropout, a, mask)

    def pullback(dy: Array) -> tuple[Array, WeightedPermuteMLPParams]:
        (da,) = mask_back(dy)
        da, dweight, dbias = proj_back(da)
        dlogits, dh, dw, dc = attention_back(da)
        dpooled, dreweight = reweight_back(xp.reshape(dlogits, (B, 3 * C)))
        (dsum,) = pool_back(dpooled)
        dx_h, dparams_h = h_back(dh + dsum)
        dx_w, dparams_w = w_back(dw + dsum)
        dx_c, dparams_c = c_back(dc + dsum)
        return dx_h + dx_w + dx_c, {
            "mlp_c": dparams_c,
            "mlp_h": dparams_h,
            "mlp_w": dparams_w,
            "reweight": dreweight,
            "proj": {"weight": dweight, "bias": dbias},
        }

    return y, pullback
