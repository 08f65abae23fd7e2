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
