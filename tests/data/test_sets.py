"""Data sets, pictures and transforms: what is read, what is held out, what is refused by name."""

from __future__ import annotations

import errno
import io
import math
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.conftest import as_nobody, make_folder
from vipnp.data import Split, Transform, load_data_set, stream
from vipnp.data.augment import cutmix
from vipnp.data.images import MAX_PIXELS, UnreadableImageError, check_image, open_image
from vipnp.data.loader import batches
from vipnp.data.sets import hold_out, natural, scan
from vipnp.data.transforms import centre_crop, erase_at_random, random_box
from vipnp.data.unreadable import check_readable, files_of, told_of, told_of_dim, unreadable

# --- randomness -------------------------------------------------------------------------------------------------------


def test_a_draw_depends_on_its_place_alone() -> None:
    first = stream(3, "augment", 5, 7).random(4)
    stream(3, "augment", 5, 6).random(1000)
    np.testing.assert_array_equal(stream(3, "augment", 5, 7).random(4), first)
    others = [
        stream(4, "augment", 5, 7),
        stream(3, "mix", 5, 7),
        stream(3, "augment", 6, 7),
        stream(3, "augment", 5, 8),
    ]
    for other in others:
        assert not np.intersect1d(other.random(4), first).size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, "mix"), "seed: got -1, expected an integer >= 0"),
        ((0, "colour"), "purpose: got 'colour', expected one of order"),
        ((0, "mix", 1.5), "step: got 1.5, expected an integer"),
    ],
)
def test_bad_streams(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        stream(*arguments)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_classes_in_natural_order_and_hidden_files_left_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d", {"10": 5, "2": 5, "1b": 5})
    (root / "2" / ".hidden.png").write_bytes(b"no image")
    (root / "2" / "notes.txt").write_text("no image")
    (root / ".cache").mkdir()
    data = load_data_set(root)
    assert data.classes == ("1b", "2", "10")
    assert len(data.train) + len(data.validation) == 15
    for split in (data.train, data.validation):
        assert set(split.labels) == {0, 1, 2}
        assert all(
            name.split("/")[0] == data.classes[label] for name, label in zip(split.names, split.labels, strict=True)
        )


@given(
    counts=st.lists(st.integers(2, 20), min_size=2, max_size=4),
    share=st.floats(0.05, 0.9),
    seed=st.integers(0, 100),
)
def test_what_is_held_out_depends_on_names_alone(counts: list[int], share: float, seed: int) -> None:
    names = [f"{k}/{i}.png" for k, count in enumerate(counts) for i in range(count)]
    labels = np.repeat(np.arange(len(counts)), counts)
    chosen = hold_out(names, labels, share, seed)
    for k in range(len(counts)):
        inside = [chosen[i] for i in np.flatnonzero(labels == k)]
        assert any(inside)
        assert not all(inside)
    order = np.random.default_rng(seed).permutation(len(names))
    assert hold_out([names[i] for i in order], labels[order], share, seed) == [chosen[i] for i in order]
    more = [*names, *(f"0/new{i}.png" for i in range(30))]
    bigger = hold_out(more, np.append(labels, [0] * 30), share, seed)
    # Of a class whose files a share divides without help, none has moved.
    for k in range(1, len(counts)):
        assert [bigger[i] for i in np.flatnonzero(labels == k)] == [chosen[i] for i in np.flatnonzero(labels == k)]


def test_the_share_that_is_held_out() -> None:
    names = [f"a/{i}" for i in range(4000)]
    share = np.mean(hold_out(names, np.zeros(4000, int), 0.2, 1))
    assert abs(share - 0.2) < 4 * math.sqrt(0.2 * 0.8 / 4000)


def test_nothing_is_left_to_train_on(tmp_path: Path) -> None:
    data = load_data_set(make_folder(tmp_path / "d", {"cat": 3, "dog": 1}), validation=1)
    assert (len(data.train), len(data.validation), data.classes) == (0, 4, ("cat", "dog"))
    assert list(data.validation.labels) == [0, 0, 0, 1]


def test_train_and_validation_folders(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", {"cat": 3, "dog": 2})
    make_folder(tmp_path / "valid", {"cat": 1, "dog": 1})
    data = load_data_set(tmp_path)
    assert (len(data.train), len(data.validation), data.classes) == (5, 2, ("cat", "dog"))
    (tmp_path / "valid" / "emu").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "valid" / "emu" / "0.png")
    with pytest.raises(ValueError, match="train has no images of emu, as the other part has"):
        load_data_set(tmp_path)


@pytest.mark.parametrize(
    "names", [("Train", "Val"), ("training", "validation"), ("train", "TEST"), ("TRAIN", "testing")]
)
def test_the_parts_in_other_words(names: tuple[str, str], tmp_path: Path) -> None:
    """They were taken for two classes, or the second was passed over in silence."""
    for name in names:
        make_folder(tmp_path / name, {"cat": 3, "dog": 2})
    data = load_data_set(tmp_path)
    assert (data.classes, len(data.train), len(data.validation)) == (("cat", "dog"), 5, 5)
    assert [split.root for split in (data.train, data.validation)] == [tmp_path / name for name in names]


def test_trains_are_a_class_beside_cars(tmp_path: Path) -> None:
    data = load_data_set(make_folder(tmp_path / "d", {"car": 3, "train": 2, "test": 2}))
    assert data.classes == ("car", "test", "train")


@pytest.mark.parametrize("parts", [False, True])
def test_files_of_other_kinds_are_told_and_classes_that_they_cost(tmp_path: Path, parts: bool) -> None:
    for part in ("train", "val") if parts else ("",):
        make_folder(tmp_path / part, {"cat": 3, "dog": 2})
    (tmp_path / ("val" if parts else "") / "emu").mkdir()
    for name in ("emu/0.heic", "emu/1.HEIC", "cat/notes", "cat/.hidden"):
        (tmp_path / ("val" if parts else "") / name).touch()
    data = load_data_set(tmp_path)
    assert (data.classes, sorted(data.passed_over)) == (("cat", "dog"), ["cat/notes", "emu/0.heic", "emu/1.HEIC"])
    line = "passed over, since their names are no images': 2 .heic, 1 without a suffix"
    assert told_of(data.passed_over) == line
    assert told_of(data.passed_over, data.classes) == f"{line}; folders with nothing else, and so no classes: emu"
    assert told_of([f"a/{i}.{i}" for i in range(7)]).endswith(": 1 .0, 1 .1, 1 .2, 1 .3, 1 .4, ...")
    assert told_of((), ()) == ""


def test_empty_folders_and_images_beside_the_classes_are_told(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3, "dog": 2})
    (tmp_path / "emu").mkdir()
    for name in ("2.jpg", "10.JPG", ".hidden.jpg", "notes.txt"):
        (tmp_path / name).touch()
    data = load_data_set(tmp_path)
    assert told_of(data.passed_over, data.classes) == (
        "folders without an image, and so no classes: emu; images beside the folders of the classes, and so of none: "
        "2.jpg, 10.JPG"
    )


