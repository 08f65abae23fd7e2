"""The table of cases: every op, layer and model with inputs, naive definition and PyTorch twin. Every suite uses it.

A case draws its inputs from a generator at given sizes, in float64: `args`, the arrays (or nested dicts of arrays)
that are differentiated, and `kwargs`, the constants. All values are random and nonzero, B >= 2, and no two letters of a
case have the same size, so that any two that are swapped are seen. Drop masks drop some samples and keep some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from vipnp import layers, ops
from vipnp.audit import definitions, torch_twins
from vipnp.core import Array, Backend, Generator, HostArray
from vipnp.layers import BlockMasks, Mask
from vipnp.models import ViPConfig, parameter_shapes, unflatten, vision_permutator

Kind = Literal["op", "layer", "block", "model"]
Inputs = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One op, layer or model on one kind of input.

    Attributes
    ----------
    name : unique; the op's name, with what is special about the inputs after a slash.
    op : the function `y, pullback = op(xp, *args, **kwargs)`.
    draw : (rng, sizes) -> (args, kwargs), float64 host arrays.
    sizes : the sizes by letter that a suite with one shape uses.
    ranges : inclusive range of every letter for suites that draw shapes; H and W are never drawn equal.
    definition : the same function as loops over scalars (nested lists).
    twin : the same function in PyTorch.
    arguments : the names of the differentiated arguments.
    linear_in : the differentiated arguments it is linear in while the others are held fixed (bias excluded).
    kind : op, layer, block or model.
    hard : ill-conditioned on purpose; held to looser, stated bounds.
    one_shot : the pullback can be called once only.
    """

    name: str
    op: Callable[..., tuple[Any, Callable[[Any], tuple[Any, ...]]]]
    draw: Callable[[Generator, Mapping[str, int]], Inputs]
    sizes: Mapping[str, int]
    ranges: Mapping[str, tuple[int, int]]
    definition: Callable[..., Any]
    twin: Callable[..., Any]
    arguments: tuple[str, ...]
    linear_in: tuple[str, ...] = ()
    kind: Kind = "op"
    hard: bool = False
    one_shot: bool = False

    def inputs(self, seed: int = 0, sizes: Mapping[str, int] | None = None) -> Inputs:
        """(args, kwargs) drawn from `seed`, at `sizes` or the case's own."""
        return self.draw(np.random.default_rng(seed), self.sizes if sizes is None else sizes)

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether `sizes` lie in `ranges` with H and W unequal."""
        inside = all(low <= sizes[letter] <= high for letter, (low, high) in self.ranges.items())
        return inside and (not {"H", "W"} <= set(sizes) or sizes["H"] != sizes["W"])


# --- values -------------------------------------------------------------------------------------------------------


def _normal(rng: Generator, *shape: int) -> HostArray:
    return rng.normal(size=shape)


def _weight(rng: Generator, *shape: int) -> HostArray:
    """A weight that keeps activations near one."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    return rng.normal(0.0, fan_in**-0.5, size=shape)


def _gain(rng: Generator, *shape: int) -> HostArray:
    """The weight of a LayerNorm: around one, never near zero."""
    sign: HostArray = rng.choice([-1.0, 1.0], size=shape)
    return sign * rng.uniform(0.5, 1.5, size=shape)


def _path_mask(rng: Generator, B: int, rate: float) -> Mask:
    """A drop-path mask that drops at least one sample and keeps at least one."""
    mask = np.ones(B)
    dropped = rng.permutation(B)[: max(1, min(B - 1, round(rate * B)))]
    mask[dropped] = 0
    return Mask(mask, rate)


def _entry_mask(rng: Generator, shape: tuple[int, ...], rate: float) -> Mask:
    """A dropout mask that drops at least one entry and keeps at least one."""
    mask = (rng.random(shape) >= rate).astype(np.float64)
    mask.reshape(-1)[[0, -1]] = 0, 1
    return Mask(mask, rate)


