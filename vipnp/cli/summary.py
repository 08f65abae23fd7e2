"""`vipnp summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path


@told()
def summary(
    model: Annotated[str, typer.Argument(help="A run folder, a weight file or a published name.")],
    weights: Annotated[Path | None, typer.Option(parser=path, help="Weights of a published model.")] = None,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numpy",
    depth: Annotated[int, typer.Option(help="Levels of layers in layers.", min=0)] = 3,
) -> None:
    """Show the layers of a model and which function runs where."""
    import numpy as np

    from vipnp.models import PUBLISHED, VisionPermutator, parameter_shapes
    from vipnp.train.saved import load_model

    if model in PUBLISHED and weights is None:
        config = PUBLISHED[model]
        nothing = {name: np.zeros(shape, np.float32) for name, shape in parameter_shapes(config).items()}
        shown = VisionPermutator.from_weights(config, nothing, backend=backend)
    else:
        shown = load_model(model, weights=weights, backend=backend)
    typer.echo(shown.summary().table(depth))
