"""Cross-entropy from logits against a distribution over the classes."""

from __future__ import annotations

from vipnp.core import Array, Backend, Pullback1


def soft_cross_entropy(xp: Backend, logits: Array, *, targets: Array) -> tuple[Array, Pullback1]:
    """loss = -1/B sum_bk targets_bk log p_bk,  p = softmax(logits).

    logits, targets (B, K), the rows of targets distributions over the K classes (one-hot, smoothed or mixed); loss ().

    log p_k = z_k - log sum_j exp(z_j), whose derivative by z_j is delta_kj - p_j, so that
        dlogits = dloss / B * (p * sum_k targets_k - targets)

    The largest logit is subtracted first, which changes nothing in log p and keeps exp from overflowing. A class of
    target 0 adds nothing, also where its logit is -inf: 0 log 0 is the limit of t log p, which is 0.

    Saves: p (B, K), targets (B, K).
    Source: Szegedy et al., "Rethinking the Inception Architecture", arXiv 1512.00567, section 7.
    """
    B, _ = logits.shape
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=1, keepdims=True)
    p = e / total
    log_p = xp.where(targets == 0, xp.zeros_like(shifted), shifted - xp.log(total))
    loss = -xp.sum(targets * log_p) / B

    def pullback(dloss: Array) -> tuple[Array]:
        mass = xp.sum(targets, axis=1, keepdims=True)
        return (dloss / B * (p * mass - targets),)

    return loss, pullback
