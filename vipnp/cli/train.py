"""`vipnp train`."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path
from vipnp.cli.unreadable import SkipUnreadable
from vipnp.core.checks import check_library, did_you_mean, shown
from vipnp.train.ranks import get_ranks

FINE = "Fine tuning of the recipe"

TWO_NAMES = "When the learning rate changes"
"""A panel of its own for the option with a second, negative name: a column of such names leaves none to the others."""

FREE = ("resume", "epochs", "workers", "save_every", "shard_optimizer", "tensorboard")
"""What may be given with --resume: the result does not depend on the last four."""

NOT_IN_A_FILE = ("config", "help", "overwrite", "resume")


def fine(text: str, *names: str, **options: Any) -> Any:
    """An option of the second panel of the help."""
    return typer.Option(*names, help=text, rich_help_panel=FINE, **options)


def take_options(context: typer.Context, file: Path | None) -> Path | None:
    """Make the options in a TOML file the defaults of the others."""
    if file is not None:
        with told():
            from vipnp.train.recipe import read_toml
            from vipnp.train.settings import options_of_run

            known = {
                str(parameter.name): getattr(parameter, "is_flag", False)
                for parameter in context.command.params
                if parameter.name not in NOT_IN_A_FILE
            }
            found = options_of_run(read_toml(file))
            for name, value in found.items():
                if name not in known:
                    raise ValueError(f"config: {file} has {shown(name)}, which is no option{did_you_mean(name, known)}")
                if any(isinstance(part, dict) for part in (value if isinstance(value, list) else [value])):
                    raise ValueError(
                        f"config: {file} has a table {shown(name)}, expected options by name, or a run's config.toml "
                        "with its tables run and recipe"
                    )
                if isinstance(value, bool) != known[name]:
                    expected = "true or false" if known[name] else "what its option takes"
                    raise ValueError(f"config: {file} has {name} = {shown(value)}, expected {expected}")
            context.default_map = {name: as_written(value) for name, value in found.items()}
    return file


def as_written(value: Any) -> Any:
    """A value of a TOML file as the command line would give it, whose checks it then passes: 2.5 is no whole number."""
    return [str(part) for part in value] if isinstance(value, list) else str(value)


def two_sides(given: tuple[str, str] | None) -> tuple[str, str] | None:
    """Refuse what is not two whole numbers: of one alone, the next option is taken for the other."""
    if given is not None and not all(side.lstrip("-").isdecimal() for side in given):
        raise typer.BadParameter(f"got {shown(' '.join(given))}, expected height and width, such as 96 128")
    return given


@told()
def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of class folders (or train/ and val/ with those), of idx files, or of CIFAR's files; "
            "or CIFAR's archive; or digits, mnist5k or phototiles (a folder of such a name is ./digits)."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", parser=path, help="The run folder to make.")] = None,
    resume: Annotated[
        Path | None, typer.Option(parser=path, help="Go on with the run in this folder; only --epochs may change.")
    ] = None,
    model: Annotated[str, typer.Option(help="vip_tiny or a published name.")] = "vip_tiny",
    img_size: Annotated[
        tuple[str, str] | None, typer.Option(callback=two_sides, help="Height and width, pixels.", metavar="H W")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Images of a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numba",
    workers: Annotated[int, typer.Option("--workers", "-j", help="Threads that decode images.", min=0)] = 2,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and held-out images.", min=0)] = 0,
    weights: Annotated[
        Path | None, typer.Option(parser=path, help="Begin from the weights in this file, or in the folder of a run.")
    ] = None,
    head_only: Annotated[bool, typer.Option("--head-only", help="Train the head, leave the rest as it is.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that stands in the folder.")] = False,
    skip_unreadable: SkipUnreadable = False,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="small, tiles, digits, mnist or vip-imagenet; by default the data's. What it gives the options that "
            "show no default here stands in the run's config.toml."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        fine(
            "A TOML file with any of these options by name, or a run's config.toml; the command line goes first.",
            parser=path,
            is_eager=True,
            callback=take_options,
        ),
    ] = None,
    validation: Annotated[float, fine("Share of the images held out, where the data is not divided.")] = 0.2,
    min_lr: Annotated[float | None, fine("Lowest learning rate.")] = None,
    warmup_lr: Annotated[float | None, fine("First learning rate.")] = None,
    cooldown_epochs: Annotated[int | None, fine("Epochs at --min-lr after --epochs.")] = None,
    sched_on_updates: Annotated[
        bool | None, typer.Option(help="Change the rate with every step, not every epoch.", rich_help_panel=TWO_NAMES)
    ] = None,
    warmup_epochs: Annotated[int | None, fine("Epochs up to --lr, --epochs less one at most.")] = None,
    weight_decay: Annotated[float | None, fine("AdamW's.")] = None,
    clip_grad: Annotated[float | None, fine("Largest norm of the gradients; 0: any.")] = None,
    smoothing: Annotated[float | None, fine("Label smoothing.")] = None,
    mixup: Annotated[float | None, fine("Alpha of mixup; 0: none.")] = None,
    cutmix: Annotated[float | None, fine("Alpha of cutmix; 0: none.")] = None,
    reprob: Annotated[float | None, fine("Probability of random erasing.")] = None,
    scale: Annotated[tuple[float, float] | None, fine("Area of the random crop.", metavar="LOW HIGH")] = None,
    flip: Annotated[float | None, fine("Probability of mirroring.")] = None,
    aa: Annotated[str | None, fine('RandAugment, such as rand-m9-mstd0.5-inc1; "": none.')] = None,
    drop_path: Annotated[float | None, fine("Largest drop-path rate.")] = None,
    ema: Annotated[float | None, fine("Decay of the mean of the weights; 0: none.")] = None,
    grad_accum_steps: Annotated[int | None, fine("Parts of a batch.")] = None,
    backbone_lr: Annotated[float | None, fine("Factor on --lr of all but the head.")] = None,
    layer_decay: Annotated[float | None, fine("Factor on --lr from each block to the one before it.")] = None,
    crop_pct: Annotated[float | None, fine("Share of the image in evaluation.")] = None,
    interpolation: Annotated[str | None, fine("nearest, bilinear or bicubic.")] = None,
    shards: Annotated[int, fine("Parts of a batch, a power of two; the result depends on it.")] = 8,
    precision: Annotated[str, fine("float32 or float64.")] = "float32",
    reduce: Annotated[str, fine("Under mpirun: exact, the same bits for any number of ranks, or fast.")] = "exact",
    shard_optimizer: Annotated[
        bool,
        fine(
            "Under mpirun: a rank updates its part of the weights, and keeps the running means of that alone.",
            "--shard-optimizer",
        ),
    ] = False,
    tensorboard: Annotated[bool, fine("Write events for TensorBoard.", "--tensorboard")] = False,
    save_every: Annotated[int, fine("Steps between two saved states.", min=1)] = 200,
) -> None:
    """Train a Vision Permutator on a folder of images."""
    from vipnp.cli.progress import Warned, carry_out
    from vipnp.train.folder import held_alone
    from vipnp.train.recipe import Recipe
    from vipnp.train.start import check_vacant, new_run, new_settings, resumed, run_identity, write_start

    given = {field.name: context.params[field.name] for field in dataclasses.fields(Recipe)}
    given = {name: value for name, value in given.items() if value is not None}
    if head_only:
        if backbone_lr:
            raise ValueError(f"--head-only: got --backbone-lr {backbone_lr:g} with it, expected one of the two")
        given["backbone_lr"] = 0.0
    for module in ("matplotlib.figure", "safetensors"):
        check_library("train", module, extra="train")
    if tensorboard:
        check_library("--tensorboard", "tensorboardX", extra="tensorboard")
    ranks = get_ranks()
    with ranks.together(), Warned() as warned, ExitStack() as while_at_work:
        if resume is not None:
            with ranks.agreed():
                check_nothing_else(context)
                run = resumed(resume, epochs, ranks)
        else:
            with ranks.agreed():
                if data is None or output is None:
                    raise ValueError("train: expected DATA and --output FOLDER, or --resume FOLDER")
                settings = new_settings(
                    output,
                    data,
                    given,
                    recipe=recipe,
                    img_size=None if img_size is None else (int(img_size[0]), int(img_size[1])),
                    weights=weights,
                    overwrite=overwrite,
                    model=model,
                    seed=seed,
                    validation=validation,
                    backend=backend,
                    shards=shards,
                    precision=precision,
                    reduce=reduce,
                )
            run = new_run(output, settings, ranks, workers, skip_unreadable=skip_unreadable)
        if shard_optimizer:
            run.shard_optimizer()
        ranks.compare(run_identity(run, save_every))
        run.connect()
        with ranks.agreed():
            if ranks.rank == 0:
                while_at_work.enter_context(held_alone("run", run.folder))
                if resume is None and not overwrite:  # once more: while images were read, another run may have ended
                    check_vacant(run.folder)
                write_start(run, new=resume is None, epochs=epochs)
        carry_out(run, workers, save_every, tensorboard=tensorboard, warned=warned.lines)


def check_nothing_else(context: typer.Context) -> None:
    """Raise ValueError naming what was given with --resume and may not be."""
    others = [
        parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
        for parameter in context.command.params
        if parameter.name not in FREE and str(context.get_parameter_source(parameter.name)).endswith("COMMANDLINE")
    ]
    if others:
        raise ValueError(
            f"--resume: got {', '.join(others)} with it; only --epochs may change, the rest stands in the run's "
            "config.toml"
        )
