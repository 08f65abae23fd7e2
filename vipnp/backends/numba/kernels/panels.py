"""Tokens in panels (P, C, WIDTH): token t is column t % WIDTH of panel t // WIDTH, a channel is a row.

How they get there, how single rows are read and written, and the norm of every column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from vipnp.backends.numba.kernels.compiler import part
from vipnp.backends.numba.kernels.machine import LANES, WIDTH, add_rows, add_squares, move, pointer, transpose
from vipnp.core import HostArray

GROUP = 16
"""Channels that a sum over channels adds before partial sums are."""


@part
def numbers(address: int, count: int) -> Any:
    """The `count` float32 numbers at an address."""
    return carray(pointer(address), count)


@part
def take_panel(image: HostArray, p: int, x: HostArray) -> None:
    """Panel p of x (P, C, WIDTH) = its tokens of the image (H, W, C); 0 where there is no token."""
    H, W, C = image.shape
    for j in range(WIDTH):
        t = p * WIDTH + j
        for c in range(C):
            x[p, c, j] = image[t // W, t % W, c] if t < H * W else np.float32(0)


@part
def give_panel(x: HostArray, p: int, image: HostArray) -> None:
    """take_panel the other way round."""
    H, W, C = image.shape
    for j in range(min(WIDTH, H * W - p * WIDTH)):
        t = p * WIDTH + j
        for c in range(C):
            image[t // W, t % W, c] = x[p, c, j]


@part
def norm_panel(x: HostArray, weight: HostArray, bias: HostArray, eps: float, y: HostArray) -> None:
    """y = layer_norm of every column of x (C, WIDTH), the variance from the centred values; weight, bias (C,)."""
    C, row = x.shape[0], 4 * WIDTH
    mean, rstd = np.zeros(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    for half in range(0, WIDTH, LANES):
        at, centre, squares = x.ctypes.data + 4 * half, mean.ctypes.data + 4 * half, rstd.ctypes.data + 4 * half
        for start in range(0, C, GROUP):
            add_rows(at + row * start, row, min(GROUP, C - start), centre, centre)
        for j in range(LANES):
            mean[half + j] /= np.float32(C)
        for start in range(0, C, GROUP):
            add_squares(at + row * start, row, min(GROUP, C - start), centre, squares)
    for j in range(WIDTH):
        rstd[j] = np.float32(1) / np.sqrt(rstd[j] / np.float32(C) + np.float32(eps))
    for c in range(C):
        values, out, scale, shift = x[c], y[c], weight[c], bias[c]
        for j in range(WIDTH):
            out[j] = (values[j] - mean[j]) * rstd[j] * scale + shift


@part
def read_row(x: HostArray, row: int, first: int, values: HostArray, start: int, step: int, count: int) -> None:
    """values[start], values[start + step], ... = x's columns first, first + 1, ... of a row; x (P, rows, WIDTH)."""
    done = 0
    while done < count:
        p, j = (first + done) // WIDTH, (first + done) % WIDTH
        run = min(WIDTH - j, count - done)
        for i in range(run):
            values[start + (done + i) * step] = x[p, row, j + i]
        done += run


@part
def write_row(y: HostArray, row: int, first: int, values: HostArray, start: int, step: int, count: int) -> None:
    """y's columns first, first + 1, ... of a row = values[start], values[start + step], ...; y (P, rows, WIDTH)."""
    done = 0
    while done < count:
        p, j = (first + done) // WIDTH, (first + done) % WIDTH
        run = min(WIDTH - j, count - done)
        for i in range(run):
            y[p, row, j + i] = values[start + (done + i) * step]
        done += run


@part
def place(x: HostArray, row: int, column: int) -> Any:
    """The address of a column of a row; x (P, rows, WIDTH)."""
    return x.ctypes.data + 4 * (column // WIDTH * x.shape[1] * WIDTH + row * WIDTH + column % WIDTH)


@part
def of_whole_vectors(H: int, W: int) -> bool:
    """Whether the rows and the columns of a grid are whole vectors: none lies in two panels, and panels are full."""
    return H % LANES == 0 and W % LANES == 0


@part
def read_across(x: HostArray, s: int, S: int, first: int, H: int, W: int, tokens: HostArray) -> None:
    """tokens[h * W + w] = column first + h of row w * S + s, H and W whole vectors; x (P, W*S, WIDTH)."""
    for h in range(0, H, LANES):
        for w in range(0, W, LANES):
            target = tokens.ctypes.data + 4 * (h * W + w)
            transpose(place(x, w * S + s, first + h), 4 * WIDTH * S, target, 4 * W)


@part
def write_across(y: HostArray, s: int, S: int, first: int, H: int, W: int, tokens: HostArray) -> None:
    """read_across the other way round."""
    for h in range(0, H, LANES):
        for w in range(0, W, LANES):
            source = tokens.ctypes.data + 4 * (h * W + w)
            transpose(source, 4 * W, place(y, w * S + s, first + h), 4 * WIDTH * S)


@part
def read_along(x: HostArray, s: int, S: int, first: int, H: int, W: int, tokens: HostArray) -> None:
    """tokens[h * W + w] = column first + w of row h * S + s, W whole vectors; x (P, H*S, WIDTH)."""
    for h in range(H):
        for w in range(0, W, LANES):
            move(place(x, h * S + s, first + w), tokens.ctypes.data + 4 * (h * W + w))


@part
def write_along(y: HostArray, s: int, S: int, first: int, H: int, W: int, tokens: HostArray) -> None:
    """read_along the other way round."""
    for h in range(H):
        for w in range(0, W, LANES):
            move(tokens.ctypes.data + 4 * (h * W + w), place(y, h * S + s, first + w))


@part
def read_vectors(x: HostArray, row: int, tokens: HostArray) -> None:
    """tokens = the columns of a row of x (P, rows, WIDTH) from the first on, whole vectors."""
    for t in range(0, tokens.size, LANES):
        move(place(x, row, t), tokens.ctypes.data + 4 * t)


@part
def write_vectors(y: HostArray, row: int, tokens: HostArray) -> None:
    """read_vectors the other way round."""
    for t in range(0, tokens.size, LANES):
        move(tokens.ctypes.data + 4 * t, place(y, row, t))


@part
def row_sum(x: HostArray, row: int, first: int, count: int) -> Any:
    """The sum of the columns first ... first + count - 1 of a row of x (P, rows, WIDTH)."""
    total, done = np.float32(0), 0
    while done < count:
        p, j = (first + done) // WIDTH, (first + done) % WIDTH
        run = min(WIDTH - j, count - done)
        part = np.float32(0)
        for i in range(run):
            part += x[p, row, j + i]
        total += part
        done += run
    return total
