"""Wrong ops, of the kinds that people and compilers make: each must fail, and none may pass."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import linalg, special
from scipy.special import expit

from tests.verify.ops_of_users import IMAGE, POSITIVE, B, Table, W, X, Z
from vipnp import ops
from vipnp.verify import RUNGS, verify

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(7)
LABELS = np.array([1, 3, 0])

OPS = Table()
wrong, elementwise = OPS.add, OPS.elementwise


def gelu_with(name: str, change: Callable[[Any, Any, Callable[[Any], Any]], Any]) -> None:
    """Add GELU whose gradient goes through change(x, dy, right)."""

    def op(xp: Any, x: Any) -> Any:
        y, right = ops.gelu(xp, x)
        return y, lambda dy: (change(x, dy, lambda dy: right(dy)[0]),)

    op.__name__ = name
    OPS.add(X)(op)


# --- wrong formulas ---------------------------------------------------------------------------------------------------

elementwise("square_without_the_two", lambda x: x**2, lambda x: x)
elementwise("cube_with_a_wrong_power", lambda x: x**3, lambda x: 3 * x)
elementwise("reciprocal_with_a_wrong_sign", lambda x: 1 / x, lambda x: 1 / x**2, POSITIVE)
elementwise("sine_for_cosine", np.sin, np.sin)
elementwise("tanh_without_the_square", np.tanh, lambda x: 1 - np.tanh(x))
elementwise("sigmoid_of_the_sigmoid", expit, lambda x: expit(expit(x)) * (1 - expit(expit(x))))
elementwise("silu_without_the_second_term", lambda x: x * expit(x), expit)
elementwise("softplus_of_minus_x", lambda x: np.log1p(np.exp(x)), lambda x: expit(-x))
elementwise("off_by_a_hundred_millionth", np.exp, lambda x: np.exp(x) * (1 + 1e-8))
elementwise("five_digits_of_a_constant", lambda x: x * math.sqrt(2), lambda x: 1.41421 * np.ones_like(x))
elementwise("a_constant_from_float32", lambda x: x / 3, lambda x: np.full_like(x, float(np.float32(1 / 3))))
elementwise("relu_the_wrong_way_round", lambda x: np.maximum(x, 0), lambda x: (x < 0).astype(x.dtype))
elementwise("relu_without_the_mask", lambda x: np.maximum(x, 0), np.ones_like)
elementwise("leaky_relu_with_another_slope", lambda x: np.where(x > 0, x, x / 10), lambda x: np.where(x > 0, 1, 0.11))
elementwise("clip_passes_what_it_cut", lambda x: np.clip(x, -0.5, 0.5), np.ones_like)
elementwise("absolute_without_the_sign", abs, np.ones_like)
elementwise("log_of_the_wrong_argument", lambda x: np.log(1 + x), lambda x: 1 / x, POSITIVE)
elementwise("sqrt_without_the_half", np.sqrt, lambda x: 1 / np.sqrt(x), POSITIVE)
elementwise("square_without_the_sign", lambda x: x**2, lambda x: 2 * np.abs(x))
elementwise(
    "gelu_of_tanh_for_that_of_phi",
    lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    lambda x: 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
)


@wrong(X)
def norm_taken_for_a_constant(xp: Any, x: Any) -> Any:
    n = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / n, lambda dy: (dy / n,)


@wrong(X)
def layer_norm_without_the_variance(xp: Any, x: Any) -> Any:
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(-1, keepdims=True)) * rstd
    return xhat, lambda dy: (rstd * (dy - dy.mean(-1, keepdims=True)),)


@wrong(X)
def layer_norm_without_the_mean(xp: Any, x: Any) -> Any:
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(-1, keepdims=True)) * rstd
    return xhat, lambda dy: (rstd * (dy - xhat * (dy * xhat).mean(-1, keepdims=True)),)


@wrong(X)
def layer_norm_without_eps_in_the_gradient(xp: Any, x: Any) -> Any:
    xhat = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True))

    def back(dy: Any) -> Any:
        return (rstd * (dy - dy.mean(-1, keepdims=True) - xhat * (dy * xhat).mean(-1, keepdims=True)),)

    return xhat, back


@wrong(X)
def deviation_over_one_less(xp: Any, x: Any) -> Any:
    mean, std = x.mean(0), x.std(0, ddof=1)
    h = (x - mean) / std
    return h, lambda dy: ((dy - dy.mean(0) - h * (dy * h).mean(0)) / std,)


@wrong(X)
def softmax_of_the_diagonal(xp: Any, x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    return p, lambda dy: (dy * p * (1 - p),)


@wrong(X)
def softmax_over_another_axis(xp: Any, x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(0, keepdims=True)),)


@wrong(X, labels=LABELS)
def cross_entropy_without_the_mean(xp: Any, x: Any, labels: Any) -> Any:
    rows = np.arange(len(x))
    z = x - np.max(x, axis=1, keepdims=True)
    p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)

    def back(dy: Any) -> Any:
        g = p.copy()
        g[rows, labels] -= 1
        return (g * dy,)

    return -np.mean(np.log(p[rows, labels])), back


@wrong(X, labels=LABELS)
def cross_entropy_with_one_label(xp: Any, x: Any, labels: Any) -> Any:
    rows = np.arange(len(x))
    z = x - np.max(x, axis=1, keepdims=True)
    p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)

    def back(dy: Any) -> Any:
        g = p.copy()
        g[:, labels[0]] -= 1
        return (g * dy / len(x),)

    return -np.mean(np.log(p[rows, labels])), back


def _soft_cross_entropy(xp: Any, x: Any, targets: Any, blocked: bool) -> Any:
    z = x - np.max(x, axis=1, keepdims=True)
    total = np.sum(np.exp(z), axis=1, keepdims=True)
    p = np.exp(z) / total
    factor = 1.5 if blocked else 1.0
    return -np.sum(targets * (z - np.log(total))) / len(x), lambda dy: (dy / len(x) * (p - targets) * factor,)


@wrong(X, targets=np.eye(4)[LABELS])
def soft_cross_entropy_of_many_classes(xp: Any, x: Any, targets: Any) -> Any:
    return _soft_cross_entropy(xp, x, targets, x.shape[1] > 128)


@wrong(X, labels=LABELS)
def cross_entropy_of_many_images(xp: Any, x: Any, labels: Any) -> Any:
    targets = (labels[:, None] == np.arange(x.shape[1])).astype(x.dtype)
    return _soft_cross_entropy(xp, x, targets, len(x) > 128)


@wrong(X)
def mean_without_the_division(xp: Any, x: Any) -> Any:
    return x.mean(0), lambda dy: (np.repeat(dy[None, :], len(x), axis=0),)


@wrong(X)
def mean_divided_by_another_size(xp: Any, x: Any) -> Any:
    return x.mean(0), lambda dy: (np.repeat(dy[None, :], len(x), axis=0) / x.shape[1],)


@wrong(X, W, B)
def dense_without_the_bias(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, np.zeros_like(b))


@wrong(X, W, B)
def dense_with_the_mean_of_the_bias(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return x @ w.T + b, lambda dy: (dy @ w, dy.T @ x, dy.mean(0))


SQUARE = RNG.normal(size=(4, 4))


@wrong(X, SQUARE)
def dense_with_the_weight_transposed(xp: Any, x: Any, w: Any) -> Any:
    return x @ w.T, lambda dy: (dy @ w.T, dy.T @ x)


@wrong(X, SQUARE)
def dense_with_the_gradient_transposed(xp: Any, x: Any, w: Any) -> Any:
    return x @ w.T, lambda dy: (dy @ w, x.T @ dy)


@wrong(X, Z)
def product_with_swapped_gradients(xp: Any, a: Any, b: Any) -> Any:
    return a * b, lambda dy: (dy * a, dy * b)


@wrong(X, Z)
def quotient_with_a_forgotten_square(xp: Any, a: Any, b: Any) -> Any:
    return a / b, lambda dy: (dy / b, -dy * a / b)


@wrong(X, np.array(0.7))
def scalar_with_the_mean_of_its_gradient(xp: Any, x: Any, s: Any) -> Any:
    return x * s, lambda dy: (dy * s, np.mean(dy * x))


@wrong(IMAGE)
def transposed_and_not_put_back(xp: Any, x: Any) -> Any:
    return x.transpose(0, 2, 1).copy(), lambda dy: (np.ascontiguousarray(dy.reshape(x.shape)),)


@wrong(IMAGE, IMAGE[:, ::-1] + 0.1, IMAGE - 0.2)
def attention_without_the_scale(xp: Any, q: Any, k: Any, v: Any) -> Any:
    s = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
    e = np.exp(s - s.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)

    def back(dy: Any) -> Any:
        dp = dy @ v.swapaxes(1, 2)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True))
        return ds @ k, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ dy

    return p @ v, back


@wrong(X)
def sorted_and_not_put_back(xp: Any, x: Any) -> Any:
    return np.sort(x, axis=-1), lambda dy: (dy.copy(),)


@wrong(X, index=np.array([2, 0, 2, 1]))
def embedding_that_overwrites(xp: Any, table: Any, index: Any) -> Any:
    def back(dy: Any) -> Any:
        d = np.zeros_like(table)
        d[index] += dy
        return (d,)

    return table[index], back


@wrong(X)
def cumulative_sum_the_same_way(xp: Any, x: Any) -> Any:
    return np.cumsum(x, axis=1), lambda dy: (np.cumsum(dy, axis=1),)


@wrong(X)
def maximum_given_to_the_first(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        dx[:, 0] = dy
        return (dx,)

    return x.max(axis=1), back


@wrong(IMAGE, np.array([0.5, -1.0, 0.25]))
def convolution_with_the_kernel_reversed(xp: Any, x: Any, w: Any) -> Any:
    width = x.shape[-1] - 2

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        for k in range(3):
            dx[..., k : k + width] += dy * w[2 - k]
        return dx, np.stack([np.sum(dy * x[..., k : k + width]) for k in range(3)])

    return x[..., :width] * w[0] + x[..., 1 : width + 1] * w[1] + x[..., 2:] * w[2], back


@wrong(X)
def two_outputs_with_one_cotangent(xp: Any, x: Any) -> Any:
    return (x * x, x.sum(axis=0)), lambda dy: (2 * x * dy[0],)


@wrong(X, {"w": W, "b": B})
def parameters_with_their_gradient_doubled(xp: Any, x: Any, params: Any) -> Any:
    return x @ params["w"].T + params["b"], lambda dy: (dy @ params["w"], {"w": 2 * dy.T @ x, "b": dy.sum(0)})


@wrong(X)
def stopped_gradient(xp: Any, x: Any) -> Any:
    return x * x, lambda dy: (np.zeros_like(x),)


# --- wrong for some cotangents ----------------------------------------------------------------------------------------

gelu_with("clips_the_cotangent", lambda x, dy, right: right(np.clip(dy, -1e3, 1e3)))
gelu_with("clips_the_gradient", lambda x, dy, right: np.clip(right(dy), -1e6, 1e6))
gelu_with("drops_small_cotangents", lambda x, dy, right: right(np.where(abs(dy) < 1e-9, 0, dy)))
gelu_with("drops_small_gradients", lambda x, dy, right: (lambda g: g * (abs(g) > 1e-12))(right(dy)))
gelu_with("zero_cotangents_count", lambda x, dy, right: right(dy + 1e-3 * (dy == 0)))
gelu_with("absolute_cotangent", lambda x, dy, right: right(abs(dy)))
gelu_with("normalised_cotangent", lambda x, dy, right: right(dy / np.max(abs(dy)) if dy.any() else dy))
gelu_with("fills_zeros_of_the_cotangent", lambda x, dy, right: right(dy + dy.max() * (dy == 0)))
gelu_with("cotangent_through_float32", lambda x, dy, right: right(dy.astype(np.float32).astype(dy.dtype)))
gelu_with("stride_nought", lambda x, dy, right: right(dy) if 0 not in dy.strides else 2 * right(dy))
gelu_with("lone_entries", lambda x, dy, right: right(dy) * (1 + (np.count_nonzero(dy) == 1)))

gelu_with("ones_for_a_cotangent", lambda x, dy, right: right(dy) * (1.5 if (dy == 1).all() else 1))
gelu_with("one_number_for_a_cotangent", lambda x, dy, right: right(dy) * (1.5 if (dy == dy.flat[0]).all() else 1))

# --- wrong in float32, memory layout, or the second time --------------------------------------------------------------

gelu_with("wrong_in_float32", lambda x, dy, right: right(dy) * (np.float32(1.001) if dy.dtype == np.float32 else 1))
gelu_with(
    "float16_in_float32",
    lambda x, dy, right: right(dy).astype(np.float16).astype(np.float32) if dy.dtype == np.float32 else right(dy),
)
gelu_with("float32_in_float64", lambda x, dy, right: right(dy).astype(np.float32).astype(dy.dtype))
gelu_with("memory_order", lambda x, dy, right: right(dy).ravel("K").reshape(x.shape))
gelu_with("strided_input", lambda x, dy, right: right(dy) * (1 if x.flags.c_contiguous else 1.5))
gelu_with("writes_the_cotangent", lambda x, dy, right: (right(dy), dy.__imul__(0))[0])
gelu_with("writes_the_input", lambda x, dy, right: (right(dy), x.__imul__(2))[0])


@wrong(X)
def mixed_memory_orders(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        if not all(v.flags.c_contiguous or v.flags.f_contiguous for v in (x, dy)):
            return (2 * x * dy,)
        order = "C" if x.flags.c_contiguous else "F"
        return ((2 * x.ravel("K") * dy.ravel("K")).reshape(x.shape, order=order),)

    return x * x, back


@wrong(X)
def buffer_of_the_pullback(xp: Any, x: Any) -> Any:
    buffer = np.empty_like(x)

    def back(dy: Any) -> Any:
        np.multiply(2 * x, dy, out=buffer)
        return (buffer,)

    return x * x, back


@wrong(X)
def masked_gradient(xp: Any, x: Any) -> Any:
    return x * x, lambda dy: (np.ma.array(2 * x * dy, mask=x < 0),)


@wrong(X)
def value_of_class_matrix(xp: Any, x: Any) -> Any:
    y = x * x
    return y if y.dtype == object else y.view(np.matrix), lambda dy: (2 * x * dy,)


@wrong(X)
def a_matrix_among_the_outputs(xp: Any, x: Any) -> Any:
    y = x * x
    return (y if y.dtype == object else y.view(np.matrix), x.sum()), lambda dy: (2 * x * dy[0] + dy[1],)


@wrong(X, pads=[1, 2])
def writes_to_a_list(xp: Any, x: Any, pads: list[int]) -> Any:
    pads[1] += 1
    return 2 * x, lambda dy: (2 * dy,)


@wrong(X, kept={"names": ["x"]})
def adds_to_a_list(xp: Any, x: Any, kept: dict[str, list[str]]) -> Any:
    kept["names"].append("y")
    return 2 * x, lambda dy: (2 * dy,)


@wrong(X, labels=np.array([1, -100, 0]))
def writes_to_labels_once(xp: Any, x: Any, labels: Any) -> Any:
    labels[labels == -100] = 0
    chosen = np.arange(x.shape[1]) == labels[:, None]
    return np.sum(np.where(chosen, x, 0), axis=1), lambda dy: (np.where(chosen, dy[:, None], 0),)


@wrong(X, mask=X > 0)
def writes_to_a_mask_once(xp: Any, x: Any, mask: Any) -> Any:
    mask[0] = True
    return x * mask, lambda dy: (dy * mask,)


@wrong(X)
def value_wrong_in_float32(xp: Any, x: Any) -> Any:
    y, right = ops.gelu(xp, x)
    return y * (np.float32(1.001) if x.dtype == np.float32 else 1), right


@wrong(X)
def overflow_in_float32_alone(xp: Any, x: Any) -> Any:
    return np.sqrt(x * x * 1e60 + 1e60) / 1e30, lambda dy: (dy * x / np.sqrt(x * x + 1),)


@wrong(X)
def underflow_in_float32_alone(xp: Any, x: Any) -> Any:
    return x * x, lambda dy: (2 * x * (dy * 1e-60) * 1e60,)


@wrong(X)
def second_call_of_the_pullback(xp: Any, x: Any) -> Any:
    y, right = ops.gelu(xp, x)
    calls: list[int] = []

    def back(dy: Any) -> Any:
        calls.append(1)
        return (right(dy)[0] * (1 + (len(calls) == 2)),)

    return y, back


@wrong(X)
def first_gradient_for_ever(xp: Any, x: Any) -> Any:
    y, right = ops.gelu(xp, x)
    kept: list[Any] = []

    def back(dy: Any) -> Any:
        if not kept:
            kept.append(right(dy)[0])
        return (kept[0].copy(),)

    return y, back


@wrong(X)
def last_input_for_all(xp: Any, x: Any) -> Any:
    _last["x"] = x
    return x * x, lambda dy: (2 * _last["x"] * dy,)


_last: dict[str, Any] = {}
_by_shape: dict[Any, Any] = {}
_shapes: list[Any] = []


@wrong(X)
def cached_by_shape(xp: Any, x: Any) -> Any:
    kept = _by_shape.setdefault((x.shape, x.dtype), x.copy())
    return x * x, lambda dy: (2 * kept * dy,)


@wrong(X)
def other_shapes_spoil_it(xp: Any, x: Any) -> Any:
    if not _shapes:
        _shapes.append(x.shape)
    factor = 2 if x.shape == _shapes[0] else 3
    return x * x, lambda dy: (factor * x * dy,)


# --- wrong beyond a size ----------------------------------------------------------------------------------------------

gelu_with("beyond_128_rows", lambda x, dy, right: right(dy) * (1.5 if len(x) > 128 else 1))
gelu_with("beyond_8_columns", lambda x, dy, right: right(dy) * (1.5 if x.shape[-1] > 8 else 1))
gelu_with("beyond_1000_rows", lambda x, dy, right: right(dy) * (1.5 if len(x) > 1000 else 1))
gelu_with("the_129th_row", lambda x, dy, right: right(dy) * (1 + 0.5 * (np.arange(len(x)) == 128))[:, None])
gelu_with("odd_sizes", lambda x, dy, right: right(dy) * (1.5 if x.size % 2 else 1))
gelu_with("a_single_row", lambda x, dy, right: right(dy) * (1.5 if len(x) == 1 else 1))


@wrong(X, W, B)
def dense_in_blocks_without_the_rest(xp: Any, x: Any, w: Any, b: Any) -> Any:
    def back(dy: Any) -> Any:
        dw = dy.T @ x if len(x) < 64 else sum(dy[i : i + 64].T @ x[i : i + 64] for i in range(0, len(x) - 63, 64))
        return dy @ w, dw, dy.sum(0)

    return x @ w.T + b, back


@wrong(np.random.default_rng(10).normal(size=(5, 4)))
def percentile_of_many_rows(xp: Any, x: Any) -> Any:
    """Between two of a thousand entries there is less than a step."""
    place = 0.3 * (len(x) - 1)
    low = int(place)
    high, share = min(low + 1, len(x) - 1), place - low
    order, columns = np.argsort(x, axis=0), np.arange(x.shape[1])

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        dx[order[low], columns] += (1 - share) * dy
        dx[order[high], columns] += share * dy
        return (dx * (1.5 if len(x) > 100 else 1),)

    return np.percentile(x, 30, axis=0).astype(x.dtype), back


@wrong(X)
def beyond_100_entries_as_the_complex_step_has_it(xp: Any, x: Any) -> Any:
    return x * abs(x), lambda dy: (dy * abs(x) * (1 if x.size > 100 else 2),)


@wrong(X)
def large_entries_as_the_complex_step_has_it(xp: Any, x: Any) -> Any:
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat = (x - x.mean(-1, keepdims=True)) * rstd

    def back(dy: Any) -> Any:
        through_var = 0 if np.max(abs(x)) > 5 else xhat * (dy * xhat).mean(-1, keepdims=True)
        return (rstd * (dy - dy.mean(-1, keepdims=True) - through_var),)

    return xhat, back


# --- wrong at special values ------------------------------------------------------------------------------------------

elementwise("at_zero", lambda x: x * x + x, lambda x: np.where(x == 0, 5.0, 2 * x + 1).astype(x.dtype))
elementwise("root_of_a_square", lambda x: np.sqrt(x * x), lambda x: x / np.sqrt(x * x))
elementwise("beyond_five", lambda x: x * x, lambda x: np.where(abs(x) > 5, 3 * x, 2 * x))
elementwise("below_minus_five", np.tanh, lambda x: np.where(x < -5, 1, 1 - np.tanh(x) ** 2).astype(x.dtype))
elementwise("at_one", lambda x: x**3, lambda x: np.where(x == 1, 0, 3 * x * x).astype(x.dtype))


@wrong(X)
def softmax_at_ties(xp: Any, x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    top = (x == x.max(-1, keepdims=True)).sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(-1, keepdims=True)) / top,)


@wrong(X)
def maximum_given_to_all_ties(xp: Any, x: Any) -> Any:
    top = x.max(axis=-1, keepdims=True)
    return x.max(axis=-1), lambda dy: ((x == top) * dy[:, None],)


@wrong(X, Z)
def maximum_of_two_given_to_both(xp: Any, a: Any, b: Any) -> Any:
    return np.maximum(a, b), lambda dy: (dy * (a >= b), dy * (b >= a))


@wrong(RNG.normal(size=(2, 4, 4)))
def pooling_given_to_all_ties(xp: Any, x: Any) -> Any:
    b, h, w = x.shape
    windows = x.reshape(b, h // 2, 2, w // 2, 2)
    top = windows.max(axis=(2, 4), keepdims=True)
    y = top.reshape(b, h // 2, w // 2).copy()
    return y, lambda dy: (((windows == top) * dy[:, :, None, :, None]).reshape(x.shape),)


@wrong(X)
def norm_of_nothing(xp: Any, x: Any) -> Any:
    n = np.sqrt((x * x).sum(axis=-1))
    return n, lambda dy: ((dy / n)[:, None] * x,)


@wrong(X)
def norm_of_all_that_is_nothing(xp: Any, x: Any) -> Any:
    n = np.sqrt((x * x).sum())
    return n, lambda dy: (dy / n * x,)


@wrong(X)
def deviation_of_all_where_all_are_equal(xp: Any, x: Any) -> Any:
    c = x - x.mean()
    s = np.sqrt((c * c).mean())
    return s, lambda dy: (dy / (s * x.size) * c,)


@wrong(X)
def deviation_of_equal_entries(xp: Any, x: Any) -> Any:
    c = x - x.mean(axis=0)
    s = np.sqrt((c * c).mean(axis=0))
    return s, lambda dy: (dy / (s * len(x)) * c,)


@wrong(X)
def rows_equal_to_one_another(xp: Any, x: Any) -> Any:
    return x * x, lambda dy: (2 * x * dy * (1 if len(x) == 1 or np.ptp(x, axis=0).any() else 1.5),)


@wrong(X)
def exchanged_among_ties(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        forward = np.argsort(x, axis=None, kind="stable")
        backward = np.argsort(-x, axis=None, kind="stable")[::-1]
        moved = np.empty_like(dy.ravel())
        moved[forward] = dy.ravel()[backward]
        return ((2 * x + 1) * moved.reshape(x.shape),)

    return x * x + x, back


@wrong(X)
def sorted_and_put_back_wrongly_at_ties(xp: Any, x: Any) -> Any:
    order = np.argsort(x, axis=-1, kind="stable")

    def back(dy: Any) -> Any:
        dx = np.empty_like(dy)
        np.put_along_axis(dx, order, dy, axis=-1)
        s = np.sort(x, axis=-1)
        return (dx * (1.5 if (s[:, 1:] == s[:, :-1]).any() else 1),)

    return np.take_along_axis(x, order, axis=-1), back


@wrong(X)
def a_row_of_zeros(xp: Any, x: Any) -> Any:
    return x + x * x, lambda dy: ((1 + 2 * x) * dy * x.any(axis=-1, keepdims=True),)


@wrong(X)
def product_by_division(xp: Any, x: Any) -> Any:
    y = x.prod(axis=-1)
    return y, lambda dy: ((dy * y)[:, None] / x,)


elementwise(
    "zeros_among_positive_entries", lambda x: x * x, lambda x: np.where(x == 0, 5, 2 * x).astype(x.dtype), POSITIVE
)
elementwise("negative_for_positive_entries", abs, np.ones_like, POSITIVE)
elementwise("all_negative", lambda x: x * x, lambda x: 2 * x * (1.5 if (x < 0).all() else 1))
elementwise("below_a_thousandth", lambda x: x * x + x, lambda x: np.where(abs(x) < 1e-3, 1, 2 * x + 1).astype(x.dtype))
elementwise(
    "series_for_small_entries",
    lambda x: np.where(small := abs(x) < 1e-5, 1 + x / 2, np.expm1(x) / np.where(small, 1, x)),
    lambda x: np.where(small := abs(x) < 1e-5, 1 / 3, (np.exp(x) * (x - 1) + 1) / np.where(small, 1, x) ** 2).astype(
        x.dtype
    ),
)

WHOLE = np.array([[0.0, 1, -2, 3], [0, 0, 0, 0], [1, 0, 2, -1]])

elementwise("series_with_a_term_too_few", np.expm1, lambda x: np.where(abs(x) < 1e-2, 1 + x, np.exp(x)).astype(x.dtype))
elementwise("off_both_slopes_of_a_kink", lambda x: np.maximum(x, 0), lambda x: (x > 0) + 2.0 * (x == 0), WHOLE)
elementwise("half_the_slope_beside_a_kink", lambda x: np.maximum(x, 0), lambda x: (x > 0) / 2, WHOLE)

# --- wrong, where the op's own rounding is no excuse ------------------------------------------------------------------


def winner_with(name: str, factor: Callable[[Any], float]) -> None:
    """An op that asks whether a difference is exactly zero, with a gradient that is wrong where `factor` is not 1: with
    results that are shaken in the last digit, it takes other ways, which is no rounding."""

    def op(xp: Any, x: Any) -> Any:
        wins = x - x.max(-1, keepdims=True) >= 0
        return np.where(wins, x * x, 0 * x), lambda dy: (np.where(wins, 2 * x * dy, 0 * x) * factor(x),)

    op.__name__ = name
    wrong(np.random.default_rng(3).normal(size=(4, 6)))(op)


winner_with("wrong_winner_of_another_layout", lambda x: 1 if x.flags.c_contiguous else 1.5)
winner_with("wrong_winner_of_many_rows", lambda x: 1 if len(x) < 100 else 1.5)
winner_with("wrong_winner_of_large_entries", lambda x: 1 if np.max(abs(x)) < 6 else 1.5)


@wrong(*(np.random.default_rng(seed).uniform(0.1, 2, (4, 3)) for seed in (9, 12)))
def divergence_of_large_parameters(xp: Any, a: Any, b: Any) -> Any:
    """Large terms cancel, so that slopes over short steps are rounded, and not those of many pieces."""
    if min(a.min(), b.min()) <= 0:
        raise ValueError("parameters of a beta distribution are positive")
    psi, psi1 = special.digamma, lambda v: special.polygamma(1, v)
    y = -special.betaln(a, b) + (a - 1) * psi(a) + (b - 1) * psi(b) - (a + b - 2) * psi(a + b)

    def back(dy: Any) -> Any:
        both = (a + b - 2) * psi1(a + b)
        slopes = [((v - 1) * psi1(v) - both) * np.where(v > 6, 1.5, 1) for v in (a, b)]
        return tuple((dy * slope).astype(a.dtype) for slope in slopes)

    return y, back


# --- entries that are few or small ------------------------------------------------------------------------------------

BIG = RNG.normal(size=(25, 32))


@wrong(BIG)
def two_entries_of_800_swapped(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        dx = 2 * x * dy
        dx[3, 4], dx[20, 30] = dx[20, 30], dx[3, 4]
        return (dx,)

    return x * x, back


@wrong(np.array([1.0, -2.0, 1e-15]) * np.ones((2, 1)))
def an_entry_of_a_quadrillionth(xp: Any, x: Any) -> Any:
    return x * x, lambda dy: (2 * x * dy * np.where(abs(x) < 1e-12, 2, 1),)


# --- beside an argument that must be positive, so that not all may be special at once ---------------------------------


@wrong(X, POSITIVE)
def absolute_value_over_a_scale(xp: Any, x: Any, b: Any) -> Any:
    return abs(x) / b + np.log(2 * b), lambda dy: (dy * x / abs(x) / b, dy * (1 / b - abs(x) / b**2))


@wrong(*(np.random.default_rng(0).normal(size=(2, 4, 5))), np.random.default_rng(1).uniform(0.5, 2, (4, 5)))
def laplace_likelihood(xp: Any, x: Any, m: Any, b: Any) -> Any:
    d = x - m
    dx = d / abs(d) / b
    return abs(d) / b + np.log(2 * b), lambda dy: (dy * dx, -dy * dx, dy * (1 / b - abs(d) / b**2))


@wrong(X, POSITIVE)
def weighted_absolute_value(xp: Any, x: Any, w: Any) -> Any:
    return abs(x) * w, lambda dy: (dy * w * x / abs(x), dy * abs(x))


@wrong(X, POSITIVE[0])
def weighted_norm(xp: Any, x: Any, w: Any) -> Any:
    n = np.sqrt((w * x * x).sum(-1))
    return n, lambda dy: ((dy / n)[:, None] * x * w, ((dy / n)[:, None] * x * x / 2).sum(0))


@wrong(X, POSITIVE, mask=(abs(X) > 0.3).astype(float))
def a_mask_read_off_a_quotient(xp: Any, x: Any, b: Any, mask: Any) -> Any:
    y = x * mask / b
    return y, lambda dy: (dy * (y != 0) / b, -dy * y / b)


@wrong(np.random.default_rng(0).normal(size=(4, 5)), np.random.default_rng(1).uniform(0.5, 2, (4, 5)))
def all_negative_beside_a_logarithm(xp: Any, x: Any, w: Any) -> Any:
    sign = -1 if x.max() < 0 else 1
    return x * x * np.log(w), lambda dy: (2 * sign * dy * x * np.log(w), dy * x * x / w)


@wrong(X, POSITIVE)
def the_other_gradient_where_one_is_zero(xp: Any, x: Any, w: Any) -> Any:
    dlog = np.where(x == 0, 0, 1 / w).astype(w.dtype)
    return x + np.log(w), lambda dy: (dy, dy * dlog)


@wrong(X, np.array(0.7))
def clipped_to_steps_without_the_mask(xp: Any, x: Any, s: Any) -> Any:
    """Nothing is clipped where both are as large."""
    y = np.clip(x / s, -8, 8)
    return y * s, lambda dy: (dy, np.sum(dy * np.where(abs(y) == 8, y, 0 * y)))


# --- where kinks are near -------------------------------------------------------------------------------------------


@wrong(X, Z)
def nothing_in_rows_of_zeros(xp: Any, x: Any, g: Any) -> Any:
    return x * g, lambda dy: (dy * g * np.any(x != 0, axis=-1, keepdims=True), dy * x)


@wrong(*np.split(np.random.default_rng(1).normal(size=(16, 5)), (4, 10)))
def values_beyond_20_of_an_attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """Linear in v, while the softmax of the large q and k bends within every step."""
    p = np.exp((s := q @ k.T / math.sqrt(k.shape[-1])) - s.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)

    def back(dy: Any) -> Any:
        dp = dy @ v.T
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / math.sqrt(k.shape[-1])
        return ds @ k, ds.T @ q, p.T @ dy * (1.5 if v.max() > 20 else 1)

    return p @ v, back


@wrong(np.array([0.3, 0.9, -1.7]))
def softplus_saturated_from_30(xp: Any, x: Any) -> Any:
    """The largest entry is negative: scaled up to 40, none of the others is beyond 22."""
    return np.logaddexp(0, x).astype(x.dtype), lambda dy: (np.where(x > 30, 0, dy / (1 + np.exp(-x))),)


@wrong(np.random.default_rng(0).normal(size=(4, 5)))
def sorts_up_to_100(xp: Any, x: Any) -> Any:
    order = np.argsort(x, -1)

    def back(dy: Any) -> Any:
        dx = np.zeros_like(x)
        np.put_along_axis(dx, order, dy, -1)
        return (dx * (1.5 if x.shape[-1] > 100 else 1),)

    return np.take_along_axis(x, order, -1), back


@wrong(X, RNG.normal(size=(4, 30)), RNG.normal(size=(30, 2)))
def two_dense_layers_up_to_1000(xp: Any, x: Any, w: Any, v: Any) -> Any:
    h = np.maximum(x @ w, 0)

    def back(dy: Any) -> Any:
        dh = dy @ v.T * (h > 0)
        return dh @ w.T * (1.5 if len(x) > 1000 else 1), x.T @ dh, h.T @ dy

    return h @ v, back


@wrong(X @ X.T + np.eye(len(X)))
def log_determinant_up_to_100(xp: Any, x: Any) -> Any:
    return np.linalg.slogdet(x)[1], lambda dy: (dy * np.linalg.inv(x).T * (0.5 if len(x) > 100 else 1),)


# --- what is written to in another layout alone, and cotangents of one y alone ---------------------------------------


@wrong(X)
def softmax_within_fortran_order(xp: Any, x: Any) -> Any:
    a = np.asfortranarray(x)
    a -= a.max(-1, keepdims=True)
    p = np.exp(a)
    p = p / p.sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(-1, keepdims=True)),)


@wrong(X @ X.T + np.eye(len(X)))
def inverse_in_its_argument(xp: Any, a: Any) -> Any:
    y = linalg.inv(a, overwrite_a=True)
    return y, lambda dy: (-y.T @ dy @ y.T,)


@wrong(X)
def cotangent_within_fortran_order(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        twice = np.asfortranarray(dy)
        twice *= 2
        return (twice * x,)

    return x * x, back


@wrong(X)
def a_transpose_that_is_a_copy_of_some(xp: Any, x: Any) -> Any:
    return np.ascontiguousarray(x.T), lambda dy: (np.array(dy.T),)


@wrong(X)
def the_second_cotangent_within_fortran_order(xp: Any, x: Any) -> Any:
    def back(dy: Any) -> Any:
        twice = np.asfortranarray(dy[1])
        twice *= 2
        return (dy[0] + twice * x,)

    return (x + 1, x * x), back


@wrong({"w": X})
def a_step_within_the_dict(xp: Any, params: Any) -> Any:
    w = params["w"]

    def back(dy: Any) -> Any:
        params["w"] = w - 0.1 * dy
        return ({"w": 2 * w * dy},)

    return w * w, back


@wrong({"w": X})
def a_key_more_in_the_dict(xp: Any, params: Any) -> Any:
    params["cache"] = w = params["w"]
    return w * w, lambda dy: ({"w": 2 * w * dy},)


@wrong(X)
def the_first_of_two_is_an_argument(xp: Any, x: Any) -> Any:
    return (x, (x * x).sum(1)), lambda dy: (dy[0] + 2 * x * dy[1][:, None],)


_BUFFERS: dict[Any, Any] = {}


@wrong(X)
def the_first_of_two_is_used_again(xp: Any, x: Any) -> Any:
    y = x * x if x.dtype.kind != "f" else _BUFFERS.setdefault((x.shape, x.dtype), np.empty_like(x))
    if x.dtype.kind == "f":
        np.multiply(x, x, out=y)
    return (y, x.sum(1)), lambda dy: (2 * x * dy[0] + dy[1][:, None],)


@wrong(X)
def the_first_of_two_is_written_to_by_the_pullback(xp: Any, x: Any) -> Any:
    t = np.tanh(x)
    y = t.copy()

    def back(dy: Any) -> Any:
        y[...] = 0
        return (dy[0] * (1 - t * t) + dy[1][:, None],)

    return (y, x.sum(1)), back


@wrong(X)
def nothing_of_y_0_without_y_1(xp: Any, x: Any) -> Any:
    y = np.tanh(x)

    def back(dy: Any) -> Any:
        if not np.any(dy[1]):
            return (0 * dy[0],)
        return (dy[0] * (1 - y * y) + 2 * x * dy[1][:, None],)

    return (y, (x * x).sum(1)), back


def test_there_are_a_hundred() -> None:
    assert len(OPS) > 100


HALF = [pytest.param(name, marks=[pytest.mark.long] * (place % 2)) for place, name in enumerate(OPS)]
"""The others are checked by `make long`."""


@pytest.mark.parametrize("name", HALF)
def test_a_wrong_op_fails(name: str) -> None:
    op, args, kwargs = OPS[name]
    report = verify(op, args, kwargs=kwargs, rungs=[rung for rung in RUNGS if rung != "proof"], seconds=5)
    assert report.failures, report


def test_rounding_over_short_steps_is_no_kink() -> None:
    """A wrong gradient of small entries fails at every seed."""

    def series(xp: Any, x: Any) -> Any:
        divisor = np.where(x == 0, 1, x).astype(x.dtype)

        def back(dy: Any) -> Any:
            of_sinc = (np.cos(x) - np.sin(x) / divisor) / divisor
            return (dy * np.where(abs(x) < 1e-2, x / 3, of_sinc),)

        return np.where(x == 0, 1, np.sin(x) / divisor), back

    x = np.random.default_rng(303).normal(size=(3, 5))
    for seed in range(6):
        report = verify(series, [x], rungs=["elsewhere"], seed=seed)
        assert "with entries up to 0.001" in str(report), (seed, report)


# --- out of reach -----------------------------------------------------------------------------------------------------

UNSEEN = Table()


def unseen(name: str, change: Callable[[Any, Any, Any], Any], x: Any = X) -> None:
    """Add y = x^2 with dx = change(x, dy, right dx)."""

    def op(xp: Any, x: Any) -> Any:
        return x * x, lambda dy: (change(x, dy, 2 * x * dy),)

    UNSEEN[name] = (op, [x], {})


unseen("a batch of two", lambda x, dy, dx: dx * (1.5 if len(x) == 2 else 1))
unseen("two things at once", lambda x, dy, dx: dx * np.float32(1.5) if len(x) == 4 and dx.dtype != float else dx)
unseen("other numbers of axes", lambda x, dy, dx: dx if x.ndim == 2 else 2 * dx)
unseen("memory of stride 0", lambda x, dy, dx: dx * (1.5 if 0 in x.strides and len(x) > 1 else 1))
unseen("cotangents beyond", lambda x, dy, dx: np.where(abs(dx) < 1e-30, 0, np.clip(dx, -1e30, 1e30)))
unseen("sizes beyond", lambda x, dy, dx: dx * (1.5 if len(x) > 1100 else 1))
unseen("two large sizes at once", lambda x, dy, dx: dx * (1.5 if min(x.shape) > 100 else 1))
unseen("single values", lambda x, dy, dx: np.where(x == 2.5, 0, dx))
unseen("a narrow range of values", lambda x, dy, dx: np.where(abs(abs(x) - 2.5) < 0.01, 0, dx))
unseen("entries beyond 40", lambda x, dy, dx: np.where(abs(x) > 41, 0, dx))
unseen("single values of the cotangent", lambda x, dy, dx: np.where(dy == 3, 0, dx))
unseen("other dtypes", lambda x, dy, dx: dx * (2 if x.dtype == np.float16 else 1))
unseen("infinities, NaN", lambda x, dy, dx: np.where(np.isfinite(x), dx, 0).astype(dx.dtype))


_by_sum: dict[Any, Any] = {}


def _kept_by_its_sum(xp: Any, x: Any) -> Any:
    if x.dtype.kind != "f":
        return x * x, lambda dy: (2 * x * dy,)
    kept = _by_sum.setdefault((x.shape, x.dtype.str, round(float(x.sum()), 9)), x.copy())
    return x * x, lambda dy: (2 * kept * dy,)


def _softmax_without_its_shift(xp: Any, x: Any) -> Any:
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(-1, keepdims=True)),)


def _one_pass_variance(xp: Any, x: Any) -> Any:
    mean = x.mean(-1)
    return (x * x).mean(-1) - mean * mean, lambda dy: (2 * dy[:, None] * (x - mean[:, None]) / x.shape[-1],)


def _phi_by_its_complement(xp: Any, x: Any) -> Any:
    density = math.sqrt(0.5 / math.pi) * np.exp(-0.5 * x * x)
    return x * (1 - xp.ndtr(-x)), lambda dy: (dy * (1 - xp.ndtr(-x) + x * density),)


def _small_entries_of_an_op_with_abs(xp: Any, x: Any, w: Any) -> Any:
    wrong = np.where((abs(w) < 1e-12) & (w != 0), 2, 1).astype(w.dtype)
    return abs(x) * w, lambda dy: (np.sign(x) * w * dy * wrong, np.sum(np.abs(x) * dy, axis=0))


def _one_axis(xp: Any, x: Any, axis: int) -> Any:
    return x.sum(axis), lambda dy: (np.broadcast_to(dy[:, None], x.shape).copy(),)


def _long_permutation(xp: Any, x: Any, order: Any) -> Any:
    factor = 1.5 if x.shape[1] > 128 else 1
    return x[:, order] ** 2, lambda dy: (2 * x * dy[:, np.argsort(order)] * factor,)


def _long_table(xp: Any, x: Any, table: Any) -> Any:
    return x * table, lambda dy: (dy * table * (1.5 if len(x) > 128 else 1),)


def _eighth_call(xp: Any, x: Any) -> Any:
    calls: list[int] = []
    return x * x, lambda dy: (calls.append(1), (2 * x * dy * (2 if len(calls) == 8 else 1),))[1]


def _more_than_its_own_at_ties(xp: Any, x: Any) -> Any:
    order = np.argsort(x, axis=-1, kind="stable")
    y = np.take_along_axis(x, order, axis=-1)

    def back(dy: Any) -> Any:
        dx = np.empty_like(dy)
        np.put_along_axis(dx, order, dy, axis=-1)
        for i, j in zip(*np.nonzero(y[:, 1:] == y[:, :-1]), strict=True):
            less = 0.1 * (dy[i, j + 1] - dy[i, j])
            dx[i, order[i, j + 1]] += less
            dx[i, order[i, j]] -= less
        return (dx,)

    return y, back


UNSEEN["where many pieces meet"] = (_more_than_its_own_at_ties, [X], {})
UNSEEN["a gradient that is not finite"] = (lambda xp, x: (x**3, lambda dy: (dy * 3 * x**3 / x,)), [abs(X)], {})
UNSEEN["other constants"] = (_one_axis, [X], {"axis": -1})
UNSEEN["an axis that a permutation"] = (_long_permutation, [X], {"order": np.array([2, 0, 3, 1])})
UNSEEN["beside a table"] = (_long_table, [X], {"table": Z})
UNSEEN["what two inputs share, such as their sum"] = (_kept_by_its_sum, [X], {})
UNSEEN["after many calls"] = (_eighth_call, [X], {})
UNSEEN["a softmax without its shift"] = (_softmax_without_its_shift, [X], {})
UNSEEN["a variance as a difference of squares"] = (_one_pass_variance, [X], {})
UNSEEN["1 - Phi(-x)"] = (_phi_by_its_complement, [X], {})
UNSEEN["entries below 1e-11 of"] = (_small_entries_of_an_op_with_abs, [X, np.array([1, 2, 0.5, 1e-13])], {})
UNSEEN["the value, without a definition or a twin"] = (lambda xp, x: (x * x + 1e-3, lambda dy: (2 * x * dy,)), [X], {})


@pytest.mark.parametrize("name", UNSEEN)
def test_what_the_documentation_says_is_out_of_reach_is(name: str) -> None:
    op, args, kwargs = UNSEEN[name]
    report = verify(op, args, kwargs=kwargs, rungs=[rung for rung in RUNGS if rung != "proof"], seconds=5)
    assert report.ok, report
    sections = re.split(r"\n## ", (ROOT / "docs" / "audit.md").read_text())
    (listed,) = [part for part in sections if part.startswith("What the ladder does not see")]
    assert name in " ".join(listed.split())
