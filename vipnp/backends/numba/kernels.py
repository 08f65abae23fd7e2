"""Numba kernels of the fused CPU backend: each fuses what stands between two matrix products of a Permutator block.

Every kernel works on the samples it is given, in one thread, without the GIL, and writes only into the arrays named as
outputs. Letters are those of the ops: B batch, H W grid, C channels, N segments, S = C/N, T = H*W tokens, R hidden
width of the MLP. Activations stand in three layouts,

    y  (B, H, W, N*S)   channels last
    yh (B, N, W, H*S)   permute_height(y): a row holds a column of the image, for one segment
    yw (B, H, N, W*S)   permute_width(y): a row holds a row of the image, for one segment

and the permutations happen inside the kernels that read or write these. Sums over the tokens add the W tokens of a row
first and then the H rows, so that their rounding error grows like sqrt(T). Floating-point contraction and reordering of
sums are allowed to the compiler; NaN and infinity are not assumed away. All kernels are compiled for float32 and for
float64.

All of them live in this one file because Numba looks at the file of a function alone when it asks whether the compiled
form in its cache is still good.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba.extending import overload

from vipnp.core import HostArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

FAST = {"contract", "reassoc", "nsz"}
"""LLVM's freedoms that pay (vectorised sums, fused multiply-add) without those that assume NaN or infinity away. Among
these is "arcp": with it 1 / sqrt(inf) is NaN, since it is refined from an estimate."""

OPTIONS: Any = {"fastmath": FAST, "error_model": "numpy", "nogil": True}

IN_ORDER: Any = {**OPTIONS, "fastmath": {"contract"}}
"""For the functions whose accuracy, or whose range, lies in the order of their operations."""

RSQRT_2 = math.sqrt(0.5)
RSQRT_2PI = 0.39894228040143267794


KERNELS: list[str] = []
"""The names of all kernels."""


class ForgivingCache:
    """Numba's cache of one kernel on disk, where a file that is damaged or cannot be written costs time and no result:
    the kernel is compiled again."""

    def __init__(self, cache: Any) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What the cache holds for a signature; None where it holds nothing or cannot be read."""
        try:
            return self.cache.load_overload(signature, target)
        except Exception as problem:  # unpickling a damaged file may raise anything
            self.warn("read", problem)
            with contextlib.suppress(OSError):
                self.cache.flush()

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Write a compiled form, where that is possible."""
        try:
            self.cache.save_overload(signature, compiled)
        except Exception as problem:  # a full disk, or a damaged index, which is read first
            self.warn("written", problem)

    def warn(self, what: str, problem: Exception) -> None:
        """Say that and where the cache failed; the same words for every kernel, so that they are said once."""
        warnings.warn(
            f"Numba's cache in {self.cache.cache_path} cannot be {what} ({type(problem).__name__}: {problem}), so that "
            "kernels are compiled again: empty this folder, or set NUMBA_CACHE_DIR to another",
            RuntimeWarning,
            stacklevel=2,
        )


def kernel(function: Kernel, options: Any = OPTIONS) -> Kernel:
    """Compile `function` when it is first called, and keep the result on disk where a cache folder can be written."""
    KERNELS.append(function.__name__)
    try:
        compiled = numba.njit(cache=True, **options)(function)
        if hasattr(compiled, "_cache"):  # not where Numba is told to compile nothing
            compiled._cache = ForgivingCache(compiled._cache)
    except RuntimeError:
        warnings.warn(
            "Numba finds no folder to keep compiled kernels in, so they are compiled again in every process: "
            "set NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=1,  # the same place for every kernel, so that it is said once
        )
        compiled = numba.njit(**options)(function)
    return compiled  # type: ignore[no-any-return]


def kernel_in_order(function: Kernel) -> Kernel:
    """A kernel whose operations keep the order in which they are written."""
    return kernel(function, IN_ORDER)


def inlined(function: Kernel) -> Kernel:
    """Compile `function` into the kernels that call it."""
    return numba.njit(inline="always", **OPTIONS)(function)  # type: ignore[no-any-return]


# --- the normal distribution ------------------------------------------------------------------------------------------


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


@kernel
def bias_gelu(u: HostArray, bias: HostArray, scale: HostArray, g: HostArray) -> None:
    """g = scale[b] * v * Phi(v),  v = u + bias.

    u (B, T, R); bias (R,); scale (B,), the factor of the residual branch; out: g (B, T, R).
    Fuses the bias of fc1, GELU, and the drop path of the block's second branch.
    """
    B, T, R = u.shape
    for b in range(B):
        for t in range(T):
            for r in range(R):
                v = u[b, t, r] + bias[r]
                cdf, _ = normal(v)
                g[b, t, r] = scale[b] * (v * cdf)


@kernel
def bias_gelu_backward(
    u: HostArray, bias: HostArray, scale: HostArray, dg: HostArray, g: HostArray, dbias: HostArray, rows: int
) -> None:
    """du = dg * scale[b] * (Phi(v) + v * phi(v)),  v = u + bias, in the place of dg.

    u, dg (B, T, R); bias (R,); scale (B,); out: du in dg, the recomputed g (B, T, R), dbias (B, R) = sum_t du in groups
    of `rows` tokens. Fuses GELU forward and backward, drop path and the bias sum of fc1.
    """
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


# --- LayerNorm, with the permutations behind it and the residual before it --------------------------------------------


@inlined
def row_statistics(x: HostArray, eps: float) -> tuple[float, float]:
    """(mean, rstd) of one token x (C,), the variance from the centred values."""
    C = x.dtype.type(x.size)
    mean = x.dtype.type(0)
    for c in range(x.size):
        mean += x[c]
    mean /= C
    variance = x.dtype.type(0)
    for c in range(x.size):
        centred = x[c] - mean
        variance += centred * centred
    return mean, x.dtype.type(1) / np.sqrt(variance / C + x.dtype.type(eps))


@kernel
def layer_norm_permuted(
    x: HostArray,
    weight: HostArray,
    bias: HostArray,
    eps: float,
    segment: Any,
    y: HostArray,
    yh: HostArray,
    yw: HostArray,
    mean: HostArray,
    rstd: HostArray,
) -> None:
    """y = layer_norm(x, weight, bias, eps),  yh = permute_height(y),  yw = permute_width(y).

    x (B, H, W, C); weight, bias (C,); segment, anything of length S (a tuple's is known when the kernel is compiled,
    so that the loops along a segment unroll); out: y (B, H, W, N*S), yh (B, N, W, H*S), yw (B, H, N, W*S), mean, rstd
    (B, H, W).
    Fuses LayerNorm with the permutations of the height and the width branch. Each output is written from its first
    entry to its last, while what is read again, one sample of y, stays in the cache.
    """
    B, H, W, C = x.shape
    S = len(segment)
    N = C // S
    y_ = y.reshape((B, H, W, N, S))
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                m, r = row_statistics(x[b, h, w], eps)
                mean[b, h, w] = m
                rstd[b, h, w] = r
                for c in range(C):
                    y[b, h, w, c] = (x[b, h, w, c] - m) * r * weight[c] + bias[c]
            for n in range(N):
                for w in range(W):
                    for s in range(S):
                        yw_[b, h, n, w, s] = y_[b, h, w, n, s]
        for n in range(N):
            for w in range(W):
                for h in range(H):
                    for s in range(S):
                        yh_[b, n, w, h, s] = y_[b, h, w, n, s]


@kernel
def residual_layer_norm(
    x: HostArray,
    branch: HostArray,
    branch_bias: HostArray,
    scale: HostArray,
    weight: HostArray,
    bias: HostArray,
    eps: float,
    z: HostArray,
    y: HostArray,
) -> None:
    """z = x + branch + scale[b] * branch_bias,  y = layer_norm(z, weight, bias, eps).

    x, branch (B, H, W, C), the branch scaled already; branch_bias, weight, bias (C,); scale (B,); out: z, y
    (B, H, W, C).
    Fuses the bias of the projection, drop path, the residual and norm2.
    """
    B, H, W, C = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    z[b, h, w, c] = x[b, h, w, c] + branch[b, h, w, c] + scale[b] * branch_bias[c]
                m, r = row_statistics(z[b, h, w], eps)
                for c in range(C):
                    y[b, h, w, c] = (z[b, h, w, c] - m) * r * weight[c] + bias[c]


@kernel
def residual(x: HostArray, branch: HostArray, branch_bias: HostArray, scale: HostArray, y: HostArray) -> None:
    """y = x + branch + scale[b] * branch_bias.

    x, branch (B, H, W, C), the branch scaled already; branch_bias (C,); scale (B,); out: y (B, H, W, C).
    Fuses the bias of fc2, drop path and the residual.
    """
    B, H, W, C = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    y[b, h, w, c] = x[b, h, w, c] + branch[b, h, w, c] + scale[b] * branch_bias[c]


@kernel
def layer_norm(
    x: HostArray, weight: HostArray, bias: HostArray, eps: float, y: HostArray, mean: HostArray, rstd: HostArray
) -> None:
    """y = weight * xhat + bias,  xhat = (x - mean) * rstd.

    x (B, H, W, C); weight, bias (C,); out: y (B, H, W, C), mean, rstd (B, H, W).
    """
    B, H, W, C = x.shape
    for b in range(B):
        for h in range(H):
            for w in range(W):
                m, r = row_statistics(x[b, h, w], eps)
                mean[b, h, w] = m
                rstd[b, h, w] = r
                for c in range(C):
                    y[b, h, w, c] = (x[b, h, w, c] - m) * r * weight[c] + bias[c]


@inlined
def row_backward(
    dy: HostArray, x: HostArray, m: float, r: float, weight: HostArray, skip: HostArray, dx: HostArray, sums: HostArray
) -> None:
    """One token of layer_norm_backward: dx (C,), and its share added to sums (2, C)."""
    zero = x.dtype.type(0)
    mean_d, mean_dxhat = zero, zero
    for c in range(x.size):
        xhat = (x[c] - m) * r
        sums[0, c] += dy[c] * xhat
        sums[1, c] += dy[c]
        d = dy[c] * weight[c]
        mean_d += d
        mean_dxhat += d * xhat
    mean_d /= x.dtype.type(x.size)
    mean_dxhat /= x.dtype.type(x.size)
    for c in range(x.size):
        xhat = (x[c] - m) * r
        dx[c] = skip[c] + r * (dy[c] * weight[c] - mean_d - xhat * mean_dxhat)


@kernel
def layer_norm_backward(
    dy: HostArray,
    x: HostArray,
    mean: HostArray,
    rstd: HostArray,
    weight: HostArray,
    skip: HostArray,
    dx: HostArray,
    sums: HostArray,
) -> None:
    """dx = skip + rstd * (d - mean(d) - xhat * mean(d * xhat)),  d = dy * weight,  xhat = (x - mean) * rstd.

    dy, x, skip (B, H, W, C), skip being the gradient that the residual hands on; mean, rstd (B, H, W); weight (C,);
    out: dx (B, H, W, C), sums (B, 2, C) = sum over the tokens of dy * xhat and of dy, the gradients of weight and bias.
    Fuses the LayerNorm pullback with the sum at the residual.
    """
    B, H, W, C = x.shape
    row = np.empty((2, C), x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                row_backward(
                    dy[b, h, w], x[b, h, w], mean[b, h, w], rstd[b, h, w], weight, skip[b, h, w], dx[b, h, w], row
                )
            for k in range(2):
                for c in range(C):
                    sums[b, k, c] += row[k, c]


@kernel
def layer_norm_permuted_backward(
    dy: HostArray,
    dyh: HostArray,
    dyw: HostArray,
    x: HostArray,
    mean: HostArray,
    rstd: HostArray,
    weight: HostArray,
    skip: HostArray,
    segment: Any,
    dx: HostArray,
    sums: HostArray,
) -> None:
    """layer_norm_backward of dy + permute_height's pullback of dyh + permute_width's pullback of dyw.

    dy (B, H, W, N*S); dyh (B, N, W, H*S); dyw (B, H, N, W*S); the others as there. The sum of the three replaces dy.
    Fuses the permutations back, the sum over the branches and layer_norm_backward.
    """
    B, H, W, C = x.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    dyh_ = dyh.reshape((B, N, W, H, S))
    dyw_ = dyw.reshape((B, H, N, W, S))
    row = np.empty((2, C), x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        dy_[b, h, w, n, s] += dyh_[b, n, w, h, s] + dyw_[b, h, n, w, s]
                row_backward(
                    dy[b, h, w], x[b, h, w], mean[b, h, w], rstd[b, h, w], weight, skip[b, h, w], dx[b, h, w], row
                )
            for k in range(2):
                for c in range(C):
                    sums[b, k, c] += row[k, c]


@kernel
def token_sums(x: HostArray, sums: HostArray) -> None:
    """sums[b, c] = sum_hw x[b, h, w, c].

    x (B, H, W, C); out: sums (B, C).
    """
    B, H, W, C = x.shape
    row = np.empty(C, x.dtype)
    for b in range(B):
        sums[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for c in range(C):
                    row[c] += x[b, h, w, c]
            for c in range(C):
                sums[b, c] += row[c]


# --- split attention over branches that stand permuted ----------------------------------------------------------------


@kernel
def branch_means(yh: HostArray, yw: HostArray, yc: HostArray, segment: Any, means: HostArray) -> None:
    """means[b, c] = mean_hw (h + w + c)[b, h, w, c], the branches h and w read from yh and yw.

    yh (B, N, W, H*S); yw (B, H, N, W*S); yc (B, H, W, N*S); out: means (B, C).
    Fuses the permutations back, the sum over the branches and the pooling.
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    tokens = yc.dtype.type(H * W)
    row = np.empty(C, yc.dtype)
    along = np.empty(max(H, W) * S, yc.dtype)
    for b in range(B):
        means[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for c in range(C):
                    row[c] += yc[b, h, w, c]
            for c in range(C):
                means[b, c] += row[c]
        for n in range(N):
            along[:] = 0
            for h in range(H):
                for i in range(W * S):
                    along[i] += yw[b, h, n, i]
            for w in range(W):
                for s in range(S):
                    means[b, n * S + s] += along[w * S + s]
            along[:] = 0
            for w in range(W):
                for i in range(H * S):
                    along[i] += yh[b, n, w, i]
            for h in range(H):
                for s in range(S):
                    means[b, n * S + s] += along[h * S + s]
        for c in range(C):
            means[b, c] /= tokens


@kernel
def weighted_sum(yh: HostArray, yw: HostArray, yc: HostArray, a: HostArray, segment: Any, y: HostArray) -> None:
    """y = a_h * h + a_w * w + a_c * c, the branches h and w read from yh and yw.

    yh (B, N, W, H*S); yw (B, H, N, W*S); yc (B, H, W, N*S); a (B, 3, C), in the order h, w, c; out: y (B, H, W, C).
    Fuses the permutations back and the weighted sum of split attention.
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    yc_ = yc.reshape((B, H, W, N, S))
    a_ = a.reshape((B, 3, N, S))
    y_ = y.reshape((B, H, W, N, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        y_[b, h, w, n, s] = (
                            a_[b, 0, n, s] * yh_[b, n, w, h, s]
                            + a_[b, 1, n, s] * yw_[b, h, n, w, s]
                            + a_[b, 2, n, s] * yc_[b, h, w, n, s]
                        )


@kernel
def weighted_sum_da(dy: HostArray, yh: HostArray, yw: HostArray, yc: HostArray, segment: Any, da: HostArray) -> None:
    """da[b, k, c] = sum_hw dy[b, h, w, c] * x_k[b, h, w, c], the branches x_k being h, w, c.

    dy (B, H, W, C); yh, yw, yc as in weighted_sum; out: da (B, 3, C).
    """
    B, H, W, C = yc.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    yh_ = yh.reshape((B, N, W, H, S))
    yw_ = yw.reshape((B, H, N, W, S))
    yc_ = yc.reshape((B, H, W, N, S))
    row = np.empty((3, N, S), yc.dtype)
    row_flat = row.reshape((3, C))
    for b in range(B):
        da[b] = 0
        for h in range(H):
            row[:] = 0
            for w in range(W):
                for n in range(N):
                    for s in range(S):
                        d = dy_[b, h, w, n, s]
                        row[0, n, s] += d * yh_[b, n, w, h, s]
                        row[1, n, s] += d * yw_[b, h, n, w, s]
                        row[2, n, s] += d * yc_[b, h, w, n, s]
            for k in range(3):
                for c in range(C):
                    da[b, k, c] += row_flat[k, c]


@kernel
def weighted_sum_backward(
    dy: HostArray,
    a: HostArray,
    dmean: HostArray,
    segment: Any,
    dyh: HostArray,
    dyw: HostArray,
    dyc: HostArray,
) -> None:
    """dx_k = dy * a_k + dmean: what reaches branch k through the weighted sum and through the pooled mean.

    dy (B, H, W, C); a (B, 3, C); dmean (B, C), the gradient of the mean over the tokens divided by their number; out:
    dyh (B, N, W, H*S), dyw (B, H, N, W*S), dyc (B, H, W, N*S).
    Fuses split attention's pullback, the pooling's, and the permutations to the rows of the branches. Each output is
    written from its first entry to its last, while what is read again, one sample of dy, stays in the cache.
    """
    B, H, W, C = dy.shape
    S = len(segment)
    N = C // S
    dy_ = dy.reshape((B, H, W, N, S))
    a_ = a.reshape((B, 3, N, S))
    dmean_ = dmean.reshape((B, N, S))
    dyh_ = dyh.reshape((B, N, W, H, S))
    dyw_ = dyw.reshape((B, H, N, W, S))
    for b in range(B):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    dyc[b, h, w, c] = dy[b, h, w, c] * a[b, 2, c] + dmean[b, c]
            for n in range(N):
                for w in range(W):
                    for s in range(S):
                        dyw_[b, h, n, w, s] = dy_[b, h, w, n, s] * a_[b, 1, n, s] + dmean_[b, n, s]
        for n in range(N):
            for w in range(W):
                for h in range(H):
                    for s in range(S):
                        dyh_[b, n, w, h, s] = dy_[b, h, w, n, s] * a_[b, 0, n, s] + dmean_[b, n, s]


# --- the optimizer ----------------------------------------------------------------------------------------------------


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
