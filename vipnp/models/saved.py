"""Models in files: a model with all that is needed to use it, and published weights from wherever they come."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vipnp.backends import Backend
from vipnp.checkpoint import load_metadata, load_weights
from vipnp.core import HostArray
from vipnp.core.checks import check_whole, listed, one_line, shown
from vipnp.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Transform
from vipnp.models.checks import differing
from vipnp.models.config import PUBLISHED, PUBLISHED_CROP_PCT, ViPConfig, get_config
from vipnp.models.initialization import parameter_shapes
from vipnp.models.model import VisionPermutator

_log = logging.getLogger("vipnp")

NO_CONFIGURATION = (
    "for a model of your own, load the file that model.save wrote, which holds its configuration, or give it: "
    "vipnp.VisionPermutator(config).load_state_dict(vipnp.checkpoint.load_weights(path))"
)
"""What to do with weights that do not say what they belong to."""

HEAD = frozenset({"head.weight", "head.bias"})
"""What weights of a backbone alone lack."""

SAID = ("num_classes", "in_channels", "image_size")
"""Of these it is said where weights of a published model have others than the published ones."""

LONGEST_REASON = 400
"""Characters of an error that another one quotes."""


def load(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    backend: str | Backend = "numpy",
    dtype: str | None = None,
    image_size: tuple[int, int] | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> VisionPermutator:
    """The model in a file: one that `VisionPermutator.save` wrote, or weights of a published model in any format that
    `vipnp.checkpoint.load_weights` reads, PyTorch's among them.

    Weights of another number of classes, of channels or of another image size than the published model's are taken as
    they are, and whatever is not as published or not as in the file is said through the logger "vipnp".

    Parameters
    ----------
    path : of the file.
    name : of the published model, checked against the file; None finds it.
    backend, dtype : of the model; by default the dtype of the weights.
    image_size : (height, width) of the images, pixels; the mixing matrices are carried over
        (`VisionPermutator.at_resolution`).
    in_channels : of the images. The weights of the patch embedding are summed over channels, or repeated in turn and
        shared by the copies, so that an image of equal channels gives the same as before.
    num_classes, seed : of a new head, and of its weights, where the file has another number of classes or no head.

    Returns
    -------
    The model. Its `classes` and `transform` are those of the file; of published weights the transform is the one of
    their evaluation, and classes have no names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no whole weight file, fits no published model or another than `name`, or says of itself what is not so.
    TypeError
        For a path that is neither a string nor a path, a name that is no string, an image size that is no pair.
    """
    if image_size is not None and not (isinstance(image_size, tuple | list) and len(image_size) == 2):
        raise TypeError(f"image_size: got {shown(image_size)}, expected (height, width)")
    if name is not None:
        get_config(name)
    if num_classes is not None:
        num_classes = check_whole("num_classes", num_classes, low=1)
    seed = check_whole("seed", seed, low=0)
    tensors, found = load_weights(path), load_metadata(path)
    if prefix := prefix_of(tensors):
        _log.warning("names: %r is taken off every one of them", prefix)
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    where = f"path: {os.fspath(path)!r}"
    headless = "config" not in found and "norm.weight" in tensors and not HEAD & tensors.keys()
    if "config" in found:
        config, classes, transform = _described(where, found, tensors)
        if name is not None and published_model(tensors) != (
            name,
            dataclasses.replace(config, drop_path=0.0, dropout=0.0),
        ):
            raise ValueError(f"{where} holds a model of its own, not {name}: load it without a name")
    else:
        if headless and num_classes is not None:
            head = tensors["norm.weight"].reshape(1, -1)  # of the shape of one class, to be replaced
            tensors = {**tensors, "head.weight": head, "head.bias": head[:, 0]}
        name, config = _published(where, tensors, name)
        classes, transform = None, _published_transform(name, config)
        _say_what_differs(name, config, ("in_channels", "image_size") if headless else SAID)
    if in_channels is not None and check_whole("in_channels", in_channels, low=1) != config.in_channels:
        fitted = dataclasses.replace(config, in_channels=in_channels)  # refuses more weights than a model may have
        weight = tensors["patch_embed.proj.weight"]
        tensors = {**tensors, "patch_embed.proj.weight": with_channels(weight, in_channels)}
        how = "summed over" if in_channels < config.in_channels else "repeated and scaled for"
        _log.warning("input channels: %d instead of the file's %d: the weights of the patch embedding are %s them",
                     in_channels, config.in_channels, how)  # fmt: skip
        config = fitted
        transform = None if transform is None else _for_channels(transform, in_channels)
    if dtype is None:
        dtype = "float64" if all(tensor.dtype == "float64" for tensor in tensors.values()) else "float32"
    model = VisionPermutator.from_weights(config, tensors, backend=backend, dtype=dtype)
    model.classes, model.transform = classes, transform
    if image_size is not None and tuple(image_size) != config.image_size:
        model = model.at_resolution(*image_size)
        _log.warning("image size: %d x %d instead of the file's %d x %d: the mixing matrices are interpolated",
                     *image_size, *config.image_size)  # fmt: skip
    if num_classes is not None and (headless or num_classes != config.num_classes):
        model.reset_classifier(num_classes, seed=seed)
        _log.warning("classes: %d instead of the file's %s: the head is new and has to be trained",
                     num_classes, "none" if headless else config.num_classes)  # fmt: skip
    return model


def with_channels(weight: HostArray, channels: int) -> HostArray:
    """The weight (C, channels, P, P) of a patch embedding from that of another number of channels: each in turn goes to
    the next of the new ones, which share it where several get the same, or get the sum of several."""
    old = weight.shape[1]
    fitted: HostArray = weight[:, [new % old for new in range(channels)]]
    for channel in range(channels, old):
        fitted[:, channel % channels] += weight[:, channel]
    for new in range(channels):
        fitted[:, new] /= len(range(new % old, channels, old))
    return fitted


# --- what a file says of itself ---------------------------------------------------------------------------------------


def _described(
    where: str, found: Mapping[str, Any], tensors: Mapping[str, HostArray]
) -> tuple[ViPConfig, tuple[str, ...] | None, Transform | None]:
    """Configuration, classes and transform from the metadata, held against the tensors."""
    try:
        config = ViPConfig(**{key: _tupled(value) for key, value in found["config"].items()})
        transform = found.get("transform")
        if transform is not None:
            transform = Transform(**{key: _tupled(value) for key, value in transform.items()})
    except (TypeError, AttributeError, ValueError) as error:
        reason = one_line(str(error))  # which may name what the file holds in full
        reason = reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
        raise ValueError(f"{where} has metadata of another kind ({reason})") from error
    classes = found.get("classes")
    if classes is not None:
        if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
            raise ValueError(f"{where} has metadata of another kind (classes that are no list of names)")
        if len(classes) != config.num_classes:
            raise ValueError(f"{where} names {len(classes)} classes for {config.num_classes} outputs")
        classes = tuple(classes)
    if transform is not None and (transform.size, transform.channels) != (config.image_size, config.in_channels):
        raise ValueError(f"{where} has a transform to another image size or other channels than its model's")
    blocks = sum(config.layers)
    # Compared first: to write out the names of a forged number of blocks could take forever.
    differences = f"; {blocks} blocks" if blocks > len(tensors) else _differences(config, tensors)
    if differences:
        raise ValueError(f"{where} has other tensors than the model that it describes{differences}")
    return config, classes, transform


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# --- published weights ------------------------------------------------------------------------------------------------


def _published(where: str, tensors: Mapping[str, HostArray], name: str | None) -> tuple[str, ViPConfig]:
    """The published model that the tensors fit, which must be `name` if one is given."""
    fits = published_model(tensors)
    if fits is not None and name in (None, fits[0]):
        return fits
    if fits is not None:
        raise ValueError(f"{where} holds weights of {fits[0]}, not of {name}")
    nearest = name or min(PUBLISHED, key=lambda known: sum(map(len, differing(PUBLISHED[known], tensors))))
    others = sum(map(len, differing(PUBLISHED[nearest], tensors)))
    if name is None and 2 * others > len(parameter_shapes(PUBLISHED[nearest])):  # a model of somebody's own
        raise ValueError(f"{where} fits no published model; {NO_CONFIGURATION}")
    what = f"does not fit {name}" if name else f"fits no published model; nearest is {nearest}"
    differences = _differences(PUBLISHED[nearest], tensors)
    if HEAD.isdisjoint(tensors):
        differences += "; vipnp.load(..., num_classes=...) and vipnp train --weights give a backbone a new head"
    raise ValueError(f"{where} {what}{differences}; {NO_CONFIGURATION}")


def prefix_of(names: Collection[str]) -> str:
    """What a training framework has put before every one of the official names: "model." as Lightning does, or
    "backbone."; "" for nothing."""
    official = {name.partition(".")[0] for name in parameter_shapes(next(iter(PUBLISHED.values())))}
    first = next(iter(names), "").split(".")
    begins = next((i for i, part in enumerate(first) if part in official), 0)
    taken = "".join(f"{part}." for part in first[:begins])
    fits = (name.startswith(taken) and name.removeprefix(taken).partition(".")[0] in official for name in names)
    return taken if all(fits) else ""


def published_model(tensors: Mapping[str, HostArray]) -> tuple[str, ViPConfig] | None:
    """The published model that weights belong to, whatever their classes, channels and image size.

    Parameters
    ----------
    tensors : {name: host array}.

    Returns
    -------
    (str, ViPConfig) or None
        Its name, and its configuration with the classes, channels and image size of the tensors; None where names or
        shapes are those of no published model.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    for name, published in PUBLISHED.items():
        segment = published.embed_dims[0] // published.segments[0]
        try:
            sides = [shapes[f"network.0.0.attn.{place}.weight"][0] for place in ("mlp_h", "mlp_w")]
            height, width = (side // segment * published.patch_size for side in sides)
            config = get_config(
                name,
                num_classes=shapes["head.bias"][0],
                in_channels=shapes["patch_embed.proj.weight"][1],
                image_size=(height, width),
            )
        except (KeyError, IndexError, ValueError):
            continue
        if shapes == parameter_shapes(config):
            return name, config
    return None


def _differences(config: ViPConfig, tensors: Mapping[str, HostArray]) -> str:
    """How many names differ, and the first few of each kind; empty where none does."""
    missing, unexpected, unlike = differing(config, tensors)
    expected = parameter_shapes(config)
    shapes = [f"{name} {tensors[name].shape}, not {expected[name]}" for name in unlike]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return "".join(f"; {len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names)


def _published_transform(name: str, config: ViPConfig) -> Transform | None:
    """As the published model is evaluated."""
    transform = Transform(size=config.image_size, crop_pct=PUBLISHED_CROP_PCT[name], exif=False)
    return _for_channels(transform, config.in_channels)


def _for_channels(transform: Transform, channels: int) -> Transform | None:
    """`transform` for colour or grey images, by mean and deviation of ImageNet; None for any other."""
    if channels == transform.channels:
        return transform
    if channels == 3:
        return dataclasses.replace(transform, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    if channels == 1:
        mean, std = (sum(values) / len(values) for values in (transform.mean, transform.std))
        return dataclasses.replace(transform, channels=1, mean=(mean,), std=(std,))
    return None


def _say_what_differs(name: str, config: ViPConfig, said: Sequence[str]) -> None:
    published = PUBLISHED[name]
    for what in said:
        if (here := getattr(config, what)) != (there := getattr(published, what)):
            _log.warning("%s: the weights have %s = %s, as published it is %s", name, what, here, there)
