"""How a run begins, or goes on: from what was asked for to a `Run`, and to the first files in its folder."""

from __future__ import annotations

import dataclasses
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.core.checks import listed
from vipnp.core.files import check_output_folder, check_path, write_text
from vipnp.data import DataSet, load_data_set
from vipnp.data.packed import Format, packed_format
from vipnp.data.sets import DEFAULT_VALIDATION
from vipnp.data.unreadable import check_readable, files_of, told_of_dim, unreadable
from vipnp.train.folder import (
    CONTENTS,
    EVENTS,
    FOLDERS,
    PRODUCTS,
    VERSIONS,
    check_contents,
    check_goes_on,
    image_named,
    images_of,
    prepare_folder,
    read_split,
    read_state,
    record_of_settings,
    split_rows,
    states,
)
from vipnp.train.overlap import nccl_for
from vipnp.train.ranks import Ranks
from vipnp.train.recipe import recipe_from
from vipnp.train.run import Run
from vipnp.train.saved import division_of, weight_file
from vipnp.train.settings import FILE, Settings, check_recorded, read_settings, versions

_log = logging.getLogger("vipnp")
EMBEDDED: Mapping[str, tuple[tuple[int, int], int, str]] = {
    "digits": ((8, 8), 1, "digits"),
    "mnist5k": ((28, 28), 1, "mnist"),
    "phototiles": ((32, 32), 1, "tiles"),
}
"""Image size, channels and recipe of the embedded sets."""

PACKED: Mapping[Format | None, tuple[tuple[int, int], int, str]] = {
    "idx": ((28, 28), 1, "mnist"),
    "cifar": ((32, 32), 3, "tiles"),
    None: ((64, 64), 3, "small"),
}
"""The same of sets in files, and of photographs."""


def new_settings(
    folder: Path,
    data: str,
    options: Mapping[str, Any],
    *,
    recipe: str | None,
    img_size: tuple[int, int] | None,
    weights: Path | None,
    overwrite: bool,
    **others: Any,
) -> Settings:
    """The settings of a new run in `folder`, where nothing is written yet.

    options : of the recipe. others : fields of `Settings`.

    Raises ValueError or TypeError for what is no option or out of its bounds, and where `folder` holds a run or is a
    file, FileNotFoundError where there are no such weights.
    """
    check_output_folder("--output", folder)
    check_path("data", data)
    if weights is not None:
        weights = weight_file("--weights", weights).resolve()
        if not weights.is_file():
            raise FileNotFoundError(f"--weights: there is no file {str(weights)!r}")
    size, channels, usual = EMBEDDED[data] if data in EMBEDDED else PACKED[packed_format(Path(data))]
    settings = Settings(
        data=data if data in EMBEDDED else str(Path(data).resolve()),
        img_size=img_size or size,
        channels=channels,
        recipe=recipe_from(usual if recipe is None else recipe, options, others["model"]),
        weights="" if weights is None else str(weights),
        **others,
    )
    if not overwrite:
        check_vacant(folder)
    if weights is not None and weights.parent == folder.resolve() and weights.name in CONTENTS:
        raise ValueError(f"--weights: got {weights}, which the new run replaces, expected a file elsewhere")
    check_contents(folder)
    return settings


def check_vacant(folder: Path) -> None:
    """Raise ValueError where `folder` holds a run, or anything that one would replace."""
    if (folder / FILE).exists():
        raise ValueError(
            f"--output: {folder} holds a run already: take --resume {folder}, or --overwrite to replace it"
        )
    there = [name for name in CONTENTS if (folder / name).exists()]
    if there:
        raise ValueError(
            f"--output: {folder} holds {', '.join(there)}, which a run would replace: take another folder, or "
            "--overwrite"
        )


