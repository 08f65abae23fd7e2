"""Idx files and both versions of CIFAR: every pixel where it belongs, and what is damaged is named."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import command_line as vipnp
from vipnp.data import load_data_set
from vipnp.data.packed import packed_format
from vipnp.train.settings import read_settings

RNG = np.random.default_rng(0)
PIXELS = {"train": RNG.integers(0, 256, (9, 4, 6)), "t10k": RNG.integers(0, 256, (5, 4, 6))}
LABELS = {"train": np.array([0, 1, 2, 0, 1, 2, 0, 1, 2]), "t10k": np.array([2, 1, 0, 0, 1])}


def idx(values: Any, kind: int = 8) -> bytes:
    header = bytes((0, 0, kind, values.ndim)) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    return header + bytes(int(value) for value in values.ravel())


def write_idx(folder: Path, *, packed: bool = False, separator: str = "-") -> Path:
    folder.mkdir()
    for part in PIXELS:
        for what, values in (("images", PIXELS[part]), ("labels", LABELS[part])):
            name, content = f"{part}-{what}{separator}idx{values.ndim}-ubyte", idx(values)
            if packed:
                name, content = f"{name}.gz", gzip.compress(content)
            (folder / name).write_bytes(content)
    return folder


def cifar(labels: int) -> tuple[dict[str, bytes], Any, Any]:
    """Files by name; pixels (7, 3, 32, 32) of the first part, and its classes."""
    rng = np.random.default_rng(labels)
    pixels, classes = rng.integers(0, 256, (7, 3, 32, 32)), rng.integers(0, 3, 7)
    coarse = rng.integers(0, 2, (7, labels - 1))
    records = [bytes([*map(int, coarse[i]), int(classes[i]), *map(int, pixels[i].ravel())]) for i in range(len(pixels))]
    if labels == 1:
        files = {f"data_batch_{k + 1}.bin": b"".join(records[k : k + 1 if k < 4 else 7]) for k in range(5)}
        files |= {"test_batch.bin": b"".join(records[:2]), "batches.meta.txt": b"cat\ndog\nemu\n\n"}
    else:
        files = {"train.bin": b"".join(records), "test.bin": b"".join(records[:2])}
        files |= {"fine_label_names.txt": b"cat\ndog\nemu\n", "coarse_label_names.txt": b"pet\nbird\n"}
    return files, pixels, classes


class Python2:
    """What the cPickle of Python 2 writes of mappings by protocol 2, which is how CIFAR's files are made: texts of one
    byte a character, and an array as its bytes."""

    def __init__(self) -> None:
        self.kept = 0

    def keep(self, content: bytes) -> bytes:
        self.kept += 1
        return content + (b"q" + bytes((self.kept,)) if self.kept < 256 else b"r" + self.kept.to_bytes(4, "little"))

    def write(self, value: Any) -> bytes:
        if isinstance(value, dict):
            items = b"".join(self.write(key) + self.write(item) for key, item in value.items())
            return self.keep(b"}") + b"(" + items + b"u"
        if isinstance(value, list):
            return self.keep(b"]") + b"(" + b"".join(map(self.write, value)) + b"e"
        if isinstance(value, str):
            return self.keep(b"U" + bytes((len(value),)) + value.encode())
        if isinstance(value, int):
            return b"K" + bytes((value,)) if value < 256 else b"M" + value.to_bytes(2, "little")
        shape = b"".join(map(self.write, value.shape)) + b"\x86"
        numbers = bytes(map(int, value.ravel()))
        return b"".join(
            (
                self.keep(b"cnumpy.core.multiarray\n_reconstruct\n") + self.keep(b"cnumpy\nndarray\n"),
                self.keep(b"K\x00\x85") + self.keep(b"U\x01b") + self.keep(b"\x87") + self.keep(b"R"),
                b"(K\x01" + self.keep(shape) + self.keep(b"cnumpy\ndtype\n") + self.keep(b"U\x02u1K\x00K\x01\x87"),
                self.keep(b"R") + b"(K\x03" + self.keep(b"U\x01|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
                b"\x89T" + len(numbers).to_bytes(4, "little") + numbers + b"tb",
            )
        )

    def __call__(self, value: Any) -> bytes:
        return b"\x80\x02" + self.write(value) + b"."


def pickled(labels: int, writer: Any) -> dict[str, bytes]:
    """The files of `cifar` as pickles."""
    _, pixels, classes = cifar(labels)
    table, numbers = pixels.reshape(7, -1).astype(np.uint8), [int(label) for label in classes]

    def part(rows: slice) -> bytes:
        names = [f"a_picture_s_{i:06}.png" for i in range(7)][rows]
        kinds = {"labels": numbers[rows]} if labels == 1 else {"fine_labels": numbers[rows], "coarse_labels": [0]}
        content: bytes = writer({"batch_label": "part 1 of 5", **kinds, "data": table[rows], "filenames": names})
        return content

    names = {"label_names" if labels == 1 else "fine_label_names": ["cat", "dog", "emu"], "num_vis": 3072}
    if labels == 1:
        files = {f"data_batch_{k + 1}": part(slice(k, k + 1 if k < 4 else 7)) for k in range(5)}
        return {**files, "test_batch": part(slice(2)), "batches.meta": writer(names)}
    return {"train": part(slice(7)), "test": part(slice(2)), "meta": writer(names)}


WRITERS: dict[str, Any] = {
    "python 2": lambda value: Python2()(value),
    **{f"python 3, protocol {n}": partial(pickle.dumps, protocol=n) for n in (2, 3, 4)},
}


def pictures(split: Any, channels: int) -> Any:
    return np.stack([np.asarray(split.picture(i, channels)) for i in range(len(split))])


@pytest.mark.parametrize(("packed", "separator"), [(False, "-"), (True, "-"), (False, ".")])
def test_idx_files(tmp_path: Path, packed: bool, separator: str) -> None:
    data = load_data_set(write_idx(tmp_path / "m", packed=packed, separator=separator))
    assert data.classes == ("0", "1", "2")
    for part, split in (("train", data.train), ("t10k", data.validation)):
        np.testing.assert_array_equal(pictures(split, 1), PIXELS[part])
        np.testing.assert_array_equal(split.labels, LABELS[part])
    assert not set(data.train.names) & set(data.validation.names)


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("form", ["binary", *WRITERS])
def test_cifar(tmp_path: Path, labels: int, archive: bool, form: str) -> None:
    files, pixels, classes = cifar(labels)
    if form != "binary":
        files = pickled(labels, WRITERS[form])
    source = tmp_path / ("c.tar.gz" if archive else "c")
    if archive:
        with tarfile.open(source, "w:gz") as tar:
            for name, content in {"readme.html": b"hello", **files}.items():
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        source.mkdir()
        for name, content in files.items():
            (source / name).write_bytes(content)
    data = load_data_set(source)
    assert data.classes == ("cat", "dog", "emu")
    assert len(data.validation) == 2
    np.testing.assert_array_equal(pictures(data.train, 3), pixels.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(data.train.labels, classes)


def test_idx_files_of_other_names_are_told(tmp_path: Path) -> None:
    """EMNIST's are; a folder of images was asked for."""
    folder = write_idx(tmp_path / "m")
    for path in list(folder.iterdir()):
        path.rename(folder / f"emnist-letters-{path.name}")
    with pytest.raises(
        ValueError, match=r"other names than MNIST's, expected train-images-idx3-ubyte, .* or with \.gz$"
    ):
        load_data_set(folder)


