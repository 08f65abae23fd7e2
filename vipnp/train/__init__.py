"""Training: optimisers, the learning-rate schedule, gradient clipping and the loop over batches."""

from vipnp.train.adamw import AdamW, AdamWState, adamw
from vipnp.train.clip import clip_grad_norm
from vipnp.train.loop import Evaluation, Optimizer, confusion_matrix, evaluate, train_epoch
from vipnp.train.schedule import cosine_lr
from vipnp.train.sgd import SGD, SGDState, sgd

__all__ = [
    "SGD",
    "AdamW",
    "AdamWState",
    "Evaluation",
    "Optimizer",
    "SGDState",
    "adamw",
    "clip_grad_norm",
    "confusion_matrix",
    "cosine_lr",
    "evaluate",
    "sgd",
    "train_epoch",
]
