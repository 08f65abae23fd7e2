"""Checks that the optimisers share; the errors name the argument, what came and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vipnp.core import Array, Backend
from vipnp.core.checks import MOST_LISTED, listed, shown
from vipnp.core.flat import FlatTensors, layout


def check_backend(xp: Any) -> None:
    """Raise TypeError if `xp` is no backend."""
    if not isinstance(xp, Backend):
        hint = "; parameters are given to update, not to the optimizer" if isinstance(xp, Mapping | Iterable) else ""
        raise TypeError(f"xp: got {shown(xp)}, expected a Backend such as vipnp.get_backend returns{hint}")


def check_owned(xp: Any, name: str, tensors: Any) -> None:
    """Raise TypeError unless `tensors` is a mapping whose values are arrays of the backend `xp`, on its device."""
    check_backend(xp)
    if not isinstance(tensors, Mapping):
        raise TypeError(f"{name}: got {type(tensors).__name__}, expected a mapping from names to arrays")
    parts = {tensors.order[0]: tensors.flat} if isinstance(tensors, FlatTensors) else tensors
    for key, tensor in parts.items():
        if not xp.owns(tensor):
            raise TypeError(
                f"{name}: {key} is of type {type(tensor).__module__}.{type(tensor).__name__}, expected an array of "
                f"backend {xp.name!r}" + ("" if xp.device is None else f" on {xp.device}")
            )


def check_gradients(xp: Backend, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
    """Raise TypeError for arrays that are not of `xp`, ValueError unless every parameter has a gradient of its shape
    and dtype, and nothing else has one."""
    check_owned(xp, "params", params)
    check_owned(xp, "grads", grads)
    problems = _differences(params, grads)
    if problems:
        raise ValueError(f"grads: {'; '.join(problems)}; expected one gradient like each of the parameters")


def check_state(params: Mapping[str, Array], state: Mapping[str, Mapping[str, Array]]) -> None:
    """Raise ValueError unless every part of the state of an optimiser, by its name, is like the parameters."""
    for part, tensors in state.items():
        problems = _differences(params, tensors)
        if problems:
            raise ValueError(
                f"params: the {part} of the earlier steps differs from them: {'; '.join(problems)}; other parameters "
                "need a new optimizer"
            )


def _differences(params: Mapping[str, Array], others: Mapping[str, Array]) -> list[str]:
    expected, found = layout(params), layout(others)
    if found == expected:
        return []
    kinds = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
    }
    problems = [f"{kind} {listed(names)}" for kind, names in kinds.items() if names]
    unlike = []
    for name in expected:
        if name in found and found[name] != expected[name]:
            (shape, dtype), (own_shape, own_dtype) = found[name], expected[name]
            unlike.append(f"{name} is {dtype} {tuple(shape)}, its parameter {own_dtype} {tuple(own_shape)}")
    problems += unlike[:MOST_LISTED]
    if unlike[MOST_LISTED:]:
        problems.append(f"{len(unlike) - MOST_LISTED} more like these")
    return problems
