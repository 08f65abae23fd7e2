"""Monte Carlo arithmetic: float64 arrays whose every result is off by a random share of its last digit, so that several
runs of an op show how much it rounds by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

UNIT = 2.0**-52
"""Of so much of an entry a share is drawn: of half as much, the sum would often be rounded to what was there."""

BUFFERS = (np.empty_like, np.zeros_like, np.ones_like, np.full_like)
"""Functions whose results an op may keep for later."""


class ShakenArray(np.ndarray[Any, Any]):
    """An array that shakes what functions of NumPy give of it, inside `shaking`. A whole number is left alone, since it
    is most likely exact and may become an index; so is float32, of which an op that rounds to it on purpose would be
    excused. What comes of BUFFERS is an array of NumPy's own class."""

    rng: ClassVar[np.random.Generator | None] = None

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if out:
            options["out"] = tuple(_bare(part) for part in out)
        options = {key: _bare(value) for key, value in options.items()}
        result = getattr(ufunc, method)(*map(_bare, inputs), **options)
        if out:
            for part, bare in zip(out, options["out"], strict=True):
                if part is not None:
                    bare[...] = shaken(bare)
            return out[0] if len(out) == 1 else out
        return tuple(map(shaken, result)) if isinstance(result, tuple) else shaken(result)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(function, types, args, kwargs)
        if function in BUFFERS:
            return _bare(result)
        if isinstance(result, np.ndarray) and not result.flags.owndata:
            return result.view(ShakenArray)  # what is written to it must come to where it belongs
        return shaken(result)


@contextmanager
def shaking(rng: np.random.Generator) -> Iterator[None]:
    """Shaken arrays shake inside this alone: what an op has kept of them does no harm later."""
    ShakenArray.rng = rng
    try:
        yield
    finally:
        ShakenArray.rng = None


def shaken(value: Any) -> Any:
    """A float64 or complex128 array, every part of every entry off by up to UNIT of itself; anything else as it is."""
    if ShakenArray.rng is None:
        return _bare(value)
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype not in (np.float64, np.complex128):
        return value
    array = np.array(_bare(value), order="C", ndmin=1)
    parts = array.view(np.float64)
    shares = UNIT * ShakenArray.rng.uniform(-1, 1, parts.shape)
    parts += np.where(parts == np.rint(parts), 0, shares * parts)
    return array.view(ShakenArray) if np.ndim(value) else array[0]


def _bare(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, ShakenArray) else value
