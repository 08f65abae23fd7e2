"""`verify`: the ladder of rungs, on any function of the shape `y, pullback = op(xp, ...)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from vipnp.core.checks import check_flag, check_real, check_whole, shown
from vipnp.verify.budget import SECONDS, OutOfTimeError, limited
from vipnp.verify.extras import MissingExtraError, need
from vipnp.verify.outcomes import BrokenOpError, UndecidedError, WrongFormError
from vipnp.verify.report import Report, Row, Verdict
from vipnp.verify.rungs.adjoint import adjoint
from vipnp.verify.rungs.certified import certified
from vipnp.verify.rungs.complex_step import complex_step
from vipnp.verify.rungs.contract import contract
from vipnp.verify.rungs.differences import differences
from vipnp.verify.rungs.elsewhere import elsewhere
from vipnp.verify.rungs.finite_field import finite_field
from vipnp.verify.rungs.float32 import float32
from vipnp.verify.rungs.proof import proof
from vipnp.verify.rungs.pytorch import pytorch
from vipnp.verify.rungs.value import value
from vipnp.verify.subject import Subject
from vipnp.verify.trees import argument_names, named_leaves, tree_arrays

Rung: TypeAlias = Callable[[Subject], list[Row]]

RUNGS: Mapping[str, Rung] = MappingProxyType(
    {
        "contract": contract,
        "value": value,
        "adjoint": adjoint,
        "differences": differences,
        "elsewhere": elsewhere,
        "complex_step": complex_step,
        "finite_field": finite_field,
        "certified": certified,
        "proof": proof,
        "pytorch": pytorch,
        "float32": float32,
    }
)
"""Every rung by name, from the ground up."""


IMPORTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "certified": ("flint", "audit"),
        "proof": ("sympy", "audit"),
        "pytorch": ("torch", "test"),
        "float32": ("torch", "test"),
    }
)
"""What a rung imports, and the extra that brings it. It is imported before the time starts: an import that is cut off
leaves half a module for all who come after."""


def verify(
    op: Callable[..., Any],
    args: Sequence[Any],
    *,
    kwargs: Mapping[str, Any] | None = None,
    definition: Callable[..., Any] | None = None,
    twin: Callable[..., Any] | None = None,
    rungs: Sequence[str] | None = None,
    seed: int = 0,
    hard: bool = False,
    one_shot: bool = False,
    seconds: float | None = SECONDS,
    name: str | None = None,
    tag: str = "",
) -> Report:
    """Hold `op` and its hand-written gradients against every rung of the ladder.

    Parameters
    ----------
    op : `y, pullback = op(xp, *args, **kwargs)`; `pullback(dy)` returns a tuple with one gradient for each of `args`.
        Where y is a tuple of arrays, dy is one of as many.
    args : the differentiated arguments, float64 NumPy arrays or nested dicts of them.
    kwargs : constants: masks, labels, hyperparameters. Arrays, numbers, anything the op takes.
    definition : the same function of nested lists of floats, as loops over scalars; for the rung "value".
    twin : the same function of PyTorch tensors; for the rungs "pytorch" and "float32".
    rungs : names of `RUNGS` to climb, all by default.
    seed : of the cotangents, directions and field elements; not negative.
    hard : the inputs are ill-conditioned on purpose: an error above the bound of a float64 rung decides nothing, and
        the certified rung asks for no more than twice the error of PyTorch.
    one_shot : a pullback works once, and raises RuntimeError the second time.
    seconds : what a rung may take; beyond, it is INCONCLUSIVE. None sets no limit.
    name, tag : what the rows call the op (its own name by default) and this case of it.

    Returns
    -------
    Report
        A row for every argument and rung.

    Raises
    ------
    TypeError, ValueError
        For what is no op: it does not take `xp`, `args` and `kwargs`, or does not return what is said above. For inputs
        that cannot be audited: integers, empty arrays, NaN or infinity, arrays of another dtype, constants that cannot
        be copied, an unknown rung, a seed or a number of seconds that is none, a definition that is no function.
    """
    seed = check_whole("seed", seed, low=0)
    if seconds is not None:
        try:
            seconds = check_real("seconds", seconds, low=0, low_included=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"seconds: got {shown(seconds)}, expected a positive number, or None for no limit"
            ) from error
    for option, function in (("definition", definition), ("twin", twin)):
        if function is not None and not callable(function):
            raise TypeError(f"{option}: got {shown(function)}, expected a function of the arguments of op without xp")
    hard, one_shot = check_flag("hard", hard), check_flag("one_shot", one_shot)
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs: got {shown(kwargs)}, expected a mapping from names to constants")
    subject = Subject(
        op=op,
        args=tuple(args) if isinstance(args, (list, tuple)) else (args,),
        kwargs=dict(kwargs or {}),
        definition=definition,
        twin=twin,
        seed=seed,
        hard=hard,
        one_shot=one_shot,
        name=name if name is not None else getattr(op, "__name__", type(op).__name__),
        tag=tag,
    )
    check_inputs(subject)
    climbed = chosen_rungs(rungs)
    check_form(subject, seconds)
    report = Report(seed=seed)
    for rung in climbed:
        report.extend(climb(rung, subject, seconds=seconds))
    return report


def check_pullback(op: Callable[..., Any], args: Sequence[Any], **options: Any) -> None:
    """Assert that every hand-written gradient of `op` is right: one line of a test suite.

    Parameters
    ----------
    op : `y, pullback = op(xp, *args, **kwargs)`, as for `verify`.
    args : the differentiated arguments, float64 NumPy arrays or nested dicts of them.
    options : of `verify`, such as kwargs and rungs.

    Raises
    ------
    AssertionError
        With the report, where a check fails or none looked at a gradient.
    TypeError, ValueError
        As `verify`.
    """
    __tracebackhide__ = True  # pytest then shows the line that called this
    report = verify(op, args, **options)
    if not report.decided:
        raise AssertionError(str(report))


def chosen_rungs(rungs: Sequence[str] | None, ladder: Mapping[str, Rung] = RUNGS) -> list[str]:
    """The names asked for, in the order of the ladder. Raises ValueError for an unknown one."""
    if rungs is None:
        return list(ladder)
    if isinstance(rungs, str):
        raise TypeError(f"rungs: got the string {rungs!r}, expected a list of names")
    for rung in rungs:
        if rung not in ladder:
            raise ValueError(f"rungs: unknown rung {rung!r}, expected some of {', '.join(ladder)}")
    return [rung for rung in ladder if rung in rungs]


def climb(rung: str, subject: Subject, function: Rung | None = None, *, seconds: float | None = None) -> list[Row]:
    """The rows of one rung (`function` where it is none of RUNGS), which may take so many seconds.

    What the op does wrong becomes a FAIL, and so does any other exception (from a definition or a twin, say); what the
    rung cannot do, or not in time, becomes an INCONCLUSIVE.
    """
    try:
        if rung in IMPORTED and (IMPORTED[rung][0] != "torch" or subject.twin is not None):
            need(*IMPORTED[rung])
        with np.errstate(all="ignore"):
            return limited(seconds, partial(RUNGS[rung] if function is None else function, subject))
    except BrokenOpError as error:
        return subject.all_rows(rung, Verdict.FAIL, str(error), error.argument)
    except (UndecidedError, MissingExtraError) as reason:
        return subject.all_rows(rung, Verdict.INCONCLUSIVE, str(reason))
    except OutOfTimeError:
        return subject.all_rows(rung, Verdict.INCONCLUSIVE, f"not done after {seconds:g} s")
    except MemoryError:
        return subject.all_rows(rung, Verdict.INCONCLUSIVE, "out of memory")
    except Exception as error:
        return subject.all_rows(rung, Verdict.FAIL, f"the rung ended with {type(error).__name__}: {error}")


def check_inputs(subject: Subject) -> None:
    """Raises TypeError or ValueError, naming op and argument, for inputs that no rung can work with."""
    if not callable(subject.op):
        raise TypeError(f"op: got {type(subject.op).__name__}, expected a function y, pullback = op(xp, ...)")
    if not subject.args:
        raise ValueError(f"{subject.name}: args is empty, expected at least one differentiable array")
    found = named_leaves(argument_names(subject.op, len(subject.args)), subject.args)
    if not found:
        raise ValueError(f"{subject.name}: args hold no array to differentiate")
    for argument, array in found:
        where = f"{subject.name}, argument {argument}"
        if type(array) is not np.ndarray:  # a masked array or a matrix computes otherwise
            raise TypeError(f"{where}: got {type(array).__name__}, expected a float64 NumPy array")
        if array.dtype != np.float64:
            hint = "; constants such as labels go into kwargs" if array.dtype.kind in "biu" else ""
            raise TypeError(f"{where}: got dtype {array.dtype}, expected float64{hint}")
        if array.size == 0:
            raise ValueError(f"{where}: got an empty array of shape {array.shape}, expected at least one entry")
        _check_finite(where, array)
    for key, constant in subject.kwargs.items():
        try:
            copy.deepcopy(constant)
        except Exception as error:
            raise TypeError(
                f"{subject.name}, constant {key}: got {type(constant).__name__}, expected something that "
                f"copy.deepcopy can copy ({error})"
            ) from error
    for key, constant in tree_arrays(subject.kwargs):
        if isinstance(constant, np.ndarray) and constant.dtype.kind == "f":
            _check_finite(f"{subject.name}, constant {key}", constant)


def check_form(subject: Subject, seconds: float | None) -> None:
    """Raises TypeError for what is no op at all, of which every rung would say the same. What an op does wrong besides,
    such as to raise or not to end, is for the rungs."""
    try:
        signature = inspect.signature(subject.op)
    except (TypeError, ValueError):  # a function written in C may have none
        signature = None
    if signature is not None:
        try:
            signature.bind(subject.numpy, *subject.args, **subject.kwargs)
        except TypeError as error:
            given = ", ".join(["xp", *("array" for _ in subject.args), *(f"{key}=" for key in subject.kwargs)])
            raise TypeError(f"op: got {subject.name}{signature}, expected one that takes ({given}): {error}") from error
    try:
        with np.errstate(all="ignore"):
            limited(seconds, lambda: subject.float64_gradients)
    except WrongFormError as fault:
        raise TypeError(f"{subject.name}: {fault}") from fault
    except (Exception, OutOfTimeError):
        return


def _check_finite(where: str, array: Any) -> None:
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise ValueError(f"{where}: {bad} of {array.size} entries are NaN or infinite, expected finite numbers")
