"""The cupy backend's functions against the readable ops, without pytest: a machine with a GPU may have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from vipnp import layers, ops
from vipnp.audit.cases import Case, cases_of
from vipnp.backends import get_backend
from vipnp.optim.adamw import adamw
from vipnp.optim.clip import clip_grad_norm
from vipnp.verify.trees import argument_names, tree_arrays, tree_map

NUMPY = get_backend("numpy")

REPLACED_OPS = (
    ops.cross_entropy,
    ops.drop_path,
    ops.dropout,
    ops.gelu,
    ops.global_average_pool,
    ops.layer_norm,
    ops.linear,
    ops.linear_no_bias,
    ops.patch_embed,
    ops.permute_height,
    ops.permute_width,
    ops.residual,
    ops.soft_cross_entropy,
    ops.split_attention,
)
REPLACED_LAYERS = (layers.downsample, layers.stage)
OPTIMIZER = (adamw, clip_grad_norm)

ROWS = (
    {"B": 1, "H": 1, "C": 33, "K": 5},  # one row
    {"B": 41, "H": 50, "C": 7, "K": 3},  # thousands of rows, more than one round of every block
    {"B": 3, "H": 4, "C": 134, "K": 70},
    {"B": 2, "H": 1, "C": 384, "K": 36},
)
GRIDS = ({"B": 4, "H": 6, "W": 7, "C": 33, "K": 3}, {"B": 1, "H": 9, "W": 13, "C": 66, "K": 2})
SEGMENTS = ({"B": 2, "H": 5, "W": 3, "N": 4, "S": 6}, {"B": 1, "H": 2, "W": 3, "N": 3, "S": 50})
CLASSES = ({"B": 2, "K": 1000}, {"B": 65, "K": 3})
PATCHES = (
    {"B": 1, "C": 3, "H": 4, "W": 5, "P": 7, "Q": 2, "K": 34},
    {"B": 2, "C": 3, "H": 6, "W": 4, "P": 5, "Q": 1, "K": 9},
)
STAGES = (
    {"B": 2, "H": 11, "W": 13, "N": 4, "S": 3},  # one element a load, more rows and tokens than one block adds up
    {"B": 3, "H": 2, "W": 5, "N": 4, "S": 6},  # two elements a load
    {"B": 1, "H": 5, "W": 4, "N": 8, "S": 36},  # C = 288, more than one chunk of channels a lane
)
MERGES = ({"B": 1, "H": 3, "W": 2, "C": 33, "K": 5, "P": 4},)

MORE_SIZES: Mapping[str, tuple[dict[str, int], ...]] = {
    **dict.fromkeys(("dropout", "gelu", "layer_norm", "linear", "linear_no_bias"), ROWS),
    **dict.fromkeys(("drop_path", "global_average_pool", "residual", "split_attention"), GRIDS),
    **dict.fromkeys(("permute_height", "permute_width"), SEGMENTS),
    **dict.fromkeys(("cross_entropy", "soft_cross_entropy"), CLASSES),
    "patch_embed": PATCHES,
    "stage": STAGES,
    "downsample": MERGES,
}

EPS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Half the distance from 1 to the next number: the largest relative error of one rounding."""

NEIGHBOURS = 4
"""So many evaluations say how far the readable op is off."""

TOGETHER = 1.5
"""How many times the readable op's error all tensors of a block may have in the geometric mean."""

PARAMETERS = ("weight", "bias", "params")
"""Arguments that stay in the dtype of sums where activations are of two bytes."""


ROUNDINGS = {"op": 2, "layer": 2, "block": 40}
"""How often a two-byte value is rounded on its way: once or twice in an op; in each of the two blocks of a stage about
twenty arrays are stored between inputs and gradients."""


def all_cases() -> Iterator[tuple[str, Case, str, Mapping[str, int]]]:
    """Name, case, dtype and sizes of every comparison."""
    for op in (*REPLACED_OPS, *REPLACED_LAYERS):
        for case in cases_of(op):
            for dtype in EPS:
                for i, sizes in enumerate((case.sizes, *MORE_SIZES[op.__name__])):
                    if dtype in ("float16", "bfloat16") and case.hard:
                        continue
                    if "K" in sizes and op is ops.split_attention:
                        sizes = {**sizes, "K": case.sizes["K"]}
                    yield f"{case.name}-{dtype}-{i}", case, dtype, sizes


def rounded(array: Any, dtype: str) -> Any:
    """Float64 values that `dtype` holds exactly; integers as they are."""
    if array.dtype.kind != "f":
        return array
    target = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return array.astype(target).astype(np.float64)


