"""What a run is: its data, its model, its recipe, its transform; written to and read from config.toml."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipnp.core.checks import check_real, check_whole, did_you_mean, shown
from vipnp.core.versions import installed
from vipnp.data.random import LARGEST_SEED
from vipnp.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Transform, check_size
from vipnp.models import PUBLISHED, ViPConfig, get_config
from vipnp.models.model import DTYPES
from vipnp.models.resolution import nearest_size
from vipnp.train.ranks import REDUCTIONS
from vipnp.train.recipe import Recipe, read_toml
from vipnp.train.shards import check_shards

TINY = "vip_tiny"
"""A small model whose patches fit the images: four blocks for a grid of about 8 x 8 tokens."""

GRID = 8
"""Tokens along the shorter side of an image that the patches of the small model come nearest to."""

FILE = "config.toml"

NO_WEIGHTS = ("weights", "")
"""How config.toml says that the weights of a run are drawn from its seed."""

BACKENDS = ("numba", "numpy", "cupy")
"""Those that a run may be on."""

FREE = ("data", "backend", "epochs")
"""What may change before a run goes on: images that have moved are compared one by one, another backend rounds
otherwise, and is told with every start, and more epochs are what `--epochs` is for."""


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on besides its images.

    Attributes
    ----------
    data : a folder or the name of an embedded set. model : `TINY` or a published name. img_size : (height, width),
    pixels. channels : 3 or 1. seed : of weights, order, augmentation, drop path and of which images are held out.
    validation : share held out. backend : its name. shards : parts of a batch (vipnp.train.shards), a power of two; the
    result depends on it, and not on the threads that compute them. recipe : how it is trained. precision : of the
    weights, float32 or float64. reduce : how ranks add up gradients, "exact" or "fast" (vipnp.train.ranks). weights :
    the file that the run begins from, "" for weights drawn from the seed.
    """

    data: str
    model: str
    img_size: tuple[int, int]
    channels: int
    seed: int
    validation: float
    backend: str
    shards: int
    recipe: Recipe
    precision: str = "float32"
    reduce: str = "exact"
    weights: str = ""

    def __post_init__(self) -> None:
        for name in ("data", "model", "backend", "precision", "reduce", "weights"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}: got {shown(getattr(self, name))}, expected a string")
            if any("\ud800" <= character <= "\udfff" for character in getattr(self, name)):
                raise ValueError(
                    f"{name}: got {getattr(self, name)!r}, expected UTF-8, in which config.toml is written: rename it"
                )
        check_size("img_size", self.img_size)
        if self.channels not in (1, 3):
            raise ValueError(f"channels: got {shown(self.channels)}, expected 1 or 3")
        check_whole("seed", self.seed, low=0, high=LARGEST_SEED)
        check_real("validation", self.validation, low=0, low_included=False, high=1)
        check_shards(self.shards)
        if self.backend not in BACKENDS:
            raise ValueError(
                f"backend: got {self.backend!r}, expected one of {', '.join(BACKENDS)}"
                + did_you_mean(self.backend, BACKENDS)
            )
        if self.precision not in DTYPES:
            raise ValueError(f"precision: got {self.precision!r}, expected {' or '.join(DTYPES)}")
        if self.reduce not in REDUCTIONS:
            raise ValueError(f"reduce: got {self.reduce!r}, expected {' or '.join(REDUCTIONS)}")

    def transform(self) -> Transform:
        """Of the run's images."""
        grey = self.channels == 1
        return Transform(
            size=self.img_size,
            channels=self.channels,
            mean=(0.5,) if grey else IMAGENET_MEAN,
            std=(0.5,) if grey else IMAGENET_STD,
            crop_pct=self.recipe.crop_pct,
            interpolation=self.recipe.interpolation,  # type: ignore[arg-type]
            scale=self.recipe.scale,
            flip=self.recipe.flip,
            aa=self.recipe.aa,
        )

    def config(self, classes: int) -> ViPConfig:
        """Of the run's model."""
        common: dict[str, Any] = {
            "num_classes": classes,
            "in_channels": self.channels,
            "image_size": self.img_size,
            "drop_path": self.recipe.drop_path,
        }
        if self.model in PUBLISHED:
            try:
                return get_config(self.model, **common)
            except ValueError as error:
                published = PUBLISHED[self.model]
                fits, own = nearest_size(published, *self.img_size), published.image_size
                if fits == self.img_size:  # something else is wrong
                    raise
                raise ValueError(
                    f"{error}; give --img-size {own[0]} {own[1]}, as published, or {fits[0]} {fits[1]}, the nearest "
                    "size that fits"
                ) from error
        if self.model != TINY:
            known = [TINY, *PUBLISHED]
            raise ValueError(
                f"model: got {self.model!r}, expected one of {', '.join(known)}{did_you_mean(self.model, known)}"
            )
        return tiny_config(**common)

    def to_toml(self, extra: Mapping[str, Mapping[str, Any]]) -> str:
        """The contents of config.toml; `extra` are sections that are written for the reader alone."""
        values = dataclasses.asdict(self)
        recipe = values.pop("recipe")
        sections = {"run": values, "recipe": recipe, **extra}
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in section.items())
            for name, section in sections.items()
        )


