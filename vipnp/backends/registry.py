"""Backends by name: ours, and those that installed packages register by entry point."""

from __future__ import annotations

import difflib
import inspect
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from vipnp.backends.base import Backend

GROUP = "vipnp.backends"

BUILT_IN = {
    "numpy": "vipnp.backends.numpy:create",
    "cupy": "vipnp.backends.cupy:create",
    "numba": "vipnp.backends.numba:create",
}
"""Backend name -> "module:function"; the module is imported only when the backend is asked for."""


def list_backends() -> list[str]:
    """The names `get_backend` knows, sorted: the built-in ones and those of installed packages."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def get_backend(name: str | Backend, **options: Any) -> Backend:
    """The backend called `name`, made with `options`; a `Backend` is returned as it is.

    Raises ValueError for an unknown name (naming the nearest) or option, TypeError if `name` is no string or if
    options come with a ready-made backend, ImportError naming the extra to install where the library behind the
    backend is missing.
    """
    if isinstance(name, Backend):
        if options:
            raise TypeError(f"options {sorted(options)} cannot be given to a ready-made backend: {name!r}")
        return name
    if not isinstance(name, str):
        raise TypeError(f"backend: expected a name or a Backend, got {type(name).__name__}")
    names = list_backends()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ValueError(
            f"backend: unknown name {name!r}; expected one of {', '.join(names)}"
            + (f" (did you mean {near[0]!r}?)" if near else "")
        )
    if name in BUILT_IN:
        module, function = BUILT_IN[name].split(":")
        create = getattr(import_module(module), function)
    else:
        points = {point.value: point for point in entry_points(group=GROUP, name=name)}
        if len(points) > 1:
            raise ValueError(f"backend {name!r}: registered more than once, by {' and '.join(sorted(points))}")
        create = next(iter(points.values())).load()
    parameters = inspect.signature(create).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for option in options:
        if option not in parameters and not open_ended:
            near = difflib.get_close_matches(option, parameters, n=1)
            raise ValueError(
                f"backend {name!r} has no option {option!r}; expected one of: {', '.join(parameters) or 'none at all'}"
                + (f" (did you mean {near[0]!r}?)" if near else "")
            )
    backend = create(**options)
    if not isinstance(backend, Backend):
        raise TypeError(f"backend {name!r}: its entry point returned {type(backend).__name__}, expected a Backend")
    return backend
