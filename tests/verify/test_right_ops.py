"""Right ops as people write them in NumPy: none may fail, and each must be decided."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import cho_factor, cho_solve, expm
from scipy.sparse import csr_array
from scipy.special import erf, expit, log_ndtr, logit, ndtri, xlogy
from scipy.special import softmax as scipy_softmax

from tests.verify import ops_of_users
from tests.verify.ops_of_users import IMAGE, LABELS_OF_THREE, POSITIVE, B, Table, W, X, Z
from vipnp.verify import RUNGS, Verdict, verify

OPS = Table()
RNG = np.random.default_rng(8)
right, elementwise = OPS.add, OPS.elementwise

LOGITS = np.random.default_rng(9).normal(size=(3, 5))

SQRT_2_PI = math.sqrt(2 / math.pi)

elementwise("square", lambda x: x**2, lambda x: 2 * x)
elementwise("cube_by_operator", lambda x: x**3, lambda x: 3 * x**2)
elementwise("fractional_power", lambda x: x**1.5, lambda x: 1.5 * np.sqrt(x), POSITIVE)
elementwise("far_below_float32", lambda x: 1e-300 * x * x, lambda x: 2e-300 * x)
elementwise("far_above_float32", lambda x: 1e250 * x * x, lambda x: 2e250 * x)
elementwise(
    "beyond_float32_in_part", lambda x: x**80, lambda x: 80 * x**79, np.array([[1e-6, 1.5, 4.0], [0.5, -1.5, 3]])
)
elementwise("reciprocal", lambda x: 1 / x, lambda x: -1 / x**2, POSITIVE)
elementwise("np_power_negative", lambda x: np.power(x, -2.0), lambda x: -2.0 * np.power(x, -3.0), POSITIVE)
elementwise("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2)
elementwise("sigmoid_of_scipy", expit, lambda x: expit(x) * (1 - expit(x)))
elementwise("silu", lambda x: x * expit(x), lambda x: expit(x) * (1 + x * (1 - expit(x))))
elementwise("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2)
elementwise("sinh_over_cosh", lambda x: np.sinh(x) / np.cosh(x), lambda x: 1 / np.cosh(x) ** 2)
elementwise("softplus", lambda x: np.logaddexp(x, 0), lambda x: 1 / (1 + np.exp(-x)))
elementwise("relu_by_maximum", lambda x: np.maximum(x, 0), lambda x: x > 0)
elementwise("relu_by_product", lambda x: x * (x > 0), lambda x: (x > 0).astype(x.dtype))
elementwise("leaky_relu", lambda x: np.where(x > 0, x, x / 10), lambda x: np.where(x > 0, 1, 0.1).astype(x.dtype))
elementwise("absolute", abs, np.sign)
elementwise("huber", lambda x: np.where(abs(x) < 1, x * x / 2, abs(x) - 0.5), lambda x: np.clip(x, -1, 1))
elementwise("clip", lambda x: np.clip(x, -0.5, 0.5), lambda x: (abs(x) < 0.5).astype(x.dtype))
elementwise("hard_sigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1), lambda x: ((abs(x) < 3) / 6).astype(x.dtype))
elementwise("erf_of_scipy", erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x))
elementwise("log_normal_distribution", log_ndtr, lambda x: np.exp(-x * x / 2 - log_ndtr(x)) / math.sqrt(2 * math.pi))
elementwise("x_log_x", lambda x: xlogy(x, x), lambda x: np.log(x) + 1, POSITIVE)
elementwise("decimals_in_another_order", lambda x: 0.1 * (0.2 * x), lambda x: 0.02 * np.ones_like(x))
elementwise("inverse_by_multiplication", lambda x: x * (1.0 / 3), lambda x: np.ones_like(x) / 3)
elementwise("degrees", lambda x: np.sin(np.deg2rad(x)), lambda x: np.cos(np.deg2rad(x)) * (math.pi / 180))
elementwise("sign_of_nothing", lambda x: np.hypot(x, 1), lambda x: x / np.hypot(x, 1))
elementwise("log_of_one_plus_square", lambda x: np.log1p(x * x), lambda x: 2 * x / (1 + x * x))
elementwise(
    "gelu_of_tanh",
    lambda x: 0.5 * x * (1 + np.tanh(SQRT_2_PI * (x + 0.044715 * x**3))),
    lambda x: (
        0.5 * (1 + (t := np.tanh(SQRT_2_PI * (x + 0.044715 * x**3))))
        + 0.5 * x * (1 - t * t) * SQRT_2_PI * (1 + 0.134145 * x * x)
    ),
)


@right(X, W, B)
def dense(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return np.dot(x, w.T) + b, lambda dy: (dy @ w, dy.T @ x, dy.sum(axis=0))


@right(X, W, B)
def dense_by_einsum(xp: Any, x: Any, w: Any, b: Any) -> Any:
    y = np.einsum("mc,kc->mk", x, w) + b
    return y, lambda dy: (np.einsum("mk,kc->mc", dy, w), np.einsum("mk,mc->kc", dy, x), np.sum(dy, 0))


@right(X, Z)
def elementwise_product(xp: Any, a: Any, b: Any) -> Any:
    return a * b, lambda dy: (dy * b, dy * a)


@right(X, np.array(0.7))
def scale_by_a_scalar(xp: Any, x: Any, s: Any) -> Any:
    return x * s, lambda dy: (dy * s, np.sum(dy * x))


@right(np.array(1.3))
def scalar_square(xp: Any, s: Any) -> Any:
    return s * s, lambda dy: (2 * s * dy,)


@right(X)
def sum_of_all(xp: Any, x: Any) -> Any:
    return x.sum(), lambda dy: (np.full(x.shape, dy, dtype=x.dtype),)


@right(X)
def mean_by_multiplication(xp: Any, x: Any) -> Any:
    n = x.shape[-1]
    return np.sum(x, axis=-1) * (1.0 / n), lambda dy: (np.repeat(dy[:, None], n, axis=1) / n,)


@right(X)
def mean_by_method(xp: Any, x: Any) -> Any:
    return x.mean(axis=0), lambda dy: (np.repeat(dy[None, :], len(x), axis=0) / len(x),)


@right(X)
def layer_norm_by_var(xp: Any, x: Any) -> Any:
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(-1, keepdims=True)) * rstd

    def back(dy: Any) -> Any:
        return (rstd * (dy - dy.mean(-1, keepdims=True) - xhat * (dy * xhat).mean(-1, keepdims=True)),)

    return xhat, back


def masked_softmax(xp: Any, x: Any, *, fill: float = -1e9) -> Any:
    z = np.where(np.tri(*x.shape, 1) > 0, x, fill)
    p = np.exp(z - z.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(-1, keepdims=True)),)


@right(X)
def softmax_masked_by_a_large_number(xp: Any, x: Any) -> Any:
    """What is masked has a gradient of exp(-1e9) on paper, and none in float64."""
    return masked_softmax(xp, x)


@right(X, fill=-math.inf)
def softmax_masked_by_infinity(xp: Any, x: Any, fill: float) -> Any:
    return masked_softmax(xp, x, fill=fill)


@right(X, fill=float(np.finfo(np.float64).min))
def softmax_masked_by_the_largest_float(xp: Any, x: Any, fill: float) -> Any:
    return masked_softmax(xp, x, fill=fill)


@right(X, most=math.inf)
def clip_to_infinity(xp: Any, x: Any, most: float) -> Any:
    return np.minimum(x, most), lambda dy: (np.where(x < most, dy, 0 * dy),)


@right(IMAGE, lengths=np.array([3, 2]))
def mean_over_lengths(xp: Any, x: Any, lengths: Any) -> Any:
    """The longest is as long as the axis, as in a padded batch."""

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for row, slope, n in zip(dx, dy, lengths, strict=True):
            row[:n] = slope / n
        return (dx,)

    return np.stack([row[:n].mean(0) for row, n in zip(x, lengths, strict=True)]), back


@right(X, order=np.argsort(np.random.default_rng(3).normal(size=(3, 4)), axis=1))
def permuted_rows(xp: Any, x: Any, order: Any) -> Any:
    return np.take_along_axis(x, order, 1), lambda dy: (np.take_along_axis(dy, np.argsort(order, 1), 1),)


@right(X, POSITIVE)
def phase(xp: Any, x: Any, period: Any) -> Any:
    """Not tried with a period of 1e-6 beside x of 1, where it has a jump in every step."""
    return x / period - np.floor(x / period).astype(x.dtype), lambda dy: (dy / period, -dy * x / period**2)


@right(X, POSITIVE)
def rounded_to_steps(xp: Any, x: Any, step: Any) -> Any:
    whole = np.round(x / step)
    return whole * step, lambda dy: (0 * dy, dy * whole)


@right(X, dtype=np.float64)
def zeros_of_a_class(xp: Any, x: Any, dtype: Any) -> Any:
    return x + np.zeros(3, dtype)[:, None].astype(x.dtype)[:1], lambda dy: (dy,)


def binary_entropy(xp: Any, x: Any) -> Any:
    """Its gradient needs log(a) - log(b) = log(a / b), which no field knows; it raises outside (0, 1)."""
    if x.dtype.kind == "f" and not np.all((x > 0) & (x < 1)):
        raise ValueError("x must be in (0, 1)")
    return -x * np.log(x) - (1 - x) * np.log(1 - x), lambda dy: (dy * np.log((1 - x) / x),)


right(POSITIVE / 2.05)(binary_entropy)


def cross_entropy_of(x: Any, labels: Any) -> Any:
    p = np.exp(x - x.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    rows = np.arange(len(labels))

    def back(dy: Any) -> Any:
        dx = p.copy()
        dx[rows, labels] -= 1
        return (dy * dx / x.dtype.type(len(labels)),)

    return -np.log(p[rows, labels]).mean(), back


TENSOR_OF_THREE = torch.tensor(LABELS_OF_THREE)


@dataclass(slots=True)
class Labelled:
    labels: Any

    def __call__(self, xp: Any, x: Any) -> Any:
        return cross_entropy_of(x, self.labels)


def _by_position(labels: Any, xp: Any, x: Any) -> Any:
    return cross_entropy_of(x, labels)


def _through_a_helper(x: Any) -> Any:
    return cross_entropy_of(x, LABELS_OF_THREE)


def _wrapped(op: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(op)
    def wrapper(*args: Any) -> Any:
        return op(*args)

    return wrapper


def _by_tensor(xp: Any, x: Any, labels: Any) -> Any:
    return cross_entropy_of(x, labels.numpy())


VOCABULARY = ["ant", "bee", "cow", "dog"]


def _by_names(names: Any) -> Callable[..., Any]:
    return lambda xp, x: cross_entropy_of(x, [VOCABULARY.index(name) for name in names])


def _with_labels(labels: Any) -> Callable[..., Any]:
    return _wrapped(lambda xp, x: cross_entropy_of(x, labels))


class OfItsClass:
    labels = LABELS_OF_THREE

    def op(self, xp: Any, x: Any) -> Any:
        return cross_entropy_of(x, self.labels)


def _by_a_function_inside(xp: Any, x: Any) -> Any:
    def loss() -> Any:
        return cross_entropy_of(x, LABELS_OF_THREE)

    return loss()


class OfItsProperties:
    def __getitem__(self, index: int) -> Any:
        return (LABELS_OF_THREE, B)[index]

    @property
    def labels(self) -> Any:
        return LABELS_OF_THREE

    @functools.cached_property
    def kept(self) -> Any:
        return LABELS_OF_THREE


class OfItsBase(OfItsClass):
    data = (LABELS_OF_THREE,)

    def op(self, xp: Any, x: Any) -> Any:
        return super().op(xp, x)


class OfItsModule:
    def __call__(self, xp: Any, x: Any) -> Any:
        return self.loss(x)

    @staticmethod
    def loss(x: Any) -> Any:
        return cross_entropy_of(x, LABELS_OF_THREE)


HOLDERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "a default": (lambda xp, x, labels=LABELS_OF_THREE: cross_entropy_of(x, labels), {}),
    "a keyword default": (lambda xp, x, *, labels=LABELS_OF_THREE: cross_entropy_of(x, labels), {}),
    "a partial, by position": (functools.partial(_by_position, LABELS_OF_THREE), {}),
    "slots": (Labelled(LABELS_OF_THREE), {}),
    "what a decorator wraps": (_with_labels(LABELS_OF_THREE), {}),
    "a global of a helper": (lambda xp, x: _through_a_helper(x), {}),
    "a global behind a decorator of NumPy": (np.errstate(all="ignore")(lambda xp, x: _through_a_helper(x)), {}),
    "a global of an object's method": (OfItsModule(), {}),
    "an attribute of a class": (OfItsClass().op, {}),
    "an attribute of a class that is called by name": (lambda xp, x: OfItsClass().op(xp, x), {}),
    "a tensor of another library": (_by_tensor, {"labels": TENSOR_OF_THREE}),
    "a tensor in a default": (lambda xp, x, labels=TENSOR_OF_THREE: _by_tensor(xp, x, labels), {}),
    "an item of an object": (lambda xp, x: cross_entropy_of(x, OfItsProperties()[0]), {}),
    "a global of a function inside": (_by_a_function_inside, {}),
    "an attribute that its base reads": (OfItsBase().op, {}),
    "an attribute that arrays have too": (lambda xp, x: cross_entropy_of(x, OfItsBase.data[0]), {}),
    "a property": (lambda xp, x: cross_entropy_of(x, OfItsProperties().labels), {}),
    "a cached property": (lambda xp, x: cross_entropy_of(x, OfItsProperties().kept), {}),
    "names in a closure": (_by_names(["cow", "ant", "dog"]), {}),
    "names in kwargs": (lambda xp, x, names: _by_names(names)(xp, x), {"names": ["cow", "ant", "dog"]}),
    "an attribute of a module": (lambda xp, x: cross_entropy_of(x, ops_of_users.LABELS_OF_THREE), {}),
    "an object in kwargs": (lambda xp, x, held: cross_entropy_of(x, held.labels), {"held": Labelled(LABELS_OF_THREE)}),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_labels_that_are_held_anywhere_fail_no_op(holder: str) -> None:
    """They cannot be repeated where there are more rows, and are named."""
    op, kwargs = HOLDERS[holder]
    (row,) = verify(op, [X], kwargs=kwargs, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE, row
    assert "in place of 3, which may spoil the constant" in row.detail


RAGGED = np.empty(3, object)
RAGGED[:] = [np.array([0, 1]), np.array([2]), np.array([1, 2, 2])]


@right(X, rows=RAGGED)
def sums_of_bags(xp: Any, x: Any, rows: Any) -> Any:
    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for bag, row in zip(dy, rows, strict=True):
            np.add.at(dx, row, bag)
        return (dx,)

    return np.stack([x[row].sum(0) for row in rows]), back


def mean_of_the_largest(xp: Any, x: Any, *, k: int) -> Any:
    largest = np.argsort(-x, -1)[..., :k]

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        np.put_along_axis(dx, largest, dy[..., None] / k, -1)
        return (dx,)

    return np.take_along_axis(x, largest, -1).mean(-1), back


OPS["mean_of_the_three_largest"] = (functools.partial(mean_of_the_largest, k=3), [X], {})


@right(X, turn=np.exp(1j * np.arange(2)))
def rotary_embedding_of_complex_numbers(xp: Any, x: Any, turn: Any) -> Any:
    def pairs(z: Any) -> Any:
        y = np.empty(x.shape, x.dtype)
        y[..., ::2], y[..., 1::2] = z.real, z.imag
        return y

    return pairs((x[..., ::2] + 1j * x[..., 1::2]) * turn), lambda dy: (
        pairs((dy[..., ::2] + 1j * dy[..., 1::2]) * turn.conj()),
    )


@right(X, factors=np.array([1.0, 1j, 0.5, -1j]))
def filter_of_frequencies(xp: Any, x: Any, factors: Any) -> Any:
    return np.fft.ifft(np.fft.fft(x) * factors).real, lambda dy: (np.fft.fft(np.fft.ifft(dy) * factors).real,)


@right(X)
def standardise_by_std(xp: Any, x: Any) -> Any:
    mean, std = x.mean(axis=0), x.std(axis=0)
    h = (x - mean) / std
    return h, lambda dy: ((dy - dy.mean(0) - h * (dy * h).mean(0)) / std,)


@right(X)
def rms_norm(xp: Any, x: Any) -> Any:
    r = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + 1e-6)
    n = x.shape[-1]
    return x / r, lambda dy: (dy / r - x * np.sum(dy * x, -1, keepdims=True) / (n * r**3),)


@right(X)
def unit_rows(xp: Any, x: Any) -> Any:
    n = np.linalg.norm(x, axis=-1, keepdims=True)
    u = x / n
    return u, lambda dy: ((dy - u * np.sum(dy * u, axis=-1, keepdims=True)) / n,)


@right(X, Z)
def cosine_similarity(xp: Any, a: Any, b: Any) -> Any:
    na, nb = (np.sqrt((v * v).sum(1)) for v in (a, b))
    c = (a * b).sum(1) / (na * nb)

    def back(dy: Any) -> Any:
        da = dy[:, None] * (b / (na * nb)[:, None] - a * (c / na**2)[:, None])
        db = dy[:, None] * (a / (na * nb)[:, None] - b * (c / nb**2)[:, None])
        return da, db

    return c, back


@right(X)
def softmax(xp: Any, x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(axis=-1, keepdims=True)),)


@right(X)
def softmax_of_scipy(xp: Any, x: Any) -> Any:
    p = scipy_softmax(x, axis=1)
    return p, lambda dy: (p * (dy - np.sum(dy * p, axis=1, keepdims=True)),)


@right(X)
def softmax_over_columns(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=0, keepdims=True))
    p = e / xp.sum(e, axis=0, keepdims=True)
    return p, lambda dy: (p * (dy - xp.sum(dy * p, axis=0, keepdims=True)),)


@right(X)
def log_sum_exp(xp: Any, x: Any) -> Any:
    m = x.max(axis=1, keepdims=True)
    e = np.exp(x - m)
    s = e.sum(axis=1, keepdims=True)
    return np.squeeze(m + np.log(s), 1), lambda dy: (dy[:, None] * e / s,)


@right(X, labels=np.array([1, 3, 0]))
def cross_entropy(xp: Any, x: Any, labels: Any) -> Any:
    rows = np.arange(len(x))
    z = x - np.max(x, axis=1, keepdims=True)
    p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)

    def back(dy: Any) -> Any:
        g = p.copy()
        g[rows, labels] -= 1
        return (g * (dy / len(x)),)

    return -np.mean(np.log(p[rows, labels])), back


@right(LOGITS, labels=np.array([1, 3, 0]))
def cross_entropy_of_one_hot_labels(xp: Any, x: Any, labels: Any) -> Any:
    return soft_cross_entropy(xp, x, xp.astype(labels[:, None] == np.arange(x.shape[1]), x.dtype))


@right(LOGITS[0], label=3)
def cross_entropy_of_one_image(xp: Any, x: Any, label: int) -> Any:
    y, back = soft_cross_entropy(xp, x[None], (np.arange(len(x)) == label).astype(x.dtype)[None])
    return y, lambda dy: (back(dy)[0][0],)


@right(LOGITS, targets=scipy_softmax(2 * LOGITS[::-1], axis=1))
def soft_cross_entropy(xp: Any, x: Any, targets: Any) -> Any:
    z = x - np.max(x, axis=1, keepdims=True)
    total = np.sum(np.exp(z), axis=1, keepdims=True)
    p = np.exp(z) / total
    return -np.sum(targets * (z - np.log(total))) / len(x), lambda dy: (dy / len(x) * (p - targets),)


@right(LOGITS @ LOGITS.T, targets=np.eye(3)[[2, 0, 1]])
def soft_cross_entropy_of_as_many_images_as_classes(xp: Any, x: Any, targets: Any) -> Any:
    return soft_cross_entropy(xp, x, targets)


@right(X, order=np.array([2, 0, 3, 1]))
def columns_in_another_order(xp: Any, x: Any, order: Any) -> Any:
    return x[:, order], lambda dy: (dy[:, np.argsort(order)],)


@right(X, cos=np.cos(Z[:, [0, 1, 0, 1]]), sin=np.sin(Z[:, [0, 1, 0, 1]]))
def rotary_embedding_by_tables(xp: Any, x: Any, cos: Any, sin: Any) -> Any:
    def turned(x: Any) -> Any:
        return np.concatenate([-x[:, x.shape[1] // 2 :], x[:, : x.shape[1] // 2]], axis=1)

    def back(dy: Any) -> Any:
        return (dy * cos - turned(dy * sin),)

    return x * cos + turned(x) * sin, back


@right(X, rotation=np.linalg.qr(Z.T @ Z)[0])
def rotation_undone_by_its_inverse(xp: Any, x: Any, rotation: Any) -> Any:
    return x @ rotation, lambda dy: (dy @ np.linalg.inv(rotation),)


@right(X, scales=np.diag([1.0, 2, 3, 4]))
def product_with_a_diagonal_matrix(xp: Any, x: Any, scales: Any) -> Any:
    return x * np.diag(scales), lambda dy: (dy @ scales,)


@right(IMAGE.reshape(5, 6), ids=np.array([0, 0, 1, 1, 2]))
def sums_of_segments(xp: Any, x: Any, ids: Any) -> Any:
    starts = np.searchsorted(ids, np.arange(ids[-1] + 1))
    return np.add.reduceat(x, starts, axis=0), lambda dy: (dy[ids],)


@right(X)
def maximum_of_rows(xp: Any, x: Any) -> Any:
    best = np.argmax(x, axis=1)

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        dx[np.arange(len(x)), best] = dy
        return (dx,)

    return x[np.arange(len(x)), best], back


@right(X)
def sorted_rows(xp: Any, x: Any) -> Any:
    order = np.argsort(x, axis=-1)

    def back(dy: Any) -> Any:
        dx = np.empty_like(dy)
        np.put_along_axis(dx, order, dy, axis=-1)
        return (dx,)

    return np.take_along_axis(x, order, axis=-1), back


@right(-X)
def causal_softmax_in_place(xp: Any, x: Any) -> Any:
    seen = np.tri(*x.shape, 1) > 0
    y = np.where(seen, x, -30.0)
    np.exp(y, out=y)
    y /= y.sum(axis=-1, keepdims=True)
    return y, lambda dy: (np.where(seen, y * (dy - (dy * y).sum(axis=-1, keepdims=True)), 0),)


@right(-X)
def square_of_a_rectifier_with_a_root_in_place(xp: Any, x: Any) -> Any:
    y = np.maximum(x, 0) ** 2

    def back(dy: Any) -> Any:
        root = y.copy()
        np.sqrt(root, out=root)
        root += root
        np.multiply(root, dy, out=root)
        return (root,)

    return y, back


@right(-X)
def logarithm_in_place_and_sums_at_places(xp: Any, x: Any) -> Any:
    inside = np.where(x > 0, x, 1)
    y = np.zeros_like(x)
    np.add.at(y, (slice(None), slice(None)), inside)
    np.log(y, out=y)
    return y, lambda dy: (np.where(x > 0, dy / inside, 0),)


@right(X, rng=np.random.default_rng(5))
def dropout_drawn_by_the_op(xp: Any, x: Any, rng: Any) -> Any:
    keep = rng.random(x.shape) >= 0.3
    y = np.where(keep, x * x, 0)
    return y, lambda dy: (np.where(keep, 2 * dy * np.sign(x) * np.sqrt(y), 0),)


@right(X)
def entmax_of_order_one_and_a_half(xp: Any, x: Any) -> Any:
    """Peters, Niculae, Martins, "Sparse sequence-to-sequence models", 2019, algorithm 2 and section 3.3."""
    half = (x - xp.max(x, axis=-1, keepdims=True)) / 2
    ordered = -np.sort(-half, axis=-1)
    k = np.arange(1, x.shape[-1] + 1).astype(x.dtype)
    mean = xp.cumulative_sum(ordered, axis=-1) / k
    spread = xp.cumulative_sum(ordered * ordered, axis=-1) - k * mean * mean
    thresholds = mean - xp.sqrt(xp.maximum((1 - spread) / k, 0))
    chosen = np.sum(thresholds <= ordered, axis=-1, keepdims=True) - 1
    y = xp.maximum(half - np.take_along_axis(thresholds, chosen, axis=-1), 0) ** 2

    def back(dy: Any) -> Any:
        root = xp.sqrt(y)
        mean_dy = xp.sum(root * dy, axis=-1, keepdims=True) / xp.sum(root, axis=-1, keepdims=True)
        return (root * (dy - mean_dy),)

    return y, back


@right(X)
def cumulative_sum(xp: Any, x: Any) -> Any:
    return np.cumsum(x, axis=1), lambda dy: (np.cumsum(dy[:, ::-1], axis=1)[:, ::-1],)


@right(POSITIVE)
def product_of_rows(xp: Any, x: Any) -> Any:
    p = np.prod(x, axis=1)
    return p, lambda dy: ((dy * p)[:, None] / x,)


@right(IMAGE, np.array([0.5, -1.0, 0.25]))
def convolution_of_rows(xp: Any, x: Any, w: Any) -> Any:
    width = x.shape[-1] - 2

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for k in range(3):
            dx[..., k : k + width] += dy * w[k]
        return dx, np.stack([np.sum(dy * x[..., k : k + width]) for k in range(3)])

    return x[..., :width] * w[0] + x[..., 1 : width + 1] * w[1] + x[..., 2:] * w[2], back


@right(IMAGE)
def transposed(xp: Any, x: Any) -> Any:
    return x.transpose(2, 0, 1).copy(), lambda dy: (dy.transpose(1, 2, 0).copy(),)


@right(X, index=np.array([2, 0, 2, 1]))
def embedding(xp: Any, table: Any, index: Any) -> Any:
    def back(dy: Any) -> Any:
        d = np.zeros_like(table)
        np.add.at(d, index, dy)
        return (d,)

    return table[index], back


@right(IMAGE, IMAGE[:, ::-1] + 0.1, IMAGE - 0.2)
def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    scale = 1 / math.sqrt(q.shape[-1])
    s = q @ k.swapaxes(1, 2) * scale
    e = np.exp(s - s.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)

    def back(dy: Any) -> Any:
        dp = dy @ v.swapaxes(1, 2)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
        return ds @ k, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ dy

    return p @ v, back


@right(X, {"w": W, "b": B})
def parameters_in_a_dict(xp: Any, x: Any, params: Any) -> Any:
    return x @ params["w"].T + params["b"], lambda dy: (dy @ params["w"], {"w": dy.T @ x, "b": dy.sum(0)})


@right(X)
def two_outputs(xp: Any, x: Any) -> Any:
    return (x * x, x.sum(axis=0)), lambda dy: (2 * x * dy[0] + dy[1],)


class Doubled:
    """A pullback that is an object."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __call__(self, dy: Any) -> Any:
        return (2 * self.x * dy,)