def stored(xp: Any, array: Any, dtype: str) -> Any:
    if array.dtype.kind != "f":
        return xp.asarray(array)
    return xp.asarray(array.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


def run(xp: Any, case: Case, args: Any, kwargs: Any, dy: Any, *, replaced: bool) -> list[tuple[str, Any]]:
    """y and every gradient, as float64 host arrays by name."""
    y, pullback = xp.run(case.op, *args, **kwargs) if replaced else case.op(xp, *args, **kwargs)
    gradients = tuple(pullback(xp.astype(dy, y.dtype)))
    return [("y", y), *tree_arrays(gradients)]


def on_host(xp: Any, named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, np.asarray(xp.to_numpy(array), np.float64)) for name, array in named]


def readable_errors(case: Case, args: Any, kwargs: Any, dy: Any, truth: list[tuple[str, Any]]) -> list[float]:
    """How far the readable op in float32 is off, for y and every gradient in units of the largest entry: the most of
    NEIGHBOURS evaluations, between which every input is moved by less than a rounding. One alone is now half and now
    twice as much, by the order in which a processor's matrix product adds."""
    rng = np.random.default_rng(1)

    def cast(array: Any, moved: float) -> Any:
        if array.dtype.kind != "f":
            return array
        return (array * (1 + moved * rng.uniform(-1, 1, array.shape))).astype(np.float32)

    errors = []
    for moved in (0.0, *[EPS["float32"]] * (NEIGHBOURS - 1)):
        inputs, constants = (tree_map(lambda array, by=moved: cast(array, by), tree) for tree in (args, kwargs))
        found = run(NUMPY, case, inputs, constants, cast(dy, moved), replaced=False)
        errors.append(
            [
                float(np.abs(np.asarray(value, np.float64) - expected).max() / largest(expected))
                for (_, expected), (_, value) in zip(truth, found, strict=True)
            ]
        )
    return [max(column) for column in zip(*errors, strict=True)]


def largest(expected: Any) -> float:
    return max(float(np.abs(expected).max()), 1e-3)


def compare_case(xp: Any, case: Case, dtype: str, sizes: Mapping[str, int], *, replaced: bool) -> None:
    """Within the error of the readable op in that dtype, tensor by tensor, and of a block in float32 all together;
    within roundings of what is stored for two-byte types."""
    args, kwargs = tree_map(lambda array: rounded(array, dtype), case.inputs(seed=7, sizes=sizes))
    dy = rounded(np.random.default_rng(3).normal(size=np.shape(case.op(NUMPY, *args, **kwargs)[0])), dtype)
    truth = run(NUMPY, case, args, kwargs, dy, replaced=False)

    wide = "float64" if dtype == "float64" else "float32"
    device_args = tuple(
        tree_map(lambda array, to=wide if name in PARAMETERS else dtype: stored(xp, array, to), arg)
        for name, arg in zip(argument_names(case.op, len(args)), args, strict=True)
    )
    device_kwargs = tree_map(lambda array: stored(xp, array, wide), kwargs)
    loss = case.op in (ops.cross_entropy, ops.soft_cross_entropy)
    waits = xp.host_waits
    got = run(xp, case, device_args, device_kwargs, stored(xp, dy, wide if loss else dtype), replaced=replaced)
    assert xp.host_waits == waits
    got = on_host(xp, got)

    readable = [0.0] * len(truth) if dtype == "float64" else readable_errors(case, args, kwargs, dy, truth)
    ratios = []
    for (name, expected), (_, value), reference in zip(truth, got, readable, strict=True):
        assert np.isfinite(value).all(), name
        scale = largest(expected)
        if dtype == "float64":
            allowed = (1e-11 if case.hard else 1e-13) * scale
        else:
            allowed = (3 * reference + 8 * EPS["float32"]) * scale
        if dtype in ("float16", "bfloat16"):
            allowed += EPS[dtype] * scale * ROUNDINGS[case.kind]
        error = np.abs(value - expected).max()
        assert error <= allowed, f"{name}: error {error:.2e}, allowed {allowed:.2e}"
        ratios.append((error / scale + EPS["float32"]) / (reference + EPS["float32"]))
    if case.kind == "block" and dtype == "float32":
        mean = np.exp(np.mean(np.log(ratios)))
        assert mean <= TOGETHER, f"error over that of the readable op, in the geometric mean of all: {mean:.2f}"
