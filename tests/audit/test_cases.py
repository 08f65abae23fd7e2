"""Every op, layer and model of the table of cases: value, gradients, shapes drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conftest import cotangent, lists
from vipnp import get_backend
from vipnp.audit.cases import CASES, Case
from vipnp.verify.trees import tree_arrays, tree_map

XP = get_backend("numpy")
TIGHT = 1e-12

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_op_and_layer = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.kind != "model"], ids=lambda case: case.name
)


def relative(found: Any, truth: Any) -> float:
    """The largest difference over the largest entry of the truth."""
    found, truth = np.asarray(found), np.asarray(truth)
    assert found.shape == truth.shape
    return float(np.abs(found - truth).max() / np.abs(truth).max())


def torch_result(case: Case, args: Any, kwargs: Any, dy: Any) -> tuple[Any, list[Any]]:
    """Value and gradients of the PyTorch twin."""
    tensors = tree_map(lambda array: torch.tensor(array, requires_grad=True), args)
    y = case.twin(*tensors, **tree_map(torch.tensor, kwargs))
    y.backward(torch.tensor(dy))
    return y.detach().numpy(), [tensor.grad.numpy() for _, tensor in tree_arrays(tensors)]


def extended_gradients(case: Case, args: Any, kwargs: Any, dy: Any) -> list[Any]:
    """The gradients in extended precision: what an ill-conditioned case is held to, PyTorch's error beside it."""
    extended = tree_map(lambda array: array.astype(np.longdouble), (args, dy))
    constants = tree_map(lambda array: array.astype(np.longdouble) if array.dtype == np.float64 else array, kwargs)
    _, pullback = case.op(XP, *extended[0], **constants)
    return [gradient for _, gradient in tree_arrays(tuple(pullback(extended[1])))]


@st.composite
def drawn(draw: Any, case: Case) -> tuple[dict[str, int], int]:
    sizes = {letter: draw(st.integers(low, high), label=letter) for letter, (low, high) in case.ranges.items()}
    assume(case.fits(sizes))
    return sizes, draw(st.integers(0, 2**32 - 1), label="seed")


def test_the_table_covers_every_op_and_layer() -> None:
    from vipnp import layers, models, ops

    functions = {getattr(ops, name) for name in ops.__all__}
    functions |= {getattr(layers, name) for name in layers.__all__ if name[0].islower() and name != "masked"}
    functions.add(models.vision_permutator)
    assert functions <= {case.op for case in CASES.values()}


@every_case
def test_inputs_are_off_every_default(case: Case) -> None:
    args, kwargs = case.inputs()
    assert case.sizes.keys() == case.ranges.keys()
    assert case.sizes.get("B", 2) >= 2
    assert len(set(case.sizes.values())) == len(case.sizes), "two letters of one size hide that they are swapped"
    for _, array in tree_arrays(args):
        assert array.dtype == np.float64
        assert np.all(array != 0)
    again, _ = case.inputs()
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(tree_arrays(args), tree_arrays(again), strict=True))
    for name, mask in tree_arrays(kwargs):
        if "mask" in name:
            assert set(np.unique(mask)) == {0.0, 1.0}


@every_case
def test_value_is_that_of_the_definition(case: Case) -> None:
    args, kwargs = case.inputs()
    y, _ = case.op(XP, *args, **kwargs)
    assert relative(y, case.definition(*lists(args), **lists(kwargs))) <= TIGHT


@every_case
def test_gradients_are_those_of_pytorch(case: Case) -> None:
    args, kwargs = case.inputs()
    y, pullback = case.op(XP, *args, **kwargs)
    dy = cotangent(y)
    value, gradients = torch_result(case, args, kwargs, dy)
    assert relative(y, value) <= TIGHT
    found = list(tree_arrays(tuple(pullback(dy))))
    assert [name for name, _ in found] == [name for name, _ in tree_arrays(args)]
    exact = [None] * len(gradients) if not case.hard else extended_gradients(case, args, kwargs, dy)
    for (name, gradient), theirs, truth in zip(found, gradients, exact, strict=True):
        if truth is None:
            assert relative(gradient, theirs) <= TIGHT, name
        else:
            assert relative(theirs, truth) <= 1e-10, name
            assert relative(gradient, truth) <= 2 * relative(theirs, truth) + 1e-14, name


@every_op_and_layer
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_shape_and_value(case: Case, data: Any) -> None:
    """Drawn shapes and values against the definition and PyTorch."""
    sizes, seed = data.draw(drawn(case))
    args, kwargs = case.inputs(seed, sizes)
    y, pullback = case.op(XP, *args, **kwargs)
    dy = cotangent(y, seed)
    value, gradients = torch_result(case, args, kwargs, dy)
    scale = float(np.abs(value).max())
    assert np.abs(y - value).max() <= TIGHT * scale
    assert np.abs(y - np.asarray(case.definition(*lists(args), **lists(kwargs)))).max() <= TIGHT * scale
    for (name, gradient), truth in zip(tree_arrays(tuple(pullback(dy))), gradients, strict=True):
        # The gradient of a small tensor can cancel to nearly nothing; its size is then that of what cancels.
        size = max(float(np.abs(truth).max()), 1e-2 * float(np.abs(dy).max()))
        assert np.abs(gradient - truth).max() <= (1e-8 if case.hard else TIGHT) * size, name


def strided(array: Any) -> Any:
    """The same values in every second place of a larger array: contiguous in no axis."""
    if not hasattr(array, "ndim") or array.ndim == 0:
        return array
    larger = np.full([2 * n for n in array.shape], np.nan, dtype=array.dtype) if array.dtype.kind == "f" else None
    if larger is None:
        larger = np.full([2 * n for n in array.shape], -1, dtype=array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def fortran(array: Any) -> Any:
    return np.asfortranarray(array)


def read_only(array: Any) -> Any:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@every_case
@pytest.mark.parametrize("layout", [strided, fortran, read_only], ids=lambda layout: layout.__name__)
def test_any_memory_layout(case: Case, layout: Any) -> None:
    args, kwargs = case.inputs()
    y, pullback = case.op(XP, *args, **kwargs)
    dy = cotangent(y)
    plain = list(tree_arrays(tuple(pullback(dy))))
    y_laid, pullback = case.op(XP, *tree_map(layout, args), **tree_map(layout, kwargs))
    assert relative(y_laid, y) <= TIGHT
    for (name, gradient), (_, truth) in zip(
        tree_arrays(tuple(pullback(layout(dy) if dy.ndim else dy))), plain, strict=True
    ):
        assert np.abs(gradient - truth).max() <= TIGHT * max(np.abs(truth).max(), 1e-3), name