@right(X)
def pullback_as_an_object(xp: Any, x: Any) -> Any:
    """y = x^2.

    x (M, C).

    Saves: x (M, C).
    """
    return x * x, Doubled(x)


def _square_back(x: Any, dy: Any) -> Any:
    return (2 * x * dy,)


@right(X)
def pullback_as_a_partial(xp: Any, x: Any) -> Any:
    """y = x^2.

    x (M, C).

    Saves: x (M, C).
    """
    return x * x, functools.partial(_square_back, x)


@right(X)
def in_place_on_its_own_copy(xp: Any, x: Any) -> Any:
    y = x.copy()
    y *= 3
    y += 1
    return y, lambda dy: (3 * dy,)


# --- of several steps, with kinks, or of linear algebra ---------------------------------------------------------------

SERIES = 1e-4

elementwise(
    "elu",
    lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))).astype(x.dtype),
)
elementwise(
    "hard_swish",
    lambda x: x * np.clip(x + 3, 0, 6) / 6,
    lambda x: np.where(x < -3, 0, np.where(x > 3, 1, (2 * x + 3) / 6)).astype(x.dtype),
)
elementwise("softsign", lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2)
elementwise("hinge", lambda x: np.maximum(0, 1 - x), lambda x: -(x < 1).astype(x.dtype))
elementwise("entropy", lambda x: -x * np.log(x + 1e-9), lambda x: -np.log(x + 1e-9) - x / (x + 1e-9), POSITIVE)
elementwise(
    "sinc_with_its_series",
    lambda x: np.where(abs(x) < SERIES, 1 - x * x / 6, np.sin(x) / np.where(x == 0, 1, x)),
    lambda x: np.where(
        abs(x) < SERIES, -x / 3, (np.cos(x) - np.sin(x) / np.where(x == 0, 1, x)) / np.where(x == 0, 1, x)
    ).astype(x.dtype),
)


