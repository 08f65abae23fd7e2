"""Cases of small whole models, with and without a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vipnp import ops
from vipnp.audit.cases.case import Case, Draw, Inputs
from vipnp.audit.cases.values import AXIAL_GRID, block_masks, normal, tensors
from vipnp.core import Array, Backend, Generator
from vipnp.models import ViPConfig, parameter_shapes, vision_permutator

_MODEL = {"B": 6, "H": 2, "W": 1, "N": 3, "S": 4, "P": 5, "K": 7}
_MODEL_RANGES = {"B": (2, 3), "H": (1, 2), "W": (1, 2), "N": (1, 3), "S": (4, 4), "P": (1, 2), "K": (2, 4)}


def small_config(sizes: Mapping[str, int], **options: Any) -> ViPConfig:
    """A small whole model with everything in it: a patch embedding, a stage of two blocks, a 2x2 merge with a change of
    width, a stage of one block, a 1x1 transition and another block, on an image that is not square."""
    N, S = sizes["N"], sizes["S"]
    defaults: dict[str, Any] = {
        "layers": (2, 1, 1),
        "embed_dims": (N * S, (N + 1) * S, N * S),
        "segments": (N, N + 1, N),
        "transitions": (True, False, False),
        "patch_size": sizes["P"],
        "image_size": (2 * sizes["H"] * sizes["P"], 2 * sizes["W"] * sizes["P"]),
        "num_classes": sizes["K"],
        "in_channels": 2,
        "mlp_ratio": 2,
    }
    return ViPConfig(**{**defaults, **options})


def _model(masks: bool, loss: bool, **options: Any) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = small_config(s, **options)
        images = normal(rng, s["B"], config.in_channels, *config.image_size)
        params = tensors(rng, parameter_shapes(config))
        kwargs: dict[str, Any] = {"config": config}
        if masks:
            shapes = [shape for shape in config.stages() for _ in range(shape.depth)]
            grids = [
                {"B": s["B"], "H": t.height, "W": t.width, "N": t.segments, "S": t.channels // t.segments}
                for t in shapes
            ]
            kwargs["masks"] = [block_masks(rng, grid, config) for grid in grids]
        if loss:
            kwargs |= {"labels": rng.integers(0, s["K"], size=s["B"]), "label_smoothing": 0.1}
        return (images, params), kwargs

    return draw


def model_loss(
    xp: Backend,
    images: Array,
    params: Any,
    *,
    config: ViPConfig,
    labels: Array,
    label_smoothing: float,
    masks: Any = None,
) -> tuple[Array, Callable[[Array], tuple[Array, Any]]]:
    """The loss of a whole model: `vision_permutator`, then `cross_entropy`; one-shot like the model.

    images (B, in_channels, height, width); labels (B,); loss (). The pullback returns dimages and dparams.
    """
    logits, network_back = xp.run(vision_permutator, images, params, config=config, masks=masks)
    loss, loss_back = xp.run(ops.cross_entropy, logits, labels=labels, label_smoothing=label_smoothing)

    def pullback(dloss: Array) -> tuple[Array, Any]:
        (dlogits,) = loss_back(dloss)
        return network_back(dlogits)

    return loss, pullback


def model_cases() -> list[Case]:
    """The small model in its variants, then its loss."""
    model = partial(Case, kind="model", one_shot=True)
    plain, sizes, ranges = partial(_model, masks=False, loss=False), _MODEL, _MODEL_RANGES
    ablated = plain(fusion="sum", branches=("height", "channel", "channel"))
    axial, axial_ranges = sizes | {"B": 2, "H": 5, "W": 6, "P": 1}, ranges | AXIAL_GRID
    return [
        model(vision_permutator, plain(), sizes, ranges),
        model(vision_permutator, _model(masks=True, loss=False, skip_lam=2.0), sizes, ranges, "masks"),
        model(vision_permutator, ablated, sizes, ranges, "sum"),
        model(vision_permutator, plain(branches="plane"), sizes | {"B": 2, "H": 6}, ranges, "plane"),
        model(vision_permutator, plain(branches="point"), sizes | {"B": 2, "H": 6}, ranges, "point"),
        model(vision_permutator, plain(branches="axial"), axial, axial_ranges, "axial"),
        model(model_loss, _model(masks=True, loss=True, skip_lam=2.0), sizes, ranges),
    ]
