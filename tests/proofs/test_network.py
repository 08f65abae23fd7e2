"""The loops of the source are the runs of layers that the theorems are about: who gets whose result and gradient.

Coq proves that a run of layers is correct, of any length (proofs/theories/Runs.v), and so the network with its loss
(proofs/network/network.v). That the stage and the network of vipnp are such runs is Python, and is watched here: on
NumPy, array by array.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vipnp import ViPConfig, VisionPermutator
from vipnp.backends.numpy import NumpyBackend
from vipnp.core.tree import flatten
from vipnp.layers import BlockMasks, Mask, downsample, permutator, stage
from vipnp.models.draws import draw_masks
from vipnp.ops import cross_entropy, global_average_pool, layer_norm, linear, patch_embed, soft_cross_entropy

LOSSES = (cross_entropy, soft_cross_entropy)
PARTS = {patch_embed, permutator, downsample, layer_norm, global_average_pool, linear, *LOSSES}
"""What proofs/network/network.v puts into a row; a call of one of them inside another is that one's business."""


class Call:
    """A call of a part: which arrays went in, which came out, and which went back."""

    def __init__(self, op: Callable[..., Any], x: Any, params: list[Any], masks: Any, y: Any) -> None:
        self.op, self.x, self.params, self.masks, self.y = op, x, params, masks, y
        self.dy: Any = None
        self.dx: Any = None
        self.gradients: list[Any] = []


