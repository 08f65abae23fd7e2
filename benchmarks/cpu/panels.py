"""The matrix products of one image by the kernels that the library has for it, and nothing between them."""

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
            product(weights[layer], into, out, chunk)
            fetch_add(taken + 8)
            chunk = fetch_add(taken)
        wait_for(taken + 8, chunks)


def panel_products(
    layers: Sequence[tuple[int, int, int]], weights: Sequence[HostArray], crew: Crew
) -> Callable[[], object]:
    """The products of one image, all threads of `crew` on each; layers : (rows, inputs, outputs)."""
    sizes = np.array([(-(-M // WIDTH), K, N) for M, K, N in layers])
    addresses = np.array([weight.ctypes.data for weight in weights])
    x = np.ones(max(P * K for P, K, _ in sizes) * WIDTH, np.float32)
    y = np.empty(max(P * M for P, _, M in sizes) * WIDTH, np.float32)

    def run() -> object:
        tickets = np.zeros((len(layers), COUNTERS), np.int64)
        return crew.run(lambda _: product_of_every_layer(sizes, addresses, x, y, tickets), crew.size)

    run.weights = weights  # type: ignore[attr-defined] # whose memory must outlive the addresses
    return run
