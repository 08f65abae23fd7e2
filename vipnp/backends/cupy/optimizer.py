"""CUDA kernels in the place of the optimiser's step: all parameters lie in one flat buffer.

The buffer is a private view: every parameter, gradient and running mean that is returned is a part of it under its own
name and shape, gradients and means only once somebody asks for them. Tensors that decay come first. Arrays that lie so
already, as those of the step before do, are used as they are; others are copied together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cupy
import numpy as np

from vipnp.backends.cupy.arrays import contiguous, dtype_name, empty
from vipnp.backends.cupy.common import TABLE, sum_rows
from vipnp.backends.cupy.kernels import PARTS, PARTS_LAYOUT, THREADS, WIDE_TYPES, launch, row_blocks
from vipnp.core import Array
from vipnp.core.checks import check_real
from vipnp.core.flat import FlatTensors, Layout, layout
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.optim.checks import check_owned
from vipnp.optim.clip import EPS, clip_grad_norm

ENTRIES_A_BLOCK = 8 * THREADS


def flat_order(like: Layout) -> list[str] | None:
    """The names in the order of the flat buffer: two or more dimensions first.

    None where the kernels do not apply: no tensor at all, dtypes that differ, or one the kernels do not take.
    """
    dtypes = {dtype for _, dtype in like.values()}
    if len(dtypes) != 1 or dtypes.pop().name not in WIDE_TYPES:
        return None
    return sorted(like, key=lambda name: len(like[name][0]) < 2)


def flattened(tensors: Mapping[str, Array], order: Sequence[str]) -> Array:
    """The tensors one after another in one flat array, in `order`: where they lie so already that memory itself."""
    if isinstance(tensors, FlatTensors) and list(tensors.order) == order:
        return tensors.flat
    return flattened_arrays([tensors[name] for name in order])


def flattened_arrays(arrays: Sequence[Array]) -> Array:
    """The arrays one after another in one flat array: where they lie so already that memory itself, else a copy."""
    first = arrays[0]
    address, size = first.data.ptr, 0
    for array in arrays:
        if array.data.ptr != address or array.data.mem is not first.data.mem or not array.flags.c_contiguous:
            return joined(arrays)
        address += array.nbytes
        size += array.size
    return cupy.ndarray((size,), first.dtype, first.data)


def joined(arrays: Sequence[Array]) -> Array:
    """A copy of the arrays one after another; their addresses go with the launch, so nothing is uploaded."""
    dtype = dtype_name(arrays[0])
    flat = empty((sum(array.size for array in arrays),), dtype)
    done = 0
    for begin in range(0, len(arrays), PARTS):
        held = [contiguous(array) for array in arrays[begin : begin + PARTS]]
        count = len(held)
        parts = np.zeros((), PARTS_LAYOUT)
        parts["from"][:count] = [array.data.ptr for array in held]
        parts["start"][1 : count + 1] = np.cumsum([array.size for array in held])
        size = int(parts["start"][count])
        launch(
            "join",
            dtype,
            (),
            (math.ceil(size / THREADS),),
            (THREADS,),
            parts=parts.tobytes(),
            count=count,
            flat=flat[done : done + size],
        )
        done += size
    return flat


def named_parts(flat: Array, order: Sequence[str], like: Layout) -> dict[str, Array]:
    """Views of `flat` under the names, shapes and the order of `like`."""
    parts, start, dtype = {}, 0, flat.dtype
    for name in order:
        shape = like[name][0]
        parts[name] = cupy.ndarray(shape, dtype, flat.data + start)
        start += math.prod(shape) * dtype.itemsize
    return {name: parts[name] for name in like}


class Factors(NamedTuple):
    """What of a step of AdamW depends on its number and learning rate, see optimizer.cu."""

    decay: float
    step_size: float
    root_correction: float


def step_factors(t: int, lr: float, betas: tuple[float, float], weight_decay: float) -> Factors:
    """Those of step t = 1, 2, ..."""
    beta1, beta2 = betas
    return Factors(1 - lr * weight_decay, lr / (1 - beta1**t), math.sqrt(1 - beta2**t))


def decaying(like: Layout) -> int:
    """How many entries of the flat buffer decay: those of tensors of two or more dimensions."""
    return sum(math.prod(shape) for shape, _ in like.values() if len(shape) >= 2)


def update_flat(
    before: tuple[Array, Array, Array | None, Array | None],
    after: tuple[Array, Array, Array],
    decayed: int,
    factors: Factors | Array,
    *,
    betas: tuple[float, float],
    eps: float,
) -> None:
    """A step of AdamW from p, g, m and v before to p, m and v after, which may be the same memory.

    m, v : None at the first step. factors : numbers, or an array (3,) that the kernel reads them from.
    """
    p = before[0]
    beta1, beta2 = betas
    held, numbers = (None, factors) if isinstance(factors, Factors) else (factors, Factors(0.0, 0.0, 0.0))
    launch(
        "adamw_update",
        dtype_name(p),
        (),
        (math.ceil(p.size / THREADS),),
        (THREADS,),
        **dict(zip(("p", "g", "m", "v"), before, strict=True)),
        **dict(zip(("new_p", "new_m", "new_v"), after, strict=True)),
        size=p.size,
        decayed=decayed,
        factors=held,
        decay=numbers.decay,
        beta1=beta1,
        rest1=1 - beta1,
        beta2=beta2,
        rest2=1 - beta2,
        eps=eps,
        step_size=numbers.step_size,
        root_correction=numbers.root_correction,
    )


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
    like = layout(params)
    order = flat_order(like)
    if order is None:
        return xp.readable(  # type: ignore[no-any-return]
            adamw, params, grads, state, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
        )
    t = state.step + 1
    p, g = flattened(params, order), flattened(grads, order)
    m, v = (flattened(means, order) if t > 1 else None for means in (state.exp_avg, state.exp_avg_sq))
    dtype = dtype_name(p)
    new_p, new_m, new_v = (empty(p.shape, dtype) for _ in range(3))
    factors = step_factors(t, lr, betas, weight_decay)
    update_flat((p, g, m, v), (new_p, new_m, new_v), decaying(like), factors, betas=betas, eps=eps)
    means = [FlatTensors(flat, order, like) for flat in (new_m, new_v)]
    return named_parts(new_p, order, like), AdamWState(t, *means)


@TABLE.replaces(clip_grad_norm)
def clip_grad_norm_cuda(xp: Any, grads: Mapping[str, Array], *, max_norm: float) -> tuple[Mapping[str, Array], Array]:
    """Two kernels for all gradients; what they return lies flat for the AdamW kernel."""
    max_norm = check_real("max_norm", max_norm, low=0, low_included=False)
    check_owned(xp, "grads", grads)
    like = layout(grads)
    order = flat_order(like)
    if order is None:
        return xp.readable(  # type: ignore[no-any-return]
            clip_grad_norm, grads, max_norm=max_norm
        )
    g = flattened(grads, order)
    dtype = dtype_name(g)
    blocks = row_blocks(g.size, ENTRIES_A_BLOCK)
    partial = empty((blocks, 1), dtype)
    launch("sum_of_squares", dtype, (), (blocks,), (THREADS,), g=g, partial=partial, size=g.size)
    clipped, norm = empty(g.shape, dtype), empty((), dtype)
    grid = (math.ceil(g.size / THREADS),)
    launch(
        "clip_gradient",
        dtype,
        (),
        grid,
        (THREADS,),
        g=g,
        squares=sum_rows(partial),
        max_norm=max_norm,
        eps=EPS,
        clipped=clipped,
        norm_out=norm,
        size=g.size,
    )
    return FlatTensors(clipped, order, like), norm