@pytest.mark.parametrize("parts", [("train",), ("train", "val")])
def test_folders_beside_that_of_the_training_are_told(parts: tuple[str, ...], tmp_path: Path) -> None:
    """What is called otherwise than the parts are, or classes of which one is called train."""
    for part in (*parts, "dev", "car", ".git"):
        make_folder(tmp_path / part, {"cat": 3, "dog": 2})
    data = load_data_set(tmp_path)
    assert (data.classes, data.passed_over) == (("cat", "dog"), ("../car/", "../dev/"))
    assert told_of(data.passed_over, data.classes) == (
        "folders beside that of the images to train on, of which none is taken: car, dev"
    )


def test_the_order_is_not_that_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of names that differ in zeros or case alone it was, and so the weights that a seed gives."""
    names = ["01.png", "1.png", "IMG_1.png", "img_1.png"]
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for file in names:
            (tmp_path / name / file).touch()
    listing = os.scandir
    for backwards in (False, True):
        monkeypatch.setattr(os, "scandir", lambda place, by=backwards: sorted(listing(place), key=str, reverse=by))
        assert scan(tmp_path)[1] == [f"{folder}/{name}" for folder in ("cat", "dog") for name in names]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed: got -1, expected an integer >= 0"),
        ({"seed": "x"}, TypeError, "seed: got 'x', expected an integer"),
        ({"leave_out": [1]}, TypeError, "leave_out: got 1 in it, expected names of files"),
        ({"leave_out": 3}, TypeError, "leave_out: got 3, expected a list of files"),
        ({"leave_out": "cat/0.png"}, TypeError, "leave_out: got 'cat/0.png', expected a list of files"),
    ],
)
def test_options_of_a_data_set(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        load_data_set("digits", **options)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "no folder with images in it, expected one folder of images a class"),
        ({"cat": 3}, "only images of 'cat', expected one folder"),
        ({"cat": 3, "dog": 1}, "the class of dog/0.png has one image, expected two or more"),
        ({"cat": 3, "d\udce9g": 3}, r"got a class named 'd\\udce9g' in .*, expected a line of text in UTF-8"),
        ({"cat": 3, "d\ng": 3}, r"got a class named 'd\\ng' in .*, expected a line of text in UTF-8"),
    ],
)
def test_folders_that_cannot_be_trained_on(tmp_path: Path, classes: dict[str, int], message: str) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(ValueError, match=message):
        load_data_set(make_folder(tmp_path / "d", classes))


def test_no_such_folder() -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder 'nowhere', nor a set of that name"):
        load_data_set("nowhere")


def test_a_file_is_not_called_a_folder_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").touch()
    with pytest.raises(ValueError, match=r"data: .*photos\.zip' is no folder, expected one, or an archive of CIFAR"):
        load_data_set(tmp_path / "photos.zip")


@pytest.mark.parametrize(("name", "counts", "classes"), [("digits", (1437, 360), 10), ("mnist5k", (4000, 1000), 10)])
def test_embedded_sets(name: str, counts: tuple[int, int], classes: int) -> None:
    data = load_data_set(name)
    assert (len(data.train), len(data.validation)) == counts
    assert len(data.classes) == classes
    assert not set(data.train.names) & set(data.validation.names)
    assert data.train.picture(3, 1).mode == "L"


def test_phototiles_share_no_pixel_between_the_parts() -> None:
    """The strips are apart, and every tile has the same mean and contrast, whatever the photograph's."""
    data = load_data_set("phototiles")
    assert len(data.classes) == 14
    for split in (data.train, data.validation):
        assert set(split.labels) == set(range(14))
        assert split.pixels is not None
        means = split.pixels.mean(axis=(1, 2))
        assert np.abs(means - 128).max() < 12
    assert len(data.validation) / len(data.train) == pytest.approx(1 / 3, rel=0.02)


