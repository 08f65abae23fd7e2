"""The fused CPU table: a Permutator block as matrix products with Numba kernels between them.

These run in one thread, on one shard of the batch (vipnp.backends.numpy.shards): products of the linear layers through
products.py, and one kernel of kernels/ between two of them. What the kernels do not cover runs the readable
layer: the plain sum of the branches, other branches than height, width and channel in their places, dropout, mixed
dtypes, and dtypes other than float32 and float64.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, cast

import numpy as np

from vipnp.backends.numba import kernels
from vipnp.core import Array, HostArray, Pullback3, Replacements
from vipnp.core.checks import shown
from vipnp.layers import (
    STANDARD_BRANCHES,
    BlockMasks,
    BranchKind,
    FusionKind,
    Mask,
    PermutatorParams,
    WeightedPermuteMLPParams,
    mlp,
    permutator,
)
from vipnp.ops import layer_norm, softmax

TABLE = Replacements()
"""Replacements for the backend of one shard. Beyond `Backend` they ask of it: product, the matrix product."""

EPS: float = inspect.signature(layer_norm).parameters["eps"].default


UNROLLED = (6, 8, 16, 24, 32)
"""The segments, in channels, for which the kernels are compiled anew, which takes seconds once on a machine: those of
the published models and of `vipnp.train.tiny_config`."""


def rows(x: HostArray) -> HostArray:
    """(*, C) as a matrix (M, C); no copy."""
    return x.reshape(-1, x.shape[-1])


def path_scale(mask: Mask | None, batch: int, skip_lam: float, dtype: Any) -> HostArray:
    """(B,): the factor of a residual branch, mask / (1 - rate) / skip_lam."""
    kept = np.ones(batch, dtype) if mask is None else prepared("mask", mask.mask, (batch,)) / (1 - mask.rate)
    return prepared("skip_lam and mask", np.asarray(kept / skip_lam, dtype), (batch,))


def of_one_dtype(tree: Any, dtype: Any) -> bool:
    """Whether every array of a tree has this dtype."""
    if type(tree) is np.ndarray:  # first, since asking for the abstract class takes many times as long
        return bool(tree.dtype == dtype)
    if isinstance(tree, Mapping):
        return all(of_one_dtype(child, dtype) for child in tree.values())
    return bool(getattr(tree, "dtype", None) == dtype)


def covered(
    x: HostArray,
    params: PermutatorParams,
    fusion: FusionKind,
    branches: Sequence[BranchKind],
    masks: BlockMasks,
) -> bool:
    """Whether the kernels compute this block; shapes are looked at where they do."""
    return (
        fusion == "weighted"
        and tuple(branches) == STANDARD_BRANCHES
        and x.dtype in (np.float32, np.float64)
        and of_one_dtype(params, x.dtype)
        and x.ndim == 4
        and x.size > 0
        and masks.proj is masks.hidden is masks.out is None
    )


def prepared(name: str, array: Any, shape: tuple[int, ...]) -> HostArray:
    """`array` in the form the kernels are compiled for: C-contiguous, aligned, writeable.

    An array that is so already is passed on as it is; others are copied. The kernels never write into it.
    The kernels look at no index, so TypeError is raised unless this is an array of NumPy's own class, and ValueError
    unless it has this shape.
    """
    if type(array) is not np.ndarray:
        kind = type(array)
        raise TypeError(f"{name}: got an array of type {kind.__module__}.{kind.__name__}, expected numpy.ndarray")
    if array.shape != shape:
        raise ValueError(f"{name}: got shape {array.shape}, expected {shape}")
    if array.flags.carray:  # all three at once, found faster than by np.require
        return array
    return np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED", "WRITEABLE"))


def prepared_tree(name: str, tree: Any, shapes: Any) -> Any:
    """`prepared` of every array of a tree. Raises ValueError unless it has the names of `shapes`, a tree as well."""
    if isinstance(shapes, tuple):
        return prepared(name, tree, shapes)
    if not isinstance(tree, Mapping) or tree.keys() != shapes.keys():
        found = sorted(map(str, tree)) if isinstance(tree, Mapping) else type(tree).__name__
        raise ValueError(f"{name}: got {found}, expected {sorted(shapes)}")
    return {key: prepared_tree(f"{name}.{key}", tree[key], shape) for key, shape in shapes.items()}


def cotangent(dy: Any, y: HostArray) -> HostArray:
    """`dy` in the form the kernels are compiled for; raises TypeError or ValueError unless it is an array like `y`."""
    form = prepared("cotangent", dy, y.shape)
    if form.dtype != y.dtype:
        raise TypeError(f"cotangent: got dtype {form.dtype}, expected {y.dtype}")
    return form


def block_shapes(H: int, W: int, C: int, S: int, params: Any) -> Any:
    """The shapes of a block's parameters. The hidden widths of its two MLPs, which are free, are taken from them."""
    R, Q = len(params["mlp"]["fc1"]["bias"]), len(params["attn"]["reweight"]["fc1"]["bias"])

    def linear(out: int, into: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (out, into), "bias": (out,)}

    norm = {"weight": (C,), "bias": (C,)}
    return {
        "norm1": norm,
        "attn": {
            "mlp_c": {"weight": (C, C)},
            "mlp_h": {"weight": (H * S, H * S)},
            "mlp_w": {"weight": (W * S, W * S)},
            "reweight": {"fc1": linear(Q, C), "fc2": linear(3 * C, Q)},
            "proj": linear(C, C),
        },
        "norm2": norm,
        "mlp": {"fc1": linear(R, C), "fc2": linear(C, R)},
    }


