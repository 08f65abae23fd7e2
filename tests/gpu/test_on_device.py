"""The cupy backend on a GPU. Run with `make test-gpu`; left out of plain `pytest`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.cupy.comparison import all_cases, compare_case
from tests.backends.cupy.training import SIZES, batch
from tests.gpu import checks
from vipnp import VisionPermutator
from vipnp.audit.cases import CASES, Case, small_config
from vipnp.backends import get_backend
from vipnp.verify.trees import tree_arrays

pytestmark = pytest.mark.gpu

in_every_precision = pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    module = import_module("cupy")
    yield module
    module.get_default_memory_pool().free_all_blocks()


@pytest.mark.parametrize(("case", "dtype", "sizes"), [pytest.param(*rest, id=name) for name, *rest in all_cases()])
def test_replacement_against_the_readable_op(cupy: Any, case: Case, dtype: str, sizes: Mapping[str, int]) -> None:
    compare_case(get_backend("cupy"), case, dtype, sizes, replaced=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_readable_op_on_the_device(cupy: Any, case: Case, dtype: str) -> None:
    compare_case(get_backend("cupy", fused=False), case, dtype, case.sizes, replaced=False)


@pytest.mark.parametrize(
    ("precision", "fused"), [("float32", True), ("tf32", True), ("bfloat16", True), ("float32", False)]
)
def test_a_step_waits_for_nothing(cupy: Any, precision: str, fused: bool) -> None:
    checks.waits_for_nothing(precision, fused=fused)


def test_same_seed_same_bits(cupy: Any) -> None:
    checks.same_seed_same_bits()


@in_every_precision
def test_a_graph_has_the_bits_of_the_step_as_it_comes(cupy: Any, precision: str) -> None:
    checks.graph_same_bits(precision)


@in_every_precision
def test_full_size_gradients_as_accurate_as_pytorch(cupy: Any, precision: str) -> None:
    print(f"\n{precision}: {checks.full_size_gradients(precision)}")


def test_full_size_logits(cupy: Any) -> None:
    checks.full_size_logits()


@in_every_precision
def test_the_tiny_example_learns(cupy: Any, precision: str, tmp_path: Path) -> None:
    print(f"\n{precision}: {checks.tiny_example(precision, tmp_path)}")


def test_out_of_memory_and_on(cupy: Any) -> None:
    checks.out_of_memory_and_on()


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer(cupy: Any, tool: str) -> None:
    checks.compute_sanitizer(tool)


def test_features_on_the_device(cupy: Any) -> None:
    config = small_config(SIZES)
    images = batch(config)[0]
    grids = []
    for name in ("cupy", "numpy"):
        model = VisionPermutator(config, backend=name, seed=3)
        grids.append([model.backend.to_numpy(grid) for grid in model.features(images)])
    for (_, mine), (_, theirs) in zip(*map(tree_arrays, grids), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
