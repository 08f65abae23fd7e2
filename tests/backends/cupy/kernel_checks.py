"""For every CUDA kernel what runs it, against the readable op, without pytest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vipnp import layers, ops
from vipnp.audit.cases import cases_of
from vipnp.backends import get_backend
from vipnp.core import Backend
from vipnp.layers import BlockMasks, Mask
from vipnp.optim.adamw import AdamWState, adamw
from vipnp.optim.clip import clip_grad_norm
from vipnp.verify.trees import tree_arrays, tree_map

TOLERANCE = 2e-5


def close(xp: Backend, got: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    for (name, value), (_, truth) in zip(tree_arrays(got), tree_arrays(expected), strict=True):
        host = np.asarray(xp.to_numpy(value), np.float64)
        np.testing.assert_allclose(host, truth, rtol=0, atol=tolerance * max(np.abs(truth).max(), 1e-3), err_msg=name)


def compare(xp: Backend, op: Any, args: Any, kwargs: Any = {}, tolerance: float = TOLERANCE) -> None:  # noqa: B006
    numpy = get_backend("numpy")
    y, pullback = op(numpy, *args, **kwargs)
    dy = np.random.default_rng(1).normal(size=np.shape(y))
    put = lambda array: xp.asarray(array.astype(np.float32) if array.dtype.kind == "f" else array)  # noqa: E731
    got, got_back = xp.run(op, *tree_map(put, args), **tree_map(put, kwargs))
    close(xp, (got,), (y,), tolerance)
    close(xp, got_back(put(np.asarray(dy))), pullback(dy), tolerance)


def check_stage(xp: Backend) -> None:
    case = next(case for case in cases_of(layers.stage) if "masks" not in case.name)
    args, kwargs = case.inputs(seed=5, sizes={"B": 3, "H": 5, "W": 9, "N": 16, "S": 6})
    draws = (np.random.default_rng(6).random((3, 2, 2)) < 0.6).astype(float)
    masks = [BlockMasks(*(Mask(draws[:, branch, i], 0.25) for branch in range(2))) for i in range(2)]
    on_device = xp.asarray(draws.astype(np.float32))
    device_masks = [BlockMasks(*(Mask(on_device[:, branch, i], 0.25) for branch in range(2))) for i in range(2)]
    numpy = get_backend("numpy")
    y, pullback = layers.stage(numpy, *args, **kwargs, masks=masks)
    dy = np.random.default_rng(1).normal(size=y.shape)
    put = lambda array: xp.asarray(array.astype(np.float32))  # noqa: E731
    got, got_back = xp.run(layers.stage, *tree_map(put, args), **kwargs, masks=device_masks)
    close(xp, (got,), (y,))
    close(xp, got_back(put(dy)), pullback(dy))


def check_layer_norm(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.layer_norm, (rng.normal(size=(2100, 37)), rng.normal(size=37), rng.normal(size=37)))


def check_gelu(xp: Backend) -> None:
    compare(xp, ops.gelu, (np.random.default_rng(2).normal(size=(4200, 6)),))


def check_linear(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.linear, (rng.normal(size=(130, 7)), rng.normal(size=(70, 7)), rng.normal(size=70)))


def check_drop_path(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.drop_path, (rng.normal(size=(4, 2, 3, 5)),), {"mask": np.array([1.0, 0, 1, 1]), "rate": 0.3})


def check_residual(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    compare(xp, ops.residual, (rng.normal(size=(33, 6)), rng.normal(size=(33, 6)), 2.0))


def check_dropout(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    mask = (rng.random((7, 4)) < 0.7).astype(float)
    compare(xp, ops.dropout, (rng.normal(size=(7, 4)),), {"mask": mask, "rate": 0.3})


def check_permutations(xp: Backend) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, 5, 8))
    compare(xp, ops.permute_height, (x, 4))
    compare(xp, ops.permute_width, (x, 2))


def check_bfloat16_product(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    args = rng.normal(size=(10, 34)), rng.normal(size=(6, 34))
    compare(get_backend("cupy", precision="bfloat16"), ops.linear_no_bias, args, tolerance=0.05)


def check_pool(xp: Backend) -> None:
    compare(xp, ops.global_average_pool, (np.random.default_rng(2).normal(size=(2, 12, 13, 33)),))


def check_split_attention(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    branches = [rng.normal(size=(2, 12, 13, 40)) for _ in range(3)]
    compare(xp, ops.split_attention, (rng.normal(size=(2, 40, 3)), *branches))


def check_cross_entropy(xp: Backend) -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 300)) * 4
    logits[:, 284] = 200  # exp overflows unless this one is found to be the largest
    compare(xp, ops.cross_entropy, (logits,), {"labels": np.array([5, 299, 284]), "label_smoothing": 0.1})


def check_optimizer(xp: Backend) -> None:
    numpy = get_backend("numpy")
    rng = np.random.default_rng(2)
    shapes = {"weight": (40, 30), "bias": (33,)}
    params = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    device = {name: xp.asarray(value.astype(np.float32)) for name, value in params.items()}
    state = device_state = AdamWState(0, {}, {})
    for _ in range(2):
        grads = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        device_grads = {name: xp.asarray(value.astype(np.float32)) for name, value in grads.items()}
        grads, norm = clip_grad_norm(numpy, grads, max_norm=3.0)
        device_grads, device_norm = xp.find(clip_grad_norm)(xp, device_grads, max_norm=3.0)
        close(xp, (device_norm, device_grads), (norm, grads))
        options: dict[str, Any] = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.5}
        params, state = adamw(numpy, params, grads, state, **options)
        device, device_state = xp.find(adamw)(xp, device, device_grads, device_state, **options)
        close(xp, (device, *device_state[1:]), (params, *state[1:]))


CHECKS: dict[str, tuple[Callable[[Backend], None], ...]] = {
    "norm_forward": (check_stage, check_layer_norm),
    "norm_backward": (check_stage, check_layer_norm),
    "gelu_forward": (check_stage, check_gelu),
    "gelu_backward": (check_stage, check_gelu),
    "residual_forward": (check_stage, check_residual, check_linear),
    "residual_backward": (check_stage, check_drop_path, check_linear),
    "dropout": (check_dropout,),
    "sum_rows": (check_linear,),
    "exchange": (check_permutations,),
    "convert": (check_bfloat16_product,),
    "pool_forward": (check_stage, check_pool),
    "pool_backward": (check_pool,),
    "split_attention_forward": (check_stage, check_split_attention),
    "split_attention_backward_weights": (check_stage, check_split_attention),
    "split_attention_backward_logits": (check_stage, check_split_attention),
    "split_attention_backward_branches": (check_stage, check_split_attention),
    "cross_entropy_forward": (check_cross_entropy,),
    "cross_entropy_backward": (check_cross_entropy,),
    "join": (check_optimizer,),
    "sum_of_squares": (check_optimizer,),
    "clip_gradient": (check_optimizer,),
    "adamw_update": (check_optimizer,),
}


# --- planting -------------------------------------------------------------------------------------------------------
