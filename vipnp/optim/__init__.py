"""Optimisers, gradient clipping and the learning rate: formulas, one a file."""

from vipnp.optim.adamw import AdamW, AdamWState, adamw
from vipnp.optim.clip import clip_grad_norm
from vipnp.optim.schedule import cosine_lr
from vipnp.optim.sgd import SGD, SGDState, sgd

__all__ = ["SGD", "AdamW", "AdamWState", "SGDState", "adamw", "clip_grad_norm", "cosine_lr", "sgd"]
