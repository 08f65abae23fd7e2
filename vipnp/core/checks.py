"""Checks of numbers and host arrays that several parts share; the errors name the argument, what came, what was due."""

from __future__ import annotations

import difflib
import importlib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import category

import numpy as np

LONGEST_SHOWN = 80
"""Characters of a value that an error prints; of what is longer, and of arrays, it names the type."""


MOST_LISTED = 3
"""Names of many that an error prints."""


def shown(value: object) -> str:
    """`value` as an error prints it: as Python writes it where that is short, else its type. No array is printed."""
    if hasattr(value, "__array__") and not isinstance(value, (np.generic, type)):
        return type(value).__name__
    try:
        text = repr(value)
    except Exception:  # a foreign __repr__, or an integer too long to be written
        return type(value).__name__
    return text if len(text) <= LONGEST_SHOWN and "array(" not in text else type(value).__name__


def one_line(text: str) -> str:
    """A text as a terminal may have it: what is neither printable nor a space, which it would obey, as Python escapes
    it."""
    return "".join(c if c.isprintable() or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def printable(name: object) -> str:
    """A foreign name, such as that of a tensor in a file, as an error prints it: as `one_line`, and without the middle
    of what is long."""
    text = one_line(str(name))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:38]}...{text[-38:]}"


def listed(names: Iterable[object]) -> str:
    """The first of many foreign names, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - MOST_LISTED
    return ", ".join(map(printable, all_names[:MOST_LISTED])) + (f" and {more} more" if more > 0 else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What ends an error's line: " (did you mean 'the nearest of the known names'?)", or "" where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_library(option: str, module: str, *, extra: str) -> None:
    """Raise ImportError, naming the extra of vipnp to install, where the library that `option` needs is missing."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{option} needs {module.split(".")[0]}: pip install "vipnp[{extra}]"') from error


def check_real(
    name: str, value: Any, *, low: float, high: float = math.inf, low_included: bool = True, high_included: bool = False
) -> float:
    """`value` as a Python float, which never changes the dtype of an array it meets, as a NumPy scalar may.

    Raises TypeError unless `value` is a real number, ValueError unless it lies between `low` and `high`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: got {shown(value)}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.nan  # too large for a float, and so in no interval
    if not (low < number < high or (low_included and number == low) or (high_included and number == high)):
        ends = "[" if low_included else "(", "]" if high_included else ")"
        raise ValueError(f"{name}: got {shown(value)}, expected a number in {ends[0]}{low}, {high}{ends[1]}")
    return number


def is_whole(value: object) -> bool:
    """Whether `value` is an integer, of Python or NumPy; a bool is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_whole(name: str, value: Any, *, low: int, high: float = math.inf) -> int:
    """`value` as a Python int; raises TypeError unless it is an integer, ValueError unless low <= value <= high."""
    if not is_whole(value):
        raise TypeError(f"{name}: got {shown(value)}, expected an integer")
    number = int(value)
    if number < low:
        raise ValueError(f"{name}: got {shown(value)}, expected an integer >= {low}")
    if number > high:
        raise ValueError(f"{name}: got {shown(value)}, expected an integer in [{low}, {high}]")
    return number


def check_flag(name: str, value: Any) -> bool:
    """`value` as a Python bool; raises TypeError unless it is one, or NumPy's."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: got {shown(value)}, expected True or False")
    return bool(value)


def check_dtype(value: Any, known: Sequence[str]) -> str:
    """The name of a dtype, given as that, as NumPy's dtype or as NumPy's type, such as numpy.float32.

    Raises ValueError unless it is one of `known`.
    """
    named = isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic))
    name = np.dtype(value).name if named else value
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"dtype: got {shown(value)}, expected one of {', '.join(known)}")
    return str(name)


def check_generator(rng: Any) -> None:
    """Raise TypeError unless `rng` is a numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng: got {type(rng).__name__}, expected a numpy.random.Generator")


def check_host_array(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a NumPy array, and not a masked one."""
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got {type(value).__name__}, expected a NumPy array")


def check_host_images(images: Any) -> None:
    """Raise TypeError unless `images` is a NumPy array of float32 or float64, ValueError unless it has 4 axes."""
    check_host_array("images", images)
    if images.dtype not in (np.float32, np.float64):
        raise TypeError(f"images: got dtype {images.dtype}, expected float32 or float64")
    if images.ndim != 4:
        raise ValueError(f"images: got shape {images.shape}, expected (B, channels, height, width)")


def check_classes(name: str, classes: Any, num_classes: int) -> None:
    """Raise TypeError unless `classes` is a NumPy array of integers, ValueError unless all are in [0, num_classes)."""
    check_host_array(name, classes)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"{name}: got dtype {classes.dtype}, expected integers")
    if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(
            f"{name}: got values from {classes.min()} to {classes.max()}, expected classes in [0, {num_classes})"
        )


def check_labels(labels: Any, count: int, num_classes: int) -> None:
    """Raise ValueError unless there is a class for each of `count` >= 1 images; TypeError as `check_classes`."""
    check_host_array("labels", labels)
    if count == 0 or labels.shape != (count,):
        raise ValueError(
            f"labels: got shape {labels.shape} for {count} images, expected one label an image, and at least one image"
        )
    check_classes("labels", labels, num_classes)
