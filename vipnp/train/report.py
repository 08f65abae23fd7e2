"""Pictures and tables of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.core.files import replaced_when_done

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
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    number = 2 if counts is None else 3
    figure = Figure(figsize=(4.5 * number, 3.6), layout="constrained")
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
    _save(figure, path)


def confusion(path: Path, counts: HostArray, classes: Sequence[str]) -> None:
    """The confusion matrix as a picture. counts (K, K): rows are true classes, columns answers."""
    from matplotlib.figure import Figure

    size = max(4.0, 0.35 * len(classes) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    _draw_confusion(figure.subplots(), counts, classes)
    _save(figure, path)


def _draw_confusion(axes: Any, counts: HostArray, classes: Sequence[Any]) -> None:
    axes.imshow(np.sqrt(counts), cmap="Blues")
    if len(classes) <= 40:
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=8)
        axes.set_yticks(range(len(classes)), classes, fontsize=8)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = np.sqrt(count) > np.sqrt(counts.max()) * 0.6
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=7, color="white" if dark else "black"
                )
    axes.set(xlabel="answer", ylabel="true class")


def predictions(path: Path, names: Sequence[str], labels: HostArray, logits: HostArray, classes: Sequence[str]) -> None:
    """A CSV file with a row an image: file, true class, answer, probability of the answer."""
    p = probabilities(logits)
    with replaced_when_done(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "class", "answer", "probability"))
        for name, label, row in zip(names, labels, p, strict=True):
            writer.writerow((name, classes[label], classes[row.argmax()], f"{row.max():.6f}"))


def per_class(path: Path, counts: HostArray, classes: Sequence[str]) -> None:
    """A CSV file with a row a class: images, recall, precision."""
    with replaced_when_done(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("class", "images", "recall", "precision"))
        for k, name in enumerate(classes):
            right, images, answers = counts[k, k], counts[k].sum(), counts[:, k].sum()
            writer.writerow((name, images, f"{right / max(images, 1):.4f}", f"{right / max(answers, 1):.4f}"))


def probabilities(logits: HostArray) -> HostArray:
    """The softmax over the classes: (n, K) -> (n, K)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p: HostArray = e / e.sum(axis=1, keepdims=True)
    return p


def check_picture(option: str, path: Path | None) -> None:
    """Raise ValueError unless the suffix of `path` names one of PICTURES; without a suffix a picture is a PNG."""
    if path is not None and path.suffix and path.suffix[1:].lower() not in PICTURES:
        raise ValueError(f"{option}: got {str(path)!r}, expected a name that ends in one of .{', .'.join(PICTURES)}")


def _save(figure: Any, path: Path) -> None:
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower() or "png", dpi=120)
