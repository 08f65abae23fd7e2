"""Checks of what a training loop is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.core.boundary import check_distributions
from vipnp.core.checks import check_host_array, check_labels
from vipnp.models import VisionPermutator


def check_labelled(
    model: VisionPermutator, images: HostArray, labels: Any, *, batch_size: int, distributions: bool = False
) -> HostArray:
    """The labels as an array: one class an image, or, where these are allowed, one distribution over the classes.

    Raises TypeError or ValueError unless all of `images` and `labels`, one or more, suit `model`. Values are looked at
    `batch_size` images at a time, so that a set in a file need not fit into memory.
    """
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
