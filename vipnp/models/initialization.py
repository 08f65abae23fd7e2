"""The official initialisation, drawn on the host so that every backend starts from the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from vipnp.core import HostArray
from vipnp.models.config import StageShape, ViPConfig

LINEAR_STD = 0.02


def parameter_shapes(config: ViPConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter.

    Parameters
    ----------
    config : of the model.

    Returns
    -------
    dict
        {official name: shape}, in the order of the official state dict.
    """
    return dict(_parameter_shapes(config))


@lru_cache(maxsize=8)
def _parameter_shapes(config: ViPConfig) -> dict[str, tuple[int, ...]]:
    """A training step asks for them three times, and they take longer than its optimiser."""
    shapes = config.stages()
    P = config.patch_size
    named: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (shapes[0].channels, config.in_channels, P, P),
        "patch_embed.proj.bias": (shapes[0].channels,),
    }
    for shape, following in zip(shapes, [*shapes[1:], None], strict=True):
        for block in range(shape.depth):
            prefix = f"network.{shape.place}.{block}."
            named.update({prefix + name: value for name, value in _block_shapes(config, shape)})
        if following is not None and shape.merge:
            prefix = f"network.{shape.place + 1}.proj."
            named[prefix + "weight"] = (following.channels, shape.channels, shape.merge, shape.merge)
            named[prefix + "bias"] = (following.channels,)
    C = shapes[-1].channels
    named.update({"norm.weight": (C,), "norm.bias": (C,)})
    named.update({"head.weight": (config.num_classes, C), "head.bias": (config.num_classes,)})
    return named


def _block_shapes(config: ViPConfig, shape: StageShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    C = shape.channels
    side_h, side_w, side_c = (shape.side(kind) for kind in config.branches)
    yield from (("norm1.weight", (C,)), ("norm1.bias", (C,)))
    yield ("attn.mlp_c.weight", (side_c, side_c))
    yield ("attn.mlp_h.weight", (side_h, side_h))
    yield ("attn.mlp_w.weight", (side_w, side_w))
    if config.fusion == "weighted":
        yield from (("attn.reweight.fc1.weight", (C // 4, C)), ("attn.reweight.fc1.bias", (C // 4,)))
        yield from (("attn.reweight.fc2.weight", (3 * C, C // 4)), ("attn.reweight.fc2.bias", (3 * C,)))
    yield from (("attn.proj.weight", (C, C)), ("attn.proj.bias", (C,)))
    yield from (("norm2.weight", (C,)), ("norm2.bias", (C,)))
    hidden = config.mlp_ratio * C
    yield from (("mlp.fc1.weight", (hidden, C)), ("mlp.fc1.bias", (hidden,)))
    yield from (("mlp.fc2.weight", (C, hidden)), ("mlp.fc2.bias", (C,)))


def initial_parameters(config: ViPConfig, seed: int) -> dict[str, HostArray]:
    """Freshly drawn weights.

    Linear weights are normal with deviation 0.02 (the official truncation at +-2 is 100 deviations away), their biases
    0; LayerNorm weights 1 and biases 0; patch embedding and transitions have PyTorch's default for convolutions,
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for weight and bias, fan_in = C*P*P.

    Parameters
    ----------
    config : of the model.
    seed : of NumPy's generator.

    Returns
    -------
    dict
        {official name: float64 host array}, drawn in the order of the state dict.
    """
    return _drawn(np.random.default_rng(seed), parameter_shapes(config))


def initial_head(config: ViPConfig, seed: int) -> dict[str, HostArray]:
    """The parameters of the head alone, drawn from `seed`: "head.weight" (K, C) and "head.bias" (K,), float64."""
    shapes = {name: shape for name, shape in parameter_shapes(config).items() if name.startswith("head.")}
    return _drawn(np.random.default_rng(seed), shapes)


def _drawn(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]]) -> dict[str, HostArray]:
    values: dict[str, HostArray] = {}
    for name, shape in shapes.items():
        module, kind = name.rsplit(".", 1)
        weight_shape = shapes[f"{module}.weight"]
        if len(weight_shape) == 4:
            bound = 1 / math.sqrt(math.prod(weight_shape[1:]))
            values[name] = rng.uniform(-bound, bound, shape)
        elif len(weight_shape) == 2 and kind == "weight":
            values[name] = rng.normal(0.0, LINEAR_STD, shape)
        else:
            values[name] = np.ones(shape) if kind == "weight" else np.zeros(shape)
    return values