def checked_segments(segments: Any, channels: int) -> int:
    """`segments` as a Python int; raises ValueError unless it divides the channels."""
    if isinstance(segments, bool) or not isinstance(segments, Integral) or segments < 1 or channels % int(segments):
        raise ValueError(f"segments: got {shown(segments)}, expected a divisor of C = {channels}")
    return int(segments)


def segment_of(channels: int) -> Any:
    """Something of length S = `channels` for the kernels: a tuple, so that S is known when they are compiled, or an
    array, so that one compiled form serves every other S."""
    return (0,) * channels if channels in UNROLLED else np.empty(channels, np.int8)


@TABLE.replaces(layer_norm)
def layer_norm_rows(xp: Any, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, Pullback3]:
    """layer_norm in one pass each way.

    x, y (B, H, W, C) float32 or float64; other shapes and dtypes run the readable op. Saves: x, mean, rstd (B, H, W),
    weight.
    """
    if x.ndim != 4 or x.dtype not in (np.float32, np.float64) or not x.dtype == weight.dtype == bias.dtype:
        return xp.readable(layer_norm, x, weight, bias, eps)  # type: ignore[no-any-return]
    B, H, W, C = x.shape
    x = prepared("x", x, x.shape)
    weight, bias = prepared("weight", weight, (C,)), prepared("bias", bias, (C,))
    y, mean, rstd = np.empty_like(x), np.empty((B, H, W), x.dtype), np.empty((B, H, W), x.dtype)
    kernels.layer_norm(x, weight, bias, eps, y, mean, rstd)

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dx, sums = np.empty_like(x), np.empty((B, 2, C), x.dtype)
        dy = cotangent(dy, x)
        kernels.layer_norm_backward(dy, x, mean, rstd, weight, np.zeros_like(x), dx, sums)
        dweight, dbias = sums.sum(axis=0)
        return dx, dweight, dbias

    return y, pullback