@pytest.mark.parametrize("parts", [False, True])
def test_files_that_cannot_be_read_are_found_and_left_out(tmp_path: Path, parts: bool) -> None:
    """The draft that a JPEG is checked by ends where the whole picture does; the two parts may use a name twice."""
    for part in ("train", "val") if parts else ("",):
        make_folder(tmp_path / part, {"cat": 5, "dog": 4})
    below = "val/" if parts else ""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    half = tmp_path / f"{below}dog/half.jpg"
    Image.fromarray(pixels).save(half)
    whole = load_data_set(tmp_path)
    assert unreadable(tmp_path, files_of(whole, tmp_path), 2) == {}
    check_readable({}, len(files_of(whole, tmp_path)))
    half.write_bytes(half.read_bytes()[:-200])
    (tmp_path / f"{below}cat/2.png").write_bytes(b"")
    problems = unreadable(tmp_path, files_of(whole, tmp_path), 2)
    assert sorted(problems) == [f"{below}cat/2.png", f"{below}dog/half.jpg"]
    with pytest.raises(
        UnreadableImageError, match=rf"data: 2 of {10 * (1 + parts) - parts} files cannot be read .*2\.png"
    ):
        check_readable(problems, len(files_of(whole, tmp_path)))
    rest = load_data_set(tmp_path, leave_out=problems)
    assert set(files_of(whole, tmp_path)) - set(files_of(rest, tmp_path)) == set(problems)
    assert rest.left_out == (f"{below}cat/2.png", f"{below}dog/half.jpg")
    assert len(rest.train) + len(rest.validation) == len(files_of(whole, tmp_path)) - 2


