"""Augmentation of small images on the host."""

from __future__ import annotations

import math

import numpy as np

from vipnp.core import HostArray
from vipnp.core.checks import check_generator, check_host_images, check_labels, check_real, check_whole

LARGEST_ALPHA = 1e6
"""Of the Beta distribution, at most: from here on it is 1/2 to three digits, and far beyond it cannot be drawn from."""


def rotate_and_shift(
    images: HostArray, rng: np.random.Generator, *, max_degrees: float, max_shift: float, background: float
) -> HostArray:
    """Every image turned about its centre and moved, by its own random angle and offsets.

    Values between the pixels are interpolated linearly.

    Parameters
    ----------
    images : (B, channels, height, width), float32 or float64.
    rng : draws angles and offsets.
    max_degrees : the angle is uniform in +-max_degrees.
    max_shift : down and right, each uniform in +-max_shift, in pixels.
    background : the value that comes in from outside.

    Returns
    -------
    HostArray
        In the shape and dtype of the images.

    Raises
    ------
    TypeError
        For images that are no such host array, a `rng` that is no generator and what is no number.
    ValueError
        For another shape and a number that is negative (but for `background`) or not finite.
    """
    check_host_images(images)
    from scipy.ndimage import affine_transform

    check_generator(rng)
    max_degrees = check_real("max_degrees", max_degrees, low=0)
    max_shift = check_real("max_shift", max_shift, low=0)
    background = check_real("background", background, low=-math.inf, low_included=False)
    centre = (np.array(images.shape[2:]) - 1) / 2
    angles = np.deg2rad(rng.uniform(-max_degrees, max_degrees, len(images)))
    shifts = rng.uniform(-max_shift, max_shift, (len(images), 2))
    moved = np.empty_like(images)
    for image, angle, shift, out in zip(images, angles, shifts, moved, strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = centre - turn @ (centre + shift)
        for plane, out_plane in zip(image, out, strict=True):
            affine_transform(plane, turn, offset, output=out_plane, order=1, mode="grid-constant", cval=background)
    return moved


def mixup(
    images: HostArray,
    labels: HostArray,
    rng: np.random.Generator,
    *,
    alpha: float,
    num_classes: int,
    label_smoothing: float,
) -> tuple[HostArray, HostArray]:
    """Every image blended with its partner in the reversed batch, and the distributions over the classes to match.

    With one lam from Beta(alpha, alpha) for the batch, 1 where alpha is 0:
        images = lam * images + (1 - lam) * reversed images,  targets = lam * t + (1 - lam) * reversed t,
        t_bk = (1 - label_smoothing) * (labels_b = k) + label_smoothing / num_classes.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412, with the
    smoothing and the partners of the official training recipe.

    Parameters
    ----------
    images : (B, channels, height, width), float32 or float64.
    labels : integers (B,) in [0, num_classes).
    rng : draws lam.
    alpha : in [0, LARGEST_ALPHA].
    num_classes : K.
    label_smoothing : in [0, 1).

    Returns
    -------
    images : new ones, like those given.
    targets : (B, num_classes), in the dtype of the images.

    Raises
    ------
    TypeError
        For images that are no such host array, labels that are no host integers, a `rng` that is no generator and
        what is no number.
    ValueError
        For other shapes, labels of no class and numbers outside their bounds.
    """
    targets = _targets(images, labels, rng, alpha, num_classes, label_smoothing)
    lam = rng.beta(alpha, alpha) if alpha else 1.0
    mixed = (lam * values + (1 - lam) * values[::-1] for values in (images, targets))
    blended, soft = (values.astype(images.dtype) for values in mixed)
    return blended, soft


def cutmix(
    images: HostArray,
    labels: HostArray,
    rng: np.random.Generator,
    *,
    alpha: float,
    num_classes: int,
    label_smoothing: float,
) -> tuple[HostArray, HostArray]:
    """Every image with a rectangle of its partner in the reversed batch, and the distributions over the classes to
    match.

    With lam from Beta(alpha, alpha), 1 where alpha is 0, the rectangle is sqrt(1 - lam) of each side, half of it
    rounded down, its middle is uniform in the image, and what leaves it is cut off; lam of the targets is the share of
    the image that is left.

    Source: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", arXiv
    1905.04899, section 3.1, with the smoothing and the partners of the official training recipe.

    Parameters
    ----------
    images, labels, rng, alpha, num_classes, label_smoothing : as for `mixup`.

    Returns
    -------
    images, targets : as for `mixup`.

    Raises
    ------
    TypeError, ValueError
        As `mixup`.
    """
    targets = _targets(images, labels, rng, alpha, num_classes, label_smoothing)
    lam = rng.beta(alpha, alpha) if alpha else 1.0
    height, width = images.shape[2:]
    side = math.sqrt(1 - lam)
    middle = rng.integers(0, height), rng.integers(0, width)
    (top, bottom), (left, right) = (
        (max(0, centre - int(size * side) // 2), min(size, centre + int(size * side) // 2))
        for centre, size in zip(middle, (height, width), strict=True)
    )
    mixed = images.copy()
    mixed[:, :, top:bottom, left:right] = images[::-1, :, top:bottom, left:right]
    lam = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, (lam * targets + (1 - lam) * targets[::-1]).astype(images.dtype)


def _targets(
    images: HostArray,
    labels: HostArray,
    rng: np.random.Generator,
    alpha: float,
    num_classes: int,
    label_smoothing: float,
) -> HostArray:
    """The smoothed distributions (B, K) of the labels, once all that mixup and cutmix are given is checked."""
    check_host_images(images)
    check_generator(rng)
    check_real("alpha", alpha, low=0, high=LARGEST_ALPHA, high_included=True)
    num_classes = check_whole("num_classes", num_classes, low=1)
    label_smoothing = check_real("label_smoothing", label_smoothing, low=0, high=1)
    check_labels(labels, len(images), num_classes)
    onehot = labels[:, None] == np.arange(num_classes)
    targets: HostArray = (1 - label_smoothing) * onehot + label_smoothing / num_classes
    return targets
