"""What a run folder holds: what the run began with, its states, its figures."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from vipnp.checkpoint import load_metadata, load_weights, save_weights
from vipnp.core import HostArray
from vipnp.core.checks import listed
from vipnp.core.files import check_output_folder, is_kept, text_when_done, write_text
from vipnp.data import DataSet, load_data_set
from vipnp.train.settings import FILE, Settings, read_settings

if sys.platform != "win32":
    import fcntl

COUNTERS = frozenset({"step", "loss_sum", "best", "rows"})
GROUPS = frozenset({"weight", "exp_avg", "exp_avg_sq"})
"""What every state holds, of counters and of tensors."""

RECORD = "settings"
"""The counter, in newer states, that holds the settings that a state was made with."""

PRODUCTS = "products"
"""What stands in it besides: who multiplied the matrices (`Backend.products`)."""

VERSIONS = "versions"
"""Likewise, of the libraries."""

STATES_KEPT = 2
"""States of a run that are kept; the older one is there in case the newer cannot be read."""

LOG = "log.txt"
"""What a run printed; a resumed run adds to it."""

EVENTS = "tensorboard"
"""The folder of the events that TensorBoard reads."""

LEFT_OUT = "unreadable"
"""The part, in split.csv, of files that the run does without."""

CONTENTS = (
    FILE,
    "classes.txt",
    "split.csv",
    "metrics.csv",
    LOG,
    "curves.png",
    "train_batch.png",
    "best.safetensors",
    "last.safetensors",
    "state",
    EVENTS,
)
"""What a run writes into its folder."""

FOLDERS = frozenset({"state", EVENTS})
"""Those of them that are folders."""

STAYING = frozenset({FILE, "classes.txt", "split.csv", "train_batch.png"})
"""Those that stay as they are when a run goes on."""

COLUMNS = ("epoch", "loss", "lr", "accuracy", "seconds")
"""Of metrics.csv."""


def split_rows(data: DataSet) -> list[str]:
    """The lines of split.csv: name (as JSON), class and part of every image; then the files that are left out, by their
    paths below the source and without a class."""
    rows = [
        _row(name, data.classes[label], part)
        for part, split in (("train", data.train), ("validation", data.validation))
        for name, label in zip(split.names, split.labels, strict=True)
    ]
    return rows + [f"{json.dumps(name)},,{LEFT_OUT}" for name in data.left_out]


def _row(name: str, label: str, part: str) -> str:
    return f"{json.dumps(name)},{json.dumps(label)},{part}"


def read_split(folder: Path) -> list[str]:
    """The lines of split.csv of the run in `folder`. Raises ValueError or OSError, naming the file, where it cannot be
    read."""
    path = folder / "split.csv"
    if not path.is_file():
        raise FileNotFoundError(f"run: {folder} holds no split.csv: it is no whole run folder")
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"run: {path} is no text in UTF-8 ({error})") from error


def image_named(row: str) -> str:
    """The name in a line of split.csv; the line itself where it has none, for a file may hold anything."""
    try:
        return str(json.JSONDecoder().raw_decode(row)[0])
    except json.JSONDecodeError:
        return row


def images_of(folder: Path, settings: Settings, *, otherwise: str) -> DataSet:
    """The images of the run in `folder` as they are now, without the files that it left out.

    otherwise : what to do where they are gone and cannot be put back.

    Raises as `vipnp.data.load_data_set`, and FileNotFoundError where there is no split.csv or the images are gone.
    """
    path, end = folder / "split.csv", f",,{LEFT_OUT}"
    try:
        left_out = [json.loads(row.removesuffix(end)) for row in read_split(folder) if row.endswith(end)]
    except json.JSONDecodeError as error:
        raise ValueError(f"run: {path} is no list of a run's images ({error})") from error
    try:
        return load_data_set(settings.data, validation=settings.validation, seed=settings.seed, leave_out=left_out)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; the run in {folder} had its images there: put them back, or {otherwise}"
        ) from error


def trained_on(folder: Path, images: DataSet) -> list[str]:
    """The names of images that are held out now and that the run in `folder` was trained on, if they are the same."""
    held_out, rows = images.validation, read_split(folder)
    trained = {row for row in rows if row.endswith(",train")}
    both = trained & {f"{row.removesuffix(',validation')},train" for row in rows if row.endswith(",validation")}
    if both and images.train.root != held_out.root:  # the run's too were folders of their own, with the same names
        return []
    now = zip(held_out.names, held_out.labels, strict=True)
    return [name for name, label in now if _row(name, images.classes[label], "train") in trained]


def files_trained_on(folder: Path, images: DataSet) -> list[str]:
    """The names of images that are held out now and are files that the run in `folder` was trained on; none where its
    images are not where they were. In a test set of its own, others have the same names."""
    try:
        own = images_of(folder, read_settings(folder), otherwise="")
    except (OSError, ValueError):
        return []
    if own.train.root is None or images.validation.root is None:
        return []
    rows, train, held_out = set(read_split(folder)), own.train, images.validation
    pairs = zip(train.names, train.labels, strict=True)
    names = [name for name, label in pairs if _row(name, own.classes[label], "train") in rows]
    there, here = os.path.realpath(own.train.root), os.path.realpath(images.validation.root)
    trained = {os.path.join(there, name) for name in names}
    return [name for name in held_out.names if os.path.join(here, name) in trained]


def told_of_others(folder: Path, images: DataSet) -> str:
    """A line about images that are held out now and were not when the run in `folder` began, which may be images that
    it was trained on by other names, and about those that are not there any more; "" where all are as they were."""
    rows = read_split(folder)
    then = {part: {row for row in rows if row.endswith(f",{part}")} for part in ("train", "validation")}
    now = {}
    for part, split in (("train", images.train), ("validation", images.validation)):
        pairs = zip(split.names, split.labels, strict=True)
        now[part] = {_row(name, images.classes[label], part) for name, label in pairs}
    lines = []
    if new := now["validation"] - then["validation"]:
        lines.append(f"held out now, and not when the run began: {listed(map(image_named, sorted(new)))}")
        if moved := then["train"] - now["train"]:
            lines.append(
                f"images that it was trained on are not where they were ({len(moved)}): where they are among these, by "
                "other names or in other classes, the accuracy is not that of images it has not seen"
            )
    if gone := then["validation"] - now["validation"]:
        lines.append(f"images that were held out are not where they were ({len(gone)})")
    return "; ".join(lines)


def check_unseen(folder: Path, images: DataSet) -> None:
    """Raise ValueError where the run in `folder` was trained on images that are held out now: others were removed, or
    added to a class of very few."""
    if seen := trained_on(folder, images):
        raise ValueError(
            f"data: the run was trained on {listed(seen)}, held out now that other files are missing or new: put them "
            "back as they were, or take --data FOLDER of other images"
        )


@contextmanager
def held_alone(name: str, folder: Path) -> Iterator[None]:
    """Keep other programs of ours out of `folder`, which is made where there is none; the system does, until this
    process ends.

    Raises ValueError that begins with `name` where another one is at work there. Nothing is held on Windows and on a
    file system without locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{name}: got {folder}, where another vipnp is at work, expected a folder of its own or its end"
            ) from error
        except OSError:  # the file system has no locks
            pass
        yield
    finally:
        os.close(lock)


