"""Which constants of an op another size may spoil: a right op may ask more of them than anyone here knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.saves import PLAIN, axes_of, held_by
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_leaves


def bound_to(array: HostArray, old: int, new: int) -> bool:
    """Whether a constant may belong to the size `old` alone: integers that `new` is too short for, such as labels, or
    counts up to the size; permutations along an axis; distributions that would lose a part."""
    if array.dtype.kind not in "iu" or not array.size:
        return _loses_a_part(array, old, new)
    too_long = new < old and bool(new <= array.max() <= old)
    return too_long or _permutes(array, old) or _loses_a_part(array, old, new)


def _permutes(array: HostArray, size: int) -> bool:
    """Whether every line along an axis of this size is a permutation of it."""
    axes = [axis for axis, found in enumerate(array.shape) if found == size]
    return any(np.array_equal(np.sort(array, axis), np.indices(array.shape)[axis]) for axis in axes)


def _loses_a_part(array: HostArray, old: int, new: int) -> bool:
    return new < old and any(
        size == old and is_distribution(array, axis) and not is_distribution(array.take(range(new), axis), axis)
        for axis, size in enumerate(array.shape)
    )


def doubtful(subject: Subject, old: int, new: int) -> str:
    """The names of the constants that may not be what they were at another size. What an op holds, and a list or tuple
    such as labels, stays as long as it is."""
    axes = max(array.ndim for _, array in subject.named)
    objects = [constant for _, constant in tree_leaves(subject.kwargs) if not isinstance(constant, PLAIN)]
    found = [pair for thing in (subject.op, *objects) for pair in held_by(thing)]
    held = [name for name, constant in found if _is_held(constant, old, new, axes)]
    lists = [name for name, constant in subject.kwargs.items() if _is_list_of(constant, old, axes)]
    leaves = [name for name, constant in tree_leaves(subject.kwargs) if _is_spoilt(constant, old, new)]
    return ", ".join(dict.fromkeys([*held, *lists, *leaves]))


def _is_held(constant: Any, old: int, new: int, axes: int) -> bool:
    """Whether an array or a list along a size is held, or an index that may belong to it."""
    if axes_of(constant):
        return old in axes_of(constant)
    return _is_index(constant, old, new) or _is_list_of(constant, old, axes)


def _is_list_of(constant: Any, size: int, axes: int) -> bool:
    """Whether a list, tuple or range of this length is a constant, or stands in it; a tuple of axes is none."""
    if isinstance(constant, Mapping):
        return any(_is_list_of(part, size, axes) for part in constant.values())
    if not isinstance(constant, (list, tuple, range)):
        return False
    if isinstance(constant, tuple) and all(isinstance(i, int) and -axes <= i < axes for i in constant):
        return False
    return len(constant) == size or any(_is_list_of(part, size, axes) for part in constant)


def _is_spoilt(constant: Any, old: int, new: int) -> bool:
    """Whether a constant may belong to a size: an index, or an array along it, of another library, of integers in order
    or of floating-point numbers other than masks of zeros and ones and distributions."""
    if not isinstance(constant, np.ndarray):
        return _is_index(constant, old, new) or old in axes_of(constant)
    if old in constant.shape and constant.dtype.kind == "f":
        mask = np.all((constant == 0) | (constant == 1))
        return not (mask or any(is_distribution(constant, axis) for axis in range(constant.ndim)))
    of_one_axis = constant.dtype.kind in "iu" and constant.shape == (old,) and old > 2
    return of_one_axis and bool(np.all(constant[1:] >= constant[:-1]))


def _is_index(constant: Any, old: int, new: int) -> bool:
    """Whether a constant is an integer below the one size and not below the other."""
    return isinstance(constant, (int, np.integer)) and not isinstance(constant, bool) and bool(new <= constant < old)


def is_distribution(array: HostArray, axis: int) -> bool:
    """Whether the entries along an axis are not negative and sum to one."""
    return array.dtype.kind in "fiub" and bool(np.all(array >= 0) and np.allclose(array.sum(axis=axis), 1, atol=1e-9))
