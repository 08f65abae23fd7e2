"""Which function runs where in a model, seen as one image passes through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vipnp.core import Array, Backend
from vipnp.core.backend import Op
from vipnp.core.tree import flatten
from vipnp.models.config import ViPConfig
from vipnp.models.initialization import parameter_shapes
from vipnp.models.vision_permutator import VisionPermutatorParams, vision_permutator


@dataclass
class Layer:
    """A layer or op as it ran.

    Attributes
    ----------
    op, function : what was asked for, and what ran.
    name : official name of the layer whose parameters it was given, "" for the whole model, None where it has none.
    output : its shape for one image.
    weights, parameters : official names of its parameters, and how many numbers they are.
    macs : multiplications of one image in linear layers and convolutions, here and inside.
    inside : what it ran through the backend in its turn, in order; a fused function does most of its work by itself.
    """

    op: Op
    function: Op
    name: str | None = None
    output: tuple[int, ...] = ()
    weights: tuple[str, ...] = ()
    parameters: int = 0
    macs: int = 0
    inside: list[Layer] = field(default_factory=list)

    @property
    def file(self) -> str:
        """Where `function` is written, from the folder of its package on, with its line."""
        code = self.function.__code__
        folders, file = self.function.__module__.split("."), Path(code.co_filename).name
        return "/".join([*(folders if file == "__init__.py" else folders[:-1]), file]) + f":{code.co_firstlineno}"

    def same(self, other: Layer) -> bool:
        """Whether both are alike but for their names.

        Parameters
        ----------
        other : another layer.

        Returns
        -------
        bool
            With all that is inside.
        """
        return (
            (self.op, self.function, self.output, self.parameters, self.macs)
            == (other.op, other.function, other.output, other.parameters, other.macs)
            and len(self.inside) == len(other.inside)
            and all(mine.same(its) for mine, its in zip(self.inside, other.inside, strict=True))
        )  # fmt: skip


HEADER = ("layer", "output of one image", "parameters", "multiply-accumulates", "function", "file")

DEPTH = 3
"""How deep a printed table goes: model, its parts, stages, blocks."""


@dataclass(frozen=True)
class Summary:
    """What ran. As a string it is a table as deep as the blocks.

    Attributes
    ----------
    model : the whole model; its parts are inside.
    notes : what the backend says of itself, such as who multiplies its matrices.
    """

    model: Layer
    notes: tuple[str, ...] = ()

    def table(self, depth: int = DEPTH) -> str:
        """A line for each layer; equal neighbours share one.

        Parameters
        ----------
        depth : levels into the model.

        Returns
        -------
        str
            The lines, with a heading, and the notes of the backend.
        """
        rows = [HEADER, *_rows([self.model], None, depth, "")]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
        lines = [
            "  ".join(
                cell.rjust(width) if column in (2, 3) else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *self.notes])

    def __str__(self) -> str:
        return self.table()


def _rows(layers: list[Layer], parent: str | None, depth: int, indent: str) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    while layers:
        first, last = layers[0], layers[0]
        count = 1
        while first.name not in (None, parent) and count < len(layers) and first.same(layers[count]):
            last, count = layers[count], count + 1
        layers = layers[count:]
        name = first.name if first.name and first.name != parent else first.op.__name__
        if count > 1:
            name += f" to {last.name}"
        numbers = (f"{number:,}" if number else "" for number in (first.parameters, first.macs))
        each = " each" if count > 1 else ""
        rows.append(
            (indent + name, " x ".join(map(str, first.output)) + each, *numbers, first.function.__name__, first.file)
        )
        if depth:
            rows += _rows(first.inside, first.name, depth - 1, indent + "  ")
    return rows


def summarize(xp: Backend, images: Array, params: VisionPermutatorParams, config: ViPConfig) -> Summary:
    """What runs on backend `xp` for `images` (1, in_channels, height, width)."""
    names = {id(tensor): name for name, tensor in flatten(params)}
    macs = config.layer_macs()
    shapes = parameter_shapes(config)

    def take(layer: Layer, weights: list[str]) -> None:
        layer.weights = tuple(weights)
        layer.parameters = sum(math.prod(shapes[name]) for name in weights)
        layer.macs = sum(macs.get(name.removesuffix(".weight"), 0) for name in weights)

    outside: list[Layer] = [Layer(vision_permutator, vision_permutator)]

    def watch(op: Op, function: Op) -> Op:
        def watched(xp: Backend, *args: Any, **kwargs: Any) -> tuple[Array, Callable[..., Any]]:
            ran = xp.ran
            assert ran is not None
            layer, before = Layer(op, function), ran[op]
            outside[-1].inside.append(layer)
            outside.append(layer)
            y, pullback = function(xp, *args, **kwargs)
            outside.pop()
            if ran[op] > before:  # it left the call to the readable op
                layer.function = op
            layer.output = tuple(y.shape)[1:]
            layer.name, given = _parameters([*args, *kwargs.values()], names)
            take(layer, given)
            for part in layer.inside:
                # A part that is handed all that its layer has leaves some of it to the other parts.
                others = {name for other in layer.inside if len(other.weights) < len(given) for name in other.weights}
                if len(part.weights) == len(given):
                    take(part, [name for name in given if name not in others])
            return y, pullback

        return watched

    xp.inference().counting().watched(watch).run(vision_permutator, images, params, config=config)
    return Summary(outside[0].inside[0], xp.notes)


def _parameters(arguments: list[Any], names: Mapping[int, str]) -> tuple[str | None, list[str]]:
    """The name of the layer that has parameters of the model among its arguments, and their names."""
    layer, given = None, []
    for argument in arguments:
        leaves = flatten(argument) if isinstance(argument, Mapping) else [("", argument)]
        for inner, tensor in leaves:
            if (name := names.get(id(tensor))) is None:
                continue
            given.append(name)
            if layer is None:
                layer = name.removesuffix(inner).rstrip(".") if inner else name.rpartition(".")[0]
    return layer, given
