"""How well a trained model does on images of another size, before and after one epoch of fine-tuning.

python -m tools.image_sizes [--data digits] [--epochs 20] [--seeds 3] [--csv FILE]

A small Vision Permutator is trained at the size of the data, as `vipnp atlas` makes it. Then all pictures are resized
(bilinear, as Pillow does), and two ways to use them are compared: the model carried over to their size by
`at_resolution`, and the old model on the pictures resized once more, back to the old size. Both are evaluated as they
are, and after the same epoch of fine-tuning.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vipnp import VisionPermutator
from vipnp.cli.atlas import mixing_config
from vipnp.core import HostArray
from vipnp.core.files import check_outputs, text_when_done
from vipnp.data import load_data_set
from vipnp.optim import AdamW, cosine_lr
from vipnp.train import evaluate, train_epoch

FACTORS = ((0.75, 0.75), (1.0, 1.0), (1.5, 1.5), (1.5, 1.0), (1.0, 1.5))
"""The sizes that are tried, (height, width) over those of the data."""

LEARNING_RATE = 2e-3
FINE_TUNING_RATE = 5e-4
BATCH = 64
TRAINING_PICTURES = 2700
"""At most about so many, evenly taken: a third of phototiles, all digits."""


@dataclass(frozen=True)
class Figures:
    """Accuracies on the held-out pictures at one size, for one seed: of the model carried over to the size and of the
    old model on pictures resized to the old one, each before and after an epoch of fine-tuning."""

    data: str
    seed: int
    height: int
    width: int
    carried: float
    carried_tuned: float
    resized: float
    resized_tuned: float


def resized(images: HostArray, size: tuple[int, int]) -> HostArray:
    """Grey images (n, 1, height, width) at another size; at their own size as they are."""
    pictures = [Image.fromarray(image[0]).resize(size[::-1], Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(picture, np.float32) for picture in pictures])[:, None]


def tuned(model: VisionPermutator, images: HostArray, labels: HostArray, *, lr: float, epochs: int, seed: int) -> None:
    """AdamW on one half cosine from `lr`, a rate a step."""
    optimizer = AdamW(model.backend, weight_decay=0.05)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):

        def rate(done: float, epoch: int = epoch) -> float:
            return cosine_lr(epoch + done, epochs=epochs, lr=lr)

        train_epoch(
            model, optimizer, images, labels, batch_size=BATCH, lr=rate, rng=rng, label_smoothing=0.1, max_norm=1.0
        )


def measured(name: str, seed: int, epochs: int) -> list[Figures]:
    """One trained model at every size of FACTORS."""
    data = load_data_set(name)
    held_out, truth = _images(data.validation.pixels), data.validation.labels
    every = slice(None, None, math.ceil(len(data.train.labels) / TRAINING_PICTURES))
    images, labels = _images(data.train.pixels)[every], data.train.labels[every]
    old = (images.shape[2], images.shape[3])
    trained = VisionPermutator(mixing_config(name, "line", old, len(data.classes)), backend="numba", seed=seed)
    tuned(trained, images, labels, lr=LEARNING_RATE, epochs=epochs, seed=seed)

    def before_and_after(seen: HostArray, unseen: HostArray) -> tuple[float, float]:
        model = trained.at_resolution(*seen.shape[2:])
        before = evaluate(model, unseen, truth, batch_size=256).accuracy
        tuned(model, seen, labels, lr=FINE_TUNING_RATE, epochs=1, seed=seed)
        return before, evaluate(model, unseen, truth, batch_size=256).accuracy

    found = []
    for factors in FACTORS:
        size = (round(old[0] * factors[0]), round(old[1] * factors[1]))
        of_size = [resized(part, size) for part in (images, held_out)]
        carried = before_and_after(*of_size)
        back = carried if size == old else before_and_after(*(resized(part, old) for part in of_size))
        found.append(Figures(name, seed, *size, *carried, *back))
    return found


def table(found: Sequence[Figures]) -> str:
    """The means over the seeds in Markdown, with the lowest and the highest."""
    lines = [
        "| data | size | carried over | fine-tuned | pictures resized to the old size | fine-tuned |",
        "|---|---|---|---|---|---|",
    ]
    for data, height, width in dict.fromkeys((one.data, one.height, one.width) for one in found):
        of = [one for one in found if (one.data, one.height, one.width) == (data, height, width)]
        columns = zip(*(astuple(one)[4:] for one in of), strict=True)
        cells = [f"{np.mean(c):.1%} ({min(c):.1%} to {max(c):.1%})" for c in columns]
        lines.append(f"| {data} | {height} x {width} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _images(pixels: HostArray | None) -> HostArray:
    assert pixels is not None
    return (pixels[:, None] / np.float32(127.5) - 1).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Accuracy at other image sizes, before and after fine-tuning.")
    parser.add_argument("--data", action="append", choices=["digits", "phototiles"], help="both unless given")
    parser.add_argument("--epochs", type=int, default=20, help="of the training at the size of the data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="a row a model and size")
    options = parser.parse_args(arguments)
    try:
        check_outputs({"--csv": options.csv})
    except ValueError as error:
        parser.error(str(error))
    found: list[Figures] = []
    for name in options.data or ["digits", "phototiles"]:
        for seed in range(options.seeds):
            found += measured(name, seed, options.epochs)
            print(f"{name} seed {seed}: {found[-len(FACTORS)]}", file=sys.stderr, flush=True)
    print(table(found))
    if options.csv is not None:
        with text_when_done(options.csv) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Figures.__dataclass_fields__)
            writer.writerows(map(astuple, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
