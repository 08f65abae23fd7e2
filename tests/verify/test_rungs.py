"""Every rung by itself: it passes a right op, fails a wrong one, and says why it cannot decide."""

from __future__ import annotations

import ast
import enum
import functools
import operator
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vipnp import ops
from vipnp.verify import RUNGS, Report, Row, Verdict, verify
from vipnp.verify.rungs.contract import CLAUSES
from vipnp.verify.saves import closure_arrays

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 4))
W = RNG.normal(size=(2, 4))
SMALL = RNG.normal(size=(2, 2))


def cubic(xp: Any, x: Any, w: Any) -> Any:
    """y = x^3 w^T."""
    cubes = x * x * x

    def pullback(dy: Any) -> Any:
        return 3 * (x * x) * (dy @ w), dy.T @ cubes

    return cubes @ w.T, pullback


def cubic_definition(x: Any, w: Any) -> Any:
    return [[sum(a**3 * b for a, b in zip(row, weights, strict=True)) for weights in w] for row in x]


def cubic_twin(x: Any, w: Any) -> Any:
    return (x**3) @ w.T


def wrong_by(factor: float) -> Callable[..., Any]:
    def off(xp: Any, x: Any, w: Any) -> Any:
        y, right = cubic(xp, x, w)

        def pullback(dy: Any) -> Any:
            dx, dw = right(dy)
            return factor * dx, dw

        return y, pullback

    return off


def rows_of(report: Report) -> dict[str, Row]:
    return {row.argument: row for row in report.rows}


DERIVATIVES = ["differences", "complex_step", "finite_field", "certified", "proof", "pytorch", "float32"]


@pytest.mark.parametrize("rung", DERIVATIVES)
def test_right_gradients_pass(rung: str) -> None:
    report = verify(cubic, [SMALL, SMALL + 1], twin=cubic_twin, rungs=[rung])
    assert report.ok
    assert {name: row.verdict for name, row in rows_of(report).items() if name != "y"} == {
        "x": Verdict.PASS,
        "w": Verdict.PASS,
    }, str(report)


@pytest.mark.parametrize("rung", DERIVATIVES)
def test_wrong_gradients_fail_and_are_named(rung: str) -> None:
    report = verify(wrong_by(1.01), [SMALL, SMALL + 1], twin=cubic_twin, rungs=[rung])
    rows = rows_of(report)
    assert rows["x"].verdict is Verdict.FAIL
    assert rows["w"].verdict is Verdict.PASS
    assert not report.ok
    assert "argument x" in str(report)


@pytest.mark.parametrize("rung", ["complex_step", "finite_field", "certified", "proof", "pytorch"])
def test_a_factor_of_one_hundred_millionth_fails(rung: str) -> None:
    report = verify(wrong_by(1 + 1e-8), [SMALL, SMALL + 1], twin=cubic_twin, rungs=[rung])
    assert [row.argument for row in report.failures] == ["x"]


EXACT = ["finite_field", "certified", "proof"]


@pytest.mark.parametrize("rung", EXACT)
def test_a_factor_of_a_trillionth_fails_where_nothing_rounds(rung: str) -> None:
    report = verify(wrong_by(1 + 2**-40), [SMALL, SMALL + 1], rungs=[rung])
    assert [row.argument for row in report.failures] == ["x"]


@pytest.mark.parametrize("rung", EXACT)
def test_the_last_bit_of_a_factor_may_be_a_rounded_constant(rung: str) -> None:
    rows = rows_of(verify(wrong_by(1 + 2**-52), [SMALL, SMALL + 1], rungs=[rung]))
    assert rows["x"].verdict is Verdict.INCONCLUSIVE
    assert "times 2^-53 of each entry, which a constant that Python rounded" in rows["x"].detail
    assert rows["w"].verdict is Verdict.PASS


