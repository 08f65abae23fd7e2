"""Training that begins from weights of another run: which they are, and how fast each of them learns."""

from __future__ import annotations

import dataclasses
import logging
import re

from vipnp.checkpoint import load_metadata, load_weights
from vipnp.core import Backend, HostArray
from vipnp.models import PUBLISHED, ViPConfig, VisionPermutator, load, parameter_shapes
from vipnp.models.saved import prefix_of
from vipnp.train.saved import check_no_state
from vipnp.train.settings import TINY, Settings, tiny_size

_log = logging.getLogger("vipnp")


def starting_model(settings: Settings, classes: tuple[str, ...], backend: Backend) -> VisionPermutator:
    """The model of `settings` with the weights of its file, fitted to its images and classes; what was done is said
    through the logger "vipnp". A head for other classes is drawn from the seed.

    Raises FileNotFoundError, or ValueError where the file holds another model.
    """
    config = settings.config(len(classes))
    try:
        check_no_state("--weights", settings.weights)
        if settings.model == TINY:
            _check_patch(settings, config)
        found = load(
            settings.weights,
            name=settings.model if settings.model in PUBLISHED else None,
            backend=backend,
            dtype=settings.precision,
            image_size=settings.img_size,
            in_channels=settings.channels,
            num_classes=len(classes),
            seed=settings.seed,
        )
    except ValueError as error:
        tensors = _of_the_options(settings.weights, config)
        if tensors is not None:
            return VisionPermutator.from_weights(config, tensors, backend=backend, dtype=settings.precision)
        raise ValueError(re.sub("^path:", "--weights:", str(error))) from error
    if found.classes not in (None, classes):
        found.reset_classifier(len(classes), seed=settings.seed)
        _log.warning("classes: other names than the file's: the head is new and has to be trained")
    theirs = dataclasses.asdict(dataclasses.replace(found.config, drop_path=config.drop_path, dropout=config.dropout))
    ours = dataclasses.asdict(config)
    others = [f"{name} {theirs[name]}, expected {ours[name]}" for name in ours if theirs[name] != ours[name]]
    if others:
        raise ValueError(f"{_another(settings)}: {'; '.join(others)}")
    return VisionPermutator.from_weights(config, found.state_dict(), backend=backend, dtype=settings.precision)


def _of_the_options(path: str, config: ViPConfig) -> dict[str, HostArray] | None:
    """The weights of a file that says nothing of their model, where they fit the one that was asked for."""
    try:
        held, described = load_weights(path), load_metadata(path)
    except ValueError:
        return None
    prefix = prefix_of(held)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in held.items()}
    fits = {name: tensor.shape for name, tensor in tensors.items()} == parameter_shapes(config)
    return tensors if fits and not {"config", "classes", "transform"} & described.keys() else None


def _check_patch(settings: Settings, config: ViPConfig) -> None:
    """Raise ValueError where `vip_tiny` has other patches for these images than the model in the file, naming a size
    for which it has those."""
    theirs = load_metadata(settings.weights).get("config")
    patch = theirs.get("patch_size") if isinstance(theirs, dict) else None
    if type(patch) is not int or patch in range(2) or patch == config.patch_size:
        return  # or `load` says what is wrong
    height, width = tiny_size(patch, settings.img_size)
    raise ValueError(
        f"{_another(settings)}: patch_size {patch}, expected {config.patch_size}; it is {patch} with --img-size "
        f"{height} {width}"
    )


def _another(settings: Settings) -> str:
    height, width = settings.img_size
    return f"--weights: {settings.weights} holds another model than {settings.model} for images of {height} x {width}"


def learning_rate_factors(config: ViPConfig, backbone_lr: float, layer_decay: float) -> dict[str, float]:
    """Official name -> factor on its learning rate, for every weight that is trained at all.

    The head and the last norm have layer_decay to the power 0, the last block 1, the one before it 2, and so on down to
    the patch embedding; a downsampling counts with the block after it. All but the head have the factor `backbone_lr`
    besides. With `backbone_lr` 0 only the head is there.
    Source: Clark, Luong, Le, Manning, "ELECTRA", arXiv 2003.10555, for the decay.
    """
    blocks = [(shape.place, i) for shape in config.stages() for i in range(shape.depth)]
    factors = {}
    for name in parameter_shapes(config):
        part, *rest = name.split(".")
        below = 0
        if part == "patch_embed":
            below = len(blocks) + 1
        elif part == "network":
            place = (int(rest[0]), int(rest[1]) if rest[1].isdigit() else -1)
            below = sum(block >= place for block in blocks)
        factor = layer_decay**below * (1.0 if part == "head" else backbone_lr)
        if factor > 0:
            factors[name] = factor
    return factors
