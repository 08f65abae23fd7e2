"""How the hyperparameters of train_tiny.py were chosen: cross-validation on images that no split ever tests on.

    python examples/choose_digits_recipe.py

Half of the digits are in the training part of all five splits of `vipnp.data.load_digits`. Every candidate below is
trained on two thirds of that half and validated on the last third, three times over, for as many steps as a full run
of train_tiny.py takes. The candidates differ from the first in one thing each; the one that gets most validation
images right is `train_tiny.Recipe`. Takes some ten minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from sklearn.model_selection import StratifiedKFold
from train_tiny import EVALUATION_BATCH, Recipe, train

from vipnp import VisionPermutator
from vipnp.data import load_digits
from vipnp.train import evaluate

FOLDS = 3
SEED = 0

START = replace(Recipe(), max_degrees=10.0, max_shift=0.7)
CANDIDATES: Mapping[str, Recipe] = {
    "the starting point": START,
    "twice the learning rate": replace(START, lr=START.lr * 2),
    "no mixup": replace(START, mixup=0.0),
    "twice the mixup": replace(START, mixup=2 * START.mixup),
    "no shifts, no rotations": replace(START, max_shift=0.0, max_degrees=0.0),
    "no label smoothing": replace(START, label_smoothing=0.0),
}


def validation_accuracy(recipe: Recipe) -> float:
    """The share of the development images that models trained on the other folds get right."""
    digits = load_digits(0)
    images, labels = digits.train_images[: digits.development], digits.train_labels[: digits.development]
    right = 0.0
    for train_on, validate_on in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(images, labels):
        epochs = round(recipe.epochs * len(digits.train_labels) / len(train_on))
        model = VisionPermutator(recipe.config, seed=SEED)
        train(model, images[train_on], labels[train_on], replace(recipe, epochs=epochs), seed=SEED)
        found = evaluate(model, images[validate_on], labels[validate_on], batch_size=EVALUATION_BATCH)
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
    main()