@TABLE.replaces(permutator)
def permutator_fused(
    xp: Any,
    x: Array,
    params: PermutatorParams,
    *,
    segments: int,
    fusion: FusionKind = "weighted",
    branches: tuple[BranchKind, BranchKind, BranchKind] = STANDARD_BRANCHES,
    skip_lam: float = 1.0,
    masks: BlockMasks = BlockMasks(),  # noqa: B008 - a NamedTuple of None is immutable
) -> tuple[Array, Callable[[Array], tuple[Array, PermutatorParams]]]:
    """The Permutator block (vipnp.layers.permutator), its products with one kernel between two of them.

    x, y (B, H, W, C). The factor of a residual branch (drop path, skip_lam) is multiplied into the weights of the
    weighted sum and into GELU, so that it costs nothing:
        z = x + proj(scale1 * sum_k a_k x_k) + scale1 * bias,  y = z + fc2(scale2 * gelu(fc1(norm2(z)))) + scale2 * bias
    and likewise backwards. The pullback can be called again.

    Saves: x, z, the input of every product of the Permute-MLP (yh_in, yw_in, yc_in, weighted) and the branches yh, yw,
    yc (B, H, W, C) each; u (B, H*W, R), fc1 without its bias; what the pullbacks of reweight and softmax save, 7 C B
    numbers. The pullback recomputes norm2 and GELU.
    """
    if not covered(x, params, fusion, branches, masks):
        return xp.readable(  # type: ignore[no-any-return]
            permutator, x, params, segments=segments, fusion=fusion, branches=branches, skip_lam=skip_lam, masks=masks
        )
    B, H, W, C = grid = x.shape
    N = checked_segments(segments, C)
    S = C // N
    x = prepared("x", x, grid)
    params = prepared_tree("params", params, block_shapes(H, W, C, S, params))
    attn = cast("WeightedPermuteMLPParams", params["attn"])
    fc1, fc2 = params["mlp"]["fc1"], params["mlp"]["fc2"]
    R = len(fc1["bias"])
    segment = segment_of(S)
    product = xp.product
    scale1 = path_scale(masks.attn_path, B, skip_lam, x.dtype)
    scale2 = path_scale(masks.mlp_path, B, skip_lam, x.dtype)

    def new(*shape: int) -> HostArray:
        return np.empty(shape, x.dtype)

    yc_in, yh_in, yw_in = new(*grid), new(B, N, W, H * S), new(B, H, N, W * S)
    mean1, rstd1 = new(B, H, W), new(B, H, W)
    kernels.layer_norm_permuted(
        x, params["norm1"]["weight"], params["norm1"]["bias"], EPS, segment, yc_in, yh_in, yw_in, mean1, rstd1
    )
    yh, yw, yc = new(B, N, W, H * S), new(B, H, N, W * S), new(*grid)
    product(rows(yh_in), attn["mlp_h"]["weight"].T, rows(yh))
    product(rows(yw_in), attn["mlp_w"]["weight"].T, rows(yw))
    product(rows(yc_in), attn["mlp_c"]["weight"].T, rows(yc))
    pooled = new(B, C)
    kernels.branch_means(yh, yw, yc, segment, pooled)
    logits, reweight_back = mlp(xp, pooled, attn["reweight"])
    a, softmax_back = softmax(xp, logits.reshape(B, C, 3))
    scaled_a = np.ascontiguousarray(a.transpose(0, 2, 1)) * scale1[:, None, None]
    weighted, branch = new(*grid), new(*grid)
    kernels.weighted_sum(yh, yw, yc, scaled_a, segment, weighted)
    product(rows(weighted), attn["proj"]["weight"].T, rows(branch))

    z, zn = new(*grid), new(*grid)
    kernels.residual_layer_norm(
        x, branch, attn["proj"]["bias"], scale1, params["norm2"]["weight"], params["norm2"]["bias"], EPS, z, zn
    )
    u = new(B, H * W, R)
    product(rows(zn), fc1["weight"].T, rows(u))
    g = new(B, H * W, R)
    kernels.bias_gelu(u, fc1["bias"], scale2, g)
    product(rows(g), fc2["weight"].T, rows(branch))
    y = zn
    kernels.residual(z, branch, fc2["bias"], scale2, y)

    def pullback(dy: Array) -> tuple[Array, PermutatorParams]:
        dy = cotangent(dy, x)
        sums = new(B, C)
        kernels.token_sums(dy, sums)
        dbias_fc2 = scale2 @ sums
        dg, g, dbias_fc1 = new(B, H * W, R), new(B, H * W, R), new(B, R)
        product(rows(dy), fc2["weight"], rows(dg))
        kernels.bias_gelu_backward(u, fc1["bias"], scale2, dg, g, dbias_fc1, W)
        dfc2 = product(rows(dy).T, rows(g), new(C, R))
        zn, mean2, rstd2 = new(*grid), new(B, H, W), new(B, H, W)
        kernels.layer_norm(z, params["norm2"]["weight"], params["norm2"]["bias"], EPS, zn, mean2, rstd2)
        dfc1 = product(rows(dg).T, rows(zn), new(R, C))
        dzn = product(rows(dg), fc1["weight"], rows(zn)).reshape(grid)
        dz, norm2_sums = new(*grid), new(B, 2, C)
        kernels.layer_norm_backward(dzn, z, mean2, rstd2, params["norm2"]["weight"], dy, dz, norm2_sums)

        kernels.token_sums(dz, sums)
        dbias_proj = scale1 @ sums
        dweighted = product(rows(dz), attn["proj"]["weight"], rows(dzn)).reshape(grid)
        dproj = product(rows(dz).T, rows(weighted), new(C, C))
        da = new(B, 3, C)
        kernels.weighted_sum_da(dweighted, yh, yw, yc, segment, da)
        da *= scale1[:, None, None]
        (dlogits,) = softmax_back(da.transpose(0, 2, 1))
        dpooled, dreweight = reweight_back(dlogits.reshape(B, 3 * C))
        dyh, dyw, dyc = new(B, N, W, H * S), new(B, H, N, W * S), new(*grid)
        dmean = dpooled / x.dtype.type(H * W)
        kernels.weighted_sum_backward(dweighted, scaled_a, dmean, segment, dyh, dyw, dyc)

        dmlp_h = product(rows(dyh).T, rows(yh_in), new(H * S, H * S))
        dmlp_w = product(rows(dyw).T, rows(yw_in), new(W * S, W * S))
        dmlp_c = product(rows(dyc).T, rows(yc_in), new(C, C))
        dxh, dxw, dxc = new(B, N, W, H * S), new(B, H, N, W * S), dweighted
        product(rows(dyh), attn["mlp_h"]["weight"], rows(dxh))
        product(rows(dyw), attn["mlp_w"]["weight"], rows(dxw))
        product(rows(dyc), attn["mlp_c"]["weight"], rows(dxc))
        dx, norm1_sums = new(*grid), new(B, 2, C)
        kernels.layer_norm_permuted_backward(
            dxc, dxh, dxw, x, mean1, rstd1, params["norm1"]["weight"], dz, segment, dx, norm1_sums
        )
        dweight1, dbias1 = norm1_sums.sum(axis=0)
        dweight2, dbias2 = norm2_sums.sum(axis=0)
        return dx, {
            "norm1": {"weight": dweight1, "bias": dbias1},
            "attn": {
                "mlp_c": {"weight": dmlp_c},
                "mlp_h": {"weight": dmlp_h},
                "mlp_w": {"weight": dmlp_w},
                "reweight": dreweight,
                "proj": {"weight": dproj, "bias": dbias_proj},
            },
            "norm2": {"weight": dweight2, "bias": dbias2},
            "mlp": {
                "fc1": {"weight": dfc1, "bias": dbias_fc1.sum(axis=0)},
                "fc2": {"weight": dfc2, "bias": dbias_fc2},
            },
        }

    return y, pullback
