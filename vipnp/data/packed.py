"""Data sets that are kept as one array a file: idx files (MNIST and its like), and CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import gzip
import math
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

import numpy as np

from vipnp.core import HostArray
from vipnp.data.cifar import FORMS, MOST_BYTES
from vipnp.data.sets import DataSet, Split, check_class

Format = Literal["idx", "cifar"]

Found = TypeVar("Found")

IDX_PARTS = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))
"""How the names of the files of both parts begin, images and labels."""

IDX_MOST = 1 << 32
"""Bytes of pixels above which an idx file is refused."""


def packed_format(source: Path) -> Format | None:
    """What `source`, a folder or a file, holds; None where it is neither of these sets."""
    if source.is_file():
        return "cifar" if source.name.lower().endswith((".tar.gz", ".tgz", ".tar")) else None
    if not source.is_dir():
        return None
    there = os.listdir(source)  # which names the folder where it may not be read
    if any(_idx_file(source, name) for names in IDX_PARTS for name in names):
        return "idx"
    if any(form.train[0] in there and (source / form.train[0]).is_file() for form in FORMS):
        return "cifar"
    return None


def load_packed(source: Path, kind: Format) -> DataSet:
    """The data set of this kind in `source`; its test part is held out.

    Raises ValueError or FileNotFoundError naming the file that is missing, damaged, or does not fit the others.
    """
    return _idx(source) if kind == "idx" else _cifar(source)


def _data_set(source: Path, classes: tuple[str, ...], parts: list[tuple[HostArray, HostArray]]) -> DataSet:
    """parts : pixels and labels of both."""
    for name in classes:
        check_class(source, name)
    if len(set(classes)) < len(classes):
        raise ValueError(f"data: {source} has {len(classes)} classes, two of one name, expected different names")
    if len(classes) < 2:
        raise ValueError(f"data: {source} has {len(classes)} classes, expected two or more")
    splits = []
    for what, (pixels, labels) in zip(("train", "test"), parts, strict=True):
        if not len(pixels):
            raise ValueError(f"data: {source} has no pictures to {what}")
        if labels.max() >= len(classes):
            raise ValueError(f"data: {source} has the label {labels.max()}, expected less than {len(classes)}")
        names = tuple(f"{source.name}/{what}/{i}" for i in range(len(labels)))
        splits.append(Split(names, labels.astype(np.int64), pixels=pixels))
    return DataSet(classes, splits[0], splits[1])


# --- idx --------------------------------------------------------------------------------------------------------------


def _idx(source: Path) -> DataSet:
    parts = []
    for images_name, labels_name in IDX_PARTS:
        paths = [_idx_file(source, name) for name in (images_name, labels_name)]
        for path, name in zip(paths, (images_name, labels_name), strict=True):
            if path is None:
                raise FileNotFoundError(f"data: {source} has no {name}-idx file beside the others")
        pixels, labels = (read_idx(path, axes) for path, axes in zip(paths, (3, 1), strict=True) if path is not None)
        if len(pixels) != len(labels):
            raise ValueError(f"data: {source} has {len(pixels)} {images_name} and {len(labels)} {labels_name}")
        parts.append((pixels, labels))
    (first, labels), (second, _) = parts
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(
            f"data: {source} has pictures of {first.shape[1:]} and of {second.shape[1:]}, rows and columns"
        )
    classes = tuple(map(str, range(int(labels.max(initial=0)) + 1)))
    return _data_set(source, classes, parts)


def _idx_file(source: Path, name: str) -> Path | None:
    found = [path for path in source.glob(f"{name}[.-]idx*-ubyte*") if path.is_file()]
    return min(found, default=None)


def read_idx(path: Path, axes: int) -> HostArray:
    """The array of unsigned bytes in an idx file, as it is or compressed by gzip.

    Raises ValueError naming the file where it is damaged, or has another type or number of axes.
    Source: LeCun, Cortes, Burges, "The MNIST database", the section on the format.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, 8, axes)):
                raise ValueError(f"data: {path} is no idx file of unsigned bytes with {axes} axes")
            shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
            size = math.prod(shape)
            if size > IDX_MOST:
                raise ValueError(f"data: {path} announces {size:,} bytes, expected at most {IDX_MOST:,}")
            content = file.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"data: {path} is damaged ({error})") from error
    if len(content) != size:
        what = "more" if len(content) > size else f"{len(content):,}"
        raise ValueError(f"data: {path} announces {size:,} bytes and has {what}")
    return np.frombuffer(content, np.uint8).reshape(shape)


# --- CIFAR ------------------------------------------------------------------------------------------------------------


def _cifar(source: Path) -> DataSet:
    read = _archive(source) if source.is_file() else _folder(source)
    form = next((form for form in FORMS if read(form.train[0]) is not None), None)
    if form is None:
        firsts = " nor ".join(form.train[0] for form in FORMS)
        raise ValueError(f"data: {source} has no {firsts}: it is no CIFAR-10 or CIFAR-100")

    def found(name: str, take: Callable[[bytes], Found]) -> Found:
        content = read(name)
        if content is None:
            raise FileNotFoundError(f"data: {source} has no {name}")
        try:
            return take(content)
        except ValueError as error:
            raise ValueError(f"data: {source}: {name} {error}") from error

    classes = found(form.names, form.classes)
    parts = []
    for names in (form.train, form.test):
        records = [found(name, form.records) for name in names]
        parts.append((np.concatenate([x for x, _ in records]), np.concatenate([y for _, y in records])))
    return _data_set(source, classes, parts)


PIECE = 1 << 20
"""Bytes that are read at a time where only their end is of interest."""

Reader = Callable[[str], bytes | None]
"""The content of a file by its name, None where there is none."""


def _folder(source: Path) -> Reader:
    def read(name: str) -> bytes | None:
        return (source / name).read_bytes() if (source / name).is_file() else None

    return read


def _archive(source: Path) -> Reader:
    """Files of an archive by their last names."""
    wanted = {name for form in FORMS for name in (*form.train, *form.test, form.names)}
    found: dict[str, bytes] = {}
    try:
        with source.open("rb") as begin:
            packed = begin.read(2) == b"\x1f\x8b"
        with (
            gzip.open(source) if packed else source.open("rb") as file,
            tarfile.open(fileobj=cast(Any, _Bounded(file)), mode="r:") as archive,
        ):
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in wanted and member.isfile() and member.size <= MOST_BYTES:
                    opened = archive.extractfile(member)
                    assert opened is not None, "it is a file"
                    found[name] = opened.read()
            while file.read(PIECE):  # to the end, where the checksum of what is compressed is looked at
                pass
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, OverflowError, ValueError) as error:
        raise ValueError(f"data: {source} is damaged ({error})") from error
    return found.get


class _Bounded:
    """A file of which no more is read at once than a data set may have: the header of an archive can announce any
    number of bytes, and those of an extended header are all taken into memory."""

    def __init__(self, file: BinaryIO | gzip.GzipFile) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._read = file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_BYTES:
            raise tarfile.ReadError(f"it announces {size:,} bytes, expected at most {MOST_BYTES:,}")
        return self._read(size)
