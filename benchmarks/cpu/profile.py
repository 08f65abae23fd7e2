"""Where the time of a fused training step goes: every kernel and every kind of product."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.cpu.work import LEARNING_RATE, WEIGHT_DECAY, Work, images_and_labels

STEPS = 3


def profile(work: Work, *, shards: int) -> dict[str, float]:
    """Seconds of processor time a step in every kernel and product of the numba backend, all shards together.

    "step, all threads" is that of the whole step; what the others leave of it is NumPy and Python between the kernels.
    Processor time is what the thread itself spent, so that other processes do not count.
    """
    from vipnp import VisionPermutator, get_backend
    from vipnp.backends.numba import kernels
    from vipnp.backends.numba import optimizer as fused_optimizer
    from vipnp.optim import AdamW

    spent: defaultdict[str, float] = defaultdict(float)
    lock = threading.Lock()

    def timed(name: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            start = time.thread_time()
            result = function(*arguments)
            with lock:
                spent[name(*arguments)] += time.thread_time() - start
            return result

        return call

    xp: Any = get_backend("numba", shards=shards)
    xp.shard.product = timed(kind_of_product, xp.shard.product)
    model = VisionPermutator(work.config(), backend=xp)
    optimizer = AdamW(xp, weight_decay=WEIGHT_DECAY)
    images, labels = images_and_labels(work, model.config)

    def step() -> None:
        _, grads = model.loss_and_grads(images, labels)
        model.set_parameters(optimizer.update(model.parameters(), grads, lr=LEARNING_RATE))

    step()
    places = [(kernels, name) for name in kernels.KERNELS] + [(fused_optimizer, "adamw_entries")]
    originals = [getattr(module, name) for module, name in places]
    try:
        for (module, name), function in zip(places, originals, strict=True):
            setattr(module, name, timed(lambda *_, name=name: name, function))
        spent.clear()
        start = time.process_time()
        for _ in range(STEPS):
            step()
        total = time.process_time() - start
    finally:
        for (module, name), function in zip(places, originals, strict=True):
            setattr(module, name, function)
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {"step, all threads": total / STEPS} | {name: seconds / STEPS for name, seconds in ordered}


def kind_of_product(a: Any, b: Any, out: Any) -> str:
    """Which of the three products of a linear layer this is, from the layouts of its factors."""
    if not b.flags.c_contiguous:
        return "product: y = x weight^T"
    return "product: dx = dy weight" if a.flags.c_contiguous else "product: dweight = dy^T x"
