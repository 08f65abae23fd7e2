"""Elsewhere: other sizes and special values than those at hand, since a mistake may wait for the 129th row or for zero.

A gradient counts as wrong here only where the function itself is smooth enough to tell, and only if it is far off: the
last digits are the business of the other rungs.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.budget import OutOfTimeError
from vipnp.verify.outcomes import BrokenOpError, UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.rungs.complex_step import holds_by_complex_step, random_direction
from vipnp.verify.rungs.differences import STEP, best_quotient, difference
from vipnp.verify.rungs.places import Place, places, too_large
from vipnp.verify.rungs.slopes import SLOPE_STEP, STEPS, beside_slopes, beside_ties, indices, many_pieces
from vipnp.verify.subject import UNIT_64, Subject

NAME = "elsewhere"

BOUND = 1e-6
"""Error along a direction, relative to the gradient's norm, or to BOUND times that of the cotangent if that is more."""

TOLD = 3
"""So many faults of an argument are told, and no more looked for."""

SPECIAL_ENTRIES = 8
"""So many special entries of every array are looked at."""


class Fault(NamedTuple):
    """What is wrong with a gradient, and whether other arguments had to move for it to show."""

    words: str
    shared: bool = False


def elsewhere(subject: Subject) -> list[Row]:
    """Every gradient at other sizes and values.

    Along a random direction it is held to the complex step and to differences, whichever comes closer. At zeros, ones
    and ties it is held to the slopes on both sides: to the slope where they agree, between them where they do not. It
    is so entry by entry, and along a direction that moves equal entries together. Where many pieces meet and these say
    different things, the second decides: no gradient of a sorted row with ties is right entry by entry.

    Where op or pullback raises or warns at run time, a gradient has another shape, or y is not finite, the op is not
    made for the inputs, and they count for nothing: whoever uses it there is told. A fault beside a constant that
    another size may spoil decides nothing, since a right op may ask more of its constants than anyone here knows. What
    was found counts also where the time does not suffice for the rest.
    """
    before = subject.float64_gradients
    faults: dict[str, list[str]] = {name: [] for name in subject.names}
    doubts: dict[str, list[str]] = {name: [] for name in subject.names}
    seen: list[str] = []
    late = False
    try:
        # What warns of its inputs, as a solver does of a singular matrix, is not made for them.
        with warnings.catch_warnings(action="error", category=RuntimeWarning):
            for place in places(subject):
                with contextlib.suppress(BrokenOpError):  # of an op that is made for this place and not for all around
                    found = list(_faults(place, [name for name in subject.names if len(faults[name]) >= TOLD]))
                    seen.append(place.words)
                    for name, fault in found:
                        if place.doubtful:
                            doubt = f"{place.words}, which may spoil the constant {place.doubtful}: {fault}"
                            doubts[name].append(doubt)
                        else:
                            faults[name].append(f"{place.words}: {fault}")
        again = replace(subject).float64_gradients
        for name, a, b in zip(subject.names, before, again, strict=True):
            if a.tobytes() != b.tobytes():
                faults[name].append("the gradient is another one after calls with other sizes and values")
    except OutOfTimeError:
        if not any(faults.values()):
            raise
        late = True
    if not seen:
        raise UndecidedError("the op takes no other sizes and no other values")
    rows = []
    for name in subject.names:
        told = faults[name] or doubts[name]
        verdict = Verdict.FAIL if faults[name] else Verdict.INCONCLUSIVE if doubts[name] or late else Verdict.PASS
        kinds = f"{len(seen)} other kinds of inputs{', not all in time' * late}{too_large(subject)}"
        detail = "; ".join(told[:TOLD]) or kinds
        rows.append(subject.row(NAME, name, verdict, error=len(told), bound=0, unit="places", detail=detail))
    return rows


