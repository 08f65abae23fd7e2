"""A trained model from its run folder or weight file, with its classes and its transform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipnp.checkpoint import load_metadata
from vipnp.core.checks import did_you_mean
from vipnp.core.files import check_path
from vipnp.data.transforms import Transform
from vipnp.models import PUBLISHED, VisionPermutator, load
from vipnp.train.folder import CONTENTS, COUNTERS

BEST, LAST = "best.safetensors", "last.safetensors"
"""The weights that a run writes."""
DIVISION = "division"
"""The key in their metadata of the share and the seed by which the images of the run were divided."""


@dataclass(frozen=True)
class SavedModel:
    """A model with the names of its classes and its evaluation transform."""

    model: VisionPermutator
    classes: tuple[str, ...]
    transform: Transform


def weight_file(name: str, path: Path) -> Path:
    """`path`, or of a run folder its best weights. Raises FileNotFoundError, naming the argument, where a folder has
    none."""
    if not path.is_dir():
        return path
    if not (path / BEST).is_file():
        raise FileNotFoundError(f"{name}: {path} holds no {BEST}: it is no run folder, or its first epoch is not over")
    return path / BEST


def load_model(source: str | Path, *, weights: Path | None = None, backend: Any = "numpy") -> VisionPermutator:
    """The model in a run folder (its best weights) or in a weight file; or a published model by its name with a weight
    file.

    Raises FileNotFoundError, or ValueError saying what is wrong with the file.
    """
    path = Path(check_path("model", source))
    if str(source) in PUBLISHED:
        if weights is None:
            raise ValueError(f"model: {source} is a published model and needs its weights: --weights FILE")
        if not weights.is_file():
            raise FileNotFoundError(f"--weights: there is no file {str(weights)!r}")
        return load(weights, name=str(source), backend=backend)
    if weights is not None:
        raise ValueError(f"--weights: belongs to a published name, and {str(source)!r} is none")
    path = weight_file("model", path)
    if path.exists() and not path.is_file():
        raise ValueError(f"model: {str(source)!r} is a pipe or a device, expected a run folder or a weight file")
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"model: {str(source)!r} is a link to what is not there")
    if not path.is_file():
        raise FileNotFoundError(
            f"model: there is no file or folder {str(source)!r}, expected a run folder, a weight file or a published "
            "name" + did_you_mean(str(source), PUBLISHED)
        )
    check_no_state("model", path)
    return load(path, backend=backend)


def check_no_state(name: str, path: str | Path) -> None:
    """Raise ValueError, naming the argument, for a state of a run."""
    if load_metadata(path).keys() >= COUNTERS:
        raise ValueError(f"{name}: {str(path)!r} is a state to go on from, expected the run's folder or its weights")


def files_of(source: str | Path, weights: Path | None = None) -> list[Path]:
    """The files that `load_model` may read, and what else a run keeps beside them."""
    folder = Path(source).parent if Path(source).is_file() else Path(source)
    of_a_run = [folder / name for name in CONTENTS]
    return [Path(source), *of_a_run, *([] if weights is None else [weights])]


def division_of(file: Path) -> dict[str, Any]:
    """By what share and seed the run that wrote these weights divided its images, as options of `load_data_set`; empty
    where the file does not say it.

    Raises ValueError where it says something else.
    """
    found = load_metadata(file).get(DIVISION, {})
    if not isinstance(found, dict) or found.keys() - {"validation", "seed"}:
        raise ValueError(f"model: {str(file)!r} has metadata of another kind ({DIVISION})")
    return found


def load_saved(source: str | Path, *, weights: Path | None = None, backend: Any = "numpy") -> SavedModel:
    """The model of `load_model` with names of its classes, which are numbers where it has none, and its transform.

    Raises as that, and ValueError where there is no transform to its channels.
    """
    model = load_model(source, weights=weights, backend=backend)
    if model.transform is None:
        raise ValueError(
            f"model: {weights or source} does not say how a picture becomes its {model.config.in_channels} channels: "
            "set model.transform, a vipnp.data.Transform, before model.save"
        )
    return SavedModel(model, model.classes or tuple(map(str, range(model.config.num_classes))), model.transform)
