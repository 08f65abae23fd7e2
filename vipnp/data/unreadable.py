"""Files of a data set that are no whole images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from vipnp.core.checks import listed
from vipnp.data.images import UnreadableImageError, check_image
from vipnp.data.sets import DataSet, Split

AT_ONCE = 1024
"""Files that wait for the threads, so that a list of a million costs no more than one of thousands."""

DIM = 0.25
"""Share of white that no pixel of any grey image of more than 8 bits exceeds where white is likely another value: 14
bits in 16 reach it."""

NAMED = 5
"""Files that a message names."""


def files_of(images: DataSet, source: str | Path) -> list[str]:
    """Every file of a data set as a path below its source, none for a set that is no folder."""
    found: list[str] = []
    for split in (images.train, images.validation):
        if split.root is not None:
            below = split.root.relative_to(source).as_posix()
            found += split.names if below == "." else [f"{below}/{name}" for name in split.names]
    return found


def unreadable(
    source: str | Path, files: Sequence[str], workers: int, brightest: list[float] | None = None
) -> dict[str, str]:
    """What is wrong with those of `files`, paths below `source`, that are no whole images. Each is read to its end, in
    `workers` threads. What `check_image` returns of grey of more than 8 bits is added to `brightest`."""

    def problem(file: str) -> str | None:
        try:
            share = check_image(Path(source, file))
        except UnreadableImageError as error:
            return str(error)
        if share is not None and brightest is not None:
            brightest.append(share)
        return None

    found = {}
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="vipnp-check") as pool:
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            for file, text in zip(some, pool.map(problem, some), strict=True):
                if text is not None:
                    found[file] = text
    return found


def without_unreadable(split: Split, workers: int) -> tuple[Split, list[str]]:
    """`split` without its files that are no whole images, and what is wrong with each of them."""
    if split.root is None:
        return split, []
    problems = unreadable(split.root, split.names, workers)
    kept = [i for i, name in enumerate(split.names) if name not in problems]
    names = tuple(split.names[i] for i in kept)
    return replace(split, names=names, labels=split.labels[kept]), list(problems.values())


def told_of(passed_over: Sequence[str], classes: Collection[str] | None = None) -> str:
    """A line about what was passed over in a folder (`DataSet.passed_over`), "" where that is nothing; a photograph of
    an unknown kind, or beside the folders of the classes, is not missed in silence.

    classes : those found, where folders that hold nothing else would be others.
    """
    aside = [name[len("../") : -1] for name in passed_over if name.startswith("../")]
    passed_over = [name for name in passed_over if not name.startswith("../")]
    files = [name for name in passed_over if "/" in name and not name.endswith("/")]
    told = []
    if aside:
        told.append(f"folders beside that of the images to train on, of which none is taken: {listed(aside)}")
    if files:
        kinds = Counter(os.path.splitext(name)[1].lower() or "without a suffix" for name in files)
        counts = [f"{count} {kind}" for kind, count in kinds.most_common(NAMED)]
        more = ", ..." if len(kinds) > NAMED else ""
        told.append(f"passed over, since their names are no images': {', '.join(counts)}{more}")
    if classes is not None:
        folders = dict.fromkeys(name.partition("/")[0] for name in passed_over if "/" in name)
        if lost := [folder for folder in folders if folder not in classes]:
            what = "with nothing else" if files else "without an image"
            told.append(f"folders {what}, and so no classes: {listed(lost)}")
        if beside := [name for name in passed_over if "/" not in name]:
            told.append(f"images beside the folders of the classes, and so of none: {listed(beside)}")
    return "; ".join(told)


def told_of_dim(brightest: Sequence[float]) -> str:
    """A line about grey images of more than 8 bits that are all nearly black, "" where they are not: cameras and
    scanners leave 12 bits in files of 16, of which little is left in 8."""
    if not brightest or max(brightest) > DIM:
        return ""
    return (
        f"nearly black: of the {len(brightest)} grey images of more than 8 bits the brightest pixel has "
        f"{max(brightest):.1%} of white, which is 65535, or 1 in floating point; if white is another value in them, "
        "such as 4095, scale them first"
    )


def check_readable(problems: Mapping[str, str], total: int) -> None:
    """Raise UnreadableImageError that counts and names the files of `unreadable`, if there are any."""
    if problems:
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        raise UnreadableImageError(
            f"data: {len(problems)} of {total} files cannot be read (--skip-unreadable leaves them out): "
            + "; ".join(list(problems.values())[:NAMED])
            + more
        )
