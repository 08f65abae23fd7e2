"""Batches made ahead of time by threads: a stateless function from a sample's index to its numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from vipnp.core import HostArray

AHEAD = 2
"""Batches that are being made while one is used."""


def batches(
    sample: Callable[[int], HostArray], indices: Sequence[Iterable[Any]], workers: int
) -> Iterator[tuple[Any, HostArray]]:
    """(indices of the batch, its samples stacked), in order.

    Parameters
    ----------
    sample : a function of the index alone, so that nothing depends on which thread calls it.
    indices : of the samples of every batch.
    workers : threads; 0 makes every sample when its batch is asked for. The batches are the same for any number.

    Raises what `sample` raises.
    """
    if workers == 0:
        for batch in indices:
            yield batch, _stacked([sample(int(i)) for i in batch])
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="vipnp-loader") as pool:
        waiting: deque[tuple[Any, list[Future[HostArray]]]] = deque()
        try:
            for batch in indices:
                waiting.append((batch, [pool.submit(sample, int(i)) for i in batch]))
                if len(waiting) > AHEAD:
                    yield _made(waiting.popleft())
            while waiting:
                yield _made(waiting.popleft())
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def _made(waiting: tuple[Any, list[Future[HostArray]]]) -> tuple[Any, HostArray]:
    batch, futures = waiting
    return batch, _stacked([future.result() for future in futures])


def _stacked(samples: list[HostArray]) -> HostArray:
    """One array of all samples, an empty one where there is none: a batch may leave none for this process."""
    return np.stack(samples) if samples else np.empty(0)
