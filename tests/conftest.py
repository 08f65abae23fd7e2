"""What several test modules share."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vipnp import VisionPermutator, create_model
from vipnp.verify.trees import tree_map

ROOT = Path(__file__).resolve().parent.parent

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A code block of Markdown: its language, its contents."""


def fenced(text: str, language: str) -> list[str]:
    """The contents of the code blocks in `language`."""
    return [content for found, content in FENCE.findall(text) if found == language]


CALL_COMPILED = ("benchmarks", "cli", "core", "examples", "explain", "models", "ops", "train")
"""The folders of tests that call functions of Numba without being about them."""

BESIDE_THE_PACKAGE = ("benchmarks", "proofs", "tools")
"""The folders of tests that are about what is not installed."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where nobody asks for these tests, they are not even imported."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    return (whole and collection_path.name in BESIDE_THE_PACKAGE and "not long" in config.option.markexpr) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/backends first and the callers of what Numba compiles there last: pytest-xdist hands out the two halves of
    the list, and a function that two processes need at the same time is compiled twice. What is not about the package
    is left to `make long`."""

    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(ROOT / "tests").parts[0]

    def turn(item: pytest.Item) -> int:
        return -1 if folder(item) == "backends" else int(folder(item) in CALL_COMPILED)

    items.sort(key=turn)
    for item in items:
        if folder(item) in BESIDE_THE_PACKAGE:
            item.add_marker("long")


def lists(tree: Any) -> Any:
    """The tree with its arrays as nested lists, which compare by value."""
    return tree_map(lambda array: array.tolist(), tree)


def cotangent(y: Any, seed: int = 17) -> Any:
    """A random cotangent for y."""
    return np.random.default_rng(seed).normal(size=np.shape(y))


def small_model(seed: int = 0, dtype: str = "float32") -> VisionPermutator:
    """A model of two stages in which no two sizes are equal."""
    return create_model(
        "vip_s7",
        layers=(1, 2),
        embed_dims=(8, 12),
        segments=(2, 3),
        transitions=(True, False),
        patch_size=2,
        image_size=(12, 8),
        num_classes=5,
        seed=seed,
        dtype=dtype,
    )


def make_folder(root: Path, classes: dict[str, int], size: tuple[int, int] = (12, 10)) -> Path:
    """A folder of random photos, one subfolder a class, with so many photos of so many columns and rows."""
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size[::-1], 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user may enter; that of `tmp_path` is its owner's alone."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root, whom no permission stops, is another user here; what is imported must have been before."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def command_line(*arguments: str | Path) -> Any:
    """What the command `vipnp` does with these arguments, in this process."""
    from vipnp import cli

    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