def _tensors(rng: Generator, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random nested parameters of official names and shapes, none of them zero or one."""
    values = {}
    for name, shape in shapes.items():
        if "norm" in name and name.endswith("weight"):
            values[name] = _gain(rng, *shape)
        else:
            values[name] = _weight(rng, *shape) if len(shape) > 1 else 0.5 * _normal(rng, *shape)
    return unflatten(values)


def _subtree(config: ViPConfig, prefix: str) -> dict[str, tuple[int, ...]]:
    return {
        name.removeprefix(prefix): shape for name, shape in parameter_shapes(config).items() if name.startswith(prefix)
    }


def _one_stage(sizes: Mapping[str, int], depth: int = 1, **options: Any) -> ViPConfig:
    """A configuration whose one stage has the grid of `sizes`: H x W tokens, N segments of width S."""
    return ViPConfig(
        layers=(depth,),
        embed_dims=(sizes["N"] * sizes["S"],),
        segments=(sizes["N"],),
        transitions=(False,),
        patch_size=1,
        image_size=(sizes["H"], sizes["W"]),
        mlp_ratio=2,
        num_classes=3,
        **options,
    )


def _grid(rng: Generator, sizes: Mapping[str, int]) -> HostArray:
    return _normal(rng, sizes["B"], sizes["H"], sizes["W"], sizes["N"] * sizes["S"])


def _block_masks(rng: Generator, sizes: Mapping[str, int], config: ViPConfig) -> BlockMasks:
    grid = (sizes["B"], sizes["H"], sizes["W"])
    C = sizes["N"] * sizes["S"]
    return BlockMasks(
        attn_path=_path_mask(rng, sizes["B"], 0.25),
        mlp_path=_path_mask(rng, sizes["B"], 0.5),
        proj=_entry_mask(rng, (*grid, C), 0.2),
        hidden=_entry_mask(rng, (*grid, config.mlp_ratio * C), 0.3),
        out=_entry_mask(rng, (*grid, C), 0.1),
    )


# --- inputs of the ops ----------------------------------------------------------------------------------------------


def _linear(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_normal(rng, s["B"], s["H"], s["C"]), _weight(rng, s["K"], s["C"]), _normal(rng, s["K"])), {}


def _linear_no_bias(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_normal(rng, s["B"], s["H"], s["C"]), _weight(rng, s["K"], s["C"])), {}


def _layer_norm(eps: float | None = None, mean: float = 0.3) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        x = mean + _normal(rng, s["B"], s["H"], s["C"])
        return (x, _gain(rng, s["C"]), _normal(rng, s["C"])), {} if eps is None else {"eps": eps}

    return draw


def _one_input(scale: float = 1.5) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (scale * _normal(rng, s["B"], s["H"], s["C"]),), {}

    return draw


def _softmax(spread: float) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (rng.uniform(-spread / 2, spread / 2, size=(s["B"], s["H"], s["K"])),), {}

    return draw


def _permute(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_grid(rng, s),), {"segments": s["N"]}


def _split_attention(rng: Generator, s: Mapping[str, int]) -> Inputs:
    shape = (s["B"], s["H"], s["W"], s["C"])
    logits = rng.uniform(-2, 2, size=(s["B"], s["C"], s["K"]))
    return (logits, *(_normal(rng, *shape) for _ in range(s["K"]))), {}


def _patch_embed(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = _normal(rng, s["B"], s["C"], s["H"] * s["P"], s["W"] * s["Q"])
    return (x, _weight(rng, s["K"], s["C"], s["P"], s["Q"]), _normal(rng, s["K"])), {}


def _global_average_pool(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_normal(rng, s["B"], s["H"], s["W"], s["C"]),), {}


def _dropout(rng: Generator, s: Mapping[str, int]) -> Inputs:
    shape = (s["B"], s["H"], s["C"])
    return (_normal(rng, *shape),), _entry_mask(rng, shape, 0.3)._asdict()


def _drop_path(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_normal(rng, s["B"], s["H"], s["W"], s["C"]),), _path_mask(rng, s["B"], 0.4)._asdict()


def _residual(skip_lam: float | None) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        shape = (s["B"], s["H"], s["W"], s["C"])
        kwargs = {} if skip_lam is None else {"skip_lam": skip_lam}
        return (_normal(rng, *shape), _normal(rng, *shape)), kwargs

    return draw


def _cross_entropy(smoothing: float | None, spread: float = 4.0) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        logits = rng.uniform(-spread / 2, spread / 2, size=(s["B"], s["K"]))
        kwargs: dict[str, Any] = {"labels": rng.integers(0, s["K"], size=s["B"])}
        return (logits,), kwargs if smoothing is None else {**kwargs, "label_smoothing": smoothing}

    return draw


def _soft_cross_entropy(normalised: bool) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    """Targets that are distributions, or rows that sum to anything: the formula asks for no more."""

    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        logits = rng.uniform(-2, 2, size=(s["B"], s["K"]))
        targets = rng.dirichlet(np.ones(s["K"]), size=s["B"])
        return (logits,), {"targets": targets if normalised else targets * rng.uniform(0.5, 1.5, size=(s["B"], 1))}

    return draw


# --- inputs of layers and models ------------------------------------------------------------------------------------


def _mlp(masks: bool) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        params = _tensors(rng, _subtree(_one_stage(s, fusion="sum"), "network.0.0.mlp."))
        x = _grid(rng, s)
        hidden = (*x.shape[:3], 2 * x.shape[3])
        kwargs = {"hidden_mask": _entry_mask(rng, hidden, 0.3), "out_mask": _entry_mask(rng, x.shape, 0.2)}
        return (x, params), kwargs if masks else {}

    return draw


def _resample_mixing(rng: Generator, s: Mapping[str, int]) -> Inputs:
    kwargs = {"spread": _normal(rng, s["H"], s["G"]), "gather": _normal(rng, s["G"], s["H"])}
    return (_normal(rng, s["G"] * s["S"], s["G"] * s["S"]),), kwargs


def _shift(rng: Generator, s: Mapping[str, int]) -> Inputs:
    """Any matrices in the place of those that move: the formula asks for no more."""
    kwargs = {"rows": _normal(rng, s["N"], s["G"], s["H"]), "columns": _normal(rng, s["N"], s["V"], s["W"])}
    return (_grid(rng, s),), kwargs


def _branch(place: str, **options: Any) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        params = _tensors(rng, _subtree(_one_stage(s, fusion="sum", **options), f"network.0.0.attn.{place}."))
        return (_grid(rng, s), params), {"segments": s["N"]}

    return draw


def _permute_mlp(prefix: str, masks: bool, **options: Any) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    """Inputs of a Permute-MLP (prefix "attn.") or of a whole block (prefix "")."""

    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = _one_stage(s, **options)
        params = _tensors(rng, _subtree(config, f"network.0.0.{prefix}"))
        x = _grid(rng, s)
        kwargs: dict[str, Any] = {"segments": s["N"]}
        if "branches" in options:
            kwargs["branches"] = config.branches
        if prefix:
            return (x, params), {**kwargs, "mask": _entry_mask(rng, x.shape, 0.2)} if masks else kwargs
        if "fusion" in options:
            kwargs["fusion"] = config.fusion
        if "skip_lam" in options:
            kwargs["skip_lam"] = config.skip_lam
        return (x, params), {**kwargs, "masks": _block_masks(rng, s, config)} if masks else kwargs

    return draw


def _stage(masks: bool, **options: Any) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = _one_stage(s, depth=2, **options)
        params = _tensors(rng, _subtree(config, "network.0."))
        kwargs: dict[str, Any] = {"segments": s["N"]}
        if masks:
            kwargs["masks"] = [_block_masks(rng, s, config) for _ in range(2)]
        return (_grid(rng, s), params), {**kwargs, **options}

    return draw


def _downsample(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = _normal(rng, s["B"], s["H"] * s["P"], s["W"] * s["P"], s["C"])
    weight = _weight(rng, s["K"], s["C"], s["P"], s["P"])
    return (x, {"proj": {"weight": weight, "bias": _normal(rng, s["K"])}}), {}


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


def _model(masks: bool, loss: bool, **options: Any) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        config = small_config(s, **options)
        images = _normal(rng, s["B"], config.in_channels, *config.image_size)
        params = _tensors(rng, parameter_shapes(config))
        kwargs: dict[str, Any] = {"config": config}
        if masks:
            shapes = [shape for shape in config.stages() for _ in range(shape.depth)]
            grids = [
                {"B": s["B"], "H": t.height, "W": t.width, "N": t.segments, "S": t.channels // t.segments}
                for t in shapes
            ]
            kwargs["masks"] = [_block_masks(rng, grid, config) for grid in grids]
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


# --- the table ------------------------------------------------------------------------------------------------------

_ROWS = {"B": 3, "H": 2, "C": 5}
_ROW_RANGES = {"B": (2, 4), "H": (1, 4), "C": (4, 9)}
_GRID = {"B": 6, "H": 2, "W": 5, "N": 3, "S": 4}
_GRID_RANGES = {"B": (2, 3), "H": (1, 4), "W": (1, 4), "N": (1, 4), "S": (1, 4)}
_WEIGHTED_RANGES = {**_GRID_RANGES, "S": (4, 4)}
_MODEL = {"B": 6, "H": 2, "W": 1, "N": 3, "S": 4, "P": 5, "K": 7}
_MODEL_RANGES = {"B": (2, 3), "H": (1, 2), "W": (1, 2), "N": (1, 3), "S": (4, 4), "P": (1, 2), "K": (2, 4)}
_X = ("x", "params")
_ABLATED = ("channel", "width", "channel")
_AXIAL_GRID = {"H": (3, 5), "W": (3, 5)}
"""A shift by two leaves a smaller grid with nothing."""


def _case(
    op: Callable[..., Any],
    draw: Callable[[Generator, Mapping[str, int]], Inputs],
    sizes: Mapping[str, int],
    ranges: Mapping[str, tuple[int, int]],
    arguments: tuple[str, ...],
    variant: str = "",
    **fields: Any,
) -> Case:
    name = op.__name__
    return Case(
        name=f"{name}/{variant}" if variant else name,
        op=op,
        draw=draw,
        sizes=MappingProxyType(dict(sizes)),
        ranges=MappingProxyType(dict(ranges)),
        definition=getattr(definitions, name),
        twin=getattr(torch_twins, name),
        arguments=arguments,
        **fields,
    )


def _op_cases() -> list[Case]:
    K, K_range = {"K": 4}, {"K": (2, 6)}
    image = {"B": 4, "H": 2, "W": 6, "C": 5}
    image_ranges = {"B": (2, 4), "H": (1, 4), "W": (1, 4), "C": (1, 5)}
    classes, class_ranges = {"B": 3, "K": 5}, {"B": (2, 5), "K": (2, 8)}
    softmax_sizes, softmax_ranges = {"B": 3, "H": 2, "K": 5}, {"B": (2, 4), "H": (1, 3), "K": (2, 8)}
    patch = {"B": 3, "C": 4, "H": 2, "W": 5, "P": 6, "Q": 7, "K": 8}
    patch_ranges = {"B": (2, 3), "C": (1, 3), "H": (1, 3), "W": (1, 3), "P": (1, 3), "Q": (1, 3), "K": (1, 4)}
    grid_ranges = _GRID_RANGES
    wxb = ("x", "weight", "bias")
    return [
        _case(ops.linear, _linear, _ROWS | K, _ROW_RANGES | K_range, wxb, linear_in=("x", "weight")),
        _case(
            ops.linear_no_bias,
            _linear_no_bias,
            _ROWS | K,
            _ROW_RANGES | K_range,
            ("x", "weight"),
            linear_in=("x", "weight"),
        ),
        _case(ops.layer_norm, _layer_norm(), _ROWS, _ROW_RANGES, wxb),
        _case(ops.layer_norm, _layer_norm(eps=0.03), _ROWS, _ROW_RANGES, wxb, "eps"),
        _case(
            ops.layer_norm, _layer_norm(), _ROWS | {"H": 4, "C": 2}, _ROW_RANGES | {"C": (2, 2)}, wxb, "C=2", hard=True
        ),
        _case(ops.layer_norm, _layer_norm(mean=1000.0), _ROWS, _ROW_RANGES, wxb, "mean=1000", hard=True),
        _case(ops.gelu, _one_input(), _ROWS, _ROW_RANGES, ("x",)),
        _case(ops.softmax, _softmax(4.0), softmax_sizes, softmax_ranges, ("x",)),
        _case(ops.softmax, _softmax(36.0), softmax_sizes, softmax_ranges, ("x",), "saturated", hard=True),
        _case(ops.permute_height, _permute, _GRID, grid_ranges, ("x",), linear_in=("x",)),
        _case(ops.permute_width, _permute, _GRID, grid_ranges, ("x",), linear_in=("x",)),
        _case(
            ops.resample_mixing,
            _resample_mixing,
            {"H": 4, "G": 3, "S": 2},
            {"H": (1, 5), "G": (1, 5), "S": (1, 3)},
            ("weight",),
            linear_in=("weight",),
        ),
        _case(
            ops.shift,
            _shift,
            {"B": 3, "H": 8, "W": 7, "N": 2, "S": 5, "G": 4, "V": 6},
            grid_ranges | {"G": (1, 6), "V": (1, 6)},
            ("x",),
            linear_in=("x",),
        ),
        _case(
            ops.split_attention,
            _split_attention,
            image | {"K": 3},
            image_ranges | {"K": (3, 3)},
            ("logits", "x_1", "x_2", "x_3"),
            linear_in=("x_1", "x_2", "x_3"),
        ),
        _case(
            ops.split_attention,
            _split_attention,
            image | {"H": 3, "K": 2},
            image_ranges | {"K": (2, 2)},
            ("logits", "x_1", "x_2"),
            "k=2",
            linear_in=("x_1", "x_2"),
        ),
        _case(
            ops.split_attention,
            _split_attention,
            image | {"C": 3, "K": 5},
            image_ranges | {"K": (5, 5)},
            ("logits", "x_1", "x_2", "x_3", "x_4", "x_5"),
            "k=5",
            linear_in=("x_1", "x_2", "x_3", "x_4", "x_5"),
        ),
        _case(ops.patch_embed, _patch_embed, patch, patch_ranges, wxb, linear_in=("x", "weight")),
        _case(ops.global_average_pool, _global_average_pool, image, image_ranges, ("x",), linear_in=("x",)),
        _case(ops.dropout, _dropout, _ROWS, _ROW_RANGES, ("x",), linear_in=("x",)),
        _case(ops.drop_path, _drop_path, image, image_ranges, ("x",), linear_in=("x",)),
        _case(ops.residual, _residual(None), image, image_ranges, ("x", "branch"), linear_in=("x", "branch")),
        _case(
            ops.residual, _residual(2.0), image, image_ranges, ("x", "branch"), "skip_lam", linear_in=("x", "branch")
        ),
        _case(ops.cross_entropy, _cross_entropy(None), classes, class_ranges, ("logits",)),
        _case(ops.cross_entropy, _cross_entropy(0.1), classes, class_ranges, ("logits",), "smoothed"),
        _case(ops.cross_entropy, _cross_entropy(0.1, 36.0), classes, class_ranges, ("logits",), "saturated", hard=True),
        _case(ops.soft_cross_entropy, _soft_cross_entropy(True), classes, class_ranges, ("logits",)),
        _case(ops.soft_cross_entropy, _soft_cross_entropy(False), classes, class_ranges, ("logits",), "any mass"),
    ]


def _layer_cases() -> list[Case]:
    grid, ranges, weighted = _GRID, _GRID_RANGES, _WEIGHTED_RANGES
    down = {"B": 6, "H": 1, "W": 3, "C": 4, "K": 5, "P": 2}
    down_ranges = {"B": (2, 3), "H": (1, 3), "W": (1, 3), "C": (1, 4), "K": (1, 4), "P": (1, 2)}
    layer: dict[str, Any] = {"kind": "layer"}
    block: dict[str, Any] = {"kind": "block"}
    ablated = {"branches": _ABLATED}
    wide = {**grid, "H": 5, "W": 7}
    axial = weighted | _AXIAL_GRID
    return [
        _case(layers.mlp, _mlp(masks=False), grid, ranges, _X, **layer),
        _case(layers.mlp, _mlp(masks=True), grid, ranges, _X, "dropout", **layer),
        _case(layers.height_branch, _branch("mlp_h"), grid, ranges, _X, linear_in=_X, **layer),
        _case(layers.width_branch, _branch("mlp_w"), grid, ranges, _X, linear_in=_X, **layer),
        _case(layers.channel_branch, _branch("mlp_c"), grid, ranges, _X, linear_in=_X, **layer),
        _case(layers.plane_branch, _branch("mlp_h", branches="plane"), grid, ranges, _X, linear_in=_X, **layer),
        _case(layers.point_branch, _branch("mlp_h", branches="point"), grid, weighted, _X, linear_in=_X, **layer),
        _case(layers.axial_height_branch, _branch("mlp_h", branches="axial"), wide, axial, _X, linear_in=_X, **layer),
        _case(layers.axial_width_branch, _branch("mlp_w", branches="axial"), wide, axial, _X, linear_in=_X, **layer),
        _case(layers.permute_mlp, _permute_mlp("attn.", masks=False, fusion="sum"), grid, ranges, _X, **layer),
        _case(
            layers.permute_mlp,
            _permute_mlp("attn.", masks=True, fusion="sum", **ablated),
            grid,
            ranges,
            _X,
            "ablated",
            **layer,
        ),
        _case(layers.weighted_permute_mlp, _permute_mlp("attn.", masks=False), grid, weighted, _X, **layer),
        _case(
            layers.weighted_permute_mlp,
            _permute_mlp("attn.", masks=True, **ablated),
            grid,
            weighted,
            _X,
            "ablated",
            **layer,
        ),
        _case(layers.downsample, _downsample, down, down_ranges, _X, linear_in=("x",), **layer),
        _case(layers.permutator, _permute_mlp("", masks=False), grid, weighted, _X, **block),
        _case(layers.permutator, _permute_mlp("", masks=True, skip_lam=2.0), grid, weighted, _X, "masks", **block),
        _case(
            layers.permutator,
            _permute_mlp("", masks=True, fusion="sum", skip_lam=2.0, **ablated),
            grid,
            ranges | {"N": (2, 4), "S": (2, 4)},  # a LayerNorm of very few channels is ill-conditioned
            _X,
            "sum",
            **block,
        ),
        _case(layers.stage, _stage(masks=False), grid, weighted, _X, one_shot=True, **block),
        _case(layers.stage, _stage(masks=True, skip_lam=2.0), grid, weighted, _X, "masks", one_shot=True, **block),
    ]


def _model_cases() -> list[Case]:
    options: dict[str, Any] = {"kind": "model", "one_shot": True}
    arguments = ("images", "params")

    def model(op: Callable[..., Any], draw: Any, variant: str = "") -> Case:
        return _case(op, draw, _MODEL, _MODEL_RANGES, arguments, variant, **options)

    return [
        model(vision_permutator, _model(masks=False, loss=False)),
        model(vision_permutator, _model(masks=True, loss=False, skip_lam=2.0), "masks"),
        model(
            vision_permutator,
            _model(masks=False, loss=False, fusion="sum", branches=("height", "channel", "channel")),
            "sum",
        ),
        *(
            _case(
                vision_permutator,
                _model(masks=False, loss=False, branches=mixing),
                _MODEL | {"B": 2, "H": 6},
                _MODEL_RANGES,
                arguments,
                mixing,
                **options,
            )
            for mixing in ("plane", "point")
        ),
        _case(
            vision_permutator,
            _model(masks=False, loss=False, branches="axial"),
            _MODEL | {"B": 2, "H": 5, "W": 6, "P": 1},
            _MODEL_RANGES | _AXIAL_GRID,
            arguments,
            "axial",
            **options,
        ),
        model(model_loss, _model(masks=True, loss=True, skip_lam=2.0)),
    ]


CASES: Mapping[str, Case] = MappingProxyType(
    {case.name: case for case in (*_op_cases(), *_layer_cases(), *_model_cases())}
)
"""Every case by name: ops first, then layers, blocks and models."""


def cases_of(op: Callable[..., Any]) -> list[Case]:
    """The cases of one op, layer or model."""
    return [case for case in CASES.values() if case.op is op]