def new_run(folder: Path, settings: Settings, ranks: Ranks, workers: int, *, skip_unreadable: bool) -> Run:
    """A new run, of which nothing is written yet. Every file is read to its end before, the ranks sharing them; what is
    wrong with the settings is told before that.

    Raises UnreadableImageError that counts and names files that are no whole images, unless they are to be left out.
    """
    source = settings.data
    with ranks.agreed():
        images = load_data_set(source, validation=settings.validation, seed=settings.seed)
        run = _made(folder, settings, images, ranks)
        files = files_of(images, source)
        brightest: list[float] = []
        mine = unreadable(source, files[ranks.rank :: ranks.size], workers, brightest)
    problems = {file: text for found in ranks.gather(mine) for file, text in found.items()}
    dim = told_of_dim([share for found in ranks.gather(brightest) for share in found])
    for warning in (dim, _told_of_another_division(settings, images), _told_of_its_own_division(settings, images)):
        if warning and ranks.rank == 0:
            _log.warning(warning)
    with ranks.agreed():
        if problems:
            if not skip_unreadable:
                check_readable(problems, len(files))
            images = load_data_set(source, validation=settings.validation, seed=settings.seed, leave_out=problems)
            run = _made(folder, settings, images, ranks)
    return run


def _told_of_its_own_division(settings: Settings, images: DataSet) -> str:
    """A line where a share to hold out was asked for and the data is divided already, "" elsewhere."""
    share = len(images.validation) / (len(images.validation) + len(images.train))
    own = images.train.root is None or images.train.root != images.validation.root
    if not own or settings.validation == DEFAULT_VALIDATION:
        return ""
    return f"validation: {settings.validation:g} is not used: the data comes divided, with {share:.1%} held out"


def _told_of_another_division(settings: Settings, images: DataSet) -> str:
    """What is to be said where the run that wrote the weights divided a folder otherwise; "" where it did not, or does
    not say it."""
    if not settings.weights or images.train.root is None or images.train.root != images.validation.root:
        return ""
    theirs = division_of(Path(settings.weights))
    if not theirs or theirs == {"validation": settings.validation, "seed": settings.seed}:
        return ""
    options = " ".join(f"--{name} {value}" for name, value in theirs.items())
    return (
        f"--weights: the run that wrote them held out other images ({options}): where it had this folder, some that "
        "are held out now were trained on"
    )


def _made(folder: Path, settings: Settings, images: DataSet, ranks: Ranks) -> Run:
    check_apart("--output", folder, images)
    check_memory(settings, len(images.train), ranks)
    run = Run(folder, settings, images, ranks)
    if settings.weights:
        run.take_weights()
    return run


