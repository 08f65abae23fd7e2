"""Augmentation of small images on the host."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import affine_transform

from vipnp.backends import HostArray


def rotate_and_shift(
    images: HostArray,
    rng: np.random.Generator,
    *,
    max_degrees: float,
    max_shift: float,
    background: float,
) -> HostArray:
    """Every image turned about its centre and moved, by its own random angle and offsets.

    images : (B, channels, height, width); the result has the same shape and dtype. max_degrees : the angle is uniform
    in +-max_degrees. max_shift : down and right, each uniform in +-max_shift, in pixels. background : the value that
    comes in from outside. Values between the pixels are interpolated linearly.
    """
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

    images : (B, channels, height, width). labels : integers (B,) in [0, num_classes). Returns new images and targets
    (B, num_classes), both in the dtype of the images.
    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", arXiv 1710.09412, with the
    smoothing and the partners of the official training recipe.
    """
    lam = rng.beta(alpha, alpha) if alpha else 1.0
    onehot = labels[:, None] == np.arange(num_classes)
    targets = (1 - label_smoothing) * onehot + label_smoothing / num_classes
    mixed = (lam * values + (1 - lam) * values[::-1] for values in (images, targets))
    blended, soft = (values.astype(images.dtype) for values in mixed)
    return blended, soft
