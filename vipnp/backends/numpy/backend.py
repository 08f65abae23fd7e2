"""NumPy on the CPU: the readable ops run as they stand.

Two things are looked after here, because NumPy leaves them to its user. SciPy's normal distribution function is a
scalar loop in double precision; `phi` is a vectorised one for float32. And glibc's malloc hands every large array back
to the system as soon as it is freed, so that the next one costs a page fault every 4 KiB; `keep_freed_memory` tells it
not to.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
from scipy.special import ndtr

from vipnp.backends.numpy.blas import Product, cblas_takes, default_product, numpy_product
from vipnp.backends.numpy.shards import SHARDS
from vipnp.backends.numpy.threads import Crew
from vipnp.core.backend import NO_REPLACEMENTS, Array, Backend, HostArray, Op
from vipnp.core.checks import check_flag, check_whole

GRID = 512
"""Points of `phi`'s table in a unit of x, a power of two, so that they are exact in float32."""

LOWEST, HIGHEST = -15, 6
"""Outside of these Phi is 0 and 1 in float32."""

ROUND = np.float32(1.5 * 2**23 / GRID)
"""x + ROUND has no room for bits below 1 / GRID: adding it rounds x to the grid, and its last bits count the points."""

FIRST = (ROUND + np.float32(LOWEST)).view(np.int32)
"""The bits of ROUND + LOWEST, which stand for the first point."""

SCALE = 2.0**24
"""The table holds multiples of it, so that its small entries keep all their digits where float32 turns subnormal."""


def _table() -> tuple[HostArray, HostArray, HostArray]:
    """Phi on the grid as the float32 sum high + low, and its density there, all times SCALE."""
    x0 = np.arange(LOWEST * GRID, HIGHEST * GRID + 1) / GRID
    cdf, pdf = SCALE * ndtr(x0), SCALE / math.sqrt(2 * math.pi) * np.exp(-x0 * x0 / 2)
    high = cdf.astype(np.float32)
    return high, (cdf - high).astype(np.float32), pdf.astype(np.float32)


HIGH, LOW, DENSITY = _table()

CHUNK = 32768
"""Entries that `phi` works on at a time: its five scratch arrays stay in a core's second-level cache."""


def phi(x: HostArray) -> HostArray:
    """The normal distribution function of float32 numbers, accurate relative to Phi in both tails.

    x (*) float32; returns (*) float32, with 0, 1 and NaN for -inf, inf and NaN. The relative error is at most
    1.05 * 2^-24 wherever the result is a normal number, rounding to float32 included; `scipy.special.ndtr`, which
    rounds correctly, takes three times as long.

    With x0 the nearest point of the grid, d = x - x0 and u = x0 d, the integral of the density
    pdf(x0 + s) = pdf(x0) exp(-x0 s - s^2/2) over 0 <= s <= d is, to third order,

        Phi(x) = Phi(x0) + pdf(x0) d (1 - u/2 + u^2/6).

    Since |d| <= 1/1024, what is left out, d^2/6 and u^3/24 of pdf(x0) d, is below 2^-27 of Phi for |x0| <= 15.
    """
    flat = np.ascontiguousarray(x).reshape(x.size)
    out = np.empty_like(flat)
    size = min(CHUNK, x.size)
    d_, x0_, u_, entry_ = (np.empty(size, np.float32) for _ in range(4))
    point_ = np.empty(size, np.intp)
    for start in range(0, x.size, CHUNK):
        chunk, y = flat[start : start + CHUNK], out[start : start + CHUNK]
        d, x0, u, entry = (scratch[: chunk.size] for scratch in (d_, x0_, u_, entry_))
        point = point_[: chunk.size]
        np.clip(chunk, np.float32(LOWEST), np.float32(HIGHEST), out=d)
        np.add(d, ROUND, out=x0)
        np.subtract(x0.view(np.int32), FIRST, out=point)
        x0 -= ROUND
        d -= x0
        np.multiply(x0, d, out=u)
        np.multiply(u, np.float32(1 / 6), out=y)
        y -= np.float32(0.5)
        y *= u
        y += np.float32(1)
        y *= d
        # mode="clip" for the sake of NaN, which stands for no point; it is in d already.
        y *= np.take(DENSITY, point, out=entry, mode="clip")
        y += np.take(LOW, point, out=entry, mode="clip")
        y += np.take(HIGH, point, out=entry, mode="clip")
        y *= np.float32(1 / SCALE)
    return out.reshape(x.shape)


