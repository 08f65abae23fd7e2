"""What is audited: an op with its inputs, and the ways every rung evaluates it."""

from __future__ import annotations

import copy
import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Backend, HostArray
from vipnp.verify.budget import OutOfTimeError, stems_from_the_limit
from vipnp.verify.outcomes import BrokenOpError, UndecidedError, WrongFormError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.several import OfOneArray, in_one_array
from vipnp.verify.trees import argument_names, named_leaves, paths, rebuild
from vipnp.verify.worlds.dual import DualNumbers
from vipnp.verify.worlds.exact import ExactBackend

UNIT_64 = 2.0**-53
"""Half the distance from 1 to the next float64: the largest relative error of one rounding."""

OP_BOUND = 1e-14
COMPOSITE_BOUND = 1e-13
"""How far a tensor may be off another way to compute it in float64, relative to its largest entry, for one op and for
layers and models."""


@dataclass(frozen=True)
class Subject:
    """An op with one set of inputs.

    args are the differentiable arguments: float64 arrays, or nested dicts of them. kwargs are constants. `definition`
    computes the value by other means, `twin` is the same op on PyTorch tensors. `hard` says that rounding spoils the
    derivative on these inputs, so that an error above the bound of a float64 rung decides nothing. `one_shot` says that
    a pullback works once. `tag` tells several cases of one op apart.
    """

    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    definition: Callable[..., Any] | None = None
    twin: Callable[..., Any] | None = None
    seed: int = 0
    hard: bool = False
    one_shot: bool = False
    name: str = ""
    tag: str = ""
    numpy: Backend = field(default_factory=NumpyBackend)

    @cached_property
    def named(self) -> list[tuple[str, HostArray]]:
        """(name, array) of every differentiable array."""
        return named_leaves(argument_names(self.op, len(self.args)), self.args)

    @property
    def names(self) -> list[str]:
        """The names of the differentiable arrays."""
        return [name for name, _ in self.named]

    @property
    def arrays(self) -> list[HostArray]:
        """The differentiable arrays."""
        return [array for _, array in self.named]

    @property
    def entries(self) -> int:
        """How many numbers are differentiated."""
        return sum(array.size for array in self.arrays)

    @property
    def composite(self) -> bool:
        """Whether this is a layer or a model: it has parameters in a dict, and its errors add up over several ops."""
        return any(isinstance(argument, Mapping) for argument in self.args)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on the seed and on what they are for, and on nothing that ran before."""
        return np.random.default_rng([self.seed, *purpose.encode()])

    # --- running the op ----------------------------------------------------------------------------------------------

    def tree(self, arrays: Iterable[Any]) -> tuple[Any, ...]:
        """The arguments with their arrays replaced."""
        rebuilt: tuple[Any, ...] = rebuild(self.args, iter(arrays))
        return rebuilt

    def copies(self) -> list[HostArray]:
        """A writable copy of every differentiable array: an op that writes to its input cannot spoil the next rung."""
        return [array.copy() for array in self.arrays]

    def constants(self) -> dict[str, Any]:
        """The keyword arguments, copied: an op that writes to one, or draws from it, cannot spoil the next run."""
        return copy.deepcopy(dict(self.kwargs))

    def run(
        self,
        backend: Backend,
        arrays: Sequence[Any],
        kwargs: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        *,
        exact: bool = False,
        built: bool = False,
    ) -> tuple[Any, Callable[[Any], Any]]:
        """y and the pullback on `backend`. With `built`, `arrays` are the arguments themselves, with their dicts.

        kwargs : in the place of `constants`, or what gives them where the op may run more than once.

        Raises BrokenOpError where the op raises or returns no such pair; on an exact number type (`exact`) an exception
        means that the op uses something the type does not know, and UndecidedError says so.
        """

        def call(given: Sequence[Any]) -> Any:
            args = given if built else self.tree(given)
            constants = self.constants() if kwargs is None else kwargs() if callable(kwargs) else kwargs
            return self.op(backend, *args, **constants)

        try:
            result = backend.lifting(call, arrays) if isinstance(backend, ExactBackend) else call(arrays)
        except (UndecidedError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _failure("forward", error, backend, exact) from error
        if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
            raise WrongFormError(f"the op returned {_described(result)}, expected the pair (y, pullback)")
        y, pullback = result
        if isinstance(y, (tuple, list)):
            if odd := [part for part in y if _is_no_array(part)]:
                raise WrongFormError(f"y has {_described(odd[0])} in it, expected arrays")
            return in_one_array(y), OfOneArray(pullback, tuple(y))
        if _is_no_array(y):
            raise WrongFormError(f"y is {_described(y)}, expected an array or a tuple of arrays")
        if 0 in np.shape(y):
            raise UndecidedError(f"y has no entries, shape {np.shape(y)}: there is nothing to differentiate")
        return result

    def gradients(
        self,
        backend: Backend,
        pullback: Callable[[Any], Any],
        cotangent: Any,
        *,
        exact: bool = False,
        keep_array: bool = False,
    ) -> list[Any]:
        """The gradient of every differentiable array, in the order of `named`.

        keep_array : pass a cotangent of no axes as an array, and not as the scalar that NumPy would hold.

        Raises BrokenOpError where their number, nesting or shapes are not those of the arguments.
        """
        try:
            returned = pullback(cotangent if keep_array or np.ndim(cotangent) else cotangent[()])
        except (UndecidedError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _failure("pullback", error, backend, exact) from error
        found = self.matched(returned)
        return [np.asarray(gradient, object) for gradient in found] if exact else found

    def matched(self, returned: Any) -> list[Any]:
        """What a pullback returned as one gradient for each differentiable array; see `gradients`."""
        names = argument_names(self.op, len(self.args))
        if not isinstance(returned, tuple):
            raise WrongFormError(f"the pullback returned {_described(returned)}, expected a tuple of gradients")
        if len(returned) != len(self.args):
            raise WrongFormError(
                f"the pullback returned {len(returned)} gradients, expected {len(self.args)}, one for each of "
                f"{', '.join(names)}"
            )
        found = []
        for path, argument, gradient in zip(paths(names, self.args), self.args, returned, strict=True):
            found += _nested_like(argument, gradient, path)
        for (name, array), gradient in zip(self.named, found, strict=True):
            if np.shape(gradient) != array.shape:
                raise BrokenOpError(
                    f"the gradient has shape {tuple(np.shape(gradient))}, expected {array.shape}", argument=name
                )
        return found

    @cached_property
    def cotangent(self) -> HostArray:
        """A random cotangent dy of the shape of y, none of it zero or one."""
        return np.asarray(_away_from_zero(self.rng("cotangent"), self.value.shape))

    @cached_property
    def value(self) -> HostArray:
        """y in float64."""
        y, _ = self.run(self.numpy, self.copies())
        return _real_array(y, "y")

    @cached_property
    def float64_gradients(self) -> list[HostArray]:
        """The gradients in float64 at `cotangent`."""
        _, pullback = self.run(self.numpy, self.copies())
        found = self.gradients(self.numpy, pullback, self.cotangent.copy())
        return [_real_array(g, "the gradient", name) for name, g in zip(self.names, found, strict=True)]

    def slope(
        self,
        numbers: DualNumbers,
        point: Sequence[HostArray],
        directions: Sequence[HostArray | None],
        cotangent: HostArray,
    ) -> Any:
        """sum(cotangent * J u) on exact numbers, u zero where it is None."""
        arrays = [x if u is None else numbers.array(x, u) for x, u in zip(point, directions, strict=True)]
        backend = ExactBackend(numbers)
        y, _ = self.run(backend, arrays, lambda: backend.lift_constants(self.constants()), exact=True)
        return numbers.weighted_tangents(y, cotangent)

    def redrawn(self, which: int) -> Subject:
        """This subject with other inputs of the same kind, each moved by a tenth of the spread along its last axis, and
        with another cotangent."""
        rng = self.rng(f"redrawn {which}")
        arrays = []
        for array in self.arrays:
            spread = np.std(array, axis=-1, keepdims=True) if array.ndim else np.abs(array)
            arrays.append(np.asarray(array + 0.1 * spread * rng.normal(size=array.shape)))
        return replace(self, args=self.tree(arrays), seed=self.seed + 1000 * (which + 1))

    # --- writing rows ------------------------------------------------------------------------------------------------

    def row(
        self,
        rung: str,
        argument: str,
        verdict: Verdict,
        *,
        error: float | None = None,
        bound: float | None = None,
        unit: str = "",
        detail: str = "",
    ) -> Row:
        """A row about one argument, or about the value where `argument` is "y"."""
        shape = dict(self.named)[argument].shape if argument in self.names else ()
        if argument == "y" and "value" in self.__dict__:
            shape = self.value.shape
        return Row(self.name, self.tag, argument, shape, rung, error, bound, unit, verdict, detail)

    def measured(
        self, rung: str, argument: str, error: float, bound: float, unit: str = "of max", detail: str = ""
    ) -> Row:
        """PASS up to the bound, FAIL above it; INCONCLUSIVE above it on inputs declared hard. NaN never passes."""
        if error <= bound:
            verdict = Verdict.PASS
        elif self.hard and math.isfinite(error):
            verdict = Verdict.INCONCLUSIVE
            detail = "; ".join(filter(None, [detail, "ill-conditioned inputs: rounding alone may exceed this bound"]))
        else:
            verdict = Verdict.FAIL
            detail = "; ".join(filter(None, [detail, off_by(error, unit)]))
        return self.row(rung, argument, verdict, error=error, bound=bound, unit=unit, detail=detail)

    @property
    def bound(self) -> float:
        """OP_BOUND or COMPOSITE_BOUND."""
        return COMPOSITE_BOUND if self.composite else OP_BOUND

    def compared(self, rung: str, argument: str, found: HostArray, truth: HostArray) -> Row:
        """The row of a tensor held against the same in float64 by other means, within `bound`."""
        error = relative_error(found, truth)
        detail = "" if error <= self.bound else worst_entry(found, truth)
        return self.measured(rung, argument, error, self.bound, detail=detail)

    def all_rows(self, rung: str, verdict: Verdict, detail: str, argument: str | None = None) -> list[Row]:
        """The same verdict for every argument, or for one."""
        return [self.row(rung, name, verdict, detail=detail) for name in self.names if argument in (None, name)]


def off_by(error: float, unit: str) -> str:
    """In words, how far off a gradient is."""
    if not math.isfinite(error):
        return "the gradient is not finite"
    if unit == "of max":
        return f"off by {error:.2g} of the largest entry"
    return f"off by {error:.3g} {unit}"


def geometric_mean(errors: Sequence[float], floor: float) -> float:
    """The geometric mean of positive numbers, those below `floor` counted as `floor`."""
    return math.exp(sum(math.log(max(error, floor)) for error in errors) / len(errors))


def relative_error(found: HostArray, truth: HostArray) -> float:
    """The largest difference, relative to the largest entry of `truth`; relative to 1 where that is all zero."""
    if found.size == 0:
        return 0.0
    difference = np.abs(np.asarray(found, np.float64) - np.asarray(truth, np.float64))
    scale = float(np.max(np.abs(truth)))
    worst = float(np.max(difference))
    if not (math.isfinite(worst) and math.isfinite(scale)):
        return math.nan
    return worst / scale if scale else worst


def worst_entry(found: HostArray, truth: HostArray) -> str:
    """Where the largest difference is, in words."""
    index = np.unravel_index(int(np.argmax(np.abs(found - truth))), found.shape)
    place = f"[{', '.join(map(str, map(int, index)))}]" if index else ""
    return f"worst at {place or 'the scalar'}: {found[index]:.9g}, expected {truth[index]:.9g}"


def _away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> HostArray:
    return np.asarray(rng.uniform(0.25, 2, shape) * rng.choice([-1.0, 1.0], shape))


def _failure(where: str, error: BaseException, backend: Backend, exact: bool) -> BaseException:
    if stems_from_the_limit(error):
        return OutOfTimeError()
    said = ": ".join(filter(None, [type(error).__name__, str(error)]))
    message = f"the {where} raised {said}{_line(error)}"
    if exact:
        return UndecidedError(f"on {backend.name}, {message}")
    return BrokenOpError(message)


def _line(error: BaseException) -> str:
    """The line of the op's own file that an exception came from; nothing where the op has no source in Python."""
    here = Path(__file__).parent
    called = [frame for frame in traceback.extract_tb(error.__traceback__) if here not in Path(frame.filename).parents]
    own = [frame for frame in called if frame.filename == called[0].filename]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def _is_no_array(value: Any) -> bool:
    return value is None or isinstance(value, (str, tuple, list, Mapping))