# --- pictures ---------------------------------------------------------------------------------------------------------


def sixteen_bit(path: Path) -> None:
    Image.fromarray(np.full((3, 2), 65535, np.uint16)).save(path)


def floating_point(path: Path) -> None:
    Image.fromarray(np.full((3, 2), 1 + 2e-7, np.float32)).save(path, format="TIFF")  # as a resampling overshoots


def transparent(path: Path) -> None:
    Image.new("RGBA", (2, 3), (200, 10, 10, 0)).save(path)


def palette(path: Path) -> None:
    Image.new("RGB", (2, 3), (255, 255, 255)).quantize(4).save(path)


def animated(path: Path) -> None:
    frames = [Image.new("L", (2, 3), value) for value in (255, 0)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def inks(path: Path) -> None:
    Image.new("CMYK", (2, 3), (0, 0, 0, 0)).save(path, format="TIFF")


def transparent_grey_of_16_bits(path: Path) -> None:
    Image.fromarray(np.full((3, 2), 513, np.uint16)).save(path, format="PNG", transparency=513)


WHITE = [sixteen_bit, floating_point, transparent, transparent_grey_of_16_bits, palette, animated, inks]


@pytest.mark.parametrize("write", WHITE)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_of_white_is_white(tmp_path: Path, write: Callable[[Path], None], channels: int) -> None:
    path = tmp_path / "x.png"
    write(path)
    picture = open_image(path, channels)
    assert picture.mode == ("L" if channels == 1 else "RGB")
    assert picture.size == (2, 3)
    np.testing.assert_array_equal(np.asarray(picture), 255)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70000]], np.int32), "from 0 to 70000, expected 0 to 65535$"),
        (np.array([[-1000, 5]], np.int32), "from -1000 to 5, expected 0 to 65535$"),
        (np.array([[0, 255]], np.float32), "from 0 to 255, expected 0 to 1$"),
        (np.array([[0, np.nan]], np.float32), "from nan to nan, expected 0 to 1$"),
    ],
)
def test_grey_of_another_scale_is_not_cut_off(tmp_path: Path, values: Any, message: str) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(values).save(path)
    for read in (open_image, check_image):
        with pytest.raises(UnreadableImageError, match=rf"x\.tif: got grey values {message}"):
            read(path)