def _faults(place: Place, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong) at one place, for all arguments but those that are `known` to be wrong."""
    subject = place.subject
    rng = subject.rng("elsewhere")
    marks = place.special or (None,) * len(subject.names)
    faults: dict[str, Fault] = {}
    for i, (name, gradient, mark) in enumerate(zip(subject.names, subject.float64_gradients, marks, strict=True)):
        direction = random_direction(rng, gradient.shape)
        if name in known:
            continue
        if mark is None:
            words = _off_direction(subject, i, gradient, direction)
            fault = Fault(words) if words else None
        else:
            fault = _off_slopes(subject, i, mark)
        if fault:
            faults[name] = fault
    # Moved together, all gradients share the fault of one: it is that which is wrong by itself, if one is.
    alone = bool(known) or not all(fault.shared for fault in faults.values())
    for name, fault in faults.items():
        if not (fault.shared and alone):
            yield name, fault.words


def _off_direction(subject: Subject, which: int, gradient: HostArray, direction: HostArray) -> str:
    scale = float(np.max(np.abs(subject.arrays[which]))) or 1.0
    coarse, fine = (difference(subject, which, direction, scale * step) for step in (STEP, STEP / 2))
    if not (np.isfinite(coarse) and np.isfinite(fine)):
        return ""
    if not np.all(np.isfinite(gradient)):
        return "the gradient is not finite"
    found = float(np.sum(gradient * direction))
    norm = max(float(np.linalg.norm(gradient)), BOUND * float(np.linalg.norm(subject.cotangent)))
    error, doubt = abs(found - fine) / norm, abs(coarse - fine) / norm
    rounding = float(np.sum(np.abs(subject.cotangent * subject.value))) * UNIT_64 / (scale * STEP * norm)
    if error <= max(BOUND, 10 * rounding):
        return ""
    if error <= 10 * doubt:  # the function bends within the step, and so a shorter one is asked
        shorter = (beside_slopes(subject, {which: direction}, found, step=scale * step) for step in reversed(STEPS))
        held = next(filter(None, shorter), None)
        if held is None or held.between:
            return ""
    best = best_quotient(subject, which, direction, scale)
    if abs(found - best.slope) <= max(BOUND * norm, 10 * best.doubt):
        return ""
    sides = [beside_slopes(subject, {which: direction}, found, step=scale * step) for step in STEPS]
    if all(held and held.apart > error * norm / 10 for held in sides):
        return ""
    seen = [held for held in sides if held]
    if (seen and not all(held.agree for held in seen)) or many_pieces(subject, scale * SLOPE_STEP, [which]):
        # Kinks are as near as the steps are long, if the inputs do not lie on one, as those at hand may.
        return _off_ties(subject, which, scale) or _off_entries(subject, which, scale)
    if holds_by_complex_step(subject, which, direction, found, BOUND * norm):
        return ""
    return f"the gradient is off by {error:.2g} of its norm"


def _off_ties(subject: Subject, which: int, scale: float) -> str:
    """What is wrong with the gradient of one argument along a direction in which equal entries move together, over the
    shortest step that tells."""
    ties = (beside_ties(subject, which, step=scale * step) for step in reversed(STEPS))
    held = next(filter(None, ties), None)
    return held.words if held and held.agree and not held.between else ""


def _off_entries(subject: Subject, which: int, scale: float) -> str:
    """What is wrong at single entries of one argument, of which there is no equal: an entry meets fewer kinks than all
    of them that move together."""
    gradient, values = subject.float64_gradients[which], subject.arrays[which].ravel()
    _, first, counts = np.unique(values, return_index=True, return_counts=True)
    for index in subject.rng("single entries").permutation(first[counts == 1])[:SPECIAL_ENTRIES]:
        unit = (np.arange(values.size) == index).reshape(gradient.shape).astype(float)
        slope = float(gradient.flat[index])
        sides = (beside_slopes(subject, {which: unit}, slope, step=scale * step) for step in reversed(STEPS))
        held = next(filter(None, sides), None)
        if held and held.agree and not held.between:
            return held.words
    return ""


def _off_slopes(subject: Subject, which: int, special: HostArray) -> Fault | None:
    """What is wrong with the gradient of one argument, of which some entries are special."""
    gradient = subject.float64_gradients[which]
    ties = beside_ties(subject, which)
    right_along_ties = ties is not None and ties.agree and ties.between
    wrong_along_ties = ties is not None and ties.agree and not ties.between
    words = f"along equal entries that move together, {ties.words}" if ties else ""
    if ties and wrong_along_ties and not ties.joint:
        return Fault(words)
    entries = indices(special)
    chosen = subject.rng("special").permutation(len(entries))[:SPECIAL_ENTRIES]
    for index in (entries[k] for k in chosen):
        unit = np.zeros(special.shape)
        unit[index] = 1
        held = beside_slopes(subject, {which: unit}, float(gradient[index]))
        if held and not np.isfinite(gradient[index]):
            return Fault(held.words)
        if held and not held.between and (held.agree or not right_along_ties):
            return Fault(held.words)
    return Fault(words, shared=True) if wrong_along_ties else None
