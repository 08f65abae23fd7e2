"""What does not fit is refused before a kernel could go by sizes that are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.fake_device.machine import Machine
from vipnp import layers, ops
from vipnp.backends import get_backend
from vipnp.core.tree import flatten, unflatten
from vipnp.layers import BlockMasks, Mask
from vipnp.models import ViPConfig, initial_parameters

pytestmark = pytest.mark.kernels

B, H, W, C, SEGMENTS = 2, 3, 5, 8, 4
Shapes = dict[str, tuple[int, ...]]

CALLS: dict[Any, tuple[Shapes, dict[str, Any]]] = {
    ops.layer_norm: ({"x": (B, C), "weight": (C,), "bias": (C,)}, {}),
    ops.linear: ({"x": (B, C), "weight": (3, C), "bias": (3,)}, {}),
    ops.linear_no_bias: ({"x": (B, C), "weight": (3, C)}, {}),
    ops.patch_embed: ({"x": (B, 3, 4, 6), "weight": (C, 3, 2, 2), "bias": (C,)}, {}),
    ops.residual: ({"x": (B, H, C), "branch": (B, H, C)}, {}),
    ops.drop_path: ({"x": (B, H, C), "mask": (B,)}, {"rate": 0.5}),
    ops.dropout: ({"x": (B, H, C), "mask": (B, H, C)}, {"rate": 0.5}),
    ops.cross_entropy: ({"logits": (B, C), "labels": (B,)}, {}),
    ops.soft_cross_entropy: ({"logits": (B, C), "targets": (B, C)}, {}),
}
"""Op -> shapes of its arrays and its other arguments."""

CASES = [
    (op, name, axis)
    for op, (shapes, _) in CALLS.items()
    for name, shape in list(shapes.items())[1:]
    for axis in ([1] if name == "weight" and len(shape) > 1 else {0, len(shape) - 1})
]
"""The first size of a matrix of weights is for the bias to agree with."""


def array(name: str, shape: tuple[int, ...]) -> Any:
    return np.zeros(shape, np.int64 if name == "labels" else np.float32)


def call(op: Any, shapes: Shapes, keywords: dict[str, Any]) -> Any:
    xp = get_backend("cupy")
    keywords = keywords | {name: xp.asarray(array(name, shape)) for name, shape in shapes.items()}
    first = keywords.pop(next(iter(shapes)))
    return xp.run(op, first, **keywords)


def refused(machine: Machine, make: Callable[[], Any], error: type[Exception], message: str) -> None:
    machine.forget()
    with pytest.raises(error, match=message):
        make()
    assert machine.launches == []
    assert machine.products == []


@pytest.mark.parametrize("op", CALLS)
def test_what_fits_runs(machine: Machine, op: Any) -> None:
    call(op, *CALLS[op])
    assert machine.launches or machine.products


@pytest.mark.parametrize(("op", "name", "axis"), CASES)
def test_an_array_of_another_size(machine: Machine, op: Any, name: str, axis: int) -> None:
    shapes, keywords = CALLS[op]
    shape = list(shapes[name])
    shape[axis] += 1
    refused(
        machine,
        lambda: call(op, shapes | {name: tuple(shape)}, keywords),
        ValueError,
        rf"^{name}: got shape \({shape[0]},.*, expected \(",
    )


def test_a_parameter_of_another_dtype(machine: Machine) -> None:
    xp = get_backend("cupy")
    x, weight, bias = (xp.asarray(np.ones(shape, np.float32)) for shape in ((B, C), (C,), (C,)))
    refused(
        machine,
        lambda: xp.run(ops.layer_norm, x, weight, xp.asarray(np.ones(C))),
        TypeError,
        "^bias: got dtype float64 beside activations of float32, expected float32",
    )
    refused(
        machine,
        lambda: xp.run(ops.linear, x, xp.asarray(np.ones((C, C), np.float32)), xp.asarray(np.ones(C))),
        TypeError,
        "^bias: got dtype float64 beside",
    )
    xp.run(ops.layer_norm, x, weight, bias)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_branches_of_other_sizes(machine: Machine, place: int) -> None:
    xp = get_backend("cupy")
    shapes = [(B, C, 2), (B, H, W, C), (B, H, W, C)]
    shapes[place] = (*shapes[place][:-1], shapes[place][-1] + 1)
    name = ("logits", "branches", "branches")[place]
    arrays = [xp.asarray(np.zeros(shape, np.float32)) for shape in shapes]
    refused(machine, lambda: xp.run(ops.split_attention, *arrays), ValueError, rf"^(logits|{name}.*): got shape")


@pytest.mark.parametrize("op", [ops.permute_height, ops.permute_width])
@pytest.mark.parametrize("segments", [0, 3])
def test_segments_that_do_not_divide(machine: Machine, op: Any, segments: int) -> None:
    xp = get_backend("cupy")
    x = xp.asarray(np.zeros((B, H, W, C), np.float32))
    refused(machine, lambda: xp.run(op, x, segments), ValueError, f"^segments: got {segments}, expected a divisor of C")


def test_images_that_patches_do_not_cover(machine: Machine) -> None:
    shapes, keywords = CALLS[ops.patch_embed]
    refused(
        machine,
        lambda: call(ops.patch_embed, shapes | {"x": (B, 3, 5, 6)}, keywords),
        ValueError,
        r"^x: got shape \(2, 3, 5, 6\), expected \(2, 3, 4, 6\)",
    )


# --- stages -----------------------------------------------------------------------------------------------------------

CONFIG = ViPConfig(
    layers=(2,), embed_dims=(C,), segments=(SEGMENTS,), transitions=(False,), patch_size=1, image_size=(H, W)
)


def stage_parameters() -> dict[str, Any]:
    drawn = {name: value.astype(np.float32) for name, value in initial_parameters(CONFIG, 0).items()}
    return dict(flatten(unflatten(drawn)["network"]["0"]))


def run_stage(parameters: dict[str, Any], masks: list[BlockMasks] | None = None, segments: int = SEGMENTS) -> Any:
    xp = get_backend("cupy")
    x = xp.asarray(np.zeros((B, H, W, C), np.float32))
    on_device = unflatten({name: xp.asarray(value) for name, value in parameters.items()})
    return xp.run(layers.stage, x, on_device, segments=segments, masks=masks)


@pytest.mark.parametrize("name", [name for name in stage_parameters() if name.startswith("1.")])
def test_a_parameter_of_a_stage(machine: Machine, name: str) -> None:
    """Of the second block: the first has not run when it is refused."""
    parameters = stage_parameters()
    held = parameters[name]
    spoilt = np.zeros((*held.shape[:-1], held.shape[-1] + 1), held.dtype)
    # The width of a hidden layer is that of its first bias.
    blamed = name.replace("fc1.bias", r"fc\d.weight")
    message = rf"^{blamed}: got shape \(.*\), expected \("
    refused(machine, lambda: run_stage(parameters | {name: spoilt}), ValueError, message)
    if held.ndim == 1:
        message = f"^{name}: got dtype float64 beside activations of float32, expected float32"
        refused(machine, lambda: run_stage(parameters | {name: held.astype(np.float64)}), TypeError, message)


def test_masks_and_segments_of_a_stage(machine: Machine) -> None:
    xp, parameters = get_backend("cupy"), stage_parameters()
    mask = Mask(xp.asarray(np.ones(B + 1, np.float32)), 0.5)
    for field in ("attn_path", "mlp_path"):
        masks = [BlockMasks(), BlockMasks(**{field: mask})]
        message = rf"^masks of 1\.{field}: got shape \(3,\), expected \(2,\)"
        refused(machine, lambda masks=masks: run_stage(parameters, masks), ValueError, message)  # type: ignore[misc]
    refused(machine, lambda: run_stage(parameters, segments=3), ValueError, "^segments: got 3, expected a divisor of C")
    run_stage(parameters)


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [((6, C + 1, 2, 2), (6,), r"^proj\.weight: got shape"), ((6, C, 2, 2), (5,), r"^proj\.bias: got shape")],
)
def test_parameters_of_a_transition(
    machine: Machine, weight: tuple[int, ...], bias: tuple[int, ...], message: str
) -> None:
    xp = get_backend("cupy")
    x, weights, biases = (xp.asarray(np.zeros(shape, np.float32)) for shape in ((B, 4, 6, C), weight, bias))
    make = lambda: xp.run(layers.downsample, x, {"proj": {"weight": weights, "bias": biases}})  # noqa: E731
    refused(machine, make, ValueError, message)
