"""The Permutator block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict

from vipnp.core import Array, Backend
from vipnp.layers.branches import STANDARD_BRANCHES, BranchKind
from vipnp.layers.masks import BlockMasks, masked
from vipnp.layers.mlp import MLPParams, mlp
from vipnp.layers.permute_mlp import PermuteMLPParams, permute_mlp
from vipnp.layers.weighted_permute_mlp import WeightedPermuteMLPParams, weighted_permute_mlp
from vipnp.ops import drop_path, layer_norm, residual


class LayerNormParams(TypedDict):
    """weight, bias (C,)."""

    weight: Array
    bias: Array


class PermutatorParams(TypedDict):
    """norm1, norm2: LayerNormParams; attn: the parameters of the Permute-MLP; mlp: MLPParams."""

    norm1: LayerNormParams
    attn: PermuteMLPParams | WeightedPermuteMLPParams
    norm2: LayerNormParams
    mlp: MLPParams


FusionKind: TypeAlias = Literal["weighted", "sum"]

PERMUTE_MLPS: Mapping[FusionKind, Callable[..., tuple[Array, Any]]] = MappingProxyType(
    {"weighted": weighted_permute_mlp, "sum": permute_mlp}
)
"""How the branches are brought together: by split attention, or by their plain sum."""


def permutator(
    xp: Backend,
    x: Array,
    params: PermutatorParams,
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: BlockMasks = BlockMasks(),  # noqa: B008 - a NamedTuple of None is immutable
) -> tuple[Array, Callable[[Array], tuple[Array, PermutatorParams]]]:
    """z = x + drop_path(attn(norm1(x))) / skip_lam,  y = z + drop_path(mlp(norm2(z))) / skip_lam.

    x, z, y (B, H, W, C). attn is the Permute-MLP named by `fusion`.

    z reaches y directly and through its branch, so dz is the sum of both gradients; likewise dx.
    Source: Hou et al., arXiv 2106.12368, equations 1 and 2.
    """
    a, norm1_back = xp.run(layer_norm, x, **params["norm1"])
    a, attn_back = xp.run(
        PERMUTE_MLPS[fusion], a, params["attn"], segments=segments, branches=branches, mask=masks.proj
    )
    a, attn_path_back = masked(xp, drop_path, a, masks.attn_path)
    z, attn_residual_back = xp.run(residual, x, a, skip_lam)

    a, norm2_back = xp.run(layer_norm, z, **params["norm2"])
    a, mlp_back = xp.run(mlp, a, params["mlp"], hidden_mask=masks.hidden, out_mask=masks.out)
    a, mlp_path_back = masked(xp, drop_path, a, masks.mlp_path)
    y, mlp_residual_back = xp.run(residual, z, a, skip_lam)

    def pullback(dy: Array) -> tuple[Array, PermutatorParams]:
        dz_skip, da = mlp_residual_back(dy)
        (da,) = mlp_path_back(da)
        da, dmlp = mlp_back(da)
        dz_branch, dweight2, dbias2 = norm2_back(da)

        dx_skip, da = attn_residual_back(dz_skip + dz_branch)
        (da,) = attn_path_back(da)
        da, dattn = attn_back(da)
        dx_branch, dweight1, dbias1 = norm1_back(da)
        return dx_skip + dx_branch, {
            "norm1": {"weight": dweight1, "bias": dbias1},
            "attn": dattn,
            "norm2": {"weight": dweight2, "bias": dbias2},
            "mlp": dmlp,
        }

    return y, pullback
