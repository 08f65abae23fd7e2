"""CUDA kernels in the place of whole stages and of the transitions between them.

Between two matrix products stands one kernel. What crosses the edge of a block, its residual with drop path and the
next LayerNorm, is one kernel too, and it writes the three layouts that the branches' products read; the weighted sum
reads their results as they stand. What a LayerNorm or a GELU gave is not kept: the kernel of its backward pass reads
what it takes to write it once more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cupy

from vipnp.backends.cupy.arrays import convert, dtype_name
from vipnp.backends.cupy.common import (
    CHANNEL,
    HEIGHT,
    TABLE,
    WIDTH,
    Grid,
    RowSums,
    Scale,
    check_parameter,
    check_segments,
    check_shape,
    path_scale,
)
from vipnp.backends.cupy.gelu import gelu_backward, gelu_forward
from vipnp.backends.cupy.layer_norm import NormSaved, norm_backward, norm_forward
from vipnp.backends.cupy.linear import linear_rows
from vipnp.backends.cupy.permutations import exchange
from vipnp.backends.cupy.products import operand, product, rows_of
from vipnp.backends.cupy.residual import residual_backward, residual_forward
from vipnp.backends.cupy.split_attention import (
    Branches,
    pool_forward,
    split_attention_backward_branches,
    split_attention_backward_logits,
    split_attention_forward,
)
from vipnp.core import Array, Replacements
from vipnp.core.tree import flatten
from vipnp.layers import (
    STANDARD_BRANCHES,
    BlockMasks,
    BranchKind,
    DownsampleParams,
    FusionKind,
    Mask,
    PermutatorParams,
    downsample,
    mlp,
    stage,
)
from vipnp.ops import layer_norm

EPS: float = inspect.signature(layer_norm).parameters["eps"].default

LAYOUTS = (HEIGHT, WIDTH, CHANNEL)
"""Of the three branches, in their order."""


class Branch(NamedTuple):
    """What is to be added to the residual stream: (values (M, C) + bias (C,)) * scale."""

    values: Array
    bias: Array
    scale: Scale


class Weights(NamedTuple):
    """The matrices of one block as the products take them."""

    height: Array
    width: Array
    channel: Array
    proj: Array
    fc1: Array
    fc2: Array


class SavedBlock(NamedTuple):
    """What the backward pass of one block needs; M = B*H*W, R the width of the hidden layer.

    norm1, norm2 : z (M, C), the residual stream there, and its mean and rstd (M,). branches : (M, C) each in its
    layout. weighted : (M, C), the weighted sum. u : (M, R), fc1 without its bias. before, attn, channel : the scales
    of the branch added before the block and of its own two; before is None where there was none.
    """

    params: Any
    weights: Weights
    norm1: NormSaved
    branches: Branches
    logits: Array
    reweight_back: Callable[[Array], tuple[Array, Any]]
    weighted: Array
    norm2: NormSaved
    u: Array
    before: Scale | None
    attn: Scale
    channel: Scale


@TABLE.replaces(stage)
def stage_cuda(
    xp: Any,
    x: Array,
    params: dict[str, PermutatorParams],
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: Sequence[BlockMasks] | None = None,
) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, PermutatorParams]]]]:
    """The published block; the plain sum, other branches and dropout run the readable stage on the fused ops.

    Saves: per block 9 activations (M, C) where the hidden layer is three wide; see `SavedBlock`.
    """
    block_masks = [BlockMasks()] * len(params) if masks is None else masks
    dropout = any(mask is not None for block in block_masks for mask in (block.proj, block.hidden, block.out))
    if fusion != "weighted" or tuple(branches) != STANDARD_BRANCHES or dropout:
        return xp.readable(  # type: ignore[no-any-return]
            stage, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
        )
    B, H, W, C = x.shape
    check_segments(segments, C)
    grid = Grid(B, H, W, C, C // segments)
    for (name, block_params), block in zip(params.items(), block_masks, strict=True):
        check_block(name, x, block_params, block, grid)
    stream, pending = rows_of(x), None
    saved: list[tuple[str, SavedBlock]] = []
    for (name, block_params), block in zip(params.items(), block_masks, strict=True):
        scales = (_scale(x, block.attn_path, skip_lam), _scale(x, block.mlp_path, skip_lam))
        stream, pending, kept = block_forward(xp, stream, pending, block_params, grid, scales)
        if xp.keep:
            saved.append((name, kept))
        del kept
    y = stream if pending is None else residual_forward(stream, *pending, H * W)

    def pullback(dy: Array) -> tuple[Array, dict[str, PermutatorParams]]:
        if not saved:
            raise RuntimeError("this pullback of a stage was called before: it is one-shot and has freed its blocks")
        dstream = rows_of(dy)
        dbranch, dbias = residual_backward(dstream, saved[-1][1].channel, H * W, bias=True)
        dparams = {}
        while saved:
            block_name, kept = saved.pop()
            backward = xp.find(block_backward)
            dstream, dbranch, dbias, dparams[block_name] = backward(xp, dstream, dbranch, dbias, kept, grid)
        return dstream.reshape(x.shape), dict(reversed(dparams.items()))

    return y.reshape(x.shape), pullback


def check_block(name: str, x: Array, params: Any, masks: BlockMasks, grid: Grid) -> None:
    """Raise ValueError or TypeError unless every parameter and mask of a block fits tokens like `x`."""
    C, height, width = grid.C, grid.H * grid.S, grid.W * grid.S
    reduced, hidden = (layer["fc1"]["bias"].shape[0] for layer in (params["attn"]["reweight"], params["mlp"]))
    matrices = {
        "attn.mlp_c.weight": (C, C),
        "attn.mlp_h.weight": (height, height),
        "attn.mlp_w.weight": (width, width),
        "attn.reweight.fc1.weight": (reduced, C),
        "attn.reweight.fc2.weight": (3 * C, reduced),
        "attn.proj.weight": (C, C),
        "mlp.fc1.weight": (hidden, C),
        "mlp.fc2.weight": (C, hidden),
    }
    vectors = {"attn.reweight.fc1.bias": reduced, "attn.reweight.fc2.bias": 3 * C, "mlp.fc1.bias": hidden}
    for path, parameter in flatten(params):
        if path in matrices:
            check_shape(f"{name}.{path}", parameter, *matrices[path])
        else:
            check_parameter(f"{name}.{path}", parameter, x, vectors.get(path, C))
    for path, mask in (("attn_path", masks.attn_path), ("mlp_path", masks.mlp_path)):
        if mask is not None:
            check_shape(f"masks of {name}.{path}", mask.mask, grid.B)


def _scale(x: Array, mask: Mask | None, skip_lam: float) -> Scale:
    return path_scale(x, None, skip_lam=skip_lam) if mask is None else path_scale(x, mask.mask, mask.rate, skip_lam)


def block_forward(
    xp: Any, stream: Array, pending: Branch | None, params: Any, grid: Grid, scales: tuple[Scale, Scale]
) -> tuple[Array, Branch, SavedBlock]:
    """One block on the stream (M, C) and the branch still to be added to it: the stream and branch that it leaves."""
    attn, channel = params["attn"], params["mlp"]
    norm1_params, norm2_params = params["norm1"], params["norm2"]
    dtype = dtype_name(stream)
    operands = dtype_name(operand(xp, stream[:1]))
    weights = Weights(
        *(
            convert(layer["weight"], operands)
            for layer in (attn["mlp_h"], attn["mlp_w"], attn["mlp_c"], attn["proj"], channel["fc1"], channel["fc2"])
        )
    )

    def times(a: Array, weight: Array) -> Array:
        return product(xp, operand(xp, a), weight, transpose_b=True, dtype=dtype)

    added = {} if pending is None else {"branch": pending.values, "branch_bias": pending.bias, "scale": pending.scale}
    y, y_height, y_width, norm1 = norm_forward(stream, **norm1_params, eps=EPS, grid=grid, permuted=True, **added)
    height = times(y_height.reshape(-1, grid.H * grid.S), weights.height).reshape(y.shape)
    width = times(y_width.reshape(-1, grid.W * grid.S), weights.width).reshape(y.shape)
    branches = Branches((height, width, times(y, weights.channel)), LAYOUTS)
    del y, y_height, y_width
    pooled = pool_forward(branches, grid)
    reweighted, reweight_back = xp.run(mlp, pooled, attn["reweight"])
    logits = reweighted.reshape(grid.B, grid.C, 3)
    weighted = split_attention_forward(logits, branches, grid)
    branch = Branch(times(weighted, weights.proj), attn["proj"]["bias"], scales[0])

    y, _, _, norm2 = norm_forward(
        norm1.z,
        **norm2_params,
        eps=EPS,
        grid=grid,
        branch=branch.values,
        branch_bias=branch.bias,
        scale=branch.scale,
    )
    u = times(y, weights.fc1)
    hidden = gelu_forward(u, channel["fc1"]["bias"])
    out = Branch(times(hidden, weights.fc2), channel["fc2"]["bias"], scales[1])
    saved = SavedBlock(
        params,
        weights,
        norm1,
        branches,
        logits,
        reweight_back,
        weighted,
        norm2,
        u,
        None if pending is None else pending.scale,
        *scales,
    )
    return norm2.z, out, saved


def block_backward(
    xp: Any, dstream: Array, dbranch: Array, dbias: Array | None, saved: SavedBlock, grid: Grid
) -> tuple[Array, Array, Array | None, Any]:
    """The backward pass of `block_forward`.

    dstream (M, C) : the gradient of the stream after the block. dbranch (M, C), dbias (C,) : those of its last branch.
    Returns the same three of the stream and branch before the block, and dparams.
    """
    dtype, parameter_dtype = dtype_name(dstream), dtype_name(saved.logits)
    params, weights = saved.params, saved.weights
    fc1, norm1, norm2 = params["mlp"]["fc1"], params["norm1"], params["norm2"]

    def back(d: Array, weight: Array) -> Array:
        return product(xp, operand(xp, d), weight, dtype=dtype)

    def gradient(d: Array, a: Array) -> Array:
        return product(xp, operand(xp, d), operand(xp, a), transpose_a=True, dtype=parameter_dtype)

    dhidden = back(dbranch, weights.fc2)
    sums = RowSums(grid.rows, (saved.u.shape[1], 3 * grid.C, (2 if saved.before is None else 3) * grid.C), dstream)
    du, hidden = gelu_backward(dhidden, saved.u, fc1["bias"], sums[0], again=True)
    dweight2 = gradient(dbranch, hidden)
    del dhidden, hidden
    channel_norm = norm_backward(
        (back(du, weights.fc1), None, None),
        saved.norm2,
        **norm2,
        grid=grid,
        partial=sums[1],
        dresidual=dstream,
        scale=saved.attn,
        again=(True, False, False),
    )
    dweight1 = gradient(du, channel_norm.y[0])
    del du

    dweighted = back(channel_norm.dbranch, weights.proj)
    dproj = gradient(channel_norm.dbranch, saved.weighted)
    dlogits = split_attention_backward_logits(dweighted, saved.logits, saved.branches, grid)
    dpooled, dreweight = saved.reweight_back(dlogits.reshape(grid.B, 3 * grid.C))
    rows = (grid.H * grid.S, grid.W * grid.S, grid.C)
    d = [
        one.reshape(-1, width)
        for one, width in zip(
            split_attention_backward_branches(dweighted, saved.logits, dpooled, LAYOUTS, grid), rows, strict=True
        )
    ]
    del dweighted
    dy_height, dy_width, dy_channel = (back(one, weight) for one, weight in zip(d, weights[:3], strict=True))
    attn_norm = norm_backward(
        (dy_channel, dy_height, dy_width),
        saved.norm1,
        **norm1,
        grid=grid,
        partial=sums[2],
        dresidual=channel_norm.dx,
        scale=saved.before,
        again=(True, True, True),
    )
    dbias1, *of_norms = sums.totals()
    (dweight_norm2, dbias_norm2, dbias_proj), (dweight_norm1, dbias_norm1, *before) = (
        [total[i : i + grid.C] for i in range(0, total.size, grid.C)] for total in of_norms
    )
    y, y_height, y_width = attn_norm.y
    dattn = {
        "mlp_c": {"weight": gradient(d[2], y)},
        "mlp_h": {"weight": gradient(d[0], y_height.reshape(-1, rows[0]))},
        "mlp_w": {"weight": gradient(d[1], y_width.reshape(-1, rows[1]))},
        "reweight": dreweight,
        "proj": {"weight": dproj, "bias": dbias_proj},
    }
    dparams = {
        "norm1": {"weight": dweight_norm1, "bias": dbias_norm1},
        "attn": dattn,
        "norm2": {"weight": dweight_norm2, "bias": dbias_norm2},
        "mlp": {"fc1": {"weight": dweight1, "bias": dbias1}, "fc2": {"weight": dweight2, "bias": dbias}},
    }
    return attn_norm.dx, attn_norm.dbranch, before[0] if before else None, dparams


def posting(add: Callable[[Any, Any], None]) -> Replacements:
    """A table of the backward pass of a block that also calls `add(params, grads)`."""
    table = Replacements()

    @table.replaces(block_backward)
    def block_backward_posting(
        xp: Any, dstream: Array, dbranch: Array, dbias: Array | None, saved: SavedBlock, grid: Grid
    ) -> tuple[Array, Array, Array | None, Any]:
        found = block_backward(xp, dstream, dbranch, dbias, saved, grid)
        add(saved.params, found[-1])
        return found

    return table


@TABLE.replaces(downsample)
def downsample_cuda(
    xp: Any, x: Array, params: DownsampleParams
) -> tuple[Array, Callable[[Array], tuple[Array, DownsampleParams]]]:
    """Patches as rows in (row, column, channel) order, in which those of channels-last x lie in memory.

    Saves: patches (B*h*w, P*P*C) and the weight in that order.
    """
    B, height, width, C = x.shape
    weight = params["proj"]["weight"]
    K, _, P, Q = weight.shape
    check_shape("proj.weight", weight, K, C, P, Q)
    check_parameter("proj.bias", params["proj"]["bias"], x, K)
    h, w = height // P, width // Q
    check_shape("x", x, B, h * P, w * Q, C)
    patches = exchange(x, B * h, P, 1, w, Q * C).reshape(B * h * w, P * Q * C)
    matrix = cupy.ascontiguousarray(cupy.permute_dims(weight, (0, 2, 3, 1))).reshape(K, P * Q * C)
    y, linear_back = linear_rows(xp, patches, matrix, params["proj"]["bias"])

    def pullback(dy: Array) -> tuple[Array, DownsampleParams]:
        dpatches, dmatrix, dbias = linear_back(dy)
        dx = exchange(dpatches, B * h, w, 1, P, Q * C).reshape(x.shape)
        dweight = cupy.ascontiguousarray(cupy.permute_dims(dmatrix.reshape(K, P, Q, C), (0, 3, 1, 2)))
        return dx, {"proj": {"weight": dweight, "bias": dbias}}

    return y.reshape(B, h, w, K), pullback
