"""CUDA kernels in the place of the optimiser's step: all parameters lie in one flat buffer.

The buffer is a private view: every parameter, gradient and running mean that is returned is a part of it under its own
name and shape. Tensors that decay come first. Arrays that lie so already, as those of the step before do, are used as
they are; others are copied together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cupy

from vipnp.backends.cupy.arrays import dtype_name, empty
from vipnp.backends.cupy.kernels import THREADS, WIDE_TYPES, launch, row_blocks
from vipnp.backends.cupy.ops import column_sum
from vipnp.core import Array, Replacements
from vipnp.core.checks import check_real
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.optim.checks import check_owned
from vipnp.optim.clip import EPS, clip_grad_norm

TABLE = Replacements()
"""The optimiser's functions -> those here that run CUDA kernels."""

ENTRIES_A_BLOCK = 8 * THREADS


def flat_order(tensors: Mapping[str, Array]) -> list[str] | None:
    """The names in the order of the flat buffer: two or more dimensions first.

    None where the kernels do not apply: no tensor at all, dtypes that differ, or one the kernels do not take.
    """
    dtypes = {tensor.dtype.name for tensor in tensors.values()}
    if len(dtypes) != 1 or not dtypes <= set(WIDE_TYPES):
        return None
    return sorted(tensors, key=lambda name: tensors[name].ndim < 2)


def flattened(arrays: Sequence[Array]) -> Array:
    """The arrays one after another in one flat array: where they lie so already that memory itself, else a copy."""
    whole = arrays[0].base
    if whole is not None and whole.ndim == 1 and whole.size == sum(array.size for array in arrays):
        address = whole.data.ptr
        for array in arrays:
            if array.data.ptr != address or not array.flags.c_contiguous:
                break
            address += array.nbytes
        else:
            return whole
    return cupy.concatenate([cupy.ascontiguousarray(array).reshape(-1) for array in arrays])


def named_parts(flat: Array, order: Sequence[str], like: Mapping[str, Array]) -> dict[str, Array]:
    """Views of `flat` under the names, shapes and the order of `like`."""
    parts, start = {}, 0
    for name in order:
        parts[name] = flat[start : start + like[name].size].reshape(like[name].shape)
        start += like[name].size
    return {name: parts[name] for name in like}


@TABLE.replaces(adamw)
def adamw_cuda(
    xp: Any,
    params: Mapping[str, Array],
    grads: Mapping[str, Array],
    state: AdamWState,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[dict[str, Array], AdamWState]:
    """One kernel for all parameters."""
    order = flat_order(params)
    if order is None:
        return xp.readable(  # type: ignore[no-any-return]
            adamw, params, grads, state, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
        )
    beta1, beta2 = betas
    t = state.step + 1
    p = flattened([params[name] for name in order])
    g = flattened([grads[name] for name in order])
    m = v = None
    if t > 1:
        m = flattened([state.exp_avg[name] for name in order])
        v = flattened([state.exp_avg_sq[name] for name in order])
    dtype = dtype_name(p)
    new_p, new_m, new_v = (empty(p.shape, dtype) for _ in range(3))
    launch(
        "adamw_update",
        dtype,
        (),
        (math.ceil(p.size / THREADS),),
        (THREADS,),
        p,
        g,
        m,
        v,
        new_p,
        new_m,
        new_v,
        p.size,
        sum(tensor.size for tensor in params.values() if tensor.ndim >= 2),
        1 - lr * weight_decay,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        eps,
        lr / (1 - beta1**t),
        math.sqrt(1 - beta2**t),
    )
    named = [named_parts(flat, order, params) for flat in (new_p, new_m, new_v)]
    return named[0], AdamWState(t, named[1], named[2])


@TABLE.replaces(clip_grad_norm)
def clip_grad_norm_cuda(xp: Any, grads: Mapping[str, Array], *, max_norm: float) -> tuple[dict[str, Array], Array]:
    """Two kernels for all gradients; what they return lies flat for the AdamW kernel."""
    max_norm = check_real("max_norm", max_norm, low=0, low_included=False)
    check_owned(xp, "grads", grads)
    order = flat_order(grads)
    if order is None:
        return xp.readable(  # type: ignore[no-any-return]
            clip_grad_norm, grads, max_norm=max_norm
        )
    g = flattened([grads[name] for name in order])
    dtype = dtype_name(g)
    blocks = row_blocks(g.size, ENTRIES_A_BLOCK)
    partial = empty((blocks, 1), dtype)
    launch("sum_of_squares", dtype, (), (blocks,), (THREADS,), g, partial, g.size)
    clipped, norm = empty(g.shape, dtype), empty((), dtype)
    grid = (math.ceil(g.size / THREADS),)
    launch("clip_gradient", dtype, (), grid, (THREADS,), g, column_sum(partial), max_norm, EPS, clipped, norm, g.size)
    return named_parts(clipped, order, grads), norm
