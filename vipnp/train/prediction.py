"""What a model says of every picture of a data set."""

from __future__ import annotations

import numpy as np

from vipnp.backends.numpy.threads import Crew
from vipnp.core import HostArray
from vipnp.data import Split
from vipnp.data.loader import batches
from vipnp.data.transforms import Transform
from vipnp.models import VisionPermutator
from vipnp.train.ranks import Ranks

EVALUATION_BATCH = 64


def predict(
    model: VisionPermutator,
    split: Split,
    transform: Transform,
    *,
    workers: int = 0,
    crew: Crew | None = None,
    ranks: Ranks | None = None,
) -> HostArray:
    """The logits (n, K) of every picture of `split`, on every rank; ranks, and the threads of `crew`, take batches in
    turn.

    Raises FloatingPointError naming the first picture whose logits are not finite, UnreadableImageError naming a file.
    """
    ranks = ranks or Ranks()
    starts = range(0, len(split), EVALUATION_BATCH)[ranks.rank :: ranks.size]

    def sample(index: int) -> HostArray:
        return transform.evaluation(split.picture(index, transform.channels)).astype(model.dtype)

    def in_turn(first: int, step: int) -> dict[int, HostArray]:
        mine = starts[first::step]
        parts = [range(i, min(i + EVALUATION_BATCH, len(split))) for i in mine]
        made = batches(sample, parts, workers)
        return {start: model.backend.to_numpy(model(x)) for start, (_, x) in zip(mine, made, strict=True)}

    found = [in_turn(0, 1)] if crew is None else crew.run(lambda i: in_turn(i, crew.size), crew.size)
    everywhere = {start: part for rank in ranks.gather(found) for thread in rank for start, part in thread.items()}
    logits: HostArray = np.concatenate([everywhere[start] for start in sorted(everywhere)])
    wrong = ~np.isfinite(logits).all(axis=1)
    if wrong.any():
        raise FloatingPointError(f"the logits of {split.names[int(wrong.argmax())]} are not finite")
    return logits