def check_contents(folder: Path) -> None:
    """Raise ValueError where in `folder` something else stands in the place of a file or folder of a run, or one cannot
    be written that is with every epoch: a pipe is waited for without end, the rest would cost an epoch."""
    for name in CONTENTS:
        place, kind = folder / name, "folder" if name in FOLDERS else "file"
        if os.path.lexists(place) and not (place.is_dir() if name in FOLDERS else place.is_file()):
            raise ValueError(f"run: got {place}, which is no {kind}, expected one or nothing there: take it away")
        if name in FOLDERS:
            check_output_folder("run", place)
        elif name not in STAYING and is_kept(place):
            raise ValueError(f"run: {place} cannot be written, which is with every epoch: make it so, or move it away")


def prepare_folder(folder: Path, settings: Settings, data: DataSet, versions: dict[str, str]) -> None:
    """Write config.toml, classes.txt and split.csv of a new run."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        FILE: settings.to_toml({"versions": versions}),
        "classes.txt": "".join(f"{name}\n" for name in data.classes),
        "split.csv": "".join(f"{row}\n" for row in split_rows(data)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)


def states(folder: Path) -> list[Path]:
    """The saved states of a run, oldest first. Raises OSError where their folder cannot be read: a run without states
    or figures begins again."""
    place = folder / "state"
    if not os.path.lexists(place):
        return []
    return sorted(place / name for name in os.listdir(place) if fnmatch(name, "step-*.safetensors"))


def check_goes_on(folder: Path) -> None:
    """Raise ValueError where the run in `folder` has done epochs and its states were taken away."""
    figures = folder / "metrics.csv"  # written after a state: one that was killed before its first has no rows
    if figures.is_file() and len(figures.read_bytes().splitlines()) > 1 and not states(folder):
        raise ValueError(
            f"run: {folder} has done epochs, and no state in {folder / 'state'} to go on from: it would begin again "
            f"and replace its best weights; begin another run with --output, from them with --weights {folder}"
        )


def save_state(folder: Path, groups: Mapping[str, Mapping[str, HostArray]], counters: Mapping[str, Any]) -> None:
    """Write a state, metrics.csv after it, and drop states that are no longer kept.

    groups : tensors by the name of their group and their own. counters : what else a run goes on from, with the step
    and the rows of metrics.csv.
    """
    (folder / "state").mkdir(exist_ok=True)
    tensors = {f"{group}/{name}": value for group, found in groups.items() for name, value in found.items()}
    save_weights(folder / "state" / f"step-{counters['step']:08}.safetensors", tensors, dict(counters))
    for old in states(folder)[:-STATES_KEPT]:
        old.unlink()
    write_metrics(folder, counters["rows"])


def read_state(folder: Path) -> tuple[dict[str, dict[str, HostArray]], dict[str, Any]] | None:
    """Groups and counters of the last state that can be read, None where there is none.

    Raises ValueError where none of them can be read: a run that began again would replace its best weights.
    """
    problems = []
    for path in reversed(states(folder)):
        try:
            return _state(path)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(
            f"run: no state in {folder / 'state'} can be read ({problems[0]}); begin another run with --output"
        )
    return None


def record_of_settings(folder: Path) -> dict[str, Any]:
    """The settings that the states of a run were made with, empty where none of them says it."""
    for path in reversed(states(folder)):
        try:
            found = load_metadata(path).get(RECORD)
        except ValueError:  # a broken state, which `read_state` passes over as well
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _state(path: Path) -> tuple[dict[str, dict[str, HostArray]], dict[str, Any]]:
    tensors, counters = load_weights(path), load_metadata(path)
    groups: dict[str, dict[str, HostArray]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = np.array(tensor)
    missing = (COUNTERS - counters.keys()) | (GROUPS - groups.keys())
    if missing:
        raise ValueError(f"path: {str(path)!r} is no state of a run: it lacks {', '.join(sorted(missing))}")
    return groups, counters


def write_metrics(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write metrics.csv."""
    with text_when_done(folder / "metrics.csv") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
