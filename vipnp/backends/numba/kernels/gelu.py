"""GELU with the bias before it and drop path behind it, and the normal distribution that it takes."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from vipnp.backends.numba.kernels import machine
from vipnp.backends.numba.kernels.compiler import IN_ORDER, kernel_with
from vipnp.backends.numba.kernels.machine import whole_registers
from vipnp.core import HostArray

RSQRT_2 = math.sqrt(0.5)
RSQRT_2PI = 0.39894228040143267794


def exp_minus_half_square(t: Any) -> Any:
    """exp(-t^2 / 2) of a float32 in [0, 15], NaN for NaN, relative error a few roundings down to subnormal numbers."""
    raise NotImplementedError("this name is compiled by Numba alone")


def normal(v: Any) -> tuple[Any, Any]:
    """(Phi(v), phi(v)): the normal distribution function, accurate relative to Phi in both tails, and its density."""
    raise NotImplementedError("this name is compiled by Numba alone")


PHI_TAIL_NUMERATOR = (
    0.5000000031501315,
    0.4392836816950103,
    0.18396933480095778,
    0.04088119650441579,
    0.00415324048130937,
)
PHI_TAIL_DENOMINATOR = (
    1.0,
    1.6764523704038155,
    1.2055490741862291,
    0.471409217268478,
    0.10248007955042096,
    0.010410518357307288,
)
"""Phi(-t) = exp(-t^2/2) * p(t)/q(t) on 0 <= t <= 15, coefficients from t^0 up, relative error below 6.4e-9: a minimax
fit (Lawson's weights, tools/phi_fit.py) of Mills' ratio over sqrt(2 pi). All are positive, so neither sum cancels."""

P0, P1, P2, P3, P4 = (np.float32(c) for c in PHI_TAIL_NUMERATOR)
Q0, Q1, Q2, Q3, Q4, Q5 = (np.float32(c) for c in PHI_TAIL_DENOMINATOR)
# exp(r) on |r| <= ln(2)/2, relative error 2e-8: coefficients of Cephes' expf.
E2, E3, E4, E5, E6, E7 = (
    np.float32(c)
    for c in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)
# ln(2) in two parts, the first with 9 trailing zero bits so that its multiples are exact.
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
RLN2 = np.float32(1.44269504088896341)
HIGH_BITS = np.int32(-4096)
HALF, ONE, LARGEST_T = np.float32(0.5), np.float32(1), np.float32(15)
RSQRT_2PI_32 = np.float32(RSQRT_2PI)
BIAS, MANTISSA = np.int32(127), np.int32(23)


@overload(exp_minus_half_square, jit_options=IN_ORDER)
def _exp_minus_half_square(t):  # type: ignore[no-untyped-def]
    if t == numba.float32:

        def single(t):  # type: ignore[no-untyped-def]
            # t^2/2 rounded would cost exp up to 112 roundings: its 12 leading bits h have an exact square, and
            # -t^2/2 = -h^2/2 - (t - h)(t + h)/2.
            h = np.int32(np.float32(t).view(np.int32) & HIGH_BITS).view(np.float32)
            a = -HALF * h * h
            n = np.floor(a * RLN2 + HALF)
            r = (a - n * LN2_HIGH) - n * LN2_LOW - HALF * (t - h) * (t + h)
            p = ((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2
            e = p * r * r + r + ONE
            # 2^n in two factors, since 2^n itself is subnormal from n = -127 on.
            n1 = np.int32(np.int32(n) >> 1)
            n2 = np.int32(np.int32(n) - n1)
            e *= np.int32((n1 + BIAS) << MANTISSA).view(np.float32)
            return e * np.int32((n2 + BIAS) << MANTISSA).view(np.float32)

        return single

    return None


@overload(normal, jit_options=IN_ORDER)
def _normal(v):  # type: ignore[no-untyped-def]
    if v == numba.float32:

        def single(v):  # type: ignore[no-untyped-def]
            absolute = abs(v)
            t = LARGEST_T if absolute > LARGEST_T else absolute
            e = exp_minus_half_square(LARGEST_T if absolute != absolute else t)
            p = (((P4 * t + P3) * t + P2) * t + P1) * t + P0
            q = ((((Q5 * t + Q4) * t + Q3) * t + Q2) * t + Q1) * t + Q0
            tail = e * (p / q)
            return (ONE - tail if v > 0 else tail), e * RSQRT_2PI_32

        return single

    def double(v):  # type: ignore[no-untyped-def]
        return 0.5 * math.erfc(-v * RSQRT_2), math.exp(-0.5 * v * v) * RSQRT_2PI

    return double


@kernel_with(machine)
def bias_gelu(u: HostArray, bias: HostArray, scale: HostArray, g: HostArray) -> None:
    """g = scale[b] * v * Phi(v),  v = u + bias.

    u (B, T, R); bias (R,); scale (B,), the factor of the residual branch; out: g (B, T, R).
    Fuses the bias of fc1, GELU, and the drop path of the block's second branch.
    """
    whole_registers()
    B, T, R = u.shape
    for b in range(B):
        for t in range(T):
            for r in range(R):
                v = u[b, t, r] + bias[r]
                cdf, _ = normal(v)
                g[b, t, r] = scale[b] * (v * cdf)


@kernel_with(machine)
def bias_gelu_backward(
    u: HostArray, bias: HostArray, scale: HostArray, dg: HostArray, g: HostArray, dbias: HostArray, rows: int
) -> None:
    """du = dg * scale[b] * (Phi(v) + v * phi(v)),  v = u + bias, in the place of dg.

    u, dg (B, T, R); bias (R,); scale (B,); out: du in dg, the recomputed g (B, T, R), dbias (B, R) = sum_t du in groups
    of `rows` tokens. Fuses GELU forward and backward, drop path and the bias sum of fc1.
    """
    whole_registers()
    B, T, R = u.shape
    row = np.empty(R, u.dtype)
    for b in range(B):
        dbias[b] = 0
        for start in range(0, T, rows):
            row[:] = 0
            for t in range(start, start + rows):
                for r in range(R):
                    v = u[b, t, r] + bias[r]
                    cdf, pdf = normal(v)
                    g[b, t, r] = scale[b] * (v * cdf)
                    du = dg[b, t, r] * scale[b] * (cdf + v * pdf)
                    dg[b, t, r] = du
                    row[r] += du
            for r in range(R):
                dbias[b, r] += row[r]
