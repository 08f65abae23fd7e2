"""Does the ladder catch mistakes? Plant them, climb it, and let PyTorch's gradcheck try the same ones."""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from rich.table import Table
from rich.text import Text

from tools.mistakes import FACTOR_KINDS, Mistake, mistakes
from vipnp.audit.audit import chosen_cases, size_sets, subject_of
from vipnp.audit.cases import CASES, Case
from vipnp.audit.terminal import bar
from vipnp.backends.numpy.threads import available_cores
from vipnp.core.console import Console
from vipnp.models import vision_permutator
from vipnp.models.vision_permutator import tokens
from vipnp.verify.extras import MissingExtraError, need
from vipnp.verify.ladder import climb
from vipnp.verify.outcomes import BrokenOpError
from vipnp.verify.report import Verdict
from vipnp.verify.rungs.complex_step import Derivatives, complex_step, forward_derivatives
from vipnp.verify.rungs.pytorch import one_thread
from vipnp.verify.subject import Subject

RUNGS = ("complex_step", "contract", "finite_field", "value")
"""The rungs that planted mistakes meet, in this order, at every set of sizes that the audit uses; the first FAIL ends
the climb."""

GRADCHECK_ATOL, GRADCHECK_RTOL = 1e-5, 1e-3
"""The defaults of torch.autograd.gradcheck."""

EQUIVALENT: Mapping[str, str] = MappingProxyType(
    {
        "permute_width: swapped axes: xp.reshape(dy, (B, H, N, W, S)) -> xp.reshape(dy, (H, B, N, W, S))": (
            "the permutation leaves the first two axes where they are, and the last reshape gives them their sizes back"
        ),
        "shift: swapped axes: xp.reshape(dy, (B, G, V, N, S)) -> xp.reshape(dy, (B, V, G, N, S))": (
            "the permutation keeps the two axes beside each other, and the next reshape takes them as one"
        ),
        "shift: swapped axes: xp.reshape(da, (N, H, V, B, S)) -> xp.reshape(da, (N, H, V, S, B))": (
            "the permutation leaves the last two axes where they are, and the next reshape takes them as one"
        ),
        "permutator: other variable: mlp_residual_back -> attn_residual_back": (
            "both divide by the same skip_lam and save nothing"
        ),
        "permutator: other variable: attn_residual_back -> mlp_residual_back": (
            "both divide by the same skip_lam and save nothing"
        ),
        "permutator: other variable: dz_skip -> dy": "the gradient of the skip connection is dy itself",
    }
)
"""Planted changes that are no mistakes, with the reason, by `Mistake.key`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one mistake: the rung that failed it and what that said, "" where it survived; and whether
    PyTorch's gradcheck passed it (None where it was not asked, or PyTorch is not installed)."""

    mistake: Mistake
    caught_by: str
    message: str
    gradcheck_missed: bool | None


