"""Effective receptive fields: where in the image the gradient of one token lies."""

from __future__ import annotations

import numpy as np

from vipnp.core import HostArray
from vipnp.explain.tape import Tape


def receptive_fields(tape: Tape, patch_size: int) -> list[HostArray]:
    """The effective receptive field of the middle token after every block, on the grid of patches.

    The sum of the token's channels is derived at the images. A field is the mean over the images of the absolute
    gradient, summed over channels and over the pixels of each patch, and divided by its sum.

    Source: Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural
    Networks", arXiv 1701.04128, section 3.

    Parameters
    ----------
    tape : of a forward pass on any number of images.
    patch_size : P.

    Returns
    -------
    list of HostArray
        (height / P, width / P), one a block.
    """
    fields = []
    for i, step in enumerate(tape.steps):
        if not step.is_block:
            continue
        cotangent = np.zeros_like(step.grid)
        row, column = middle(step.grid.shape[1:3])
        cotangent[:, row, column] = 1
        mass = np.abs(tape.back_to_the_image(i, cotangent)).sum(axis=1, dtype=np.float64).mean(axis=0)
        height, width = (side // patch_size for side in mass.shape)
        field = mass.reshape(height, patch_size, width, patch_size).sum(axis=(1, 3))
        fields.append(field / max(field.sum(), np.finfo(float).tiny))
    return fields


def middle(grid: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the middle token; of an even number of tokens the one after the middle."""
    return grid[0] // 2, grid[1] // 2


def shares(field: HostArray, grid: tuple[int, int]) -> tuple[float, float]:
    """The shares of a field's mass near the middle token.

    Parameters
    ----------
    field : on the grid of patches.
    grid : (h, w) of the token's own grid, which divides that of the patches.

    Returns
    -------
    own, cross : on the patches of the token itself, and on its row and column, itself included.
    """
    rows, columns = (
        slice(at * (patches // tokens), (at + 1) * (patches // tokens))
        for at, tokens, patches in zip(middle(grid), grid, field.shape, strict=True)
    )
    own = field[rows, columns].sum()
    return float(own), float(field[rows].sum() + field[:, columns].sum() - own)
