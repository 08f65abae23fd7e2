"""`vipnp summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path


def summary(
    model: Annotated[str, typer.Argument(help="A run folder, a weight file or a published name.")],
    weights: Annotated[Path | None, typer.Option(parser=path, help="Weights of a published model.")] = None,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numpy",
    depth: Annotated[int, typer.Option(help="Levels of layers in layers.", min=0)] = 3,
) -> None:
    """Show the layers of a model and which function runs where."""
    with told():
        summarize(model, weights, backend, depth)


def summarize(source: str, weights: Path | None, backend: str, depth: int) -> None:
    """The table of a model. A published name needs no weights for it."""
    import numpy as np

    from vipnp.models import PUBLISHED, VisionPermutator, parameter_shapes
    from vipnp.train.saved import load_model

    if source in PUBLISHED and weights is None:
        config = PUBLISHED[source]
        nothing = {name: np.zeros(shape, np.float32) for name, shape in parameter_shapes(config).items()}
        model = VisionPermutator.from_weights(config, nothing, backend=backend)
    else:
        model = load_model(source, weights=weights, backend=backend)
    typer.echo(model.summary().table(depth))
