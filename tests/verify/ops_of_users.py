"""A table of ops as people write them, with what each is called on: those of the right and of the wrong ops alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_RNG = np.random.default_rng(5)
X = _RNG.normal(size=(3, 4))
Z = _RNG.normal(size=(3, 4))
W = _RNG.normal(size=(2, 4))
B = _RNG.normal(size=2)
IMAGE = _RNG.normal(size=(2, 3, 5))
LABELS_OF_THREE = np.array([2, 0, 3])
POSITIVE = _RNG.uniform(0.5, 2, size=(3, 4))

Called = tuple[Callable[..., Any], list[Any], dict[str, Any]]


class Table(dict[str, Called]):
    """Op, arguments and constants by name."""

    def add(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add the op that follows, called on these arguments and constants."""

        def decorate(op: Callable[..., Any]) -> Callable[..., Any]:
            assert op.__name__ not in self
            self[op.__name__] = (op, list(args), kwargs)
            return op

        return decorate

    def elementwise(self, name: str, value: Callable[[Any], Any], slope: Callable[[Any], Any], x: Any = X) -> None:
        """Add y = value(x) with dx = dy * slope(x)."""

        def op(xp: Any, x: Any) -> Any:
            return value(x), lambda dy: (dy * slope(x),)

        op.__name__ = name
        self.add(x)(op)
