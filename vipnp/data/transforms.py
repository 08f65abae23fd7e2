"""From a picture to the numbers that the network sees: for training with random draws, for evaluation without."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vipnp.core import Generator, HostArray
from vipnp.core.checks import check_flag, check_generator, check_real, check_whole, shown
from vipnp.core.files import check_path
from vipnp.data.images import has_more, open_image, upright
from vipnp.data.rand_augment import parse, rand_augment

if TYPE_CHECKING:
    from PIL import Image

Interpolation = Literal["nearest", "bilinear", "bicubic"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's channels, of values in [0, 1], that the published weights were trained with."""

LARGEST_SIDE = 2**14
"""Pixels of a side of what the network sees, at most: more are a slip of the hand."""

LARGEST_MEAN, LEAST_STD, LARGEST_STD = 1e6, 1e-6, 1e6
"""Of channels whose values are in [0, 1]: beyond these float32 has no digits left for a pixel, or no number at all."""

LEAST_CROP = 0.01
"""Share of the image that evaluation sees, at least."""

MOST_RESIZED = 2**26
"""Pixels of a resized picture whose middle is then cut out: a strip of a few kilobytes would become gigabytes."""

TRIES = 10
"""Random crops that are drawn before `random_resized_crop` falls back to the middle."""


@dataclass(frozen=True)
class Transform:
    """What is done to a picture, in training and in evaluation.

    Attributes
    ----------
    size : (height, width) of the result, pixels.
    channels : 3 or 1.
    mean, std : of every channel, of values in [0, 1]: the result is (value - mean) / std.
    crop_pct : in evaluation the picture is resized to size / crop_pct and its middle is taken.
    interpolation : "nearest", "bilinear" or "bicubic", Pillow's.
    exif : whether pictures, of files and of Pillow, are turned as the camera's orientation tag says.
    scale, ratio : in training, bounds of the area of the crop as a share of the picture, and of its width over height;
        scale (1, 1) takes the evaluation crop.
    flip : probability of mirroring left and right.
    aa : in training, the RandAugment after that, by timm's name for it; "" for none. What it moves in from outside has
        the colour `mean`.
    """

    size: tuple[int, int]
    channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    crop_pct: float = 0.9
    interpolation: Interpolation = "bicubic"
    exif: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    aa: str = ""

    def __post_init__(self) -> None:
        def keep(name: str, value: Any) -> None:
            """As Python's own numbers, which a file of weights can hold; NumPy's are taken too."""
            object.__setattr__(self, name, value)

        check_size("size", self.size)
        keep("size", tuple(int(side) for side in self.size))
        keep("channels", check_whole("channels", self.channels, low=1))
        if self.channels not in (1, 3):
            raise ValueError(f"channels: got {shown(self.channels)}, expected 1 or 3")
        keep("exif", check_flag("exif", self.exif))
        for name, low, high in (("mean", -LARGEST_MEAN, LARGEST_MEAN), ("std", LEAST_STD, LARGEST_STD)):
            values = getattr(self, name)
            if not isinstance(values, tuple):
                raise TypeError(f"{name}: got {shown(values)}, expected a tuple of numbers")
            checked = (
                check_real(f"{name}[{i}]", v, low=low, high=high, high_included=True) for i, v in enumerate(values)
            )
            keep(name, tuple(checked))
            if len(values) != self.channels:
                raise ValueError(f"{name}: got {len(values)} numbers, expected {self.channels}, one a channel")
        keep("crop_pct", check_real("crop_pct", self.crop_pct, low=LEAST_CROP, high=1, high_included=True))
        keep("flip", check_real("flip", self.flip, low=0, high=1, high_included=True))
        if self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"interpolation: got {shown(self.interpolation)}, expected nearest, bilinear or bicubic")
        check_scale(self.scale)
        check_ratio(self.ratio)
        for name in ("scale", "ratio"):
            keep(name, tuple(float(value) for value in getattr(self, name)))
        if self.aa != "":
            parse(self.aa)

    def evaluation(self, picture: Image.Image | str | os.PathLike[str]) -> HostArray:
        """What the model sees of a picture, with no randomness.

        Parameters
        ----------
        picture : of Pillow, "RGB" for three channels, "L" for one; or an image file, whatever it holds.

        Returns
        -------
        HostArray
            (channels, height, width) float32.

        Raises
        ------
        TypeError, ValueError
            For what is no such picture, naming the file where it is one.
        """
        if isinstance(picture, (str, os.PathLike)):
            picture = open_image(Path(check_path("picture", picture)), self.channels, exif=self.exif)
        picture = self._checked(picture)
        return self._normalised(centre_crop(picture, self.size, self.crop_pct, self.interpolation))

    def training(self, picture: Image.Image, rng: Generator) -> HostArray:
        """A random crop, perhaps mirrored, then RandAugment.

        Parameters
        ----------
        picture : of Pillow, "RGB" for three channels, "L" for one.
        rng : draws it all.

        Returns
        -------
        HostArray
            (channels, height, width) float32.

        Raises
        ------
        TypeError, ValueError
            For what is no such picture or no generator.
        """
        from PIL import ImageOps

        picture = self._checked(picture)
        check_generator(rng)
        if self.scale == (1.0, 1.0):
            cropped = centre_crop(picture, self.size, self.crop_pct, self.interpolation)
        else:
            box = random_box(picture.size, rng, self.scale, self.ratio)
            cropped = picture.resize(self.size[::-1], _filter(self.interpolation), box=box)
        if rng.random() < self.flip:
            cropped = ImageOps.mirror(cropped)
        if self.aa:
            fill = tuple(min(255, max(0, round(255 * value))) for value in self.mean)
            cropped = rand_augment(cropped, rng, parse(self.aa), fill)
        return self._normalised(cropped)

    def pixels(self, values: HostArray) -> HostArray:
        """The picture behind what the model sees: the way back from `evaluation`.

        Parameters
        ----------
        values : (channels, height, width).

        Returns
        -------
        HostArray
            uint8, (height, width) for one channel or (height, width, 3).
        """
        mean, std = (np.array(numbers)[:, None, None] for numbers in (self.mean, self.std))
        bytes_ = np.clip(np.rint((values * std + mean) * 255), 0, 255).astype(np.uint8)
        return bytes_[0] if self.channels == 1 else np.ascontiguousarray(bytes_.transpose(1, 2, 0))

    def _checked(self, picture: Any) -> Image.Image:
        mode, expected = getattr(picture, "mode", None), "RGB" if self.channels == 3 else "L"
        if not isinstance(mode, str) or not hasattr(picture, "convert"):  # an open file has a mode, too
            raise TypeError(f"picture: got {type(picture).__name__}, expected a picture of Pillow")
        if mode != expected:
            file = f"vipnp.data.open_image(file, {self.channels})"
            way = file if has_more(picture) else f"picture.convert({expected!r})"
            raise ValueError(f"picture: got mode {mode!r}, expected {expected!r}, as {way} gives")
        if 0 in picture.size:  # a crop may be empty
            raise ValueError(f"picture: got {picture.height} x {picture.width} pixels, expected at least one")
        return upright(picture) if self.exif else picture

    def _normalised(self, picture: Image.Image) -> HostArray:
        pixels = np.asarray(picture, np.float32).reshape(*picture.size[::-1], self.channels)
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        return np.ascontiguousarray(((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1))


def check_size(name: str, size: Any) -> None:
    """Raise TypeError unless `size` is a pair of whole numbers, ValueError unless they are from 1 to LARGEST_SIDE."""
    if not isinstance(size, tuple) or len(size) != 2:
        raise TypeError(f"{name}: got {shown(size)}, expected (height, width)")
    for side in size:
        check_whole(name, side, low=1, high=LARGEST_SIDE)


def check_scale(scale: Any) -> None:
    """Raise TypeError unless `scale` is a pair of numbers, ValueError unless 0 < low <= high <= 1."""
    _check_pair("scale", scale, least=0, low_included=False, most=1)


def check_ratio(ratio: Any) -> None:
    """Raise TypeError unless `ratio` is a pair of numbers, ValueError unless 0.001 <= low <= high <= 1000."""
    _check_pair("ratio", ratio, least=1e-3, low_included=True, most=1e3)


def _check_pair(name: str, pair: Any, *, least: float, low_included: bool, most: float) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"{name}: got {shown(pair)}, expected (low, high)")
    low, high = (
        check_real(name, value, low=least, low_included=low_included, high=most, high_included=True) for value in pair
    )
    if low > high:
        sign = "<=" if low_included else "<"
        raise ValueError(f"{name}: got {shown(pair)}, expected {least:g} {sign} low <= high <= {most:g}")