def test_a_file_that_is_open_is_a_picture_as_its_path_is(tmp_path: Path) -> None:
    """Pillow's own conversion makes what is transparent black, and cuts off grey of 16 bits: that is not advised."""
    transform = Transform(size=(8, 8))
    pictures = {
        "clear": Image.new("RGBA", (9, 12), (200, 10, 10, 60)),
        "grey": Image.fromarray(np.arange(108, dtype=np.uint16).reshape(12, 9) * 600),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
        upload = io.BytesIO((tmp_path / f"{name}.png").read_bytes())
        expected = transform.evaluation(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(transform.evaluation(open_image(upload)), expected)
        with pytest.raises(ValueError, match=r"expected 'RGB', as vipnp\.data\.open_image\(file, 3\) gives"):
            transform.evaluation(picture)
    with pytest.raises(UnreadableImageError, match="is no whole image"):
        open_image(io.BytesIO(b"nothing"))
    with pytest.raises(TypeError, match="path: got int, expected the name of an image file, or one that is open"):
        open_image(3)  # type: ignore[arg-type]
    for channels in (2, 4):
        with pytest.raises(ValueError, match=f"channels: got {channels}, expected 3 or 1"):
            open_image(tmp_path / "grey.png", channels)
    with pytest.raises(TypeError, match="exif: got 'no', expected True or False"):
        open_image(tmp_path / "grey.png", exif="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
def test_lab_is_converted(tmp_path: Path, channels: int) -> None:
    Image.new("LAB", (2, 3), (255, 128, 128)).save(tmp_path / "x.tif")
    assert np.asarray(open_image(tmp_path / "x.tif", channels)).min() >= 254


def test_scans_whose_white_is_another_value_are_told(tmp_path: Path) -> None:
    """12 bits in files of 16 came out nearly black in silence, and nothing was learnt from them."""
    pictures: dict[str, Any] = {
        "12.tif": np.array([[0, 4095]], np.uint16),
        "14.png": np.array([[0, 16383]], np.uint16),
        "8.tif": np.array([[0, 255]], np.int32),
        "black.tif": np.zeros((1, 2), np.float32),
        "other.png": np.zeros((1, 2), np.uint8),
    }
    for name, values in pictures.items():
        Image.fromarray(values).save(tmp_path / name)
    brightest: list[float] = []
    assert unreadable(tmp_path, list(pictures), 2, brightest) == {}
    assert sorted(brightest) == [0, 255 / 65535, 4095 / 65535, 16383 / 65535]
    assert told_of_dim(brightest) == (
        "nearly black: of the 4 grey images of more than 8 bits the brightest pixel has 25.0% of white, which is "
        "65535, or 1 in floating point; if white is another value in them, such as 4095, scale them first"
    )
    assert told_of_dim([]) == told_of_dim([*brightest, 0.3]) == ""


@pytest.mark.parametrize("exif", [True, False])
def test_orientation_is_a_choice(tmp_path: Path, exif: bool) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "x.jpg", exif=tags)
    assert open_image(tmp_path / "x.jpg", exif=exif).size == ((4, 6) if exif else (6, 4))


@pytest.mark.parametrize("orientation", [*range(10), None])
def test_every_orientation_is_pillows(tmp_path: Path, orientation: Any) -> None:
    tags = Image.Exif()
    if orientation is not None:
        tags[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=tags)
    with Image.open(tmp_path / "x.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / "x.png")), expected)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_of_pillow_is_turned_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=tags)
    for exif in (True, False):
        transform = Transform(size=(6, 9), crop_pct=1.0, exif=exif, scale=(1.0, 1.0), flip=0.0)
        expected = transform.evaluation(tmp_path / "x.png")
        decoded = open_image(tmp_path / "x.png", exif=exif)  # is not turned once more
        with Image.open(tmp_path / "x.png") as opened:
            for picture in (opened, decoded, *([ImageOps.exif_transpose(opened)] if exif else [])):
                np.testing.assert_array_equal(transform.evaluation(picture), expected)
                np.testing.assert_array_equal(transform.training(picture, stream(0, "augment")), expected)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    "tags",
    [b"II*\0" + 40 * b"\xff", b"", b"XX\0\0", b"MM\0*\0\0\0\x08\xff\xff" + 9 * b"\x01\x12"],
    ids=["cut", "empty", "header", "lengths"],
)
def test_broken_tags_cost_no_picture_and_no_words(tmp_path: Path, suffix: str, tags: bytes) -> None:
    """Pillow's warnings of them name no file."""
    path = tmp_path / f"x.{suffix}"
    Image.new("RGB", (6, 4), "white").save(path, exif=b"Exif\0\0" + tags)
    for exif in (True, False):
        assert open_image(path, exif=exif).size == (6, 4)


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called, Pillow would hand it to Ghostscript."""
    Image.new("RGB", (6, 4)).save(tmp_path / "x.eps")
    path = (tmp_path / "x.eps").rename(tmp_path / "x.png")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("it was run"))
    for read in (open_image, check_image):
        with pytest.raises(
            UnreadableImageError, match=r"x\.png: is PostScript, a program to be run, expected an image$"
        ):
            read(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_images_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"broken\.png: is no whole image"):
        open_image(path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableImageError, match=r"half\.jpg: is no whole image"):
        open_image(path)


def test_a_file_that_may_not_be_read_is_not_called_broken(open_folder: Path) -> None:
    path = open_folder / "locked.png"
    Image.new("L", (4, 4)).save(path)
    path.chmod(0)
    with (
        as_nobody(),
        pytest.raises(UnreadableImageError, match=r"locked\.png: cannot be read \(Permission denied\)$"),
    ):
        open_image(path)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), MemoryError()], ids=repr)
def test_a_process_at_its_limits_calls_no_file_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """With --skip-unreadable a file so called would be left out of a run for good."""

    def fails(*_: Any) -> None:
        raise error

    (tmp_path / "fine.png").touch()
    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(type(error)):
        check_image(tmp_path / "fine.png")


def test_a_link_to_a_folder_around_it_is_not_followed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", {"cat": 3, "dog": 4})
    (folder / "cat" / "again").symlink_to(folder / "cat")
    (folder / "dog" / "all").symlink_to(folder)
    (folder / "everything").symlink_to(folder)
    (folder / "dog" / "cats").symlink_to(folder / "cat")
    names = scan(folder)[1]
    assert sum(name.startswith("cat/") for name in names) == 3
    assert sorted(name for name in names if name.startswith("dog/cats/")) == [f"dog/cats/{i}.png" for i in range(3)]
    assert len(names) == 10


@pytest.mark.parametrize("locked", ["", "cat"])
def test_a_folder_that_may_not_be_read_is_named(open_folder: Path, locked: str) -> None:
    folder = make_folder(open_folder / "d", {"cat": 3, "dog": 4})
    (folder / locked).chmod(0)
    try:
        with as_nobody(), pytest.raises(PermissionError) as caught:
            load_data_set(folder)
        assert caught.value.filename == str(folder / locked)
    finally:
        (folder / locked).chmod(0o700)


def test_grey_of_16_bits_takes_the_memory_of_its_pixels(tmp_path: Path) -> None:
    side = 1500
    values = np.random.default_rng(0).integers(0, 65536, (side, side)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.tif")
    tracemalloc.start()  # which sees NumPy's memory, and not Pillow's
    try:
        grey = open_image(tmp_path / "x.tif", 1)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 * side**2
    np.testing.assert_array_equal(np.asarray(grey), np.floor(values / 257.0 + 0.5))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = math.isqrt(MAX_PIXELS) + 1
    path = tmp_path / "bomb.png"
    Image.new("1", (side, side)).save(path)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png: got 12248 x 12248 pixels, expected at most"):
        open_image(path)


# --- transforms -------------------------------------------------------------------------------------------------------


def test_evaluation_is_pillows_resize_and_the_middle() -> None:
    """By hand: the shorter side to floor(56 / 0.9) = 62, bicubic; the middle 56 x 56; ImageNet's mean and deviation."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    picture = Image.fromarray(pixels)
    found = Transform(size=(56, 56)).evaluation(picture)
    resized = picture.resize((int(62 * 120 / 90), 62), Image.Resampling.BICUBIC)
    left, top = round((resized.width - 56) / 2), round((62 - 56) / 2)
    middle = np.asarray(resized)[top : top + 56, left : left + 56] / 255
    expected = (middle - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=0, atol=2e-6)
    assert found.dtype == np.float32


def test_evaluation_takes_a_file_and_no_other_picture(tmp_path: Path) -> None:
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12), np.uint8))
    grey.save(tmp_path / "grey.png")
    in_colour, in_grey = Transform(size=(8, 8)), Transform(size=(8, 8), channels=1, mean=(0.5,), std=(0.2,))
    expected = in_colour.evaluation(grey.convert("RGB"))
    for file in (tmp_path / "grey.png", str(tmp_path / "grey.png")):
        np.testing.assert_array_equal(in_colour.evaluation(file), expected)
        np.testing.assert_array_equal(in_grey.evaluation(file), in_grey.evaluation(grey))
    with pytest.raises(UnreadableImageError, match=r"none\.png: cannot be read"):
        in_colour.evaluation(tmp_path / "none.png")
    rng = stream(0, "augment")
    for see in (in_colour.evaluation, lambda picture: in_colour.training(picture, rng)):
        with pytest.raises(ValueError, match=r"picture: got mode 'L', expected 'RGB', as picture\.convert\('RGB'\)"):
            see(grey)
        with pytest.raises(TypeError, match="picture: got ndarray, expected a picture of Pillow"):
            see(np.asarray(grey))
        with pytest.raises(ValueError, match="picture: got 4 x 0 pixels, expected at least one"):
            see(Image.new("RGB", (0, 4)))
        with (
            (tmp_path / "grey.png").open("rb") as file,
            pytest.raises(TypeError, match="picture: got BufferedReader, expected a picture of Pillow"),
        ):
            see(file)
    with pytest.raises(ValueError, match="picture: got '', expected the name of a file"):
        in_colour.evaluation("")
    with pytest.raises(TypeError, match=r"rng: got int, expected a numpy\.random\.Generator"):
        in_colour.training(grey.convert("RGB"), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="picture: got mode 'RGB', expected 'L'"):
        in_grey.evaluation(grey.convert("RGB"))


