"""How far pixels alone go: every held-out image gets the class of its nearest training image.

python -m tools.nearest_neighbour phototiles
"""

from __future__ import annotations

import argparse

import numpy as np

from vipnp.core import HostArray
from vipnp.data import load_data_set
from vipnp.data.sets import EMBEDDED, Split


def pixels(split: Split) -> HostArray:
    """(images, numbers)."""
    return np.stack([np.asarray(split.picture(i, 3), np.float32).ravel() for i in range(len(split.labels))])


def accuracy(train: HostArray, labels: HostArray, held_out: HostArray, truth: HostArray) -> float:
    """|a - b|^2 = |a|^2 - 2 a.b + |b|^2, and |b|^2 is the same for all training images."""
    nearest = (np.sum(train**2, axis=1) - 2 * held_out @ train.T).argmin(axis=1)
    return float(np.mean(labels[nearest] == truth))


def main(name: str) -> None:
    """Print the accuracy on a data set that an installed package carries."""
    data = load_data_set(name)
    share = accuracy(pixels(data.train), data.train.labels, pixels(data.validation), data.validation.labels)
    print(f"{name}: {share:.1%} of {len(data.validation.labels)} held-out images")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.nearest_neighbour", description=__doc__)
    parser.add_argument("data", choices=EMBEDDED)
    main(parser.parse_args().data)
