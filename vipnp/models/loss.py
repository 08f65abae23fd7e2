"""The loss of a batch and its gradient by every parameter, once everything is checked and on the device."""

from __future__ import annotations

from vipnp.core import Array, Backend
from vipnp.core.tree import flatten
from vipnp.layers import BlockMasks
from vipnp.models.config import ViPConfig
from vipnp.models.vision_permutator import VisionPermutatorParams, vision_permutator
from vipnp.ops import cross_entropy, soft_cross_entropy


def loss_and_grads(
    xp: Backend,
    x: Array,
    params: VisionPermutatorParams,
    labels: Array | None,
    distributions: Array | None,
    *,
    config: ViPConfig,
    label_smoothing: float,
    masks: list[BlockMasks] | None,
) -> tuple[Array, dict[str, Array]]:
    """The cross-entropy, mean over the batch, and its gradients; the host takes no look at an array.

    Parameters
    ----------
    xp : the backend of all arrays.
    x : (B, C, H, W) images.
    params : of the model.
    labels : (B,) integers, or None.
    distributions : (B, K), where labels is None.
    config : of the model.
    label_smoothing : for labels, see `vipnp.ops.cross_entropy`.
    masks : see `vipnp.models.draws.draw_masks`; None for neither drop path nor dropout.

    Returns
    -------
    loss : a 0-d array.
    grads : {official name: gradient} in the order of the state dict.
    """
    logits, network_back = xp.run(vision_permutator, x, params, config=config, masks=masks)
    if distributions is None:
        loss, loss_back = xp.run(cross_entropy, logits, labels=labels, label_smoothing=label_smoothing)
    else:
        loss, loss_back = xp.run(soft_cross_entropy, logits, targets=distributions)
    (dlogits,) = loss_back(xp.ones_like(loss))
    _, grads = network_back(dlogits)
    return xp.asarray(loss), dict(flatten(grads))