M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
"""Parameters of mallopt, from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed for the next array; whether it took effect.

    This holds for the whole process, and for all that runs in it: memory once used stays with the process until it ends
    (`malloc_trim` gives it back), at most as much as was in use at the same time. A training step on NumPy frees and
    takes hundreds of arrays of megabytes, and without this most of its time can go into page faults. All threads share
    one arena, because those of other threads are given back whatever is set. Elsewhere than on glibc nothing is done.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(*setting) for setting in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1)))


GROUP = 8
"""Rows that `sum_rows` adds one after another."""


class NumpyBackend(Backend):
    """NumPy arrays in host memory.

    Attributes
    ----------
    shard : the backend that works on one shard of the batch where there are several; None where there are none.
    crew : the threads that take the shards; None likewise.
    product : multiplies matrices into given memory, see vipnp.backends.numpy.blas.
    """

    def __init__(
        self,
        name: str = "numpy",
        *,
        replacements: Mapping[Op, Op] = NO_REPLACEMENTS,
        crew: Any = None,
        shard: Any = None,
        product: Product | None = None,
    ) -> None:
        super().__init__(name, np, np.ndarray, replacements=replacements)
        self.crew = crew
        self.product = product or default_product()
        self.shard: Backend | None = shard

    def inference(self) -> Backend:
        twin = cast("NumpyBackend", super().inference())
        twin.shard = None if self.shard is None else self.shard.inference()
        return twin

    def counting(self) -> Backend:
        """This backend with a fresh count in `ran`, and its shard with one of its own."""
        twin = cast("NumpyBackend", super().counting())
        twin.shard = None if self.shard is None else self.shard.counting()
        return twin

    def watched(self, watch: Callable[[Op, Op], Op]) -> Backend:
        """This backend and its shard with `watch(op, function)` in the place of every `function`."""
        twin = cast("NumpyBackend", super().watched(watch))
        twin.shard = None if self.shard is None else self.shard.watched(watch)
        return twin

    def ndtr(self, x: Array) -> Array:
        return phi(x) if x.dtype == np.float32 else ndtr(x)

    def matmul(self, x: Array, y: Array) -> Array:
        """The product x @ y, x (M, K), y (K, N) -> (M, N), summed in steps along the inner axis (blas.py).

        What is not two matrices is `numpy.matmul`'s, which raises ValueError where sizes do not match.
        """
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != len(y):
            return np.matmul(x, y)
        product = self.product if cblas_takes(x, y) else numpy_product
        return product(x, y, np.empty((len(x), y.shape[1]), np.result_type(x, y)))

    def sum_rows(self, x: Array) -> Array:
        """Sum over all axes but the last, by groups of rows, groups of groups, and so on: (*, C) -> (C,).

        NumPy adds the rows of a C-contiguous array one after another, so the error of a plain sum over n rows grows
        like n. Here no more than `GROUP` are added in a row, at the same cost.
        """
        channels = x.shape[-1]
        rows = x.reshape(math.prod(x.shape[:-1]), channels)
        while len(rows) > GROUP:
            whole = len(rows) - len(rows) % GROUP
            sums = rows[:whole].reshape(whole // GROUP, GROUP, channels).sum(axis=1)
            rows = np.concatenate((sums, rows[whole:]))
        return rows.sum(axis=0)

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x)


def create(*, shards: int = 1, keep_memory: bool = True) -> NumpyBackend:
    """The `numpy` backend.

    shards : threads that take a part of the batch each (shards.py); 1 leaves every op whole. More than one needs
        threadpoolctl (extra `numba`).
    keep_memory : call `keep_freed_memory`, which sets malloc for the whole process; False leaves malloc as it is.

    Raises ValueError or TypeError for a wrong option, ImportError naming the extra where threadpoolctl is missing.
    """
    shards, keep_memory = check_whole("shards", shards, low=1), check_flag("keep_memory", keep_memory)
    if keep_memory:
        keep_freed_memory()
    if shards == 1:
        return NumpyBackend()
    table, crew = crew_of(shards)
    return NumpyBackend(replacements=table, crew=crew, shard=NumpyBackend())


def crew_of(shards: int) -> tuple[Mapping[Op, Op], Any]:
    """The table that splits the batch, and `shards` threads for it.

    Raises ImportError naming the extra where threadpoolctl is missing.
    """
    if find_spec("threadpoolctl") is None:
        raise ImportError('shards need threadpoolctl, which is not installed: pip install "vipnp[numba]"')
    return SHARDS, Crew(shards)
