"""What a case is: a function with inputs, naive definition and PyTorch twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from vipnp.audit import definitions, torch_twins
from vipnp.core import Generator

Kind = Literal["op", "layer", "block", "model"]
Inputs: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
Draw: TypeAlias = Callable[[Generator, Mapping[str, int]], Inputs]


@dataclass(frozen=True)
class Case:
    """One op, layer or model on one kind of input.

    Attributes
    ----------
    op : the function `y, pullback = op(xp, *args, **kwargs)`.
    draw : (rng, sizes) -> (args, kwargs), float64 host arrays.
    sizes : the sizes by letter that a suite with one shape uses.
    ranges : inclusive range of every letter for suites that draw shapes; H and W are never drawn equal.
    variant : what is special about the inputs, unique for the op.
    linear : whether it is linear in a differentiated argument while the others are held fixed (bias excluded).
    kind : op, layer, block or model.
    hard : ill-conditioned on purpose; held to looser, stated bounds.
    one_shot : the pullback can be called once only.
    """

    op: Callable[..., tuple[Any, Callable[[Any], tuple[Any, ...]]]]
    draw: Draw
    sizes: Mapping[str, int]
    ranges: Mapping[str, tuple[int, int]]
    variant: str = ""
    linear: bool = False
    kind: Kind = "op"
    hard: bool = False
    one_shot: bool = False

    @property
    def name(self) -> str:
        """Unique; the op's name, with the variant after a slash."""
        return f"{self.op.__name__}/{self.variant}" if self.variant else self.op.__name__

    @property
    def definition(self) -> Callable[..., Any]:
        """The same function as loops over scalars (nested lists)."""
        return getattr(definitions, self.op.__name__)  # type: ignore[no-any-return]

    @property
    def twin(self) -> Callable[..., Any]:
        """The same function in PyTorch."""
        return getattr(torch_twins, self.op.__name__)  # type: ignore[no-any-return]

    def inputs(self, seed: int = 0, sizes: Mapping[str, int] | None = None) -> Inputs:
        """(args, kwargs) drawn from `seed`, at `sizes` or the case's own."""
        return self.draw(np.random.default_rng(seed), self.sizes if sizes is None else sizes)

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether `sizes` lie in `ranges` with H and W unequal."""
        inside = all(low <= sizes[letter] <= high for letter, (low, high) in self.ranges.items())
        return inside and (not {"H", "W"} <= set(sizes) or sizes["H"] != sizes["W"])
