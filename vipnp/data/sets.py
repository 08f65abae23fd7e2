"""Data sets: named pictures with labels, in a training and a validation part."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

import numpy as np

from vipnp.core import HostArray
from vipnp.core.checks import check_library, check_real, check_whole, shown
from vipnp.core.files import PICTURES, check_path
from vipnp.data.images import check_channels, open_image

if TYPE_CHECKING:
    from PIL import Image

TRAINING_FOLDERS = ("train", "training")
VALIDATION_FOLDERS = ("val", "valid", "validation", "test", "testing")
"""What the folders of the parts may be called, in any case; with folders in them, else each is a class."""

DEFAULT_VALIDATION = 0.2
"""The share of a folder of classes that is held out."""

EMBEDDED = ("digits", "mnist5k", "phototiles")
"""Data sets that installed packages carry."""

LONGEST_CLASS = 255
"""Characters of the name of a class: as many as of a folder's."""

NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Kinds of characters that no name of a class has: control characters, ends of lines, and bytes that are no UTF-8."""


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes
    ----------
    names : what a sample is called: the path of its file below the root, or set/index.
    labels : (n,) int64, indices into the classes.
    root : the folder of the files; None where `pixels` holds the pictures.
    pixels : (n, height, width) or (n, height, width, 3) uint8, or None.
    exif : whether pictures are turned as their orientation tag says.
    """

    names: tuple[str, ...]
    labels: HostArray
    root: Path | None = None
    pixels: HostArray | None = None
    exif: bool = True

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int, channels: int) -> Image.Image:
        """One sample as a picture.

        Parameters
        ----------
        index : in [0, len(split)).
        channels : 3 for an "RGB" picture, 1 for an "L" one.

        Returns
        -------
        PIL.Image.Image
            In that mode.

        Raises
        ------
        UnreadableImageError
            Naming the file.
        ValueError, IndexError
            For other channels, and an index beyond.
        """
        check_channels(channels)
        check_library("images", "PIL.Image", extra="train")
        from PIL import Image

        if self.pixels is None:
            assert self.root is not None
            return open_image(self.root / self.names[index], channels, exif=self.exif)
        return Image.fromarray(self.pixels[index]).convert("RGB" if channels == 3 else "L")


@dataclass(frozen=True)
class DataSet:
    """A data set in two parts.

    Attributes
    ----------
    classes : their names, in natural order.
    train, validation : the parts.
    left_out : the files below the source that are in neither.
    passed_over : the files in its folders that are no images by their names, as paths below those of the parts; the
        folders that are empty, with a slash behind; images beside the folders of the classes; and, as "../NAME/", the
        folders beside that of a part.
    """

    classes: tuple[str, ...]
    train: Split
    validation: Split
    left_out: tuple[str, ...] = field(default=(), kw_only=True)
    passed_over: tuple[str, ...] = field(default=(), kw_only=True)


