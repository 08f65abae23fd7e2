"""Complex step: the derivative to the last digits of float64, because no difference is taken."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row
from vipnp.verify.rungs.noise import excused, explained, noise, or_nothing
from vipnp.verify.rungs.slopes import kinks
from vipnp.verify.subject import Subject, relative_error
from vipnp.verify.worlds.complex_step import STEP, ComplexStepBackend
from vipnp.verify.worlds.exact import ExactBackend
from vipnp.verify.worlds.floats import FloatDuals, duals, tangents

NAME = "complex_step"

AGREEMENT, HARD_AGREEMENT = 1e-9, 1e-2
"""How far derivatives of one forward pass on two number types may differ by rounding, relative to the largest; on
ill-conditioned inputs the second."""

EVERY_ENTRY = 512
"""Up to so many differentiated numbers every entry is checked; beyond, a random direction for every tensor."""

WORST = 8
"""Of so many entries that are off most it is asked whether rounding explains it."""


Derivatives: TypeAlias = "Sequence[HostArray | tuple[HostArray, float]]"
"""For every array that of every entry, or a direction and the slope along it."""


def forward_derivatives(subject: Subject) -> Derivatives:
    """Im f(x + ih) / h for every entry, or along one direction per tensor: of the forward pass and nothing else."""
    stay_analytic(subject)
    if subject.entries <= EVERY_ENTRY:
        return derivatives(subject)
    rng = subject.rng("directions of the complex step")
    directions = [random_direction(rng, array.shape) for array in subject.arrays]
    return [(direction, directional(subject, i, direction)) for i, direction in enumerate(directions)]


def complex_step(subject: Subject, truths: Callable[[Subject], Derivatives] = forward_derivatives) -> list[Row]:
    """Every entry of every gradient, or one direction per tensor, against `truths`. Where many pieces meet, the step is
    along one of them, and the gradient may be that of another."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        found = truths(subject)
        rows = []
        for i, (name, gradient, truth) in enumerate(zip(subject.names, subject.float64_gradients, found, strict=True)):
            if isinstance(truth, tuple):
                direction, slope = truth
                error = directional_error(float(np.sum(gradient * direction)), slope, gradient)
                row = subject.measured(NAME, name, error, subject.bound, detail="one random direction")
                size, moved = float(np.linalg.norm(gradient)), [direction]
            else:
                off = ~(np.abs(gradient - truth) <= subject.bound * np.max(np.abs(truth)))
                right = [index for index, between in kinks(subject, i, np.asarray(off)).items() if between]
                truth = truth.copy() if right else truth
                for index in right:
                    truth[index] = gradient[index]
                row = subject.compared(NAME, name, gradient, truth)
                size, worst = float(np.max(np.abs(truth))), np.argsort(-np.abs(gradient - truth), axis=None)[:WORST]
                moved = [(np.arange(gradient.size) == flat).reshape(gradient.shape).astype(float) for flat in worst]
            row = excused(row, partial(_rounds, subject, i, moved, subject.bound * size))
            slopes = np.asarray(truth[1] if isinstance(truth, tuple) else truth)
            rows.append(or_nothing(row, gradient, slopes, partial(_deviation, subject, i, moved)))
        return rows


def _rounds(subject: Subject, which: int, directions: Sequence[HostArray], allowed: float) -> bool:
    """Whether the op's own rounding, in its pullback or on complex numbers, explains how far they are apart."""
    apart = _apart(which, directions)
    return explained(np.abs(apart(subject)[0]), allowed, noise(subject, apart))


def _deviation(subject: Subject, which: int, directions: Sequence[HostArray]) -> float:
    """That of this rounding, 0 where it could not be measured."""
    found = noise(subject, _apart(which, directions))
    return float(np.max(found[0])) if found else 0.0


def _apart(which: int, directions: Sequence[HostArray]) -> Callable[[Subject], list[HostArray]]:
    """How far the gradient of one array is from the derivative along the directions, for a subject."""

    def apart(there: Subject) -> list[HostArray]:
        gradient = there.float64_gradients[which]
        return [np.array([np.sum(gradient * u) - directional(there, which, u) for u in directions])]

    return apart


