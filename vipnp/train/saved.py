"""A trained model from its run folder or weight file, with its classes and its transform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipnp.checkpoint import load_metadata, load_weights
from vipnp.data.transforms import Transform
from vipnp.models import PUBLISHED, ViPConfig, VisionPermutator, get_config

BEST = "best.safetensors"


@dataclass(frozen=True)
class SavedModel:
    """A model with the names of its classes and its evaluation transform."""

    model: VisionPermutator
    classes: tuple[str, ...]
    transform: Transform


def load_saved(source: str | Path, *, weights: Path | None = None, backend: Any = "numpy") -> SavedModel:
    """The model in a run folder (its best weights) or in a weight file that a run wrote; or a published model by its
    name with a weight file of its official names.

    Raises FileNotFoundError, or ValueError saying what is wrong with the file.
    """
    if str(source) in PUBLISHED:
        if weights is None:
            raise ValueError(f"model: {source} is a published model and needs its weights: --weights FILE")
        tensors = load_weights(weights)
        outputs = len(tensors["head.bias"]) if "head.bias" in tensors else 1000
        model = VisionPermutator(get_config(str(source), num_classes=outputs), backend=backend)
        model.load_state_dict(tensors)
        transform = Transform(size=model.config.image_size, crop_pct=0.875 if source == "vip_l7" else 0.9, exif=False)
        return SavedModel(model, tuple(map(str, range(outputs))), transform)
    path = Path(source)
    if path.is_dir():
        if not (path / BEST).is_file():
            raise FileNotFoundError(
                f"model: {path} holds no {BEST}: it is no run folder, or its first epoch is not over"
            )
        path = path / BEST
    if not path.is_file():
        raise FileNotFoundError(f"model: got {str(source)!r}, expected a run folder, a weight file or a published name")
    found = load_metadata(path)
    if not {"config", "classes", "transform"} <= set(found):
        raise ValueError(f"model: {path} does not say what model it is: name it and give the file as --weights {path}")
    try:
        config = ViPConfig(**{key: _tupled(value) for key, value in found["config"].items()})
        transform = Transform(**{key: _tupled(value) for key, value in found["transform"].items()})
        classes = tuple(map(str, found["classes"]))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"model: {path} has metadata of another kind ({error})") from error
    if len(classes) != config.num_classes:
        raise ValueError(f"model: {path} names {len(classes)} classes for {config.num_classes} outputs")
    model = VisionPermutator(config, backend=backend)
    model.load_state_dict(load_weights(path))
    return SavedModel(model, classes, transform)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