@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    crop=st.floats(0.5, 1.0),
)
def test_the_middle_always_fits(size: tuple[int, int], target: tuple[int, int], crop: float) -> None:
    assert centre_crop(Image.new("L", size), target, crop, "bilinear").size == target[::-1]


@given(size=st.tuples(st.integers(1, 200), st.integers(1, 200)), seed=st.integers(0, 10**6))
def test_a_random_crop_lies_inside(size: tuple[int, int], seed: int) -> None:
    left, top, right, bottom = random_box(size, stream(seed, "augment"), (0.08, 1.0), (3 / 4, 4 / 3))
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]


def test_the_area_of_random_crops() -> None:
    """Uniform in [0.3, 0.7]: mean 0.5, deviation 0.4 / sqrt(12)."""
    boxes = np.array([random_box((400, 400), stream(0, "augment", i), (0.3, 0.7), (1.0, 1.0)) for i in range(2000)])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / 400**2
    deviation = 0.4 / math.sqrt(12)
    assert abs(area.mean() - 0.5) < 4 * deviation / math.sqrt(2000)
    assert area.std() == pytest.approx(deviation, rel=0.05)


def test_mirroring_follows_its_probability() -> None:
    picture = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    shape: dict[str, Any] = {
        "size": (8, 8),
        "channels": 1,
        "mean": (0.0,),
        "std": (1.0,),
        "crop_pct": 1.0,
        "scale": (1.0, 1.0),
    }
    plain = Transform(**shape, flip=0.0).training(picture, stream(0, "augment"))
    turned = Transform(**shape, flip=1.0).training(picture, stream(0, "augment"))
    np.testing.assert_array_equal(turned, plain[:, :, ::-1])
    np.testing.assert_allclose(plain[0], np.arange(64).reshape(8, 8) / 255, rtol=0, atol=1e-7)


