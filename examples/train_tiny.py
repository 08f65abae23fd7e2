"""Train a small Vision Permutator on real handwritten digits, with gradients derived by hand.

    python examples/train_tiny.py
    python examples/train_tiny.py --split 2 --seed 1 --save digits.safetensors --plot curves.png --json result.json
    python examples/train_tiny.py --load digits.safetensors --epochs 0

The digits come with scikit-learn (1797 images of 8x8 pixels), nothing is downloaded. One of five fixed stratified
splits holds out 360 of them. The hyperparameters below were chosen by choose_digits_recipe.py on images that no split
tests on. Needs `pip install "vipnp[train]"`.
"""

from __future__ import annotations

import argparse
import importlib
import math
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from vipnp import Backend, ViPConfig, VisionPermutator, list_backends
from vipnp.checkpoint import load_weights, save_weights, weights_sha256
from vipnp.core import HostArray
from vipnp.core.files import check_outputs, replaced_when_done, write_json
from vipnp.data import CLASSES, SPLITS, Digits, load_digits, mixup, rotate_and_shift
from vipnp.optim import AdamW, cosine_lr
from vipnp.train import confusion_matrix, evaluate, train_epoch

try:
    from threadpoolctl import threadpool_limits
    from tqdm import tqdm
except ImportError as error:
    raise ImportError('this example needs its extra: pip install "vipnp[train]"') from error

BACKGROUND = -1.0
"""The value of white paper in the images."""

EVALUATION_BATCH = 360


@dataclass(frozen=True)
class Recipe:
    """The model and how it is trained."""

    config: ViPConfig = field(
        default_factory=lambda: ViPConfig(
            layers=(4,),
            embed_dims=(64,),
            segments=(4,),
            transitions=(False,),
            patch_size=2,
            image_size=(8, 8),
            num_classes=CLASSES,
            in_channels=1,
        )
    )
    epochs: int = 30
    batch_size: int = 32
    lr: float = 2e-3
    min_lr: float = 1e-5
    warmup_epochs: int = 2
    warmup_lr: float = 1e-6
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    max_norm: float = 1.0
    max_degrees: float = 0.0
    max_shift: float = 0.0
    mixup: float = 0.4


def train(
    model: VisionPermutator,
    images: HostArray,
    labels: HostArray,
    recipe: Recipe,
    *,
    seed: int,
    on_step: Callable[[], None] | None = None,
    on_epoch: Callable[[int, list[float]], None] | None = None,
) -> None:
    """Train `model` in place by `recipe`; `on_epoch` gets the number of the epoch, from 0, and the loss of each step.

    `seed` determines the order of the images, their augmentation and drop path. Matrices are multiplied by one thread:
    they are too small for a second one to help, and the result does then not depend on the number of cores. Where the
    highest rate is below the lowest or that of the warmup, it is the rate of every epoch.
    """
    optimizer = AdamW(model.backend, weight_decay=recipe.weight_decay)
    rng = np.random.default_rng(seed)

    def augment(x: HostArray, y: HostArray, rng: np.random.Generator) -> tuple[HostArray, HostArray]:
        x = rotate_and_shift(x, rng, max_degrees=recipe.max_degrees, max_shift=recipe.max_shift, background=BACKGROUND)
        return mixup(x, y, rng, alpha=recipe.mixup, num_classes=CLASSES, label_smoothing=recipe.label_smoothing)

    with threadpool_limits(limits=1, user_api="blas"):
        for epoch in range(recipe.epochs):
            losses = train_epoch(
                model,
                optimizer,
                images,
                labels,
                batch_size=recipe.batch_size,
                lr=cosine_lr(
                    epoch,
                    lr=recipe.lr,
                    epochs=recipe.epochs,
                    min_lr=min(recipe.min_lr, recipe.lr),
                    warmup_epochs=min(recipe.warmup_epochs, recipe.epochs - 1),
                    warmup_lr=min(recipe.warmup_lr, recipe.lr),
                ),
                rng=rng,
                max_norm=recipe.max_norm,
                augment=augment,
                on_step=on_step,
            )
            if on_epoch is not None:
                on_epoch(epoch, losses)


