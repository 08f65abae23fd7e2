"""Training: the loop over batches, and evaluation."""

from vipnp.train.loop import Evaluation, Optimizer, confusion_matrix, evaluate, train_epoch
from vipnp.train.recipe import RECIPES, Recipe
from vipnp.train.settings import tiny_config

__all__ = [
    "RECIPES",
    "Evaluation",
    "Optimizer",
    "Recipe",
    "confusion_matrix",
    "evaluate",
    "tiny_config",
    "train_epoch",
]
