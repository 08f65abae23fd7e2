"""How the hyperparameters of train_tiny.py were chosen: cross-validation on images that no split ever tests on.

    python examples/choose_digits_recipe.py

Half of the digits are in the training part of all five splits of `vipnp.data.load_digits`. Every candidate below is
trained on two thirds of that half and validated on the last third, three times over, for as many steps as a full run
of train_tiny.py takes. The candidates differ from the first in one thing each; the one that gets most validation
images right is `train_tiny.RECIPE`. Takes some ten minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import StratifiedKFold
from train_tiny import CONFIG, RECIPE, train

from vipnp import VisionPermutator
from vipnp.core import HostArray
from vipnp.data import CLASSES, load_digits, mixup, rotate_and_shift
from vipnp.train import evaluate
from vipnp.train.recipe import Recipe

FOLDS = 3
SEED = 0
BACKGROUND = -1.0
"""The value of white paper in the images."""


@dataclass(frozen=True)
class Candidate:
    """A recipe, and how far the images are turned (degrees) and moved (pixels) at the most."""

    recipe: Recipe = RECIPE
    turned: float = 10.0
    moved: float = 0.7

    def augment(self, images: HostArray, labels: HostArray, rng: np.random.Generator) -> tuple[HostArray, HostArray]:
        """A batch turned, moved and mixed."""
        if self.turned or self.moved:
            images = rotate_and_shift(images, rng, max_degrees=self.turned, max_shift=self.moved, background=BACKGROUND)
        recipe = self.recipe
        return mixup(images, labels, rng, alpha=recipe.mixup, num_classes=CLASSES, label_smoothing=recipe.smoothing)


CANDIDATES: Mapping[str, Candidate] = {
    "the starting point": Candidate(),
    "twice the learning rate": Candidate(replace(RECIPE, lr=RECIPE.lr * 2)),
    "no mixup": Candidate(replace(RECIPE, mixup=0.0)),
    "twice the mixup": Candidate(replace(RECIPE, mixup=2 * RECIPE.mixup)),
    "no shifts, no rotations": Candidate(turned=0.0, moved=0.0),
    "no label smoothing": Candidate(replace(RECIPE, smoothing=0.0)),
}


def validation_accuracy(candidate: Candidate) -> float:
    """The share of the development images that models trained on the other folds get right."""
    digits = load_digits(0)
    images, labels = digits.train_images[: digits.development], digits.train_labels[: digits.development]
    right = 0.0
    for train_on, validate_on in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels):
        recipe = replace(
            candidate.recipe, epochs=round(candidate.recipe.epochs * len(digits.train_labels) / len(train_on))
        )
        model = VisionPermutator(CONFIG, seed=SEED)
        for _ in train(model, images[train_on], labels[train_on], recipe, SEED, augment=candidate.augment):
            pass
        found = evaluate(model, images[validate_on], labels[validate_on], batch_size=len(validate_on))
        right += found.accuracy * len(validate_on)
    return right / len(labels)


def main() -> None:
    """Print the validation accuracy of every candidate, two at a time, and the best."""
    found = {}
    with ProcessPoolExecutor(max_workers=2) as pool:
        for name, accuracy in zip(CANDIDATES, pool.map(validation_accuracy, CANDIDATES.values()), strict=True):
            found[name] = accuracy
            print(f"{accuracy:7.2%}  {name}", flush=True)
    print(f"best: {max(found, key=found.__getitem__)}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
