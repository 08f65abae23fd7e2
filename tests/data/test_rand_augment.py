"""RandAugment: every operation against its definition, in loops over the pixels; and how often each is drawn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from vipnp.data import Transform, stream
from vipnp.data.rand_augment import OPERATIONS, Draw, RandAugment, drawn, parse, rand_augment

LEVELS = [0.0, 0.31, 0.75, 0.9, 1.0]
FILL = (124, 116, 104)


def photo(seed: int = 0, top: int = 256) -> Any:
    """uint8 (13, 17, 3), values below `top`."""
    return np.random.default_rng(seed).integers(0, top, (13, 17, 3)).astype(np.uint8)


def run(name: str, pixels: Any, level: float, negative: bool = False, cubic: bool = False) -> Any:
    """The operation on an RGB picture, as integers."""
    changed = OPERATIONS[name](Image.fromarray(pixels), Draw(name, level, negative, cubic), FILL)
    assert changed.size == (17, 13)
    assert changed.mode == "RGB"
    return np.asarray(changed).astype(int)


def by_value(pixels: Any, function: Any) -> Any:
    return np.array([[[function(int(v)) for v in pixel] for pixel in row] for row in pixels])


@pytest.mark.parametrize("level", LEVELS)
def test_operations_on_single_values(level: float) -> None:
    x = photo()
    np.testing.assert_array_equal(run("invert", x, level), by_value(x, lambda v: 255 - v))
    mask = (0b11110000, 0b11100000, 0b11000000, 0b10000000, 0)[int(level * 4)]
    np.testing.assert_array_equal(run("posterize", x, level), by_value(x, lambda v: v & mask))
    edge = 256 - int(level * 256)
    np.testing.assert_array_equal(run("solarize", x, level), by_value(x, lambda v: 255 - v if v >= edge else v))
    more = int(level * 110)
    expected = by_value(x, lambda v: v + more if v < 128 else v)
    np.testing.assert_array_equal(run("solarize_add", x, level), expected)


def test_contrast_is_stretched_channel_by_channel() -> None:
    x = photo(top=100) + np.array([20, 60, 3], np.uint8)
    low, high = x.min(axis=(0, 1)).astype(float), x.max(axis=(0, 1)).astype(float)
    found = run("auto_contrast", x, 0.5)
    np.testing.assert_allclose(found, (x - low) * 255 / (high - low), rtol=0, atol=1)
    assert found.min() == 0
    assert found.max() == 255


def test_equalizing_puts_a_value_where_the_share_below_it_lies() -> None:
    """Of 4096 pixels a value v becomes 255 times the share of smaller ones, to a step of the histogram."""
    ramp = np.sort(np.random.default_rng(1).gamma(2, 20, 4096).clip(0, 255)).astype(np.uint8).reshape(64, 64)
    found = np.asarray(OPERATIONS["equalize"](Image.fromarray(ramp), Draw("equalize", 0, False, False), (7,)))
    for value in np.unique(ramp):
        expected = 255 * np.mean(ramp < value)
        assert abs(float(found[ramp == value][0]) - expected) < 4


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_enhancing_moves_away_from_or_towards_a_degenerate(level: float, negative: bool) -> None:
    """Within one: Pillow cuts fractions off, of the degenerate and of the result."""
    x = photo()
    factor = max(0.1, 1 - 0.9 * level if negative else 1 + 0.9 * level)
    grey = x @ np.array([0.299, 0.587, 0.114])
    smooth = x.astype(float)
    for row in range(1, 12):
        for column in range(1, 16):
            around = x[row - 1 : row + 2, column - 1 : column + 2].astype(float).sum(axis=(0, 1))
            smooth[row, column] = (around + 4.0 * x[row, column]) / 13
    degenerates = {
        "color": grey[..., None],
        "contrast": np.full((1, 1, 1), round(grey.mean())),
        "brightness": np.zeros((1, 1, 1)),
        "sharpness": smooth,
    }
    for name, degenerate in degenerates.items():
        expected = np.clip(degenerate + factor * (x - degenerate), 0, 255)
        np.testing.assert_allclose(run(name, x, level, negative), expected, rtol=0, atol=1.9, err_msg=name)


@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("level", LEVELS)
def test_operations_that_move_pixels(level: float, negative: bool, cubic: bool) -> None:
    """On a ramp: away from the borders every pixel has the value of the place it is taken from, and the fill where that
    lies outside. Bilinear resampling reproduces a ramp; Pillow's cubic is off by d (1 - d) (1 - 2 d) <= 0.0963 of the
    step, at the share d between two pixels."""
    y, x = np.mgrid[0:13, 0:17] + 0.5
    ramp = np.rint(np.stack([9 * x, 11 * y, 3 * x + 5 * y], axis=-1)).astype(np.uint8)
    sign = -1 if negative else 1
    angle = math.radians(30 * level * sign)
    dx, dy = x - 17 / 2, y - 13 / 2
    taken_from = {
        "rotate": (17 / 2 + math.cos(angle) * dx - math.sin(angle) * dy,
                   13 / 2 + math.sin(angle) * dx + math.cos(angle) * dy),
        "shear_x": (x + 0.3 * level * sign * y, y),
        "shear_y": (x, y + 0.3 * level * sign * x),
        "translate_x": (x + 0.45 * level * sign * 17, y),
        "translate_y": (x, y + 0.45 * level * sign * 13),
    }  # fmt: skip
    for name, (u, v) in taken_from.items():
        found = run(name, ramp, level, negative, cubic)
        inside = (u > 2) & (u < 15) & (v > 2) & (v < 11)
        assert inside.any()
        expected = np.stack([9 * u, 11 * v, 3 * u + 5 * v], axis=-1)
        np.testing.assert_allclose(
            found[inside], expected[inside], rtol=0, atol=1.6 + 0.0963 * 11 * cubic, err_msg=name
        )
        outside = (u < -0.01) | (u > 17.01) | (v < -0.01) | (v > 13.01)
        assert (found[outside] == FILL).all(), name


@pytest.mark.parametrize("name", OPERATIONS)
def test_grey_pictures(name: str) -> None:
    """As the channel of a colour picture that is grey everywhere, which `color` leaves as it is."""
    grey = photo()[..., 0]
    one = OPERATIONS[name](Image.fromarray(grey), Draw(name, 0.8, True, False), (116,))
    three = OPERATIONS[name](
        Image.fromarray(np.repeat(grey[..., None], 3, axis=-1)), Draw(name, 0.8, True, False), (116, 116, 116)
    )
    assert one.mode == "L"
    np.testing.assert_array_equal(np.asarray(one), np.asarray(three)[..., 1])


def test_how_often_and_how_strongly() -> None:
    """Within four deviations: each layer does something half of the time, all operations and signs are as likely, the
    magnitude is normal with deviation 0.5 about 9 and cut off at 10."""
    policy = parse("rand-m9-n3-mstd0.5-inc1")
    draws = [draw for i in range(4000) for draw in drawn(policy, stream(0, "augment", 0, i))]
    assert abs(len(draws) / 12000 - 0.5) < 4 * math.sqrt(0.25 / 12000)
    for name in OPERATIONS:
        share = np.mean([draw.name == name for draw in draws])
        assert abs(share - 1 / 15) < 4 * math.sqrt(1 / 15 * 14 / 15 / len(draws)), name
    for column in ("negative", "cubic"):
        assert abs(np.mean([getattr(draw, column) for draw in draws]) - 0.5) < 4 * 0.5 / math.sqrt(len(draws))
    levels = np.array([draw.level for draw in draws])
    assert abs(np.median(levels) - 0.9) < 4 * 1.2533 * 0.05 / math.sqrt(len(draws))
    assert abs(np.mean(levels == 1) - 0.02275) < 4 * math.sqrt(0.02275 / len(draws))
    assert levels.max() == 1


def test_the_transform_augments_after_mirroring_with_its_mean_as_fill() -> None:
    picture = Image.fromarray(photo()[:13, :13])
    transform = Transform(size=(13, 13), scale=(1.0, 1.0), crop_pct=1.0, flip=1.0, aa="rand-m9-mstd0.5-inc1")
    changed = 0
    for i in range(40):
        found = transform.training(picture, stream(0, "augment", 0, i))
        rng = stream(0, "augment", 0, i)
        rng.random()
        expected = rand_augment(ImageOps.mirror(picture), rng, RandAugment(9, 0.5, 2), FILL)
        np.testing.assert_array_equal(transform.pixels(found), np.asarray(expected))
        changed += not np.array_equal(np.asarray(expected), np.asarray(ImageOps.mirror(picture)))
    assert 20 < changed < 40


@pytest.mark.parametrize(
    ("aa", "expected"),
    [
        ("rand-m9-mstd0.5-inc1", RandAugment(9, 0.5, 2)),
        ("rand-m7-n3-inc1", RandAugment(7, 0.0, 3)),
        ("rand-m10-inc1", RandAugment(10, 0.0, 2)),
    ],
)
def test_names(aa: str, expected: RandAugment) -> None:
    assert parse(aa) == expected


@pytest.mark.parametrize(
    "aa",
    [
        *("rand", "rand-m9-mstd0.5", "rand-m11-inc1", "augmix-m5", "rand-m9-inc0", 9, None),
        *("rand-m9-n0-inc1", "rand-m9-n16-inc1", "rand-m9-mstd11-inc1", f"rand-m9-mstd{'9' * 400}-inc1"),
    ],
)
def test_other_names_are_refused(aa: Any) -> None:
    with pytest.raises(
        ValueError, match=r"aa: got .*, expected a name such as rand-m9-mstd0.5-inc1, m and mstd in \[0, 10\]"
    ):
        Transform(size=(4, 4), aa=aa)
