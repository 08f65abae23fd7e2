"""A training step as one CUDA graph: recorded once, then started by one call.

What a graph records it does again on the same memory. So all of it lies in buffers of its own: the parameters, which
are updated in place, the running means, the batch, the draws of drop path, what AdamW takes of the step's number and
learning rate, and everything in between, which comes from a memory pool that lives as long as the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cupy
import numpy as np

from vipnp.backends.cupy.arrays import contiguous, dtype_name, empty
from vipnp.backends.cupy.optimizer import (
    Factors,
    clip_grad_norm_cuda,
    decaying,
    flat_order,
    flattened,
    named_parts,
    step_factors,
    update_flat,
)
from vipnp.backends.cupy.products import recorded_by
from vipnp.backends.cupy.recordable_blas import RecordableBlas
from vipnp.core import Array, HostArray
from vipnp.core.flat import FlatTensors, layout

WORKSPACE_BYTES = 32 << 20
"""What cuBLAS asks for on the largest devices."""

NUMBERS = len(Factors._fields)

Gradients = Callable[[Sequence[Array], Array], tuple[Array, Mapping[str, Array]]]
"""The arrays of a batch and the draws -> the loss and the gradients by name."""


class RecordedStep:
    """Gradients, clipping and AdamW of one batch size as a CUDA graph.

    Parameters
    ----------
    xp : the cupy backend, with its kernels.
    params : the parameters; the graph works on a copy of its own.
    batch : the arrays of a batch, whose shapes and dtypes all others have.
    draws : shape of the host draws of a step.
    betas, eps, weight_decay : of AdamW. max_norm : to clip gradients to, None does not.

    Attributes
    ----------
    params : the parameters of the graph, written by every step.
    exp_avg, exp_avg_sq : the running means, likewise.

    Raises ValueError for parameters of several dtypes.
    """

    def __init__(
        self,
        xp: Any,
        params: Mapping[str, Array],
        batch: Sequence[Array],
        draws: tuple[int, ...],
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        max_norm: float | None,
    ) -> None:
        self._xp, self._betas, self._eps, self._weight_decay = xp, betas, eps, weight_decay
        self._max_norm = max_norm
        self._like = layout(params)
        order = flat_order(self._like)
        if order is None:
            raise ValueError("params: got several dtypes, expected float32 or float64 for all that a graph updates")
        self._order = order
        with xp.device:
            first = params[order[0]]
            size, dtype = sum(p.size for p in params.values()), dtype_name(first)
            self._p, self._m, self._v = (empty((size,), dtype) for _ in range(3))
            self._batch = [empty(array.shape, str(array.dtype)) for array in batch]
            self._numbers = empty((NUMBERS + int(np.prod(draws)),), dtype)
            self._draws = self._numbers[NUMBERS:].reshape(draws)
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._pool = cupy.cuda.MemoryPool()
            self._workspace = cupy.empty(WORKSPACE_BYTES, np.uint8)
            self._blas = RecordableBlas(self._stream, self._workspace)
        self.params = named_parts(self._p, self._order, self._like)
        self.exp_avg, self.exp_avg_sq = (FlatTensors(flat, order, self._like) for flat in (self._m, self._v))
        self._graph: Any = None

    def __del__(self) -> None:
        if hasattr(self, "_blas"):
            self._blas.close()

    def load(self, params: Mapping[str, Array], exp_avg: Mapping[str, Array], exp_avg_sq: Mapping[str, Array]) -> None:
        """Go on from these parameters and running means."""
        with self._xp.device:
            for to, tensors in ((self._p, params), (self._m, exp_avg), (self._v, exp_avg_sq)):
                to.data.copy_from_device_async(flattened(tensors, self._order).data, to.nbytes)

    def record(self, gradients: Gradients) -> None:
        """Record the step; nothing of it runs yet. Every kernel must have been launched before: none is compiled here.

        gradients : must work on `self.params`, on the current stream, and wait for nothing.
        """
        with self._xp.device, cupy.cuda.using_allocator(self._pool.malloc), self._stream, recorded_by(self._blas):
            self._stream.begin_capture()
            try:
                self._loss, grads = gradients(self._batch, self._draws)
                if self._max_norm is not None:
                    grads, _ = clip_grad_norm_cuda(self._xp, grads, max_norm=self._max_norm)
                flat = flattened(grads, self._order)
                buffers = self._p, self._m, self._v
                update_flat(
                    (self._p, flat, self._m, self._v),
                    buffers,
                    decaying(self._like),
                    self._numbers[:NUMBERS],
                    betas=self._betas,
                    eps=self._eps,
                )
            finally:
                graph = self._stream.end_capture()
        self._graph = graph

    def __call__(self, batch: Sequence[Array], draws: HostArray, *, t: int, lr: float) -> Array:
        """Step t on a batch: its loss. On the current stream as seen from outside."""
        with self._xp.device:
            outside = cupy.cuda.get_current_stream()
            arrays = [contiguous(array) for array in batch]
            self._stream.wait_event(outside.record())
            factors = step_factors(t, lr, self._betas, self._weight_decay)
            numbers = np.concatenate([np.asarray(factors), draws.reshape(-1)]).astype(self._numbers.dtype)
            with self._stream:
                for to, array in zip(self._batch, arrays, strict=True):
                    to.data.copy_from_device_async(array.data, array.nbytes)
                self._numbers.set(numbers)
                self._graph.launch()
                loss = self._loss.copy()
            outside.wait_event(self._stream.record())
        return loss
