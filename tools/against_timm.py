"""RandAugment and random erasing beside timm's, on the same draws, number by number.

python tools/against_timm.py     needs timm (pip install --no-deps timm==1.0.31) and torch

The two modules of timm are loaded by their files: neither needs torchvision, which `import timm` does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import random
import sys
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from vipnp.data.rand_augment import OPERATIONS, Draw
from vipnp.data.transforms import erase_at_random

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
    return int(bool(found or differing))


if __name__ == "__main__":
    sys.exit(main())
