"""The ladder over the whole library: every case of the table, every rung that applies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from vipnp.audit import theorem
from vipnp.audit.cases import CASES, Case
from vipnp.core import Backend
from vipnp.core.checks import did_you_mean
from vipnp.verify.ladder import RUNGS, Rung, chosen_rungs, climb
from vipnp.verify.report import Report, Row, Verdict, worst
from vipnp.verify.rungs import backend as backend_rung
from vipnp.verify.subject import Subject

LADDER: Mapping[str, Rung] = MappingProxyType({**RUNGS, theorem.NAME: theorem.theorem})
"""The rungs of the audit: those for any op, and the theorems, which are about this library's."""

EVERY_SIZE = ("contract", "value", "complex_step", "finite_field")
"""The rungs that climb every set of sizes of a case; planted mistakes meet the same."""

SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)


@dataclass(frozen=True)
class Step:
    """One rung on one case, at one set of sizes or several."""

    case: Case
    rung: str
    function: Rung
    subjects: tuple[Subject, ...]


def audit(
    *,
    ops: Sequence[str] | None = None,
    rungs: Sequence[str] | None = None,
    backend: Backend | None = None,
    seed: int = 0,
    progress: Callable[[Step], None] | None = None,
) -> Report:
    """Run every rung that applies over every case of the table, or over some.

    ops : names of ops, layers, models or single cases; all by default.
    rungs : names of `LADDER`, and "backend" where a backend is given; all by default.
    backend : a backend to hold to the readable ops on the same cases.
    progress : called before every step.

    What an op does wrong ends in a row and stops nothing else. Raises ValueError for an unknown op or rung, naming the
    nearest.
    """
    report = Report(seed=seed)
    for step in plan(ops=ops, rungs=rungs, backend=backend, seed=seed):
        if progress is not None:
            progress(step)
        report.extend(_worst([climb(step.rung, subject, step.function) for subject in step.subjects]))
    return report


def _worst(rows: Sequence[list[Row]]) -> list[Row]:
    """The same rows from several sets of sizes as one list: of each the worst, and of those the first set's."""
    if len({len(found) for found in rows}) > 1:
        return min(rows, key=lambda found: min(SEVERITY.index(row.verdict) for row in found))
    return [_worst_row(same) for same in zip(*rows, strict=True)]


def _worst_row(rows: Sequence[Row]) -> Row:
    verdict = min((row.verdict for row in rows), key=SEVERITY.index)
    having = [row for row in rows if row.verdict is verdict]
    return worst(having) or having[0]


def plan(
    *,
    ops: Sequence[str] | None = None,
    rungs: Sequence[str] | None = None,
    backend: Backend | None = None,
    seed: int = 0,
) -> list[Step]:
    """The steps of `audit`, in order; the same arguments and errors.

    Where the complex step cannot decide, on ill-conditioned inputs, the finite field always comes with it.
    """
    wanted = list(rungs or [])
    if backend_rung.NAME in wanted and backend is None:
        raise ValueError(f"rungs: {backend_rung.NAME!r} needs a backend to hold to the readable ops")
    names = [name for name in wanted if name != backend_rung.NAME]
    ladder = {name: LADDER[name] for name in (chosen_rungs(names or None, LADDER) if names or not wanted else [])}
    if backend is not None and (not wanted or backend_rung.NAME in wanted):
        ladder[backend_rung.NAME] = backend_rung.backend_rung(backend)
    deciding = {**ladder, "finite_field": RUNGS["finite_field"]} if "complex_step" in ladder else ladder
    return [
        Step(case, rung, function, _subjects(case, rung, seed))
        for case in chosen_cases(ops)
        for rung, function in (deciding if case.hard else ladder).items()
        if applies(rung, case)
    ]


