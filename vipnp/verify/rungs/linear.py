"""The clause of the contract that a pullback is linear in its cotangent, and what a broken clause is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.rungs.noise import explained, noise
from vipnp.verify.several import OfOneArray
from vipnp.verify.subject import Subject

SCALED_BOUND = 1e-13
"""How far a pullback of a scaled cotangent may be off the scaled one, relative to its largest entry."""

SUM_BOUND = 1e-12
"""How far a sum of two pullbacks may be off the pullback of the sum, relative to the largest of the parts."""

FACTORS = MappingProxyType({2.0: "2", -1.0: "-1", 0.0: "0", 2.0**60: "2^60", 2.0**-60: "2^-60"})
"""Cotangents are scaled by these, which rounds nothing."""


@dataclass(frozen=True)
class Fault:
    """A broken clause; `argument` names the array it concerns, None where it concerns the op as a whole. It may be
    that the op's own rounding breaks it, and no mistake."""

    argument: str | None
    message: str
    doubtful: bool = False


def linear_in_the_cotangent(subject: Subject) -> Iterator[Fault]:
    """pullback(c dy) == c pullback(dy) for c = 2, -1, 0, 2^60 and 2^-60, up to rounding of the largest entry, as in an
    algorithm that scales by norms, and no entry becomes zero; and pullback(dy) is the sum of the pullbacks of two parts
    of dy: zero on alternate entries, all but one entry, all but one of several y, each entry times another power of
    two, numbers of another draw, or ones, the cotangent of a sum. An op that loses digits, as the exponential of a
    matrix may, is off by what it loses, which decides nothing."""
    for factor, words in FACTORS.items():
        noises = cache(partial(noise, subject, partial(_off_scaled, factor)))
        scaled = gradients_at(subject, np.asarray(factor * subject.cotangent))
        for i, (name, gradient, base) in enumerate(zip(subject.names, scaled, subject.float64_gradients, strict=True)):
            expected = factor * base
            off, allowed = np.abs(gradient - expected), SCALED_BOUND * float(np.max(np.abs(expected)))
            lost = bool(np.any((gradient == 0) & (expected != 0)))
            if lost or not np.max(off) <= allowed:
                rounds = not lost and explained(off, allowed, noises()[i : i + 1])
                yield Fault(name, f"pullback({words} dy) is not {words} pullback(dy)", rounds)
    for words, part in _parts(subject).items():
        noises = cache(partial(noise, subject, partial(_off_sum, part)))
        halves = (gradients_at(subject, part), gradients_at(subject, subject.cotangent - part))
        for i, (name, a, b, base) in enumerate(zip(subject.names, *halves, subject.float64_gradients, strict=True)):
            off = np.abs(a + b - base)
            allowed = SUM_BOUND * max(float(np.max(np.abs(a) + np.abs(b))), float(np.finfo(float).tiny))
            if not np.max(off) <= allowed:
                rounds = explained(off, allowed, noises()[i : i + 1])
                yield Fault(name, f"pullback(dy) is not pullback(a) + pullback(dy - a) for a = {words}", rounds)


def _off_scaled(factor: float, subject: Subject) -> list[HostArray]:
    """pullback(c dy) - c pullback(dy)."""
    scaled = gradients_at(subject, factor * subject.cotangent)
    return [gradient - factor * base for gradient, base in zip(scaled, subject.float64_gradients, strict=True)]


def _off_sum(part: HostArray, subject: Subject) -> list[HostArray]:
    """pullback(part) + pullback(dy - part) - pullback(dy)."""
    halves = (gradients_at(subject, part), gradients_at(subject, subject.cotangent - part))
    return [a + b - base for a, b, base in zip(*halves, subject.float64_gradients, strict=True)]


def gradients_at(subject: Subject, cotangent: HostArray) -> list[HostArray]:
    """The gradients at another cotangent, of another run."""
    _, pullback = subject.run(subject.numpy, subject.copies())
    found = subject.gradients(subject.numpy, pullback, cotangent)
    return [np.asarray(gradient) for gradient in found]


def _parts(subject: Subject) -> dict[str, HostArray]:
    rng = subject.rng("parts of the cotangent")
    dy = subject.cotangent
    alternate = (np.arange(dy.size) % 2).reshape(dy.shape)
    one = (np.arange(dy.size) == rng.integers(dy.size)).reshape(dy.shape)
    _, pullback = subject.run(subject.numpy, subject.copies())
    alone = {}
    if isinstance(pullback, OfOneArray):
        which = np.searchsorted(pullback.ends, np.arange(dy.size), side="right")
        alone = {f"dy of y[{part}] alone": (which == part) * dy for part in range(len(pullback.parts))}
    return {
        "dy with every second entry zero": alternate * dy,
        "dy with all entries but one zero": one * dy,
        **alone,
        "dy of 2^-40 to 2^40": dy * np.exp2(rng.integers(-40, 41, dy.shape)),
        "another draw": rng.normal(size=dy.shape),
        "ones": np.ones_like(dy),
    }
