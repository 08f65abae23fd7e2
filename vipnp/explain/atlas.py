"""Mixings side by side: what was measured, as a table and as one picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vipnp.core import HostArray
from vipnp.core.files import replaced_when_done
from vipnp.explain.receptive import shares

COLUMNS = ("data", "mixing", "seed", "parameters", "macs", "accuracy", "seconds_a_step")
"""Of the table, before the shares of the receptive fields."""


@dataclass(frozen=True)
class Trained:
    """One trained model.

    Attributes
    ----------
    data, mixing, seed : what it was trained on, how it mixes, and its seed. parameters : their number. macs : of one
    image. accuracy : on the held-out images. seconds : processor time of a training step. before, after : its effective
    receptive fields after every block, before and after training, see `receptive_fields`.
    """

    data: str
    mixing: str
    seed: int
    parameters: int
    macs: int
    accuracy: float
    seconds: float
    before: list[HostArray]
    after: list[HostArray]


def table(found: Sequence[Trained]) -> str:
    """The figures as CSV, a row a model. `on_lines_before_1` is the share of the receptive field's mass on the token's
    row and column, before training, after block 1."""
    text = io.StringIO()
    blocks = len(found[0].before)
    head = [f"on_lines_{when}_{block + 1}" for when in ("before", "after") for block in range(blocks)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *head])
    for one in found:
        lines = [f"{_on_lines(field):.4f}" for field in (*one.before, *one.after)]
        figures = [one.data, one.mixing, one.seed, one.parameters, one.macs]
        writer.writerow([*figures, f"{one.accuracy:.4f}", f"{one.seconds:.4f}", *lines])
    return text.getvalue()


def draw(path: Path, found: Sequence[Trained]) -> None:
    """Write the picture: a row for every data set and mixing, the receptive fields as means over the seeds."""
    from matplotlib.figure import Figure

    kinds = list(dict.fromkeys((one.data, one.mixing) for one in found))
    blocks = len(found[0].before)
    columns = 2 * blocks
    figure = Figure(figsize=(1.35 * columns + 2.6, 1.5 * len(kinds) + 0.3), layout="constrained")
    grid = figure.subplots(len(kinds), columns + 1, squeeze=False, width_ratios=[1.9, *[1] * columns])
    for panels, (data, mixing) in zip(grid, kinds, strict=True):
        of = [one for one in found if (one.data, one.mixing) == (data, mixing)]
        accuracies = [one.accuracy for one in of]
        text = (
            f"{mixing}\n{data}: {np.mean(accuracies):.1%}\n({min(accuracies):.1%} to {max(accuracies):.1%})\n"
            f"{1000 * of[0].seconds:.0f} ms a step"
        )
        panels[0].text(0, 0.5, text, fontsize=9, va="center", transform=panels[0].transAxes)
        panels[0].set_axis_off()
        fields = [
            np.mean([maps[block] for maps in all_maps], axis=0)
            for all_maps in ([one.before for one in of], [one.after for one in of])
            for block in range(blocks)
        ]
        for axes, field in zip(panels[1:], fields, strict=True):
            axes.imshow(np.sqrt(field), cmap="Blues", vmin=0)
            axes.set_title(f"{_on_lines(field):.0%} on the lines", fontsize=8)
            axes.set(xticks=[], yticks=[])
    names = [f"block {block + 1},\n{when}" for when in ("untrained", "trained") for block in range(blocks)]
    for axes, name in zip(grid[-1][1:], names, strict=True):
        axes.set_xlabel(name, fontsize=9)
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _on_lines(field: HostArray) -> float:
    """The share on the row and column of the middle token, whose grid is that of the patches."""
    height, width = field.shape
    return shares(field, (height, width))[1]
