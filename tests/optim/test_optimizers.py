"""The optimisers, clipping and the schedule against PyTorch's, on every step, and their refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.namespaces import StrictBackend
from vipnp import get_backend
from vipnp.core import Backend
from vipnp.optim import SGD, AdamW, adamw, clip_grad_norm, cosine_lr, sgd

SHAPES = {"matrix": (5, 7), "bias": (7,), "convolution": (4, 3, 2, 2), "scale": (6,), "temperature": ()}
STEPS = 20
UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}

XP = get_backend("numpy")

Draw = dict[str, np.ndarray[Any, Any]]


def draw(seed: int, dtype: str) -> Draw:
    rng = np.random.default_rng(seed)
    return {name: np.array(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def ones(*names: str, dtype: str = "float32") -> Draw:
    return {name: np.ones(3, dtype) for name in names}


def lr_of(step: int) -> float:
    return 0.01 * (1 + step % 3)


def torch_trajectory(dtype: str, make: Callable[[list[Any]], torch.optim.Optimizer]) -> list[Draw]:
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in draw(0, dtype).items()}
    matrices = [t for t in tensors.values() if t.ndim >= 2]
    vectors = [t for t in tensors.values() if t.ndim < 2]
    optimizer = make([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}])
    trajectory = []
    for step in range(STEPS):
        for name, gradient in draw(1 + step, dtype).items():
            tensors[name].grad = torch.tensor(gradient)
        for group in optimizer.param_groups:
            group["lr"] = lr_of(step)
        optimizer.step()
        trajectory.append({name: t.detach().numpy().copy() for name, t in tensors.items()})
    return trajectory


def our_trajectory(xp: Backend, dtype: str, optimizer: SGD | AdamW) -> list[Draw]:
    params = {name: xp.asarray(value) for name, value in draw(0, dtype).items()}
    trajectory = []
    for step in range(STEPS):
        grads = {name: xp.asarray(value) for name, value in draw(1 + step, dtype).items()}
        params = optimizer.update(params, grads, lr=lr_of(step))
        trajectory.append({name: xp.to_numpy(p).copy() for name, p in params.items()})
    return trajectory


def assert_equal_to_rounding(ours: list[Draw], theirs: list[Draw], dtype: str, reference: list[Draw]) -> None:
    """Every step of ours as near to the float64 trajectory as rounding lets it be: at most one unit a step."""
    for step, (mine, torchs, exact) in enumerate(zip(ours, theirs, reference, strict=True), start=1):
        for name in SHAPES:
            assert mine[name].dtype == torchs[name].dtype == np.dtype(dtype)
            bound = step * UNIT_ROUNDOFF[dtype] * np.abs(exact[name]).max()
            np.testing.assert_allclose(mine[name], torchs[name], rtol=0, atol=bound, err_msg=f"{name}, step {step}")


ADAMW = [
    {"weight_decay": 0.05},
    {"weight_decay": 0.3, "betas": (0.8, 0.95), "eps": 1e-3},
    {"weight_decay": 0.0, "betas": (0.0, 0.0)},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", ADAMW)
def test_adamw_equals_pytorch_on_every_step(dtype: str, options: dict[str, Any]) -> None:
    theirs = torch_trajectory(dtype, lambda groups: torch.optim.AdamW(groups, **options))
    exact = torch_trajectory("float64", lambda groups: torch.optim.AdamW(groups, **options))
    xp = get_backend("numpy")
    assert_equal_to_rounding(our_trajectory(xp, dtype, AdamW(xp, **options)), theirs, dtype, exact)


SGDS = [
    {"momentum": 0.9},
    {"momentum": 0.0},
    {"momentum": 0.9, "nesterov": True},
]


def torch_sgd(groups: list[Any], **options: Any) -> torch.optim.Optimizer:
    """PyTorch's SGD with its usual single group: every tensor decays."""
    return torch.optim.SGD([t for group in groups for t in group["params"]], lr=0.1, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("options", SGDS)
def test_sgd_equals_pytorch_on_every_step(dtype: str, weight_decay: float, options: dict[str, Any]) -> None:
    theirs = torch_trajectory(dtype, lambda groups: torch_sgd(groups, weight_decay=weight_decay, **options))
    exact = torch_trajectory("float64", lambda groups: torch_sgd(groups, weight_decay=weight_decay, **options))
    xp = get_backend("numpy")
    ours = our_trajectory(xp, dtype, SGD(xp, weight_decay=weight_decay, **options))
    assert_equal_to_rounding(ours, theirs, dtype, exact)


@pytest.mark.parametrize("make", [lambda xp: SGD(xp, nesterov=True, weight_decay=0.1), AdamW])
def test_the_strict_namespace_gives_the_same_bits(make: Callable[[Backend], SGD | AdamW]) -> None:
    strict, plain = StrictBackend(), get_backend("numpy")
    for mine, reference in zip(
        our_trajectory(strict, "float32", make(strict)), our_trajectory(plain, "float32", make(plain)), strict=True
    ):
        for name in SHAPES:
            np.testing.assert_array_equal(mine[name], reference[name])


def test_bounds_that_are_included() -> None:
    """The ends of the intervals that belong to them: no momentum, no decay, no step."""
    params, grads = draw(0, "float64"), draw(1, "float64")
    for optimizer in (SGD(XP, momentum=0, weight_decay=0), AdamW(XP, betas=(0, 0), weight_decay=0)):
        found = optimizer.update(params, grads, lr=0)
        assert all(np.array_equal(found[name], params[name]) for name in SHAPES)


def test_the_weight_decay_that_nobody_asks_for() -> None:
    """AdamW's is 0.05 of matrices, as in the official recipe, SGD's is none: seen with gradients of zero."""
    params = draw(0, "float64")
    zeros = {name: np.zeros_like(p) for name, p in params.items()}
    decayed, kept = AdamW(XP).update(params, zeros, lr=0.1), SGD(XP).update(params, zeros, lr=0.1)
    for name, p in params.items():
        factor = 1 - 0.1 * 0.05 if p.ndim >= 2 else 1
        np.testing.assert_allclose(decayed[name], factor * p, rtol=1e-15)
        assert np.array_equal(kept[name], p)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_update_leaves_its_arguments_alone(make: Callable[[Backend], SGD | AdamW]) -> None:
    optimizer = make(get_backend("numpy"))
    params, grads = draw(0, "float32"), draw(1, "float32")
    for array in (*params.values(), *grads.values()):
        array.flags.writeable = False
    for _ in range(3):
        new = optimizer.update(params, grads, lr=0.1)
        assert all(not np.array_equal(new[name], params[name]) for name in SHAPES)
    assert list(params) == list(new) == list(SHAPES)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    "make", [SGD, AdamW, lambda xp: SGD(xp, nesterov=True), lambda xp: SGD(xp, momentum=0.0, weight_decay=0.1)]
)
def test_one_gradient_array_may_be_used_for_every_step(make: Callable[[Backend], SGD | AdamW], backend: str) -> None:
    """Nothing of the caller's is kept: what is written into its arrays later changes no earlier step's memory."""
    xp = get_backend(backend)
    reusing, apart = make(xp), make(xp)
    expected, grads = draw(0, "float32"), draw(0, "float32")
    for step in range(1, 4):
        params = {name: value.copy() for name, value in expected.items()}
        for name, value in draw(step, "float32").items():
            grads[name][...] = value
        found = reusing.update(params, grads, lr=0.1)
        expected = apart.update(expected, draw(step, "float32"), lr=0.1)
        for name in SHAPES:
            np.testing.assert_array_equal(found[name], expected[name])
            params[name][...] = np.nan
        assert all(np.isfinite(found[name]).all() for name in SHAPES)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_the_step_can_be_replaced_like_an_op(make: Callable[[Backend], SGD | AdamW]) -> None:
    xp = get_backend("numpy").counting()
    make(xp).update(draw(0, "float32"), draw(1, "float32"), lr=0.1)
    assert {op.__name__: count for op, count in (xp.ran or {}).items()} == {make.__name__.lower(): 1}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [0.5, 7.0, 1e3])
