"""Data sets and what may be done to their images."""

from vipnp.data.augment import mixup, rotate_and_shift
from vipnp.data.digits import CLASSES, SPLITS, Digits, load_digits

__all__ = ["CLASSES", "SPLITS", "Digits", "load_digits", "mixup", "rotate_and_shift"]