def _described(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return f"a {type(value).__name__}"


def _nested_like(argument: Any, gradient: Any, name: str) -> list[Any]:
    if isinstance(argument, Mapping):
        if not isinstance(gradient, Mapping) or set(gradient) != set(argument):
            keys = sorted(gradient) if isinstance(gradient, Mapping) else _described(gradient)
            raise BrokenOpError(f"the gradient of {name or 'the parameters'} has {keys}, expected {sorted(argument)}")
        children = [(child, gradient[key], f"{name}.{key}" if name else key) for key, child in argument.items()]
    elif isinstance(argument, (list, tuple)):
        if not isinstance(gradient, (list, tuple)) or len(gradient) != len(argument):
            raise BrokenOpError(f"the gradient of {name} is {_described(gradient)}, expected {_described(argument)}")
        children = [(child, gradient[i], f"{name}.{i}") for i, child in enumerate(argument)]
    elif _is_no_array(gradient):
        raise BrokenOpError(f"the gradient is {_described(gradient)}, expected an array", argument=name)
    else:
        return [gradient]
    return [leaf for child in children for leaf in _nested_like(*child)]


def _real_array(value: Any, what: str, argument: str | None = None) -> HostArray:
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise BrokenOpError(f"{what} has dtype {array.dtype}, expected float64", argument=argument)
    return array
