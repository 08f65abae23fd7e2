"""The random draws of a training step: drop path and dropout masks, drawn on the host, uploaded together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from vipnp.core import Array, Backend, Generator, HostArray
from vipnp.layers import BlockMasks, Mask
from vipnp.models.config import StageShape, ViPConfig


def draw_masks(
    xp: Backend, rng: Generator | None, config: ViPConfig, batch: int, dtype: str
) -> list[BlockMasks] | None:
    """The masks of every block for a batch: drop path per sample and branch, dropout per entry.

    They come from `rng` alone and cross to the device in one array for all blocks of either kind, whatever the depth;
    where a rate is 0 there is no mask.

    Parameters
    ----------
    xp : the backend of the masks.
    rng : draws them, on the host; None for neither drop path nor dropout.
    config : of the model.
    batch : images.
    dtype : of the masks, that of the activations.

    Returns
    -------
    list of BlockMasks, or None without `rng`
        One a block.
    """
    if rng is None:
        return None
    blocks = [shape for shape in config.stages() for _ in range(shape.depth)]
    paths = [BlockMasks() for _ in blocks]
    if config.drop_path:
        paths = path_masks(xp.asarray(draw_paths(rng, config, batch, dtype)), config)
    drops = _draw_dropout(xp, rng, config, blocks, batch, dtype)
    return [BlockMasks(path.attn_path, path.mlp_path, *drop) for path, drop in zip(paths, drops, strict=True)]


def draw_paths(rng: Generator, config: ViPConfig, batch: int, dtype: str) -> HostArray:
    """The draws of drop path, (batch, 2, blocks): 1 where a branch of a sample is kept, else 0."""
    rates = config.drop_path_rates()
    kept: HostArray = (rng.random((batch, 2, len(rates))) >= rates).astype(dtype)
    return kept


def path_masks(kept: Array, config: ViPConfig) -> list[BlockMasks]:
    """The masks of every block from the draws of `draw_paths` on a backend."""
    return [
        BlockMasks(*(Mask(kept[:, j, i], rate) if rate else None for j in range(2)))
        for i, rate in enumerate(config.drop_path_rates())
    ]


def _draw_dropout(
    xp: Backend, rng: Generator, config: ViPConfig, blocks: list[StageShape], batch: int, dtype: str
) -> Iterator[tuple[Mask | None, Mask | None, Mask | None]]:
    if not config.dropout:
        for _ in blocks:
            yield None, None, None
        return
    shapes = []
    for block in blocks:
        grid = (batch, block.height, block.width)
        tokens = (*grid, block.channels)
        shapes.append((tokens, (*grid, config.mlp_ratio * block.channels), tokens))
    sizes = [math.prod(shape) for three in shapes for shape in three]
    kept = xp.asarray((rng.random(sum(sizes), dtype="float32") >= config.dropout).astype(dtype))
    start = 0
    for three in shapes:
        masks = []
        for shape in three:
            end = start + math.prod(shape)
            masks.append(Mask(xp.reshape(kept[start:end], shape), config.dropout))
            start = end
        proj, hidden, out = masks
        yield proj, hidden, out
