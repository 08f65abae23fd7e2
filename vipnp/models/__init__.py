"""Configurations, and the model: images in, logits, losses and gradients out."""

from vipnp.core.tree import flatten, unflatten
from vipnp.models.checks import IncompatibleKeys
from vipnp.models.config import (
    PUBLISHED,
    PUBLISHED_CROP_PCT,
    PUBLISHED_DROP_PATH,
    StageShape,
    ViPConfig,
    get_config,
    list_models,
)
from vipnp.models.create import create_model
from vipnp.models.draws import draw_masks
from vipnp.models.initialization import initial_parameters, parameter_shapes
from vipnp.models.model import VisionPermutator
from vipnp.models.saved import load, published_model
from vipnp.models.summary import Layer, Summary
from vipnp.models.vision_permutator import VisionPermutatorParams, tokens, vision_permutator

__all__ = [
    "PUBLISHED",
    "PUBLISHED_CROP_PCT",
    "PUBLISHED_DROP_PATH",
    "IncompatibleKeys",
    "Layer",
    "StageShape",
    "Summary",
    "ViPConfig",
    "VisionPermutator",
    "VisionPermutatorParams",
    "create_model",
    "draw_masks",
    "flatten",
    "get_config",
    "initial_parameters",
    "list_models",
    "load",
    "parameter_shapes",
    "published_model",
    "tokens",
    "unflatten",
    "vision_permutator",
]
