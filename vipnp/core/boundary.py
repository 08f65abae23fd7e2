"""Arrays from outside: checked where they enter the library, uploaded once.

Host values are checked in full; arrays already on the backend's device by shape and dtype alone, because looking at
their values would make the host wait for the device.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from vipnp.core.backend import Array, Backend, HostArray

SUM_TOLERANCE = 1e-4
"""How far the sum of a target distribution may be from one: float32 targets over many classes round that much."""

RAW = (32, 2**16)
"""Images without a negative value whose largest is between these are pixels as a file has them, of 8 or 16 bits."""


def receive_images(xp: Backend, images: Any, shape: tuple[int, int, int], dtype: str) -> Array:
    """Images (B, channels, height, width) of `dtype`, on the device of `xp`.

    Raises TypeError for a foreign array or another dtype, ValueError for another shape, an empty batch, and NaN or
    infinity in host images. Warns of host images with values as in 0 to 255.
    """
    array, on_host = _receive(xp, "images", images)
    expected = f"(B, {', '.join(map(str, shape))}) with B >= 1"
    if array.ndim != 4 or tuple(array.shape[1:]) != shape or array.shape[0] == 0:
        raise ValueError(f"images: got shape {tuple(array.shape)}, expected {expected}")
    _check_dtype(xp, "images", array, dtype, on_host)
    if on_host:
        _check_finite("images", array)
        low, high = array.min(), array.max()
        if low >= 0 and RAW[0] < high < RAW[1]:
            warnings.warn(
                f"images: got values from {low:g} to {high:g}, expected normalised pixels, about -3 to 3 or 0 to 1",
                stacklevel=4,
            )
    return xp.asarray(array)


def receive_labels_or_targets(
    xp: Backend, targets: Any, batch: int, classes: int, dtype: str
) -> tuple[Array | None, Array | None]:
    """(labels, None) for integer labels (B,), (None, targets) for distributions (B, K) of `dtype`.

    Raises TypeError for a foreign array or a wrong dtype, ValueError for a wrong shape, host labels outside [0, K), and
    host targets that are negative, not finite or do not sum to one.
    """
    array, on_host = _receive(xp, "targets", targets)
    shape = tuple(array.shape)
    if shape == (batch, classes):
        _check_dtype(xp, "targets", array, dtype, on_host)
        if on_host:
            check_distributions("targets", array)
        return None, xp.asarray(array)
    if shape != (batch,):
        raise ValueError(
            f"targets: got shape {shape}, expected labels ({batch},) or distributions ({batch}, {classes})"
        )
    is_integer = array.dtype.kind in "iu" if on_host else xp.isdtype(array.dtype, "integral")
    if not is_integer:
        raise TypeError(f"targets: got labels of dtype {array.dtype}, expected integers")
    if on_host:
        if array.min() < 0 or array.max() >= classes:
            raise ValueError(
                f"targets: got labels from {array.min()} to {array.max()}, expected labels in [0, {classes})"
            )
        array = array.astype(np.int64)
    return xp.asarray(array), None


def receive_parameter(xp: Backend, name: str, value: Any, dtype: str) -> Array:
    """A parameter of `dtype` on the device of `xp`, always a copy; `value` as for `host_parameter`.

    Raises what `host_parameter` raises, and ValueError where a number is not finite in `dtype`.
    """
    with np.errstate(over="ignore"):
        array = host_parameter(xp, name, value).astype(dtype, order="C", copy=True)
    _check_finite(name, array)
    return xp.asarray(array)


def host_parameter(xp: Backend, name: str, value: Any) -> HostArray:
    """`value` as a host array of floating-point numbers.

    `value` is an array of NumPy or of `xp`, or anything with `__array__` or DLPack. Raises TypeError where it is none
    of these, cannot be read or does not hold real floating-point numbers.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected every number to be there")
    try:
        if xp.owns(value):
            array = np.asarray(xp.to_numpy(value))
        elif hasattr(value, "__array__"):
            array = np.asarray(value)
        elif hasattr(value, "__dlpack__"):
            array = np.from_dlpack(value)
        else:
            array = None
    except (TypeError, RuntimeError, ValueError, BufferError) as error:
        raise TypeError(f"{name}: NumPy cannot read this {type(value).__name__}: {error}") from error
    if array is None:
        raise TypeError(
            f"{name}: got {type(value).__name__}, expected a NumPy array or an object with __array__ or __dlpack__"
        )
    if array.dtype.kind != "f":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected floating-point numbers")
    return array


def check_distributions(name: str, targets: HostArray) -> None:
    """Raises ValueError unless every row of `targets`, (B, K), is a distribution over the K classes."""
    _check_finite(name, targets)
    if targets.min() < 0:
        raise ValueError(f"{name}: got a negative entry {targets.min()}, expected distributions over the classes")
    sums = targets.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > SUM_TOLERANCE:
        raise ValueError(f"{name}: row {worst} sums to {sums[worst]:.6g}, expected 1")


def check_rng(rng: object) -> None:
    """Raises TypeError unless `rng` is None or a numpy.random.Generator."""
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {type(rng).__name__}, expected a numpy.random.Generator or None")


def _receive(xp: Backend, name: str, value: Any) -> tuple[Any, bool]:
    """`value` as an array, and whether it is one of the host."""
    if xp.owns(value) and not isinstance(value, np.ndarray):
        return value, False
    if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__"):
        where = f" on device {value.device}" if hasattr(value, "device") else ""
        raise TypeError(
            f"{name}: got an array of type {type(value).__module__}.{type(value).__name__}{where}, expected a NumPy "
            f"array or an array of backend {xp.name!r}"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected every number to be there")
    if type(value) is not np.ndarray:
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name}: got a sequence of unequal lengths, expected an array") from error
    if value.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {value.dtype}, expected numbers")
    return value, True


def _check_dtype(xp: Backend, name: str, array: Any, dtype: str, on_host: bool) -> None:
    expected = np.dtype(dtype) if on_host else getattr(xp, dtype)
    if array.dtype != expected:
        raise TypeError(f"{name}: got dtype {array.dtype}, expected {dtype}, the dtype of the model")


def _check_finite(name: str, array: HostArray) -> None:
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"{name}: {len(bad)} of {array.size} values are NaN or infinite (the first at index "
            f"{tuple(map(int, bad[0]))}), expected finite numbers"
        )