def natural(name: str) -> tuple[list[Any], str]:
    """A sort key under which "2" stands before "10"; of names that differ in zeros or case alone, such as "02" and "2",
    none is equal to another, as the order would be that of the file system."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], name


def load_data_set(
    source: str | Path, *, validation: float = DEFAULT_VALIDATION, seed: int = 0, leave_out: Collection[str] = ()
) -> DataSet:
    """A data set by the name of an embedded one, from a folder of images, or from files of MNIST's or CIFAR's kind.

    Parameters
    ----------
    source : one of `EMBEDDED`, also where there is a folder of that name ("./digits" is one); or a folder: one folder
        of images a class, or train/ and val/ (training/; valid/, validation/, test/, testing/) with those; or what
        `vipnp.data.packed` reads.
    validation : the share held out of a folder that has no validation part, in (0, 1]. Which files it takes depends on
        `seed` and their names alone: adding files moves none, but for a class so small that one is put on the side
        where there was none. 1 leaves none to train on.
    seed : of that choice.
    leave_out : files below the source that are not taken, as `vipnp.data.unreadable` gives them.

    Returns
    -------
    DataSet
        What is trained on and what is held out.

    Raises
    ------
    TypeError
        If `source` is neither a string nor a path, `seed` no integer or `leave_out` no list.
    ValueError
        For what is no folder or an empty one, fewer than two classes to train on, and classes that one part has and the
        other has not.
    FileNotFoundError
        If there is no such folder.
    ImportError
        Where the package that carries an embedded set is missing.
    """
    check_path("data", source)
    validation = check_real("validation", validation, low=0, high=1, low_included=False, high_included=True)
    seed = check_whole("seed", seed, low=0)
    if isinstance(leave_out, str) or not isinstance(leave_out, Collection):
        raise TypeError(f"leave_out: got {shown(leave_out)}, expected a list of files")
    for name in leave_out:
        if not isinstance(name, str):
            raise TypeError(f"leave_out: got {shown(name)} in it, expected names of files")
    if isinstance(source, str) and source in EMBEDDED:
        from vipnp.data import embedded

        found: DataSet = getattr(embedded, str(source))()
        return found
    from vipnp.data.packed import load_packed, packed_format

    root = Path(source)
    kind = packed_format(root)
    if kind is not None:
        return load_packed(root, kind)
    if root.exists() and not root.is_dir():
        raise ValueError(
            f"data: {str(source)!r} is no folder, expected one, or an archive of CIFAR (.tar.gz, .tgz or .tar)"
        )
    if not root.is_dir():
        raise FileNotFoundError(
            f"data: there is no folder {str(source)!r}, nor a set of that name ({', '.join(EMBEDDED)})"
        )
    train, other = (_part(root, names) for names in (TRAINING_FOLDERS, VALIDATION_FOLDERS))
    passed_over: list[str] = []
    if train is not None:
        parts = {folder.name for folder in (train, other) if folder is not None}
        passed_over += [f"../{name}/" for name in _folders(root) if name not in parts and not name.startswith(".")]
    if train is not None and other is not None:
        return _two_parts(train, other, leave_out, passed_over)
    root = train or root
    fewest = 1 if validation == 1 else 2  # one is enough where none is trained on
    classes, names, labels = scan(root, inside(root, source, leave_out), passed_over, fewest=fewest)
    held_out = np.array(hold_out(names, labels, validation, seed))
    splits = [Split(tuple(np.array(names, object)[chosen]), labels[chosen], root) for chosen in (~held_out, held_out)]
    left_out = tuple(sorted(leave_out, key=natural))
    return DataSet(classes, *splits, left_out=left_out, passed_over=tuple(passed_over))


def _part(root: Path, names: Sequence[str]) -> Path | None:
    """The folder of a part in `root`: the first of these names that has folders in it."""
    found = (root / folder for name in names for folder in _folders(root) if folder.casefold() == name)
    return next((folder for folder in found if _folders(folder)), None)


def _folders(place: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(place) if _is_folder(entry))


def _two_parts(train: Path, validation: Path, leave_out: Collection[str], passed_over: list[str]) -> DataSet:
    parts = [scan(folder, inside(folder, folder.parent, leave_out), passed_over) for folder in (train, validation)]
    first, second = (set(classes) for classes, _, _ in parts)
    for missing, where in ((first - second, validation), (second - first, train)):
        if missing:
            raise ValueError(
                f"data: {where} has no images of {', '.join(sorted(missing, key=natural)[:5])}, as the other part has"
            )
    return DataSet(
        parts[0][0],
        *(
            Split(tuple(names), labels, folder)
            for folder, (_, names, labels) in zip((train, validation), parts, strict=True)
        ),
        left_out=tuple(sorted(leave_out, key=natural)),
        passed_over=tuple(passed_over),
    )


def inside(folder: Path, source: str | Path, names: Collection[str]) -> set[str]:
    """Those of `names`, files below `source`, that lie in `folder`, as files below it."""
    start = f"{folder.relative_to(source).as_posix()}/" if folder != Path(source) else ""
    return {name.removeprefix(start) for name in names if name.startswith(start)}


def scan(
    root: Path, leave_out: Collection[str] = (), passed_over: list[str] | None = None, *, fewest: int = 2
) -> tuple[tuple[str, ...], list[str], HostArray]:
    """Classes in natural order, paths below `root` and their labels (n,), of a folder with one folder a class.

    passed_over : gets what `DataSet.passed_over` says.

    Raises ValueError if there are fewer classes with images than `fewest`, or the name of one is no line of text in
    UTF-8.
    """
    found: dict[str, list[str]] = {}
    for folder in sorted(_folders(root), key=natural):
        if folder.startswith(".") or root.resolve().is_relative_to((root / folder).resolve()):
            continue
        images = images_below(root / folder, folder, passed_over=passed_over)
        files = sorted((name for name in images if name not in leave_out), key=natural)
        if files:
            check_class(root, folder)
            found[folder] = files
        elif passed_over is not None and not any(name.startswith(f"{folder}/") for name in passed_over):
            passed_over.append(f"{folder}/")
    if passed_over is not None:
        loose = (entry.name for entry in os.scandir(root) if not _is_folder(entry) and not entry.name.startswith("."))
        passed_over += sorted((name for name in loose if _is_picture(name)), key=natural)
    if not found and any("idx" in name and "ubyte" in name for name in os.listdir(root)):
        raise ValueError(
            f"data: {root} has idx files of other names than MNIST's, expected train-images-idx3-ubyte, "
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, as they are or with .gz"
        )
    if len(found) < fewest:
        what = f"only images of {next(iter(found))!r}" if found else "no folder with images in it"
        more = ", two or more" * (fewest > 1)
        raise ValueError(f"data: {root} has {what}, expected one folder of images a class{more}")
    classes = tuple(found)
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in found.values()]).astype(np.int64)
    return classes, [name for files in found.values() for name in files], labels


def check_class(source: Path, name: str) -> None:
    """Raise ValueError for what cannot be the name of a class of `source`: it is printed, and has a line in a file."""
    if not name or len(name) > LONGEST_CLASS or NO_TEXT & {category(character) for character in name}:
        raise ValueError(
            f"data: got a class named {shown(name)} in {source}, expected a line of text in UTF-8 of at most "
            f"{LONGEST_CLASS} characters"
        )


def images_below(
    folder: Path, prefix: str, above: Collection[Path] = (), passed_over: list[str] | None = None
) -> list[str]:
    """The image files in `folder` and the folders in it, as paths that begin with `prefix`.

    Hidden ones are left out, links are followed, but not to a folder that the link lies in (`above`, for recursion).
    passed_over : gets the files that are no images by their names.

    Raises OSError for a folder that cannot be read.
    """
    names = []
    here = Path(os.path.realpath(folder))
    above = {*above, here, *here.parents}
    for entry in list(os.scandir(folder)):
        if entry.name.startswith("."):
            continue
        path = f"{prefix}/{entry.name}"
        if _is_folder(entry):
            if not (entry.is_symlink() and Path(os.path.realpath(entry.path)) in above):
                names += images_below(folder / entry.name, path, above, passed_over)
        elif _is_picture(entry.name):
            names.append(path)
        elif passed_over is not None:
            passed_over.append(path)
    return names


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder or leads to one; a link that leads in a circle leads nowhere."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def hold_out(names: Sequence[str], labels: HostArray, share: float, seed: int) -> list[bool]:
    """Whether each file is held out: by a hash of (seed, name) below `share`, and at least one file of every class on
    either side; all of them for a share of 1.

    Raises ValueError if a class has one file only, and is to be divided.
    """
    if share == 1:
        return [True] * len(names)
    places = [_place(seed, name) for name in names]
    chosen = [place < share for place in places]
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ValueError(
                f"data: the class of {names[members[0]]} has one image, expected two or more: one is held out"
            )
        inside = [bool(chosen[i]) for i in members]
        if all(inside) or not any(inside):
            ends = sorted(members, key=lambda i: places[i])
            chosen[ends[-1] if all(inside) else ends[0]] = not inside[0]
    return chosen


def _place(seed: int, name: str) -> float:
    digest = hashlib.blake2b(f"{seed}:{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