class Recording(NumpyBackend):
    """NumPy, writing down the calls of parts and of their pullbacks in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.returned: list[Call] = []
        self.inside = False

    def run(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        if self.inside or op not in PARTS:
            return super().run(op, *args, **kwargs)
        self.inside = True
        y, pullback = super().run(op, *args, **kwargs)
        self.inside = False
        x, *others = args
        named = others[0] if others else {n: v for n, v in kwargs.items() if n in ("weight", "bias")}
        call = Call(op, x, [array for _, array in flatten(named)], kwargs.get("masks"), y)
        self.calls.append(call)

        def watched(dy: Any) -> Any:
            returned = pullback(dy)
            call.dy, call.dx = dy, returned[0]
            rest = [a for _, a in flatten(returned[1])] if others else list(returned[1:])
            call.gradients = rest
            self.returned.append(call)
            return returned

        return y, watched


def in_a_row(calls: list[Call], returned: list[Call]) -> bool:
    """Every call works on what the one before gave, and the pullbacks come back through them."""
    forward = all(later.x is earlier.y for earlier, later in itertools.pairwise(calls))
    back = all(earlier.dy is later.dx for earlier, later in itertools.pairwise(calls))
    return forward and back and returned == calls[::-1]


def config(depths: tuple[int, ...], transitions: tuple[bool, ...], fusion: str, dims: tuple[int, ...]) -> ViPConfig:
    return ViPConfig(
        layers=depths,
        embed_dims=dims,
        segments=(2,) * len(depths),
        transitions=transitions,
        patch_size=2,
        image_size=(8, 16),
        num_classes=5,
        fusion=fusion,
        drop_path=0.5,
        dropout=0.25,
    )


CASES = [
    ((1,), (False,), "weighted", (8,)),
    ((2,), (False,), "sum", (8,)),
    ((3,), (False,), "weighted", (8,)),
    ((1, 2), (True, False), "weighted", (8, 12)),
    ((2, 1), (False, False), "weighted", (8, 12)),
    ((2, 1, 3), (False, True, False), "sum", (8, 8, 12)),
]


@pytest.mark.parametrize(("depths", "transitions", "fusion", "dims"), CASES)
@pytest.mark.parametrize("kind", ["labels", "distributions"])
def test_the_network_is_a_run_of_its_parts(
    depths: tuple[int, ...], transitions: tuple[bool, ...], fusion: str, dims: tuple[int, ...], kind: str
) -> None:
    """Patch embedding, every block of every stage, the transitions, LayerNorm, mean, head and loss; and back."""
    rng = np.random.default_rng(0)
    xp = Recording()
    model = VisionPermutator(config(depths, transitions, fusion, dims), backend=xp, dtype="float64")
    masks = draw_masks(xp, np.random.default_rng(1), model.config, 3, "float64")
    images = rng.standard_normal((3, 3, 8, 16))
    targets = rng.integers(0, 5, 3) if kind == "labels" else rng.dirichlet(np.ones(5), 3)
    loss, grads = model.loss_and_grads(images, targets, rng=np.random.default_rng(1))
    parts = [patch_embed]
    for i, depth in enumerate(depths):
        parts += [permutator] * depth
        if i + 1 < len(depths) and (transitions[i] or dims[i] != dims[i + 1]):
            parts.append(downsample)
    parts += [layer_norm, global_average_pool, linear, cross_entropy if kind == "labels" else soft_cross_entropy]
    assert [call.op for call in xp.calls] == parts
    assert in_a_row(xp.calls, xp.returned)
    np.testing.assert_equal([call.masks for call in xp.calls if call.op is permutator], masks)
    assert np.array_equal(xp.calls[0].x, images)
    assert xp.calls[-1].y == loss
    assert xp.calls[-1].dy == 1
    params = [p for call in xp.calls for p in call.params]
    gradients = [g for call in xp.calls for g in call.gradients]
    assert all(a is b for a, b in zip(params, model.parameters().values(), strict=True))
    assert all(a is b for a, b in zip(gradients, grads.values(), strict=True))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_stage_is_a_run_of_its_blocks(depth: int) -> None:
    """Every block has its own parameters and its own masks."""
    rng = np.random.default_rng(0)
    xp = Recording()
    model = VisionPermutator(config((depth,), (False,), "weighted", (8,)), dtype="float64")
    params = model.params["network"]["0"]
    x = rng.standard_normal((3, 4, 8, 8))
    masks = [BlockMasks(attn_path=Mask(rng.random(3), 0.5)) for _ in range(depth)]
    y, pullback = xp.run(stage, x, params, segments=2, masks=masks)
    dy = rng.standard_normal(y.shape)
    dx, dparams = pullback(dy)
    assert in_a_row(xp.calls, xp.returned)
    assert (xp.calls[0].x is x, xp.calls[-1].y is y, xp.calls[-1].dy is dy, xp.calls[0].dx is dx) == (True,) * 4
    assert list(dparams) == list(params)
    for call, name, mask in zip(xp.calls, params, masks, strict=True):
        assert call.masks is mask
        assert all(a is b for a, (_, b) in zip(call.params, flatten(params[name]), strict=True))
        assert all(a is b for a, (_, b) in zip(call.gradients, flatten(dparams[name]), strict=True))


def test_a_run_out_of_order_is_seen() -> None:
    a, b = (Call(linear, None, [], None, object()) for _ in range(2))
    b.x, a.dy, b.dx = a.y, (dx := object()), dx
    assert in_a_row([a, b], [b, a])
    assert not in_a_row([a, b], [a, b])
    b.x = object()
    assert not in_a_row([a, b], [b, a])


def test_a_mask_that_is_left_out_is_one_of_ones_at_rate_0() -> None:
    """The theorem of a block is about one with every mask: any of them left out gives the same, bit for bit."""
    rng = np.random.default_rng(0)
    xp = NumpyBackend()
    model = VisionPermutator(config((1,), (False,), "weighted", (8,)), dtype="float64")
    params = model.params["network"]["0"]["0"]
    x, dy = rng.standard_normal((2, 3, 4, 8, 8))
    hidden = params["mlp"]["fc1"]["bias"].shape
    shapes = {"attn_path": (3,), "mlp_path": (3,), "proj": x.shape, "hidden": (*x.shape[:3], *hidden), "out": x.shape}
    drawn = {name: Mask((rng.random(shape) < 0.5).astype(float), 0.5) for name, shape in shapes.items()}

    def gradients(masks: dict[str, Mask]) -> list[Any]:
        y, pullback = permutator(xp, x, params, segments=2, masks=BlockMasks(**masks))
        dx, dparams = pullback(dy)
        return [y, dx, *(gradient for _, gradient in flatten(dparams))]

    assert drawn.keys() == {*BlockMasks._fields}
    for kept in itertools.chain.from_iterable(itertools.combinations(drawn, k) for k in range(len(drawn) + 1)):
        without = {name: drawn[name] for name in kept}
        ones = {name: Mask(np.ones(shape), 0.0) for name, shape in shapes.items()}
        for a, b in zip(gradients(without), gradients(ones | without), strict=True):
            np.testing.assert_array_equal(a, b)
