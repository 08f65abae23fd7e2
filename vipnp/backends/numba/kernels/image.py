"""A stage in inference, one image on all cores: one call for all of its blocks.

Tokens stand in panels (P, C, WIDTH): token t is column t % WIDTH of panel t // WIDTH, a channel is a row, and vectors
run over tokens. So the product of a linear layer is weight @ x, which reads weights and tokens as they stand: no
library's packing of its factors, and nothing to keep between two calls. The branches of the Permute-MLP have panels
of their own, of the columns (n, w) and (n, h), rows (h, s) and (w, s).

A block is STEPS steps, and a step is chunks that depend on none of its others. Every thread that calls `stage_chunks`
takes the next chunk of the current step until there are none, and goes on when all are done. It waits for nobody who
has not taken a chunk: one thread does all the work where no other comes, and a thread that comes late finds its place.
Who does a chunk does not change its result. Threads of one side take chunks from the first on, those of the other from
the last: so a core finds more of what it needs in its own cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.backends.numba.kernels import gelu, machine, panels
from vipnp.backends.numba.kernels.compiler import kernel_with, part
from vipnp.backends.numba.kernels.gelu import normal
from vipnp.backends.numba.kernels.machine import (
    LANES,
    TALL,
    WIDTH,
    add_rows,
    ask_for,
    fetch_add,
    low_tile,
    row_tile,
    tall_tile,
    wait_for,
    whole_registers,
)
from vipnp.backends.numba.kernels.panels import (
    give_panel,
    norm_panel,
    numbers,
    of_whole_vectors,
    place,
    read_across,
    read_along,
    read_row,
    read_vectors,
    row_sum,
    take_panel,
    write_across,
    write_along,
    write_row,
    write_vectors,
)
from vipnp.core import HostArray

STEPS = 11
NORM1, PERMUTE, BRANCHES, POOL, HIDDEN, ATTENTION, WEIGHTED, PROJ, NORM2, FC1, FC2 = range(STEPS)
"""The steps of a block."""

PARAMS = (
    "norm1.weight",
    "norm1.bias",
    "attn.mlp_h.weight",
    "attn.mlp_w.weight",
    "attn.mlp_c.weight",
    "attn.reweight.fc1.weight",
    "attn.reweight.fc1.bias",
    "attn.reweight.fc2.weight",
    "attn.reweight.fc2.bias",
    "attn.proj.weight",
    "attn.proj.bias",
    "norm2.weight",
    "norm2.bias",
    "mlp.fc1.weight",
    "mlp.fc1.bias",
    "mlp.fc2.weight",
    "mlp.fc2.bias",
)
"""The parameters of a block, in the order of their addresses."""

TERMS = 192
"""Products that are added up before partial sums are (vipnp.backends.numpy.blas.INNER)."""

PANELS = 8
"""Panels of a chunk of a product: they stay in a core's second-level cache while the weights pass."""

LINE = 64
"""Bytes of a cache line."""

LINES = 4 * TALL * TERMS // (LINE * PANELS)
"""Cache lines of the next chunk's weights that are asked for with every tile, so that all are there when it begins."""

COUNTERS = 16
"""Integers in the row of a step, of which four are used: the others keep the rows in cache lines of their own."""

PART = 32
"""Outputs of a chunk of the two layers that weigh the branches."""


