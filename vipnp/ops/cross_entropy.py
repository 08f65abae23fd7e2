"""Cross-entropy from logits against integer labels, with label smoothing."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1
from vipnp.ops.soft_cross_entropy import soft_cross_entropy


def cross_entropy(
    xp: Backend, logits: Array, *, labels: Array, label_smoothing: float = 0.0
) -> tuple[Array, Pullback1]:
    """loss = mean_b -sum_k t_bk log p_bk,  t = (1 - label_smoothing) * onehot(labels) + label_smoothing / K.

    logits (B, K); labels (B,) integers in [0, K); loss ().

    The gradient is that of the cross-entropy against the distribution t:
        dlogits = dloss / B * (p - t),  p = softmax(logits)

    Saves: p (B, K), t (B, K).
    Source: Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, section 7.
    """
    _, K = logits.shape
    classes = xp.arange(K, device=labels.device)
    onehot = xp.astype(labels[:, None] == classes[None, :], logits.dtype)
    targets = onehot * (1 - label_smoothing) + label_smoothing / K
    return soft_cross_entropy(xp, logits, targets=targets)