def test_an_identity_that_the_field_does_not_know_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient of log sum exp as exp(x - y): right, by exp(x - log(s)) = exp(x) / s."""

    def log_sum_exp(xp: Any, x: Any) -> Any:
        y = xp.log(xp.sum(xp.exp(x), axis=-1))
        return y, lambda dy: (dy[:, None] * xp.exp(x - y[:, None]),)

    (row,) = verify(log_sum_exp, [X], rungs=["finite_field"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "right on real numbers" in row.detail
    assert "identity between values of exp, log" in row.detail
    monkeypatch.setitem(sys.modules, "flint", None)
    (row,) = verify(log_sum_exp, [X], rungs=["finite_field"]).rows
    assert row.verdict is Verdict.FAIL
    assert "or it needs an identity such as exp(log(a)) = a, as balls would tell; flint is not installed" in row.detail


def test_an_op_made_of_ops_is_decided_by_every_exact_rung() -> None:
    def op(xp: Any, x: Any, w: Any) -> Any:
        hidden, hidden_back = xp.run(ops.linear_no_bias, x, w)
        y, back = xp.run(ops.softmax, xp.tanh(hidden))

        def pullback(dy: Any) -> Any:
            dx, dw = hidden_back(back(dy)[0] * (1 - xp.tanh(hidden) ** 2))
            return dx, dw

        return y, pullback

    report = verify(op, [X, W], rungs=["complex_step", *EXACT])
    assert {row.verdict for row in report.rows} == {Verdict.PASS}, report


RECTIFIED: dict[str, Callable[[Any, Any], Any]] = {
    "xp.maximum": lambda xp, x: xp.maximum(x, 0),
    "np.maximum": lambda xp, x: np.maximum(x, 0),
    "np.where": lambda xp, x: np.where(x > 0, x, 0),
    "np.clip": lambda xp, x: np.clip(x, 0, None),
    "a float": lambda xp, x: np.fmax(0.0, x),
}


@pytest.mark.parametrize("factor", [2, 2 + 1e-9])
@pytest.mark.parametrize("way", RECTIFIED)
def test_a_root_of_what_may_be_a_number_of_python(way: str, factor: float) -> None:
    """y = max(x, 0)^2, whose gradient as 2 sqrt(y) needs the identity sqrt(a^2) = a; NumPy leaves the 0 as it is."""

    def op(xp: Any, x: Any) -> Any:
        y = RECTIFIED[way](xp, x) ** 2
        return y, lambda dy: (factor * dy * xp.sqrt(y),)

    rows = {row.rung: row for row in verify(op, [X], rungs=["complex_step", *EXACT, "proof"]).rows}
    if factor == 2:
        for rung in ("finite_field", "proof"):
            assert rows[rung].verdict is Verdict.INCONCLUSIVE
            assert rows[rung].detail.startswith("right on real numbers")
        assert rows["certified"].verdict is rows["complex_step"].verdict is Verdict.PASS
    else:
        assert {row.verdict for row in rows.values()} == {Verdict.FAIL}


def test_an_op_that_takes_arrays_of_numpys_own_class_alone_is_decided_by_the_exact_rungs() -> None:
    def op(xp: Any, x: Any) -> Any:
        if type(x) is not np.ndarray:
            raise TypeError("x: expected an array")
        return x * x, lambda dy: (2 * dy * x,)

    report = verify(op, [X], rungs=["complex_step", *EXACT])
    assert {row.verdict for row in report.rows} == {Verdict.PASS}, report


def test_a_branch_that_the_field_takes_by_chance_is_no_mistake() -> None:
    """sin(x) / x, near zero by series of one order in value and derivative: the field has an order of its own, takes
    them at some seeds and finds a term too many; balls lack a sine, and cannot be asked."""

    def sinc(xp: Any, x: Any) -> Any:
        if x.ndim != 1 or len(x) != 1:
            raise ValueError("x: expected one number")
        if x[0] < 1e-3:
            value, slope = 1 - x * x / 6, -x / 3 + x * x * x / 30
        else:
            value = np.sin(x) / x
            slope = (np.cos(x) - value) / x
        return value, lambda dy: (dy * slope,)

    rows = [verify(sinc, [np.array([0.7])], rungs=["finite_field"], seed=seed).rows[0] for seed in range(12)]
    assert {row.verdict for row in rows} == {Verdict.INCONCLUSIVE}
    assert any(row.detail.startswith("not the derivative there, where any order") for row in rows)
    assert any("type FieldElement which has no callable sin" in row.detail for row in rows)


@pytest.mark.parametrize("rung", EXACT)
def test_an_entry_that_counts_for_nothing_beside_the_largest_is_no_rounding(rung: str) -> None:
    def op(xp: Any, x: Any, scale: Any) -> Any:
        wrong = np.array([1.0, 1.0, 1.5]) if spoil else np.ones(3)
        return x * x * scale, lambda dy: (2 * x * scale * dy * wrong, x * x * dy)

    args = [X[0, :3], np.array([1.0, 2.0, 1e-30])]
    spoil = False
    assert not verify(op, args, rungs=[rung]).failures
    spoil = True
    assert [row.argument for row in verify(op, args, rungs=[rung]).failures] == ["x"]


@pytest.mark.parametrize("rung", EXACT)
def test_a_term_that_is_small_here_alone_is_no_rounding(rung: str) -> None:
    def op(xp: Any, x: Any) -> Any:
        return x + xp.exp(5 * x), lambda dy: (dy,)

    (row,) = verify(op, [np.array([[-8.0, -9.0]])], rungs=[rung]).rows
    assert row.verdict is Verdict.FAIL


def test_how_far_off_is_in_the_message() -> None:
    (failure,) = verify(wrong_by(1.001), [X, W], rungs=["complex_step"]).failures
    assert failure.error == pytest.approx(1e-3, rel=1e-6)
    assert "off by 0.001 of the largest entry" in failure.detail
    assert "worst at [" in failure.detail


def test_value_against_a_definition() -> None:
    assert verify(cubic, [X, W], definition=cubic_definition, rungs=["value"]).ok
    wrong = verify(cubic, [X, W], definition=lambda x, w: cubic_definition(x, [w[1], w[0]]), rungs=["value"])
    assert wrong.failures[0].argument == "y"
    shape = verify(cubic, [X, W], definition=lambda x, w: cubic_definition(x[1:], w), rungs=["value"])
    assert "shape (3, 2)" in shape.failures[0].detail
    (missing,) = verify(cubic, [X, W], rungs=["value"]).rows
    assert missing.verdict is Verdict.INCONCLUSIVE
    assert "definition" in missing.detail


def test_the_value_is_held_to_the_twin() -> None:
    def off(xp: Any, x: Any, w: Any) -> Any:
        y, pullback = cubic(xp, x, w)
        return y + 1e-6, pullback

    rows = rows_of(verify(off, [X, W], twin=cubic_twin, rungs=["pytorch"]))
    assert {name: row.verdict for name, row in rows.items()} == {
        "y": Verdict.FAIL,
        "x": Verdict.PASS,
        "w": Verdict.PASS,
    }


@pytest.mark.parametrize("rung", ["complex_step", "differences"])
@pytest.mark.parametrize("seed", range(6))
def test_two_entries_exchanged_among_hundreds(rung: str, seed: int) -> None:
    def swapped(xp: Any, x: Any) -> Any:
        def pullback(dy: Any) -> Any:
            dx = 2 * x * dy
            dx[3, 4], dx[20, 30] = dx[20, 30], dx[3, 4]
            return (dx,)

        return x * x, pullback

    assert verify(swapped, [RNG.normal(size=(25, 32))], rungs=[rung], seed=seed).failures


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize("columns", [3, 2])
def test_a_definition_of_several_results(kind: Callable[[Any], Any], columns: int) -> None:
    """As the op may, it returns a tuple or a list of them, of shapes that may be one or not."""

    def op(xp: Any, x: Any) -> Any:
        return kind((2 * x, x[:, :columns])), lambda dy: (2 * dy[0] + np.pad(dy[1], ((0, 0), (0, 3 - columns))),)

    def definition(x: Any) -> Any:
        return kind(([[2 * entry for entry in row] for row in x], [row[:columns] for row in x]))

    x = np.arange(6.0).reshape(2, 3)
    (row,) = verify(op, [x], definition=definition, rungs=["value"]).rows
    assert row.verdict is Verdict.PASS, row
    (row,) = verify(op, [x + 1], definition=lambda x: definition(x)[::-1], rungs=["value"]).rows
    assert row.verdict is Verdict.FAIL


def test_a_definition_gets_plain_lists() -> None:
    def definition(x: Any, *, mask: Any, labels: Any) -> Any:
        assert isinstance(x, list)
        assert isinstance(mask, list)
        assert labels == [1, 0, 1]
        return [[a * b for a, b in zip(row, m, strict=True)] for row, m in zip(x, mask, strict=True)]

    def masked(xp: Any, x: Any, *, mask: Any, labels: Any) -> Any:
        return x * mask, lambda dy: (dy * mask,)

    kwargs = {"mask": np.abs(X), "labels": np.array([1, 0, 1])}
    assert verify(masked, [X], kwargs=kwargs, definition=definition, rungs=["value"]).ok


def test_adjoint_is_exact_for_linear_ops() -> None:
    report = verify(ops.linear, [X, W, RNG.normal(size=2)], rungs=["adjoint"])
    assert [row.verdict for row in report.rows] == [Verdict.PASS] * 3


def test_adjoint_fails_a_permutation_that_is_put_back_wrongly() -> None:
    def transposed(xp: Any, x: Any) -> Any:
        return xp.permute_dims(x, (1, 2, 0)) + 0, lambda dy: (xp.permute_dims(dy, (1, 2, 0)) + 0,)

    report = verify(transposed, [RNG.normal(size=(3, 3, 3))], rungs=["adjoint"])
    assert report.failures[0].argument == "x"


def test_adjoint_says_when_an_op_is_not_linear() -> None:
    (row,) = verify(ops.gelu, [X], rungs=["adjoint"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "not linear" in row.detail


@pytest.mark.parametrize("slope", [1e7, 1e9])
def test_differences_do_not_judge_what_they_cannot_resolve(slope: float) -> None:
    """The first bend is wider than the narrowest step, and no kink; the second is narrower."""

    def step(xp: Any, x: Any) -> Any:
        t = xp.tanh(slope * x)
        return t, lambda dy: (dy * slope * (1 - t * t),)

    (row,) = verify(step, [np.array([1 / slope, -2 / slope])], rungs=["differences"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "uncertain" in row.detail


@pytest.mark.parametrize("size", [1e11, 1e200, 1e300])
def test_differences_do_not_judge_where_the_step_is_rounded_away(size: float) -> None:
    """x + 5e-4 is x there: a quotient of 0 says nothing about a right gradient."""

    def double(xp: Any, x: Any) -> Any:
        return 2 * x, lambda dy: (2 * dy,)

    (row,) = verify(double, [size * X], rungs=["differences"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "uncertain" in row.detail
    assert verify(double, [size * X], rungs=["differences", "elsewhere", "complex_step"]).decided


def test_a_bend_that_narrower_steps_resolve_is_judged() -> None:
    def step(xp: Any, x: Any) -> Any:
        t = xp.tanh(1e5 * x)
        return t, lambda dy: (dy * factor * 1e5 * (1 - t * t),)

    for factor, verdict in ((1, Verdict.PASS), (1 + 1e-9, Verdict.FAIL)):
        (row,) = verify(step, [np.array([1e-5, -2e-5])], rungs=["differences"]).rows
        assert row.verdict is verdict, (factor, row)


def test_complex_step_refuses_absolute_values() -> None:
    def absolute(xp: Any, x: Any) -> Any:
        return xp.abs(x), lambda dy: (dy * xp.sign(x),)

    report = verify(absolute, [X], rungs=["complex_step", "finite_field"])
    assert {row.verdict for row in report.rows} == {Verdict.INCONCLUSIVE}
    assert not report.ok
    assert report.unproved == [("absolute", "", "x")]
    assert "none of differences, complex step and finite field gives a PASS" in str(report)


def test_complex_step_sees_a_lost_imaginary_part() -> None:
    def real_part(xp: Any, x: Any) -> Any:
        return np.real(x) * 2.0, lambda dy: (2.0 * dy,)

    (row,) = verify(real_part, [X], rungs=["complex_step"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "imaginary" in row.detail


def test_many_entries_are_checked_along_directions() -> None:
    big = RNG.normal(size=(40, 40))
    for rung in ("complex_step", "differences"):
        assert verify(ops.gelu, [big], rungs=[rung]).ok
        report = verify(wrong_by(1.001), [big, big[:2]], rungs=[rung])
        assert [row.argument for row in report.failures] == ["x"]
        assert "direction" in report.failures[0].detail


def test_elsewhere_names_the_place() -> None:
    def blocked(xp: Any, x: Any) -> Any:
        return x * x, lambda dy: (2 * x * dy * (1.5 if len(x) > 128 else 1),)

    (row,) = verify(blocked, [X], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL
    assert "with size 131 in place of 3: the gradient is off by" in row.detail


def test_elsewhere_names_the_constant_that_another_size_may_spoil() -> None:
    def scaled(xp: Any, x: Any, scales: Any) -> Any:
        return x * np.diag(scales), lambda dy: (dy @ scales,)

    (row,) = verify(scaled, [X], kwargs={"scales": np.diag([1.0, 2, 3, 4])}, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "with size 5 in place of 4, which may spoil the constant scales: the gradient is off by" in row.detail


def labels_of_every_kind() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """A right cross-entropy that counts its labels, with three of them from wherever an op may have them."""

    def loss(xp: Any, x: Any, labels: Any) -> Any:
        shifted = x - x.max(axis=-1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        rows = np.arange(len(labels))

        def pullback(dy: Any) -> Any:
            gradient = np.exp(logs)
            gradient[rows, labels] -= 1
            return (dy * gradient / len(labels),)

        return -logs[rows, labels].mean(), pullback

    class Loss:
        def __init__(self) -> None:
            self.labels = np.array([0, 3, 2])

        def __call__(self, xp: Any, x: Any) -> Any:
            return loss(xp, x, self.labels)

        def method(self, xp: Any, x: Any) -> Any:
            return loss(xp, x, self.labels)

    labels = [0, 3, 2]
    return {
        "list": (loss, {"labels": labels}),
        "tuple": (loss, {"labels": (0, 3, 2)}),
        "range": (loss, {"labels": range(3)}),
        "partial": (functools.partial(loss, labels=np.array(labels)), {}),
        "closure": (lambda xp, x: loss(xp, x, labels), {}),
        "global": (lambda xp, x: loss(xp, x, LABELS), {}),
        "object": (Loss(), {}),
        "method": (Loss().method, {}),
    }


LABELS = np.array([0, 3, 2])


@pytest.mark.parametrize("kind", labels_of_every_kind())
def test_elsewhere_blames_no_op_for_labels_that_it_cannot_repeat(kind: str) -> None:
    op, kwargs = labels_of_every_kind()[kind]
    x = np.random.default_rng(0).normal(size=(3, 5))
    (row,) = verify(op, [x], kwargs=kwargs, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert re.search("with size 4 in place of 3, which may spoil the constant (labels|LABELS)", row.detail)


def test_elsewhere_says_where_indices_that_differ_are_repeated() -> None:
    """The gradient is right for rows that differ, as those of an embedding do not always."""

    def rows(xp: Any, x: Any, chosen: Any) -> Any:
        def back(dy: Any) -> Any:
            dx = np.zeros_like(x)
            dx[chosen] = dy
            return (dx,)

        return x[chosen], back

    (row,) = verify(rows, [X], kwargs={"chosen": np.array([2, 0])}, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL
    assert row.detail.startswith("with size 3 in place of 2, where chosen repeats its entries: the gradient is off by")


def test_elsewhere_names_a_number_that_is_the_size() -> None:
    def mean(xp: Any, x: Any, rows: int) -> Any:
        return x.mean(0), lambda dy: (np.repeat(dy[None], len(x), axis=0) / rows,)

    (row,) = verify(mean, [X], kwargs={"rows": 3}, rungs=["elsewhere"]).rows
    assert row.detail.startswith("with size 1 in place of 3, though rows is 3: the gradient is off by")


VOCABULARY = {f"word {i}": i for i in range(8)}


class Deep:
    def __init__(self, inside: Any) -> None:
        self.inside = inside


CHAIN: Any = None
for _ in range(2000):
    CHAIN = Deep(CHAIN)


def test_numbers_that_an_op_holds_in_containers_excuse_nothing() -> None:
    """Of a vocabulary or a configuration, one is always the size; and what is deep is not looked for without end."""

    def op(xp: Any, x: Any, heads: int = 4) -> Any:
        assert VOCABULARY
        assert CHAIN
        return 2 * x, lambda dy: ((4 if len(x) > 100 else 2) * dy,)

    (row,) = verify(op, [np.ones((4, 3)) + np.arange(3)], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL, row
    assert row.detail.startswith("with size 131 in place of 4: the gradient is off by")


def test_sizes_that_are_left_out_since_arrays_would_be_large_are_named() -> None:
    def tanh(xp: Any, x: Any) -> Any:
        y = xp.tanh(x)
        return y, lambda dy: ((2 if len(x) > 20 else 1) * dy * (1 - y * y),)

    sizes = "131 in place of 8, 1031 in place of 8, 131 in place of 64, 1031 in place of 64"
    (row,) = verify(tanh, [np.ones((8, 64, 64))], rungs=["elsewhere"], seconds=60).rows
    assert row.verdict is Verdict.PASS, row
    assert row.detail.endswith(f" kinds of inputs, without sizes {sizes}: arrays of more than 65,536 entries")
    (row,) = verify(tanh, [np.ones((8, 3))], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL


class Reduction(enum.Enum):
    NONE = 0
    MEAN = 1
    SUM = 2


class Registry:
    names = ("none", "mean", "sum")
    unread = mean = shape = (0.485, 0.456, 0.406)

    def get(self, name: str) -> str:
        return next(known for known in self.names if known == name)

    def another(self, mean: Any = (0.485, 0.456, 0.406)) -> Any:
        return self.unread, mean


NAMES = ["none", "mean", "sum"]


@pytest.mark.parametrize("way", ["enum", "class", "list"])
def test_names_and_what_is_never_read_excuse_no_mistake(way: str) -> None:
    """Each is as long as the axis of three, of which the divisor is written into the pullback."""

    def op(xp: Any, x: Any) -> Any:
        if way == "enum":
            assert Reduction.MEAN.value == 1
        elif way == "class":
            assert Registry().get("mean") == "mean"
        else:
            assert "mean" in NAMES
        return np.mean((x * x), -1) + 0 * x.mean(), lambda dy: (2 * x * dy[..., None] / 3,)

    (row,) = verify(op, [np.random.default_rng(0).normal(size=(5, 3))], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL, row


def test_elsewhere_still_judges_the_other_sizes_of_an_op_with_a_list() -> None:
    def blocked(xp: Any, x: Any, axes: Any) -> Any:
        y = x.sum(axis=tuple(axes))
        return y, lambda dy: (np.broadcast_to(dy, x.shape) * (1.5 if x.shape[1] > 128 else 1),)

    (row,) = verify(blocked, [X], kwargs={"axes": [0, 1]}, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL


@pytest.mark.parametrize("axes", [(0, 1), (-1, 0)])
def test_elsewhere_takes_a_tuple_of_axes_for_no_labels(axes: tuple[int, ...]) -> None:
    """There are as many axes as rows, of which more than 128 are wrong: the tuple is no excuse."""

    def blocked(xp: Any, x: Any, axes: Any) -> Any:
        y = x.sum(axis=axes)
        return y, lambda dy: (np.broadcast_to(dy, x.shape) * (1.5 if x.shape[0] > 128 else 1),)

    (row,) = verify(blocked, [X[:2]], kwargs={"axes": axes}, rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL


def test_elsewhere_blames_no_argument_for_the_mistake_of_another() -> None:
    """Arguments of one shape are made equal in part and moved together; a mistake in neither alone is one in both."""

    def product(xp: Any, a: Any, b: Any) -> Any:
        return a * b, lambda dy: (dy * b, 2 * dy * a)

    def larger(xp: Any, a: Any, b: Any) -> Any:
        y = xp.maximum(a, b)
        return y, lambda dy: (dy * xp.astype(a == y, y.dtype), dy * xp.astype(b == y, y.dtype))

    for op, expected in ((product, {"b"}), (larger, {"a", "b"})):
        report = verify(op, [X[0], X[1]], rungs=["elsewhere"])
        assert {row.argument for row in report.failures} == expected


def test_elsewhere_takes_any_gradient_between_the_slopes_of_a_kink() -> None:
    def relu(xp: Any, x: Any) -> Any:
        return np.maximum(x, 0), lambda dy: (dy * np.where(x == 0, at_zero, x > 0).astype(x.dtype),)

    for at_zero, verdict in ((0, Verdict.PASS), (0.5, Verdict.PASS), (1, Verdict.PASS), (1.5, Verdict.FAIL)):
        (row,) = verify(relu, [X], rungs=["elsewhere"]).rows
        assert row.verdict is verdict, (at_zero, row)
    assert "with zeros: the gradient is" in row.detail


def test_elsewhere_keeps_in_order_what_is_in_order() -> None:
    """And still has ties in it: a wrong gradient at these is seen in entries that increase."""

    def times_in_order(xp: Any, t: Any) -> Any:
        assert np.all(np.diff(t) >= 0)
        return np.diff(t) ** 2, lambda dy: (np.diff(2 * dy * np.diff(t), prepend=0, append=0) * -1,)

    def maximum(xp: Any, x: Any) -> Any:
        return x.max(1), lambda dy: (dy[:, None] * (x == x.max(1, keepdims=True)),)

    (row,) = verify(times_in_order, [np.array([0.2, 0.5, 1.1, 1.6])], rungs=["elsewhere"]).rows
    assert (row.verdict, row.detail) == (Verdict.PASS, "14 other kinds of inputs")
    (row,) = verify(maximum, [np.linspace(-1, 1.1, 12).reshape(3, 4)], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.FAIL
    assert "ties along the last axis" in row.detail


def test_elsewhere_tries_no_size_that_takes_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vipnp.verify.rungs.places.MEMORY", 2**22)
    seen = set()

    def third_moments(xp: Any, x: Any) -> Any:
        seen.add(len(x))
        y = np.einsum("i,j,k->ijk", x, x, x)
        return y, lambda dy: (sum(np.einsum(f"{i}, j, k->i", dy, x, x) for i in ("ijk", "jik", "jki")),)

    (row,) = verify(third_moments, [X[0]], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.PASS
    assert 8 <= max(seen) <= 64


def test_elsewhere_leaves_out_what_an_op_warns_of(recwarn: pytest.WarningsRecorder) -> None:
    def warns(xp: Any, x: Any) -> Any:
        if np.any(x == 0):
            warnings.warn("did not converge", RuntimeWarning, stacklevel=2)
        return x * x, lambda dy: (2 * x * dy + (x == 0),)

    assert verify(warns, [X], rungs=["elsewhere"]).rows[0].verdict is Verdict.PASS
    assert not recwarn.list


def test_elsewhere_leaves_out_what_an_op_is_not_made_for() -> None:
    def of_these_sizes(xp: Any, x: Any) -> Any:
        y = np.log(x.reshape(3, 4))
        return y, lambda dy: (dy / x,)

    (row,) = verify(of_these_sizes, [np.abs(X) + 1], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.PASS
    assert row.detail == "13 other kinds of inputs"

    def of_these_inputs(xp: Any, x: Any) -> Any:
        if not np.array_equal(x, X):
            raise ValueError("other inputs")
        return x * x, lambda dy: (2 * x * dy,)

    (row,) = verify(of_these_inputs, [X], rungs=["elsewhere"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.detail == "the op takes no other sizes and no other values"


def test_what_elsewhere_found_counts_also_without_time_for_the_rest() -> None:
    def slow_beyond_1000_rows(xp: Any, x: Any) -> Any:
        if len(x) > 1000:
            time.sleep(3)
        return x * x, lambda dy: (2 * x * dy * (1.5 if len(x) > 128 else 1),)

    (row,) = verify(slow_beyond_1000_rows, [X], rungs=["elsewhere"], seconds=2).rows
    assert row.verdict is Verdict.FAIL
    assert row.detail.startswith("with size 131 in place of 3: the gradient is off by ")


def test_an_argument_without_a_fault_is_open_where_the_time_did_not_suffice() -> None:
    def one_is_wrong(xp: Any, x: Any, s: Any) -> Any:
        if len(x) > 1000:
            time.sleep(3)
        return x * s, lambda dy: (dy * s * (1.5 if len(x) > 128 else 1), np.sum(dy * x))

    x, s = verify(one_is_wrong, [X, np.array(0.5)], rungs=["elsewhere"], seconds=2).rows
    assert x.verdict is Verdict.FAIL
    assert s.verdict is Verdict.INCONCLUSIVE
    assert s.detail.endswith("other kinds of inputs, not all in time")


def test_arrays_of_one_name_are_called_by_those_of_their_dicts() -> None:
    """A PASS of one covered the other."""

    def sum_of_two(xp: Any, x: Any, first: Any, second: Any) -> Any:
        return x @ first["w"] + np.sum(np.abs(second["w"])), lambda dy: (
            dy @ first["w"].T,
            {"w": x.T @ dy},
            {"w": 7 * np.sum(dy) * np.sign(second["w"])},
        )

    report = verify(sum_of_two, [X, {"w": X.T}, {"w": X}], rungs=["contract", "differences"])
    assert [argument for _, _, argument in report.unproved] == ["second.w"]
    assert {row.argument for row in report.rows} == {"x", "first.w", "second.w"}


def test_proof_is_not_tried_on_large_shapes() -> None:
    (row,) = verify(ops.gelu, [RNG.normal(size=(5, 5))], rungs=["proof"]).rows
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "25 symbols" in row.detail


def test_certified_bound_on_rounding() -> None:
    report = verify(ops.layer_norm, [X, W[0], W[1]], rungs=["certified"])
    assert report.ok
    assert all(row.error is not None and 0 < row.error <= 16 for row in report.rows)

    def rounded(xp: Any, x: Any) -> Any:
        y, back = ops.gelu(xp, x)
        return y, lambda dy: ((back(dy)[0] + 1e3) - 1e3,)

    (failure,) = verify(rounded, [X], rungs=["certified"]).failures
    assert failure.bound == 16
    assert failure.error is not None
    assert failure.error > 16


def test_hard_inputs_are_held_to_pytorch_and_decided_by_the_field() -> None:
    from vipnp.audit import torch_twins

    x = 1000 + RNG.normal(size=(3, 5))
    args = [x, np.array([0.5, 1.5, -1.0, 1.0, 0.7]), RNG.normal(size=5)]
    easy = verify(ops.layer_norm, args, twin=torch_twins.layer_norm)
    assert "pytorch" in {row.rung for row in easy.failures}
    assert {row.verdict for row in easy.rows if row.rung == "complex_step"} == {Verdict.PASS, Verdict.INCONCLUSIVE}
    hard = verify(ops.layer_norm, args, twin=torch_twins.layer_norm, hard=True)
    assert hard.ok, str(hard)
    assert {row.verdict for row in hard.rows if row.rung == "finite_field"} == {Verdict.PASS}
    assert any("PyTorch" in row.detail for row in hard.rows if row.rung == "certified")


# --- the contract -----------------------------------------------------------------------------------------------------


def gelu_with(change: Callable[..., Any]) -> Callable[..., Any]:
    """GELU whose pullback goes through `change(xp, x, dy, right_pullback)`."""

    def op(xp: Any, x: Any) -> Any:
        y, right = ops.gelu(xp, x)
        return y, lambda dy: change(xp, x, dy, right)

    return op


def contract_failure(op: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    report = verify(op, list(args) or [X], kwargs=kwargs, rungs=["contract"])
    assert not report.ok
    return "; ".join(row.detail for row in report.failures)


def test_contract_passes_every_clause() -> None:
    report = verify(ops.gelu, [X], rungs=["contract"])
    assert report.ok
    assert f"{len(CLAUSES)} clauses hold" in report.rows[0].detail


def test_writing_to_the_cotangent() -> None:
    def change(xp: Any, x: Any, dy: Any, right: Any) -> Any:
        result = right(dy)
        dy[...] = 0
        return result

    assert "writes to the cotangent" in contract_failure(gelu_with(change))


def test_writing_to_an_input() -> None:
    def change(xp: Any, x: Any, dy: Any, right: Any) -> Any:
        result = right(dy)
        x[...] = 0
        return result

    assert "the pullback writes to x" in contract_failure(gelu_with(change))


def test_writing_to_a_constant() -> None:
    def op(xp: Any, x: Any, *, mask: Any) -> Any:
        mask[0] = 1
        return x * mask, lambda dy: (dy * mask,)

    assert "the op writes to constant mask" in contract_failure(op, X, mask=np.array([0.5, 2, 3, 4]))


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: rows[0].append(1),
        lambda rows: operator.setitem(rows[0], 0, 9),
        lambda rows: operator.setitem(rows, 0, rows[1]),
    ],
    ids=["append", "entry", "row"],
)
def test_lists_in_an_array_of_objects_are_looked_at_too(write: Callable[[Any], Any]) -> None:
    def op(xp: Any, x: Any, *, rows: Any) -> Any:
        write(rows)
        return 2 * x, lambda dy: (2 * dy,)

    rows = np.empty(2, object)
    rows[:] = [[1, 2], [3]]
    assert "the op writes to constant rows" in contract_failure(op, X, rows=rows)


def test_state_between_calls() -> None:
    calls: list[int] = []

    def change(xp: Any, x: Any, dy: Any, right: Any) -> Any:
        calls.append(1)
        return (right(dy)[0] * len(calls),)

    assert "a second call of the pullback" in contract_failure(gelu_with(change))


def test_state_in_the_forward_pass() -> None:
    calls: list[int] = []

    def op(xp: Any, x: Any) -> Any:
        calls.append(1)
        return x * len(calls), lambda dy: (dy * len(calls),)

    assert "another y" in contract_failure(op)


def test_what_the_contract_found_counts_also_without_time_for_the_rest() -> None:
    def slow(xp: Any, x: Any) -> Any:
        time.sleep(0.1)
        x *= 2
        return x * x, lambda dy: (2 * x * dy,)

    (row,) = verify(slow, [X], rungs=["contract"], seconds=0.7).rows
    assert row.verdict is Verdict.FAIL
    assert "the op writes to x" in row.detail


def test_a_buffer_used_again() -> None:
    buffer = np.empty((3, 4))

    def op(xp: Any, x: Any) -> Any:
        if x.dtype != np.float64:
            return ops.gelu(xp, x)
        np.multiply(x, 2.0, out=buffer)
        return buffer, lambda dy: (2 * dy,)

    assert "changes the y it returned before" in contract_failure(op)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda xp, x, dy, right: (xp.abs(right(dy)[0]),), "pullback(-1 dy) is not -1 pullback(dy)"),
        (lambda xp, x, dy, right: (right(dy)[0] + 1e-9,), "pullback(2 dy) is not 2 pullback(dy)"),
        (lambda xp, x, dy, right: (right(dy)[0].astype(np.float32),), "gradient of dtype float32"),
        (lambda xp, x, dy, right: (right(dy)[0].astype(np.float64),), "float32 arguments give a gradient of dtype"),
        (lambda xp, x, dy, right: (x,), "the gradient of x shares memory with x"),
        (lambda xp, x, dy, right: (right(dy)[0] / 0 * 0,), "not finite"),
        (lambda xp, x, dy, right: (right(dy)[0].ravel("K").reshape(x.shape),), "Fortran-ordered arrays give another"),
    ],
)
def test_broken_clauses(change: Callable[..., Any], message: str) -> None:
    assert message in contract_failure(gelu_with(change))


def first_gradient_for_ever() -> Callable[..., Any]:
    """A pullback that keeps its first gradient, whatever cotangent comes later."""

    def op(xp: Any, x: Any) -> Any:
        y, right = ops.gelu(xp, x)
        kept: list[Any] = []

        def pullback(dy: Any) -> Any:
            if not kept:
                kept.append(right(dy))
            return (kept[0][0].copy(),)

        return y, pullback

    return op


def test_a_pullback_that_remembers_its_first_cotangent() -> None:
    assert "with another cotangent, gives another gradient" in contract_failure(first_gradient_for_ever())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda dy: np.clip(dy, -1e3, 1e3), "pullback(2^60 dy) is not 2^60 pullback(dy)"),
        (lambda dy: dy * (np.abs(dy) > 1e-9), "pullback(2^-60 dy) is not 2^-60 pullback(dy)"),
        (lambda dy: dy + dy.max() * (dy == 0), "for a = dy with every second entry zero"),
        (lambda dy: 2 * dy if np.count_nonzero(dy) == 1 else dy, "for a = dy with all entries but one zero"),
        (lambda dy: 2 * dy if np.ptp(dy) > 1e6 * np.abs(dy).min() > 0 else dy, "for a = dy of 2^-40 to 2^40"),
        (lambda dy: dy if dy.strides[0] else 2 * dy, "a cotangent of stride 0"),
    ],
)
def test_cotangents_of_every_kind(spoil: Callable[[Any], Any], message: str) -> None:
    assert message in contract_failure(gelu_with(lambda xp, x, dy, right: right(spoil(dy))))


def test_a_mistake_in_float32_alone() -> None:
    def value(xp: Any, x: Any) -> Any:
        y, right = ops.gelu(xp, x)
        return y * (1 if x.dtype == np.float64 else np.float32(1.0001)), right

    assert "y in float32 is off that in float64 by 0.0001 of its largest entry" in contract_failure(value)

    def gradient(xp: Any, x: Any, dy: Any, right: Any) -> Any:
        return (right(dy)[0].astype(np.float16).astype(dy.dtype) if dy.dtype == np.float32 else right(dy)[0],)

    assert "the gradient in float32 is off" in contract_failure(gelu_with(gradient))


def test_a_slope_of_python_numbers_makes_float64_of_float32() -> None:
    def slope(xp: Any, x: Any) -> Any:
        slope = np.where(x > 0, 1, 0.1)
        return x * slope, lambda dy: (dy * slope,)

    def chosen(xp: Any, x: Any) -> Any:
        up = x > 0
        return np.where(up, x, 0.1 * x), lambda dy: (np.where(up, dy, 0.1 * dy),)

    message = contract_failure(slope)
    assert "float32 arguments give y of dtype float64; float32 arguments give a gradient of dtype float64" in message
    assert verify(chosen, [X], rungs=["contract", "differences"]).decided


def test_an_op_that_returns_its_input() -> None:
    assert "y shares memory with x" in contract_failure(lambda xp, x: (x, lambda dy: (dy + 0,)))


def test_two_gradients_in_one_piece_of_memory() -> None:
    def add(xp: Any, a: Any, b: Any) -> Any:
        return a + b, lambda dy: (dy, dy)

    assert "the gradients of a and b share memory" in contract_failure(add, X, X + 1)


def test_one_shot_only_where_declared() -> None:
    def op(xp: Any, x: Any) -> Any:
        used: list[int] = []

        def pullback(dy: Any) -> Any:
            if used:
                raise RuntimeError("one-shot")
            used.append(1)
            return (2 * dy,)

        return 2 * x, pullback

    assert verify(op, [X], one_shot=True, rungs=["contract"]).ok
    assert "RuntimeError" in contract_failure(op)

    def twice(xp: Any, x: Any) -> Any:
        return 2 * x, lambda dy: (2 * dy,)

    assert verify(twice, [X], rungs=["contract"]).ok
    (failure,) = verify(twice, [X], one_shot=True, rungs=["contract"]).failures
    assert "declared one-shot but can be called twice" in failure.detail


def test_without_docstrings_the_library_is_as_right_as_with_them() -> None:
    """python -OO drops docstrings: no verdict hangs on one."""
    program = (
        "from vipnp.audit.audit import audit; print(audit(ops=['stage/masks', 'gelu'], rungs=['contract']).totals)"
    )
    done = subprocess.run(
        [sys.executable, "-OO", "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    totals = ast.literal_eval(done.stdout)
    assert totals["PASS"] > 1
    assert totals["FAIL"] == 0


def test_saves_are_held_to_the_docstring() -> None:
    def op(xp: Any, x: Any, weight: Any) -> Any:
        """y = x weight^T.

        x (M, C); weight (K, C).

        Saves: x (M, C), weight (K, C).
        """
        extra = x + 1

        def pullback(dy: Any) -> Any:
            return dy @ weight, dy.T @ (x if keep else extra - 1)

        return x @ weight.T, pullback

    keep = True
    report = verify(op, [X, W], rungs=["contract"])
    (saved,) = [row for row in report.rows if row.argument == "saved"]
    assert saved.verdict is Verdict.FAIL
    assert "the closure holds 32 numbers, the docstring declares 20" in saved.detail
    assert op.__doc__ is not None
    op.__doc__ = op.__doc__.replace("Saves: x (M, C)", "Saves: x (M, C), x + 1 (M, C)")
    assert verify(op, [X, W], rungs=["contract"]).ok
    op.__doc__ = op.__doc__.replace("(M, C), x + 1 (M, C)", "as it comes")
    (saved,) = [row for row in verify(op, [X, W], rungs=["contract"]).rows if row.argument == "saved"]
    assert saved.verdict is Verdict.PASS or saved.verdict is Verdict.FAIL
    op.__doc__ = "Saves: something."
    (saved,) = [row for row in verify(op, [X, W], rungs=["contract"]).rows if row.argument == "saved"]
    assert saved.verdict is Verdict.INCONCLUSIVE


class Kept:
    """A pullback with slots."""

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __call__(self, dy: Any) -> Any:
        return (2 * self.x * dy,)

    def back(self, dy: Any) -> Any:
        return self(dy)


def test_what_is_saved_is_found_in_any_kind_of_pullback() -> None:
    x = X.copy()
    exp = np.exp

    def with_functions(dy: Any, *, x: Any = x) -> Any:
        return (exp(dy * 0) * x * len(dy),)

    for pullback in (Kept(x), Kept(x).back, functools.partial(Kept.back, Kept(x)), with_functions, [x].__getitem__):
        arrays = closure_arrays(pullback)
        assert arrays is not None
        assert [id(array) for array in arrays] == [id(x)]
    assert closure_arrays(operator.itemgetter(x)) is None


def test_rungs_run_in_the_order_of_the_ladder() -> None:
    report = verify(cubic, [X, W], rungs=["finite_field", "contract"])
    assert list(dict.fromkeys(row.rung for row in report.rows)) == ["contract", "finite_field"]
    assert next(iter(RUNGS)) == "contract"


# --- the complex step knows what it cannot decide ---------------------------------------------------------------------


def _forgets_the_norm(norm: Callable[[Any], Any]) -> Callable[..., Any]:
    """x / norm(x) with the gradient of the norm forgotten: wrong, whatever way the norm takes."""

    def op(xp: Any, x: Any) -> Any:
        n = norm(x)
        return x / n, lambda dy: (dy / n,)

    return op


NORMS: dict[str, Callable[[Any], Any]] = {
    "linalg.norm": lambda x: np.linalg.norm(x, axis=-1, keepdims=True),
    "abs": lambda x: np.sqrt((abs(x) ** 2).sum(-1, keepdims=True)),
    "np.abs": lambda x: np.sqrt((np.abs(x) ** 2).sum(-1, keepdims=True)),
    "conj": lambda x: np.sqrt((x.conj() * x).real.sum(-1, keepdims=True)),
    "real": lambda x: np.sqrt((x.real**2).sum(-1, keepdims=True)),
    "asarray": lambda x: np.sqrt((np.asarray(x).real ** 2).sum(-1, keepdims=True)),
    "np.real": lambda x: np.sqrt((np.real(x) ** 2).sum(-1, keepdims=True)),
    "vdot": lambda x: np.sqrt(np.array([[np.vdot(row, row)] for row in x]).real),
    "var": lambda x: np.sqrt(x.var(-1, keepdims=True)),
    "np.std": lambda x: np.std(x, -1, keepdims=True),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_function_that_is_not_analytic_hides_no_wrong_gradient(name: str) -> None:
    rungs = ["contract", "complex_step", "finite_field"]
    report = verify(_forgets_the_norm(NORMS[name]), [X], rungs=rungs)
    assert not report.ok
    (row,) = (row for row in report.rows if row.rung == "complex_step")
    assert row.verdict is not Verdict.PASS
    assert row.verdict is Verdict.FAIL or "imaginary part" in row.detail or "raised" in row.detail


def test_a_right_layer_norm_with_var_is_decided_by_differences() -> None:
    def layer_norm(xp: Any, x: Any) -> Any:
        rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
        xhat = (x - x.mean(axis=-1, keepdims=True)) * rstd

        def pullback(dy: Any) -> Any:
            means = [v.mean(axis=-1, keepdims=True) for v in (dy, dy * xhat)]
            return (rstd * (dy - means[0] - xhat * means[1]),)

        return xhat, pullback

    report = verify(layer_norm, [X], rungs=["contract", "differences", "complex_step", "finite_field"])
    assert report.ok
    assert report.decided
    (row,) = (row for row in report.rows if row.rung == "complex_step")
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "conjugate (as norms, var, std and vdot do)" in row.detail


@pytest.mark.parametrize(
    ("op", "slope"),
    [
        (lambda x: np.maximum(x, 0), lambda x: x > 0),
        (lambda x: np.where(x > 0.1, x, 0.5 * x), lambda x: np.where(x > 0.1, 1, 0.5).astype(x.dtype)),
        (lambda x: x / (1 + np.exp(-x)), lambda x: (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2),
        (lambda x: np.sin(x) * np.expm1(x), lambda x: np.cos(x) * np.expm1(x) + np.sin(x) * np.exp(x)),
        (lambda x: np.log1p(np.exp(x)) ** 1.5, lambda x: 1.5 * np.log1p(np.exp(x)) ** 0.5 / (1 + np.exp(-x))),
        (
            lambda x: np.arctan(x) / np.cosh(x),
            lambda x: 1 / ((1 + x * x) * np.cosh(x)) - np.arctan(x) * np.tanh(x) / np.cosh(x),
        ),
    ],
)
def test_right_ops_in_ordinary_numpy(op: Callable[[Any], Any], slope: Callable[[Any], Any]) -> None:
    def written(xp: Any, x: Any) -> Any:
        s = slope(x)
        return op(x), lambda dy: (dy * s,)

    report = verify(written, [X], rungs=["contract", "differences", "complex_step"])
    assert report.decided, report
    assert {row.verdict for row in report.rows if row.rung == "complex_step"} == {Verdict.PASS}


def test_not_checked_is_not_right() -> None:
    def wrong(xp: Any, x: Any) -> Any:
        return x * x, lambda dy: (3 * dy * x,)

    report = verify(wrong, [X], rungs=["contract"])
    assert not report.decided
    assert "nothing fails, but no gradient was checked" in str(report)
    assert not report.to_json()["decided"]


def test_ill_conditioned_inputs_are_no_mistake_and_a_formula_that_cancels_is() -> None:
    """Both are off by more than the bound, the first since rounding the inputs moves the exact gradient as far."""

    def steep(xp: Any, x: Any) -> Any:
        y = xp.exp(300 * x)
        return y, lambda dy: (300 * y * dy,)

    def cancelling(xp: Any, x: Any) -> Any:
        return x * x, lambda dy: (2 * ((x + 1e4) - 1e4) * dy,)

    (right,) = verify(steep, [X], rungs=["certified"]).rows
    assert right.error is not None
    assert right.error > 16
    assert right.verdict is Verdict.INCONCLUSIVE
    assert "rounding the inputs alone moves the gradient by" in right.detail
    (wrong,) = verify(cancelling, [X], rungs=["certified"]).rows
    assert wrong.verdict is Verdict.FAIL


def bias_before_a_norm(off: float = 0, lost: float = 0, *, zero: bool = False) -> Callable[..., Any]:
    """A batch norm, in which a bias before it cancels. Its gradient is `off` by a share, or `lost` is one of y in it;
    with `zero` it is nothing at all."""

    def op(xp: Any, x: Any, b: Any) -> Any:
        z, n = x + b, x.shape[0]
        centred = z - xp.sum(z, axis=0) / n
        r = 1 / xp.sqrt(xp.sum(centred * centred, axis=0) / n + 1e-5)
        h = centred * r

        def pullback(dy: Any) -> Any:
            dx = r * (dy - xp.sum(dy, axis=0) / n - h * (xp.sum(dy * h, axis=0) / n))
            db = 0 * b if zero else xp.sum(dx, axis=0)
            return dx, db + off * xp.sum(dy, axis=0)

        return h + lost * b, pullback

    return op


def twin_of_bias_before_a_norm(x: Any, b: Any) -> Any:
    from torch.nn.functional import batch_norm

    return batch_norm(x + b, None, None, training=True, eps=1e-5)


@pytest.mark.parametrize("rows", [5, 150])
@pytest.mark.parametrize("zero", [False, True])
def test_a_gradient_that_is_nothing_but_rounding_is_right(rows: int, zero: bool) -> None:
    """Relative to itself every digit of it is wrong."""
    x, b = (np.random.default_rng(4).normal(size=size) for size in ((rows, 4), 4))
    report = verify(bias_before_a_norm(zero=zero), [x, b], twin=twin_of_bias_before_a_norm)
    assert report.ok, report
    verdicts = {row.rung: row for row in report.rows if row.argument == "b"}
    for rung in ("complex_step", "finite_field", "pytorch"):
        assert verdicts[rung].verdict is Verdict.PASS
    assert "nothing but rounding of terms of about" in verdicts["complex_step"].detail


@pytest.mark.parametrize(("off", "lost"), [(1e-12, 0), (0, 1e-12), (0, 1e-10), (1e-8, 0)])
def test_a_gradient_that_is_more_than_rounding_is_not_taken_for_nothing(off: float, lost: float) -> None:
    x, b = (np.random.default_rng(4).normal(size=size) for size in ((5, 4), 4))
    report = verify(bias_before_a_norm(off, lost), [x, b], twin=twin_of_bias_before_a_norm)
    wrong = {row.rung for row in report.failures if row.argument == "b"}
    assert wrong >= {"complex_step", "finite_field", "certified"} | ({"pytorch"} if off else set())
