"""The handwritten digits that come with scikit-learn: 1797 images of 8x8 pixels in ten classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vipnp.core import HostArray
from vipnp.core.checks import is_whole, shown

CLASSES = 10
SPLITS = 5
"""How many fixed splits `load_digits` knows."""

FOLDS = 10
SHUFFLE_SEED = 0


class Digits(NamedTuple):
    """The handwritten digits, cut into a training and a test part.

    Attributes
    ----------
    train_images, test_images : float32 (n, 1, 8, 8) in [-1, 1].
    train_labels, test_labels : int64 (n,) in 0..9.
    development : the first so many training images are those that no split tests on, for choosing hyperparameters.
    """

    train_images: HostArray
    train_labels: HostArray
    test_images: HostArray
    test_labels: HostArray
    development: int


def load_digits(split: int = 0) -> Digits:
    """The digits in one of five fixed stratified splits: 80 % to train on, 20 % held out.

    The images are dealt into ten stratified folds. Split k = 0..4 tests on the folds k and k+1 (modulo 5) and trains
    on the other eight; each image of the first five folds is so tested in two splits, and the last five folds are in
    no test set at all.
    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.

    Parameters
    ----------
    split : k.

    Returns
    -------
    Digits
        The images and labels of both parts.

    Raises
    ------
    ValueError
        For another split.
    TypeError
        If it is no integer.
    ImportError
        Naming the extra to install where scikit-learn is missing.
    """
    if not is_whole(split):
        raise TypeError(f"split: got {shown(split)}, expected an integer from 0 to {SPLITS - 1}")
    if not 0 <= split < SPLITS:
        raise ValueError(f"split: got {split}, expected 0 to {SPLITS - 1}")
    try:
        from sklearn import datasets
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise ImportError('the digits come with scikit-learn: pip install "vipnp[train]"') from error
    bunch = datasets.load_digits()
    images = (bunch.images[:, None] / 8 - 1).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    dealer = StratifiedKFold(FOLDS, shuffle=True, random_state=SHUFFLE_SEED)
    folds = [fold for _, fold in dealer.split(images, labels)]
    held_out = (split, (split + 1) % SPLITS)
    test = np.concatenate([folds[k] for k in held_out])
    always = np.concatenate(folds[SPLITS:])
    train = np.concatenate([always, *(folds[k] for k in range(SPLITS) if k not in held_out)])
    return Digits(images[train], labels[train], images[test], labels[test], len(always))