def centre_crop(
    picture: Image.Image, size: tuple[int, int], crop_pct: float, interpolation: Interpolation
) -> Image.Image:
    """The middle (height, width) of the picture, resized first so that it just covers size / crop_pct.

    A square is resized by its shorter side to floor(side / crop_pct), as the published models were evaluated.
    """
    height, width = size
    target_height, target_width = math.floor(height / crop_pct), math.floor(width / crop_pct)
    old_width, old_height = picture.size
    if old_width * target_height < old_height * target_width:
        new = (target_width, max(target_height, int(target_width * old_height / old_width)))
    else:
        new = (max(target_width, int(target_height * old_width / old_height)), target_height)
    left, top = round((new[0] - width) / 2), round((new[1] - height) / 2)
    if new[0] * new[1] > MOST_RESIZED:
        # Of a strip, which covers the size many thousand times as long as it is wide, the middle alone is resized.
        across, down = old_width / new[0], old_height / new[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        inside = (*box[:2], min(box[2], old_width), min(box[3], old_height))
        return picture.resize((width, height), _filter(interpolation), box=inside)
    if new != picture.size:
        picture = picture.resize(new, _filter(interpolation))
    return picture.crop((left, top, left + width, top + height))


def random_box(
    size: tuple[int, int], rng: Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random crop of a picture of (width, height) `size`.

    Its area is uniform in `scale` times the picture's, the logarithm of width over height uniform within `ratio`.
    After ten draws that do not fit the middle is taken, as near to a whole picture as `ratio` lets.
    Source: Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842, section 6.
    """
    width, height = size
    for _ in range(TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < ratio[0]:
        h = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        w = max(1, round(height * ratio[1]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def erase_at_random(image: HostArray, rng: Generator, probability: float) -> HostArray:
    """A rectangle of the image replaced by normal noise, with the given probability; else the image as it is.

    image : (channels, height, width), normalised; a new array where something is erased. The area of the rectangle is
    uniform in 2 % to 1/3 of the image, the logarithm of its height over width uniform in +-log(1/0.3); every number in
    it is drawn from the standard normal distribution.
    Source: Zhong, Zheng, Kang, Li, Yang, "Random Erasing Data Augmentation", arXiv 1708.04896.
    """
    if rng.random() >= probability:
        return image
    _, height, width = image.shape
    for _ in range(TRIES):
        area = height * width * rng.uniform(0.02, 1 / 3)
        aspect = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            erased = image.copy()
            erased[:, top : top + h, left : left + w] = rng.standard_normal((len(image), h, w), dtype=np.float32)
            return erased
    return image


def _filter(interpolation: Interpolation) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling[interpolation.upper()]
