"""The array world an op runs in: an array namespace, the few things a network adds to it, and a replacement table."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
Y = TypeVar("Y")
Back = TypeVar("Back")

Array: TypeAlias = Any
"""An array of the backend at hand; the array API standard has no common base class to name here."""

HostArray: TypeAlias = np.ndarray[Any, Any]
"""A NumPy array in the memory of the host."""

Generator: TypeAlias = "np.random.Generator"
"""The source of all random draws; they are made on the host, so that every backend draws alike. A name, since NumPy
imports its generators when they are first asked for."""

Op: TypeAlias = Callable[..., Any]
"""An op or a layer: `y, pullback = op(xp, ...)`."""

Pullback1: TypeAlias = Callable[[Array], tuple[Array]]
Pullback2: TypeAlias = Callable[[Array], tuple[Array, Array]]
Pullback3: TypeAlias = Callable[[Array], tuple[Array, Array, Array]]

CONSTANTS: Mapping[str, float] = MappingProxyType({"rsqrt_2pi": 0.39894228040143267794})
"""Irrational constants by name, correctly rounded to float64: rsqrt_2pi = 1/sqrt(2 pi)."""

NO_REPLACEMENTS: Mapping[Op, Op] = MappingProxyType({})


def _dropped(*_: object) -> NoReturn:
    raise RuntimeError("this result was computed for inference (keep=False): it has no pullback")


def _remade(remake: Callable[[], Backend], keep: bool, counting: bool) -> Backend:
    backend = remake()
    if counting:
        backend = backend.counting()
    return backend if keep else backend.inference()


class Replacements(dict[Op, Op]):
    """A table from a readable op or layer to the fused function with the same signature.

    >>> TABLE = Replacements()
    >>> @TABLE.replaces(layer_norm)
    ... def layer_norm_rows(xp, x, weight, bias, eps=1e-5): ...
    """

    def replaces(
        self, op: Callable[Concatenate[Any, P], R]
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Callable[Concatenate[Any, P], R]]:
        """Decorate the fused function that stands in for `op`; a type checker holds the two signatures equal.

        Raises ValueError if `op` has a replacement in this table already.
        """

        def add(fast: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
            if op in self:
                raise ValueError(f"op {op.__name__} is replaced twice: by {self[op].__name__} and {fast.__name__}")
            self[op] = fast
            return fast

        return add


class _Watched(Mapping[Op, Op]):
    """A table that passes all that is found by way of `watch`, also what has no replacement."""

    def __init__(self, table: Mapping[Op, Op], watch: Callable[[Op, Op], Op]) -> None:
        self.table, self.watch = table, watch

    def __getitem__(self, op: Op) -> Op:
        return self.watch(op, self.table.get(op, op))

    def __iter__(self) -> Iterator[Op]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)


class Backend(ABC):
    """An array namespace (in the sense of the Python array API standard) plus what a network needs.

    Every function of the namespace is an attribute: `xp.exp`, `xp.reshape`, ...  Ops take a backend as their explicit
    first argument `xp`; there is no global state, and which kernels run is a property of this one object.

    Attributes
    ----------
    name : what `get_backend` calls it.
    namespace : the array namespace behind it.
    array_type : the class of its arrays; `run` refuses arrays of any other class, derived ones included.
    device : the device its arrays live on, None where the namespace has only one.
    replacements : readable op or layer -> fused function; empty unless a fused table was asked for.
    keep : False for inference: every pullback is let go as soon as its op returns.
    ran : None, or a count of the functions that `find`, `run` and `readable` came to (see `counting`).
    notes : lines for whoever reads a summary, such as who multiplies its matrices.
    products : by which library which kind of product is multiplied, where that is measured: others round otherwise.
    remake : makes a backend like this one, as `get_backend` with its name and options does; None for one made by hand.

    A pickled backend is its `remake`: the other process makes its own, with its own threads and libraries. A deep copy
    is the backend itself, since it holds no values of anybody.
    """

    def __init__(
        self,
        name: str,
        namespace: Any,
        array_type: type,
        *,
        device: Any = None,
        replacements: Mapping[Op, Op] = NO_REPLACEMENTS,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.array_type = array_type
        self.device = device
        self.replacements: Mapping[Op, Op] = MappingProxyType(dict(replacements))
        self.keep = True
        self.ran: Counter[Op] | None = None
        self.notes: tuple[str, ...] = ()
        self.products = ""
        self.remake: Callable[[], Backend] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "namespace":
            raise AttributeError(name)
        return getattr(self.namespace, name)

    def __array_namespace_info__(self) -> Any:
        """What the namespace says of its devices and dtypes, see the array API standard."""
        return self.namespace.__array_namespace_info__()

    def __repr__(self) -> str:
        return f"<vipnp backend {self.name!r}>"

    def __copy__(self) -> Backend:
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        return twin

    def __deepcopy__(self, memo: object) -> Backend:
        return self

    def __reduce__(self) -> tuple[Callable[..., Backend], tuple[Any, ...]]:
        if self.remake is None:
            raise TypeError(f"backend {self.name!r}: got one made by hand, expected one of get_backend to pickle")
        return _remade, (self.remake, self.keep, self.ran is not None)

    # --- running ops ---------------------------------------------------------------------------------------------

    def find(self, function: F) -> F:
        """What runs here in the place of `function`.

        It is called as `function` is, with this backend first. What returns no pullback, such as an optimiser's step,
        is run so. Counted in `ran`.

        Parameters
        ----------
        function : a readable op, layer or optimiser step.

        Returns
        -------
        callable
            Its replacement if this backend has one, else `function` itself.
        """
        found = cast("F", self.replacements.get(function, function))
        if self.ran is not None:
            self.ran[found] += 1
        return found

    def run(
        self, op: Callable[Concatenate[Any, P], tuple[Y, Back]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Y, Back]:
        """Run what `find` finds for `op`. Calling `op` itself checks nothing.

        Parameters
        ----------
        op : an op or a layer, `y, pullback = op(xp, ...)`.
        *args, **kwargs : its arguments after `xp`.

        Returns
        -------
        y : what `op` returns.
        pullback : takes one cotangent, an array of this backend with the shape and dtype of y, and raises TypeError or
            ValueError for anything else. Inference lets it go.

        Raises
        ------
        TypeError
            If an argument is an array of another library or on another device.
        """
        for value in (*args, *kwargs.values()):
            if hasattr(value, "__dlpack__") and not self.owns(value):
                raise TypeError(f"{op.__name__}: {self._foreign(value)}")
        y, pullback = self.find(op)(self, *args, **kwargs)
        if not self.keep:
            return y, cast("Back", _dropped)
        return y, self._guarded(op, y, pullback)

    def readable(
        self, op: Callable[Concatenate[Any, P], tuple[Y, Back]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Y, Back]:
        """`op` as it stands: what a replacement returns for a call that it does not cover. Counted in `ran`, which so
        tells whether a replacement did its work itself.

        Parameters
        ----------
        op : an op or a layer.
        *args, **kwargs : its arguments after `xp`.

        Returns
        -------
        y, pullback : what `op` returns.
        """
        if self.ran is not None:
            self.ran[op] += 1
        return op(self, *args, **kwargs)

    def _guarded(self, op: Op, y: Any, pullback: Back) -> Back:
        """`pullback` behind a look at its cotangent, where y is an array and no bare number."""
        if not hasattr(y, "shape"):
            return pullback
        kind, shape, dtype = type(y), y.shape, y.dtype  # and not y, which nobody else may need any more
        one_device = self.device is None

        def guarded(dy: Array) -> Any:
            if not (one_device and type(dy) is kind and dy.shape == shape and dy.dtype == dtype):
                self._check_cotangent(op, dy, kind, shape, dtype)
            return cast("Callable[[Array], Any]", pullback)(dy)

        return cast("Back", guarded)

    def _check_cotangent(self, op: Op, dy: Any, kind: type, shape: tuple[int, ...], dtype: Any) -> None:
        name = f"cotangent of {op.__name__}"
        if not (self.owns(dy) or type(dy) is kind is not self.array_type):
            raise TypeError(f"{name}: {self._foreign(dy)}")
        if dy.shape != shape:
            raise ValueError(f"{name}: got shape {tuple(dy.shape)}, expected {tuple(shape)}, that of its y")
        if dy.dtype != dtype:
            raise TypeError(f"{name}: got dtype {dy.dtype}, expected {dtype}, that of its y")

    def _foreign(self, value: object) -> str:
        where = here = ""
        if self.device is not None:
            where, here = f" on {getattr(value, 'device', 'another device')}", f" on {self.device}"
        return (
            f"got an array of type {type(value).__module__}.{type(value).__name__}{where}; "
            f"backend {self.name!r} takes {self.array_type.__module__}.{self.array_type.__name__}{here}"
        )

    def inference(self) -> Backend:
        """This backend with keep=False: `run` drops every pullback at once, and with it what it saved."""
        twin = copy.copy(self)
        twin.keep = False
        return twin

    def counting(self) -> Backend:
        """This backend with a fresh count in `ran` of the functions that `find`, `run` and `readable` come to."""
        twin = copy.copy(self)
        twin.ran = Counter()
        return twin

    def watched(self, watch: Callable[[Op, Op], Op]) -> Backend:
        """This backend, its functions looked at on their way.

        Parameters
        ----------
        watch : gives what runs, from (op, the function that this backend would run for it).

        Returns
        -------
        Backend
            One with `watch(op, function)` in the place of every `function`.
        """
        twin = copy.copy(self)
        twin.replacements = _Watched(self.replacements, watch)
        return twin

    # --- what an array namespace lacks ----------------------------------------------------------------------------

    def constant(self, name: str) -> Any:
        """An irrational constant in the number type of this backend.

        Parameters
        ----------
        name : "rsqrt_2pi" is 1/sqrt(2 pi).

        Returns
        -------
        float, or a number of the backend's own
            It multiplies arrays of this backend without changing their dtype.
        """
        return CONSTANTS[name]

    @abstractmethod
    def ndtr(self, x: Array) -> Array:
        """The normal distribution function Phi, accurate relative to Phi in both tails.

        Parameters
        ----------
        x : an array of any shape.

        Returns
        -------
        Array
            Phi of every element, in the shape and dtype of `x`.
        """

    def sum_rows(self, x: Array) -> Array:
        """Sum over all axes but the last.

        A backend whose `sum` adds rows one after another overrides this, so that the rounding error of a sum over n
        rows grows like sqrt(n) and not like n.

        Parameters
        ----------
        x : (*, C).

        Returns
        -------
        Array
            (C,), in the dtype of `x`.
        """
        return self.namespace.sum(x, axis=tuple(range(x.ndim - 1)))

    # --- arrays in and out ------------------------------------------------------------------------------------------

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Host values as an array on this backend's device; no copy where none is needed.

        Parameters
        ----------
        values : numbers, host arrays, or an array of this backend.
        dtype : a dtype of the namespace, or None for that of the values.

        Returns
        -------
        Array
            An array that the backend owns.
        """
        if self.device is None:
            return self.namespace.asarray(values, dtype=dtype)
        return self.namespace.asarray(values, dtype=dtype, device=self.device)

    def to_numpy(self, x: Array) -> HostArray:
        """The values of `x` on the host.

        Parameters
        ----------
        x : an array of this backend.

        Returns
        -------
        HostArray
            A NumPy array; it may share memory with `x` on a CPU backend.
        """
        return np.from_dlpack(x)

    def owns(self, x: object) -> bool:
        """Whether `x` is an array of this backend, on its device.

        An array of a derived class is none: a matrix multiplies otherwise, a masked array hides what it holds.

        Parameters
        ----------
        x : anything.

        Returns
        -------
        bool
            False for what is no array at all, too.
        """
        return type(x) is self.array_type and (self.device is None or getattr(x, "device", self.device) == self.device)

    def synchronize(self) -> None:  # noqa: B027 - a CPU has nothing to wait for
        """Wait until everything asked of the device has been done; nothing to wait for on a CPU."""