@part
def product(weight: int, x: HostArray, y: HostArray, chunk: int, side: int) -> tuple[int, int, int, int]:
    """One chunk of y = weight @ x: (first row, end of the rows, first panel, end of the panels) of what it wrote.

    weight, the address of (M, K); x (P, K, WIDTH); side, 0 or 1, whether the next chunk or the one before this comes
    next, whose weights are asked for meanwhile; out: y (P, M, WIDTH).
    """
    (P, K, _), M = x.shape, y.shape[1]
    tiles = -(-M // TALL)
    first, start = chunk % tiles * TALL, chunk // tiles * PANELS
    end, stop = min(first + TALL, M), min(start + PANELS, P)
    following = weight + 4 * K * (first - TALL if side else first + TALL)
    for p in range(start, stop):
        for k in range(0, K, TERMS):
            for _ in range(LINES):
                ask_for(following)
                following += LINE
            terms, at = min(TERMS, K - k), x.ctypes.data + 4 * WIDTH * (p * K + k)
            row = first
            while row < end:
                w, out = weight + 4 * (row * K + k), y.ctypes.data + 4 * WIDTH * (p * M + row)
                if end - row == TALL:
                    tall_tile(w, K, at, terms, out, k)
                    row += TALL
                elif end - row > 1:
                    low_tile(w, K, at, terms, out, k)
                    row += 2
                else:
                    row_tile(w, K, at, terms, out, k)
                    row += 1
    return first, end, start, stop


@part
def next_chunk(tickets: int, chunks: int, side: int) -> Any:
    """A chunk that nobody has taken, from the first on or, on side 1, from the last; `chunks` where there is none.

    tickets : address of the counters of a step: of the chunks taken, of those done, and of those taken on each side.
    """
    if fetch_add(tickets) >= chunks:
        return chunks
    taken = fetch_add(tickets + 8 * (2 + side))
    return chunks - 1 - taken if side else taken


@part
def product_chunks(M: int, P: int) -> int:
    """Chunks of a product with M outputs and P panels."""
    return -(-M // TALL) * -(-P // PANELS)


@part
def dot(row: int, x: HostArray) -> Any:
    """The sum of the products of x (K,) and K float32 numbers at an address, in parts of TERMS."""
    total = np.float32(0)
    for start in range(0, x.size, TERMS):
        terms, part = min(TERMS, x.size - start), np.float32(0)
        w, v = numbers(row + 4 * start, terms), numbers(x.ctypes.data + 4 * start, terms)
        for k in range(terms):
            part += w[k] * v[k]
        total += part
    return total


@part
def gelu_tile(u: HostArray, bias: HostArray, scale: float, tile: tuple[int, int, int, int]) -> None:
    """scale * v * Phi(v), v = u + bias, in the place of u (P, R, WIDTH) in a tile."""
    whole_registers()
    first, end, start, stop = tile
    for p in range(start, stop):
        for r in range(first, end):
            shift, row = bias[r], u[p, r]  # indexing all three axes of u was not vectorised: five times as slow
            for j in range(WIDTH):
                v = row[j] + shift
                cdf, _ = normal(v)
                row[j] = scale * (v * cdf)


@part
def residual_tile(
    x: HostArray, branch: HostArray, bias: HostArray, scale: float, tile: tuple[int, int, int, int]
) -> None:
    """x + branch + scale * bias, in the place of branch (P, C, WIDTH) in a tile."""
    first, end, start, stop = tile
    for p in range(start, stop):
        for c in range(first, end):
            shift, row, skip = scale * bias[c], branch[p, c], x[p, c]
            for j in range(WIDTH):
                row[j] = skip[j] + row[j] + shift


@part
def permute_segment(a: HostArray, n: int, H: int, W: int, S: int, h_in: HostArray, w_in: HostArray) -> None:
    """One segment of a (P, C, WIDTH) in the columns and rows of the branches; h_in (Ph, H*S, WIDTH), w_in likewise."""
    tokens = np.empty(H * W, np.float32)
    for s in range(S):
        if of_whole_vectors(H, W):
            read_vectors(a, n * S + s, tokens)
            write_along(h_in, s, S, n * W, H, W, tokens)
            write_across(w_in, s, S, n * H, H, W, tokens)
        else:
            read_row(a, n * S + s, 0, tokens, 0, 1, H * W)
            for h in range(H):
                write_row(h_in, h * S + s, n * W, tokens, h * W, 1, W)
            for w in range(W):
                write_row(w_in, w * S + s, n * H, tokens, w, W, H)


@part
def pool_segment(
    h_out: HostArray, w_out: HostArray, c_out: HostArray, n: int, H: int, W: int, S: int, pooled: HostArray
) -> None:
    """The mean over the tokens of the sum of the branches, one segment; pooled (C,)."""
    sums = np.empty(LANES, np.float32)
    out = sums.ctypes.data
    for s in range(S):
        c, sums[:] = n * S + s, 0
        if of_whole_vectors(H, W):
            for w in range(0, W, LANES):
                add_rows(place(h_out, s, n * W + w), 4 * WIDTH * S, H, out, out)
            for h in range(0, H, LANES):
                add_rows(place(w_out, s, n * H + h), 4 * WIDTH * S, W, out, out)
            for t in range(0, WIDTH, LANES):
                add_rows(place(c_out, c, t), 4 * WIDTH * c_out.shape[1], len(c_out), out, out)
        else:
            for h in range(H):
                sums[0] += row_sum(h_out, h * S + s, n * W, W)
            for w in range(W):
                sums[1] += row_sum(w_out, w * S + s, n * H, H)
            sums[2] = row_sum(c_out, c, 0, H * W)
        pooled[c] = np.sum(sums) / np.float32(H * W)


@part
def weigh_segment(
    h_out: HostArray,
    w_out: HostArray,
    c_out: HostArray,
    weights: HostArray,
    n: int,
    H: int,
    W: int,
    S: int,
    y: HostArray,
) -> None:
    """The weighted sum of the branches, one segment; weights (3, C), y (P, C, WIDTH)."""
    T = H * W
    tokens, across, straight = np.empty(T, np.float32), np.empty(T, np.float32), np.empty(T, np.float32)
    for s in range(S):
        c = n * S + s
        along_h, along_w, along_c = weights[0, c], weights[1, c], weights[2, c]
        if of_whole_vectors(H, W):
            read_along(h_out, s, S, n * W, H, W, tokens)
            read_across(w_out, s, S, n * H, H, W, across)
            read_vectors(c_out, c, straight)
        else:
            for h in range(H):
                read_row(h_out, h * S + s, n * W, tokens, h * W, 1, W)
            for w in range(W):
                read_row(w_out, w * S + s, n * H, across, w, W, H)
            read_row(c_out, c, 0, straight, 0, 1, T)
        for t in range(T):
            tokens[t] = along_h * tokens[t] + along_w * across[t] + along_c * straight[t]
        if of_whole_vectors(H, W):
            write_vectors(y, c, tokens)
        else:
            write_row(y, c, 0, tokens, 0, 1, T)


@part
def hidden_rows(weight: int, bias: HostArray, pooled: HostArray, first: int, end: int, hidden: HostArray) -> None:
    """hidden = gelu(weight @ pooled + bias), its entries from first to end; weight, the address of (Q, C)."""
    for q in range(first, end):
        v = dot(weight + 4 * q * pooled.size, pooled) + bias[q]
        cdf, _ = normal(v)
        hidden[q] = v * cdf


@part
def attention_rows(
    weight: int, bias: HostArray, hidden: HostArray, scale: float, first: int, end: int, weights: HostArray
) -> None:
    """weights[:, c] = scale * softmax of the entries 3 c ... 3 c + 2 of weight @ hidden + bias, c from first to end;
    weight, the address of (3 * C, Q)."""
    row = 4 * hidden.size
    for c in range(first, end):
        at = weight + 3 * c * row
        l0 = dot(at, hidden) + bias[3 * c]
        l1 = dot(at + row, hidden) + bias[3 * c + 1]
        l2 = dot(at + 2 * row, hidden) + bias[3 * c + 2]
        largest = max(l0, l1, l2)
        e0, e1, e2 = np.exp(l0 - largest), np.exp(l1 - largest), np.exp(l2 - largest)
        total = e0 + e1 + e2
        weights[0, c] = e0 / total * scale
        weights[1, c] = e1 / total * scale
        weights[2, c] = e2 / total * scale


@kernel_with(gelu, machine, panels)
def stage_chunks(
    image: HostArray,
    params: HostArray,
    segments: int,
    hidden: tuple[int, int],
    scale: float,
    eps: float,
    memory: Any,
    small: Any,
    tickets: HostArray,
    side: int,
    result: HostArray,
) -> None:
    """A share of the chunks of all blocks of a stage; the stage is done when every caller has returned.

    image (H, W, C); params (L, 17), the addresses of PARAMS of every block; segments N; hidden (R, Q), the widths of
    the MLP and of the layer that weighs the branches; scale, the factor of the residual branches; memory x, z, a, c
    (P, C, WIDTH), hi, ho (Ph, H*S, WIDTH), wi, wo (Pw, W*S, WIDTH), g (P, R, WIDTH), hi and wi with any numbers where
    they have no column; small pooled (C,), h (Q,), weights (3, C); tickets (L * STEPS + 2, 16) zeros, the counters of
    every step, see `next_chunk`; side, 0 or 1, the end from which the caller takes chunks; out: result (H, W, C).
    All callers share every array.
    """
    H, W, C = image.shape
    N, (R, Q) = segments, hidden
    S = C // N
    x, z, a, c_out, h_in, h_out, w_in, w_out, g = memory
    pooled, inner, weights = small
    P = len(x)
    scale_: Any = np.float32(scale)
    h_chunks, w_chunks = product_chunks(H * S, len(h_in)), product_chunks(W * S, len(w_in))
    c_chunks = product_chunks(C, P)
    chunks_of = (
        P,
        N,
        h_chunks + w_chunks + c_chunks,
        N,
        -(-Q // PART),
        -(-C // PART),
        N,
        c_chunks,
        P,
        product_chunks(R, P),
        c_chunks,
    )
    steps = len(params) * STEPS + 2
    for step in range(steps):
        block, kind = (step - 1) // STEPS, (step - 1) % STEPS
        outside = step in (0, steps - 1)
        chunks = P if outside else chunks_of[kind]
        taken = tickets.ctypes.data + 8 * COUNTERS * step
        chunk = next_chunk(taken, chunks, side)
        while chunk < chunks:
            if step == 0:
                take_panel(image, chunk, x)
            elif outside:
                give_panel(x, chunk, result)
            elif kind in (NORM1, NORM2):
                source, at = (x, 0) if kind == NORM1 else (z, 11)
                norm_panel(
                    source[chunk], numbers(params[block, at], C), numbers(params[block, at + 1], C), eps, a[chunk]
                )
            elif kind == PERMUTE:
                permute_segment(a, chunk, H, W, S, h_in, w_in)
            elif kind == POOL:
                pool_segment(h_out, w_out, c_out, chunk, H, W, S, pooled)
            elif kind == HIDDEN:
                first, end = chunk * PART, min((chunk + 1) * PART, Q)
                hidden_rows(params[block, 5], numbers(params[block, 6], Q), pooled, first, end, inner)
            elif kind == ATTENTION:
                first, end = chunk * PART, min((chunk + 1) * PART, C)
                attention_rows(params[block, 7], numbers(params[block, 8], 3 * C), inner, scale_, first, end, weights)
            elif kind == WEIGHTED:
                weigh_segment(h_out, w_out, c_out, weights, chunk, H, W, S, a)
            else:  # one call of `product` for all, which is compiled into its caller
                at, source, target, own = 4, a, c_out, chunk - h_chunks - w_chunks
                if kind != BRANCHES:
                    at, source, target = (9, a, z) if kind == PROJ else (13, a, g) if kind == FC1 else (15, g, x)
                    own = chunk
                elif chunk < h_chunks:
                    at, source, target, own = 2, h_in, h_out, chunk
                elif chunk < h_chunks + w_chunks:
                    at, source, target, own = 3, w_in, w_out, chunk - h_chunks
                tile = product(params[block, at], source, target, own, side)
                if kind == FC1:
                    gelu_tile(g, numbers(params[block, 14], R), scale_, tile)
                elif kind != BRANCHES:
                    skip = x if kind == PROJ else z
                    residual_tile(skip, target, numbers(params[block, at + 1], C), scale_, tile)
            fetch_add(taken + 8)
            chunk = next_chunk(taken, chunks, side)
        wait_for(taken + 8, chunks)