def check_memory(settings: Settings, images: int, ranks: Ranks) -> None:
    """Raise ValueError where the images of a step alone take more than the memory of this machine."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    height, width = settings.img_size
    step = -(-min(settings.recipe.batch_size, images) // ranks.size)
    needed = step * height * width * settings.channels * np.dtype(settings.precision).itemsize
    if needed > memory:
        raise ValueError(
            f"img_size: got {settings.img_size}, expected images of which a step of {step} fits into memory: they take "
            f"{needed / 1e9:.1f} GB, and this machine has {memory / 1e9:.1f} GB"
        )


def check_apart(option: str, folder: Path, images: DataSet) -> None:
    """Raise ValueError where pictures that are written into `folder` would be among the images."""
    for split in (images.train, images.validation):
        if split.root is not None and folder.resolve().is_relative_to(split.root.resolve()):
            raise ValueError(f"{option}: {folder} lies among the images in {split.root}, expected a folder elsewhere")


def resumed(folder: Path, epochs: int | None, ranks: Ranks) -> Run:
    """The run in `folder`, with another number of epochs where one is given.

    Raises FileNotFoundError or ValueError where it holds none, its states were taken away, its settings or images are
    others now, or more epochs are done.
    """
    settings = read_settings(folder)
    check_output_folder("--resume", folder)
    check_contents(folder)
    check_goes_on(folder)
    record = record_of_settings(folder)
    check_recorded(folder, settings, record)
    if epochs is not None:
        found = read_state(folder)
        done = 0 if found is None else len(found[1]["rows"]) - settings.recipe.cooldown_epochs
        if epochs < done:
            raise ValueError(f"--epochs: got {epochs}, expected {done} or more: so many are done")
        settings = dataclasses.replace(settings, recipe=dataclasses.replace(settings.recipe, epochs=epochs))
    images = images_of(folder, settings, otherwise=f"write where they are now into {folder / FILE}, as data")
    check_same_images(read_split(folder), split_rows(images))
    run = Run(folder, settings, images, ranks)
    if ranks.rank == 0:
        _warn_of_others(record, run.backend.products)
    if settings.weights and not states(folder):
        run.take_weights()
    return run


def _warn_of_others(record: Mapping[str, Any], products: str) -> None:
    """Tell where other libraries compute than those that a state records, or others multiply the matrices."""
    if record.get(PRODUCTS, products) != products:
        _log.warning("matrices are multiplied by other libraries than before: the bits are not those of a run without "
                     "a stop (%s; before: %s)", products, record[PRODUCTS])  # fmt: skip
    now = versions()
    before = record.get(VERSIONS, now)
    others = [
        f"{name} {now.get(name, 'none')}, before: {before.get(name, 'none')}"
        for name in {**before, **now}.keys() - {"cores", "python"}
        if before.get(name) != now.get(name)
    ]
    if others:
        _log.warning("libraries are of other versions than before: the bits need not be those of a run without a stop "
                     "(%s)", "; ".join(sorted(others)))  # fmt: skip


def check_same_images(before: Sequence[str], now: Sequence[str]) -> None:
    """Raise ValueError, naming new and missing files, unless both are the same lines of split.csv."""
    if before == now:
        return
    old, new = ({image_named(row): row for row in rows} for rows in (before, now))
    changes = {
        "new": [name for name in new if name not in old],
        "missing": [name for name in old if name not in new],
        "of another class or part": [name for name in new if name in old and new[name] != old[name]],
    }
    found = [f"{len(names)} {what} ({listed(names)})" for what, names in changes.items() if names]
    raise ValueError(
        f"--resume: got other images than the run began with: {', '.join(found) or 'in another order'}; expected the "
        "same: put back what is missing and take out what is new, or begin another run with --output"
    )


def run_identity(run: Run, save_every: int) -> dict[str, Any]:
    """What must be the same on all ranks."""
    images = "\n".join(split_rows(run.data)).encode()
    nccl = nccl_for(run.backend)
    options = {**dataclasses.asdict(run.settings), **dataclasses.asdict(run.settings.recipe)}
    del options["recipe"]
    return {
        "--output": str(run.folder.resolve()),
        "--save-every": save_every,
        "--shard-optimizer": run.owners is not None,
        "version of NCCL": None if nccl is None else nccl.version(),
        "products of matrices": run.backend.products,
        **options,
        "images": f"a list of CRC-32 {zlib.crc32(images)}",
        **{f"version of {name}": value for name, value in versions().items() if name != "cores"},
    }


def write_start(run: Run, *, new: bool, epochs: int | None) -> None:
    """Write what a new run begins with, in the place of what stood there; of an old one, its new number of epochs."""
    if new:
        for old in states(run.folder):
            old.unlink()
        for old in (run.folder / EVENTS).glob("events.*"):
            old.unlink()
        # The weights too: until the first epoch is over they would be taken for this run's, and evaluated on images
        # that they were trained on.
        for name in CONTENTS:
            if name not in FOLDERS:
                (run.folder / name).unlink(missing_ok=True)
        prepare_folder(run.folder, run.settings, run.data, versions())
    elif epochs is not None:
        write_text(run.folder / FILE, run.settings.to_toml({"versions": versions()}))
