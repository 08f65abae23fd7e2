"""AdamW in one pass."""

from __future__ import annotations

import numpy as np

from vipnp.backends.numba.kernels.compiler import kernel_in_order
from vipnp.core import HostArray


@kernel_in_order
def adamw_entries(
    p: HostArray,
    g: HostArray,
    m: HostArray,
    v: HostArray,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    corrections: tuple[float, float],
    new_p: HostArray,
    new_m: HostArray,
    new_v: HostArray,
) -> None:
    """m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
    p = p (1 - lr weight_decay) - lr (m / c1) / (sqrt(v) / c2 + eps).

    p, g, m, v (K,); corrections c1 = 1 - beta1^t, c2 = sqrt(1 - beta2^t); out: new_p, new_m, new_v (K,).
    (1 - beta2) g g is taken from the left, as the readable step takes it: g^2 alone is infinite from |g| = 2e19 on.
    """
    real = p.dtype.type
    beta1, beta2 = real(betas[0]), real(betas[1])
    rest1, rest2 = real(1 - betas[0]), real(1 - betas[1])
    decay, step = real(1 - lr * weight_decay), real(lr / corrections[0])
    root_correction, eps_ = real(corrections[1]), real(eps)
    for k in range(p.size):
        mk = beta1 * m[k] + rest1 * g[k]
        vk = beta2 * v[k] + rest2 * g[k] * g[k]
        new_m[k] = mk
        new_v[k] = vk
        new_p[k] = p[k] * decay - step * mk / (np.sqrt(vk) / root_correction + eps_)
