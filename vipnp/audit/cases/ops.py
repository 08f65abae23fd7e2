"""Cases of the ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp import ops
from vipnp.audit.cases.case import Case, Draw, Inputs
from vipnp.audit.cases.values import GRID, GRID_RANGES, entry_mask, gain, grid_input, normal, path_mask, random_weight
from vipnp.core import Generator, HostArray

_ROWS = {"B": 3, "H": 2, "C": 5}
_ROW_RANGES = {"B": (2, 4), "H": (1, 4), "C": (4, 9)}


def _rows(rng: Generator, s: Mapping[str, int]) -> HostArray:
    return normal(rng, s["B"], s["H"], s["C"])


def _image(rng: Generator, s: Mapping[str, int]) -> HostArray:
    return normal(rng, s["B"], s["H"], s["W"], s["C"])


def _linear(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_rows(rng, s), random_weight(rng, s["K"], s["C"]), normal(rng, s["K"])), {}


def _linear_no_bias(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_rows(rng, s), random_weight(rng, s["K"], s["C"])), {}


def _layer_norm(eps: float | None = None, mean: float = 0.3) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        x = mean + _rows(rng, s)
        return (x, gain(rng, s["C"]), normal(rng, s["C"])), {} if eps is None else {"eps": eps}

    return draw


def _gelu(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (1.5 * _rows(rng, s),), {}


def _softmax(spread: float) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (rng.uniform(-spread / 2, spread / 2, size=(s["B"], s["H"], s["K"])),), {}

    return draw


def _permute(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (grid_input(rng, s),), {"segments": s["N"]}


def _split_attention(rng: Generator, s: Mapping[str, int]) -> Inputs:
    logits = rng.uniform(-2, 2, size=(s["B"], s["C"], s["K"]))
    return (logits, *(_image(rng, s) for _ in range(s["K"]))), {}


def _patch_embed(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = normal(rng, s["B"], s["C"], s["H"] * s["P"], s["W"] * s["Q"])
    return (x, random_weight(rng, s["K"], s["C"], s["P"], s["Q"]), normal(rng, s["K"])), {}


def _global_average_pool(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_image(rng, s),), {}


def _dropout(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = _rows(rng, s)
    return (x,), entry_mask(rng, x.shape, 0.3)._asdict()


def _drop_path(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (_image(rng, s),), path_mask(rng, s["B"], 0.4)._asdict()


def _residual(skip_lam: float | None) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (_image(rng, s), _image(rng, s)), {} if skip_lam is None else {"skip_lam": skip_lam}

    return draw


def _cross_entropy(smoothing: float | None, spread: float = 4.0) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        logits = rng.uniform(-spread / 2, spread / 2, size=(s["B"], s["K"]))
        kwargs: dict[str, Any] = {"labels": rng.integers(0, s["K"], size=s["B"])}
        return (logits,), kwargs if smoothing is None else {**kwargs, "label_smoothing": smoothing}

    return draw


def _soft_cross_entropy(normalised: bool) -> Draw:
    """Targets that are distributions, or rows that sum to anything: the formula asks for no more."""

    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        logits = rng.uniform(-2, 2, size=(s["B"], s["K"]))
        targets = rng.dirichlet(np.ones(s["K"]), size=s["B"])
        return (logits,), {"targets": targets if normalised else targets * rng.uniform(0.5, 1.5, size=(s["B"], 1))}

    return draw


def _resample_mixing(rng: Generator, s: Mapping[str, int]) -> Inputs:
    kwargs = {"spread": normal(rng, s["H"], s["G"]), "gather": normal(rng, s["G"], s["H"])}
    return (normal(rng, s["G"] * s["S"], s["G"] * s["S"]),), kwargs


def _shift(rng: Generator, s: Mapping[str, int]) -> Inputs:
    """Any matrices in the place of those that move: the formula asks for no more."""
    kwargs = {"rows": normal(rng, s["N"], s["G"], s["H"]), "columns": normal(rng, s["N"], s["V"], s["W"])}
    return (grid_input(rng, s),), kwargs


def op_cases() -> list[Case]:
    """Every op, some of them on more than one kind of input."""
    K, K_range = {"K": 4}, {"K": (2, 6)}
    image = {"B": 4, "H": 2, "W": 6, "C": 5}
    image_ranges = {"B": (2, 4), "H": (1, 4), "W": (1, 4), "C": (1, 5)}
    of_two, of_five = image | {"H": 3, "K": 2}, image | {"C": 3, "K": 5}
    classes, class_ranges = {"B": 3, "K": 5}, {"B": (2, 5), "K": (2, 8)}
    softmax_sizes, softmax_ranges = {"B": 3, "H": 2, "K": 5}, {"B": (2, 4), "H": (1, 3), "K": (2, 8)}
    patch = {"B": 3, "C": 4, "H": 2, "W": 5, "P": 6, "Q": 7, "K": 8}
    patch_ranges = {"B": (2, 3), "C": (1, 3), "H": (1, 3), "W": (1, 3), "P": (1, 3), "Q": (1, 3), "K": (1, 4)}
    resample, shift = {"H": 4, "G": 3, "S": 2}, {"B": 3, "H": 8, "W": 7, "N": 2, "S": 5, "G": 4, "V": 6}
    return [
        Case(ops.linear, _linear, _ROWS | K, _ROW_RANGES | K_range, linear=True),
        Case(ops.linear_no_bias, _linear_no_bias, _ROWS | K, _ROW_RANGES | K_range, linear=True),
        Case(ops.layer_norm, _layer_norm(), _ROWS, _ROW_RANGES),
        Case(ops.layer_norm, _layer_norm(eps=0.03), _ROWS, _ROW_RANGES, "eps"),
        Case(ops.layer_norm, _layer_norm(), _ROWS | {"H": 4, "C": 2}, _ROW_RANGES | {"C": (2, 2)}, "C=2", hard=True),
        Case(ops.layer_norm, _layer_norm(mean=1000.0), _ROWS, _ROW_RANGES, "mean=1000", hard=True),
        Case(ops.gelu, _gelu, _ROWS, _ROW_RANGES),
        Case(ops.softmax, _softmax(4.0), softmax_sizes, softmax_ranges),
        Case(ops.softmax, _softmax(36.0), softmax_sizes, softmax_ranges, "saturated", hard=True),
        Case(ops.permute_height, _permute, GRID, GRID_RANGES, linear=True),
        Case(ops.permute_width, _permute, GRID, GRID_RANGES, linear=True),
        Case(ops.resample_mixing, _resample_mixing, resample, {"H": (1, 5), "G": (1, 5), "S": (1, 3)}, linear=True),
        Case(ops.shift, _shift, shift, GRID_RANGES | {"G": (1, 6), "V": (1, 6)}, linear=True),
        Case(ops.split_attention, _split_attention, image | {"K": 3}, image_ranges | {"K": (3, 3)}, linear=True),
        Case(ops.split_attention, _split_attention, of_two, image_ranges | {"K": (2, 2)}, "k=2", linear=True),
        Case(ops.split_attention, _split_attention, of_five, image_ranges | {"K": (5, 5)}, "k=5", linear=True),
        Case(ops.patch_embed, _patch_embed, patch, patch_ranges, linear=True),
        Case(ops.global_average_pool, _global_average_pool, image, image_ranges, linear=True),
        Case(ops.dropout, _dropout, _ROWS, _ROW_RANGES, linear=True),
        Case(ops.drop_path, _drop_path, image, image_ranges, linear=True),
        Case(ops.residual, _residual(None), image, image_ranges, linear=True),
        Case(ops.residual, _residual(2.0), image, image_ranges, "skip_lam", linear=True),
        Case(ops.cross_entropy, _cross_entropy(None), classes, class_ranges),
        Case(ops.cross_entropy, _cross_entropy(0.1), classes, class_ranges, "smoothed"),
        Case(ops.cross_entropy, _cross_entropy(0.1, 36.0), classes, class_ranges, "saturated", hard=True),
        Case(ops.soft_cross_entropy, _soft_cross_entropy(True), classes, class_ranges),
        Case(ops.soft_cross_entropy, _soft_cross_entropy(False), classes, class_ranges, "any mass"),
    ]