@pytest.mark.parametrize("xp", [get_backend("numpy"), StrictBackend()], ids=["numpy", "strict"])
def test_clipping_equals_pytorch(dtype: str, max_norm: float, xp: Backend) -> None:
    grads = draw(3, dtype)
    tensors = [torch.zeros(shape, requires_grad=True) for shape in SHAPES.values()]
    tensors = [tensor.to(getattr(torch, dtype)).detach().requires_grad_() for tensor in tensors]
    for tensor, gradient in zip(tensors, grads.values(), strict=True):
        tensor.grad = torch.tensor(gradient)
    their_norm = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    clipped, norm = clip_grad_norm(xp, {name: xp.asarray(g) for name, g in grads.items()}, max_norm=max_norm)
    bound = 16 * UNIT_ROUNDOFF[dtype]
    np.testing.assert_allclose(xp.to_numpy(norm), their_norm.numpy(), rtol=bound)
    for name, tensor in zip(SHAPES, tensors, strict=True):
        assert clipped[name].dtype == getattr(xp, dtype)
        assert tensor.grad is not None
        np.testing.assert_allclose(xp.to_numpy(clipped[name]), tensor.grad.numpy(), rtol=bound)


SCALARS = [np.float64, np.float32]


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numpy_scalars_change_no_dtype(scalar: Any, dtype: str) -> None:
    """A NumPy scalar of another dtype would promote the arrays it meets."""
    tenth = scalar(0.1)
    for optimizer in (
        AdamW(XP, betas=(tenth, tenth), eps=tenth, weight_decay=tenth),
        SGD(XP, momentum=tenth, nesterov=True, weight_decay=tenth),
        SGD(XP),
    ):
        params = draw(0, dtype)
        for step in range(2):
            params = optimizer.update(params, draw(1 + step, dtype), lr=tenth)
        assert {p.dtype for p in params.values()} == {np.dtype(dtype)}
        moments = [part for part in optimizer.state if isinstance(part, dict)]
        assert moments
        assert {m.dtype for part in moments for m in part.values()} == {np.dtype(dtype)}
    clipped, norm = clip_grad_norm(XP, draw(0, dtype), max_norm=tenth)
    assert {g.dtype for g in clipped.values()} == {norm.dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("epoch", [np.int64(0), np.int32(3), np.int64(5)])
def test_the_schedule_returns_a_python_float(scalar: Any, epoch: Any) -> None:
    rates = {"lr": scalar(0.5), "min_lr": scalar(0.25), "warmup_lr": scalar(0.125)}
    rate = cosine_lr(epoch, epochs=np.int64(5), warmup_epochs=np.int32(2), **rates)
    assert type(rate) is float
    assert rate == cosine_lr(int(epoch), lr=0.5, min_lr=0.25, warmup_lr=0.125, epochs=5, warmup_epochs=2)


def test_a_lowest_rate_equal_to_the_highest_is_the_rate_of_every_epoch() -> None:
    rates = {cosine_lr(epoch, lr=0.5, min_lr=0.5, warmup_lr=0.5, epochs=4, warmup_epochs=1) for epoch in range(6)}
    assert rates == {0.5}
    assert cosine_lr(0, lr=0.0, min_lr=0.0, epochs=4) == 0


STATEFUL: list[Callable[[Backend], SGD | AdamW]] = [SGD, AdamW]


@pytest.mark.parametrize("make", STATEFUL)
@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 7), "float32"), ((3, 7), "float32"), ((1, 7), "float64")], ids=["more", "fewer", "dtype"]
)
def test_the_state_of_other_shapes_is_refused(
    make: Callable[[Backend], SGD | AdamW], shape: tuple[int, int], dtype: str
) -> None:
    """As after a new classifier: moments of one class would be broadcast to five."""
    optimizer = make(XP)
    old = {"a": np.ones((1, 7), np.float32), "b": np.ones(3, np.float32)}
    optimizer.update(old, old, lr=0.1)
    before = optimizer.state
    new = {**old, "a": np.ones(shape, dtype)}
    message = rf"params: the \w+ of the earlier steps .*a is float32 \(1, 7\), its parameter {dtype} .*new optimizer"
    with pytest.raises(ValueError, match=message):
        optimizer.update(new, new, lr=0.1)
    assert optimizer.state is before


