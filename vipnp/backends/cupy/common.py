"""What launching the kernels takes in several places: layouts and grids of tokens, scales of branches, sums of rows."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from vipnp.backends.cupy.arrays import convert, dtype_name, empty
from vipnp.backends.cupy.kernels import ROW_LANES, WARP, constant, launch, row_blocks, vector_length, wide
from vipnp.core import Array, Replacements

SUM_LANES = constant("residual.cu", "SUM_LANES")

TABLE = Replacements()
"""Ops, layers and the optimiser's step -> the functions in this folder that run CUDA kernels and products by cuBLAS;
docs/cuda.md says which kernel does what. Activations are float32, float16 or bfloat16 with float32 sums, or float64."""

CHANNEL, HEIGHT, WIDTH = 0, 1, 2
"""Layouts, as in common.cuh."""


class Scale(NamedTuple):
    """What drop path and skip_lam make of a branch: mask[b] * factor, or factor where there is no mask.

    mask (B,), of any stride.
    """

    mask: Array | None = None
    factor: float = 1.0

    @property
    def is_one(self) -> bool:
        """Whether the branch is added as it is."""
        return self.mask is None and self.factor == 1.0

    @property
    def arguments(self) -> dict[str, Any]:
        """What the kernels take: mask, its stride in elements, factor."""
        stride = 0 if self.mask is None else self.mask.strides[0] // self.mask.itemsize
        return {"mask": self.mask, "mask_stride": stride, "factor": self.factor}


ONE = Scale()

FEW_ROWS = 8 * ROW_LANES
"""Rows that one block adds up in the time that another launch takes."""


def path_scale(x: Array, mask: Array | None, rate: float = 0.0, skip_lam: float = 1.0) -> Scale:
    """The scale of a branch like `x`: mask (B,) / (1 - rate) / skip_lam, without the first two where mask is None."""
    wanted = wide(dtype_name(x))
    held = mask if mask is None or dtype_name(mask) == wanted else convert(mask, wanted)
    return Scale(held, 1 / ((1 - rate) * skip_lam))


class Grid(NamedTuple):
    """Activations (B, H, W, C) in segments of width S."""

    B: int
    H: int
    W: int
    C: int
    S: int

    @property
    def rows(self) -> int:
        return self.B * self.H * self.W

    @property
    def sizes(self) -> dict[str, int]:
        """What the kernels take of them."""
        return {"H": self.H, "W": self.W, "C": self.C, "S": self.S}


def launch_columns(name: str, blocks: int, packed: tuple[Array, ...], **arguments: Any) -> None:
    """Start a kernel over rows (M, K), its lanes along the columns, its warps along the rows.

    blocks : that share the rows. packed : what it moves in packs, None for nothing; the first has its dtype.
    """
    rows, width = packed[0].shape
    vector = vector_length(width, *packed)
    grid = (math.ceil(width / (WARP * vector)), blocks)
    launch(name, dtype_name(packed[0]), (str(vector),), grid, (WARP, ROW_LANES), **arguments, M=rows, K=width)


def sum_rows(partial: Array) -> Array:
    """(P, K) -> (K,), the rows added in an order that depends on P alone."""
    rows, width = partial.shape
    if rows == 1:
        return partial.reshape(width)
    out = empty((width,), dtype_name(partial))
    blocks = (math.ceil(width / WARP),)
    launch("sum_rows", dtype_name(out), (), blocks, (WARP, SUM_LANES), partial=partial, out=out, P=rows, K=width)
    return out


class RowSums:
    """Sums over rows of several arrays, side by side in one matrix, so that one kernel adds all of them up.

    rows : those of the arrays. widths : the columns of each. like : whose dtype the sums go with.
    """

    def __init__(self, rows: int, widths: tuple[int, ...], like: Array) -> None:
        self._ends = list(accumulate(widths, initial=0))
        self._partial = empty((sum_blocks(rows), self._ends[-1]), wide(dtype_name(like)))

    def __getitem__(self, i: int) -> Array:
        """Where the partial sums of the i-th array go, one row a block of its kernel."""
        return self._partial[:, self._ends[i] : self._ends[i + 1]]

    def totals(self) -> list[Array]:
        """The sums of each array."""
        total = sum_rows(self._partial)
        return [total[begin:end] for begin, end in pairwise(self._ends)]


def pitch(partial: Array | None) -> int:
    """Elements from one row of partial sums to the next."""
    return 0 if partial is None else partial.strides[0] // partial.itemsize


def sum_blocks(rows: int) -> int:
    """How many blocks share the rows where these are summed: one for few, then there is nothing left to add up."""
    return 1 if rows <= FEW_ROWS else row_blocks(rows, ROW_LANES)


def check_shape(name: str, array: Array, *shape: int) -> None:
    """Raise ValueError unless the array has that shape: a kernel goes by the sizes that it is told."""
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")


def check_parameter(name: str, parameter: Array, beside: Array, *shape: int) -> None:
    """Raise ValueError unless it has that shape, TypeError unless it is in the dtype of sums beside activations like
    `beside`."""
    check_shape(name, parameter, *shape)
    wanted = wide(dtype_name(beside))
    if dtype_name(parameter) != wanted:
        raise TypeError(f"{name}: got dtype {parameter.dtype} beside activations of {beside.dtype}, expected {wanted}")


def check_segments(segments: int, channels: int) -> None:
    """Raise ValueError unless the channels come in that many segments of one width."""
    if segments < 1 or channels % segments:
        raise ValueError(f"segments: got {segments}, expected a divisor of C = {channels}")
