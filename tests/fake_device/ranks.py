"""Training by ranks that are threads of this process, each on a device of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.cupy.training import SIZES
from tests.fake_device.nccl import GROUPS, REMOTE_ERROR
from tests.fake_device.pool import watch_pool
from vipnp.audit.cases import small_config
from vipnp.backends.numpy.threads import bounds
from vipnp.data import DataSet, Split
from vipnp.models import ViPConfig
from vipnp.train.parts import Part
from vipnp.train.ranks import Ranks
from vipnp.train.recipe import Recipe
from vipnp.train.run import Run
from vipnp.train.settings import Settings
from vipnp.train.shards import shards_of

SHARDS, BATCH, STEPS = 4, 6, 2
LIMIT = 300.0
"""Seconds that training may take."""
SOON = 30.0
"""Seconds in which a rank that is left alone has to end."""


class SmallSettings(Settings):
    """Of a model so small that kernels on the CPU are done with it soon."""

    def config(self, classes: int) -> ViPConfig:
        return small_config(SIZES, num_classes=classes, drop_path=0.4)


class Meeting:
    """Where threads wait for each other and tell what they have."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=LIMIT)
        self.told: list[Any] = [None] * size


class ThreadRanks(Ranks):
    """One of several threads; they are on one machine."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        self.rank = self.local_rank = rank
        self.size = self.local_size = len(meeting.told)
        self.meeting = meeting

    def gather(self, value: Any) -> list[Any]:
        self.meeting.told[self.rank] = value
        self.meeting.barrier.wait()
        found = list(self.meeting.told)
        self.meeting.barrier.wait()
        return found


def made(ranks: Ranks, precision: str, reduce: str) -> Run:
    """A run that is ready to train."""
    pixels = np.zeros((BATCH, 4, 4), np.uint8)
    split = Split(tuple(map(str, range(BATCH))), np.arange(BATCH) % SIZES["K"], pixels=pixels)
    recipe = Recipe(batch_size=BATCH, drop_path=0.4, clip_grad=1.0)
    settings = SmallSettings(
        "random", "small", (4, 4), 1, 0, 0.2, "cupy", SHARDS, recipe, precision=precision, reduce=reduce
    )
    run = Run(Path("nowhere"), settings, DataSet(tuple("abcd"), split, split), ranks)
    run.connect()
    return run


def weights_after(run: Run) -> dict[str, Any]:
    """The weights after some steps, of which the last is on a batch of one image: most shards have none."""
    config, rng = run.model.config, np.random.default_rng(5)
    for size in (*[BATCH] * STEPS, 1):
        images = rng.normal(size=(size, config.in_channels, *config.image_size)).astype(run.settings.precision)
        targets = np.eye(config.num_classes, dtype=run.settings.precision)[rng.integers(0, config.num_classes, size)]
        places = [bounds(size, SHARDS)[shard] for shard in run.shards]
        parts = [Part(images[at], targets[at], shard) for at, shard in zip(places, run.shards, strict=True)]
        run._one_step(size, parts, 0.0, size)
    return run.model.state_dict()


def trained(ranks: int, *, precision: str = "float32", reduce: str = "exact") -> list[dict[str, Any]]:
    """The weights that each of the ranks ends with. Raises what one of them raised; TimeoutError where they hang."""
    meeting = Meeting(ranks)
    found: list[Any] = [None] * ranks
    failed: list[Exception] = []

    def work(rank: int) -> None:
        watch_pool()
        try:
            assert shards_of(SHARDS, rank, ranks)
            found[rank] = weights_after(made(ThreadRanks(rank, meeting), precision, reduce))
        except Exception as error:
            failed.append(error)
            meeting.barrier.abort()
            for group in GROUPS.values():
                group.error = REMOTE_ERROR

    threads = [threading.Thread(target=work, args=(rank,), daemon=True) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    if failed:
        raise failed[0]
    if any(thread.is_alive() for thread in threads):
        raise TimeoutError("the ranks do not end")
    return found


def left_alone() -> Exception | None:
    """What a rank raises whose only other rank never posts a sum, when the library sees an error of that one."""
    meeting = Meeting(2)
    raised: list[Exception] = []

    def stays() -> None:
        watch_pool()
        run = made(ThreadRanks(0, meeting), "float32", "exact")
        run.ranks.gather(None)
        try:
            weights_after(run)
        except Exception as error:
            raised.append(error)

    def goes() -> None:
        watch_pool()
        run = made(ThreadRanks(1, meeting), "float32", "exact")
        run.ranks.gather(None)
        list(GROUPS.values())[-1].error = REMOTE_ERROR

    threads = [threading.Thread(target=work, daemon=True) for work in (stays, goes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    return raised[0] if raised else None


def called() -> list[str]:
    """What the ranks of the last group have called of NCCL."""
    return list(GROUPS.values())[-1].called


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The names of the weights that are not the same to the last bit."""
    return [name for name, value in first.items() if value.tobytes() != second[name].tobytes()]