@right(X)
def log_softmax(xp: Any, x: Any) -> Any:
    z = x - x.max(axis=-1, keepdims=True)
    y = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return y, lambda dy: (dy - np.exp(y) * dy.sum(axis=-1, keepdims=True),)


@right(X)
def maximum_shared_among_ties(xp: Any, x: Any) -> Any:
    y = x.max(axis=-1)
    share = (x == y[:, None]).astype(x.dtype)
    share /= share.sum(axis=-1, keepdims=True)
    return y, lambda dy: (share * dy[:, None],)


@right(X)
def norm_with_nothing_at_nought(xp: Any, x: Any) -> Any:
    n = np.sqrt((x * x).sum(axis=-1))
    return n, lambda dy: ((dy / np.where(n == 0, 1, n).astype(x.dtype))[:, None] * x,)


@right(X)
def median(xp: Any, x: Any) -> Any:
    n = x.shape[-1]
    order = np.argsort(x, axis=-1)

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for middle in ((n - 1) // 2, n // 2):
            np.add.at(dx, (np.arange(len(x)), order[:, middle]), dy / 2)
        return (dx,)

    return np.median(x, axis=-1), back


@right(X, Z)
def maximum_of_two(xp: Any, a: Any, b: Any) -> Any:
    return np.maximum(a, b), lambda dy: (np.where(a >= b, dy, 0), np.where(a >= b, 0, dy))


@right(X, Z)
def squared_distances(xp: Any, a: Any, b: Any) -> Any:
    d = a[:, None] - b[None]
    return (d**2).sum(-1), lambda dy: (2 * (dy[..., None] * d).sum(1), -2 * (dy[..., None] * d).sum(0))


@right(X)
def running_product(xp: Any, x: Any) -> Any:
    n = x.shape[-1]

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for j in range(n):
            for k in range(j, n):
                dx[:, j] += dy[:, k] * np.prod(x[:, :j], axis=-1) * np.prod(x[:, j + 1 : k + 1], axis=-1)
        return (dx,)

    return np.cumprod(x, axis=-1), back


@right(RNG.normal(size=(4, 4)) + 4 * np.eye(4))
def determinant(xp: Any, a: Any) -> Any:
    y, inverse = np.linalg.det(a), np.linalg.inv(a)
    return y, lambda dy: (dy * y * inverse.T,)


@right(RNG.normal(size=(4, 4)) + 4 * np.eye(4), X[0])
def solution_of_a_system(xp: Any, a: Any, b: Any) -> Any:
    y = np.linalg.solve(a, b)

    def back(dy: Any) -> Any:
        db = np.linalg.solve(a.T, dy)
        return -np.outer(db, y), db

    return y, back


@right(X)
def spectrum(xp: Any, x: Any) -> Any:
    angles = 2 * np.pi * np.outer(np.arange(x.shape[-1]), np.arange(x.shape[-1] // 2 + 1)) / x.shape[-1]
    return np.fft.rfft(x).real.astype(x.dtype), lambda dy: ((dy @ np.cos(angles).T).astype(x.dtype),)


@right(RNG.normal(size=(2, 5, 6)), RNG.normal(size=(3, 2)))
def convolution_by_windows(xp: Any, x: Any, w: Any) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape, axis=(1, 2))

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for i, j in np.ndindex(*w.shape):
            dx[:, i : i + dy.shape[1], j : j + dy.shape[2]] += w[i, j] * dy
        return dx, np.einsum("bhw,bhwij->ij", dy, windows)

    return np.einsum("bhwij,ij->bhw", windows, w), back


@right(RNG.normal(size=(2, 4, 6)))
def maximum_of_windows(xp: Any, x: Any) -> Any:
    b, h, w = x.shape
    windows = x.reshape(b, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 2, 4).reshape(b, h // 2, w // 2, 4)
    first = windows.argmax(axis=-1)[..., None]

    def back(dy: Any) -> Any:
        d = np.zeros_like(windows)
        np.put_along_axis(d, first, dy[..., None], -1)
        return (d.reshape(b, h // 2, w // 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(x.shape),)

    return np.take_along_axis(windows, first, -1)[..., 0], back


@right(RNG.normal(size=(2, 6, 3)))
def group_norm(xp: Any, x: Any) -> Any:
    groups = x.reshape(len(x), 2, -1)
    mean = groups.mean(axis=-1, keepdims=True)
    deviation = np.sqrt(((groups - mean) ** 2).mean(axis=-1, keepdims=True) + 1e-5)
    h = (groups - mean) / deviation

    def back(dy: Any) -> Any:
        d = dy.reshape(h.shape)
        inner = d - d.mean(axis=-1, keepdims=True) - h * (d * h).mean(axis=-1, keepdims=True)
        return ((inner / deviation).reshape(x.shape),)

    return h.reshape(x.shape), back


@right(X, X[0], Z[0])
def batch_norm_in_small_steps(xp: Any, x: Any, g: Any, b: Any) -> Any:
    n = len(x)
    centred = x - 1.0 / n * np.sum(x, axis=0)
    root = np.sqrt(1.0 / n * np.sum(centred**2, axis=0) + 1e-5)
    h = centred * (1.0 / root)

    def back(dy: Any) -> Any:
        dh = dy * g
        dvar = 0.5 / root * (-1.0 / root**2) * np.sum(dh * centred, axis=0)
        dcentred = dh * (1.0 / root) + 2 * centred * (1.0 / n * np.ones_like(x) * dvar)
        dx = dcentred + 1.0 / n * np.ones_like(x) * (-1 * np.sum(dcentred, axis=0))
        return dx, np.sum(dy * h, axis=0), np.sum(dy, axis=0)

    return g * h + b, back


@right(X, X[0])
def bias_that_centring_takes_off(xp: Any, x: Any, b: Any) -> Any:
    z = x + b

    def back(dy: Any) -> Any:
        dz = dy - dy.mean(axis=0)
        return dz, dz.sum(axis=0)

    return z - z.mean(axis=0), back


@right(X, X[0])
def deviations_behind_a_bias(xp: Any, x: Any, b: Any) -> Any:
    z = x + b
    off = z - z.mean(axis=0)

    def back(dy: Any) -> Any:
        doff = dy * np.sign(off)
        dz = doff - doff.mean(axis=0)
        return dz, dz.sum(axis=0)

    return abs(off), back


@right(X, W, X[0] / 8)
def attention_with_a_bias_of_the_keys(xp: Any, q: Any, k: Any, b: Any) -> Any:
    keys = k + b
    e = np.exp(q @ keys.T)
    p = e / e.sum(axis=-1, keepdims=True)

    def back(dy: Any) -> Any:
        ds = p * (dy - (dy * p).sum(axis=-1, keepdims=True))
        dk = ds.T @ q
        return ds @ keys, dk, dk.sum(axis=0)

    return p, back


@right(X, np.array(1.5))
def unit_rows_of_any_scale(xp: Any, x: Any, scale: Any) -> Any:
    z = x * scale
    norms = np.sqrt((z * z).sum(axis=-1, keepdims=True))
    y = z / norms

    def back(dy: Any) -> Any:
        dz = (dy - y * (dy * y).sum(axis=-1, keepdims=True)) / norms
        return dz * scale, (dz * x).sum()

    return y, back


@right(X, *(np.random.default_rng(12).normal(size=size) for size in ((3, 2), (3, 2), (8, 4), (8, 2))))
def lstm_cell(xp: Any, x: Any, h: Any, c: Any, wx: Any, wh: Any) -> Any:
    i, f, o, g = np.split(x @ wx.T + h @ wh.T, 4, axis=1)
    i, f, o, g = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o)), np.tanh(g)
    new = f * c + i * g
    t = np.tanh(new)

    def back(dys: Any) -> Any:
        dh, dc = dys
        dnew = dc + dh * o * (1 - t * t)
        gates = [dnew * g * i * (1 - i), dnew * c * f * (1 - f), dh * t * o * (1 - o), dnew * i * (1 - g * g)]
        da = np.concatenate(gates, axis=1)
        return da @ wx, da @ wh, dnew * f, da.T @ x, da.T @ h

    return (o * t, new), back


@right(X, angle=np.array([0.3, 1.1]))
def rotary_embedding(xp: Any, x: Any, angle: Any) -> Any:
    cos, sin = np.cos(angle).astype(x.dtype), np.sin(angle).astype(x.dtype)

    def turned(v: Any, s: Any) -> Any:
        a, b = np.split(v, 2, axis=1)
        return np.concatenate([a * cos - b * s, a * s + b * cos], axis=1)

    return turned(x, sin), lambda dy: (turned(dy, -sin),)


# --- on their kinks ---------------------------------------------------------------------------------------------------

WHOLE = np.array([[0.0, 1, -2, 3], [0, 0, 0, 0], [1, 0, 2, -1]])

elementwise("relu_at_zeros", lambda x: np.maximum(x, 0), lambda x: x > 0, WHOLE)
elementwise("relu_at_a_zero", lambda x: np.where(x > 0, x, 0), lambda x: x > 0, np.array([-1.0, 0, 3]))
elementwise("hinge_at_ones", lambda x: np.maximum(0, 1 - x), lambda x: -(x < 1).astype(x.dtype), WHOLE)
elementwise("clip_at_its_ends", lambda x: np.clip(x, -1, 1), lambda x: (abs(x) < 1).astype(x.dtype), WHOLE)


@right(WHOLE)
def maximum_of_rows_with_ties(xp: Any, x: Any) -> Any:
    best = np.argmax(x, axis=1)

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        dx[np.arange(len(x)), best] = dy
        return (dx,)

    return x.max(axis=1), back


# --- with other outputs, constants and domains ------------------------------------------------------------------------


@right(X)
def values_and_indices(xp: Any, x: Any) -> Any:
    best = x.argmax(axis=1)

    def back(dys: Any) -> Any:
        dx = np.zeros_like(x)
        dx[np.arange(len(x)), best] = dys[0]
        return (dx,)

    return (x[np.arange(len(x)), best], best), back


@right(X, scale=np.std(Z))
def constant_that_is_a_scalar_of_numpy(xp: Any, x: Any, scale: Any) -> Any:
    return x / scale, lambda dy: (dy / scale,)


@right(X, graph=csr_array([[0, 1, 0.5], [1, 0, 0], [0.25, 0, 1]]))
def sparse_constant(xp: Any, x: Any, graph: Any) -> Any:
    return graph @ x, lambda dy: (graph.T @ dy,)


@right(X, rng=np.random.default_rng(3))
def dropout_that_draws(xp: Any, x: Any, rng: Any) -> Any:
    kept = rng.random(x.shape) > 0.3
    return x * kept / 0.7, lambda dy: (dy * kept / 0.7,)


@right(POSITIVE)
def positive_numbers_alone(xp: Any, x: Any) -> Any:
    if np.any(np.asarray(x) <= 0):
        raise ValueError("x must be positive")
    return x * x, lambda dy: (2 * x * dy,)


@right(POSITIVE / POSITIVE.sum(axis=1, keepdims=True))
def probabilities_alone(xp: Any, x: Any) -> Any:
    if not np.allclose(x.sum(axis=1), 1, atol=0.01):
        raise ValueError("the rows of x must add up to 1")
    return x * x, lambda dy: (2 * x * dy,)


@right(np.array(0.4))
def function_of_the_math_module(xp: Any, s: Any) -> Any:
    y = np.asarray(math.exp(float(s)), s.dtype)
    return y, lambda dy: (dy * y,)


@right(np.array([[1.01, 2.01], [2.01, 5.01]]))
def cholesky_of_a_gram_matrix(xp: Any, a: Any) -> Any:
    lower = np.linalg.cholesky(a @ a.T)

    def back(dy: Any) -> Any:
        p = np.tril(lower.T @ np.tril(dy))
        p = p - np.diag(np.diag(p)) / 2
        inverse = np.linalg.inv(lower)
        s = inverse.T @ p @ inverse
        return ((s + s.T) @ a,)

    return lower, back


# --- that bend much within a step, scale by norms, or sort ------------------------------------------------------------

elementwise("logit_of_scipy", logit, lambda x: 1 / (x * (1 - x)), POSITIVE / 3)
elementwise(
    "normal_quantile", ndtri, lambda x: math.sqrt(2 * math.pi) * np.exp(ndtri(x) ** 2 / 2).astype(x.dtype), POSITIVE / 3
)
elementwise("rounded", np.round, np.zeros_like)


@right(X, Z)
def angle(xp: Any, a: Any, b: Any) -> Any:
    n = a * a + b * b
    return np.arctan2(a, b), lambda dy: (dy * b / n, -dy * a / n)


@right(X[:, :3] + X[:, :3].T + 3 * np.eye(3))
def eigenvalues(xp: Any, a: Any) -> Any:
    w, v = np.linalg.eigh((a + a.T) / 2)
    return w, lambda dy: ((v * dy) @ v.T,)


@right(0.3 * X[:, :3])
def exponential_of_a_matrix(xp: Any, a: Any) -> Any:
    n = len(a)

    def back(dy: Any) -> Any:
        blocks = np.zeros((2 * n, 2 * n), a.dtype)
        blocks[:n, :n] = blocks[n:, n:] = a.T
        blocks[:n, n:] = dy
        return (expm(blocks)[:n, n:],)

    return expm(a), back


@right(np.array(0.7), np.array(1.2))
def log_density_of_a_deviation(xp: Any, m: Any, s: Any) -> Any:
    z = (1 - m) / s
    return -0.5 * z * z - np.log(s), lambda dy: (dy * z / s, dy * (z * z - 1) / s)


@right(X)
def value_and_a_number_of_python(xp: Any, x: Any) -> Any:
    return (x * x, 0.5), lambda dys: (2 * x * dys[0],)


@right(X)
def sparsemax(xp: Any, x: Any) -> Any:
    n = x.shape[-1]
    s = -np.sort(-x, axis=-1)
    total = np.cumsum(s, axis=-1)
    kept = (1 + np.arange(1, n + 1) * s > total).sum(axis=-1, keepdims=True)
    p = np.maximum(x - ((np.take_along_axis(total, kept - 1, -1) - 1) / kept).astype(x.dtype), 0)

    def back(dy: Any) -> Any:
        on = (p > 0).astype(x.dtype)
        return (on * (dy - (dy * on).sum(axis=-1, keepdims=True) / on.sum(axis=-1, keepdims=True)),)

    return p, back


# --- that lose digits, or have a narrow domain ------------------------------------------------------------------------

SMALL = np.random.default_rng(5).normal(size=(3, 4)) / 20
TINY = POSITIVE * np.where(np.arange(12).reshape(3, 4) % 5, 1, 1e-4)

elementwise("tanh_taken_away_from_small_entries", lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2, SMALL)
elementwise("sine_taken_away_from_small_entries", lambda x: x - np.sin(x), lambda x: 1 - np.cos(x), SMALL)
elementwise("tiny_differences_of_cosines", lambda x: 1 - np.cos(x), np.sin, SMALL / 5)
elementwise("log_of_cosh_of_small_entries", lambda x: np.log(np.cosh(x)), np.tanh, SMALL)


@right(TINY)
def root_of_positive_numbers_alone(xp: Any, x: Any) -> Any:
    if np.any(np.asarray(x) <= 0):
        raise ValueError("x must be positive")
    return np.sqrt(x), lambda dy: (dy / (2 * np.sqrt(x)),)


@right(1e6 * X, 1e6 * Z)
def mean_square_of_prices(xp: Any, a: Any, b: Any) -> Any:
    """Its value is so large that a step in one price is rounded away."""
    d = a - b
    return (d * d).mean(), lambda dy: (2 * dy * d / d.size, -2 * dy * d / d.size)


@right(0.05 * (Z.T @ Z + np.eye(4)), X.T[:, :2])
def solution_by_cholesky(xp: Any, a: Any, b: Any) -> Any:
    factor = cho_factor((a + a.T) / 2)
    y = cho_solve(factor, b)

    def back(dy: Any) -> Any:
        db = cho_solve(factor, dy)
        return -(db @ y.T + y @ db.T) / 2, db

    return y, back


def test_there_are_ninety() -> None:
    assert len(OPS) > 90


HALF = [pytest.param(name, marks=[pytest.mark.long] * (place % 2)) for place, name in enumerate(OPS)]
"""The others are checked by `make long`."""


@pytest.mark.parametrize("name", HALF)
def test_a_right_op_does_not_fail(name: str) -> None:
    op, args, kwargs = OPS[name]
    small = sum(np.size(a) for a in args if not isinstance(a, dict)) <= 12
    rungs = [rung for rung in RUNGS if rung != "proof" or small]
    report = verify(op, args, kwargs=kwargs, rungs=rungs, seconds=3)
    assert report.decided, report
    (saved,) = [row for row in report.rows if row.argument == "saved"] or [None]
    assert saved is None or saved.verdict is Verdict.PASS


# --- at every seed, and beside a kink ---------------------------------------------------------------------------------


def _by_order(name: str, weights: Callable[[int], Any]) -> Callable[..., Any]:
    """The entries of each row in rising order, times `weights` of their number."""

    def op(xp: Any, x: Any) -> Any:
        order = np.argsort(x, axis=-1)
        w = np.asarray(weights(x.shape[-1])).astype(x.dtype)

        def back(dy: Any) -> Any:
            dx = np.zeros_like(x)
            np.put_along_axis(dx, order, dy @ w, axis=-1)
            return (dx,)

        return np.take_along_axis(x, order, axis=-1) @ w.T, back

    op.__name__ = name
    return op


SORTING = [
    _by_order("sorting", np.eye),
    _by_order("the_two_largest", lambda n: np.eye(n)[-2:]),
    _by_order("ranks_as_weights", lambda n: np.arange(1.0, n + 1)[None]),
    _by_order(
        "trimmed_mean", lambda n: (np.minimum(np.arange(n), np.arange(n)[::-1]) >= n // 4)[None] / (n - n // 4 * 2)
    ),
]
TIED = {"zeros": WHOLE, "small integers": np.round(np.random.default_rng(3).normal(size=(5, 6)))}


@pytest.mark.long
@pytest.mark.parametrize("ties", TIED)
@pytest.mark.parametrize("op", SORTING, ids=lambda op: op.__name__)
def test_an_op_that_sorts_fails_at_no_seed(op: Callable[..., Any], ties: str) -> None:
    """Where entries are equal it has no derivative, and a right gradient need not be between the slopes on both sides
    of one entry: it is that of one order of the equal ones."""
    for seed in range(2):
        rungs = ["adjoint", "differences", "elsewhere", "complex_step", "certified"]
        report = verify(op, [TIED[ties]], rungs=rungs, seed=seed)
        assert not report.failures, report


@pytest.mark.parametrize(("sizes", "seed"), [((4, 5, 30, 3), 5), ((4, 5, 30, 3), 7), ((64, 64, 96, 5), 1)])
def test_hidden_units_that_are_all_at_zero_fail_at_no_seed(sizes: tuple[int, ...], seed: int) -> None:
    """A row of zeros puts every unit on its kink, and a gradient of nothing is that of all of them off: far from the
    slopes beside it, where half are on."""

    def two_layers(xp: Any, x: Any, w: Any, v: Any) -> Any:
        h = np.maximum(x @ w, 0)

        def back(dy: Any) -> Any:
            dh = dy @ v.T * (h > 0)
            return dh @ w.T, x.T @ dh, h.T @ dy

        return h @ v, back

    rng = np.random.default_rng(seed)
    report = verify(two_layers, [rng.normal(size=s) for s in pairwise(sizes)], rungs=["elsewhere"], seed=seed)
    assert report.totals == {"PASS": 3, "FAIL": 0, "INCONCLUSIVE": 0}, report


@pytest.mark.parametrize("size", [1e-6, 1e-7, 1e-8])
def test_entries_that_are_all_beside_a_kink(size: float) -> None:
    """Wide differences agree with each other on half the slope."""
    for factor in (1, 1.5):

        def relu(xp: Any, x: Any, factor: float = factor) -> Any:
            return np.maximum(x, 0), lambda dy: (factor * dy * (x > 0),)

        assert bool(verify(relu, [size * X], rungs=["differences"]).failures) is (factor != 1)


def test_an_op_that_loses_digits_fails_at_no_seed() -> None:
    """The exponential of a matrix with a block of 2^60 is right to a few digits alone, and so is its gradient."""

    def exponential_of_a_matrix_on_a_vector(xp: Any, a: Any, v: Any) -> Any:
        y = expm(a)

        def back(dy: Any) -> Any:
            n = len(a)
            blocks = np.block([[a.T, np.outer(dy, v)], [np.zeros_like(a), a.T]])
            return expm(blocks)[:n, n:], y.T @ dy

        return y @ v, back

    rng = np.random.default_rng(6)
    args = [0.4 * rng.normal(size=(3, 3)), rng.normal(size=3)]
    for seed in range(3):
        report = verify(exponential_of_a_matrix_on_a_vector, args, rungs=["contract", "differences"], seed=seed)
        assert report.decided, report


CANCELLING: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "x - tanh(x)": (lambda x: x - np.tanh(x), lambda x: np.tanh(x) ** 2),
    "1 - cos(x)": (lambda x: 1 - np.cos(x), np.sin),
    "sqrt(1 + x^2) - 1": (lambda x: np.sqrt(1 + x * x) - 1, lambda x: x / np.sqrt(1 + x * x)),
    "x - sin(x)": (lambda x: x - np.sin(x), lambda x: 1 - np.cos(x)),
    "(exp(x) - 1) / x": (lambda x: (np.exp(x) - 1) / x, lambda x: (x * np.exp(x) - np.exp(x) + 1) / x**2),
    "by where": (lambda x: np.where(x > 0, 1 - np.cos(x), x * x), lambda x: np.where(x > 0, np.sin(x), 2 * x)),
}


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("size", [0.1, 3e-3, 1e-3, 1e-4])
def test_what_cancels_on_small_entries_fails_at_no_seed(name: str, size: float) -> None:
    """There roundings are alike from one point to the next, and third differences show none of them."""
    value, slope = CANCELLING[name]
    for seed in range(2):
        x = size * np.random.default_rng(seed).normal(size=(3, 4))
        report = verify(
            lambda xp, x: (value(x), lambda dy: (dy * slope(x),)),
            [x],
            rungs=["contract", "differences", "complex_step"],
            seed=seed,
        )
        assert not report.failures, report


def test_what_takes_knots_in_order_gets_them_in_order() -> None:
    """np.interp says nothing of others."""

    def interpolation_between_learned_knots(xp: Any, knots: Any, values: Any, at: Any) -> Any:
        y = np.interp(at, knots, values).astype(values.dtype)
        i = np.clip(np.searchsorted(knots, at) - 1, 0, len(knots) - 2)
        width = knots[i + 1] - knots[i]
        share = (at - knots[i]) / width
        inside = (at > knots[0]) & (at < knots[-1])

        def back(dy: Any) -> Any:
            dknots, dvalues = np.zeros_like(knots), np.zeros_like(values)
            part, slope = np.clip(share, 0, 1), inside * (values[i + 1] - values[i]) / width
            np.add.at(dvalues, i, dy * (1 - part))
            np.add.at(dvalues, i + 1, dy * part)
            np.add.at(dknots, i, -dy * slope * (1 - share))
            np.add.at(dknots, i + 1, -dy * slope * share)
            return dknots, dvalues

        return y, back

    args, at = [np.array([-1.3, -0.4, 0.1, 0.9, 1.6]), np.arange(5.0)[::-1] ** 2], np.array([-0.9, 0.3, 1.1])
    for seed in range(2):
        rungs = ["adjoint", "differences", "elsewhere"]
        report = verify(interpolation_between_learned_knots, args, kwargs={"at": at}, rungs=rungs, seed=seed)
        assert report.decided, report


def test_another_memory_layout_may_round_otherwise() -> None:
    """The gradient of q is what is left of two terms a hundred thousand times as large."""

    def linear_attention_of_small_entries(xp: Any, q: Any, k: Any, v: Any) -> Any:
        queries, keys = np.exp(q), np.exp(k)
        sums, total = keys.T @ v, keys.sum(0)
        scale = (queries @ total)[:, None]
        y = queries @ sums / scale

        def back(dy: Any) -> Any:
            top, bottom = dy / scale, -np.sum(dy * y, axis=1, keepdims=True) / scale
            dqueries = top @ sums.T + bottom * total
            dkeys = v @ (queries.T @ top).T + queries.T @ bottom[:, 0]
            return dqueries * queries, dkeys * keys, keys @ (queries.T @ top)

        return y, back

    rng = np.random.default_rng(4)
    args = [1e-5 * rng.normal(size=shape) for shape in ((4, 3), (5, 3), (5, 2))]
    report = verify(linear_attention_of_small_entries, args, rungs=["contract"])
    assert not report.failures, report


def test_a_slope_that_drowns_in_the_value_is_not_judged() -> None:
    def op(xp: Any, a: Any, b: Any) -> Any:
        return np.sum(np.exp(a) + b * b), lambda dy: (dy * np.exp(a), 2 * dy * b)

    report = verify(op, [X + 60, Z], rungs=["differences", "elsewhere"])
    assert not report.failures, report


def test_singular_values_of_nothing() -> None:
    """Where all are equal, a right gradient may be beyond the slopes along every single entry."""

    def singular_values(xp: Any, a: Any) -> Any:
        u, s, v = np.linalg.svd(a, full_matrices=False)
        return s, lambda dy: ((u * dy) @ v,)

    for seed in range(8):
        report = verify(singular_values, [X.T], rungs=["elsewhere"], seed=seed)
        assert report.ok, report


def test_the_middle_of_three_equal_entries() -> None:
    """One of them alone has a gradient, and no entry by itself has a slope."""

    def median_of_columns(xp: Any, x: Any) -> Any:
        if len(x) % 2 == 0:
            raise ValueError("x must have an odd number of rows")
        middle = np.argsort(x, axis=0)[len(x) // 2][None]

        def back(dy: Any) -> Any:
            dx = np.zeros_like(x)
            np.put_along_axis(dx, middle, dy[None], axis=0)
            return (dx,)

        return np.take_along_axis(x, middle, axis=0)[0], back

    for seed in range(12):
        report = verify(median_of_columns, [X], rungs=["elsewhere"], seed=seed)
        assert report.ok, report


def test_balls_may_sort_ties_in_another_order() -> None:
    """As NumPy does on processors where it sorts floats, and no objects, in vectors."""

    def weighted(xp: Any, x: Any) -> Any:
        backwards = x.dtype == object
        order = np.argsort(x[::-1] if backwards else x, kind="stable")
        order = len(x) - 1 - order if backwards else order
        w = np.arange(1, len(x) + 1).astype(np.float32 if x.dtype == np.float32 else np.float64)

        def back(dy: Any) -> Any:
            dx = np.zeros_like(x)
            dx[order] = dy * w
            return (dx,)

        return (w * x[order]).sum(), back

    report = verify(weighted, [np.array([1.0, 0, 0, 2, 0, -1])], rungs=["certified"])
    assert not report.failures, report


@pytest.mark.parametrize("distance", [3e-4, 3e-5, 5e-6, 1e-7, 1e-9])
@pytest.mark.parametrize("shape", [(3, 4), (25, 32)], ids=str)
def test_an_entry_beside_a_kink(shape: tuple[int, ...], distance: float) -> None:
    """A step of the differences crosses the kink, and shorter ones do not."""

    def absolute(xp: Any, x: Any) -> Any:
        return np.abs(x), lambda dy: (factor * dy * np.sign(x),)

    x = np.random.default_rng(0).normal(size=shape)
    x.flat[3] = distance
    for factor, right_one in ((1, True), (1.001, False)):
        report = verify(absolute, [x], rungs=["differences", "elsewhere"])
        assert report.decided is right_one, (factor, report)
        assert bool(report.failures) is not right_one
