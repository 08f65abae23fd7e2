"""The learning rate over the epochs."""

from __future__ import annotations

import math

from vipnp.core.checks import check_real, check_whole


def cosine_lr(
    epoch: float,
    *,
    lr: float,
    epochs: int,
    min_lr: float = 1e-5,
    warmup_epochs: int = 0,
    warmup_lr: float = 1e-6,
) -> float:
    """The learning rate at `epoch`: a linear warmup, then a half cosine from `lr` to `min_lr`.

    epoch < warmup_epochs      warmup_lr + (lr - warmup_lr) * epoch / warmup_epochs
    epoch < epochs             min_lr + (lr - min_lr) * (1 + cos(pi * epoch / epochs)) / 2
    from epoch = epochs on     min_lr (the cooldown)

    The cosine is not shifted by the warmup: at its end the rate is the cosine's at that epoch, not `lr`. The official
    recipe for 300 epochs is lr=2e-3 (at batch 2048), min_lr=1e-5, warmup_epochs=20, warmup_lr=1e-6, then 10 epochs of
    cooldown.
    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", arXiv 1608.03983, equation 5.

    Parameters
    ----------
    epoch : from 0; the number of the epoch, or step / (steps of an epoch) for a rate that changes with every step.
    lr, min_lr : the highest and the lowest rate of the cosine.
    epochs : where the cosine ends.
    warmup_epochs, warmup_lr : length of the warmup, and the rate that it begins with.

    Returns
    -------
    float
        The rate.

    Raises
    ------
    ValueError
        For a negative epoch, rate or length, a warmup as long as the whole, min_lr > lr, and warmup_lr > lr where there
        is a warmup.
    TypeError
        For what is no number.
    """
    epoch = check_real("epoch", epoch, low=0)
    epochs = check_whole("epochs", epochs, low=1)
    warmup_epochs = check_whole("warmup_epochs", warmup_epochs, low=0)
    if warmup_epochs >= epochs:
        raise ValueError(f"warmup_epochs: got {warmup_epochs}, expected less than epochs = {epochs}")
    lr = check_real("lr", lr, low=0)
    min_lr = check_real("min_lr", min_lr, low=0)
    warmup_lr = check_real("warmup_lr", warmup_lr, low=0)
    if min_lr > lr:
        raise ValueError(f"min_lr: got {min_lr}, expected at most lr = {lr}")
    if warmup_epochs and warmup_lr > lr:
        raise ValueError(f"warmup_lr: got {warmup_lr}, expected at most lr = {lr}")
    if epoch < warmup_epochs:
        return warmup_lr + (lr - warmup_lr) * epoch / warmup_epochs
    if epoch >= epochs:
        return min_lr
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * epoch / epochs)) / 2
