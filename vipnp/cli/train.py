"""`vipnp train`."""

from __future__ import annotations

import dataclasses
import os
import platform
import zlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vipnp.cli.errors import told
from vipnp.train.ranks import StoppedError, get_ranks

FINE = "Fine tuning of the recipe"


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of class folders (or train/ and val/ with those), or digits, mnist5k or phototiles."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder to make.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder; only --epochs may change.")
    ] = None,
    model: Annotated[str, typer.Option(help="vip_tiny or a published name.")] = "vip_tiny",
    img_size: Annotated[tuple[int, int] | None, typer.Option(help="Height and width, pixels.", metavar="H W")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Images of a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numba",
    workers: Annotated[int, typer.Option("--workers", "-j", help="Threads that decode images.", min=0)] = 2,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and held-out images.", min=0)] = 0,
    weights: Annotated[
        Path | None, typer.Option(help="Begin from the weights in this file: of a run, or published ones.")
    ] = None,
    head_only: Annotated[bool, typer.Option("--head-only", help="Train the head, leave the rest as it is.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that stands in the folder.")] = False,
    recipe: Annotated[str | None, typer.Option(help="small, tiles, digits or vip-imagenet.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file with options of the recipe.", rich_help_panel=FINE)
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of the images held out.", rich_help_panel=FINE)] = 0.2,
    min_lr: Annotated[float | None, typer.Option(help="Lowest learning rate.", rich_help_panel=FINE)] = None,
    warmup_lr: Annotated[float | None, typer.Option(help="First learning rate.", rich_help_panel=FINE)] = None,
    warmup_epochs: Annotated[int | None, typer.Option(help="Epochs up to --lr.", rich_help_panel=FINE)] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's.", rich_help_panel=FINE)] = None,
    clip_grad: Annotated[
        float | None, typer.Option(help="Largest norm of the gradients; 0: any.", rich_help_panel=FINE)
    ] = None,
    smoothing: Annotated[float | None, typer.Option(help="Label smoothing.", rich_help_panel=FINE)] = None,
    mixup: Annotated[float | None, typer.Option(help="Alpha of mixup; 0: none.", rich_help_panel=FINE)] = None,
    cutmix: Annotated[float | None, typer.Option(help="Alpha of cutmix; 0: none.", rich_help_panel=FINE)] = None,
    reprob: Annotated[float | None, typer.Option(help="Probability of random erasing.", rich_help_panel=FINE)] = None,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Area of the random crop.", metavar="LOW HIGH", rich_help_panel=FINE),
    ] = None,
    flip: Annotated[float | None, typer.Option(help="Probability of mirroring.", rich_help_panel=FINE)] = None,
    drop_path: Annotated[float | None, typer.Option(help="Largest drop-path rate.", rich_help_panel=FINE)] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of the mean of the weights; 0: none.", rich_help_panel=FINE)
    ] = None,
    grad_accum_steps: Annotated[int | None, typer.Option(help="Parts of a batch.", rich_help_panel=FINE)] = None,
    backbone_lr: Annotated[
        float | None, typer.Option(help="Factor on --lr of all but the head.", rich_help_panel=FINE)
    ] = None,
    layer_decay: Annotated[
        float | None, typer.Option(help="Factor on --lr from each block to the one before it.", rich_help_panel=FINE)
    ] = None,
    crop_pct: Annotated[
        float | None, typer.Option(help="Share of the image in evaluation.", rich_help_panel=FINE)
    ] = None,
    interpolation: Annotated[
        str | None, typer.Option(help="nearest, bilinear or bicubic.", rich_help_panel=FINE)
    ] = None,
    shards: Annotated[
        int, typer.Option(help="Parts of a batch, a power of two; the result depends on it.", rich_help_panel=FINE)
    ] = 8,
    dtype: Annotated[str, typer.Option(help="float32 or float64.", rich_help_panel=FINE)] = "float32",
    reduce: Annotated[
        str,
        typer.Option(help="Under mpirun: exact, the same bits for any number of ranks, or fast.", rich_help_panel=FINE),
    ] = "exact",
    save_every: Annotated[int, typer.Option(help="Steps between two saved states.", min=1, rich_help_panel=FINE)] = 200,
) -> None:
    """Train a Vision Permutator on a folder of images."""
    given = {
        name: value
        for name, value in {
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "min_lr": min_lr,
            "warmup_lr": warmup_lr,
            "warmup_epochs": warmup_epochs,
            "weight_decay": weight_decay,
            "clip_grad": clip_grad,
            "smoothing": smoothing,
            "mixup": mixup,
            "cutmix": cutmix,
            "reprob": reprob,
            "scale": scale,
            "flip": flip,
            "drop_path": drop_path,
            "ema": ema,
            "grad_accum_steps": grad_accum_steps,
            "backbone_lr": backbone_lr,
            "layer_decay": layer_decay,
            "crop_pct": crop_pct,
            "interpolation": interpolation,
        }.items()
        if value is not None
    }
    with told():
        if head_only:
            if backbone_lr:
                raise ValueError(f"--head-only: got --backbone-lr {backbone_lr:g} with it, expected one of the two")
            given["backbone_lr"] = 0.0
        ranks = get_ranks()
        with ranks.together():
            with ranks.agreed():
                if resume is not None:
                    others = [name for name in given if name != "epochs"]
                    if weights is not None:
                        others.append("weights")
                    if data is not None or output is not None or others:
                        named = [*(["DATA"] if data else []), *(["--output"] if output else []), *others]
                        raise ValueError(
                            f"--resume: got {', '.join(named)} with it; only --epochs may change, the rest stands in "
                            "the run's config.toml"
                        )
                    run = resumed(resume, epochs, ranks)
                else:
                    if data is None or output is None:
                        raise ValueError("train: expected DATA and --output FOLDER, or --resume FOLDER")
                    run = new_run(
                        output,
                        data,
                        given,
                        ranks,
                        recipe=recipe,
                        config=config,
                        model=model,
                        img_size=img_size,
                        seed=seed,
                        validation=validation,
                        backend=backend,
                        shards=shards,
                        dtype=dtype,
                        reduce=reduce,
                        weights=weights,
                        overwrite=overwrite,
                    )
            ranks.compare(run_identity(run, save_every))
            with ranks.agreed():
                if ranks.rank == 0:
                    write_start(run, new=resume is None, epochs=epochs)
            carry_out(run, workers, save_every)


