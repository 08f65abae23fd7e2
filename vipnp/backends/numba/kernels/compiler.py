"""How kernels are compiled, and how their compiled forms are kept.

Numba looks at the file of a kernel alone when it asks whether the compiled form in its cache is still good: so what a
kernel inlines stands in its file or is named to `kernel`, and these files and the options below are made part of the
key.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

FAST = {"contract", "reassoc", "nsz"}
"""LLVM's freedoms that pay (vectorised sums, fused multiply-add) without those that assume NaN or infinity away. Among
these is "arcp": with it 1 / sqrt(inf) is NaN, since it is refined from an estimate."""

OPTIONS: Any = {"fastmath": FAST, "error_model": "numpy", "nogil": True}

IN_ORDER: Any = {**OPTIONS, "fastmath": {"contract"}}
"""For the functions whose accuracy, or whose range, lies in the order of their operations."""

KERNELS: list[str] = []
"""The names of all kernels."""


class ForgivingCache:
    """Numba's cache of one kernel on disk, where a file that is damaged or cannot be written costs time and no result:
    the kernel is compiled again."""

    def __init__(self, cache: Any, options: Any, inlines: Sequence[ModuleType]) -> None:
        self.cache = cache
        of_overload = cache._index_key
        of_options = sorted((name, sorted(v) if isinstance(v, set) else v) for name, v in options.items())
        others = [hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest() for module in inlines]
        cache._index_key = lambda *overload: (*of_overload(*overload), repr(of_options), *others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What the cache holds for a signature; None where it holds nothing or cannot be read."""
        try:
            return self.cache.load_overload(signature, target)
        except Exception as problem:  # unpickling a damaged file may raise anything
            self.warn("read", problem)
            with contextlib.suppress(OSError):
                self.cache.flush()

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write a compiled form, where that is possible."""
        try:
            self.cache.save_overload(signature, compiled)
        except Exception as problem:  # a full disk, or a damaged index, which is read first
            self.warn("written", problem)

    def warn(self, what: str, problem: Exception) -> None:
        """Say that and where the cache failed; the same words for every kernel, so that they are said once."""
        warnings.warn(
            f"Numba's cache in {self.cache.cache_path} cannot be {what} ({type(problem).__name__}: {problem}), so that "
            "kernels are compiled again: empty this folder, or set NUMBA_CACHE_DIR to another",
            RuntimeWarning,
            stacklevel=2,
        )


def kernel(function: Kernel, options: Any = OPTIONS, inlines: Sequence[ModuleType] = ()) -> Kernel:
    """Compile `function` when it is first called, and keep the result on disk where a cache folder can be written.

    inlines : other modules whose functions are compiled into it.
    """
    KERNELS.append(function.__name__)
    try:
        compiled = numba.njit(cache=True, **options)(function)
        if hasattr(compiled, "_cache"):  # not where Numba is told to compile nothing
            compiled._cache = ForgivingCache(compiled._cache, options, inlines)
    except RuntimeError:
        warnings.warn(
            "Numba finds no folder to keep compiled kernels in, so they are compiled again in every process: "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=1,  # the same place for every kernel, so that it is said once
        )
        compiled = numba.njit(**options)(function)
    return compiled  # type: ignore[no-any-return]


def cache_folder(compiled: Any) -> Path | None:
    """The folder in which the compiled forms of a kernel are kept; None where there is none."""
    path = getattr(getattr(compiled, "_cache", None), "cache_path", None)
    return None if path is None else Path(path)


def kernel_in_order(function: Kernel) -> Kernel:
    """A kernel whose operations keep the order in which they are written."""
    return kernel(function, IN_ORDER)


def kernel_with(*inlines: ModuleType) -> Callable[[Kernel], Kernel]:
    """`kernel` for a function into which functions of these modules are compiled."""
    return lambda function: kernel(function, inlines=inlines)


def part(function: Kernel) -> Kernel:
    """Compile `function` to be called by kernels; LLVM decides where it becomes a part of them."""
    return numba.njit(**OPTIONS)(function)  # type: ignore[no-any-return]


def inlined(function: Kernel) -> Kernel:
    """Compile `function` into the kernels that call it."""
    return numba.njit(inline="always", **OPTIONS)(function)  # type: ignore[no-any-return]
