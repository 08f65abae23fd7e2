"""Weak scaling of a training step over ranks: `mpirun -n R python benchmarks/ranks_step.py`.

Every rank computes the same work, two shards in one thread, whatever R is, so that the time of a step would stay the
same if exchanging gradients cost nothing. Rank 0 prints the median step, the median time in which a rank waits for
others or exchanges with them, and the processor time of a step, which a busy machine stretches less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vipnp.data import DataSet, Split
from vipnp.train.ranks import get_ranks
from vipnp.train.recipe import Recipe
from vipnp.train.run import Run
from vipnp.train.settings import Settings

SHARDS_EACH = 2


def main() -> None:
    """Train for some steps on random pictures, and say how long they took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="vip_s7")
    options.add_argument("--images", type=int, default=8, help="of a step of one rank")
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--steps", type=int, default=5)
    options.add_argument("--backend", default="numba")
    given = options.parse_args()
    ranks = get_ranks()
    batch = given.images * ranks.size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch * (given.steps + 1), given.size, given.size, 3), dtype=np.uint8)
    labels = np.arange(len(pixels)) % 10
    names = tuple(map(str, range(len(pixels))))
    split = Split(names, labels, pixels=pixels)
    data = DataSet(tuple("abcdefghij"), split, split)
    shards = SHARDS_EACH * ranks.size
    settings = Settings(
        "random", given.model, (given.size, given.size), 3, 0, 0.2, given.backend, shards, Recipe(batch_size=batch)
    )
    with TemporaryDirectory() as folder, ranks.together():
        run = Run(Path(folder), settings, data, ranks)
        run.crew.size = 1
        exchange = _timed(ranks, "tree_sum"), _timed(ranks, "gather")
        steps, waits, work = [], [], []
        for samples, parts in run._batches(0, 0):
            ranks.gather(None)
            for times in exchange:
                times.clear()
            began, worked = time.perf_counter(), time.process_time()
            run._one_step(samples, parts, began)
            steps.append(time.perf_counter() - began)
            work.append(time.process_time() - worked)
            waits.append(sum(sum(times) for times in exchange))
        found = ranks.gather([statistics.median(times[1:]) for times in (steps, waits, work)])
        if ranks.rank == 0:
            for name, values in zip(("step", "exchange", "processor"), zip(*found, strict=True), strict=True):
                print(f"{ranks.size} ranks, {name}: {', '.join(f'{value:.3f}' for value in values)} s a rank")


def _timed(owner: Any, name: str) -> list[float]:
    """The seconds of every call of a method, from now on."""
    method, times = getattr(owner, name), []

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            times.append(time.perf_counter() - began)

    setattr(owner, name, timed)
    return times


if __name__ == "__main__":
    main()