@pytest.mark.parametrize("make", STATEFUL)
def test_the_state_of_another_model_is_refused(make: Callable[[Backend], SGD | AdamW]) -> None:
    optimizer = make(XP)
    optimizer.update(ones("a", "b"), ones("a", "b"), lr=0.1)
    before = optimizer.state
    with pytest.raises(ValueError, match="missing c; unexpected b; other parameters need a new optimizer"):
        optimizer.update(ones("a", "c"), ones("a", "c"), lr=0.1)
    assert optimizer.state is before


def test_a_step_without_parameters_is_a_step() -> None:
    """Means that are not there were looked up by the next one: KeyError: 'a'."""
    optimizer = AdamW(XP)
    assert optimizer.update({}, {}, lr=0.1) == {}
    assert optimizer.state.step == 1
    with pytest.raises(
        ValueError, match="params: the exp_avg of the earlier steps differs from them: missing a; other"
    ):
        optimizer.update(ones("a"), ones("a"), lr=0.1)
    assert optimizer.update({}, {}, lr=0.1) == {}


def test_a_number_of_steps_that_no_float_holds() -> None:
    optimizer = AdamW(XP)
    optimizer.update(ones("a"), ones("a"), lr=0.1)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"^step: got int, expected an integer in"):
        optimizer.load_state_dict({**state, "step": 10**400})
    optimizer.load_state_dict({**state, "step": 2**53})
    assert np.isfinite(optimizer.update(ones("a"), ones("a"), lr=0.1)["a"]).all()


