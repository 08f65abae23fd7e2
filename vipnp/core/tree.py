"""Nested dicts of parameters and their official names: the path of a tensor, joined with dots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The tensors in nested dicts and their names, the paths joined with dots.

    Parameters
    ----------
    tree : nested dicts of tensors.
    prefix : what every name begins with.

    Returns
    -------
    list of (name, tensor)
        In the order of the dicts.
    """
    flat: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat += flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def unflatten(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The nested dicts whose `flatten` is `tensors`.

    Parameters
    ----------
    tensors : {name: tensor}, the names paths joined with dots.

    Returns
    -------
    dict
        Nested as the names say.
    """
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[last] = tensor
    return tree
