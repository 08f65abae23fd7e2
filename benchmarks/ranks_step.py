"""Weak scaling of a training step over ranks, and how much of the exchange hides: `mpirun -n 2 python
benchmarks/ranks_step.py`.

In turn, so that a busy machine slows all alike: rank 0 alone, without MPI; all ranks at once, each alone; all ranks,
exchanging beside the backward pass; all ranks, exchanging after it. A rank has the same work every time, two shards in
one thread. Printed are medians of rank 0: the step; its processor time, which other work on the machine stretches less;
the exchange, as the thread that makes it sees it; and how long the step waited for it. Then the weak scaling, by the
median and by the shortest step of each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vipnp.backends.numpy.threads import Crew
from vipnp.data import DataSet, Split
from vipnp.train.ranks import Ranks, get_ranks
from vipnp.train.recipe import Recipe
from vipnp.train.run import Run
from vipnp.train.settings import Settings

SHARDS_EACH = 2


def main() -> None:
    """Take the same steps in turn, and say how long they took."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="vip_s7")
    options.add_argument("--images", type=int, default=8, help="of a step of one rank")
    options.add_argument("--size", type=int, default=224)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--backend", default="numba")
    given = options.parse_args()
    ranks = get_ranks()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (given.images * ranks.size, given.size, given.size, 3), dtype=np.uint8)
    split = Split(tuple(map(str, range(len(pixels)))), np.arange(len(pixels)) % 10, pixels=pixels)
    data = DataSet(tuple("abcdefghij"), split, split)

    def made(folder: str, of: Ranks) -> Run:
        size, shards = (given.size, given.size), SHARDS_EACH * of.size
        recipe = Recipe(batch_size=given.images * of.size)
        settings = Settings("random", given.model, size, 3, 0, 0.2, given.backend, shards, recipe)
        run = Run(Path(folder), settings, data, of)
        run.crew = Crew(1)
        return run

    with TemporaryDirectory() as folder, ranks.together():
        alone, together = made(folder, Ranks()), made(folder, ranks)
        exchange = together.exchange
        assert exchange is not None, "run this under mpirun"
        sums, waits = _timed(ranks, "tree_sum"), _timed(exchange, "finish")
        found: dict[str, list[tuple[float, ...]]] = {"alone": [], "apart": [], "beside": [], "after": []}
        batches = [next(run.batches.from_step(0, workers=0)) for run in (alone, together)]
        for _ in range(given.turns + 1):
            for kind, steps in found.items():
                ranks.gather(None)
                run, batch = (alone, batches[0]) if kind in ("alone", "apart") else (together, batches[1])
                if kind == "alone" and ranks.rank:
                    continue
                run.step = 0
                exchange.sums.beside = kind == "beside"
                sums.clear()
                waits.clear()
                began, worked = time.perf_counter(), time.process_time()
                run._one_step(*batch, began, batch[0])
                steps.append((time.perf_counter() - began, time.process_time() - worked, sum(sums), sum(waits)))
    if ranks.rank == 0:
        medians = {kind: np.median(steps[1:], axis=0) for kind, steps in found.items()}
        shortest = {kind: np.min(steps[1:], axis=0) for kind, steps in found.items()}
        for kind, (step, processor, exchanged, waited) in medians.items():
            print(
                f"{kind}: step {step:.3f} s, processor {processor:.3f} s, exchange {exchanged:.3f}, waits {waited:.3f}"
            )
        for name, figures in (("medians", medians), ("shortest", shortest)):
            for against in ("alone", "apart"):
                for kind in ("beside", "after"):
                    clock, processor = (figures[against] / figures[kind])[:2]
                    print(f"{name}: {kind} against {against} {clock:.3f}, by processor time {processor:.3f}")
        hidden = 1 - medians["beside"][3] / medians["after"][3]
        print(f"hidden of the exchange: {hidden:.0%} of the wait after the backward pass")


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