def applies(rung: str, case: Case) -> bool:
    """Whether a rung has something to say about a case: adjoint about ops that are linear in an argument, proof and
    elsewhere about ops (a layer is made of them), theorem about functions that have one,
    float32 about inputs that are not ill-conditioned on purpose."""
    if rung == "adjoint":
        return case.linear
    if rung in ("proof", "elsewhere"):
        return case.kind == "op" and not case.hard
    if rung == theorem.NAME:
        return bool(theorem.theorems_about(case.op))
    if rung == "float32":
        return not case.hard
    return True


def _subjects(case: Case, rung: str, seed: int) -> tuple[Subject, ...]:
    if rung == "proof":
        return (subject_of(case, seed, smallest_sizes(case)),)
    return tuple(subject_of(case, seed, sizes) for sizes in (size_sets(case) if rung in EVERY_SIZE else [case.sizes]))


def subject_of(case: Case, seed: int = 0, sizes: Mapping[str, int] | None = None) -> Subject:
    """A case of the table as a subject of the ladder, at `sizes` or its own."""
    args, kwargs = case.inputs(seed, sizes)
    op, _, tag = case.name.partition("/")
    return Subject(
        op=case.op,
        args=args,
        kwargs=kwargs,
        definition=case.definition,
        twin=case.twin,
        seed=seed,
        hard=case.hard,
        one_shot=case.one_shot,
        name=op,
        tag=tag,
    )


def size_sets(case: Case) -> list[Mapping[str, int]]:
    """The sizes of a case, and as many others as it takes for every two letters that its ranges let differ to differ
    somewhere: exchanging two equal sizes is no mistake. A size of 1 hides mistakes too, so those of an op differ where
    neither is 1. Hard cases have their own sizes only."""
    sets = [case.sizes]
    if case.hard:
        return sets
    spans = [range(low, high + 1) for low, high in case.ranges.values()]
    drawn = (dict(zip(case.ranges, values, strict=True)) for values in itertools.product(*spans))
    others = [sizes for sizes in drawn if case.fits(sizes)]
    pairs = list(itertools.combinations(case.ranges, 2))
    alike = partial(_alike, hidden=(1,) if case.kind == "op" else ())
    together = alike(case.sizes, pairs)
    while telling := [sizes for sizes in others if len(alike(sizes, together)) < len(together)]:
        best = min(telling, key=lambda s: (list(s.values()).count(1), len(alike(s, together)), len(alike(s, pairs))))
        sets.append(best)
        together = alike(best, together)
    return sets


def _alike(sizes: Mapping[str, int], pairs: Sequence[tuple[str, str]], hidden: Sequence[int]) -> list[tuple[str, str]]:
    """The pairs of letters that have one size, or a size that hides what is done with it."""
    return [(a, b) for a, b in pairs if sizes[a] == sizes[b] or sizes[a] in hidden or sizes[b] in hidden]


def smallest_sizes(case: Case) -> dict[str, int]:
    """The smallest sizes in the ranges of a case, with W off H."""
    sizes = {letter: low for letter, (low, _) in case.ranges.items()}
    if {"H", "W"} <= set(sizes):
        sizes["W"] = sizes["H"] + 1
    return sizes


def chosen_cases(ops: Sequence[str] | None) -> list[Case]:
    """The cases of the named ops, in the order of the table. Raises ValueError for an unknown name."""
    if ops is None:
        return list(CASES.values())
    known = {name: case for case in CASES.values() for name in (case.name, case.op.__name__)}
    for name in ops:
        if name not in known:
            raise ValueError(
                f"op: unknown name {name!r}{did_you_mean(name, known)}, expected one of {', '.join(op_names())}"
            )
    return [case for case in CASES.values() if case.name in ops or case.op.__name__ in ops]


def op_names() -> list[str]:
    """The names of all audited functions: ops, layers, blocks, models."""
    return list(dict.fromkeys(case.op.__name__ for case in CASES.values()))


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """(name, function) of everything audited, in the order of the table."""
    seen = set()
    for case in CASES.values():
        if case.op.__name__ not in seen:
            seen.add(case.op.__name__)
            yield case.op.__name__, case.op