def test_training_on_idx_files(tmp_path: Path) -> None:
    source = write_idx(tmp_path / "m", packed=True)
    folder = tmp_path / "r"
    options = ("--epochs", 1, "--img-size", 4, 6, "--backend", "numpy")
    result = vipnp("train", source, "-o", folder, *options)
    assert result.exit_code == 0, result.output
    settings = read_settings(folder)
    assert (settings.channels, settings.recipe.flip) == (1, 0.0)
    assert vipnp("eval", folder, "--backend", "numpy").exit_code == 0
    assert vipnp("train", "--resume", folder, "--epochs", 2).exit_code == 0


IMAGES, NUMBERS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"", "train-images-idx3-ubyte is no idx file of unsigned bytes with 3 axes"),
        (IMAGES, idx(PIXELS["train"])[:-1], "announces 216 bytes and has 215"),
        (IMAGES, idx(PIXELS["train"]) + b"!", "announces 216 bytes and has more"),
        (IMAGES, idx(PIXELS["train"], kind=9), "is no idx file of unsigned bytes"),
        (IMAGES, bytes((0, 0, 8, 3)) + b"\xff" * 12, "announces .* bytes, expected at most 4,294,967,296"),
        (NUMBERS, idx(LABELS["train"][:-1]), "has 9 train-images and 8 train-labels"),
        (NUMBERS, idx(LABELS["train"] % 2), "has the label 2, expected less than 2"),
        (NUMBERS, idx(LABELS["train"] * 0), "has 1 classes, expected two or more"),
        (f"{IMAGES}.gz", gzip.compress(idx(PIXELS["train"]))[:-12], "is damaged"),
        (f"{IMAGES}.gz", b"no gzip", "is damaged"),
        ("t10k-images-idx3-ubyte", idx(PIXELS["t10k"][:, :3]), r"pictures of \(4, 6\) and of \(3, 6\)"),
        ("t10k-labels-idx1-ubyte", None, "has no t10k-labels-idx file beside the others"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    folder = write_idx(tmp_path / "m")
    (folder / name.removesuffix(".gz")).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_data_set(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test.bin", b"x" * 3075, r"test\.bin has 3,075 bytes, expected a multiple of 3,074"),
        ("test.bin", b"", "has no pictures to test"),
        ("test.bin", None, r"has no test\.bin"),
        ("fine_label_names.txt", b"cat\ndog\n", "has the label 2, expected less than 2"),
        ("fine_label_names.txt", b"cat\nd\xe9g\nemu\n", r"fine_label_names\.txt is no text in UTF-8 .* at byte 5"),
    ],
)
def test_damaged_cifar_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    for file, value in {**cifar(2)[0], name: content}.items():
        if value is not None:
            (tmp_path / file).write_bytes(value)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_data_set(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "cat", "emu"], "has 3 classes, two of one name"),
        (["cat", "", "emu"], "got a class named ''"),
        (["c\nt", "dog", "emu"], r"got a class named 'c\\nt'"),
        (["\ud800", "dog", "emu"], r"got a class named '\\ud800'"),
        (["cat", "dog", 300 * "e"], "got a class named str"),
    ],
)
def test_names_of_classes_are_those_that_a_folder_could_have(tmp_path: Path, names: list[str], message: str) -> None:
    """Of two of one name neither can be asked for, and a file of a run has a line for each."""
    meta = pickle.dumps({"fine_label_names": names}, protocol=2)
    for file, value in {**pickled(2, Python2()), "meta": meta}.items():
        (tmp_path / file).write_bytes(value)
    with pytest.raises(ValueError, match=f"^data: .*{message}.*, expected "):
        load_data_set(tmp_path)


