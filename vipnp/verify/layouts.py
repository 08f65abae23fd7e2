"""The memory layouts in which an op may meet its arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vipnp.core import HostArray


def _fortran(array: HostArray) -> HostArray:
    return np.array(array, order="F")


def _gapped(array: HostArray) -> HostArray:
    """Every second entry, along every axis, of an array with other numbers between."""
    if not array.ndim:
        return array
    wide = np.full(tuple(2 * size for size in array.shape), 7.5)
    view = wide[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _backwards(array: HostArray) -> HostArray:
    if not array.ndim:
        return array
    reverse = (slice(None, None, -1),) * array.ndim
    return array[reverse].copy()[reverse]


def _read_only(array: HostArray) -> HostArray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[HostArray], HostArray]] = {
    "Fortran-ordered": _fortran,
    "gapped": _gapped,
    "reversed": _backwards,
    "read-only": _read_only,
}
