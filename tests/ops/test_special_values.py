"""Gradients at the sizes and values where a mistake hides from the usual draws, against PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from vipnp import get_backend, ops
from vipnp.audit import torch_twins as twins
from vipnp.layers import BlockMasks, Mask, permutator
from vipnp.verify.trees import tree_arrays, tree_map

BACKENDS = {
    "numpy": get_backend("numpy"),
    "numpy in shards": get_backend("numpy", shards=2),
    "numba": get_backend("numba", shards=2),
}
TOLERANCE = 1e-12


def draw(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def tensors(tree: Any, *, grad: bool = False) -> Any:
    return tree_map(lambda array: torch.tensor(array, requires_grad=grad and array.dtype.kind == "f"), tree)


def assert_gradients(op: Any, twin: Callable[..., Any], args: Any, constants: Any = None) -> None:
    """Value and gradient of every argument on every backend, under a random cotangent."""
    constants = constants or {}
    inputs = tensors(args, grad=True)
    expected = twin(*inputs, **tensors(constants))
    dy = draw(*expected.shape, seed=1)
    expected.backward(torch.tensor(dy))
    truth = [("y", expected.detach().numpy())]
    truth += [(name, leaf.grad.numpy()) for name, leaf in leaves(inputs)]
    for backend, xp in BACKENDS.items():
        y, pullback = xp.run(op, *args, **constants)
        found = [("y", np.asarray(y)), *tree_arrays(tuple(pullback(dy)))]
        for (name, reference), (_, array) in zip(truth, found, strict=True):
            assert array.shape == reference.shape, (backend, name)
            bound = TOLERANCE * max(np.abs(reference).max(initial=0), 1e-3)
            np.testing.assert_allclose(array, reference, rtol=0, atol=bound, err_msg=f"{backend}: {name}")


def leaves(tree: Any) -> Any:
    return [(name, leaf) for name, leaf in tree_arrays(tree) if leaf.requires_grad]


@pytest.mark.parametrize("B", [1, 2])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_one_image(B: int, smoothing: float) -> None:
    constants = {"labels": np.array([4, 0])[:B], "label_smoothing": smoothing}
    assert_gradients(ops.cross_entropy, twins.cross_entropy, (draw(B, 5),), constants)
    targets = np.exp(draw(B, 5))
    constants = {"targets": targets / targets.sum(axis=1, keepdims=True)}
    assert_gradients(ops.soft_cross_entropy, twins.soft_cross_entropy, (draw(B, 5),), constants)


@pytest.mark.parametrize("leading", [(), (1,), (2,), (3,), (311,), (2, 3), (3, 1, 2)])
def test_linear_maps_of_any_number_of_axes(leading: tuple[int, ...]) -> None:
    x, weight, bias = draw(*leading, 35), draw(4, 35), draw(4)
    assert_gradients(ops.linear, twins.linear, (x, weight, bias))
    assert_gradients(ops.linear_no_bias, twins.linear_no_bias, (x, weight))


@pytest.mark.parametrize("leading", [(), (1,), (311,), (2, 3), (3, 5, 5), (1, 1, 1), (7, 5, 9)])
def test_layer_norm_of_any_number_of_axes(leading: tuple[int, ...]) -> None:
    assert_gradients(ops.layer_norm, twins.layer_norm, (draw(*leading, 37), draw(37), draw(37)))


@pytest.mark.parametrize("x", [0.0, -0.0, 5e-324, -5e-324, 1e-300, 1e-8, -1e-8, 6.0, -6.0, 9.5, 40.0, -40.0])
def test_gelu_at_zero_and_far_out(x: float) -> None:
    """Value by value, since the largest of several would set the tolerance."""
    assert_gradients(ops.gelu, twins.gelu, (np.full((1, 2), x),))


@pytest.mark.parametrize("branches", [2, 3, 4, 5])
def test_split_attention_of_any_number_of_branches(branches: int) -> None:
    args = (draw(3, 7, branches), *(draw(3, 5, 2, 7, seed=seed) for seed in range(branches)))
    assert_gradients(ops.split_attention, twins.split_attention, args)


def block(H: int, W: int, N: int, S: int, R: int) -> dict[str, Any]:
    C = N * S

    def linear(out: int, into: int) -> dict[str, Any]:
        return {"weight": draw(out, into) / into**0.5, "bias": draw(out)}

    return {
        "norm1": {"weight": draw(C), "bias": draw(C, seed=2)},
        "attn": {
            "mlp_c": {"weight": draw(C, C) / C**0.5},
            "mlp_h": {"weight": draw(H * S, H * S, seed=3) / (H * S) ** 0.5},
            "mlp_w": {"weight": draw(W * S, W * S, seed=4) / (W * S) ** 0.5},
            "reweight": {"fc1": linear(C // 4, C), "fc2": linear(3 * C, C // 4)},
            "proj": linear(C, C),
        },
        "norm2": {"weight": draw(C, seed=5), "bias": draw(C, seed=6)},
        "mlp": {"fc1": linear(R, C), "fc2": linear(C, R)},
    }


BLOCKS = {
    "more than 300 tokens, N and H above 4, C above 30": (13, 5, 7, 6, 8, 11),
    "a square grid": (3, 5, 5, 6, 2, 7),
    "one token": (2, 1, 1, 5, 2, 3),
    "H above S and W": (2, 9, 2, 4, 2, 5),
    "W above S and H": (2, 3, 9, 4, 2, 5),
    "segments that are not unrolled": (2, 2, 3, 2, 34, 5),
    "one segment": (3, 2, 4, 1, 6, 5),
    "segments of one channel": (3, 2, 4, 8, 1, 5),
}


@pytest.mark.parametrize("sizes", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("skip_lam", [1.0, 0.5, 3.0])
def test_a_block(sizes: tuple[int, ...], skip_lam: float) -> None:
    B, H, W, N, S, R = sizes
    args = (draw(B, H, W, N * S), block(H, W, N, S, R))
    assert_gradients(permutator, twins.permutator, args, {"segments": N, "skip_lam": skip_lam})


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.0, 0.25), (0.5, 0.0)])
def test_drop_path_at_rate_zero(rates: tuple[float, float]) -> None:
    """All samples are kept, or none of one branch."""
    B, H, W, N, S, R = 4, 2, 3, 4, 2, 5
    masks = BlockMasks(Mask(np.ones(B), rates[0]), Mask(np.array([1.0, 0.0, 1.0, 1.0]), rates[1]))
    args = (draw(B, H, W, N * S), block(H, W, N, S, R))
    assert_gradients(permutator, twins.permutator, args, {"segments": N, "skip_lam": 0.5, "masks": masks})
