"""What an op or layer promises in detail, without PyTorch: the suite that mutation testing runs.

Every test is fast and forks safely, so that a thousand mutants take minutes (tools/mutation.py).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.conftest import cotangent, lists
from tests.namespaces import StrictBackend
from vipnp import get_backend
from vipnp.audit.cases import CASES, Case
from vipnp.backends.numpy import NumpyBackend
from vipnp.layers import BlockMasks, Mask, masked, stage
from vipnp.ops import cross_entropy, drop_path, dropout, layer_norm, soft_cross_entropy, softmax
from vipnp.verify.trees import tree_arrays, tree_map

XP = NumpyBackend()
STRICT = StrictBackend()
STEP = 1e-30

CASES_HERE = [case for case in CASES.values() if case.kind != "model"]
every_case = pytest.mark.parametrize("case", CASES_HERE, ids=lambda case: case.name)
every_regular_case = pytest.mark.parametrize(
    "case", [case for case in CASES_HERE if not case.hard], ids=lambda case: case.name
)


def assert_close(found: Any, truth: Any, tolerance: float, name: str = "") -> None:
    found, truth = np.asarray(found), np.asarray(truth)
    assert found.shape == truth.shape, name
    assert np.abs(found - truth).max() <= tolerance * np.abs(truth).max(), name


def assert_same_tree(found: Any, truth: Any) -> None:
    for (name, array), (name_expected, expected) in zip(tree_arrays(found), tree_arrays(truth), strict=True):
        assert name == name_expected
        assert np.array_equal(array, expected), name


# --- values and gradients -------------------------------------------------------------------------------------------


@every_regular_case
def test_value_is_that_of_the_definition(case: Case) -> None:
    args, kwargs = case.inputs(3)
    y, _ = case.op(XP, *args, **kwargs)
    assert_close(y, case.definition(*lists(args), **lists(kwargs)), 1e-13)


@every_regular_case
def test_gradients_are_complex_steps(case: Case) -> None:
    """Every gradient, in one random direction a tensor, against Im f(x + ihu) / h."""
    args, kwargs = case.inputs(4)
    y, pullback = case.op(XP, *args, **kwargs)
    dy = cotangent(y)
    gradients = list(tree_arrays(tuple(pullback(dy))))
    inputs = list(tree_arrays(args))
    assert [name for name, _ in gradients] == [name for name, _ in inputs]
    rng = np.random.default_rng(31)
    for (name, gradient), (_, array) in zip(gradients, inputs, strict=True):
        along = rng.normal(size=array.shape)
        moved = tree_map(lambda other: other + STEP * 1j * along if other is array else other, args)  # noqa: B023
        value, _ = case.op(XP, *moved, **kwargs)
        slope = np.sum(dy * (value.imag / STEP))
        size = np.linalg.norm(gradient) * np.linalg.norm(along)
        assert gradient.shape == array.shape
        assert abs(slope - np.sum(gradient * along)) <= 1e-12 * size, name


@every_case
def test_float32_stays_float32(case: Case) -> None:
    args, kwargs = tree_map(
        lambda array: array.astype(np.float32) if array.dtype == np.float64 else array, case.inputs(5)
    )
    y, pullback = case.op(XP, *args, **kwargs)
    assert y.dtype == np.float32
    for name, gradient in tree_arrays(tuple(pullback(cotangent(y).astype(np.float32)))):
        assert gradient.dtype == np.float32, name


@every_regular_case
def test_array_api_strict_on_its_second_device(case: Case) -> None:
    args, kwargs = case.inputs(6)
    y, pullback = case.op(XP, *args, **kwargs)
    dy = cotangent(y)
    y_strict, pullback_strict = case.op(STRICT, *tree_map(STRICT.asarray, args), **tree_map(STRICT.asarray, kwargs))
    assert STRICT.owns(y_strict)
    assert_close(STRICT.to_numpy(y_strict), y, 1e-13)
    strict_gradients = tree_arrays(tuple(pullback_strict(STRICT.asarray(dy))))
    for (name, found), (_, truth) in zip(strict_gradients, tree_arrays(tuple(pullback(dy))), strict=True):
        assert STRICT.owns(found), name
        assert_close(STRICT.to_numpy(found), truth, 1e-13, name)


@every_case
def test_the_value_shares_no_memory_with_an_argument_where_sizes_are_one(case: Case) -> None:
    """Exchanging an axis of one entry moves nothing, and NumPy then gives a view where it copies otherwise."""
    ones = [letter for letter, (low, _) in case.ranges.items() if low == 1]
    for chosen in itertools.chain.from_iterable(itertools.combinations(ones, k) for k in (1, 2)):
        sizes = {letter: max(low, 2) for letter, (low, _) in case.ranges.items()} | dict.fromkeys(chosen, 1)
        args, kwargs = case.inputs(7, sizes)
        y, _ = case.op(XP, *args, **kwargs)
        shared = [name for name, array in tree_arrays(args) if np.shares_memory(y, array)]
        assert not shared, (sizes, shared)


# --- single ops -----------------------------------------------------------------------------------------------------


def test_softmax_of_rows_far_apart() -> None:
    """Each row has its own largest entry taken off: no overflow, and no row drowned by another."""
    x = np.array([[0.5, -0.25, 1.0], [2000.0, 1999.0, 1998.5], [-3000.0, -3000.5, -3002.0]])
    s, pullback = softmax(XP, x)
    expected = np.exp(x - x.max(axis=1)[:, None])
    expected /= expected.sum(axis=1)[:, None]
    assert_close(s, expected, 1e-15)
    (dx,) = pullback(np.ones_like(x))
    assert np.abs(dx).max() <= 1e-15


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("xp", [XP, STRICT, get_backend("numba")], ids=["numpy", "strict", "numba"])
@pytest.mark.parametrize("kind", ["labels", "one-hot", "distribution"])
def test_a_class_of_weight_zero_adds_nothing_however_small_its_logit(kind: str, xp: Any, dtype: str) -> None:
    """0 log 0 is 0: the loss is that of the other classes alone, and the gradient of the class is 0."""
    logits = np.array([[1.0, -np.inf, 2.0], [0.5, -1.5, 0.25]], dtype)
    labels = np.array([0, 1])
    targets = np.array({"one-hot": [[1, 0, 0], [0, 1, 0]]}.get(kind, [[0.75, 0, 0.25], [0.25, 0.5, 0.25]]), dtype)
    if kind == "labels":
        loss, pullback = cross_entropy(xp, xp.asarray(logits), labels=xp.asarray(labels))
        targets = np.eye(3)[labels]
    else:
        loss, pullback = soft_cross_entropy(xp, xp.asarray(logits), targets=xp.asarray(targets))
    weights = np.exp(logits - np.max(logits, axis=1, keepdims=True)).astype(np.float64)
    p = weights / weights.sum(axis=1, keepdims=True)
    truth = -sum(t * np.log(q) for t, q in zip(targets.flat, p.flat, strict=True) if t) / 2
    assert abs(float(loss) - float(truth)) <= 4 * np.finfo(dtype).eps * abs(truth)
    gradient = np.asarray(xp.to_numpy(pullback(xp.ones_like(loss))[0]))
    assert gradient[0, 1] == 0
    np.testing.assert_allclose(gradient, (p - targets) / 2, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_a_class_with_weight_and_no_probability_is_an_infinite_loss() -> None:
    logits = np.array([[1.0, -np.inf, 2.0]])
    assert cross_entropy(XP, logits, labels=np.array([1]))[0] == np.inf
    assert cross_entropy(XP, logits, labels=np.array([0]), label_smoothing=0.1)[0] == np.inf


def test_cross_entropy_of_rows_far_apart() -> None:
    logits = np.array([[0.5, -0.25, 1.0], [2000.0, 1999.0, 1998.5], [-3000.0, -3000.5, -3002.0], [900.0, 0.0, 5.0]])
    labels = np.array([2, 0, 1, 0])
    loss, pullback = cross_entropy(XP, logits, labels=labels)
    shifted = logits - logits.max(axis=1)[:, None]
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1))[:, None]
    assert_close(loss, -logarithms[np.arange(4), labels].mean(), 1e-15)
    (dlogits,) = pullback(np.asarray(2.0))
    assert_close(dlogits, (np.exp(logarithms) - np.eye(3)[labels]) / 2, 1e-15)


def test_soft_targets_need_not_sum_to_one() -> None:
    rng = np.random.default_rng(37)
    logits, targets = rng.normal(size=(3, 4)), rng.uniform(size=(3, 4))
    loss, pullback = soft_cross_entropy(XP, logits, targets=targets)
    moved, _ = soft_cross_entropy(XP, logits + 1e-30j * np.eye(3, 4), targets=targets)
    (dlogits,) = pullback(np.asarray(1.0))
    assert_close(np.trace(dlogits), moved.imag / 1e-30, 1e-14)
    assert loss > 0


def test_layer_norm_of_a_constant_is_its_bias() -> None:
    bias = np.array([0.5, -1.0, 2.0])
    y, pullback = layer_norm(XP, np.full((2, 4, 3), 7.0), np.ones(3), bias)
    assert np.array_equal(y, np.broadcast_to(bias, (2, 4, 3)))
    dx, _, _ = pullback(np.ones((2, 4, 3)))
    assert np.array_equal(dx, np.zeros((2, 4, 3)))


# --- the places of the branches ---------------------------------------------------------------------------------------

TURNED = {"mlp_h": "mlp_c", "mlp_w": "mlp_h", "mlp_c": "mlp_w"}
"""Place -> the place whose branch moves there: channel, height, width stand where height, width, channel stood."""


def turned(params: Any) -> Any:
    """The same Permute-MLP with its branches moved by TURNED, and with them the rows 3*channel + branch of fc2."""
    moved = {**params, **{place: params[other] for place, other in TURNED.items()}}
    if "reweight" in params:
        fc2 = params["reweight"]["fc2"]
        rows = {
            name: np.ascontiguousarray(tensor.reshape(-1, 3, *tensor.shape[1:])[:, [2, 0, 1]]).reshape(tensor.shape)
            for name, tensor in fc2.items()
        }
        moved["reweight"] = {"fc1": params["reweight"]["fc1"], "fc2": rows}
    return moved


@pytest.mark.parametrize("name", ["permute_mlp", "weighted_permute_mlp"])
def test_any_branch_may_stand_in_any_place(name: str) -> None:
    case = CASES[name]
    (x, params), kwargs = case.inputs(9)
    y, pullback = case.op(XP, x, params, **kwargs)
    dx, dparams = pullback(cotangent(y))
    y_turned, pullback = case.op(XP, x, turned(params), **kwargs, branches=("channel", "height", "width"))
    dx_turned, dparams_turned = pullback(cotangent(y))
    assert_close(y_turned, y, 1e-13)
    assert_close(dx_turned, dx, 1e-13)
    for (path, found), (path_expected, expected) in zip(
        tree_arrays(dparams_turned), tree_arrays(turned(dparams)), strict=True
    ):
        assert path == path_expected
        assert_close(found, expected, 1e-13, path)


# --- masks and stages -----------------------------------------------------------------------------------------------


def test_no_mask_is_the_identity_itself() -> None:
    x, dy = np.ones((2, 1, 3, 4)), np.full((2, 1, 3, 4), 2.0)
    for op in (dropout, drop_path):
        y, pullback = masked(XP, op, x, None)
        assert y is x
        (dx,) = pullback(dy)
        assert dx is dy


def stage_case() -> tuple[Any, Any]:
    args, kwargs = CASES["stage/masks"].inputs(7)
    return args, kwargs


def test_a_stage_can_be_differentiated_once() -> None:
    args, kwargs = stage_case()
    y, pullback = stage(XP, *args, **kwargs)
    dx, dparams = pullback(cotangent(y))
    assert dx.shape == y.shape
    assert list(dparams) == ["0", "1"]
    with pytest.raises(RuntimeError) as raised:
        pullback(cotangent(y))
    assert str(raised.value) == "this pullback of a stage was called before: it is one-shot and has freed its blocks"


@pytest.mark.parametrize("blocks", [1, 3])
def test_a_stage_wants_one_set_of_masks_a_block(blocks: int) -> None:
    args, kwargs = stage_case()
    with pytest.raises(ValueError, match="zip"):
        stage(XP, *args, **{**kwargs, "masks": [BlockMasks()] * blocks})


def test_a_stage_hands_its_options_to_every_block() -> None:
    case = CASES["permutator/sum"]
    (x, params), kwargs = case.inputs(8)
    assert {"fusion", "branches", "skip_lam"} <= set(kwargs)
    y, pullback = case.op(XP, x, params, **kwargs)
    one = {**kwargs, "masks": [kwargs["masks"]]}
    y_stage, stage_back = stage(XP, x, {"0": params}, **one)
    assert np.array_equal(y_stage, y)
    (dx, dparams), (dx_stage, dparams_stage) = pullback(cotangent(y)), stage_back(cotangent(y))
    assert np.array_equal(dx_stage, dx)
    assert_same_tree(dparams_stage, {"0": dparams})


def test_a_stage_without_masks_drops_nothing() -> None:
    args, kwargs = stage_case()
    everything = Mask(np.ones(args[0].shape[0]), 0.0)
    kept = [BlockMasks(attn_path=everything, mlp_path=everything)] * 2
    y, _ = stage(XP, *args, **{**kwargs, "masks": None})
    y_kept, _ = stage(XP, *args, **{**kwargs, "masks": kept})
    assert np.array_equal(y, y_kept)


def test_what_runs_in_a_block() -> None:
    """Every op and layer goes through `run`, so a replacement of any of them is used."""
    from vipnp import layers, ops

    xp = NumpyBackend().counting()
    case = CASES["permutator/masks"]
    args, kwargs = case.inputs()
    xp.run(case.op, *args, **kwargs)
    assert xp.ran == {
        layers.permutator: 1,
        layers.weighted_permute_mlp: 1,
        layers.height_branch: 1,
        layers.width_branch: 1,
        layers.channel_branch: 1,
        layers.mlp: 2,
        ops.layer_norm: 2,
        ops.permute_height: 2,
        ops.permute_width: 2,
        ops.linear_no_bias: 3,
        ops.global_average_pool: 1,
        ops.linear: 5,
        ops.gelu: 2,
        ops.split_attention: 1,
        ops.dropout: 3,
        ops.drop_path: 2,
        ops.residual: 2,
    }
