"""Training: the loop over batches, and evaluation."""

from vipnp.train.loop import Evaluation, confusion_matrix, evaluate, train_epoch
from vipnp.train.recipe import RECIPES, Recipe
from vipnp.train.settings import tiny_config
from vipnp.train.step import Optimizer, TrainingStep

__all__ = [
    "RECIPES",
    "Evaluation",
    "Optimizer",
    "Recipe",
    "TrainingStep",
    "confusion_matrix",
    "evaluate",
    "tiny_config",
    "train_epoch",
]
