"""RandAugment: some of fifteen changes to a picture, drawn anew for each, at one strength for all.

Source: Cubuk, Zoph, Shlens, Le, "RandAugment: Practical automated data augmentation with a reduced search space",
arXiv 1909.13719; the operations whose strength grows with the magnitude, their ranges and the spread of the magnitude
are those of timm's training recipes ("inc1").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vipnp.core import Generator
from vipnp.core.checks import shown

if TYPE_CHECKING:
    from PIL import Image

MOST = 10.0
"""The largest magnitude, at which every operation is at the end of its range."""

PROBABILITY = 0.5
"""Of doing an operation that was drawn."""

FORM = re.compile(r"rand-m(\d+(?:\.\d+)?)(?:-n([1-9]|1[0-5]))?(?:-mstd(\d+(?:\.\d+)?))?-inc1")


@dataclass(frozen=True)
class RandAugment:
    """How strong, and how much.

    Attributes
    ----------
    magnitude : mean of the strength of an operation, in [0, 10].
    deviation : of the strength, which is normal and cut off at 0 and 10.
    layers : operations that are drawn for a picture.
    """

    magnitude: float
    deviation: float = 0.0
    layers: int = 2


class Draw(NamedTuple):
    """An operation as it is done.

    name : one of `OPERATIONS`. level : its strength, in [0, 1]. negative : the other way, of what has two ways.
    cubic : bicubic rather than bilinear resampling, of what moves pixels.
    """

    name: str
    level: float
    negative: bool
    cubic: bool


def parse(aa: str) -> RandAugment:
    """The policy that timm calls `aa`: rand-m9-mstd0.5-inc1, with -n3 after the magnitude for other than two layers,
    of 1 to 15.

    Raises ValueError for any other name.
    """
    found = FORM.fullmatch(aa) if isinstance(aa, str) else None
    if found is None or max(float(found[1]), float(found[3] or 0)) > MOST:
        raise ValueError(f"aa: got {shown(aa)}, expected a name such as rand-m9-mstd0.5-inc1, m and mstd in [0, 10]")
    return RandAugment(float(found[1]), float(found[3] or 0), int(found[2] or 2))


def drawn(policy: RandAugment, rng: Generator) -> list[Draw]:
    """What is done to a picture: of every layer nothing, half of the time."""
    names = tuple(OPERATIONS)
    draws = []
    for _ in range(policy.layers):
        name, done = names[rng.integers(len(names))], rng.random() < PROBABILITY
        magnitude = min(max(rng.normal(policy.magnitude, policy.deviation), 0.0), MOST)
        negative, cubic = rng.random(2) < 0.5
        if done:
            draws.append(Draw(name, magnitude / MOST, bool(negative), bool(cubic)))
    return draws


def rand_augment(picture: Image.Image, rng: Generator, policy: RandAugment, fill: tuple[int, ...]) -> Image.Image:
    """`picture` ("L" or "RGB") after the operations that `rng` draws. fill : the colour that comes in from outside."""
    for draw in drawn(policy, rng):
        picture = OPERATIONS[draw.name](picture, draw, fill)
    return picture


Operation: TypeAlias = Callable[["Image.Image", Draw, tuple[int, ...]], "Image.Image"]
"""(picture, draw, fill) -> the changed picture, of the same size and mode."""


def signed(draw: Draw) -> float:
    """The level with its sign."""
    return -draw.level if draw.negative else draw.level


def auto_contrast(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """The values of every channel stretched to 0 ... 255."""
    from PIL import ImageOps

    return ImageOps.autocontrast(picture)


def equalize(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """The values of every channel as evenly spread as they can be."""
    from PIL import ImageOps

    return ImageOps.equalize(picture)


def invert(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """255 - value."""
    from PIL import ImageOps

    return ImageOps.invert(picture)


def posterize(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """The upper 4 - int(4 level) bits of every value; none at level 1, which Pillow's own function refuses."""
    lost = 2 ** (4 + int(draw.level * 4))
    return picture.point([value - value % lost for value in range(256)] * len(picture.getbands()))


def solarize(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """255 - value where the value is 256 - int(256 level) or more."""
    from PIL import ImageOps

    return ImageOps.solarize(picture, 256 - int(draw.level * 256))


def solarize_add(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """int(110 level) more where the value is below 128."""
    more = int(draw.level * 110)
    table = [min(255, value + more) if value < 128 else value for value in range(256)]
    return picture.point(table * len(picture.getbands()))


def enhance(picture: Image.Image, draw: Draw, fill: tuple[int, ...], *, what: str) -> Image.Image:
    """1 +- 0.9 level of the picture, the rest to 1 of its degenerate: grey for Color, its mean for Contrast, black for
    Brightness, smoothed for Sharpness."""
    from PIL import ImageEnhance

    enhancer: Any = getattr(ImageEnhance, what)(picture)
    changed: Image.Image = enhancer.enhance(max(0.1, 1 + 0.9 * signed(draw)))
    return changed


def rotate(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """+-30 level degrees about the middle."""
    return picture.rotate(30 * signed(draw), resample=_resampling(draw), fillcolor=_colour(fill))


def shear_x(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """Row y takes its pixels +-0.3 level y further right."""
    return _affine(picture, draw, fill, (1, 0.3 * signed(draw), 0, 0, 1, 0))


def shear_y(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """Column x takes its pixels +-0.3 level x further down."""
    return _affine(picture, draw, fill, (1, 0, 0, 0.3 * signed(draw), 1, 0))


def translate_x(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """Pixels are taken +-0.45 level widths further right."""
    return _affine(picture, draw, fill, (1, 0, 0.45 * signed(draw) * picture.width, 0, 1, 0))


def translate_y(picture: Image.Image, draw: Draw, fill: tuple[int, ...]) -> Image.Image:
    """Pixels are taken +-0.45 level heights further down."""
    return _affine(picture, draw, fill, (1, 0, 0, 0, 1, 0.45 * signed(draw) * picture.height))


OPERATIONS: Mapping[str, Operation] = {
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "invert": invert,
    "rotate": rotate,
    "posterize": posterize,
    "solarize": solarize,
    "solarize_add": solarize_add,
    "color": partial(enhance, what="Color"),
    "contrast": partial(enhance, what="Contrast"),
    "brightness": partial(enhance, what="Brightness"),
    "sharpness": partial(enhance, what="Sharpness"),
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
}
"""All operations by name; each is as likely as any other."""


def _affine(picture: Image.Image, draw: Draw, fill: tuple[int, ...], matrix: tuple[float, ...]) -> Image.Image:
    """The pixel at (x, y) is taken from (a x + b y + c, d x + e y + f). matrix : (a, b, c, d, e, f)."""
    from PIL import Image

    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, resample=_resampling(draw), fillcolor=_colour(fill)
    )


def _resampling(draw: Draw) -> Any:
    from PIL import Image

    return Image.Resampling.BICUBIC if draw.cubic else Image.Resampling.BILINEAR


def _colour(fill: tuple[int, ...]) -> Any:
    """As Pillow takes it: a number for one channel."""
    return fill[0] if len(fill) == 1 else fill
