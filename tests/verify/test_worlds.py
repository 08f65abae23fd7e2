"""The number types: they are what they say, and the rules of differentiation hold on them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipnp.verify import verify
from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.rungs.noise import noise
from vipnp.verify.subject import Subject
from vipnp.verify.worlds.balls import BallNumbers, precision
from vipnp.verify.worlds.complex_step import ComplexStepBackend
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend, fill
from vipnp.verify.worlds.field import PRIME, FieldElement, FieldNumbers
from vipnp.verify.worlds.rational import OutOfKernelsError, RationalFunctions
from vipnp.verify.worlds.shaken import ShakenArray, shaking

residues = st.integers(1, PRIME - 1).map(FieldElement)
FAST = settings(max_examples=50, deadline=None, derandomize=True, database=None)


@FAST
@given(residues, residues, residues)
def test_field_is_a_field(a: FieldElement, b: FieldElement, c: FieldElement) -> None:
    assert (a + b) + c == a + (b + c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert a / b * b == a
    assert 1 / a * a == 1
    assert -a + a == FieldElement(0)
    assert a**3 == a * a * a
    assert (a < b) == (b > a)
    assert (a <= b) == (b >= a)


def test_field_takes_a_float_for_the_fraction_that_was_meant() -> None:
    assert FieldNumbers().of(0.75) * 4 == 3
    assert FieldElement(10) * 0.1 == 1
    assert FieldElement(3) * (1.0 / 3) == 1
    assert FieldElement(1) * 0.1 * 0.2 == FieldElement(1) * 0.02
    assert FieldElement(1) * (1 + 1e-8) != 1
    assert FieldElement(1) * (1 + 2**-52) != 1
    assert FieldElement(2**60) * 2.0**-60 == 1
    assert FieldNumbers().of(math.pi) == FieldNumbers().of(math.pi)


def test_field_functions_depend_on_their_argument_alone() -> None:
    a = FieldElement(12345)
    results = {a.exp(), a.log(), a.sqrt(), a.tanh(), FieldNumbers().ndtr(a)}
    assert len(results) == 5
    assert a.exp() == FieldElement(12345 + PRIME).exp()
    assert a.exp() != FieldElement(12346).exp()


def test_field_divides_by_zero_loudly() -> None:
    with pytest.raises(ZeroDivisionError):
        1 / FieldElement(0)


def polynomial(x: Any) -> Any:
    return (x * x - 3 / x + 0.5 * x) / (x + 2) - (1 - x) ** 3


@FAST
@given(residues)
def test_dual_numbers_differentiate_rational_functions(x: FieldElement) -> None:
    tangent = polynomial(DualNumbers(FieldNumbers()).element(x, FieldElement(1))).tangent
    numerator, denominator = x * x - 3 / x + 0.5 * x, x + 2
    by_hand = ((2 * x + 3 / (x * x) + 0.5) * denominator - numerator) / (denominator * denominator)
    assert tangent == by_hand + 3 * (1 - x) * (1 - x)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "ndtr"])
def test_dual_functions_on_balls(name: str) -> None:
    """Against a central difference of 10^-25 in 333 bits: good to about 10^-48."""
    with precision():
        numbers = BallNumbers()
        dual = DualNumbers(numbers)
        x, h = numbers.of(0.7), numbers.arb(10) ** -25

        def f(at: Any) -> Any:
            return numbers.ndtr(at) if name == "ndtr" else getattr(at, name)()

        lifted = dual.element(x, numbers.of(1.0))
        found = dual.ndtr(lifted) if name == "ndtr" else getattr(lifted, name)()
        slope = (f(x + h) - f(x - h)) / (2 * h)
        assert float(abs(found.tangent - slope).abs_upper()) < 1e-45
        assert found.value.overlaps(f(x))


def test_balls_know_the_normal_distribution() -> None:
    with precision():
        numbers = BallNumbers()
        assert float(numbers.ndtr(numbers.of(-10.0))) == pytest.approx(7.61985302416047e-24, rel=1e-14)
        assert float(numbers.constant("rsqrt_2pi")) == 1 / math.sqrt(2 * math.pi)


def test_precision_of_balls_is_put_back() -> None:
    import flint

    before = flint.ctx.prec
    with precision():
        assert flint.ctx.prec != before
    assert flint.ctx.prec == before


def test_rational_functions_prove_and_refute() -> None:
    numbers = RationalFunctions(2, 1)
    x, y = numbers.symbol(), numbers.symbol()
    assert not ((x * x - y * y) / (x - y) - (x + y)).content
    assert (x * y - x).content
    assert not (x.exp() / (x * 1).exp() - 1).content
    with pytest.raises(OutOfKernelsError):
        y.exp()


def test_exact_arrays_follow_numpy() -> None:
    backend = ExactBackend(FieldNumbers())
    rng = random.Random(0)
    x = fill((2, 3), (FieldNumbers().draw(rng) for _ in range(6)))
    np.testing.assert_array_equal(backend.mean(x, axis=1) * 3, np.sum(x, axis=1))
    assert backend.mean(x) * 6 == np.sum(x)
    assert (x @ x.T)[0, 1] == sum((a * b for a, b in zip(x[0], x[1], strict=True)), FieldElement(0))
    constants = backend.lift_constants({"eps": 0.5, "labels": np.array([1, 2]), "mask": np.array([1.0, 0.0])})
    assert constants["eps"] * 2 == 1
    assert constants["labels"].dtype == np.int64
    assert constants["mask"].dtype == object


DUALS = DualNumbers(FieldNumbers())
constants = st.one_of(residues, st.sampled_from([0, 3, 0.5]))
numbers = st.one_of(constants, st.builds(DUALS.element, residues, constants))


def matrices(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Of constants alone, or of dual numbers and constants."""
    size = math.prod(shape)
    entries = st.one_of(
        st.lists(numbers, min_size=size, max_size=size), st.lists(constants, min_size=size, max_size=size)
    )
    return entries.map(lambda values: fill(shape, values))


