"""Data sets, what is done to their images, and the draws that decide it."""

from vipnp.data.augment import cutmix, mixup, rotate_and_shift
from vipnp.data.digits import CLASSES, SPLITS, Digits, load_digits
from vipnp.data.images import open_image
from vipnp.data.random import stream
from vipnp.data.sets import DataSet, Split, load_data_set
from vipnp.data.transforms import Transform

__all__ = [
    "CLASSES",
    "SPLITS",
    "DataSet",
    "Digits",
    "Split",
    "Transform",
    "cutmix",
    "load_data_set",
    "load_digits",
    "mixup",
    "open_image",
    "rotate_and_shift",
    "stream",
]