def recorded(settings: Settings) -> dict[str, Any]:
    """What a state keeps of the settings that it was made with: every option by its name, as JSON gives it back."""
    values = dataclasses.asdict(settings)
    options = {**values.pop("recipe"), **values}
    kept: dict[str, Any] = json.loads(json.dumps({name: options[name] for name in options if name not in FREE}))
    return kept


def check_recorded(folder: Path, settings: Settings, record: Mapping[str, Any]) -> None:
    """Raise ValueError, naming them, where options of the run in `folder` are not those that its states were made
    with. What `record` lacks, as that of an older version does, is not compared."""
    changed = [
        f"{name} = {shown(value)}, not {shown(record[name])}"
        for name, value in recorded(settings).items()
        if record.get(name, value) != value
    ]
    if changed:
        raise ValueError(
            f"run: {folder / FILE} has {', '.join(changed)}, with which its states were made: put it back, or begin "
            "another run with --output"
        )


def versions() -> dict[str, str]:
    """Of Python and the libraries that a run depends on."""
    libraries = ("vipnp", "numpy", "scipy", "pillow", "numba", "cupy-cuda12x", "cupy-cuda13x")
    return {"cores": str(os.cpu_count()), **installed(*libraries)}


def _toml(value: Any) -> str:
    """As JSON, which TOML takes but for two things: characters beyond 16 bits as pairs of escapes, and DEL as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_settings(folder: Path) -> Settings:
    """The settings of the run in `folder`. Raises FileNotFoundError or ValueError where it holds none."""
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"run: {folder} holds no {FILE}: it is no run folder, or the file was taken away")
    found = read_toml(path)
    try:
        run, recipe = dict(found["run"]), dict(found["recipe"])
        for section, name in ((run, "img_size"), (recipe, "scale")):  # TOML knows no tuples
            if isinstance(section[name], list):
                section[name] = tuple(section[name])
        return Settings(**run, recipe=Recipe(**recipe))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"run: {path} is no configuration of a run ({error})") from error


def options_of_run(found: Mapping[str, Any]) -> dict[str, Any]:
    """What config.toml of a run gives of the options of `vipnp train`: all but what follows from its images, and what
    it does not have. Anything else as it is."""
    if set(found) - {"versions"} != {"run", "recipe"} or not all(isinstance(part, dict) for part in found.values()):
        return dict(found)
    run = {name: value for name, value in found["run"].items() if name != "channels" and (name, value) != NO_WEIGHTS}
    return {**run, **found["recipe"]}


def tiny_config(
    *, num_classes: int, in_channels: int, image_size: int | tuple[int, int], drop_path: float = 0.0
) -> ViPConfig:
    """A small model for images of this size: the patch is the divisor of both sides, two or more, that makes the grid's
    shorter side nearest to eight.

    Parameters
    ----------
    num_classes, in_channels, image_size, drop_path : fields of `vipnp.ViPConfig`.

    Returns
    -------
    ViPConfig
        Of four blocks with 64 channels in four segments.

    Raises
    ------
    TypeError, ValueError
        If no patch fits, or as `vipnp.ViPConfig`.
    """
    sides: Any = tuple(image_size) if isinstance(image_size, tuple | list) else (image_size, image_size)
    check_size("image_size", sides)
    height, width = map(int, sides)
    fits = [p for p in range(2, min(height, width) // 2 + 1) if height % p == 0 and width % p == 0]
    if not fits:
        raise ValueError(
            f"img_size: got {shown(image_size)}, expected sides with a common divisor from two to half the shorter side"
        )
    patch = min(fits, key=lambda p: abs(min(height, width) / p - GRID))
    return ViPConfig(
        layers=(4,),
        embed_dims=(64,),
        segments=(4,),
        transitions=(False,),
        patch_size=patch,
        image_size=(height, width),
        num_classes=num_classes,
        in_channels=in_channels,
        drop_path=drop_path,
    )


def tiny_size(patch: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """The (height, width), in about the proportions of `image_size`, for which `tiny_config` has patches of `patch`."""
    shorter = min(image_size)
    height, width = (patch * round(GRID * side / shorter) for side in image_size)
    return height, width
