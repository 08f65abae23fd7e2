"""CIFAR-10 and CIFAR-100, each in the binary version and in that of Python's pickles, which are not run.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the page of its data.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.core.pickles import Language, Name, carried_out, expect

SIDE = 32
PIXELS = 3 * SIDE**2
"""Bytes of a picture, channel by channel."""

MOST_BYTES = 60_000 * (2 + PIXELS) + 10_000_000
"""Above which a file is none of these: all pictures with two labels, and as much again for the names of their files."""

MOST_OPERATIONS = 1_000_000
"""Of a pickle: that of CIFAR-100's training images, with two labels and a name for each of 50,000, has some 200,000."""


@dataclass(frozen=True)
class Form:
    """A set in one of its versions: files of both parts, the file of the class names, and how each is read; a file of
    pictures gives pixels (n, 32, 32, 3) and classes (n,)."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    records: Callable[[bytes], tuple[HostArray, HostArray]]
    classes: Callable[[bytes], tuple[str, ...]]


def as_pictures(pixels: HostArray) -> HostArray:
    """From (n, 3072) to (n, 32, 32, 3)."""
    return np.ascontiguousarray(pixels.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


# --- the binary version -----------------------------------------------------------------------------------------------


def binary_records(labels: int, content: bytes) -> tuple[HostArray, HostArray]:
    """Of records of `labels` bytes, the last of which is the class, and the pixels."""
    length = labels + PIXELS
    if len(content) % length:
        raise ValueError(f"has {len(content):,} bytes, expected a multiple of {length:,}")
    table = np.frombuffer(content, np.uint8).reshape(-1, length)
    return as_pictures(table[:, labels:]), table[:, labels - 1]


def lines(content: bytes) -> tuple[str, ...]:
    """The lines of a text that are not empty. Raises ValueError where it is no UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


# --- the pickles ------------------------------------------------------------------------------------------------------


class Pickled:
    """An array in a pickle; its state is (version, shape, number type, whether columns go first, bytes)."""

    state: Any = None


@dataclass(frozen=True)
class NumberType:
    """A number type in a pickle, by its short name."""

    name: Any


def _array(kind: Any, *_: Any) -> Pickled:
    expect(kind, Name)
    return Pickled()


def _number_type(name: Any, *_: Any) -> NumberType:
    return NumberType(name)


def _build(value: Any, state: Any) -> None:
    if isinstance(value, Pickled):
        value.state = expect(state, tuple)
    else:
        expect(value, NumberType)  # its state is the order of bytes, and it has one byte


def _text(value: Any, *_: Any) -> Any:
    """Python 3 writes bytes, in its older protocols, as an encoded text."""
    return expect(value, str)


LANGUAGE = Language(
    "CIFAR's pictures",
    calls={
        "numpy.core.multiarray._reconstruct": _array,
        "numpy._core.multiarray._reconstruct": _array,
        "numpy.dtype": _number_type,
        "_codecs.encode": _text,
    },
    names=("numpy.ndarray",),
    build=_build,
)


def _entry(content: bytes, key: str, kind: type) -> tuple[dict[Any, Any], Any]:
    """The mapping in a pickle, and its entry of this type."""
    found = expect(carried_out(io.BytesIO(content), MOST_OPERATIONS, LANGUAGE), dict)
    if key not in found:
        raise ValueError(f"holds no {key!r}")
    return found, expect(found[key], kind)


def pickled_records(key: str, content: bytes) -> tuple[HostArray, HostArray]:
    """Of a mapping with the array "data" (n, 3072) and the list `key` of classes."""
    found, labels = _entry(content, key, list)
    state = getattr(found.get("data"), "state", None)
    if state is None or len(state) != 5 or state[2] != NumberType("u1") or state[3] is not False:
        raise ValueError("holds no array 'data' of bytes")
    if type(state[1]) is not tuple or not all(type(side) is int for side in state[1]):
        raise ValueError("holds 'data' of no shape")  # which is not printed: to write a nest of tuples can take forever
    pixels = state[4].encode("latin-1") if isinstance(state[4], str) else expect(state[4], bytes)
    if state[1] != (len(labels), PIXELS) or len(pixels) != len(labels) * PIXELS:
        raise ValueError(
            f"holds 'data' of shape {state[1]!s:.80} and {len(pixels):,} bytes for {len(labels)} labels, "
            f"expected (labels, {PIXELS})"
        )
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise ValueError(f"holds {key!r} that are no classes")
    return as_pictures(np.frombuffer(pixels, np.uint8)), np.array(labels, np.uint8)


def pickled_names(key: str, content: bytes) -> tuple[str, ...]:
    """Of a mapping with the list `key` of them."""
    _, names = _entry(content, key, list)
    return tuple(expect(name, str) for name in names)


FORMS = (
    Form(
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        partial(binary_records, 1),
        lines,
    ),
    Form(("train.bin",), ("test.bin",), "fine_label_names.txt", partial(binary_records, 2), lines),
    Form(
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        partial(pickled_records, "labels"),
        partial(pickled_names, "label_names"),
    ),
    Form(
        ("train",),
        ("test",),
        "meta",
        partial(pickled_records, "fine_labels"),
        partial(pickled_names, "fine_label_names"),
    ),
)
"""Each is known by the first of its files."""