@dataclass
class Sabotage:
    """All planted mistakes. `ok`: every one is caught but for those listed as equivalent."""

    outcomes: list[Outcome] = field(default_factory=list)
    not_counted: int = 0

    @property
    def survivors(self) -> list[Outcome]:
        """Mistakes that no rung caught and that are not listed as equivalent."""
        return [o for o in self.outcomes if not o.caught_by and o.mistake.key not in EQUIVALENT]

    @property
    def equivalents(self) -> list[tuple[Mistake, str]]:
        """Changes that are no mistakes, with the reasons."""
        return [(o.mistake, EQUIVALENT[o.mistake.key]) for o in self.outcomes if o.mistake.key in EQUIVALENT]

    @property
    def caught(self) -> list[Outcome]:
        """Mistakes that failed the ladder."""
        return [o for o in self.outcomes if o.caught_by]

    @property
    def ok(self) -> bool:
        """Something was planted, and nothing survived."""
        return bool(self.outcomes) and not self.survivors

    @property
    def factor_share(self) -> float:
        """The share of kinds that only scale a gradient."""
        return sum(o.mistake.kind in FACTOR_KINDS for o in self.outcomes) / max(1, len(self.outcomes))

    def counts(self) -> list[tuple[str, int, int, int, int | None]]:
        """(function, planted, kinds, caught, missed by gradcheck) for every function."""
        rows = []
        for name in dict.fromkeys(o.mistake.function for o in self.outcomes):
            of = [o for o in self.outcomes if o.mistake.function == name]
            missed = None if any(o.gradcheck_missed is None for o in of) else sum(bool(o.gradcheck_missed) for o in of)
            caught = sum(bool(o.caught_by) for o in of)
            rows.append((name, len(of), len({o.mistake.kind for o in of}), caught, missed))
        return rows

    def by_kind(self) -> list[tuple[str, int, int, int | None]]:
        """(kind, planted, caught, missed by gradcheck) for every kind."""
        rows = []
        for kind in dict.fromkeys(o.mistake.kind for o in self.outcomes):
            of = [o for o in self.outcomes if o.mistake.kind == kind]
            missed = None if any(o.gradcheck_missed is None for o in of) else sum(bool(o.gradcheck_missed) for o in of)
            rows.append((kind, len(of), sum(bool(o.caught_by) for o in of), missed))
        return rows

    def to_json(self) -> dict[str, Any]:
        """The JSON form that docs/audit.md describes."""
        return {
            "ok": self.ok,
            "planted": len(self.outcomes),
            "caught": len(self.caught),
            "not_counted": self.not_counted,
            "factor_share": self.factor_share,
            "equivalent": [{"mistake": m.key, "reason": reason} for m, reason in self.equivalents],
            "survivors": [o.mistake.key for o in self.survivors],
            "mistakes": [
                {
                    **{k: v for k, v in asdict(o.mistake).items() if k not in ("source", "module")},
                    "caught_by": o.caught_by,
                    "message": o.message,
                    "gradcheck_missed": o.gradcheck_missed,
                }
                for o in self.outcomes
            ],
        }


Planting: TypeAlias = tuple[str, Mistake, list[Case]]


def plantings(ops: Sequence[str] | None = None) -> Iterator[Planting]:
    """(name of the audited function, mistake, its cases) for everything planted, hard cases left out."""
    cases = [case for case in chosen_cases(ops) if not case.hard]
    for name in dict.fromkeys(case.op.__name__ for case in cases):
        of_op = [case for case in cases if case.op.__name__ == name]
        function = of_op[0].op
        if function.__module__.startswith("vipnp.audit"):
            continue
        for mistake in mistakes(function, one_shot=of_op[0].one_shot):
            yield name, mistake, of_op
        if function is vision_permutator:
            for mistake in mistakes(tokens, inside=True):
                yield name, mistake, of_op


def sabotage(
    *,
    ops: Sequence[str] | None = None,
    seed: int = 0,
    gradcheck: bool = True,
    progress: Callable[[Sequence[Planting]], Iterable[Planting]] = iter,
    processes: int = 1,
) -> Sabotage:
    """Plant every mistake and climb the ladder with each. Those that crash or break a shape are not counted.

    gradcheck : whether PyTorch's tries them too, which takes most of the time. progress : given all that will be
    planted, yields it item by item. processes : among which the mistakes are shared; the result is the same.
    """
    found = Sabotage()
    planted = list(plantings(ops))
    with _results(planted, processes, ops=ops, seed=seed, gradcheck=gradcheck) as results:
        for (_, mistake, _), result in zip(progress(planted), results, strict=True):
            if result is None:
                found.not_counted += 1
            else:
                found.outcomes.append(Outcome(mistake, *result))
    return found


Result: TypeAlias = tuple[str, str, bool | None]


@contextmanager
def _results(
    planted: Sequence[Planting], processes: int, *, ops: Sequence[str] | None, seed: int, gradcheck: bool
) -> Iterator[Iterable[Result | None]]:
    """What becomes of every planting, in their order, here or in other processes."""
    if processes == 1:
        yield (_result(planting, seed, gradcheck) for planting in planted)
        return
    numbered = partial(_numbered_result, ops=ops, seed=seed, gradcheck=gradcheck)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap(numbered, range(len(planted)), chunksize=8)


