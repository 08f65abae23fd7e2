"""Grids of other sizes: linear interpolation between them, and the image sizes that fit a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from vipnp.core import Array, Backend, HostArray
from vipnp.layers import BranchKind
from vipnp.models.config import StageShape, ViPConfig
from vipnp.ops import resample_mixing


def interpolation(old: int, new: int) -> HostArray:
    """The matrix (new, old), float64, that interpolates values at `old` places linearly at `new` places.

    The places are the middles of as many equal parts of a line; beyond the first and the last the value is theirs.
    Every row has the sum one, and interpolation(n, n) is the identity.
    """
    position = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    below = np.minimum(np.floor(position).astype(int), max(old - 2, 0))
    share = position - below
    matrix = np.zeros((new, old))
    matrix[np.arange(new), below] += 1 - share
    if old > 1:
        matrix[np.arange(new), below + 1] += share
    return matrix


def carrying(kind: BranchKind, before: StageShape, after: StageShape) -> tuple[HostArray, HostArray] | None:
    """(spread, gather) of `vipnp.ops.resample_mixing` for a branch of a stage; None where its weight fits as it is."""
    height, width = (before.height, after.height), (before.width, after.width)
    sides = {"height": [height], "width": [width], "plane": [height, width]}.get(kind, [])
    if all(old == new for old, new in sides):
        return None
    spread, gather = (interpolation(*sides[0]), interpolation(*sides[0][::-1]))
    for old, new in sides[1:]:
        spread, gather = np.kron(spread, interpolation(old, new)), np.kron(gather, interpolation(new, old))
    return spread, gather


def carried(
    xp: Backend, parameters: Mapping[str, Array], dtype: str, old: ViPConfig, new: ViPConfig
) -> dict[str, Array]:
    """The parameters {official name: array of dtype} of a model of `old`, for one of `new` with another image size.

    Matrices that mix places are carried over by `vipnp.ops.resample_mixing`, all others stay as they are.
    """
    found = dict(parameters)
    for before, after in zip(old.stages(), new.stages(), strict=True):
        for block in range(before.depth):
            for place, kind in zip(("mlp_h", "mlp_w", "mlp_c"), old.branches, strict=True):
                name = f"network.{before.place}.{block}.attn.{place}.weight"
                matrices = carrying(kind, before, after)
                if matrices is not None:
                    spread, gather = (xp.asarray(matrix.astype(dtype)) for matrix in matrices)
                    found[name], _ = xp.run(resample_mixing, found[name], spread=spread, gather=gather)
    return found


def resized(config: ViPConfig, height: int, width: int) -> ViPConfig:
    """`config` for images of another size. Raises ValueError naming the nearest size that fits, where this one does
    not."""
    try:
        return dataclasses.replace(config, image_size=(height, width))
    except ValueError as error:
        nearest = nearest_size(config, height, width)
        if nearest == (height, width):  # too large, and not off by a part of a patch
            raise
        raise ValueError(f"{error}; the nearest size that fits is {nearest}") from error


def nearest_size(config: ViPConfig, height: int, width: int) -> tuple[int, int]:
    """The (height, width) nearest to the given one that patches and merges of `config` divide."""
    step = config.patch_size
    for shape in config.stages():
        step *= max(shape.merge, 1)
    fitted = (max(1, (side + (step - 1) // 2) // step) * step for side in (height, width))
    return next(fitted), next(fitted)
