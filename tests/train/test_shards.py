"""Batches in shards: one tree of sums, whoever adds them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.train.test_run import assert_same_bits
from vipnp.backends.numpy.threads import Crew, bounds
from vipnp.core import HostArray
from vipnp.core.tree import flatten
from vipnp.data import DataSet, Split, load_data_set
from vipnp.train.folder import prepare_folder
from vipnp.train.ranks import Ranks
from vipnp.train.recipe import RECIPES
from vipnp.train.run import Run, blocks_of
from vipnp.train.settings import Settings
from vipnp.train.shards import tree_sum


def test_the_tree_adds_neighbours() -> None:
    def add(left: str, right: str) -> str:
        return f"({left}{right})"

    assert tree_sum(lambda i: str(i), range(8), add) == "(((01)(23))((45)(67)))"
    assert tree_sum(lambda i: None if i in (2, 4, 5, 6) else str(i), range(8), add) == "(((01)3)7)"
    assert tree_sum(lambda i: None, range(4), add) is None


@profile(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 4), st.integers(0, 4), st.data())
def test_subtrees_by_others_give_the_same_sum(depth: int, split: int, data: st.DataObject) -> None:
    """Whatever the values, and whichever shards are empty: parts of the tree summed elsewhere change no bit."""
    shards, parts = 2**depth, 2 ** min(depth, split)
    values = data.draw(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=shards, max_size=shards))
    each = shards // parts

    def add(left: float, right: float) -> float:
        return left + right

    subtrees = [tree_sum(values.__getitem__, range(i * each, (i + 1) * each), add) for i in range(parts)]
    whole, shared = tree_sum(values.__getitem__, range(shards), add), tree_sum(subtrees.__getitem__, range(parts), add)
    assert repr(whole) == repr(shared)


@profile(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 40), st.sampled_from([1, 2, 4, 8, 16]))
def test_shards_are_the_batch_once_over(samples: int, shards: int) -> None:
    cut = bounds(samples, shards)
    assert [i for places in cut for i in range(samples)[places]] == list(range(samples))
    sizes = [places.stop - places.start for places in cut]
    assert max(sizes) - min(sizes) <= 1


def first(part: Split, images: int) -> Split:
    assert part.pixels is not None
    return Split(part.names[:images], part.labels[:images], pixels=part.pixels[:images])


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [("numpy", "float32"), pytest.param("numpy", "float64", marks=pytest.mark.long), ("numba", "float32")],
)
def test_the_number_of_threads_changes_no_bit(tmp_path: Path, backend: str, dtype: str) -> None:
    """With drop path, mixup and clipping, and a last batch of fewer images than shards."""
    recipe = dataclasses.replace(RECIPES["digits"], epochs=1, batch_size=72, drop_path=0.2, clip_grad=0.5)
    settings = Settings("digits", "vip_tiny", (8, 8), 1, 3, 0.2, backend, 8, recipe, dtype)
    whole = load_data_set("digits", validation=0.2, seed=3)
    data = DataSet(whole.classes, first(whole.train, 289), first(whole.validation, 72))
    assert 0 < len(data.train) % recipe.batch_size < settings.shards
    for threads in (1, 2, 8):
        folder = tmp_path / str(threads)
        prepare_folder(folder, settings, data, {})
        run = Run(folder, settings, data)
        run.crew = Crew(threads)
        run.train(workers=0, save_every=10)
        assert run.model.parameters()["head.weight"].dtype == dtype
        assert_same_bits(tmp_path / "1", folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 6}, "shards: got 6, expected a power of two"),
        ({"shards": 0}, "shards: got 0, expected a power of two"),
        ({"shards": 2048}, "shards: got 2048, expected a power of two up to 1024"),
        ({"reduce": "sloppy"}, "reduce: got 'sloppy', expected exact or fast"),
        ({"precision": "float16"}, "precision: got 'float16', expected float32 or float64"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    common: dict[str, Any] = {"shards": 8, "precision": "float32", **options}
    with pytest.raises(ValueError, match=message):
        Settings("d", "vip_tiny", (16, 24), 3, 1, 0.3, "numpy", recipe=RECIPES["digits"], **common)


class Recording(Ranks):
    """The first of two ranks, whose other one has nothing to add."""

    size = 2

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def tree_sum(self, flat: HostArray) -> HostArray:
        self.sizes.append(flat.size)
        return flat

    def gather(self, value: Any) -> list[Any]:
        return [value, None]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_blocks_are_exchanged_while_the_backward_pass_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, threads: int
) -> None:
    """A bucket for every block, from the last to the first, all on their way before the end of the step; the gradients
    are those of a run without an exchange."""
    recipe = dataclasses.replace(RECIPES["digits"], batch_size=24, drop_path=0.2)
    config = Settings("digits", "vip_tiny", (8, 8), 1, 3, 0.2, backend, 8, recipe)
    data = load_data_set("digits", validation=0.2, seed=3)
    ranks = Recording()
    run = Run(tmp_path, config, data, ranks)
    run.crew = Crew(threads)
    assert run.exchange is not None
    finish, on_their_way = run.exchange.finish, []
    monkeypatch.setattr(
        run.exchange, "finish", lambda *a: (on_their_way.append(len(run.exchange.pending)), finish(*a))[1]
    )
    samples, parts = next(run.batches.from_step(0, workers=0))
    loss, grads = run._summed(samples, parts)

    sizes = [sum(math.prod(p.shape) for _, p in flatten(block)) for block in blocks_of(run.model).values()]
    assert ranks.sizes == [*reversed(sizes), run.model.num_parameters - sum(sizes)]
    assert on_their_way == [4]

    plain = Run(tmp_path, dataclasses.replace(config, shards=4), data)
    expected_loss, expected = plain._summed(samples, parts)
    assert loss == expected_loss
    assert list(grads) == list(expected)
    for name, gradient in expected.items():
        assert gradient.tobytes() == grads[name].tobytes(), name


def test_blocks_of_a_model_from_a_file_are_exchanged_as_well(tmp_path: Path) -> None:
    """That model is another than the one that the run was made with."""
    config = Settings("digits", "vip_tiny", (8, 8), 1, 3, 0.2, "numpy", 8, RECIPES["digits"])
    data = load_data_set("digits", validation=0.2, seed=3)
    weights = tmp_path / "weights.safetensors"
    Run(tmp_path, config, data).model.save(weights)
    ranks = Recording()
    run = Run(tmp_path, dataclasses.replace(config, weights=str(weights)), data, ranks)
    run.take_weights()
    _, grads = run._summed(*next(run.batches.from_step(0, workers=0)))
    assert len(ranks.sizes) == 4 + 1
    assert list(grads) == list(run.model.parameters())
