"""What a Vision Permutator is made of: its configuration, and the five published ones."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, NamedTuple

from vipnp.core.checks import check_flag, check_real, check_whole, did_you_mean, shown
from vipnp.layers import BRANCHES, MIXINGS, PERMUTE_MLPS, SHIFTS, STANDARD_BRANCHES, BranchKind, FusionKind

LARGEST = 2**31
"""Weights of a model, at most: a size that is off by some digits is an error, and does not take all of the memory."""


class StageShape(NamedTuple):
    """The grid of tokens in a stage.

    Attributes
    ----------
    place : its index in `network`.
    depth : blocks.
    height, width, channels : of the grid, in tokens.
    segments : N, of the channels.
    merge : the patch of the transition behind it, 0 where there is none.
    """

    place: int
    depth: int
    height: int
    width: int
    channels: int
    segments: int
    merge: int

    def side(self, kind: BranchKind) -> int:
        """The rows, and as many columns, of the weight of a branch.

        Parameters
        ----------
        kind : of the branch.

        Returns
        -------
        int
            The product of the sizes along which the branch mixes.
        """
        S = self.channels // self.segments
        sides = {"height": self.height * S, "width": self.width * S, "plane": self.height * self.width}
        return sides.get(kind, self.channels)


@dataclass(frozen=True)
class ViPConfig:
    """The configuration of a Vision Permutator.

    Attributes
    ----------
    layers : blocks in each stage.
    embed_dims : channels C of each stage, a multiple of 4 and of its segments.
    segments : segments N of each stage (the official code calls it segment_dim); each holds S = C/N channels.
    transitions : whether a 2x2 merge follows each stage; the last entry is False. Where the width changes without a
        merge, a 1x1 projection stands between the stages.
    patch_size : side of the patches, pixels.
    image_size : (height, width) of the images, pixels; an int stands for a square.
    num_classes : K, outputs of the head.
    in_channels : channels of the images.
    mlp_ratio : hidden width of the channel MLP over C.
    fusion : "weighted" (split attention over the branches) or "sum".
    branches : what stands in the places mlp_h, mlp_w, mlp_c, one of `vipnp.layers.BRANCHES` each; or the name of a
        mixing, "plane", "line", "axial" or "point".
    skip_lam : the residual branches are divided by it.
    drop_path : largest drop-path rate; block i of L has the rate drop_path * i / (L - 1), so the first has none, and
        neither has the only block of a model of one.
    dropout : rate of the dropouts after the GELU and the second layer of the MLP and after the projection of the
        Permute-MLP.

    Raises
    ------
    ValueError, TypeError
        Naming the field, what it was and what was expected.
    """

    layers: tuple[int, ...]
    embed_dims: tuple[int, ...]
    segments: tuple[int, ...]
    transitions: tuple[bool, ...]
    patch_size: int
    image_size: tuple[int, int] = (224, 224)
    num_classes: int = 1000
    in_channels: int = 3
    mlp_ratio: int = 3
    fusion: FusionKind = "weighted"
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES
    skip_lam: float = 1.0
    drop_path: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        side: Any = self.image_size
        if isinstance(side, numbers.Integral):
            object.__setattr__(self, "image_size", (side, side))
        for name in ("patch_size", "num_classes", "in_channels", "mlp_ratio"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), low=1))
        for name in ("layers", "embed_dims", "segments", "image_size"):
            values = _sequence(name, getattr(self, name))
            object.__setattr__(self, name, tuple(check_whole(f"{name}[{i}]", v, low=1) for i, v in enumerate(values)))
        flags = enumerate(_sequence("transitions", self.transitions))
        object.__setattr__(self, "transitions", tuple(check_flag(f"transitions[{i}]", flag) for i, flag in flags))
        mixing: Any = self.branches
        if isinstance(mixing, str):
            if mixing not in MIXINGS:
                raise ValueError(f"branches: got {shown(mixing)}, expected three kinds or one of {', '.join(MIXINGS)}")
            mixing = MIXINGS[mixing]
        object.__setattr__(self, "branches", _sequence("branches", mixing))
        self._check_lengths()
        self._check_kinds()
        for name in ("drop_path", "dropout"):
            object.__setattr__(self, name, check_real(name, getattr(self, name), low=0, high=1))
        object.__setattr__(self, "skip_lam", check_real("skip_lam", self.skip_lam, low=0, low_included=False))
        self._check_size(self.stages())

    def _check_lengths(self) -> None:
        stages = len(self.layers)
        if stages == 0:
            raise ValueError("layers: got (), expected at least one stage")
        if len(self.image_size) != 2:
            raise ValueError(f"image_size: got {self.image_size}, expected (height, width)")
        for name in ("embed_dims", "segments", "transitions"):
            values = getattr(self, name)
            if len(values) != stages:
                raise ValueError(
                    f"{name}: got {len(values)} entries {values}, expected {stages}, one a stage of layers"
                )

    def _check_kinds(self) -> None:
        if self.transitions[-1]:
            raise ValueError("transitions: the last entry is True, expected False: no stage follows it")
        if self.fusion not in list(PERMUTE_MLPS):
            raise ValueError(f"fusion: got {shown(self.fusion)}, expected one of {', '.join(PERMUTE_MLPS)}")
        if len(self.branches) != 3 or any(kind not in list(BRANCHES) for kind in self.branches):
            raise ValueError(f"branches: got {self.branches}, expected three of {', '.join(BRANCHES)}")

    def _check_size(self, stages: list[StageShape]) -> None:
        weights = self.in_channels * self.patch_size**2 * self.embed_dims[0] + self.embed_dims[-1] * self.num_classes
        for shape in stages:
            mixing = sum(shape.side(kind) ** 2 for kind in self.branches)
            weights += shape.depth * (mixing + (2 * self.mlp_ratio + 1) * shape.channels**2)
        if weights > LARGEST:
            names = ("image_size", "patch_size", "layers", "embed_dims", "segments", "num_classes", "in_channels")
            made = ", ".join(f"{name} {shown(getattr(self, name))}" for name in names)
            raise ValueError(f"config: got a model of more than {LARGEST:,} weights, expected no more: {made}")

    def stages(self) -> list[StageShape]:
        """The grid of tokens of every stage, in order.

        Raises
        ------
        ValueError
            Where the image is not a multiple of the patch, a grid not a multiple of the merge, or the channels not a
            multiple of the segments.
        """
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image_size: got {shown(self.image_size)}, expected multiples of patch_size {self.patch_size}"
            )
        height, width = height // self.patch_size, width // self.patch_size
        shapes = []
        place = 0
        for i, (depth, channels, segments) in enumerate(zip(self.layers, self.embed_dims, self.segments, strict=True)):
            if channels % segments:
                raise ValueError(f"segments[{i}]: got {segments}, expected a divisor of embed_dims[{i}] = {channels}")
            if self.fusion == "weighted" and channels % 4:
                raise ValueError(f"embed_dims[{i}]: got {channels}, expected a multiple of 4 (fusion 'weighted')")
            shifted = [kind for kind in self.branches if kind in SHIFTS]
            if shifted and channels % 4:
                raise ValueError(f"embed_dims[{i}]: got {channels}, expected a multiple of 4 (branch {shifted[0]!r})")
            merge = 0
            if i + 1 < len(self.layers):
                merge = 2 if self.transitions[i] else int(channels != self.embed_dims[i + 1])
            shapes.append(StageShape(place, depth, height, width, channels, segments, merge))
            if merge and (height % merge or width % merge):
                raise ValueError(
                    f"transitions[{i}]: the grid of stage {i} is {height} x {width}, expected multiples of {merge} "
                    f"for its merge (image_size {self.image_size}, patch_size {self.patch_size})"
                )
            if merge:
                height, width = height // merge, width // merge
            place += 2 if merge else 1
        return shapes

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the image from one token to the next in each stage: of the grids of `VisionPermutator.features`."""
        return tuple(self.image_size[0] // shape.height for shape in self.stages())

    def drop_path_rates(self) -> list[float]:
        """The drop-path rate of every block, in order: 0 to `drop_path`, evenly spaced."""
        blocks = sum(self.layers)
        return [self.drop_path * i / max(1, blocks - 1) for i in range(blocks)]

    def layer_macs(self) -> dict[str, int]:
        """Official name -> multiplications of one image, for every linear layer and convolution, in their order."""
        shapes = self.stages()
        first = shapes[0]
        counts = {
            "patch_embed.proj": first.height * first.width * first.channels * self.in_channels * self.patch_size**2
        }
        for shape, following in zip(shapes, [*shapes[1:], None], strict=True):
            block = self._block_macs(shape)
            for i in range(shape.depth):
                counts.update({f"network.{shape.place}.{i}.{name}": count for name, count in block.items()})
            if following is not None and shape.merge:
                tokens, patch = following.height * following.width, shape.channels * shape.merge**2
                counts[f"network.{shape.place + 1}.proj"] = tokens * following.channels * patch
        return {**counts, "head": shapes[-1].channels * self.num_classes}

    def _block_macs(self, shape: StageShape) -> dict[str, int]:
        C, entries = shape.channels, shape.height * shape.width * shape.channels
        of_h, of_w, of_c = (entries * shape.side(kind) for kind in self.branches)  # each entry meets a row of weights
        counts = {"attn.mlp_c": of_c, "attn.mlp_h": of_h, "attn.mlp_w": of_w}
        if self.fusion == "weighted":
            counts.update({"attn.reweight.fc1": C * (C // 4), "attn.reweight.fc2": (C // 4) * 3 * C})
        hidden = entries * C * self.mlp_ratio
        return {**counts, "attn.proj": entries * C, "mlp.fc1": hidden, "mlp.fc2": hidden}

    @property
    def macs(self) -> int:
        """Multiplications of one image in linear layers and convolutions; additions, norms and GELUs not counted."""
        return sum(self.layer_macs().values())


def _sequence(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, str | bytes | bytearray):
        with contextlib.suppress(TypeError):  # an array of no axes has an __iter__ too
            return tuple(values)
    raise TypeError(f"{name}: got {shown(values)}, expected a sequence")


PUBLISHED: Mapping[str, ViPConfig] = MappingProxyType(
    {
        "vip_s16": ViPConfig((18,), (336,), (14,), (False,), 16),
        "vip_s14": ViPConfig((4, 3, 8, 3), (384,) * 4, (16,) * 4, (False,) * 4, 14),
        "vip_s7": ViPConfig((4, 3, 8, 3), (192, 384, 384, 384), (32, 16, 16, 16), (True, False, False, False), 7),
        "vip_m7": ViPConfig((4, 3, 14, 3), (256, 256, 512, 512), (32, 32, 16, 16), (False, True, False, False), 7),
        "vip_l7": ViPConfig((8, 8, 16, 4), (256, 512, 512, 512), (32, 16, 16, 16), (True, False, False, False), 7),
    }
)
"""The published configurations, in inference (drop path 0). vip_s16 appears in the paper only."""

PUBLISHED_DROP_PATH: Mapping[str, float] = MappingProxyType(
    {"vip_s16": 0.1, "vip_s14": 0.1, "vip_s7": 0.1, "vip_m7": 0.2, "vip_l7": 0.3}
)
"""The drop-path rate each published model was trained with."""

PUBLISHED_CROP_PCT: Mapping[str, float] = MappingProxyType(
    {"vip_s16": 0.9, "vip_s14": 0.9, "vip_s7": 0.9, "vip_m7": 0.9, "vip_l7": 0.875}
)
"""The share of an image's sides that each published model was evaluated on."""


def list_models() -> list[str]:
    """The names of the published configurations."""
    return list(PUBLISHED)


def get_config(name: str, **overrides: Any) -> ViPConfig:
    """The published configuration `name` with some fields replaced.

    Parameters
    ----------
    name : one of `list_models`.
    **overrides : fields of `ViPConfig`.

    Returns
    -------
    ViPConfig
        With drop path and dropout 0 unless given.

    Raises
    ------
    ValueError, TypeError
        For an unknown name or field, naming the nearest right one, and whatever `ViPConfig` refuses.
    """
    _known("name", name, list(PUBLISHED))
    names = [field.name for field in fields(ViPConfig)]
    for override in overrides:
        _known("override", override, names)
    values = {field: getattr(PUBLISHED[name], field) for field in names}
    return ViPConfig(**{**values, **overrides})


def _known(what: str, name: Any, names: list[str]) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what}: got {shown(name)}, expected one of {', '.join(names)}")
    if name not in names:
        raise ValueError(f"{what}: got {shown(name)}, expected one of {', '.join(names)}{did_you_mean(name, names)}")