@cache
def _planted(ops: tuple[str, ...] | None) -> list[Planting]:
    return list(plantings(ops))


def _numbered_result(number: int, *, ops: Sequence[str] | None, seed: int, gradcheck: bool) -> Result | None:
    """Mistakes hold modules, which do not travel: every process plants its own and is told their numbers."""
    return _result(_planted(None if ops is None else tuple(ops))[number], seed, gradcheck)


def _result(planting: Planting, seed: int, gradcheck: bool) -> Result | None:
    """What caught the mistake, its message and whether gradcheck missed it; None for what does not count."""
    name, mistake, cases = planting
    built = mistake.build(name)
    subjects: list[Subject] = []
    with np.errstate(all="ignore"):
        for subject in subjects_of(built, name, cases, seed):
            if not runs(subject):
                return None
            subjects.append(subject)
        rights = [right for case in cases for right in _rights(case.name, seed)]
        return (*_caught(subjects, rights), gradcheck_misses(subjects, cases[0].op) if gradcheck else None)


class Right:
    """A case of the table as it is at one set of sizes, and the derivatives of its forward pass: mistakes in a pullback
    share them, and they take longer than all the rest."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @cached_property
    def derivatives(self) -> Derivatives:
        return forward_derivatives(self.subject)

    def truths(self, planted: Subject) -> Derivatives:
        """Those of `planted`, anew where its forward pass gives another value."""
        same = np.array_equal(planted.value, self.subject.value)
        return self.derivatives if same else forward_derivatives(planted)


@cache
def _rights(name: str, seed: int) -> tuple[Right, ...]:
    case = CASES[name]
    return tuple(Right(subject_of(case, seed, sizes)) for sizes in size_sets(case))


def subjects_of(op: Callable[..., Any], name: str, cases: Sequence[Case], seed: int) -> Iterator[Subject]:
    for case in cases:
        for right in _rights(case.name, seed):
            yield replace(right.subject, op=op, twin=None, name=name, tag=case.name)


def runs(subject: Subject) -> bool:
    """Whether op and pullback run and give gradients of the right shapes."""
    try:
        return len(subject.float64_gradients) > 0
    except BrokenOpError:
        return False


def _caught(subjects: Sequence[Subject], rights: Sequence[Right]) -> tuple[str, str]:
    for rung in RUNGS:
        for subject, right in zip(subjects, rights, strict=True):
            function = partial(complex_step, truths=right.truths) if rung == "complex_step" else None
            for row in climb(rung, subject, function):
                if row.verdict is Verdict.FAIL:
                    return rung, str(row)
    return "", ""


def gradcheck_misses(subjects: Sequence[Subject], right: Callable[..., Any]) -> bool | None:
    """Whether torch.autograd.gradcheck, at its defaults, passes the op on all of these inputs; in its fast mode for
    layers and models. None where PyTorch is not installed.

    It asks for every entry of the Jacobian, and takes a second for an op: one whose entries are far off those of the
    `right` op cannot pass, and is not given to it.
    """
    try:
        torch = need("torch", "test")
    except MissingExtraError:
        return None
    for subject in subjects:
        if not subject.composite and _far_off(subject, right):
            return False
        function = _autograd_function(torch, subject)
        inputs = [torch.tensor(array, requires_grad=True) for array in subject.arrays]
        torch.manual_seed(subject.seed)
        with _no_second_run(), one_thread(torch):
            passed = torch.autograd.gradcheck(function, inputs, raise_exception=False, fast_mode=subject.composite)
        if not passed:
            return False
    return True


def _far_off(subject: Subject, right: Callable[..., Any]) -> bool:
    """Whether some entry of the Jacobian differs from that of the right op by more than twice what gradcheck allows."""
    y, pullback = subject.run(subject.numpy, subject.copies())
    truth, right_pullback = right(subject.numpy, *subject.tree(subject.copies()), **subject.constants())
    if not np.array_equal(y, truth):
        return False
    for one in np.eye(np.size(y)):
        cotangent = one.reshape(np.shape(y))[()]
        rows = (subject.matched(back(cotangent.copy())) for back in (pullback, right_pullback))
        for gradient, expected in zip(*rows, strict=True):
            if np.any(np.abs(gradient - expected) > 2 * (GRADCHECK_ATOL + GRADCHECK_RTOL * np.abs(expected))):
                return True
    return False


@contextmanager
def _no_second_run() -> Iterator[None]:
    """In its fast mode gradcheck words its complaint by a second, slow run, which takes minutes for a model. The
    complaint is not read here, so that run is left out; the verdict is the same."""
    module = sys.modules["torch.autograd.gradcheck"]
    slow = getattr(module, "_run_slow_mode_and_get_error", None)
    if slow is None:
        yield
        return
    module._run_slow_mode_and_get_error = lambda *_, **__: ""  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module._run_slow_mode_and_get_error = slow  # type: ignore[attr-defined]


def _autograd_function(torch: Any, subject: Subject) -> Any:
    """The op as a function of tensors whose backward is its pullback."""

    class Op(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.arrays = [tensor.detach().numpy() for tensor in tensors]
            y, ctx.pullback = subject.op(subject.numpy, *subject.tree(ctx.arrays), **subject.constants())
            return torch.tensor(np.asarray(y))

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            pullback = ctx.pullback
            if subject.one_shot:
                _, pullback = subject.op(subject.numpy, *subject.tree(ctx.arrays), **subject.constants())
            cotangent = dy.numpy()
            gradients = subject.matched(pullback(cotangent if cotangent.ndim else cotangent[()]))
            return tuple(torch.tensor(np.ascontiguousarray(gradient)) for gradient in gradients)

    return Op.apply


def sabotage_with_progress(console: Console, *, ops: Sequence[str] | None, seed: int, gradcheck: bool) -> Sabotage:
    """`sabotage` under a progress bar, a process for each core."""
    with bar(console) as progress:

        def shown(planted: Sequence[Planting]) -> Iterator[Planting]:
            task = progress.add_task("sabotage", total=len(planted))
            for planting in planted:
                progress.update(task, advance=1, description=f"sabotage: {planting[1].function}")
                yield planting

        return sabotage(ops=ops, seed=seed, gradcheck=gradcheck, progress=shown, processes=available_cores())


def print_sabotage(console: Console, found: Sabotage) -> None:
    """The tables by function and by kind, and what survived."""
    for title, rows in (("function", found.counts()), ("kind of mistake", found.by_kind())):
        table = Table(header_style="bold", pad_edge=False)
        table.add_column(title)
        headings = (
            ("planted", "kinds", "caught", "gradcheck misses")
            if title == "function"
            else (
                "planted",
                "caught",
                "gradcheck misses",
            )
        )
        for heading in headings:
            table.add_column(heading, justify="right")
        for name, *figures in rows:
            table.add_row(str(name), *("-" if figure is None else str(figure) for figure in figures))
        console.print(table)
    rungs = Counter(o.caught_by for o in found.caught)
    console.print(f"caught first by: {', '.join(f'{rung} {count}' for rung, count in rungs.items())}")
    for mistake, reason in found.equivalents:
        console.print(Text(f"equivalent: {mistake.key} ({reason})", "yellow"))
    for survivor in found.survivors:
        console.print(Text(f"SURVIVES: {survivor.mistake.key}", "bold red"))
    asked = [o for o in found.outcomes if o.gradcheck_missed is not None]
    missed = f"torch.autograd.gradcheck misses {sum(bool(o.gradcheck_missed) for o in asked)}. " if asked else ""
    console.print(
        Text(
            f"{len(found.caught)} of {len(found.outcomes) - len(found.equivalents)} planted mistakes fail the ladder. "
            f"{missed}Not counted: {found.not_counted} that crash or break a shape. "
            f"Only scaling a gradient: {found.factor_share:.0%}.",
            "bold green" if found.ok else "bold red",
        )
    )