def nested_shape() -> bytes:
    """A pickle of an array whose shape is a tuple of 2**40 tuples; each is twice the one before, which stands once."""
    doubled = b"".join(b"q" + bytes((i,)) + b"h" + bytes((i,)) + b"\x86" for i in range(1, 40))
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\ntR(K\x01K\x01\x85" + doubled
    rest = b"cnumpy\ndtype\nU\x02u1\x85R\x89U\x01xtb"
    return b"\x80\x02}(U\x04data" + array + rest + b"U\x0bfine_labels](K\x00eu."


NO_ARRAY = np.zeros((7, 3071), np.uint8)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "train",
            b"cposix\nsystem\nU\x04true\x85R.",
            "train asks for 'posix.system', which is no part of CIFAR's pict",
        ),
        ("train", b"cnumpy\nndarray\n)R.", "train calls numpy.ndarray, which no CIFAR's pictures do"),
        ("train", b"\x80\x02}q\x01.", "train holds no 'fine_labels'"),
        ("train", b"\x80\x02]q\x01.", "train holds a pickle that has a list where a dict should be"),
        ("train", Python2()({"fine_labels": [0]}), "train holds no array 'data' of bytes"),
        (
            "train",
            Python2()({"fine_labels": [0], "data": NO_ARRAY}),
            r"'data' of shape \(7, 3071\) and 21,497 bytes for 1",
        ),
        (
            "train",
            Python2()({"fine_labels": ["a"], "data": np.zeros((1, 3072), int)}),
            "holds 'fine_labels' that are no",
        ),
        (
            "train",
            pickle.dumps({"fine_labels": [0], "data": np.zeros((1, 3072))}, protocol=2),
            "holds no array 'data' of",
        ),
        ("train", nested_shape(), "train holds 'data' of no shape"),
        ("train", b"no pickle", "train holds a damaged pickle"),
        ("train", b"Q.", "train holds a damaged pickle"),
        ("train", b"U\x01aQ.", "train refers to something outside of the pickle"),
        (
            "meta",
            Python2()({"fine_label_names": [0, 1, 2]}),
            "meta holds a pickle that has a int where a str should be",
        ),
        ("meta", None, "has no meta"),
    ],
)
def test_pickles_that_are_not_cifar_are_refused_and_not_run(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    for file, value in {**pickled(2, Python2()), name: content}.items():
        if value is not None:
            (tmp_path / file).write_bytes(value)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_data_set(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("size", "body"),
    [
        (2**40, b""),
        (2**70, b""),
        (28, b"28 size=99999999999999999999"),
        (29, b"29 size=99999999999999999999\n"),
    ],
)
def test_an_archive_that_announces_what_it_has_not(packed: bool, size: int, body: bytes, tmp_path: Path) -> None:
    """The extended header of a record is taken into memory as long as it says to be: this was an OverflowError, or
    gigabytes."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size
    record = tarfile.TarInfo("data_batch_1.bin")
    contents = header.tobuf(tarfile.GNU_FORMAT) + body.ljust(512, b"\0") + record.tobuf() + bytes(1024)
    path = tmp_path / "c.tar"
    path.write_bytes(gzip.compress(contents) if packed else contents)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^data: .*c\.tar is damaged \("):
            load_data_set(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_mark_of_the_order_of_bytes_is_no_part_of_a_name(tmp_path: Path) -> None:
    for file, value in {**cifar(2)[0], "fine_label_names.txt": b"\xef\xbb\xbfcat\ndog\nemu\n"}.items():
        (tmp_path / file).write_bytes(value)
    assert load_data_set(tmp_path).classes == ("cat", "dog", "emu")


def test_a_bit_that_fell_over_in_an_archive_is_seen(tmp_path: Path) -> None:
    """It can be one of a pixel, which only the checksum at the end of the file shows."""
    path = tmp_path / "c.tar.gz"
    with gzip.open(path, "wb", compresslevel=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in cifar(2)[0].items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert len(load_data_set(path).train) > 0
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(cifar(2)[0]["train.bin"]) + 1000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"c\.tar\.gz is damaged \(CRC check failed"):
        load_data_set(path)


def test_damaged_and_other_archives(tmp_path: Path) -> None:
    (tmp_path / "c.tar.gz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"c\.tar\.gz is damaged"):
        load_data_set(tmp_path / "c.tar.gz")
    with tarfile.open(tmp_path / "e.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("data_batch_1.bin"))
    (tmp_path / "e.tar.xz").rename(tmp_path / "e.tar")
    with pytest.raises(ValueError, match=r"e\.tar is damaged"):
        load_data_set(tmp_path / "e.tar")
    with tarfile.open(tmp_path / "d.tar", "w"):
        pass
    with pytest.raises(ValueError, match=r"has no data_batch_1\.bin nor .*: it is no CIFAR-10 or CIFAR-100"):
        load_data_set(tmp_path / "d.tar")
    assert packed_format(tmp_path) is None
