"""Random values, masks and parameters that the inputs of the cases are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp.core import Generator, HostArray
from vipnp.layers import BlockMasks, Mask
from vipnp.models import ViPConfig, parameter_shapes, unflatten

GRID = {"B": 6, "H": 2, "W": 5, "N": 3, "S": 4}
GRID_RANGES = {"B": (2, 3), "H": (1, 4), "W": (1, 4), "N": (1, 4), "S": (1, 4)}
AXIAL_GRID = {"H": (3, 5), "W": (3, 5)}
"""A shift by two leaves a smaller grid with nothing."""


def normal(rng: Generator, *shape: int) -> HostArray:
    """Standard normal values."""
    return rng.normal(size=shape)


def random_weight(rng: Generator, *shape: int) -> HostArray:
    """A weight that keeps activations near one."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    return rng.normal(0.0, fan_in**-0.5, size=shape)


def gain(rng: Generator, *shape: int) -> HostArray:
    """The weight of a LayerNorm: around one, never near zero."""
    sign: HostArray = rng.choice([-1.0, 1.0], size=shape)
    return sign * rng.uniform(0.5, 1.5, size=shape)


def path_mask(rng: Generator, B: int, rate: float) -> Mask:
    """A drop-path mask that drops at least one sample and keeps at least one."""
    mask = np.ones(B)
    dropped = rng.permutation(B)[: max(1, min(B - 1, round(rate * B)))]
    mask[dropped] = 0
    return Mask(mask, rate)


def entry_mask(rng: Generator, shape: tuple[int, ...], rate: float) -> Mask:
    """A dropout mask that drops at least one entry and keeps at least one."""
    mask = (rng.random(shape) >= rate).astype(np.float64)
    mask.reshape(-1)[[0, -1]] = 0, 1
    return Mask(mask, rate)


def tensors(rng: Generator, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random nested parameters of official names and shapes, none of them zero or one."""
    values = {}
    for name, shape in shapes.items():
        if "norm" in name and name.endswith("weight"):
            values[name] = gain(rng, *shape)
        else:
            values[name] = random_weight(rng, *shape) if len(shape) > 1 else 0.5 * normal(rng, *shape)
    return unflatten(values)


def subtree(config: ViPConfig, prefix: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters whose name begins with `prefix`, under what follows it."""
    return {
        name.removeprefix(prefix): shape for name, shape in parameter_shapes(config).items() if name.startswith(prefix)
    }


def one_stage(sizes: Mapping[str, int], depth: int = 1, **options: Any) -> ViPConfig:
    """A configuration whose one stage has the grid of `sizes`: H x W tokens, N segments of width S."""
    return ViPConfig(
        layers=(depth,),
        embed_dims=(sizes["N"] * sizes["S"],),
        segments=(sizes["N"],),
        transitions=(False,),
        patch_size=1,
        image_size=(sizes["H"], sizes["W"]),
        mlp_ratio=2,
        num_classes=3,
        **options,
    )


def grid_input(rng: Generator, sizes: Mapping[str, int]) -> HostArray:
    """Tokens of a stage, (B, H, W, N*S)."""
    return normal(rng, sizes["B"], sizes["H"], sizes["W"], sizes["N"] * sizes["S"])


def block_masks(rng: Generator, sizes: Mapping[str, int], config: ViPConfig) -> BlockMasks:
    """All masks of one block, each at another rate."""
    grid = (sizes["B"], sizes["H"], sizes["W"])
    C = sizes["N"] * sizes["S"]
    return BlockMasks(
        attn_path=path_mask(rng, sizes["B"], 0.25),
        mlp_path=path_mask(rng, sizes["B"], 0.5),
        proj=entry_mask(rng, (*grid, C), 0.2),
        hidden=entry_mask(rng, (*grid, config.mlp_ratio * C), 0.3),
        out=entry_mask(rng, (*grid, C), 0.1),
    )