EMBEDDED: dict[str, tuple[tuple[int, int], int, str]] = {
    "digits": ((8, 8), 1, "digits"),
    "mnist5k": ((28, 28), 1, "mnist"),
    "phototiles": ((32, 32), 1, "tiles"),
}
"""Image size, channels and recipe of the embedded sets."""

PHOTO_SIZE = (64, 64)

LOG = "log.txt"
"""What a run printed, in its folder; a resumed run adds to it."""


def new_run(folder: Path, data: str, given: dict[str, Any], ranks: Any, **options: Any) -> Any:
    """A new run, of which nothing is written yet."""
    from vipnp.data import load_data_set
    from vipnp.train.recipe import read_toml, recipe_from
    from vipnp.train.run import Run
    from vipnp.train.settings import FILE, Settings

    size, channels, recipe = EMBEDDED.get(data, (PHOTO_SIZE, 3, "small"))
    from_file = read_toml(options["config"]) if options["config"] is not None else {}
    chosen = recipe_from(options["recipe"] or recipe, {**from_file, **given})
    settings = Settings(
        data=data if data in EMBEDDED else str(Path(data).resolve()),
        model=options["model"],
        img_size=options["img_size"] or size,
        channels=channels,
        seed=options["seed"],
        validation=options["validation"],
        backend=options["backend"],
        shards=options["shards"],
        recipe=chosen,
        dtype=options["dtype"],
        reduce=options["reduce"],
        weights="" if options["weights"] is None else str(options["weights"].resolve()),
    )
    if (folder / FILE).exists() and not options["overwrite"]:
        raise ValueError(
            f"--output: {folder} holds a run already: take --resume {folder}, or --overwrite to replace it"
        )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output: {folder} is a file, expected a folder")
    images = load_data_set(data, validation=settings.validation, seed=settings.seed)
    run = Run(folder, settings, images, ranks)
    if settings.weights:
        run.take_weights()
    return run


