"""The fused CPU functions over the whole range of a type: where the readable function is finite, infinite or NaN, so
are they, and where it is finite they give the same to rounding. No sum of absolute values overflows here: beyond that a
sum is infinite in one order and finite in another, and nothing is promised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from vipnp import ViPConfig, get_backend
from vipnp.layers import permutator
from vipnp.models import VisionPermutator
from vipnp.ops import layer_norm
from vipnp.optim import AdamW
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.verify.trees import tree_arrays

READABLE = get_backend("numpy")
FUSED = get_backend("numba", shards=2)

EXPONENTS = {"float32": (-45, -40, -30, -19, -7, 0, 7, 18, 19, 20, 30, 36), "float64": (-323, -310, -170, 0, 160, 300)}
RANGE = [(dtype, exponent) for dtype, exponents in EXPONENTS.items() for exponent in exponents]
over_the_range = pytest.mark.parametrize(("dtype", "exponent"), RANGE)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def scaled(dtype: str, exponent: int, array: Any) -> Any:
    """`array` times 10^exponent, which need not be a number of `dtype` itself."""
    return (array.astype(np.longdouble) * np.longdouble(10) ** exponent).astype(dtype)


def assert_alike(found: Any, truth: Any, dtype: str, tolerance: float, name: str = "") -> None:
    for test in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(test(found), test(truth)), name
    finite = np.isfinite(truth)
    limits = np.finfo(dtype)
    scale = float(np.abs(truth[finite]).max(initial=0))
    bound = tolerance * float(limits.eps) * scale + 16 * float(limits.smallest_subnormal)
    difference = np.abs(found.astype(np.longdouble) - truth.astype(np.longdouble))[finite]
    assert difference.max(initial=0) <= bound, (name, float(difference.max()), bound)


def assert_runs_alike(op: Any, args: Any, kwargs: Any, dy: Any, dtype: str) -> None:
    fast = FUSED.counting()
    y, pullback = fast.run(op, *args, **kwargs)
    truth, truth_back = READABLE.run(op, *args, **kwargs)
    assert_alike(y, truth, dtype, 512, "y")
    for (name, found), (_, expected) in zip(tree_arrays(pullback(dy)), tree_arrays(truth_back(dy)), strict=True):
        assert_alike(found, expected, dtype, 512, name)
    shard: Any = fast
    assert op not in shard.shard.ran, "the readable function ran"


@over_the_range
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 1, 1, 4), (3, 1, 2, 3), (2, 2, 1, 64)])
@pytest.mark.parametrize("huge", ["x", "dy"])
def test_layer_norm(dtype: str, exponent: int, shape: tuple[int, ...], huge: str) -> None:
    rng = np.random.default_rng(0)
    x, dy, weight, bias = (rng.normal(size=s) for s in (shape, shape, shape[-1], shape[-1]))
    x, dy = (scaled(dtype, exponent if name == huge else 0, a) for name, a in (("x", x), ("dy", dy)))
    if huge == "x":
        x[0, 0, 0] = 2.0 ** np.floor(np.log2(np.abs(x).max()))  # a row of equal entries, whose sum is exact
    assert_runs_alike(layer_norm, (x, weight.astype(dtype), bias.astype(dtype)), {}, dy, dtype)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_layer_norm_of_a_row_whose_variance_overflows_is_its_bias(backend: str) -> None:
    """The variance is infinite and its reciprocal root 0, as in PyTorch."""
    x = np.array([1, -1, 2, 3], np.float32).reshape(1, 1, 1, 4) * np.float32(1e19)
    weight, bias = np.full(4, 2, np.float32), np.array([0.5, -1, 0, 3], np.float32)
    y, pullback = get_backend(backend).run(layer_norm, x, weight, bias)
    expected = torch.nn.functional.layer_norm(torch.tensor(x), (4,), torch.tensor(weight), torch.tensor(bias)).numpy()
    assert np.array_equal(y, expected)
    assert np.array_equal(y[0, 0, 0], bias)
    dx, dweight, _ = pullback(np.ones_like(y))
    assert not dx.any()
    assert not dweight.any()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_images_that_are_too_large_stay_unnoticed_in_the_loss(backend: str) -> None:
    """As docs/cpu.md warns: the tokens of the last norm are its bias, 0 in a new model, and so are the logits."""
    config = ViPConfig((1, 2), (8, 12), (2, 3), (True, False), 3, image_size=(12, 24), num_classes=5)
    model = VisionPermutator(config, backend=backend, seed=0)
    images = np.random.default_rng(3).normal(size=(4, 3, 12, 24)).astype(np.float32)
    labels = np.array([0, 4, 2, 2])
    seen, _ = model.loss_and_grads(images, labels)
    assert abs(float(seen) - math.log(5)) > 1e-4
    for size in (1e20, 1e30):
        loss, grads = model.loss_and_grads(images * np.float32(size), labels)
        assert float(loss) == np.float32(math.log(5))
        assert all(np.isfinite(grad).all() for _, grad in tree_arrays(grads))


B, H, W, N, S, R, Q = 2, 3, 5, 4, 2, 7, 6
C = N * S


# Products of huge weights overflow, in an order of their own.
BLOCK_RANGE = [(huge, *at) for huge in ("x", "params", "dy") for at in RANGE if huge != "params" or at[1] <= 0]


@pytest.mark.parametrize(("huge", "dtype", "exponent"), BLOCK_RANGE)
def test_a_block(huge: str, dtype: str, exponent: int) -> None:
    rng = np.random.default_rng(1)

    def draw(name: str, *shape: int) -> Any:
        return scaled(dtype, exponent if name == huge else 0, rng.normal(0, 0.5, shape))

    def linear(out: int, into: int) -> Any:
        return {"weight": draw("params", out, into), "bias": draw("params", out)}

    params = {
        "norm1": {"weight": draw("params", C), "bias": draw("params", C)},
        "attn": {
            "mlp_c": {"weight": draw("params", C, C)},
            "mlp_h": {"weight": draw("params", H * S, H * S)},
            "mlp_w": {"weight": draw("params", W * S, W * S)},
            "reweight": {"fc1": linear(Q, C), "fc2": linear(3 * C, Q)},
            "proj": linear(C, C),
        },
        "norm2": {"weight": draw("params", C), "bias": draw("params", C)},
        "mlp": {"fc1": linear(R, C), "fc2": linear(C, R)},
    }
    x, dy = draw("x", B, H, W, C), draw("dy", B, H, W, C)
    assert_runs_alike(permutator, (x, params), {"segments": N}, dy, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adamw(dtype: str) -> None:
    """Any number of the type as a parameter and as a gradient, four steps."""
    rng, limits = np.random.default_rng(2), np.finfo(dtype)
    root = float(limits.max) ** 0.5
    small = [limits.smallest_subnormal, limits.tiny, limits.tiny / 3, limits.eps, 1 / root]
    large = [root, 3 * root, root**1.5, limits.max, -limits.max, np.inf, -np.inf, np.nan]
    special = np.array([0, -0.0, 1, -1, *small, *large], dtype)

    def draw() -> Any:
        exponents = rng.uniform(np.log10(float(limits.tiny)), np.log10(float(limits.max)), (40, 50))
        drawn = (rng.choice([-1, 1], (40, 50)) * 10.0**exponents).astype(dtype)
        return {"w": np.where(rng.random((40, 50)) < 0.6, rng.choice(special, (40, 50)), drawn)}

    params, states = [draw()] * 2, [AdamWState(0, {}, {})] * 2
    for step in range(4):
        grads = draw()
        for i, xp in enumerate((FUSED, READABLE)):
            params[i], states[i] = xp.find(adamw)(
                xp, params[i], grads, states[i], lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
            )
        found, truth = (
            {"p": p["w"], "m": state.exp_avg["w"], "v": state.exp_avg_sq["w"]}
            for p, state in zip(params, states, strict=True)
        )
        for name, expected in truth.items():
            # Entry by entry, relative to itself; a parameter may lose the size of its step to cancellation.
            lost = np.abs(expected) + (4e-3 if name == "p" else 0)
            bound = 8 * limits.eps * lost.astype(np.longdouble) + 4 * limits.smallest_subnormal
            assert_alike(found[name], expected, dtype, np.inf, name)
            difference = np.abs(found[name].astype(np.longdouble) - expected.astype(np.longdouble))
            finite = np.isfinite(expected)
            assert (difference[finite] <= bound[finite]).all(), (name, step)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_huge_gradient_freezes_no_parameter(backend: str) -> None:
    """g^2 = 1e40 is no float32, (1 - beta2) g g is."""
    xp = get_backend(backend)
    optimizer = AdamW(xp, weight_decay=0.0)
    params = {"w": np.ones(1, np.float32)}
    tensor = torch.ones(1, requires_grad=True)
    theirs = torch.optim.AdamW([tensor], lr=0.1, weight_decay=0.0)
    for gradient in (1e20, 1e-3):
        params = optimizer.update(params, {"w": np.full(1, gradient, np.float32)}, lr=0.1)
        tensor.grad = torch.tensor([gradient])
        theirs.step()
    assert np.isfinite(optimizer.state.exp_avg_sq["w"]).all()
    np.testing.assert_allclose(params["w"], tensor.detach().numpy(), rtol=1e-6)
    # The second gradient is lost beside the first, whose moments are left, in units of 1e20 and 1e40.
    mean, square = 0.9 * 0.1 / (1 - 0.9**2), 0.999 * 0.001 / (1 - 0.999**2)
    expected = 1 - 0.1 - 0.1 * mean / math.sqrt(square)
    np.testing.assert_allclose(params["w"], [expected], rtol=4 * np.finfo(np.float32).eps)
