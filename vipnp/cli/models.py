"""`vipnp models`."""

from __future__ import annotations

import typer

from vipnp.cli.errors import told


@told()
def models() -> None:
    """List the published models."""
    import math

    from vipnp.models import PUBLISHED, PUBLISHED_CROP_PCT, PUBLISHED_DROP_PATH, parameter_shapes

    form = "{:8}  {:>12}  {:>22}  {:>6}  {:>10}  {:>15}  {:>9}  {:>9}"
    header = ("model", "parameters", "multiply-accumulates", "blocks", "image size", "token channels",
              "crop pct", "drop path")  # fmt: skip
    typer.echo(form.format(*header))
    for name, config in PUBLISHED.items():
        parameters = sum(math.prod(shape) for shape in parameter_shapes(config).values())
        size = " x ".join(map(str, config.image_size))
        dims = " ".join(str(dim) for i, dim in enumerate(config.embed_dims) if dim not in config.embed_dims[:i])
        typer.echo(
            form.format(name, f"{parameters:,}", f"{config.macs:,}", sum(config.layers), size, dims,
                        PUBLISHED_CROP_PCT[name], PUBLISHED_DROP_PATH[name])
        )  # fmt: skip
