"""Training: the loop over batches, and evaluation."""

from vipnp.train.loop import Evaluation, Optimizer, confusion_matrix, evaluate, train_epoch

__all__ = ["Evaluation", "Optimizer", "confusion_matrix", "evaluate", "train_epoch"]