def stopped(number: int, _: FrameType | None) -> None:
    """End as a signal asks, with the status that a shell gives it; `run` saves the weights on its way out."""
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None, *, backend: Backend | None = None) -> dict[str, Any]:
    """Run the command line; returns what --json writes. `backend` stands in for the one that --backend names."""
    parser = command_line()
    options = parser.parse_args(arguments)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            signal.signal(getattr(signal, name), stopped)
    try:
        check_files(options)
        return run(options, options.backend if backend is None else backend)
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, FloatingPointError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")


def command_line() -> argparse.ArgumentParser:
    """The options of this program."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--backend", choices=list_backends(), default="numpy", help="where arrays live (numpy)")
    parser.add_argument("--epochs", type=int, default=recipe.epochs, help=f"passes over the images ({recipe.epochs})")
    parser.add_argument("--batch-size", type=int, default=recipe.batch_size, help=f"({recipe.batch_size})")
    parser.add_argument("--lr", type=float, default=recipe.lr, help=f"highest learning rate ({recipe.lr})")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (0)")
    parser.add_argument("--split", type=int, choices=range(SPLITS), default=0, help="which images are held out (0)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the weights as safetensors")
    parser.add_argument(
        "--load", type=Path, metavar="FILE", help="start from these weights; --epochs 0 only tests them"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the curves as a PNG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    return parser


def check_files(options: argparse.Namespace) -> None:
    """Refuse what would lose the results of a whole run: files that cannot be written, or only over each other.

    Raises ValueError for a path, ImportError for a library that is missing.
    """
    outputs = {f"--{name}": getattr(options, name) for name in ("save", "plot", "json")}
    check_outputs(outputs)
    # Weights may go back to the file they came from.
    if options.load is not None:
        check_outputs({**outputs, "--save": None, "--load": options.load})
    for option, library in (("--save", "safetensors.numpy"), ("--plot", "matplotlib.figure")):
        if outputs[option] is not None:
            try:
                importlib.import_module(library)
            except ImportError as error:
                raise ImportError(f'{option} needs {library.split(".")[0]}: pip install "vipnp[train]"') from error


def run(options: argparse.Namespace, backend: str | Backend) -> dict[str, Any]:
    """Train and test as the options say; raises what the library raises for what does not fit.

    Of the results, train_seconds is the time by the clock, cpu_seconds what this process has used on all its threads
    since it started.
    """
    for name, value, low in (
        ("--epochs", options.epochs, 0),
        ("--seed", options.seed, 0),
        ("--batch-size", options.batch_size, 1),
    ):
        if value < low:
            raise ValueError(f"{name}: got {value}, expected a number >= {low}")
    if not 0 <= options.lr < math.inf:
        raise ValueError(f"--lr: got {options.lr}, expected a finite number >= 0")
    recipe = replace(Recipe(), epochs=options.epochs, batch_size=options.batch_size, lr=options.lr)
    digits = load_digits(options.split)
    model = VisionPermutator(recipe.config, backend=backend, seed=options.seed)
    if options.load is not None:
        model.load_state_dict(load_weights(options.load))
    print(f"{len(digits.train_labels)} digits to train on, {len(digits.test_labels)} held out (split {options.split})")
    print(f"a Vision Permutator of {model.num_parameters:,} parameters on {model.backend.name}")
    try:
        curves, seconds = train_with_progress(model, digits, recipe, seed=options.seed)
    except BaseException:
        # An interrupt, a closed pipe: what has been learnt so far is kept, if it is finite.
        if options.save is not None:
            save_weights(options.save, model.state_dict())
        raise
    weights = model.state_dict()
    failed: list[str] = []

    def tried(option: str, path: Path | None, write: Callable[[Path], None]) -> None:
        """One output after the other, weights first: what cannot be written costs nothing else."""
        try:
            if path is not None:
                write(path)
        except OSError as error:
            failed.append(f"{option}: {error}")

    tried("--save", options.save, lambda path: save_weights(path, weights))
    tested = evaluate(model, digits.test_images, digits.test_labels, batch_size=EVALUATION_BATCH)
    counts = confusion_matrix(digits.test_labels, tested.predictions, CLASSES)
    print(confusion_table(counts))
    print(f"test accuracy {tested.accuracy:.2%}, {counts.sum() - counts.trace()} of {counts.sum()} wrong")
    print(f"trained for {seconds:.1f} s")
    result = {
        "test_accuracy": tested.accuracy,
        "train_seconds": seconds,
        "cpu_seconds": time.process_time(),
        "loss_per_epoch": curves["loss"],
        "test_accuracy_per_epoch": curves["accuracy"],
        "confusion_matrix": counts.tolist(),
        "backend": model.backend.name,
        "seed": options.seed,
        "split": options.split,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "lr": recipe.lr,
        "parameters": model.num_parameters,
        "weights_sha256": weights_sha256(weights),
        "versions": versions(),
    }
    tried("--json", options.json, lambda path: write_json(path, result))
    tried("--plot", options.plot, lambda path: plot(path, curves, counts))
    if failed:
        raise OSError("; ".join(failed))
    return result


def train_with_progress(
    model: VisionPermutator, digits: Digits, recipe: Recipe, *, seed: int
) -> tuple[dict[str, list[float]], float]:
    """Train with a progress bar and a line an epoch; returns the curves of loss and accuracy, and the seconds."""
    curves: dict[str, list[float]] = {"loss": [], "accuracy": []}
    steps = -(-len(digits.train_labels) // recipe.batch_size) * recipe.epochs
    began = time.perf_counter()
    with tqdm(total=steps, unit="step", disable=None, leave=False) as bar:

        def step_done() -> None:
            bar.update()

        def report(epoch: int, losses: list[float]) -> None:
            tested = evaluate(model, digits.test_images, digits.test_labels, batch_size=EVALUATION_BATCH)
            curves["loss"].append(float(np.mean(losses)))
            curves["accuracy"].append(tested.accuracy)
            bar.write(
                f"epoch {epoch + 1:3}/{recipe.epochs}  loss {curves['loss'][-1]:.4f}  accuracy {tested.accuracy:.2%}"
            )

        train(
            model,
            digits.train_images,
            digits.train_labels,
            recipe,
            seed=seed,
            on_step=step_done,
            on_epoch=report,
        )
    model.backend.synchronize()
    return curves, time.perf_counter() - began


def confusion_table(counts: HostArray) -> str:
    """The confusion matrix as text: a row for every true digit, a column for every answer, dots for zeros."""
    lines = ["", "true \\ answer" + "".join(f"{digit:5}" for digit in range(len(counts)))]
    for digit, row in enumerate(counts):
        lines.append(f"{digit:13}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join([*lines, ""])


def plot(path: Path, curves: Mapping[str, Sequence[float]], counts: HostArray) -> None:
    """Write loss, held-out accuracy and the confusion matrix side by side as a PNG; needs matplotlib."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(13, 4), layout="constrained")
    loss, accuracy, confusion = figure.subplots(1, 3)
    for axes, values, title in (
        (loss, curves["loss"], "training loss (smoothed, mixed labels)"),
        (accuracy, curves["accuracy"], "accuracy on held-out digits"),
    ):
        axes.plot(range(1, len(values) + 1), values, marker="." if len(values) < 10 else None)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    confusion.imshow(np.sqrt(counts), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            dark = count > counts.max() / 3
            confusion.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    confusion.set(title="confusion matrix", xlabel="answer", ylabel="true digit")
    confusion.set_xticks(range(len(counts)))
    confusion.set_yticks(range(len(counts)))
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def versions() -> dict[str, str]:
    """The versions of Python and of the installed libraries that a run depends on."""
    found = {"python": platform.python_version()}
    for library in ("vipnp", "numpy", "scipy", "array-api-compat", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
