"""The explanation as PNG files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.core.files import replaced_when_done
from vipnp.explain.explanation import Explanation
from vipnp.explain.receptive import shares

COLOURS = {"mlp_h": "#c2662d", "mlp_w": "#2457c5", "mlp_c": "#1a7f4b"}
MAPS = "Blues"
NAMES = ("input.png", "gradient.png", "attention.png", "branches.png", "gradients.png", "fields.png")


def write_pictures(found: Explanation, pixels: HostArray, folder: Path) -> list[Path]:
    """Write the pictures into `folder` and return their paths.

    pixels : (height, width) or (height, width, 3) uint8, the image as the network sees it. Where the branches are added
    there is no attention.png.
    """
    from PIL import Image

    path = folder / "input.png"
    with replaced_when_done(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="png")
    written = [path]
    saliency = np.linalg.norm(found.gradient, axis=0)
    written.append(_maps(folder / "gradient.png", [saliency], ["gradient of the score at the image"], size=4.0))
    if found.blocks[0].attention is not None:
        written.append(_attention(folder / "attention.png", found))
    written.append(_branches(folder / "branches.png", found))
    names = [block.name for block in found.blocks]
    written.append(_maps(folder / "gradients.png", [block.gradient for block in found.blocks], names))
    titles = [f"{block.name}\non row and column {shares(block.field, block.grid)[1]:.0%}" for block in found.blocks]
    written.append(_maps(folder / "fields.png", [np.sqrt(block.field) for block in found.blocks], titles))
    return written


def _maps(path: Path, maps: list[HostArray], titles: list[str], size: float = 1.7) -> Path:
    """Maps side by side, each from 0 to its own largest value."""
    figure, panels = _panels(len(maps), size)
    for axes, values, title in zip(panels, maps, titles, strict=True):
        axes.imshow(values, cmap=MAPS, vmin=0, vmax=max(float(values.max()), np.finfo(np.float32).tiny))
        axes.set_title(title, fontsize=7)
        axes.set(xticks=[], yticks=[])
    return _save(figure, path)


def _attention(path: Path, found: Explanation) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(4.0, 0.35 * len(found.blocks) + 2), 3.2), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(found.blocks))
    means = np.array([np.asarray(block.attention).mean(axis=0) for block in found.blocks])
    base = np.zeros(len(at))
    for k, branch in enumerate(found.blocks[0].branches):
        axes.bar(at, means[:, k], bottom=base, color=COLOURS[branch.place], label=f"{branch.place}: {branch.kind}")
        base += means[:, k]
    axes.set_xticks(at, [block.name.removeprefix("network.") for block in found.blocks], rotation=90, fontsize=7)
    axes.set(ylabel="weight, mean over the channels", ylim=(0, 1), xlabel="block")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return _save(figure, path)


def _branches(path: Path, found: Explanation) -> Path:
    drawn = [
        (branch.strength, f"{block.name}\n{branch.place}: {branch.kind}")
        for block in found.blocks
        for branch in block.branches
        if branch.strength is not None
    ]
    return _maps(path, [strength for strength, _ in drawn], [title for _, title in drawn])


def _panels(count: int, size: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(count, 6)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(columns * size, rows * (size + 0.3)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def _save(figure: Any, path: Path) -> Path:
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format="png", dpi=140)
    return path