def test_a_negative_mean_of_squares_is_refused() -> None:
    """Its root is NaN, and so were all weights after the next step."""
    optimizer = AdamW(XP)
    optimizer.update(ones("a"), ones("a"), lr=0.1)
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"^exp_avg_sq: a has a negative number in it, expected a mean of squares$"):
        optimizer.load_state_dict({**state, "exp_avg_sq": {"a": np.array([1, -1e-300, 1])}})
    np.testing.assert_equal(optimizer.state_dict(), state)
    optimizer.load_state_dict({**state, "exp_avg": {"a": -np.ones(3)}})


@pytest.mark.parametrize("make", [AdamW, SGD])
def test_a_state_that_would_spoil_the_weights_is_refused(make: Callable[[Backend], Any]) -> None:
    """NaN in it, what masks numbers, and what is no mapping; the state is then as it was."""
    optimizer = make(XP)
    optimizer.update(ones("a"), ones("a"), lr=0.1)
    state = optimizer.state_dict()
    part = next(key for key in state if key != "step")
    for value, error, message in (
        (np.ones(3), TypeError, f"{part}: got ndarray, expected a mapping from names to NumPy arrays"),
        ({"a": np.array([1, np.nan, 1])}, ValueError, f"{part}: a has NaN in it, expected numbers"),
        ({"a": np.ma.masked_equal(np.ones(3), 1)}, TypeError, f"{part}: a is "),
        ({"a": [1.0, 2.0, 3.0]}, TypeError, f"{part}: a is [1.0, 2.0, 3.0], expected a NumPy array"),
    ):
        with pytest.raises(error, match="^" + re.escape(message)):
            optimizer.load_state_dict({**state, part: value})
        np.testing.assert_equal(optimizer.state_dict(), state)


