"""Backends by name: ours, and those that installed packages register by entry point."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from vipnp.core.backend import Backend
from vipnp.core.checks import did_you_mean

GROUP = "vipnp.backends"


class BuiltIn(NamedTuple):
    """A backend of this library: its module, whose `create` makes it, and what that needs beyond the core.

    The module is imported only when the backend is asked for. hint : how to install the libraries it imports.
    """

    module: str
    libraries: tuple[str, ...] = ()
    hint: str = ""


BUILT_IN = {
    "numpy": BuiltIn("vipnp.backends.numpy"),
    "cupy": BuiltIn(
        "vipnp.backends.cupy", ("cupy",), 'pip install "vipnp[cuda13]" (or "vipnp[cuda12]" for a driver of CUDA 12)'
    ),
    "array_api": BuiltIn("vipnp.backends.array_api"),
    "numba": BuiltIn("vipnp.backends.numba", ("numba", "threadpoolctl"), 'pip install "vipnp[numba]"'),
}
"""Backend name -> where it is."""


def _installed(name: str = "") -> Any:
    """The entry points of installed packages, or those of one name. What finds them is imported here: it brings a
    parser of e-mail along."""
    from importlib.metadata import entry_points

    return entry_points(group=GROUP, name=name) if name else entry_points(group=GROUP)


def list_backends() -> list[str]:
    """The names `get_backend` knows, sorted: the built-in ones and those of installed packages."""
    return sorted({*BUILT_IN, *(point.name for point in _installed())})


def get_backend(name: str | Backend, **options: Any) -> Backend:
    """The backend called `name`, made with `options`.

    Parameters
    ----------
    name : one of `list_backends`; a `Backend` is returned as it is.
    **options : what the backend takes, see its page or docs/cpu.md and docs/cuda.md.

    Returns
    -------
    Backend
        Made with the options, or `name` itself.

    Raises
    ------
    ValueError
        For an unknown name (naming the nearest) or option.
    TypeError
        If `name` is no string, or options come with a ready-made backend.
    ImportError
        Naming the extra to install where the library behind the backend is missing.
    """
    if isinstance(name, Backend):
        if options:
            raise TypeError(f"options {sorted(options)} cannot be given to a ready-made backend: {name!r}")
        return name
    if not isinstance(name, str):
        raise TypeError(f"backend: expected a name or a Backend, got {type(name).__name__}")
    names = list_backends()
    if name not in names:
        raise ValueError(
            f"backend: unknown name {name!r}; expected one of {', '.join(names)}{did_you_mean(name, names)}"
        )
    if name in BUILT_IN:
        create = _built_in(name)
    else:
        points = {point.value: point for point in _installed(name=name)}
        if len(points) > 1:
            raise ValueError(f"backend {name!r}: registered more than once, by {' and '.join(sorted(points))}")
        create = next(iter(points.values())).load()
    parameters = inspect.signature(create).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for option in options:
        if option not in parameters and not open_ended:
            raise ValueError(
                f"backend {name!r} has no option {option!r}; expected one of: {', '.join(parameters) or 'none at all'}"
                + did_you_mean(option, parameters)
            )
    for parameter in parameters.values():
        required = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        if required and parameter.name not in options:
            raise ValueError(
                f"backend {name!r}: option {parameter.name!r} is missing, expected "
                f"get_backend({name!r}, {parameter.name}=...)"
            )
    backend = create(**options)
    if not isinstance(backend, Backend):
        raise TypeError(f"backend {name!r}: its entry point returned {type(backend).__name__}, expected a Backend")
    if backend.remake is None:
        backend.remake = partial(get_backend, name, **options)
    return backend


def _built_in(name: str) -> Callable[..., Any]:
    """The function that makes the backend `name`; ImportError where a library it needs is missing or does not load."""
    module, libraries, hint = BUILT_IN[name]
    for library in libraries:
        try:
            import_module(library)
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == library:
                raise ImportError(f'backend "{name}" needs {library}, which is not installed: {hint}') from error
            raise ImportError(f'backend "{name}": {library} is installed and cannot be loaded: {error}') from error
    create: Callable[..., Any] = import_module(module).create
    return create