def stay_analytic(subject: Subject) -> None:
    """Raise UndecidedError where the op leaves the functions under which the complex step is right.

    Every array is moved along one random direction, on complex numbers and on dual numbers, which have no imaginary
    part to lose. They agree to rounding unless the op drops or flips one, by whatever way it took.
    """
    rng = subject.rng("the dual world")
    directions = [rng.normal(size=array.shape) for array in subject.arrays]
    world = ExactBackend(FloatDuals())
    y, _ = subject.run(
        world, [duals(array, u) for array, u in zip(subject.arrays, directions, strict=True)], exact=True
    )
    truth = tangents(y)
    off = 0.0
    for step in (STEP, -STEP):  # in an order of complex numbers, 0 + ih is above 0 and 0 - ih below
        moved = [array + 1j * step * u for array, u in zip(subject.arrays, directions, strict=True)]
        found = _imaginary(subject, moved) / step
        if found.shape != truth.shape:
            raise UndecidedError(f"the op gives shape {found.shape} on complex and {truth.shape} on dual numbers")
        off = float(np.maximum(off, relative_error(found, truth)))
    if not off <= (HARD_AGREEMENT if subject.hard else AGREEMENT):
        raise UndecidedError(
            f"derivatives of the forward pass on complex and on dual numbers differ by {off:.2g} of the largest: it "
            "uses functions such as abs, norm, var or real, under which an imaginary part is no derivative"
        )


def holds_by_complex_step(subject: Subject, which: int, direction: HostArray, slope: float, bound: float) -> bool:
    """Whether `slope` is within `bound` of Im f(x + ih u) / h along a direction u of one array, and the op stays
    analytic there: this is asked last, being dear on large arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            if not abs(directional(subject, which, direction) - slope) <= bound:
                return False
            stay_analytic(subject)
        except (BrokenOpError, UndecidedError):
            return False
    return True


def derivatives(subject: Subject) -> list[HostArray]:
    """d sum(dy * y) / dx for every entry of every differentiated array, dy the cotangent of the subject."""
    return [every_entry(partial(directional, subject, i), array.shape) for i, array in enumerate(subject.arrays)]


def every_entry(slope: Callable[[HostArray], float], shape: tuple[int, ...]) -> HostArray:
    """The slope along every entry of an array by itself."""
    slopes = np.empty(shape)
    for index in np.ndindex(shape):
        direction = np.zeros(shape)
        direction[index] = 1
        slopes[index] = slope(direction)
    return slopes


def directional(subject: Subject, which: int, direction: HostArray, step: float = STEP) -> float:
    """The derivative of sum(dy * y) along `direction` in one differentiated array."""
    arrays: list[Any] = [array.astype(np.complex128) for array in subject.arrays]
    arrays[which] = arrays[which] + 1j * step * direction
    return float(np.sum(subject.cotangent * _imaginary(subject, arrays))) / step


def _imaginary(subject: Subject, arrays: Sequence[Any]) -> HostArray:
    y, _ = subject.run(ComplexStepBackend(), arrays, exact=True)
    value = np.asarray(y)
    if value.dtype.kind != "c":
        raise UndecidedError(f"the op turned complex input into {value.dtype}: the imaginary part is lost")
    return value.imag


def random_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    """Signed weights near 1 of which no two are equal, so that no two entries can be exchanged unseen."""
    return np.asarray(rng.uniform(0.5, 1.41, shape) * rng.choice([-1.0, 1.0], shape))


def directional_error(found: float, truth: float, gradient: HostArray) -> float:
    """Difference of two directional derivatives, relative to the gradient's Euclidean norm.

    Along random weights near 1 a gradient of norm g has a derivative of the size of g, and a single entry that is wrong
    by e moves it by e.
    """
    norm = float(np.linalg.norm(gradient))
    return abs(found - truth) / norm if norm else abs(found - truth)