def resumed(folder: Path, epochs: int | None, ranks: Any) -> Any:
    """The run in `folder`."""
    from vipnp.data import load_data_set
    from vipnp.train.folder import split_rows, states
    from vipnp.train.run import Run
    from vipnp.train.settings import read_settings

    settings = read_settings(folder)
    if epochs is not None:
        settings = dataclasses.replace(settings, recipe=dataclasses.replace(settings.recipe, epochs=epochs))
    images = load_data_set(settings.data, validation=settings.validation, seed=settings.seed)
    before, now = (folder / "split.csv").read_text(encoding="utf-8").splitlines(), split_rows(images)
    if before != now:
        changed = sorted(set(before) ^ set(now))
        raise ValueError(
            f"--resume: the images are not those that the run began with: {'; '.join(changed[:5])}"
            + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        )
    run = Run(folder, settings, images, ranks)
    if settings.weights and not states(folder):
        run.take_weights()
    return run


def run_identity(run: Any, save_every: int) -> dict[str, Any]:
    """What must be the same on all ranks."""
    from vipnp.train.folder import split_rows

    images = "\n".join(split_rows(run.data)).encode()
    options = {**dataclasses.asdict(run.settings), **dataclasses.asdict(run.settings.recipe)}
    del options["recipe"]
    return {
        "--output": str(run.folder.resolve()),
        "--save-every": save_every,
        **options,
        "images": f"a list of CRC-32 {zlib.crc32(images)}",
        **{f"version of {name}": value for name, value in versions().items() if name != "cores"},
    }


def write_start(run: Any, *, new: bool, epochs: int | None) -> None:
    """Write what a new run begins with, in the place of what stood there; of an old one, its new number of epochs."""
    from vipnp.core.files import write_text
    from vipnp.train.folder import prepare_folder, states
    from vipnp.train.settings import FILE

    if new:
        for old in states(run.folder):
            old.unlink()
        (run.folder / LOG).unlink(missing_ok=True)
        prepare_folder(run.folder, run.settings, run.data, versions())
    elif epochs is not None:
        write_text(run.folder / FILE, run.settings.to_toml({"versions": versions()}))


def carry_out(run: Any, workers: int, save_every: int) -> None:
    """Train, with a progress bar on rank 0."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from vipnp.train import report

    first = run.ranks.rank == 0
    console = Console(quiet=not first)

    def print_line(line: str) -> None:
        console.print(line, markup=False)
        if first:
            with (run.folder / LOG).open("a", encoding="utf-8") as log:
                log.write(f"{line}\n")

    print_line(
        f"{len(run.data.train)} images to train on, {len(run.data.validation)} held out, "
        f"{len(run.data.classes)} classes; "
        f"{run.settings.model} of {run.model.num_parameters:,} parameters at {run.settings.img_size[0]} x "
        f"{run.settings.img_size[1]} on {run.backend.name}"
    )
    if run.ranks.size > 1:
        places = run.ranks.gather(f"{os.getpid()} on {platform.node()}")
        print_line(
            f"{run.ranks.size} ranks, each {len(run.shards)} of {run.settings.shards} shards in {run.crew.size} "
            f"threads; rank: process {', '.join(f'{rank}: {place}' for rank, place in enumerate(places))}"
        )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not (first and console.is_terminal)) as bar:
        task = bar.add_task("", total=run.settings.recipe.epochs * run.steps_per_epoch, figures="")

        def tell(done: Any) -> None:
            bar.update(
                task,
                completed=done.epoch * done.steps + done.step,
                description=f"epoch {done.epoch + 1}/{done.epochs}",
                figures=f"loss {done.loss:.3f}  lr {done.lr:.1e}  {done.images_per_second:.0f} images/s",
            )
            if done.accuracy is not None:
                row = {"epoch": done.epoch + 1, "loss": done.loss, "accuracy": done.accuracy}
                print_line(report.epoch_line(row, done.epochs))

        try:
            rows = run.train(workers=workers, save_every=save_every, report=tell)
        except StoppedError as stopped:
            if first:
                typer.echo(f"stopped by {stopped}; go on with: vipnp train --resume {run.folder}", err=True)
            raise
    if not first:
        return
    report.curves(run.folder / "curves.png", rows)
    print_line(
        f"best accuracy {max(row['accuracy'] for row in rows):.2%} on the {len(run.data.validation)} held-out images"
    )
    print_line(f"next: vipnp eval {run.folder}   vipnp predict {run.folder} IMAGE...")


def versions() -> dict[str, str]:
    """Of Python and the libraries that a run depends on."""
    from vipnp.core.versions import installed

    libraries = ("vipnp", "numpy", "scipy", "pillow", "numba", "cupy-cuda12x", "cupy-cuda13x")
    return {"cores": str(os.cpu_count()), **installed(*libraries)}
