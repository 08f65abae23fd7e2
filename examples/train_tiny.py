"""Train a small Vision Permutator on real handwritten digits, with gradients derived by hand.

The digits come with scikit-learn (1797 images of 8x8 pixels), nothing is downloaded. One of five fixed stratified
splits holds out 360 of them. The recipe was chosen by choose_digits_recipe.py on images that no split tests on.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vipnp import Backend, VisionPermutator, list_backends
from vipnp.checkpoint import load_weights, save_weights, weights_sha256
from vipnp.cli.program import check_files, number, progress, saved_if_stopped, told
from vipnp.core.files import write_json, write_outputs
from vipnp.core.output import is_standard_output
from vipnp.core.versions import installed
from vipnp.data import CLASSES, SPLITS, load_digits, mixup
from vipnp.optim import AdamW
from vipnp.train import RECIPES, Recipe, confusion_matrix, evaluate, report, tiny_config, train_epoch

RECIPE = RECIPES["digits"]
CONFIG = tiny_config(num_classes=CLASSES, in_channels=1, image_size=(8, 8))


def train(model: VisionPermutator, images: Any, labels: Any, recipe: Recipe, seed: int, **more: Any) -> Iterator[Any]:
    """Train `model` in place, an epoch at a time; yields the losses of its steps. more : options of `train_epoch`."""
    optimizer, rng = AdamW(model.backend, weight_decay=recipe.weight_decay), np.random.default_rng(seed)
    mixed = partial(mixup, alpha=recipe.mixup, num_classes=CLASSES, label_smoothing=recipe.smoothing)
    options = {"batch_size": recipe.batch_size, "rng": rng, "max_norm": recipe.clip_grad, "augment": mixed, **more}
    with threadpool_limits(limits=1, user_api="blas"):  # the matrices are too small for a second one to help
        for epoch in range(recipe.epochs):
            yield train_epoch(model, optimizer, images, labels, lr=recipe.learning_rate(epoch), **options)


def run(options: argparse.Namespace, backend: str | Backend) -> dict[str, Any]:
    """Train and test as the options say; returns what --json writes."""
    recipe = replace(RECIPE, epochs=max(options.epochs, 1), batch_size=options.batch_size, lr=options.lr)
    digits = load_digits(options.split)
    model = VisionPermutator(CONFIG, backend=backend, seed=options.seed)
    if options.load is not None:
        model.load_state_dict(load_weights(options.load))
    print(f"{len(digits.train_labels)} digits to train on, {len(digits.test_labels)} held out; {model!r}")
    test = partial(evaluate, model, digits.test_images, digits.test_labels, batch_size=len(digits.test_labels))
    rows: list[dict[str, Any]] = []
    began = time.perf_counter()
    with saved_if_stopped(options.save, model.state_dict):
        with progress(options.epochs * -(-len(digits.train_labels) // recipe.batch_size)) as bar:
            epochs = train(model, digits.train_images, digits.train_labels, recipe, options.seed, on_step=bar.step)
            for epoch, losses in zip(range(1, options.epochs + 1), epochs, strict=False):
                rows.append({"epoch": epoch, "loss": float(np.mean(losses)), "accuracy": test().accuracy})
                bar.say(report.epoch_line(rows[-1], options.epochs))
        seconds = time.perf_counter() - began
        accuracy, answers = test()
        counts = confusion_matrix(digits.test_labels, answers, CLASSES)
        print(f"{report.confusion_table(counts)}\ntest accuracy {accuracy:.2%}, trained for {seconds:.1f} s")
    result = {
        **{name: getattr(options, name) for name in ("split", "seed", "epochs", "batch_size", "lr")},
        "backend": model.backend.name,
        "parameters": model.num_parameters,
        "test_accuracy": accuracy,
        "train_seconds": seconds,
        "cpu_seconds": time.process_time(),
        "confusion_matrix": counts.tolist(),
        "loss_per_epoch": [row["loss"] for row in rows],
        "test_accuracy_per_epoch": [row["accuracy"] for row in rows],
        "weights_sha256": weights_sha256(model.state_dict()),
        "versions": installed("vipnp", "numpy", "scipy", "array-api-compat", "scikit-learn"),
    }
    write_outputs(
        ("--save", options.save, lambda path: save_weights(path, model.state_dict())),
        ("--json", options.json, lambda path: write_json(path, result)),
        ("--plot", options.plot, lambda path: report.curves(path, rows, counts)),
    )
    return result


def main(arguments: Sequence[str] | None = None, *, backend: Backend | None = None) -> dict[str, Any]:
    """Run the command line; `backend` stands in for the one that --backend names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    backends = sorted({*list_backends()} - {"array_api"})  # that one needs a namespace, which no option gives
    parser.add_argument("--backend", choices=backends, default="numpy", help="where arrays live (numpy)")
    parser.add_argument("--epochs", type=number(int), default=RECIPE.epochs, help=f"({RECIPE.epochs})")
    parser.add_argument("--batch-size", type=number(int, 1), default=RECIPE.batch_size, help=f"({RECIPE.batch_size})")
    parser.add_argument("--lr", type=number(float), default=RECIPE.lr, help=f"highest learning rate ({RECIPE.lr})")
    parser.add_argument("--seed", type=number(int), default=0, help="of weights, order and mixing (0)")
    parser.add_argument("--split", type=int, choices=range(SPLITS), default=0, help="which images are held out (0)")
    for name, what in {"--load": "first weights", "--save": "weights", "--plot": "curves", "--json": "results"}.items():
        parser.add_argument(name, type=Path, metavar="FILE", help=f"of the {what}")
    options = parser.parse_args(arguments)
    with told():
        check_files(save=options.save, load=options.load, plot=options.plot, json=options.json)
        apart = is_standard_output(options.save, options.plot, options.json)
        with redirect_stdout(sys.stderr) if apart else nullcontext():
            return run(options, backend or options.backend)


if __name__ == "__main__":
    main()
