"""Published models with new weights."""

from __future__ import annotations

from typing import Any

from vipnp.core import Backend
from vipnp.models.config import get_config
from vipnp.models.model import VisionPermutator


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    backend: str | Backend = "numpy",
    dtype: str = "float32",
    seed: int = 0,
    **overrides: Any,
) -> VisionPermutator:
    """A published model with freshly drawn weights.

    Parameters
    ----------
    name : one of `list_models`. The vip_tiny of `vipnp train` is a `VisionPermutator` of `vipnp.train.tiny_config`.
    num_classes : outputs of the head.
    in_channels : channels of the images.
    backend : a name or a `Backend`.
    dtype : "float32" or "float64".
    seed : of the initial weights, the same on every backend.
    **overrides : any field of `ViPConfig`, drop_path and dropout (0 unless given) among them.

    Returns
    -------
    VisionPermutator
        On the backend.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, for anything unknown or impossible.
    """
    config = get_config(name, num_classes=num_classes, in_channels=in_channels, **overrides)
    return VisionPermutator(config, backend=backend, dtype=dtype, seed=seed)