@FAST
@given(matrices((2, 3)), matrices((4, 3, 2)))
def test_products_of_dual_matrices_are_those_entry_by_entry(a: Any, b: Any) -> None:
    def halves(x: Any) -> list[tuple[Any, Any]]:
        return [(e.value, e.tangent) if isinstance(e, DUALS.element) else (FieldElement(0) + e, 0) for e in x.flat]

    backend = ExactBackend(DUALS)
    assert halves(backend.matmul(a, b)) == halves(np.matmul(a, b))
    assert halves(backend.matmul(b, a)) == halves(np.matmul(b, a))


@pytest.mark.parametrize("name", ["abs", "conj", "real", "var", "std"])
def test_complex_step_refuses_what_is_not_analytic(name: str) -> None:
    with pytest.raises(UndecidedError, match=name):
        getattr(ComplexStepBackend(), name)
    assert ComplexStepBackend().exp is np.exp


@pytest.fixture
def shakes() -> Iterator[None]:
    with shaking(np.random.default_rng(0)):
        yield


@pytest.mark.usefixtures("shakes")
def test_shaken_arrays_are_off_in_the_last_digit() -> None:
    x = np.linspace(0.1, 2, 50)
    shaken = x.view(ShakenArray)
    for function in (np.exp, lambda v: v @ v, lambda v: np.where(v > 1, v, 2 * v), lambda v: np.sin(1j * v)):
        one, other, plain = function(shaken), function(shaken), function(x)
        assert np.any(one != other)
        assert np.all(np.abs(one - plain) <= 2**-50 * np.abs(plain))
    assert np.array_equal(shaken, x)  # what goes in is exact


@pytest.mark.usefixtures("shakes")
def test_what_is_exact_is_not_shaken() -> None:
    x = np.linspace(0.1, 20, 50).view(ShakenArray)
    assert np.array_equal(np.floor(x), np.floor(x.view(np.ndarray)))
    assert np.array_equal(np.exp(x.astype(np.float32)), np.exp(x.view(np.ndarray).astype(np.float32)))
    assert np.argsort(x).dtype == np.intp


def test_what_an_op_keeps_of_shaken_arrays_does_no_harm() -> None:
    buffers: dict[Any, Any] = {}
    kept: list[Any] = []

    def op(xp: Any, x: Any) -> Any:
        buffer = buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
        np.cos(x, out=buffer)
        kept.append(np.cos(x))
        return 1 - buffer, lambda dy: (dy * np.sin(x),)

    x = 1e-3 * np.linspace(1, 2, 6).reshape(2, 3)
    assert noise(Subject(op, (x,)), lambda there: [there.value])[0].max() > 0
    assert type(buffers[x.shape, x.dtype]) is np.ndarray
    assert type(kept[-1]) is ShakenArray
    assert type(1 - kept[-1]) is np.ndarray
    assert np.array_equal(kept[-1] * 0.3, kept[-1] * 0.3)
    assert not verify(op, [x], rungs=["contract", "differences", "complex_step"]).failures


@pytest.mark.usefixtures("shakes")
def test_shaken_arrays_are_written_to_as_any_other() -> None:
    x = np.zeros((3, 4)).view(ShakenArray)
    np.moveaxis(x, 0, 1)[2] = 5
    np.add.at(x, (0, 0), 2)
    out = np.multiply(x, 0.3, out=x)
    assert out is x
    assert np.allclose(x[:, 2], 1.5)
    assert np.isclose(x[0, 0], 0.6)
    low, high = np.modf(x)
    assert np.allclose(low + high, x)
