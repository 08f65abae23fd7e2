"""Random draws by counter: what is drawn depends on where it is used, not on how much was drawn before.

Every draw of a training run comes from a stream of its own, named by (seed, purpose, step, sample). So a run that is
taken up again in the middle, one with another number of loader threads and one that never stopped all draw alike.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from vipnp.core import Generator
from vipnp.core.checks import check_whole

LARGEST_SEED = 2**64 - 1
"""Of a key of Philox."""

Purpose = Literal["order", "augment", "mix", "masks", "split"]
"""What a stream is for; streams of different purposes have nothing in common."""


def stream(seed: int, purpose: Purpose, step: int = 0, sample: int = 0) -> Generator:
    """A generator whose draws are a function of its four arguments.

    Parameters
    ----------
    seed : of the run, from 0 to LARGEST_SEED.
    purpose : what is drawn.
    step : the epoch or the step of the run, >= 0.
    sample : the index of the sample in its data set, >= 0.

    Returns
    -------
    Generator
        Philox 4x64 with the key (seed, purpose) and the counter (0, step, sample, 0): 2^64 blocks of four numbers
        before it would reach the next step's.

    Raises
    ------
    TypeError, ValueError
        For what is no whole number from 0 to 2^64 - 1, or an unknown purpose.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    """
    purposes = get_args(Purpose)
    if purpose not in purposes:
        raise ValueError(f"purpose: got {purpose!r}, expected one of {', '.join(purposes)}")
    counted = {"seed": seed, "step": step, "sample": sample}
    words = [check_whole(name, value, low=0, high=LARGEST_SEED) for name, value in counted.items()]
    key = np.array([words[0], purposes.index(purpose)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, words[1], words[2], 0], np.uint64)))
