"""Checks of what a model is given: names and shapes of weights, classes and transform, label smoothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, NamedTuple

from vipnp.core import Array, Backend
from vipnp.core.checks import check_flag, check_real, listed, shown
from vipnp.data.transforms import Transform
from vipnp.models.config import ViPConfig
from vipnp.models.initialization import parameter_shapes


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(strict=False)` passed over.

    Attributes
    ----------
    missing : names that the mapping lacks.
    unexpected : names that the model lacks.
    """

    missing: list[str]
    unexpected: list[str]


def description(config: ViPConfig, classes: Sequence[str] | None, transform: Transform | None) -> dict[str, Any]:
    """What a weight file says of the model of `config`, against which the names of the classes and the transform are
    held: {"config", "classes", "transform"}, without those that are None.

    Raises TypeError for classes that are no sequence of strings and what is no transform, ValueError for another number
    of classes than there are outputs and for a transform to another image size or other channels.
    """
    if classes is not None and (isinstance(classes, str | Mapping | Set) or not isinstance(classes, Collection)):
        raise TypeError(f"classes: got {shown(classes)}, expected a sequence of names")
    if transform is not None and not isinstance(transform, Transform):
        raise TypeError(f"transform: got {shown(transform)}, expected a vipnp.data.Transform")
    if classes is not None and len(classes) != config.num_classes:
        raise ValueError(f"classes: got {len(classes)} names for {config.num_classes} outputs")
    if classes is not None and not all(isinstance(label, str) for label in classes):
        raise TypeError(f"classes: got {shown(classes)}, expected strings")
    takes = config.image_size, config.in_channels
    if transform is not None and (transform.size, transform.channels) != takes:
        raise ValueError(
            f"transform: got one to {transform.size} and {transform.channels} channels, expected {takes[0]} and "
            f"{takes[1]}, as the model takes them"
        )
    described = {
        "config": dataclasses.asdict(config),
        "classes": None if classes is None else list(classes),
        "transform": None if transform is None else dataclasses.asdict(transform),
    }
    return {key: value for key, value in described.items() if value is not None}


def differing(config: ViPConfig, tensors: Mapping[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """The names that `tensors` lack of those of the model of `config`, those that it lacks, and those of another
    shape."""
    expected = parameter_shapes(config)
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    shapes = {name: tuple(tensors[name].shape) for name in expected if name in tensors}
    return missing, unexpected, [name for name, shape in shapes.items() if shape != expected[name]]


def check_names(config: ViPConfig, tensors: Mapping[str, Any], *, strict: bool) -> IncompatibleKeys:
    """Hold names and shapes of `tensors` against those of the model of `config`; what strict=False passes over.

    Raises ValueError telling at once of wrong shapes and, with strict=True, missing and unexpected names: the first of
    each kind and how many more there are.
    """
    strict = check_flag("strict", strict)
    expected = parameter_shapes(config)
    missing, unexpected, unlike = differing(config, tensors)
    wrong = [f"{name} {tuple(tensors[name].shape)} instead of {expected[name]}" for name in unlike]
    problems = [f"wrong shapes: {listed(wrong)}"] if wrong else []
    if strict and missing:
        problems.append(f"missing: {listed(missing)}")
    if strict and unexpected:
        problems.append(f"unexpected: {listed(unexpected)}")
    if problems:
        raise ValueError(f"the tensors do not fit the {len(expected)} of this model: " + "; ".join(problems))
    return IncompatibleKeys(missing, unexpected)


def check_arrays(xp: Backend, tensors: Any, dtype: str) -> None:
    """Raises TypeError unless `tensors` is a mapping to arrays of the backend in this dtype, naming the first other."""
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors: got {shown(tensors)}, expected a mapping from names to arrays")
    for name, tensor in tensors.items():
        if not xp.owns(tensor) or tensor.dtype != getattr(xp, dtype):
            raise TypeError(
                f"{name}: got {type(tensor).__name__} of dtype {getattr(tensor, 'dtype', None)}, expected a {dtype} "
                f"array of backend {xp.name!r}"
            )


def checked_smoothing(label_smoothing: Any, distributions: Array | None) -> float:
    """The label smoothing as a float. Raises ValueError out of [0, 1), or where the targets are distributions."""
    smoothing = check_real("label_smoothing", label_smoothing, low=0, high=1)
    if smoothing and distributions is not None:
        raise ValueError(
            f"label_smoothing: got {label_smoothing} with targets that are distributions; smooth the targets themselves"
        )
    return smoothing