def test_of_many_gradients_that_do_not_fit_three_are_told() -> None:
    with pytest.raises(ValueError, match=r"^grads: missing a, b, c and 2 more; unexpected f, g; expected one gradient"):
        SGD(XP).update(ones(*"abcde"), ones(*"fg"), lr=0.1)
    other = {name: np.ones(4, np.float32) for name in "abcde"}
    with pytest.raises(ValueError, match=r"c is float32 \(4,\), its parameter float32 \(3,\); 2 more like these; exp"):
        SGD(XP).update(ones(*"abcde"), other, lr=0.1)


def test_sgd_without_momentum_has_no_state_to_fit() -> None:
    optimizer = SGD(XP, momentum=0)
    optimizer.update(ones("a"), ones("a"), lr=0.1)
    assert list(optimizer.update(ones("b"), ones("b"), lr=0.1)) == ["b"]


def strict_ones(*names: str) -> dict[str, Any]:
    return {name: StrictBackend().asarray(np.ones(3, np.float32)) for name in names}


@pytest.mark.parametrize("make", STATEFUL)
@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        (
            strict_ones("a"),
            strict_ones("a"),
            "params: a is of type array_api_strict.*expected an array of backend 'numpy'",
        ),
        (ones("a"), strict_ones("a"), "grads: a is of type array_api_strict"),
        ({"a": torch.ones(3)}, {"a": torch.ones(3)}, r"params: a is of type torch\.Tensor"),
        (ones("a"), {"a": [1.0, 1.0, 1.0]}, r"grads: a is of type builtins\.list"),
        ([np.ones(3)], ones("a"), "params: got list, expected a mapping"),
    ],
)
def test_arrays_of_another_backend_are_refused(
    make: Callable[[Backend], SGD | AdamW], params: Any, grads: Any, message: str
) -> None:
    optimizer = make(XP)
    with pytest.raises(TypeError, match=message):
        optimizer.update(params, grads, lr=0.1)


def test_clipping_refuses_arrays_of_another_backend() -> None:
    with pytest.raises(TypeError, match="grads: a is of type array_api_strict"):
        clip_grad_norm(XP, strict_ones("a"), max_norm=1.0)
    with pytest.raises(
        TypeError, match=r"grads: a is of type numpy\.ndarray, expected an array of backend 'array_api_strict'"
    ):
        clip_grad_norm(StrictBackend(), ones("a"), max_norm=1.0)


def test_clipping_hands_on_what_is_not_finite() -> None:
    xp = get_backend("numpy")
    clipped, norm = clip_grad_norm(xp, {"a": np.array([1.0, np.nan]), "b": np.array([2.0])}, max_norm=1.0)
    assert np.isnan(norm)
    assert np.isnan(clipped["b"]).all()


RECIPE = {"lr": 2e-3, "epochs": 300, "min_lr": 1e-5, "warmup_epochs": 20, "warmup_lr": 1e-6}
PUBLISHED_RATES = {
    0: "1.000e-06",
    1: "1.009e-04",
    10: "1.000e-03",
    19: "1.900e-03",
    20: "1.978e-03",
    150: "1.005e-03",
    299: "1.005e-05",
    300: "1.000e-05",
    309: "1.000e-05",
}


@pytest.mark.parametrize(("epoch", "rate"), PUBLISHED_RATES.items())
def test_schedule_is_the_official_recipes(epoch: int, rate: str) -> None:
    assert f"{cosine_lr(epoch, **RECIPE):.3e}" == rate


def test_schedule_without_warmup_equals_pytorch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25, eta_min=0.01)
    for epoch in range(25):
        assert cosine_lr(epoch, lr=0.3, epochs=25, min_lr=0.01) == pytest.approx(schedule.get_last_lr()[0], rel=1e-13)
        optimizer.step()
        schedule.step()


PARAMETERS = draw(0, "float32")

