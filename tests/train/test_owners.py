"""The optimiser's step in parts: every parameter has one owner, and the parts make the step of the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from vipnp import get_backend
from vipnp.core import HostArray
from vipnp.optim import AdamW
from vipnp.train.owners import Owners, parts_of
from vipnp.train.ranks import Ranks


@profile(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(1, 9))
def test_every_tensor_has_one_owner_and_the_parts_are_about_equal(sizes: list[int], ranks: int) -> None:
    named = {str(i): size for i, size in enumerate(sizes)}
    parts = parts_of(named, ranks)
    assert len(parts) == ranks
    assert list(itertools.chain(*parts)) == list(named)
    for part in parts:
        assert sum(named[name] for name in part) <= sum(sizes) / ranks + max(sizes)


class InTurn(Ranks):
    """One of several ranks, which are asked one after another: what each had is in `given`."""

    def __init__(self, rank: int, size: int, given: dict[int, HostArray]) -> None:
        self.rank, self.size, self.given = rank, size, given

    def joined(self, flat: HostArray, sizes: object, *, first_only: bool = False) -> HostArray:
        self.given[self.rank] = flat
        whole: HostArray = np.concatenate([self.given[rank] for rank in sorted(self.given)])
        return whole[:0] if first_only and self.rank else whole


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize(("backend", "dtype"), [("numpy", "float32"), ("numpy", "float64"), ("numba", "float32")])
def test_the_parts_make_the_same_step(ranks: int, backend: str, dtype: str) -> None:
    """Three steps of AdamW, with decay; more ranks than tensors leave some without any."""
    rng = np.random.default_rng(ranks)
    shapes = {"a.weight": (37, 11), "a.bias": (37,), "scale": (), "b.weight": (5, 3, 7), "b.bias": (5,)}

    def drawn() -> dict[str, HostArray]:
        return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in shapes.items()}

    xp = get_backend(backend)
    start, gradients = drawn(), [drawn() for _ in range(3)]
    whole, expected = AdamW(xp), start
    given: dict[int, HostArray] = {}
    owners = [Owners(InTurn(rank, ranks, given), xp, shapes, dtype) for rank in range(ranks)]
    optimizers = [AdamW(xp) for _ in owners]
    found = start
    for grads in gradients:
        expected = whole.update(expected, grads, lr=0.1)
        for owner, optimizer in zip(owners, optimizers, strict=True):
            own = {name: found[name] for name in owner.mine}
            new = optimizer.update(own, {name: grads[name] for name in own}, lr=0.1) if own else {}
            owner.ranks.joined(owner._flat(new), owner.sizes)
        found = owners[-1].everywhere(new)
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in expected.items()
        }
    for rank in reversed(range(ranks)):
        means = optimizers[rank].state.exp_avg
        gathered = owners[rank].on_first(means)
        assert list(gathered) == ([] if rank else list(shapes))
    assert {name: value.tobytes() for name, value in gathered.items()} == {
        name: np.asarray(value).tobytes() for name, value in whole.state.exp_avg.items()
    }
