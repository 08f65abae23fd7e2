"""Training over batches of host arrays, and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vipnp.core import HostArray
from vipnp.core.boundary import check_distributions
from vipnp.core.checks import (
    check_classes,
    check_generator,
    check_host_array,
    check_labels,
    check_real,
    check_whole,
    shown,
)
from vipnp.models import VisionPermutator
from vipnp.train.step import Optimizer, TrainingStep, check_model

Augment = Callable[[HostArray, HostArray, np.random.Generator], tuple[HostArray, HostArray]]
"""Images (B, channels, height, width), labels (B,) and a generator -> images, and labels or distributions (B, K)."""


class Evaluation(NamedTuple):
    """What a model makes of labelled images.

    Attributes
    ----------
    accuracy : the share it gets right.
    predictions : (n,), the class it gives to each.
    """

    accuracy: float
    predictions: HostArray


def train_epoch(
    model: VisionPermutator,
    optimizer: Optimizer,
    images: HostArray,
    labels: HostArray | Sequence[int],
    *,
    batch_size: int,
    lr: float | Callable[[float], float],
    rng: np.random.Generator,
    label_smoothing: float = 0.0,
    max_norm: float | None = None,
    augment: Augment | None = None,
    on_step: Callable[[], None] | None = None,
) -> list[float]:
    """One pass over the images in a random order.

    Losses stay on the device until the epoch is over, so that steps need not wait for each other.

    Parameters
    ----------
    model : its weights are replaced step by step.
    optimizer : on the backend of the model.
    images : host array (n, channels, height, width) in the dtype of the model.
    labels : host integers (n,) in [0, num_classes), or distributions (n, num_classes) in the dtype of the model.
    batch_size : the last batch takes what is left.
    lr : learning rate of the epoch, or a function that gives it for every step from the share of the epoch that is
        done, in [0, 1).
    rng : draws order, augmentation, drop path and dropout.
    label_smoothing : see `VisionPermutator.loss_and_grads`.
    max_norm : clip the gradients to this norm, None does not.
    augment : what to do to the images and labels of a batch.
    on_step : called after every step.

    Returns
    -------
    list of float
        The loss of every step, before its update.

    Raises
    ------
    ValueError, TypeError
        For what does not fit, before the first step; only what `augment` returns is checked batch by batch.
    FloatingPointError
        If a loss, or a weight after the last step, is NaN or infinite: that is seen when the epoch is over, and the
        weights and the state of the optimiser may then be NaN too, so keep a `state_dict` to go back to.
    """
    batch_size = check_whole("batch_size", batch_size, low=1)
    rate = _rate(lr, 0)
    check_generator(rng)
    step = TrainingStep(model, optimizer, label_smoothing=label_smoothing, max_norm=max_norm)
    for name, function in (("augment", augment), ("on_step", on_step)):
        if function is not None and not callable(function):
            raise TypeError(f"{name}: got {shown(function)}, expected a function or None")
    labels = check_labelled(model, images, labels, batch_size=batch_size, distributions=True)
    if step.label_smoothing and labels.ndim == 2:
        raise ValueError(f"label_smoothing: got {label_smoothing} with labels that are distributions; smooth those")
    order = rng.permutation(len(images))
    losses = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        x, targets = images[batch], labels[batch]
        if augment is not None:
            made = augment(x, targets, rng)
            if not isinstance(made, tuple | list) or len(made) != 2:
                raise TypeError(f"augment: returned {shown(made)}, expected the images and the labels of a batch")
            x, targets = made
        rate = _rate(lr, start / len(order))
        losses.append(step(x, targets, lr=rate, rng=rng))
        if on_step is not None:
            on_step()
    values = [float(model.backend.to_numpy(loss)) for loss in losses]
    for i, value in enumerate(values):
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of step {i} of this epoch is {value}; try a smaller lr than {rate}")
    _check_finite_parameters(model, rate)
    return values


def _rate(lr: float | Callable[[float], float], done: float) -> float:
    return check_real("lr", lr(done) if callable(lr) else lr, low=0)


def _check_finite_parameters(model: VisionPermutator, lr: float) -> None:
    xp, parameters = model.backend, model.parameters()
    finite = xp.to_numpy(xp.stack([xp.all(xp.isfinite(p)) for p in parameters.values()]))
    for name, fine in zip(parameters, finite, strict=True):
        if not fine:
            raise FloatingPointError(
                f"{name} is NaN or infinite after the last step of this epoch; try a smaller lr than {lr}"
            )


def evaluate(
    model: VisionPermutator, images: HostArray, labels: HostArray | Sequence[int], *, batch_size: int
) -> Evaluation:
    """Run the model on images and compare with their labels.

    Parameters
    ----------
    model : on any backend.
    images : host array (n, channels, height, width), in the dtype of the model.
    labels : host integers (n,) in [0, num_classes).
    batch_size : images at a time.

    Returns
    -------
    Evaluation
        The accuracy, and the class given to each image.

    Raises
    ------
    ValueError, TypeError
        For what does not fit, before any work.
    FloatingPointError
        Naming the first image whose logits are not finite: no class is the largest of them.
    """
    batch_size = check_whole("batch_size", batch_size, low=1)
    labels = check_labelled(model, images, labels, batch_size=batch_size)
    starts = range(0, len(images), batch_size)
    logits = np.concatenate([model.backend.to_numpy(model(images[start : start + batch_size])) for start in starts])
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        raise FloatingPointError(
            f"the logits of image {int(finite.argmin())} are NaN or infinite: its pixels or the weights are too large"
        )
    predictions = logits.argmax(axis=1)
    return Evaluation(float(np.mean(predictions == labels)), predictions)


def confusion_matrix(labels: HostArray, predictions: HostArray, num_classes: int) -> HostArray:
    """How many images of each class were given each class.

    Parameters
    ----------
    labels, predictions : host integers (n,) in [0, num_classes).
    num_classes : K.

    Returns
    -------
    HostArray
        counts[i, j], the images of class i that were given class j; integers (num_classes, num_classes).

    Raises
    ------
    TypeError
        If labels or predictions are anything else.
    ValueError
        For another class, or if their shapes differ.
    """
    num_classes = check_whole("num_classes", num_classes, low=1)
    check_classes("labels", labels, num_classes)
    check_classes("predictions", predictions, num_classes)
    if labels.ndim != 1 or predictions.shape != labels.shape:
        raise ValueError(
            f"predictions: got shape {predictions.shape} for labels of shape {labels.shape}, expected (n,) for both"
        )
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def check_labelled(
    model: VisionPermutator, images: HostArray, labels: Any, *, batch_size: int, distributions: bool = False
) -> HostArray:
    """The labels as an array: one class an image, or, where these are allowed, one distribution over the classes.

    Raises TypeError or ValueError unless all of `images` and `labels`, one or more, suit `model`. Values are looked at
    `batch_size` images at a time, so that a set in a file need not fit into memory.
    """
    check_model(model)
    config = model.config
    check_host_array("images", images)
    if images.ndim != 4 or images.shape[1:] != (config.in_channels, *config.image_size):
        expected = ", ".join(map(str, (config.in_channels, *config.image_size)))
        raise ValueError(f"images: got shape {images.shape}, expected (n, {expected})")
    if images.dtype != np.dtype(model.dtype):
        raise TypeError(f"images: got dtype {images.dtype}, expected {model.dtype}, the dtype of the model")
    if isinstance(labels, list | tuple):
        try:
            labels = np.asarray(labels)
        except ValueError as error:
            raise ValueError("labels: got a sequence of unequal lengths, expected an array") from error
    if distributions and np.shape(labels) == (len(images), config.num_classes) and len(images):
        check_host_array("labels", labels)
        if labels.dtype != np.dtype(model.dtype):
            raise TypeError(f"labels: got distributions of dtype {labels.dtype}, expected {model.dtype}")
        check_distributions("labels", labels)
    else:
        check_labels(labels, len(images), config.num_classes)
    for start in range(0, len(images), batch_size):
        finite = np.isfinite(images[start : start + batch_size]).all(axis=(1, 2, 3))
        if not finite.all():
            raise ValueError(
                f"images: image {start + int(finite.argmin())} has NaN or infinity, expected finite numbers"
            )
    checked: HostArray = labels
    return checked