REFUSALS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: SGD(XP, momentum=1.0), ValueError, r"momentum: got 1\.0, expected a number in \[0, 1\)"),
    (lambda: SGD(XP, momentum=-0.1), ValueError, "momentum: got -0.1"),
    (lambda: SGD(XP, momentum="0.9"), TypeError, "momentum: got '0.9', expected a number"),  # type: ignore[arg-type]
    (lambda: SGD(XP, weight_decay=-1), ValueError, "weight_decay: got -1"),
    (lambda: SGD(XP, momentum=0, nesterov=True), ValueError, "nesterov: got True with momentum 0"),
    (lambda: SGD("numpy"), TypeError, "xp: got 'numpy', expected a Backend"),  # type: ignore[arg-type]
    (lambda: AdamW(np), TypeError, "xp: got .*module.*expected a Backend"),  # type: ignore[arg-type]
    (
        lambda: AdamW(PARAMETERS),  # type: ignore[arg-type]
        TypeError,
        r"^xp: got dict, expected a Backend such as vipnp.get_backend returns; parameters are given to update, "
        r"not to the optimizer$",
    ),
    (lambda: SGD(PARAMETERS.values()), TypeError, "^xp: got dict_values, .* parameters are given to update"),  # type: ignore[arg-type]
    (lambda: SGD(XP, momentum=np.ones(9)), TypeError, "^momentum: got ndarray, expected a number$"),  # type: ignore[arg-type]
    (lambda: AdamW(XP, betas=[np.ones(9)] * 2), TypeError, "^betas: got list, expected a tuple of two numbers$"),  # type: ignore[arg-type]
    (lambda: AdamW(XP).update(ones("a"), ones("a"), lr=10**400), ValueError, "^lr: got int, expected a number in"),
    (lambda: AdamW(XP).update(ones("a"), ones("a"), lr=-(10**9999)), ValueError, "^lr: got int, expected a number in"),
    (lambda: clip_grad_norm("numpy", {}, max_norm=1), TypeError, "xp: got 'numpy'"),  # type: ignore[arg-type]
    (lambda: AdamW(XP, betas=(0.9, 1.0)), ValueError, r"betas\[1\]: got 1\.0"),
    (lambda: AdamW(XP, betas=(1.0, 0.9)), ValueError, r"betas\[0\]: got 1\.0, expected a number in \[0, 1\)"),
    (lambda: AdamW(XP, betas=(0.9, -0.1)), ValueError, r"betas\[1\]: got -0\.1"),
    (lambda: AdamW(XP, eps=-1e-8), ValueError, r"eps: got -1e-08, expected a number in \(0, inf\)"),
    (lambda: AdamW(XP, eps=float("inf")), ValueError, "eps: got inf"),
    (lambda: AdamW(XP, weight_decay=-0.05), ValueError, r"weight_decay: got -0\.05, expected a number in \[0, inf\)"),
    (lambda: SGD(XP, weight_decay=float("inf")), ValueError, r"weight_decay: got inf, expected a number in \[0, inf\)"),
    (lambda: SGD(XP, momentum=float("nan")), ValueError, "momentum: got nan"),
    (lambda: SGD(XP, nesterov="no"), TypeError, "^nesterov: got 'no', expected True or False$"),  # type: ignore[arg-type]
    (lambda: SGD(XP, nesterov=None), TypeError, "^nesterov: got None, expected True or False$"),  # type: ignore[arg-type]
    (lambda: clip_grad_norm(XP, ones("a"), max_norm=-1.0), ValueError, r"max_norm: got -1\.0"),
    (lambda: clip_grad_norm(XP, ones("a"), max_norm=float("inf")), ValueError, r"max_norm: got inf, .* in \(0, inf\)"),
    (lambda: clip_grad_norm(XP, ones("a"), max_norm=float("nan")), ValueError, "max_norm: got nan"),
    (lambda: AdamW(XP, betas=(-0.9, 0.9)), ValueError, r"betas\[0\]: got -0\.9"),
    (lambda: AdamW(XP, betas=0.9), TypeError, "betas: got 0.9, expected a tuple"),  # type: ignore[arg-type]
    (lambda: AdamW(XP, eps=0), ValueError, r"eps: got 0, expected a number in \(0, inf\)"),
    (lambda: AdamW(XP, weight_decay=float("nan")), ValueError, "weight_decay: got nan"),
    (lambda: AdamW(XP).update(ones("a"), ones("a"), lr=-1), ValueError, "lr: got -1"),
    (lambda: SGD(XP).update(ones("a"), ones("a"), lr=float("inf")), ValueError, "lr: got inf"),
    (lambda: SGD(XP).update(ones("a"), ones("a"), lr=True), TypeError, "lr: got True, expected a number"),
    (lambda: AdamW(XP).update(ones("a", "b"), ones("a", "c"), lr=1), ValueError, "missing b; unexpected c"),
    (lambda: SGD(XP).update(ones("a"), {"a": np.ones(4, "float32")}, lr=1), ValueError, r"a is float32 \(4,\)"),
    (lambda: SGD(XP).update(ones("a"), ones("a", dtype="float64"), lr=1), ValueError, r"a is float64 \(3,\)"),
    (lambda: clip_grad_norm(XP, ones("a"), max_norm=0), ValueError, "max_norm: got 0"),
    (lambda: clip_grad_norm(XP, {}, max_norm=1), ValueError, "grads: got no gradient"),
    (lambda: cosine_lr(-1, lr=1, epochs=5), ValueError, "epoch: got -1, expected a number in"),
    (lambda: cosine_lr("1", lr=1, epochs=5), TypeError, "epoch: got '1'"),  # type: ignore[arg-type]
    (lambda: cosine_lr(0, lr=1, epochs=0), ValueError, "epochs: got 0"),
    (lambda: cosine_lr(0, lr=1, epochs=5, warmup_epochs=5), ValueError, "warmup_epochs: got 5"),
    (lambda: cosine_lr(0, lr=-1, epochs=5), ValueError, "lr: got -1"),
    (lambda: cosine_lr(0, lr=1, epochs=5, min_lr=-1), ValueError, "min_lr: got -1"),
    (lambda: cosine_lr(0, lr=1, epochs=5, warmup_lr=-1), ValueError, "warmup_lr: got -1"),
    (lambda: cosine_lr(0, lr=1e-6, epochs=5), ValueError, "min_lr: got 1e-05, expected at most lr = 1e-06"),
    (
        lambda: cosine_lr(0, lr=1e-3, epochs=5, warmup_epochs=1, warmup_lr=1e-2),
        ValueError,
        r"warmup_lr: got 0\.01, expected at most lr = 0\.001",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS)
def test_refusals(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_refused_step_leaves_the_state_alone() -> None:
    optimizer = AdamW(XP)
    optimizer.update(ones("a"), ones("a"), lr=0.1)
    before = optimizer.state
    with pytest.raises(ValueError, match="missing a"):
        optimizer.update(ones("a"), {}, lr=0.1)
    assert optimizer.state is before


def test_an_optimizer_and_clipping_need_no_pullback() -> None:
    """`find` serves them, which lets nothing go: they work on the inference form of a backend, and are counted."""
    xp = XP.inference().counting()
    params = {"a": np.arange(3.0)}
    grads, norm = xp.find(clip_grad_norm)(xp, {"a": np.array([3.0, 0.0, 4.0])}, max_norm=1.0)
    assert norm == 5.0
    for optimizer, step in ((AdamW(xp), adamw), (SGD(xp), sgd)):
        on_plain = type(optimizer)(XP)
        for _ in range(2):
            new = optimizer.update(params, grads, lr=0.5)
            assert np.array_equal(new["a"], on_plain.update(params, grads, lr=0.5)["a"])
        assert xp.ran is not None
        assert xp.ran[step] == 2
    assert xp.ran[clip_grad_norm] == 1
