"""Checks that the parts of training share; the errors name the argument, what came and what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from vipnp.backends import Array, Backend


def check_real(name: str, value: Any, *, low: float, high: float = math.inf, low_included: bool = True) -> None:
    """Raise TypeError unless `value` is a real number, ValueError unless it lies in [low, high) or (low, high)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {value!r}, expected a number")
    number = float(value)
    if not (low < number < high or (low_included and number == low)):
        raise ValueError(f"{name}: got {value!r}, expected a number in {'[' if low_included else '('}{low}, {high})")


def check_whole(name: str, value: Any, *, low: int) -> None:
    """Raise TypeError unless `value` is an integer, ValueError unless value >= low."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, expected an integer")
    if int(value) < low:
        raise ValueError(f"{name}: got {value!r}, expected an integer >= {low}")


def check_backend(xp: Backend) -> None:
    """Raise ValueError if `xp` is an inference backend, which would drop the state of an optimiser."""
    if not xp.keep:
        raise ValueError(f"xp: got the inference form of {xp!r}, expected a backend that keeps pullbacks")


def check_gradients(params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
    """Raise ValueError unless every parameter has a gradient of its shape and dtype, and nothing else has one."""
    problems = [f"missing {name}" for name in params if name not in grads]
    problems += [f"unexpected {name}" for name in grads if name not in params]
    problems += [
        f"{name} is {grads[name].dtype} {tuple(grads[name].shape)}, its parameter {p.dtype} {tuple(p.shape)}"
        for name, p in params.items()
        if name in grads and (grads[name].shape != p.shape or grads[name].dtype != p.dtype)
    ]
    if problems:
        raise ValueError(f"grads: {'; '.join(problems)}; expected one gradient like each of the parameters")
