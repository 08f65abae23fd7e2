"""Nested structures of arrays: the arguments, parameters, masks and gradients of ops, layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to every array (anything with a shape); dicts, tuples, named tuples and lists keep
    their structure, and everything else (numbers, strings, configurations, None) is left as it is."""
    if isinstance(tree, Mapping):
        return {key: tree_map(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(function, value) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(function, value) for value in tree)
    return function(tree) if hasattr(tree, "shape") else tree


def tree_arrays(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, array) of every array in `tree`, in order; names are paths joined with dots."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tree_arrays(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, (tuple, list)):
        keys = getattr(tree, "_fields", range(len(tree)))
        for key, value in zip(keys, tree, strict=True):
            yield from tree_arrays(value, f"{name}.{key}" if name else str(key))
    elif hasattr(tree, "shape"):
        yield name, tree
