"""How a model is trained: options by the names of timm's training script where that has one, with their bounds."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipnp.core.checks import check_flag, check_real, check_whole, did_you_mean
from vipnp.data.augment import LARGEST_ALPHA
from vipnp.data.rand_augment import parse
from vipnp.data.transforms import check_scale
from vipnp.models import PUBLISHED, PUBLISHED_CROP_PCT, PUBLISHED_DROP_PATH
from vipnp.optim import cosine_lr

MOST = 10**6
"""The largest number of epochs, of images in a batch and of parts of it, and the largest rate, decay and norm: more are
a slip of the hand."""


@dataclass(frozen=True)
class Recipe:
    """The options of a training run.

    Attributes
    ----------
    epochs : passes over the training images, before the cooldown.
    cooldown_epochs : passes at `min_lr` after those.
    batch_size : images of a step, the last of an epoch takes what is left.
    lr, min_lr, warmup_lr, warmup_epochs : see `vipnp.optim.cosine_lr`; one of the epochs at least is after the warmup.
    sched_on_updates : whether the rate changes with every step, or with every epoch.
    weight_decay : AdamW's, of tensors of two or more dimensions.
    clip_grad : the gradients are scaled down to this norm; 0 leaves them.
    smoothing : share of every target spread over all classes.
    mixup, cutmix : alpha of the Beta distribution of the blending, 0 for none. Where both are given, every batch takes
        one of them, each as often.
    reprob : probability of erasing a rectangle of an image.
    scale : (lowest, highest) area of the random crop as a share of the image; (1, 1) takes the middle.
    flip : probability of mirroring.
    aa : RandAugment by timm's name for it, such as rand-m9-mstd0.5-inc1; "" for none.
    drop_path : see `vipnp.ViPConfig`.
    ema : decay of a running mean of the weights, which is then evaluated and kept; 0 for none.
    grad_accum_steps : parts a batch is computed in, with the same gradient.
    backbone_lr : factor on the learning rate of everything but the head; 0 trains the head alone.
    layer_decay : factor on the learning rate from each block to the one before it.
    crop_pct, interpolation : see `vipnp.data.transforms.Transform`.
    """

    epochs: int = 30
    cooldown_epochs: int = 0
    batch_size: int = 32
    lr: float = 2e-3
    min_lr: float = 1e-5
    warmup_lr: float = 1e-6
    warmup_epochs: int = 2
    sched_on_updates: bool = True
    weight_decay: float = 0.05
    clip_grad: float = 1.0
    smoothing: float = 0.1
    mixup: float = 0.2
    cutmix: float = 0.0
    reprob: float = 0.0
    scale: tuple[float, float] = (0.35, 1.0)
    flip: float = 0.5
    aa: str = ""
    drop_path: float = 0.0
    ema: float = 0.0
    grad_accum_steps: int = 1
    backbone_lr: float = 1.0
    layer_decay: float = 1.0
    crop_pct: float = 1.0
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "grad_accum_steps"):
            check_whole(name, getattr(self, name), low=1, high=MOST)
        for name in ("warmup_epochs", "cooldown_epochs"):
            check_whole(name, getattr(self, name), low=0, high=MOST)
        check_flag("sched_on_updates", self.sched_on_updates)
        for name in ("lr", "min_lr", "warmup_lr", "weight_decay", "clip_grad"):
            check_real(name, getattr(self, name), low=0, high=MOST, high_included=True)
        for name in ("mixup", "cutmix"):
            check_real(name, getattr(self, name), low=0, high=LARGEST_ALPHA, high_included=True)
        for name in ("smoothing", "drop_path", "ema"):
            check_real(name, getattr(self, name), low=0, high=1)
        for name in ("reprob", "flip", "backbone_lr", "layer_decay"):
            check_real(name, getattr(self, name), low=0, high=1, high_included=True)
        if self.aa != "":
            parse(self.aa)
        check_scale(self.scale)

    @property
    def passes(self) -> int:
        """Over the training images, with those of the cooldown."""
        return self.epochs + self.cooldown_epochs

    def learning_rate(self, epoch: float) -> float:
        """The rate at a point of the run.

        A highest rate below the lowest or that of the warmup is the rate of every epoch.

        Parameters
        ----------
        epoch : from 0, step / (steps of an epoch); see `vipnp.optim.cosine_lr`.

        Returns
        -------
        float
            The rate.
        """
        return cosine_lr(
            epoch if self.sched_on_updates else math.floor(epoch),
            lr=self.lr,
            epochs=self.epochs,
            min_lr=min(self.min_lr, self.lr),
            warmup_epochs=min(self.warmup_epochs, self.epochs - 1),
            warmup_lr=min(self.warmup_lr, self.lr),
        )


OFFICIAL = "vip-imagenet"
"""The recipe whose drop path and evaluation crop are those of the published model that is trained."""

RECIPES: Mapping[str, Recipe] = {
    "small": Recipe(epochs=60, batch_size=16),
    "tiles": Recipe(scale=(1.0, 1.0), flip=0.5),
    "digits": Recipe(scale=(1.0, 1.0), flip=0.0, mixup=0.4),
    "mnist": Recipe(epochs=25, scale=(0.7, 1.0), flip=0.0),
    OFFICIAL: Recipe(
        epochs=300,
        cooldown_epochs=10,
        batch_size=2048,
        lr=2e-3,
        warmup_epochs=20,
        sched_on_updates=False,
        clip_grad=0.0,
        mixup=0.8,
        cutmix=1.0,
        reprob=0.25,
        scale=(0.08, 1.0),
        aa="rand-m9-mstd0.5-inc1",
        crop_pct=0.9,
    ),
}
"""Recipes by name: for a few hundred to a few thousand photographs, for tiles of one scale, for small and for larger
handwritten digits (no mirroring), and that of the published models."""


def recipe_from(name: str, options: Mapping[str, Any], model: str = "") -> Recipe:
    """The recipe `name` for `model` with some options replaced.

    Raises ValueError for an unknown recipe or option, naming the nearest, and for a value out of its bounds.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe: got {name!r}, expected one of {', '.join(RECIPES)}{did_you_mean(name, RECIPES)}")
    names = [field.name for field in dataclasses.fields(Recipe)]
    for option in options:
        if option not in names:
            raise ValueError(f"{option}: is no option{did_you_mean(option, names)}")
    of_model = {}
    if name == OFFICIAL and model in PUBLISHED:
        of_model = {"drop_path": PUBLISHED_DROP_PATH[model], "crop_pct": PUBLISHED_CROP_PCT[model]}
    return dataclasses.replace(RECIPES[name], **{**of_model, **options})


def read_toml(path: Path) -> dict[str, Any]:
    """The options in a TOML file. Raises ValueError where it is none, OSError where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe is waited for
        raise ValueError(f"config: {path} is a folder, a pipe or a device, expected a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise type(error)(f"config: {path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # of syntax and encoding, of numbers and nests without end
        raise ValueError(f"config: {path} is no TOML file ({error})") from error
