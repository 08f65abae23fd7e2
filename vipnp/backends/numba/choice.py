"""Which library multiplies: measured once a machine, kept in a file, and read from there ever after.

A product is of one of few kinds: one of the three products of a linear layer, for few or many tokens. The libraries
round differently, so that two processes which chose differently would differ in their last bits: whoever finds a file
takes its choice, of two that measure at the same time the first to be done decides for both, and where no file can be
kept nothing is measured.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vipnp.backends.numpy.blas import Product
from vipnp.backends.numpy.threads import blas_threads
from vipnp.core import HostArray

PATTERNS = ("x weight^T", "dy weight", "dy^T x")
"""The products of a linear layer."""

SIZES = (("a few tokens", 8, 32), ("an image", 256, 512), ("a batch", 1024, sys.maxsize))
"""(name, tokens that are measured, most tokens that it stands for)."""

KINDS = tuple(f"{pattern}, {size}" for pattern in PATTERNS for size, _, _ in SIZES)

SHAPES = ((384, 384), (384, 1152), (1152, 384))
"""(inputs, outputs) of the linear layers that are measured."""

TURNS = 9
MARGIN = 0.97
"""A library takes the place of one that stands before it if its time is below this part of the other's, so that noise
changes no choice."""

VERSION = 1
"""Of what a file means, part of its name."""

Choice = Mapping[str, str]
"""Kind of product -> the library for it."""


def kind_of(a: HostArray, b: HostArray) -> str:
    """The kind of the product a @ b, one of KINDS, from the layouts and sizes of its factors."""
    if not b.flags.c_contiguous:
        pattern, tokens = 0, len(a)
    elif a.flags.c_contiguous:
        pattern, tokens = 1, len(a)
    else:
        pattern, tokens = 2, a.shape[1]
    size = next(place for place, (_, _, most) in enumerate(SIZES) if tokens <= most)
    return KINDS[pattern * len(SIZES) + size]


def by_kind(products: Mapping[str, Product], choice: Choice) -> Product:
    """The product by the library chosen for its kind."""
    chosen = {kind: products[name] for kind, name in choice.items()}

    def product(a: HostArray, b: HostArray, out: HostArray) -> HostArray:
        return chosen[kind_of(a, b)](a, b, out)

    return product


def factors(pattern: str, tokens: int, inputs: int, outputs: int) -> tuple[HostArray, HostArray, HostArray]:
    """(a, b, out) of a product of a linear layer."""
    rng = np.random.default_rng(0)
    x, dy, weight = (
        rng.standard_normal(shape, np.float32) for shape in ((tokens, inputs), (tokens, outputs), (outputs, inputs))
    )
    a, b = {PATTERNS[0]: (x, weight.T), PATTERNS[1]: (dy, weight), PATTERNS[2]: (dy.T, x)}[pattern]
    return a, b, np.empty((len(a), b.shape[1]), np.float32)


def measured(products: Mapping[str, Product]) -> dict[str, str]:
    """The fastest of `products` for every kind, in one thread, as the parts of a batch multiply.

    It is the least processor time of a few turns, which other work on the machine hardly changes.
    """
    # Windows counts a thread's time in steps of a clock of 64 Hz.
    clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter

    def choice() -> dict[str, str]:
        found = {}
        for kind, (pattern, (_, tokens, _)) in zip(KINDS, itertools.product(PATTERNS, SIZES), strict=True):
            works = [factors(pattern, tokens, *shape) for shape in SHAPES]
            least = dict.fromkeys(products, float("inf"))
            for _ in range(TURNS):
                for name, product in products.items():
                    begin = clock()
                    for work in works:
                        product(*work)
                    least[name] = min(least[name], clock() - begin)
            found[kind] = fastest(least)
        return found

    return blas_threads.limited(1, choice)


def fastest(seconds: Mapping[str, float]) -> str:
    """The first name that nothing after it beats by more than the margin."""
    chosen, *others = seconds
    for name in others:
        if seconds[name] < MARGIN * seconds[chosen]:
            chosen = name
    return chosen


def file_of(folder: Path, machine: Mapping[str, str]) -> Path:
    """Where the choice for a machine, its processor and the versions of its libraries, is kept."""
    described = json.dumps([VERSION, dict(machine)], sort_keys=True)
    return folder / f"products-{hashlib.sha256(described.encode()).hexdigest()[:12]}.json"


def read(file: Path, names: Sequence[str]) -> Choice:
    """The choice in a file. Raises OSError where there is none, ValueError where it holds something else."""
    if os.path.exists(file) and not os.path.isfile(file):
        raise ValueError("it is no regular file")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    choice = content.get("choice") if isinstance(content, dict) else None
    if not isinstance(choice, dict) or set(choice) != set(KINDS):
        raise ValueError("it holds no choice for these kinds of products")
    if not all(name in names for name in choice.values()):
        raise ValueError(f"it chooses libraries other than {', '.join(names)}")
    return choice


def kept(products: Mapping[str, Product], machine: Mapping[str, str], folder: Path | None) -> tuple[Choice | None, str]:
    """(the choice that is kept in `folder`, or is measured now and kept, how it came about).

    None where nothing can be kept or what is kept cannot be read; a warning says so, unless there is no folder, which
    Numba has warned of.
    """
    if folder is None:
        return None, "not measured: there is no folder to keep the choice in"
    file = file_of(folder, machine)
    try:
        if not os.path.exists(file):
            publish(file, products, machine)
        return read(file, list(products)), f"measured, {file}"
    except (OSError, ValueError) as problem:
        warnings.warn(
            f"{file}: got {type(problem).__name__}: {problem}, expected the measured choice of the library that "
            'multiplies: the order of products="ranked" holds; remove what is damaged, or set NUMBA_CACHE_DIR to a '
            "folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )
        return None, f"not measured: {file} cannot be {'read' if os.path.exists(file) else 'written'}"


def publish(file: Path, products: Mapping[str, Product], machine: Mapping[str, str]) -> None:
    """Measure and write the file, unless another process has done so meanwhile. Raises OSError where that fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".vipnp-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.touch(exist_ok=False)  # before the work, which is in vain where this fails
        content = {"machine": dict(machine), "choice": measured(products)}
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        with contextlib.suppress(FileExistsError):  # which a renaming would not raise
            try:
                os.link(temporary, file)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                with file.open("x", encoding="utf-8") as new:
                    new.write(temporary.read_text(encoding="utf-8"))
    finally:
        temporary.unlink(missing_ok=True)
