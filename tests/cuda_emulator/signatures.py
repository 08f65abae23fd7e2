"""What the installed CuPy wheel has: its names and the signatures of its functions and methods."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import cupy
import cupy_backends


def parsed(text: str) -> inspect.Signature:
    """The signature in the first line of a docstring, such as "empty(shape, dtype=float, order='C') -> ndarray"."""
    found = re.match(r"[\w.]+\((.*?)\)(?: ->.*)?$", text.strip().split("\n")[0].replace("\\*", "*"))
    if found is None:
        raise ValueError(f"no signature in {text[:80]!r}")
    parameters = []
    for part in re.split(r",\s*(?![^(\[]*[)\]])", found[1]):
        name, _, default = part.strip().partition("=")
        if name:
            bare = name.split(":")[0].split()[-1]
            parameters.append(f"{bare}=None" if default else bare)
    namespace: dict[str, Any] = {}
    exec(f"def function({', '.join(parameters)}): ...", namespace)
    return inspect.signature(namespace["function"])


@cache
def signature(path: str) -> inspect.Signature:
    """The signature of a function or method of the wheel, such as "cupy.sum" or "cupy.ndarray.get".

    Raises AttributeError if the wheel has no such name.
    """
    thing = look_up(path)
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):
        if isinstance(thing, cupy.ufunc):
            inputs = ", ".join(f"x{i}" for i in range(thing.nin))
            return parsed(f"ufunc({inputs}, /, out=None, *, casting='same_kind', dtype=None)")
        return parsed(thing.__doc__ or "")


@cache
def look_up(path: str) -> Any:
    """The object of the wheel called `path`; AttributeError if there is none."""
    roots = {"cupy": cupy, "cupyx": __import__("cupyx.scipy.special")}
    first, *rest = path.split(".")
    thing = roots[first]
    for name in rest:
        thing = getattr(thing, name)
    return thing


@cache
def cublas_signature(name: str) -> inspect.Signature:
    """The signature of a function of CuPy's cuBLAS module, read from the text of its library.

    The module cannot be imported without cuBLAS itself. Raises AttributeError if it has no such function.
    """
    library = next((Path(cupy_backends.__path__[0]) / "cuda" / "libs").glob("cublas.*.so"))
    found = re.search(rf"{name}\([^)]*\)".encode(), library.read_bytes())
    if found is None:
        raise AttributeError(f"cublas has no {name}")
    return parsed(found[0].decode())


@cache
def cublas_has(name: str) -> bool:
    """Whether the text of the library knows the name of a constant."""
    library = next((Path(cupy_backends.__path__[0]) / "cuda" / "libs").glob("cublas.*.so"))
    return name.encode() in library.read_bytes()
