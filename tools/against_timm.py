"""The augmentations of training beside timm's, on the same draws, number by number: `make timm`.

The modules of timm are loaded by their files: none of what is compared needs torchvision, which `import timm` does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import random
import sys
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from PIL import Image

from tools.arguments import takes_none
from vipnp.data import cutmix, mixup
from vipnp.data.rand_augment import OPERATIONS, Draw
from vipnp.data.transforms import erase_at_random, random_box

NAMES = {
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing",
    "solarize_add": "SolarizeAdd",
    "color": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}
"""Ours -> timm's, in the set whose strength grows with the magnitude."""

FILL = (124, 116, 104)


def timm_module(name: str) -> ModuleType:
    """A file of the installed timm as a module of its own."""
    path = importlib.metadata.distribution("timm").locate_file(f"timm/data/{name}.py")
    spec = importlib.util.spec_from_file_location(f"timm_{name}", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differing_operations(photos: int) -> tuple[int, list[tuple[Any, ...]]]:
    """How many pictures were compared, and which operations differed, and by how much at most."""
    theirs = timm_module("auto_augment")
    if set(NAMES.values()) != set(theirs.rand_augment_choices("", increasing=True)):
        raise SystemExit("timm draws from other operations")
    compared, found = 0, []
    for seed, (name, magnitude, negative, cubic) in itertools.product(
        range(photos), itertools.product(NAMES, (0.0, 1.3, 5.0, 8.7, 9.0, 9.5, 10.0), (False, True), (False, True))
    ):
        if name == "posterize" and magnitude == 10:  # no bit is kept, which timm asks of Pillow, and Pillow refuses
            continue
        rng = np.random.default_rng(seed)
        height, width = (int(side) for side in rng.integers(11, 90, 2))
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        ours = OPERATIONS[name](picture, Draw(name, magnitude / 10, negative, cubic), FILL)
        resampling = Image.Resampling.BICUBIC if cubic else Image.Resampling.BILINEAR
        operation = theirs.AugmentOp(
            NAMES[name], prob=1.0, magnitude=magnitude, hparams={"img_mean": FILL, "interpolation": resampling}
        )
        theirs.random = Always(0.9 if negative else 0.1)  # type: ignore[attr-defined]  # its sign is negative above 0.5
        other = operation(picture)
        difference = int(np.abs(np.asarray(ours).astype(int) - np.asarray(other).astype(int)).max())
        compared += 1
        if difference:
            found.append((name, magnitude, negative, cubic, difference))
    return compared, found


def erased_alike(seeds: int) -> tuple[int, int]:
    """How many images were compared, and how many of them differed in which rectangle is erased.

    The numbers that timm draws are given to ours; the noise itself is not compared.
    """
    import torch

    theirs = timm_module("random_erasing")
    differing = 0
    for seed in range(seeds):
        shape = tuple(int(side) for side in np.random.default_rng(seed).integers(9, 60, 2))
        image = np.random.default_rng(seed + 1).standard_normal((3, *shape)).astype(np.float32)
        recorder = Recorder(seed)
        theirs.random = recorder  # type: ignore[attr-defined]
        torch.manual_seed(seed)
        other = theirs.RandomErasing(probability=1.0, mode="pixel", device="cpu")(torch.tensor(image.copy()))
        changed = (other.numpy() != image).any(0)
        ours = erase_at_random(image, Replay(recorder.uniforms, recorder.corners), 1.0)  # type: ignore[arg-type]
        differing += not np.array_equal((ours != image).any(0), changed)
    return seeds, differing


def other_crops(seeds: int) -> tuple[int, int]:
    """How many random crops were compared, and how many of them are other boxes than timm's."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules.setdefault(name, MagicMock())  # what is compared asks them for the size of a picture alone
    theirs = timm_module("transforms")
    theirs.F = SimpleNamespace(get_image_size=lambda picture: picture.size)  # type: ignore[attr-defined]
    differing = 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        size = int(rng.integers(1, 90)), int(rng.integers(1, 90))
        scale, ratio = ((0.08, 1.0), (0.35, 1.0), (0.9, 1.4))[seed % 3], (3 / 4, 4 / 3)
        recorder = Recorder(seed)
        theirs.random = recorder  # type: ignore[attr-defined]
        top, left, h, w = theirs.RandomResizedCropAndInterpolation.get_params(Image.new("L", size), scale, ratio)
        replay = Replay(recorder.uniforms, recorder.corners[::-1])  # ours draws the left side first
        ours = random_box(size, replay, scale, ratio)  # type: ignore[arg-type]
        differing += ours != (left, top, left + w, top + h)
    return seeds, differing


def other_mixtures(seeds: int) -> tuple[int, int, float]:
    """How many batches were mixed, how many of them have other pixels, and the largest difference of their targets.

    Left out are rectangles of an odd side: this timm rounds its half up, ours down, as the code of the paper does.
    """
    import torch

    theirs = timm_module("mixup")
    compared, differing, furthest = 0, 0, 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        batch, classes, height, width = (int(n) for n in rng.integers((1, 3, 4, 4), (5, 12, 40, 40)))
        images = rng.standard_normal((2 * batch, 3, height, width))
        labels = rng.integers(0, classes, 2 * batch)
        smoothing, alpha, cut = (0.0, 0.1)[seed % 2], (0.8, 1.0, 0.2)[seed % 3], seed % 4 < 2
        side = math.sqrt(1 - np.random.default_rng(seed).beta(alpha, alpha))
        if cut and (int(height * side) % 2 or int(width * side) % 2):
            continue
        theirs.np = SimpleNamespace(random=Drawn(seed), sqrt=np.sqrt, clip=np.clip)  # type: ignore[attr-defined]
        mixing = theirs.Mixup(
            mixup_alpha=0 if cut else alpha,
            cutmix_alpha=alpha if cut else 0,
            label_smoothing=smoothing,
            num_classes=classes,
        )
        other, other_targets = mixing(torch.tensor(images), torch.tensor(labels))
        ours, targets = (cutmix if cut else mixup)(
            images, labels, np.random.default_rng(seed), alpha=alpha, num_classes=classes, label_smoothing=smoothing
        )
        compared += 1
        differing += not np.array_equal(ours, other.numpy())
        furthest = max(furthest, float(np.abs(targets - other_targets.numpy()).max()))
    return compared, differing, furthest


class Drawn:
    """What timm asks of numpy.random, from a generator that ours gets too."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.beta = rng.beta
        self.randint = lambda low, high, size: rng.integers(low, high)

    def rand(self) -> float:
        """Whether a batch is mixed at all: always."""
        return 0.0


class Always(random.Random):
    """A generator of one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


class Recorder(random.Random):
    """A generator that keeps what is drawn from it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.uniforms: list[float] = []
        self.corners: list[int] = []

    def uniform(self, a: float, b: float) -> float:
        self.uniforms.append(super().uniform(a, b))
        return self.uniforms[-1]

    def randint(self, a: int, b: int) -> int:
        self.corners.append(super().randint(a, b))
        return self.corners[-1]


class Replay:
    """A generator that gives drawn numbers again: area (a share of the image) and log-aspect, then the corner."""

    def __init__(self, uniforms: list[float], corners: list[int]) -> None:
        self.uniforms, self.corners = iter(uniforms), iter(corners)

    def random(self) -> float:
        return 0.0

    def uniform(self, low: float, high: float) -> float:
        return next(self.uniforms)

    def integers(self, low: int, high: int) -> int:
        return next(self.corners)

    def standard_normal(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.full(shape, 77, dtype)


def main() -> int:
    compared, found = differing_operations(photos=5)
    print(f"RandAugment: {compared} pictures by {len(NAMES)} operations, {len(found)} differ from timm's")
    for name, magnitude, negative, cubic, difference in found[:20]:
        print(f"  {name} at magnitude {magnitude}, negative {negative}, cubic {cubic}: by {difference} at most")
    images, differing = erased_alike(2000)
    print(f"random erasing: {images} images, {differing} with another rectangle than timm's")
    crops, others = other_crops(5000)
    print(f"random crops: {crops} boxes, {others} other than timm's")
    batches, pixels, furthest = other_mixtures(3000)
    print(f"mixup and cutmix: {batches} batches, {pixels} with other pixels; targets differ by {furthest:.1e} at most")
    # timm's targets are float32: 1 - smoothing + smoothing / classes is rounded there, products of it are again
    return int(bool(found or differing or others or pixels or furthest > 2**-22))


if __name__ == "__main__":
    takes_none(__doc__)
    sys.exit(main())
