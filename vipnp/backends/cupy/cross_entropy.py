"""Softmax cross-entropy against labels or distributions."""

from __future__ import annotations

import cupy

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.common import TABLE, check_shape, sum_rows
from vipnp.backends.cupy.kernels import constant, launch, wide
from vipnp.backends.cupy.products import HasPrecision
from vipnp.core import Array, Pullback1
from vipnp.ops import cross_entropy, soft_cross_entropy

ROW_THREADS = constant("cross_entropy.cu", "ROW_THREADS")


def _cross_entropy(
    logits: Array, targets: Array | None, labels: Array | None, label_smoothing: float
) -> tuple[Array, Pullback1]:
    dtype = wide(dtype_name(logits))
    wide_logits = convert(logits, dtype)
    B, K = wide_logits.shape
    row_loss, saved = empty((B,), dtype), empty((B, 3), dtype)
    given = {
        "logits": wide_logits,
        "targets": targets,
        "labels": labels,
        "smoothing": label_smoothing,
        "share": label_smoothing / K,
        "saved": saved,
        "inverse_B": 1 / B,
        "K": K,
    }
    launch("cross_entropy_forward", dtype, (), (B,), (ROW_THREADS,), row_loss=row_loss, **given)
    loss = sum_rows(row_loss.reshape(B, 1)).reshape(())

    def pullback(dloss: Array) -> tuple[Array]:
        dlogits = empty((B, K), dtype)
        launch("cross_entropy_backward", dtype, (), (B,), (ROW_THREADS,), dloss=dloss, dlogits=dlogits, **given)
        return (convert(dlogits, dtype_name(logits)),)

    return loss, pullback


@TABLE.replaces(cross_entropy)
def cross_entropy_cuda(
    xp: HasPrecision, logits: Array, *, labels: Array, label_smoothing: float = 0.0
) -> tuple[Array, Pullback1]:
    """Saves: logits (B, K), labels (B,), and three numbers for each row."""
    check_shape("labels", labels, logits.shape[0])
    return _cross_entropy(logits, None, cupy.ascontiguousarray(labels, dtype="int64"), label_smoothing)


@TABLE.replaces(soft_cross_entropy)
def soft_cross_entropy_cuda(xp: HasPrecision, logits: Array, *, targets: Array) -> tuple[Array, Pullback1]:
    """Saves: logits, targets (B, K), and three numbers for each row."""
    check_shape("targets", targets, *logits.shape)
    return _cross_entropy(logits, convert(targets, wide(dtype_name(logits))), None, 0.0)
