"""The layers: `y, pullback = layer(xp, x, params, ...)`, `pullback(dy) -> dx, dparams`, dparams shaped like params.

Parameters are nested dicts whose joined path is the official PyTorch name. Layers reach ops and other layers through
`xp.run` alone, so that a backend can put a fused function in the place of any of them. Pullbacks up to the block can be
called again and give the same; those of `stage` and of the whole model are one-shot, because they free what they hold
as they go.
"""

from vipnp.layers.branches import (
    BRANCHES,
    MIXINGS,
    SHIFTS,
    STANDARD_BRANCHES,
    BranchKind,
    BranchParams,
    axial_height_branch,
    axial_width_branch,
    channel_branch,
    height_branch,
    plane_branch,
    point_branch,
    width_branch,
)
from vipnp.layers.downsample import DownsampleParams, PatchProjection, downsample
from vipnp.layers.masks import BlockMasks, Mask, masked
from vipnp.layers.mlp import LinearParams, MLPParams, mlp
from vipnp.layers.permutator import PERMUTE_MLPS, FusionKind, LayerNormParams, PermutatorParams, permutator
from vipnp.layers.permute_mlp import PermuteMLPParams, permute_mlp
from vipnp.layers.stage import stage
from vipnp.layers.weighted_permute_mlp import WeightedPermuteMLPParams, weighted_permute_mlp

__all__ = [
    "BRANCHES",
    "MIXINGS",
    "PERMUTE_MLPS",
    "SHIFTS",
    "STANDARD_BRANCHES",
    "BlockMasks",
    "BranchKind",
    "BranchParams",
    "DownsampleParams",
    "FusionKind",
    "LayerNormParams",
    "LinearParams",
    "MLPParams",
    "Mask",
    "PatchProjection",
    "PermutatorParams",
    "PermuteMLPParams",
    "WeightedPermuteMLPParams",
    "axial_height_branch",
    "axial_width_branch",
    "channel_branch",
    "downsample",
    "height_branch",
    "masked",
    "mlp",
    "permutator",
    "permute_mlp",
    "plane_branch",
    "point_branch",
    "stage",
    "weighted_permute_mlp",
    "width_branch",
]
