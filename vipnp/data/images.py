"""Image files as RGB or grey pictures, whatever they hold."""

from __future__ import annotations

import errno
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vipnp.core.checks import check_flag, check_library, check_whole
from vipnp.core.files import check_path

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 150_000_000
"""A larger picture is refused before it is decoded: a few kilobytes can announce gigabytes of pixels."""


OF_THE_SYSTEM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of reading that say nothing of the file."""


class UnreadableImageError(ValueError):
    """A file that is no whole image; the message names it."""


def open_image(path: str | os.PathLike[str] | BinaryIO, channels: int = 3, *, exif: bool = True) -> Image.Image:
    """The picture in `path`, decoded in full: mode "RGB" for three channels, "L" for one.

    Parameters
    ----------
    path : of the file; or the file itself, open for reading bytes, such as an `io.BytesIO`.
    channels : 3 or 1.
    exif : turn the picture as the camera's orientation tag says.

    Returns
    -------
    PIL.Image.Image
        Transparency is laid over white, grey of 16 bits or of floating-point numbers from 0 to 1 is scaled to 8 bits,
        of an animation the first frame is taken, palettes, CMYK and LAB are converted.

    Raises
    ------
    TypeError, ValueError
        For what is neither the name of a file nor one that is open, and for other channels.
    UnreadableImageError
        If the file is empty, truncated, no image, larger than `MAX_PIXELS`, may not be read, or is grey beyond 16 bits
        or beyond 0 to 1.
    OSError, MemoryError
        Where the process has no file or memory left, of which the file is innocent.
    """
    check_channels(channels)
    exif = check_flag("exif", exif)
    source = Path(check_path("path", path)) if isinstance(path, str | os.PathLike) else path
    if not isinstance(source, Path) and not hasattr(source, "read"):
        raise TypeError(f"path: got {type(path).__name__}, expected the name of an image file, or one that is open")
    picture = _flat(_decoded(source, exif=exif, coarse=False)).convert("RGB" if channels == 3 else "L")
    picture.info.clear()  # of the tags, by which it would be turned once more
    return picture


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its camera's orientation tag says."""
    picture.load()  # for some formats Pillow turns it then, and takes the tag away
    turn = _turn(picture)
    return picture if turn is None else picture.transpose(turn)


def check_channels(channels: int) -> None:
    """Raise TypeError or ValueError unless these are the channels of colour or grey."""
    if check_whole("channels", channels, low=1) not in (1, 3):
        raise ValueError(f"channels: got {channels}, expected 3 or 1")


def check_image(path: Path) -> float | None:
    """Read the picture in `path` to its end, a JPEG at an eighth of its size. Raises as `open_image`.

    Returns the brightest value of grey of more than 8 bits as a share of white, and None for other pictures.
    """
    picture = _decoded(path, exif=True, coarse=True)
    return float(np.asarray(picture).max()) / _white(picture) if picture.mode.startswith(("I", "F")) else None


def _decoded(path: Path | BinaryIO, *, exif: bool, coarse: bool) -> Image.Image:
    check_library("images", "PIL.Image", extra="train")
    from PIL import Image

    try:
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):  # a pipe is waited for
            raise UnreadableImageError(f"{path}: is a folder, a pipe or a device, expected an image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of bombs, which are told here, and of tags; they name no file
            with Image.open(path) as opened:
                if opened.format == "EPS":
                    raise UnreadableImageError(f"{path}: is PostScript, a program to be run, expected an image")
                width, height = opened.size
                if width * height > MAX_PIXELS:
                    raise UnreadableImageError(
                        f"{path}: got {width} x {height} pixels, expected at most {MAX_PIXELS:,} in all"
                    )
                opened.seek(0)
                if coarse:
                    opened.draft("L", (1, 1))
                opened.load()
                _check_grey(path, opened)
                turn = _turn(opened) if exif else None
                return opened.copy() if turn is None else opened.transpose(turn)
    except (UnreadableImageError, MemoryError):
        raise
    except OSError as error:
        if error.errno in OF_THE_SYSTEM:
            raise
        what = "is no whole image" if error.errno is None else "cannot be read"
        raise UnreadableImageError(f"{path}: {what} ({error.strerror or error})") from error
    # Pillow's decoders raise these and more for files that are broken; the file is what the user must hear of.
    except Exception as error:
        raise UnreadableImageError(f"{path}: is no whole image ({error})") from error


def _turn(picture: Image.Image) -> Image.Transpose | None:
    """What the camera's orientation tag says; nothing where the tags cannot be read, which costs no pixel."""
    from PIL import ExifTags, Image

    turn = Image.Transpose
    turns = (turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE, turn.ROTATE_270,
             turn.TRANSVERSE, turn.ROTATE_90)  # fmt: skip
    try:
        orientation: Any = picture.getexif().get(ExifTags.Base.Orientation)
        return dict(enumerate(turns, 2)).get(orientation)
    except MemoryError:
        raise
    except Exception:
        return None


def _check_grey(path: Path | BinaryIO, picture: Image.Image) -> None:
    """Grey of more than 8 bits has a white that is known; brighter than that is another scale, which is not."""
    if picture.mode.startswith(("I", "F")):
        values, white = np.asarray(picture), _white(picture)
        low, high = float(values.min()), float(values.max())
        # What rounds to black or white is that, such as the overshoot of a resampling.
        if not (low * (255 / white) + 0.5 >= 0 and high * (255 / white) + 0.5 < 256):
            raise UnreadableImageError(f"{path}: got grey values from {low:g} to {high:g}, expected 0 to {white}")


def has_more(picture: Image.Image) -> bool:
    """Whether Pillow's own conversion to 8 bits without transparency gives other pixels than `open_image`."""
    return picture.mode.startswith(("I", "F")) or _is_transparent(picture)


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def _white(picture: Image.Image) -> int:
    return 65535 if picture.mode.startswith("I") else 1


def _flat(picture: Image.Image) -> Image.Image:
    """Without transparency and with 8 bits a channel."""
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        values, scale = np.asarray(picture), 255 / _white(picture)
        grey = np.empty(values.shape, np.uint8)
        for row, value in zip(grey, values, strict=True):  # as float64 the whole would take eight times its memory
            row[:] = value.astype(np.float64) * scale + 0.5
        grey[values == picture.info.get("transparency")] = 255
        return Image.fromarray(grey)
    if _is_transparent(picture):
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, picture).convert("RGB")
    return picture.convert("RGB") if picture.mode == "LAB" else picture
