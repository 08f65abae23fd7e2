"""Cases of the layers and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from vipnp import layers
from vipnp.audit.cases.case import Case, Draw, Inputs
from vipnp.audit.cases.values import (
    AXIAL_GRID,
    GRID,
    GRID_RANGES,
    block_masks,
    entry_mask,
    grid_input,
    normal,
    one_stage,
    random_weight,
    subtree,
    tensors,
)
from vipnp.core import Generator

_WEIGHTED_RANGES = {**GRID_RANGES, "S": (4, 4)}


def _mlp(masks: bool) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        params = tensors(rng, subtree(one_stage(s, fusion="sum"), "network.0.0.mlp."))
        x = grid_input(rng, s)
        hidden = (*x.shape[:3], 2 * x.shape[3])
        kwargs = {"hidden_mask": entry_mask(rng, hidden, 0.3), "out_mask": entry_mask(rng, x.shape, 0.2)}
        return (x, params), kwargs if masks else {}

    return draw


def _branch(place: str, **options: Any) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        params = tensors(rng, subtree(one_stage(s, fusion="sum", **options), f"network.0.0.attn.{place}."))
        return (grid_input(rng, s), params), {"segments": s["N"]}

    return draw


def _permute_mlp(prefix: str, masks: bool, **options: Any) -> Draw:
    """Inputs of a Permute-MLP (prefix "attn.") or of a whole block (prefix "")."""

    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = one_stage(s, **options)
        params = tensors(rng, subtree(config, f"network.0.0.{prefix}"))
        x = grid_input(rng, s)
        kwargs: dict[str, Any] = {"segments": s["N"]}
        if "branches" in options:
            kwargs["branches"] = config.branches
        if prefix:
            return (x, params), {**kwargs, "mask": entry_mask(rng, x.shape, 0.2)} if masks else kwargs
        if "fusion" in options:
            kwargs["fusion"] = config.fusion
        if "skip_lam" in options:
            kwargs["skip_lam"] = config.skip_lam
        return (x, params), {**kwargs, "masks": block_masks(rng, s, config)} if masks else kwargs

    return draw


def _stage(masks: bool, **options: Any) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = one_stage(s, depth=2, **options)
        params = tensors(rng, subtree(config, "network.0."))
        kwargs: dict[str, Any] = {"segments": s["N"]}
        if masks:
            kwargs["masks"] = [block_masks(rng, s, config) for _ in range(2)]
        return (grid_input(rng, s), params), {**kwargs, **options}

    return draw


def _downsample(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = normal(rng, s["B"], s["H"] * s["P"], s["W"] * s["P"], s["C"])
    weight = random_weight(rng, s["K"], s["C"], s["P"], s["P"])
    return (x, {"proj": {"weight": weight, "bias": normal(rng, s["K"])}}), {}


def layer_cases() -> list[Case]:
    """Every layer, then blocks and stages."""
    grid, ranges, weighted = GRID, GRID_RANGES, _WEIGHTED_RANGES
    down = {"B": 6, "H": 1, "W": 3, "C": 4, "K": 5, "P": 2}
    down_ranges = {"B": (2, 3), "H": (1, 3), "W": (1, 3), "C": (1, 4), "K": (1, 4), "P": (1, 2)}
    wide, axial = {**grid, "H": 5, "W": 7}, weighted | AXIAL_GRID
    of_sum = ranges | {"N": (2, 4), "S": (2, 4)}  # a LayerNorm of very few channels is ill-conditioned
    mlp, permute_mlp, weighted_mlp = layers.mlp, layers.permute_mlp, layers.weighted_permute_mlp
    layer, branch, block = (
        partial(Case, kind="layer"),
        partial(Case, kind="layer", linear=True),
        partial(Case, kind="block"),
    )
    ablated = {"branches": ("channel", "width", "channel")}
    return [
        layer(mlp, _mlp(masks=False), grid, ranges),
        layer(mlp, _mlp(masks=True), grid, ranges, "dropout"),
        branch(layers.height_branch, _branch("mlp_h"), grid, ranges),
        branch(layers.width_branch, _branch("mlp_w"), grid, ranges),
        branch(layers.channel_branch, _branch("mlp_c"), grid, ranges),
        branch(layers.plane_branch, _branch("mlp_h", branches="plane"), grid, ranges),
        branch(layers.point_branch, _branch("mlp_h", branches="point"), grid, weighted),
        branch(layers.axial_height_branch, _branch("mlp_h", branches="axial"), wide, axial),
        branch(layers.axial_width_branch, _branch("mlp_w", branches="axial"), wide, axial),
        layer(permute_mlp, _permute_mlp("attn.", masks=False, fusion="sum"), grid, ranges),
        layer(permute_mlp, _permute_mlp("attn.", masks=True, fusion="sum", **ablated), grid, ranges, "ablated"),
        layer(weighted_mlp, _permute_mlp("attn.", masks=False), grid, weighted),
        layer(weighted_mlp, _permute_mlp("attn.", masks=True, **ablated), grid, weighted, "ablated"),
        branch(layers.downsample, _downsample, down, down_ranges),
        block(layers.permutator, _permute_mlp("", masks=False), grid, weighted),
        block(layers.permutator, _permute_mlp("", masks=True, skip_lam=2.0), grid, weighted, "masks"),
        block(
            layers.permutator, _permute_mlp("", masks=True, fusion="sum", skip_lam=2.0, **ablated), grid, of_sum, "sum"
        ),
        block(layers.stage, _stage(masks=False), grid, weighted, one_shot=True),
        block(layers.stage, _stage(masks=True, skip_lam=2.0), grid, weighted, "masks", one_shot=True),
    ]