def test_erasing_replaces_one_rectangle() -> None:
    image = np.full((3, 20, 30), 9.0, np.float32)
    assert erase_at_random(image, stream(0, "augment"), 0.0) is image
    for i in range(50):
        erased = erase_at_random(image, stream(0, "augment", i), 1.0)
        rows, columns = np.nonzero((erased != 9).all(axis=0))
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert area == len(rows)
        assert 0.01 < area / 600 < 0.4
    assert (image == 9).all()


def test_cutmix_targets_are_the_share_of_the_pixels() -> None:
    images = np.arange(4, dtype=np.float64)[:, None, None, None] * np.ones((4, 1, 10, 13))
    labels = np.array([0, 1, 2, 3])
    cut = 0
    for step in range(40):
        mixed, targets = cutmix(images, labels, stream(0, "mix", step), alpha=1.0, num_classes=5, label_smoothing=0.1)
        for i in range(4):
            own = (mixed[i] == i).mean()
            expected = np.full(5, 0.02)
            expected[i] += 0.9 * own
            expected[3 - i] += 0.9 * (1 - own)
            np.testing.assert_allclose(targets[i], expected, rtol=0, atol=1e-12)
            cut += own < 1
    assert cut > 100


# --- loader -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_same_for_any_number_of_workers(workers: int) -> None:
    found = list(batches(lambda i: np.full(2, i), [[3, 1], [4], [1, 5, 9]], workers))
    assert [list(batch) for batch, _ in found] == [[3, 1], [4], [1, 5, 9]]
    for batch, values in found:
        np.testing.assert_array_equal(values, np.array(batch)[:, None] * np.ones((1, 2)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_sample_is_raised(workers: int) -> None:
    def sample(i: int) -> Any:
        if i == 5:
            raise UnreadableImageError("five")
        return np.zeros(1)

    with pytest.raises(UnreadableImageError, match="five"):
        list(batches(sample, [[1, 2], [5], [6]], workers))


def test_natural_order() -> None:
    assert sorted(["img10", "img2", "Img1", "b"], key=natural) == ["b", "Img1", "img2", "img10"]
    assert sorted(["²", "10", "٣", "a²"], key=natural) == ["٣", "10", "a²", "²"]  # a digit that is no decimal


def test_pictures_of_a_split_of_arrays() -> None:
    split = Split(("a",), np.array([0]), pixels=np.full((1, 2, 3), 7, np.uint8))
    assert np.asarray(split.picture(0, 3)).shape == (2, 3, 3)


# --- what is no picture, and what is a strange one ------------------------------------------------------------------


@pytest.mark.parametrize("strip", [(1, 10**6), (10**6, 1)])
def test_a_strip_of_a_few_kilobytes_takes_no_gigabytes(strip: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    resize = Image.Image.resize

    def watched(picture: Image.Image, size: tuple[int, int], *args: Any, **kwargs: Any) -> Image.Image:
        asked.append(size[0] * size[1])
        assert asked[-1] < 2**27, size
        return resize(picture, size, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", watched)
    for crop in (1.0, 0.9, 1e-9):
        assert centre_crop(Image.new("RGB", strip), (28, 20), crop, "bicubic").size == (20, 28)
    assert asked == [20 * 28] * 3


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 97), (113, 31), (28, 29)])
def test_the_middle_of_a_strip_is_that_of_the_whole(
    size: tuple[int, int], interpolation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    whole = centre_crop(Image.fromarray(pixels), (28, 20), 0.9, interpolation)
    monkeypatch.setattr("vipnp.data.transforms.MOST_RESIZED", 0)
    middle = centre_crop(Image.fromarray(pixels), (28, 20), 0.9, interpolation)
    assert np.abs(np.asarray(whole, int) - np.asarray(middle, int)).max() <= 1


def test_a_pipe_among_images_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match=r"pipe\.png: is a folder, a pipe or a device, expected an image"):
        check_image(tmp_path / "pipe.png")


def test_a_link_that_leads_in_a_circle_is_no_image(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d", {"a": 3, "b": 3})
    (root / "a" / "circle.png").symlink_to("circle.png")
    (root / "circle").symlink_to("circle")
    data = load_data_set(root)
    assert data.classes == ("a", "b")
    (problem,) = unreadable(root, files_of(data, root), 2).items()
    assert problem[0] == "a/circle.png"
    assert "cannot be read (Too many levels of symbolic links)" in problem[1]
