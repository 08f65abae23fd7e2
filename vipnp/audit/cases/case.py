"""What a case is: a function with inputs, naive definition and PyTorch twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
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
    name : unique; the op's name, with what is special about the inputs after a slash.
    op : the function `y, pullback = op(xp, *args, **kwargs)`.
    draw : (rng, sizes) -> (args, kwargs), float64 host arrays.
    sizes : the sizes by letter that a suite with one shape uses.
    ranges : inclusive range of every letter for suites that draw shapes; H and W are never drawn equal.
    definition : the same function as loops over scalars (nested lists).
    twin : the same function in PyTorch.
    arguments : the names of the differentiated arguments.
    linear_in : the differentiated arguments it is linear in while the others are held fixed (bias excluded).
    kind : op, layer, block or model.
    hard : ill-conditioned on purpose; held to looser, stated bounds.
    one_shot : the pullback can be called once only.
    """

    name: str
    op: Callable[..., tuple[Any, Callable[[Any], tuple[Any, ...]]]]
    draw: Draw
    sizes: Mapping[str, int]
    ranges: Mapping[str, tuple[int, int]]
    definition: Callable[..., Any]
    twin: Callable[..., Any]
    arguments: tuple[str, ...]
    linear_in: tuple[str, ...] = ()
    kind: Kind = "op"
    hard: bool = False
    one_shot: bool = False

    def inputs(self, seed: int = 0, sizes: Mapping[str, int] | None = None) -> Inputs:
        """(args, kwargs) drawn from `seed`, at `sizes` or the case's own."""
        return self.draw(np.random.default_rng(seed), self.sizes if sizes is None else sizes)

    def fits(self, sizes: Mapping[str, int]) -> bool:
        """Whether `sizes` lie in `ranges` with H and W unequal."""
        inside = all(low <= sizes[letter] <= high for letter, (low, high) in self.ranges.items())
        return inside and (not {"H", "W"} <= set(sizes) or sizes["H"] != sizes["W"])


def make_case(
    op: Callable[..., Any],
    draw: Draw,
    sizes: Mapping[str, int],
    ranges: Mapping[str, tuple[int, int]],
    arguments: tuple[str, ...],
    variant: str = "",
    **fields: Any,
) -> Case:
    """A case named after its op and variant; definition and twin are those of the op's name."""
    name = op.__name__
    return Case(
        name=f"{name}/{variant}" if variant else name,
        op=op,
        draw=draw,
        sizes=MappingProxyType(dict(sizes)),
        ranges=MappingProxyType(dict(ranges)),
        definition=getattr(definitions, name),
        twin=getattr(torch_twins, name),
        arguments=arguments,
        **fields,
    )
