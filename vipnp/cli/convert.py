"""`vipnp convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import tell, told
from vipnp.cli.paths import path


@told()
def convert(
    source: Annotated[
        Path, typer.Argument(parser=path, help="A run folder, or a weight file: safetensors or PyTorch's.")
    ],
    target: Annotated[
        Path, typer.Argument(parser=path, help="The file to write: .safetensors, .pth, .pth.tar or .pt.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write weights in the other format, bit for bit; PyTorch is not needed."""
    from vipnp.checkpoint import load_metadata, load_weights, save_pytorch, save_weights
    from vipnp.core.checks import one_line
    from vipnp.core.files import check_outputs
    from vipnp.models import published_model
    from vipnp.models.saved import prefix_of
    from vipnp.train.saved import check_no_state, weight_file

    to_pytorch = target.name.lower().endswith((".pth", ".pth.tar", ".pt"))
    if not to_pytorch and target.suffix.lower() != ".safetensors":
        raise ValueError(f"target: got {str(target)!r}, expected a name in .safetensors, .pth, .pth.tar or .pt")
    source = weight_file("source", source)
    check_outputs({"target": target}, inputs=[source])
    if target.exists() and not overwrite:
        raise ValueError(f"target: {str(target)!r} is there already: --overwrite replaces it")
    check_no_state("source", source)
    tensors, described = load_weights(source), load_metadata(source)
    if to_pytorch:
        save_pytorch(target, tensors)
    else:
        save_weights(target, tensors, described or None)
    prefix = prefix_of(tensors)
    fits = published_model({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    what = "a model of its own" if "config" in described else f"of {fits[0]}" if fits else "of no published model"
    numbers = sum(t.size for t in tensors.values())
    typer.echo(one_line(f"{target}: {len(tensors)} tensors, {numbers:,} numbers, {what}"))
    if to_pytorch and described:
        tell(
            one_line(
                f"left out, since the format has no place for it: {', '.join(described)}; vipnp.load and vipnp predict "
                f"need that, so keep {source}"
            )
        )
