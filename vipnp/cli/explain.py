"""`vipnp explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path

PAGE = "index.html"

LONGEST = 60
"""Characters of an image's name that name a folder: four bytes each, and what stands around them, fit a file system."""


@told()
def explain(
    model: Annotated[
        str, typer.Argument(help="A run folder, a weight file of a run, or a published name with --weights.")
    ],
    image: Annotated[Path, typer.Argument(parser=path, help="An image file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", parser=path, help="Folder for the page; a new explain-NAME beside the weights by default."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(parser=path, help="Weights of a published model.")] = None,
    of: Annotated[str | None, typer.Option("--class", help="The class to explain; the likeliest by default.")] = None,
) -> None:
    """Show what a model looks at in an image."""
    import numpy as np

    from vipnp.core.checks import check_library, one_line
    from vipnp.core.files import check_output_folder, new_folder, write_text
    from vipnp.data.images import open_image
    from vipnp.explain import explain as explained
    from vipnp.explain.page import render
    from vipnp.explain.pictures import write_pictures
    from vipnp.train.folder import held_alone
    from vipnp.train.saved import load_saved

    check_library("explain", "matplotlib.figure", extra="train")
    if not image.is_file():
        what = "a folder" if image.is_dir() else "no file"
        raise FileNotFoundError(f"image: {str(image)!r} is {what}, expected an image")
    saved = load_saved(model, weights=weights)
    if of is not None and of not in saved.classes:
        raise ValueError(f"--class: got {of!r}, expected a class of the model: {', '.join(saved.classes[:20])}")
    picture = open_image(image, saved.transform.channels, exif=saved.transform.exif)
    patch = saved.model.config.patch_size
    if min(picture.size) < patch:
        raise ValueError(
            f"image: got {picture.height} x {picture.width} pixels, expected at least {patch} x {patch}, one patch"
        )
    beside = Path(model) if Path(model).is_dir() else Path(weights or model).parent
    check_output_folder("--output", output or beside)
    if output is not None:
        check_replaceable(output, image)
        check_elsewhere(output, beside)
    x = saved.transform.evaluation(picture)[None].astype(saved.model.dtype)
    found = explained(saved.model, x, None if of is None else saved.classes.index(of))
    if not np.isfinite(found.logits).all():
        raise FloatingPointError(f"the logits of {image} are not finite")
    # images in several folders share a name, and each keeps its page
    folder = new_folder(beside / f"explain-{image.stem[:LONGEST]}") if output is None else output
    pixels = saved.transform.pixels(found.image)
    page = folder / PAGE
    with held_alone("--output", folder):
        write_text(page, render(found, pixels, saved.classes, image.name))  # first: it marks the pictures as ours
        write_pictures(found, pixels, folder)
    answer = int(found.logits.argmax())
    asked = "" if found.target == answer else f", with the gradients of {saved.classes[found.target]}"
    typer.echo(one_line(f"{saved.classes[answer]}{asked}: see {page}"))


def check_replaceable(folder: Path, image: Path) -> None:
    """Raise ValueError where pictures and a page in `folder` would replace others than those of an explanation, or
    `image` itself."""
    from vipnp.core.files import check_outputs
    from vipnp.explain.page import GENERATOR
    from vipnp.explain.pictures import NAMES

    there = [name for name in (PAGE, *NAMES) if (folder / name).exists()]
    if there and not ((folder / PAGE).is_file() and GENERATOR in (folder / PAGE).read_text("utf-8", "replace")):
        raise ValueError(
            f"--output: {folder} holds {', '.join(there)} and no page of vipnp explain: they would be replaced; take "
            "another folder"
        )
    if folder.is_dir():
        check_outputs({f"--output: {name}": folder / name for name in (PAGE, *NAMES)}, inputs=[image])


def check_elsewhere(folder: Path, run: Path) -> None:
    """Raise ValueError where pictures in `folder` would be among the images of a run in the folder `run`."""
    from vipnp.data.sets import EMBEDDED
    from vipnp.train.settings import FILE, read_settings

    data = read_settings(run).data if (run / FILE).is_file() else EMBEDDED[0]
    if data not in EMBEDDED and folder.resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(f"--output: {folder} lies among the images in {data}, expected a folder elsewhere")
