"""Cases of the ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp import ops
from vipnp.audit.cases.case import Case, Draw, Inputs, make_case
from vipnp.audit.cases.values import GRID, GRID_RANGES, entry_mask, gain, grid_input, normal, path_mask, random_weight
from vipnp.core import Generator

_ROWS = {"B": 3, "H": 2, "C": 5}
_ROW_RANGES = {"B": (2, 4), "H": (1, 4), "C": (4, 9)}


def _linear(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (normal(rng, s["B"], s["H"], s["C"]), random_weight(rng, s["K"], s["C"]), normal(rng, s["K"])), {}


def _linear_no_bias(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (normal(rng, s["B"], s["H"], s["C"]), random_weight(rng, s["K"], s["C"])), {}


def _layer_norm(eps: float | None = None, mean: float = 0.3) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        x = mean + normal(rng, s["B"], s["H"], s["C"])
        return (x, gain(rng, s["C"]), normal(rng, s["C"])), {} if eps is None else {"eps": eps}

    return draw


def _one_input(scale: float = 1.5) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (scale * normal(rng, s["B"], s["H"], s["C"]),), {}

    return draw


def _softmax(spread: float) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        return (rng.uniform(-spread / 2, spread / 2, size=(s["B"], s["H"], s["K"])),), {}

    return draw


def _permute(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (grid_input(rng, s),), {"segments": s["N"]}


def _split_attention(rng: Generator, s: Mapping[str, int]) -> Inputs:
    shape = (s["B"], s["H"], s["W"], s["C"])
    logits = rng.uniform(-2, 2, size=(s["B"], s["C"], s["K"]))
    return (logits, *(normal(rng, *shape) for _ in range(s["K"]))), {}


def _patch_embed(rng: Generator, s: Mapping[str, int]) -> Inputs:
    x = normal(rng, s["B"], s["C"], s["H"] * s["P"], s["W"] * s["Q"])
    return (x, random_weight(rng, s["K"], s["C"], s["P"], s["Q"]), normal(rng, s["K"])), {}


def _global_average_pool(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (normal(rng, s["B"], s["H"], s["W"], s["C"]),), {}


def _dropout(rng: Generator, s: Mapping[str, int]) -> Inputs:
    shape = (s["B"], s["H"], s["C"])
    return (normal(rng, *shape),), entry_mask(rng, shape, 0.3)._asdict()


def _drop_path(rng: Generator, s: Mapping[str, int]) -> Inputs:
    return (normal(rng, s["B"], s["H"], s["W"], s["C"]),), path_mask(rng, s["B"], 0.4)._asdict()


def _residual(skip_lam: float | None) -> Draw:
    def draw(rng: Generator, s: Mapping[str, int]) -> Inputs:
        shape = (s["B"], s["H"], s["W"], s["C"])
        kwargs = {} if skip_lam is None else {"skip_lam": skip_lam}
        return (normal(rng, *shape), normal(rng, *shape)), kwargs

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
    classes, class_ranges = {"B": 3, "K": 5}, {"B": (2, 5), "K": (2, 8)}
    softmax_sizes, softmax_ranges = {"B": 3, "H": 2, "K": 5}, {"B": (2, 4), "H": (1, 3), "K": (2, 8)}
    patch = {"B": 3, "C": 4, "H": 2, "W": 5, "P": 6, "Q": 7, "K": 8}
    patch_ranges = {"B": (2, 3), "C": (1, 3), "H": (1, 3), "W": (1, 3), "P": (1, 3), "Q": (1, 3), "K": (1, 4)}
    grid_ranges = GRID_RANGES
    wxb = ("x", "weight", "bias")
    return [
        make_case(ops.linear, _linear, _ROWS | K, _ROW_RANGES | K_range, wxb, linear_in=("x", "weight")),
        make_case(
            ops.linear_no_bias,
            _linear_no_bias,
            _ROWS | K,
            _ROW_RANGES | K_range,
            ("x", "weight"),
            linear_in=("x", "weight"),
        ),
        make_case(ops.layer_norm, _layer_norm(), _ROWS, _ROW_RANGES, wxb),
        make_case(ops.layer_norm, _layer_norm(eps=0.03), _ROWS, _ROW_RANGES, wxb, "eps"),
        make_case(
            ops.layer_norm, _layer_norm(), _ROWS | {"H": 4, "C": 2}, _ROW_RANGES | {"C": (2, 2)}, wxb, "C=2", hard=True
        ),
        make_case(ops.layer_norm, _layer_norm(mean=1000.0), _ROWS, _ROW_RANGES, wxb, "mean=1000", hard=True),
        make_case(ops.gelu, _one_input(), _ROWS, _ROW_RANGES, ("x",)),
        make_case(ops.softmax, _softmax(4.0), softmax_sizes, softmax_ranges, ("x",)),
        make_case(ops.softmax, _softmax(36.0), softmax_sizes, softmax_ranges, ("x",), "saturated", hard=True),
        make_case(ops.permute_height, _permute, GRID, grid_ranges, ("x",), linear_in=("x",)),
        make_case(ops.permute_width, _permute, GRID, grid_ranges, ("x",), linear_in=("x",)),
        make_case(
            ops.resample_mixing,
            _resample_mixing,
            {"H": 4, "G": 3, "S": 2},
            {"H": (1, 5), "G": (1, 5), "S": (1, 3)},
            ("weight",),
            linear_in=("weight",),
        ),
        make_case(
            ops.shift,
            _shift,
            {"B": 3, "H": 8, "W": 7, "N": 2, "S": 5, "G": 4, "V": 6},
            grid_ranges | {"G": (1, 6), "V": (1, 6)},
            ("x",),
            linear_in=("x",),
        ),
        make_case(
            ops.split_attention,
            _split_attention,
            image | {"K": 3},
            image_ranges | {"K": (3, 3)},
            ("logits", "x_1", "x_2", "x_3"),
            linear_in=("x_1", "x_2", "x_3"),
        ),
        make_case(
            ops.split_attention,
            _split_attention,
            image | {"H": 3, "K": 2},
            image_ranges | {"K": (2, 2)},
            ("logits", "x_1", "x_2"),
            "k=2",
            linear_in=("x_1", "x_2"),
        ),
        make_case(
            ops.split_attention,
            _split_attention,
            image | {"C": 3, "K": 5},
            image_ranges | {"K": (5, 5)},
            ("logits", "x_1", "x_2", "x_3", "x_4", "x_5"),
            "k=5",
            linear_in=("x_1", "x_2", "x_3", "x_4", "x_5"),
        ),
        make_case(ops.patch_embed, _patch_embed, patch, patch_ranges, wxb, linear_in=("x", "weight")),
        make_case(ops.global_average_pool, _global_average_pool, image, image_ranges, ("x",), linear_in=("x",)),
        make_case(ops.dropout, _dropout, _ROWS, _ROW_RANGES, ("x",), linear_in=("x",)),
        make_case(ops.drop_path, _drop_path, image, image_ranges, ("x",), linear_in=("x",)),
        make_case(ops.residual, _residual(None), image, image_ranges, ("x", "branch"), linear_in=("x", "branch")),
        make_case(
            ops.residual, _residual(2.0), image, image_ranges, ("x", "branch"), "skip_lam", linear_in=("x", "branch")
        ),
        make_case(ops.cross_entropy, _cross_entropy(None), classes, class_ranges, ("logits",)),
        make_case(ops.cross_entropy, _cross_entropy(0.1), classes, class_ranges, ("logits",), "smoothed"),
        make_case(
            ops.cross_entropy, _cross_entropy(0.1, 36.0), classes, class_ranges, ("logits",), "saturated", hard=True
        ),
        make_case(ops.soft_cross_entropy, _soft_cross_entropy(True), classes, class_ranges, ("logits",)),
        make_case(ops.soft_cross_entropy, _soft_cross_entropy(False), classes, class_ranges, ("logits",), "any mass"),
    ]
