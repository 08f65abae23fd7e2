"""Nested structures of arrays: the arguments, parameters, masks and gradients of ops, layers and models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to every array (anything with a shape); dicts, tuples, named tuples and lists keep
    their structure, and everything else (numbers, strings, configurations, None) is left as it is."""
    return _map_leaves(lambda leaf: function(leaf) if _is_array(leaf) else leaf, tree)


def tree_map_reals(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to every NumPy array of floating-point numbers and every Python float in it."""

    def apply(leaf: Any) -> Any:
        is_real = isinstance(leaf, float) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f")
        return function(leaf) if is_real else leaf

    return _map_leaves(apply, tree)


def tree_astype(tree: Any, *dtypes: type) -> Any:
    """`tree` with every array of floating-point numbers in it, sparse ones and scalars of NumPy too, converted to one
    dtype after another; one of complex numbers to that of as many digits."""

    def convert(leaf: Any) -> Any:
        if isinstance(getattr(leaf, "dtype", None), np.dtype) and leaf.dtype.kind in "fc":
            for dtype in dtypes:
                leaf = leaf.astype(dtype if leaf.dtype.kind == "f" else np.result_type(dtype, np.complex64))
        return leaf

    return tree_map(convert, tree)


def tree_leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, leaf) of everything in `tree` that is no container, in order; names are paths joined with dots."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tree_leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, (tuple, list)):
        keys = getattr(tree, "_fields", range(len(tree)))
        for key, value in zip(keys, tree, strict=True):
            yield from tree_leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, tree


def tree_arrays(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, array) of every array in `tree`, in order; names are paths joined with dots."""
    return ((path, leaf) for path, leaf in tree_leaves(tree, name) if _is_array(leaf))


def rebuild(template: Any, values: Iterator[Any]) -> Any:
    """`template` with its leaves replaced, in the order of `tree_leaves`, by what `values` yields."""
    return _map_leaves(lambda _: next(values), template)


def argument_names(op: Callable[..., Any], count: int) -> list[str]:
    """The names of the first `count` positional arguments of `op` after `xp`; those of a starred one are numbered from
    1, as the formulas do: branches_1, branches_2."""
    names: list[str] = []
    try:
        parameters = list(inspect.signature(op).parameters.values())[1:]
    except (TypeError, ValueError):
        parameters = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{i + 1}" for i in range(count - len(names))]
        elif parameter.kind is not parameter.KEYWORD_ONLY and len(names) < count:
            names.append(parameter.name)
    return names + [f"argument_{i + 1}" for i in range(len(names), count)]


def named_leaves(names: Sequence[str], args: Sequence[Any]) -> list[tuple[str, Any]]:
    """The leaves of all arguments: an array by the name of its argument, one in a dict by its path, see `paths`."""
    pairs = zip(paths(names, args), args, strict=True)
    return [leaf for path, argument in pairs for leaf in tree_leaves(argument, path)]


def paths(names: Sequence[str], args: Sequence[Any]) -> list[str]:
    """What the names of the leaves of every argument begin with: its name, but nothing for a dict, since the path of a
    parameter is its name everywhere else (in a checkpoint, say), unless two leaves would be called alike."""
    short = ["" if isinstance(argument, Mapping) else name for name, argument in zip(names, args, strict=True)]
    found = [leaf for path, argument in zip(short, args, strict=True) for leaf, _ in tree_leaves(argument, path)]
    return short if len(set(found)) == len(found) else list(names)


def _is_array(leaf: Any) -> bool:
    """Whether a leaf has a shape; a class such as np.float32, given as a dtype, says that its numbers have one."""
    return hasattr(leaf, "shape") and not isinstance(leaf, type)


def _map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map_leaves(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map_leaves(function, value) for value in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map_leaves(function, value) for value in tree)
    return function(tree)
