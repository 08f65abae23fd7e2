"""The matrix products of inference by the kernels that the library has for it, and nothing between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit

from vipnp.backends.numba.kernels.image import COUNTERS, product, product_chunks
from vipnp.backends.numba.kernels.machine import WIDTH, fetch_add, wait_for
from vipnp.backends.numpy.threads import Crew
from vipnp.core import HostArray


@njit(nogil=True)
def product_of_every_layer(sizes: Any, weights: Any, x: Any, y: Any, tickets: Any) -> None:
    """A share of y = weight @ x, layer by layer; sizes (L, 3): panels, inputs, outputs; weights (L,), addresses."""
    for layer in range(len(sizes)):
        P, K, M = sizes[layer]
        into, out = x[: P * K * WIDTH].reshape(P, K, WIDTH), y[: P * M * WIDTH].reshape(P, M, WIDTH)
        taken, chunks = tickets.ctypes.data + 8 * COUNTERS * layer, product_chunks(M, P)
        chunk = fetch_add(taken)
        while chunk < chunks:
            product(weights[layer], into, out, chunk, 0)
            fetch_add(taken + 8)
            chunk = fetch_add(taken)
        wait_for(taken + 8, chunks)


def panel_products(
    layers: Sequence[tuple[int, int, int]], weights: Sequence[HostArray], crew: Crew, batch: int
) -> Callable[[], object]:
    """The products of a batch, shared out as the library does: an image a thread, and the images that are left by all
    threads together; layers : (rows, inputs, outputs) for one image."""
    sizes = np.array([(-(-M // WIDTH), K, N) for M, K, N in layers])
    addresses = np.array([weight.ctypes.data for weight in weights])
    memory = [
        (
            np.ones(max(P * K for P, K, _ in sizes) * WIDTH, np.float32),
            np.empty(max(P * M for P, _, M in sizes) * WIDTH, np.float32),
        )
        for _ in range(crew.size)
    ]

    def one_image(x: HostArray, y: HostArray, tickets: HostArray) -> None:
        product_of_every_layer(sizes, addresses, x, y, tickets)

    def counters() -> HostArray:
        return np.zeros((len(layers), COUNTERS), np.int64)

    def run() -> None:
        images = iter(range(batch - batch % crew.size))

        def alone(thread: int) -> None:
            for _ in images:
                one_image(*memory[thread], counters())

        crew.run(alone, crew.size)
        for _ in range(batch % crew.size):
            shared = (*memory[0], counters())

            def together(_: int, shared: Any = shared) -> None:
                one_image(*shared)

            crew.run(together, crew.size)

    run.weights = weights  # type: ignore[attr-defined] # whose memory must outlive the addresses
    return run
