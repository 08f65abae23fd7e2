"""Pictures and tables of a run."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax

from vipnp.core import HostArray
from vipnp.core.checks import one_line
from vipnp.core.files import replaced_when_done, text_when_done

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 16
"""Pictures in a gallery."""

NAMED = 40
"""Classes above which a confusion matrix has no names."""

PICTURES = ("png", "pdf", "svg", "jpg")
"""The formats of pictures, which the suffix of a file names."""


def epoch_line(row: Mapping[str, Any], epochs: int) -> str:
    """What is printed of an epoch. row : with epoch, loss and accuracy, as in metrics.csv."""
    return f"epoch {row['epoch']:3}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.2%}"


def confusion_table(counts: HostArray) -> str:
    """The confusion matrix (K, K) as text: a row for every true class, a column for every answer, dots for zeros."""
    lines = ["", "true \\ answer" + "".join(f"{answer:5}" for answer in range(len(counts)))]
    for true, row in enumerate(counts):
        lines.append(f"{true:13}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join([*lines, ""])


def curves(path: Path, rows: Sequence[Mapping[str, Any]], counts: HostArray | None = None) -> None:
    """Loss and accuracy over the epochs as a picture, and the confusion matrix beside them where there is one.

    rows : of metrics.csv. counts : see `confusion`.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    number = 2 if counts is None else 3
    with _figure(path, 4.5 * number, 3.6) as figure:
        panels = figure.subplots(1, number)
        epochs = [row["epoch"] for row in rows]
        for axes, key, title in zip(
            panels[:2], ("loss", "accuracy"), ("training loss", "accuracy on held-out images"), strict=True
        ):
            axes.plot(epochs, [row[key] for row in rows], marker="." if len(rows) < 10 else None)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(alpha=0.3)
        panels[1].yaxis.set_major_formatter(PercentFormatter(1))
        if counts is not None:
            _draw_confusion(panels[2], counts, range(len(counts)))


def confusion(path: Path, counts: HostArray, classes: Sequence[str]) -> None:
    """The confusion matrix as a picture. counts (K, K): rows are true classes, columns answers."""
    size = max(4.0, 0.35 * min(len(classes), NAMED) + 2)
    with _figure(path, size, size) as figure:
        _draw_confusion(figure.subplots(), counts, classes)


def _draw_confusion(axes: Any, counts: HostArray, classes: Sequence[Any]) -> None:
    axes.imshow(np.sqrt(counts), cmap="Blues")
    if len(classes) <= NAMED:
        names = [_short(str(name)) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = np.sqrt(count) > np.sqrt(counts.max()) * 0.6
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=7, color="white" if dark else "black"
                )
    axes.set(xlabel="answer", ylabel="true class")


def gallery(path: Path, pictures: Sequence[HostArray], captions: Sequence[str]) -> None:
    """Pictures with a caption each as a PNG. pictures : uint8, (height, width) or (height, width, 3)."""
    columns = min(4, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    with _figure(path, 2.4 * columns, 2.7 * rows) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for axes, picture, caption in zip(panels, pictures, captions, strict=False):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption, fontsize=8)


def soft_label(target: HostArray, classes: Sequence[str]) -> str:
    """The largest entries of a distribution over the classes (K,), a line each: up to three, of a hundredth or more."""
    best = np.argsort(-target, kind="stable")[:3]
    return "\n".join(f"{_short(classes[k])} {target[k]:.2f}" for k in best if target[k] >= 0.01)


def worst(labels: HostArray, logits: HostArray) -> HostArray:
    """The images whose true class is least likely to the model, worst first, `SHOWN` of them at most."""
    of_truth = softmax(logits, axis=1)[np.arange(len(labels)), labels]
    first: HostArray = np.argsort(of_truth, kind="stable")[:SHOWN]
    return first


def answer_beside_truth(name: str, label: int, logits: HostArray, classes: Sequence[str]) -> str:
    """A caption for the image `name` of class `label`: its file, class and answer, with probabilities. logits (K,)."""
    p = softmax(logits)
    said = int(p.argmax())
    return (
        f"{_short(name.rpartition('/')[2])}\n{_short(classes[label])} {p[label]:.0%}\n"
        f"said {_short(classes[said])} {p[said]:.0%}"
    )


def _short(name: str) -> str:
    name = one_line(name)  # no font has a glyph for half a surrogate pair
    return name if len(name) <= 24 else f"{name[:23]}\u2026"


def predictions(path: Path, names: Sequence[str], labels: HostArray, logits: HostArray, classes: Sequence[str]) -> None:
    """A CSV file with a row an image: file, true class, answer, probability of the answer."""
    p = softmax(logits, axis=1)
    with text_when_done(path) as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "answer", "probability"))
        for name, label, row in zip(names, labels, p, strict=True):
            writer.writerow((name, classes[label], classes[row.argmax()], f"{row.max():.6f}"))


def per_class(path: Path, counts: HostArray, classes: Sequence[str]) -> None:
    """A CSV file with a row a class: images, recall, precision; nothing where no image is of the class, or none is
    said to be."""
    with text_when_done(path) as file:
        writer = csv.writer(file)
        writer.writerow(("class", "images", "recall", "precision"))
        for k, name in enumerate(classes):
            right, images, answers = counts[k, k], counts[k].sum(), counts[:, k].sum()
            writer.writerow((name, images, *(f"{right / n:.4f}" if n else "" for n in (images, answers))))


def check_picture(option: str, path: Path | None) -> None:
    """Raise ValueError unless the suffix of `path` names one of PICTURES; without a suffix a picture is a PNG."""
    if path is not None and path.suffix and path.suffix[1:].lower() not in PICTURES:
        raise ValueError(f"{option}: got {str(path)!r}, expected a name that ends in one of .{', .'.join(PICTURES)}")


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure, inches, which is written to `path` in the end. A dollar sign in it is one, and no formula."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replaced_when_done(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower() or "png", dpi=120)
