"""Every display formula of docs/math.md about a function, as it stands there, beside the same in NumPy and the code.

A formula that is changed there must be changed here, where its meaning is computed and held against the code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.special

import vipnp
from tests.conftest import small_model
from tools.formulas import MATH, formulas
from vipnp import layers, ops, optim
from vipnp.layers import BlockMasks, Mask, masked
from vipnp.models import vision_permutator
from vipnp.models.vision_permutator import tokens

BOOK = formulas(MATH.read_text(encoding="utf-8"))
XP = vipnp.get_backend("numpy")
BRANCH = {"height": layers.height_branch, "width": layers.width_branch, "channel": layers.channel_branch}


class Section:
    """The formulas of a section that have not been computed yet."""

    def __init__(self, name: str) -> None:
        self.left = list(BOOK[name])
        self.rng = np.random.default_rng(len(name))

    def says(self, formula: str, *equations: tuple[Any, ...]) -> None:
        """The next formula of the section, and its equations: all sides of one are the same number."""
        found = self.left.pop(0)
        assert found == " ".join(formula.split())
        for first, *others in equations:
            for other in others:
                assert np.shape(first) == np.shape(other)
                np.testing.assert_allclose(other, first, rtol=1e-11, atol=1e-13)

    def draw(self, *shape: int) -> Any:
        return self.rng.normal(size=shape)

    def kept(self, *shape: int) -> Any:
        return (self.rng.random(shape) < 0.6).astype(float)


CHECKS: dict[str, Callable[[Section], None]] = {}


def section(check: Callable[[Section], None]) -> Callable[[Section], None]:
    CHECKS[check.__name__.removeprefix("check_")] = check
    return check


def test_every_section_with_a_formula_is_here() -> None:
    assert set(CHECKS) == set(BOOK)


@pytest.mark.parametrize("name", BOOK)
def test_the_formulas_are_what_the_code_computes(name: str) -> None:
    remaining = Section(name)
    CHECKS[name](remaining)
    assert remaining.left == []


def by(x: Any, f: Callable[[Any], Any], step: float = 1e-30) -> Any:
    """The derivative of f by every entry of x, by the complex step: its axes are those of f, then those of x."""
    columns = []
    for index in np.ndindex(np.shape(x)):
        moved = np.asarray(x, complex)
        moved[index] += step * 1j
        columns.append(np.imag(f(moved)) / step)
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(*stacked.shape[:-1], *np.shape(x))


def entries(*sizes: int) -> Callable[[Callable[..., Any]], Any]:
    """The array with the entry f(*indices) at all indices."""
    return lambda f: np.array([f(*index) for index in np.ndindex(*sizes)]).reshape(sizes)


# --- ops --------------------------------------------------------------------------------------------------------------


@section
def check_linear(s: Section) -> None:
    x, weight, bias, dy = s.draw(3, 4), s.draw(5, 4), s.draw(5), s.draw(3, 5)
    y, pullback = ops.linear(XP, x, weight, bias)
    dx, dweight, dbias = pullback(dy)
    value = np.einsum("mc,kc->mk", x, weight) + bias
    s.says(
        r"""y_{mk} = \sum_c x_{mc} \, \mathrm{weight}_{kc} + \mathrm{bias}_k , \qquad
        \ell = \sum_{mk} dy_{mk} \Big( \sum_c x_{mc} \, \mathrm{weight}_{kc} + \mathrm{bias}_k \Big) .""",
        (y, value),
        (np.sum(dy * y), np.sum(dy * value)),
    )
    s.says(
        r"""dx_{mc} = \sum_k dy_{mk} \, \mathrm{weight}_{kc}, \qquad
        d\mathrm{weight}_{kc} = \sum_m dy_{mk} \, x_{mc}, \qquad d\mathrm{bias}_k = \sum_m dy_{mk},""",
        (dx, np.einsum("mk,kc->mc", dy, weight)),
        (dweight, np.einsum("mk,mc->kc", dy, x)),
        (dbias, dy.sum(0)),
    )


@section
def check_linear_no_bias(s: Section) -> None:
    x, weight, dy = s.draw(3, 4), s.draw(5, 4), s.draw(3, 5)
    y, pullback = ops.linear_no_bias(XP, x, weight)
    dx, dweight = pullback(dy)
    s.says(
        r"""y_{mk} = \sum_c x_{mc} \, \mathrm{weight}_{kc}, \qquad dx_{mc} = \sum_k dy_{mk} \, \mathrm{weight}_{kc},
        \qquad d\mathrm{weight}_{kc} = \sum_m dy_{mk} \, x_{mc} .""",
        (y, np.einsum("mc,kc->mk", x, weight)),
        (dx, np.einsum("mk,kc->mc", dy, weight)),
        (dweight, np.einsum("mk,mc->kc", dy, x)),
    )


@section
def check_layer_norm(s: Section) -> None:
    rows, C, eps = 3, 5, 0.1
    x, weight, bias, dy = s.draw(rows, C), s.draw(C), s.draw(C), s.draw(rows, C)
    y, pullback = ops.layer_norm(XP, x, weight, bias, eps)
    dx, dweight, dbias = pullback(dy)

    def u_of(x: Any) -> Any:
        return x - x.sum(-1, keepdims=True) / C

    def var_of(x: Any) -> Any:
        return (u_of(x) ** 2).sum(-1, keepdims=True) / C

    def rstd_of(x: Any) -> Any:
        return (var_of(x) + eps) ** -0.5

    def xhat_of(x: Any) -> Any:
        return u_of(x) * rstd_of(x)

    s.says(
        r"""u_i = x_i - \frac1C \sum_j x_j, \quad \mathrm{var} = \frac1C \sum_i u_i^2, \quad
        \mathrm{rstd} = (\mathrm{var} + \mathrm{eps})^{-1/2}, \quad \hat x_i = u_i \, \mathrm{rstd}, \quad
        y_i = \mathrm{weight}_i \, \hat x_i + \mathrm{bias}_i .""",
        (y, weight * xhat_of(x) + bias),
    )
    s.says(
        r"""\ell = \sum_{\text{rows}} \sum_i dy_i \, ( \mathrm{weight}_i \, \hat x_i + \mathrm{bias}_i ), \qquad
        d\mathrm{weight}_i = \sum_{\text{rows}} dy_i \, \hat x_i, \qquad
        d\mathrm{bias}_i = \sum_{\text{rows}} dy_i .""",
        (np.sum(dy * y), np.sum(dy * (weight * xhat_of(x) + bias))),
        (dweight, (dy * xhat_of(x)).sum(0)),
        (dbias, dy.sum(0)),
    )
    x, dy = x[0], dy[0]
    u, var, rstd, xhat, delta = u_of(x), var_of(x), rstd_of(x), xhat_of(x), np.eye(C)
    d = dy * weight
    s.says(
        r"d_i = \frac{\partial \ell}{\partial \hat x_i} = dy_i \, \mathrm{weight}_i",
        (d, by(xhat, lambda xhat: np.sum(dy * (weight * xhat + bias)))),
    )
    s.says(r"\frac{\partial u_i}{\partial x_j} = \delta_{ij} - \frac1C", (by(x, u_of), delta - 1 / C))
    s.says(
        r"""\frac{\partial\, \mathrm{var}}{\partial x_j} = \frac2C \sum_i u_i \Big( \delta_{ij} - \frac1C \Big)
        = \frac2C \Big( u_j - \frac1C \sum_i u_i \Big) = \frac2C \, u_j \qquad \text{because } \sum_i u_i = 0""",
        (by(x, var_of)[0], 2 / C * u @ (delta - 1 / C), 2 / C * (u - u.sum() / C), 2 / C * u),
        (u.sum(), 0.0),
    )
    s.says(
        r"""\frac{\partial\, \mathrm{rstd}}{\partial x_j}
        = -\frac12 (\mathrm{var} + \mathrm{eps})^{-3/2} \cdot \frac2C \, u_j
        = -\frac1C \, \mathrm{rstd}^3 \, u_j = -\frac1C \, \mathrm{rstd}^2 \, \hat x_j""",
        (by(x, rstd_of)[0], -0.5 * (var + eps) ** -1.5 * 2 / C * u, -(rstd**3) * u / C, -(rstd**2) * xhat / C),
    )
    s.says(
        r"""\frac{\partial \hat x_i}{\partial x_j}
        = \mathrm{rstd} \Big( \delta_{ij} - \frac1C \Big) - u_i \cdot \frac1C \, \mathrm{rstd}^2 \, \hat x_j
        = \mathrm{rstd} \Big( \delta_{ij} - \frac1C - \frac1C \, \hat x_i \, \hat x_j \Big)""",
        (
            by(x, xhat_of),
            rstd * (delta - 1 / C) - np.outer(u, rstd**2 * xhat) / C,
            rstd * (delta - 1 / C - np.outer(xhat, xhat) / C),
        ),
    )
    s.says(
        r"""dx_j = \sum_i d_i \, \frac{\partial \hat x_i}{\partial x_j}
        = \mathrm{rstd} \Big( d_j - \frac1C \sum_i d_i - \hat x_j \cdot \frac1C \sum_i d_i \, \hat x_i \Big)
        = \mathrm{rstd} \, \big( d_j - \mathrm{mean}(d) - \hat x_j \, \mathrm{mean}(d \odot \hat x) \big)""",
        (
            dx[0],
            d @ by(x, xhat_of),
            rstd * (d - d.sum() / C - xhat * (d * xhat).sum() / C),
            rstd * (d - d.mean() - xhat * (d * xhat).mean()),
        ),
    )


def phi(x: Any) -> Any:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


@section
def check_gelu(s: Section) -> None:
    x, dy = s.draw(5), s.draw(5)
    y, pullback = ops.gelu(XP, x)
    Phi = np.array([scipy.integrate.quad(phi, -np.inf, v, epsabs=1e-14, epsrel=1e-13)[0] for v in x])
    s.says(
        r"""y = x \, \Phi(x), \qquad \Phi(x) = \int_{-\infty}^{x} \varphi(\tau) \, d\tau, \qquad
        \varphi(x) = \frac{1}{\sqrt{2\pi}} \, e^{-x^2/2}""",
        (y, x * Phi),
    )
    s.says(r"dx = dy \, \big( \Phi(x) + x \, \varphi(x) \big) .", (pullback(dy)[0], dy * (Phi + x * phi(x))))


def softmax_of(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


@section
def check_softmax(s: Section) -> None:
    x, ds, delta = s.draw(5), s.draw(5), np.eye(5)
    y, pullback = ops.softmax(XP, x)
    value = softmax_of(x)
    s.says(r"s_j = \frac{e^{x_j}}{\sum_k e^{x_k}}", (y, value))
    jacobian = value[:, None] * (delta - value)
    s.says(
        r"""\frac{\partial \log s_k}{\partial x_j} = \delta_{kj} - \frac{e^{x_j}}{\sum_i e^{x_i}} = \delta_{kj} - s_j
        \qquad \Longrightarrow \qquad \frac{\partial s_k}{\partial x_j} = s_k \, (\delta_{kj} - s_j)""",
        (by(x, lambda x: np.log(softmax_of(x))), delta - np.exp(x) / np.exp(x).sum(), delta - value),
        (by(x, softmax_of), jacobian),
    )
    s.says(
        r"""dx_j = \sum_k ds_k \, s_k \, (\delta_{kj} - s_j) = s_j \, ds_j - s_j \sum_k s_k \, ds_k
        = s_j \Big( ds_j - \sum_k s_k \, ds_k \Big) .""",
        (pullback(ds)[0], ds @ jacobian, value * ds - value * (value @ ds), value * (ds - value @ ds)),
    )


@section
def check_shift(s: Section) -> None:
    B, H, W, N, S, G, V = 2, 3, 4, 5, 6, 7, 8
    x, dy, R, L = s.draw(B, H, W, N * S), s.draw(B, G, V, N * S), s.kept(N, G, H), s.kept(N, V, W)
    y, pullback = ops.shift(XP, x, rows=R, columns=L)
    x_n, dy_n = x.reshape(B, H, W, N, S), dy.reshape(B, G, V, N, S)
    value = np.einsum("ngh,bhwns,nvw->bgvns", R, x_n, L)
    back = np.einsum("ngh,bgvns,nvw->bhwns", R, dy_n, L)
    s.says(
        r"""y_n = R_n \, x_n \, L_n^{\top}, \qquad
        \ell = \sum_n \langle dy_n, R_n \, x_n \, L_n^{\top} \rangle
        = \sum_n \langle R_n^{\top} \, dy_n \, L_n, x_n \rangle , \qquad dx_n = R_n^{\top} \, dy_n \, L_n ,""",
        (y, value.reshape(y.shape)),
        (np.sum(dy * y), np.sum(dy_n * value), np.sum(back * x_n)),
        (pullback(dy)[0], back.reshape(x.shape)),
    )


@section
def check_resample_mixing(s: Section) -> None:
    G, S, H = 3, 4, 5
    weight, spread, gather, dy = s.draw(G * S, G * S), s.draw(H, G), s.draw(G, H), s.draw(H * S, H * S)
    y, pullback = ops.resample_mixing(XP, weight, spread=spread, gather=gather)
    matrix, dy_htks = weight.reshape(G, S, G, S), dy.reshape(H, S, H, S)
    y_htks = y.reshape(H, S, H, S)
    s.says(
        r"""y[h, t, k, s] = \sum_{ij} \mathrm{spread}[h, i] \, \mathrm{weight}[i, t, j, s] \, \mathrm{gather}[j, k],""",
        (y_htks, np.einsum("hi,itjs,jk->htks", spread, matrix, gather)),
    )
    s.says(
        r"""\ell = \sum_{htks} dy[h, t, k, s] \, y[h, t, k, s], \qquad
        d\mathrm{weight}[i, t, j, s] = \sum_{hk} \mathrm{spread}[h, i] \, dy[h, t, k, s] \, \mathrm{gather}[j, k] .""",
        (np.sum(dy * y), np.sum(dy_htks * y_htks)),
        (pullback(dy)[0].reshape(G, S, G, S), np.einsum("hi,htks,jk->itjs", spread, dy_htks, gather)),
    )


@section
def check_permute_height(s: Section) -> None:
    B, H, W, N, S = 2, 3, 4, 5, 6
    x, dy = s.draw(B, H, W, N * S), s.draw(B, N, W, H * S)
    y, pullback = ops.permute_height(XP, x, N)
    (dx,) = pullback(dy)
    inverse, _ = ops.permute_height(XP, y, H)
    each = entries(B, H, W, N, S)
    x_each = each(lambda b, h, w, n, s: x[b, h, w, n * S + s])
    y_each = each(lambda b, h, w, n, s: y[b, n, w, h * S + s])
    dy_each = each(lambda b, h, w, n, s: dy[b, n, w, h * S + s])
    s.says(
        r"y[b, n, w, hS + s] = x[b, h, w, nS + s], \qquad y \text{ of shape } (B, N, W, HS) .",
        (y_each, x_each),
        (y.shape, (B, N, W, H * S)),
    )
    s.says(
        r"""\ell = \sum_{bhwns} dy[b, n, w, hS + s] \; x[b, h, w, nS + s], \qquad
        dx[b, h, w, nS + s] = dy[b, n, w, hS + s] .""",
        (np.sum(dy * y), np.sum(dy_each * x_each)),
        (each(lambda b, h, w, n, s: dx[b, h, w, n * S + s]), dy_each),
    )
    s.says(
        r"\mathrm{permute\_height}(y, H)[b, h, w, nS + s] = y[b, n, w, hS + s] = x[b, h, w, nS + s] .",
        (each(lambda b, h, w, n, s: inverse[b, h, w, n * S + s]), y_each, x_each),
    )


@section
def check_permute_width(s: Section) -> None:
    B, H, W, N, S = 2, 3, 4, 5, 6
    x, dy = s.draw(B, H, W, N * S), s.draw(B, H, N, W * S)
    y, pullback = ops.permute_width(XP, x, N)
    (dx,) = pullback(dy)
    each = entries(B, H, W, N, S)
    s.says(
        r"y[b, h, n, wS + s] = x[b, h, w, nS + s], \qquad y \text{ of shape } (B, H, N, WS)",
        (
            each(lambda b, h, w, n, s: y[b, h, n, w * S + s]),
            each(lambda b, h, w, n, s: x[b, h, w, n * S + s]),
        ),
        (y.shape, (B, H, N, W * S)),
    )
    s.says(
        r"dx[b, h, w, nS + s] = dy[b, h, n, wS + s], \qquad dx = \mathrm{permute\_width}(dy, W) .",
        (
            each(lambda b, h, w, n, s: dx[b, h, w, n * S + s]),
            each(lambda b, h, w, n, s: dy[b, h, n, w * S + s]),
        ),
        (dx, ops.permute_width(XP, dy, W)[0]),
    )


@section
def check_split_attention(s: Section) -> None:
    B, H, W, C, K = 2, 3, 4, 5, 6
    logits, dy, x = s.draw(B, C, K), s.draw(B, H, W, C), s.draw(K, B, H, W, C)
    y, pullback = ops.split_attention(XP, logits, *x)
    dlogits, *dx = pullback(dy)
    a = softmax_of(logits)

    def sum_of(a: Any) -> Any:
        return np.einsum("bck,kbhwc->bhwc", a, x)

    s.says(
        r"""y_{bhwc} = \sum_k a_{bck} \, x_{k,bhwc}, \qquad
        a_{bc\cdot} = \mathrm{softmax}(\mathrm{logits}_{bc\cdot}) .""",
        (y, sum_of(a)),
    )
    da = np.einsum("bhwc,kbhwc->bck", dy, x)
    s.says(
        r"""\ell = \sum_{bhwc} dy_{bhwc} \sum_k a_{bck} \, x_{k,bhwc}, \qquad
        dx_{k,bhwc} = dy_{bhwc} \, a_{bck}, \qquad da_{bck} = \sum_{hw} dy_{bhwc} \, x_{k,bhwc} .""",
        (np.sum(dy * y), np.sum(dy * sum_of(a))),
        (np.stack(dx), np.einsum("bhwc,bck->kbhwc", dy, a)),
        (da, by(a, lambda a: np.sum(dy * sum_of(a)))),
    )
    s.says(
        r"d\mathrm{logits}_{bck} = a_{bck} \Big( da_{bck} - \sum_j a_{bcj} \, da_{bcj} \Big) .",
        (dlogits, a * (da - (a * da).sum(-1, keepdims=True))),
    )


@section
def check_patch_embed(s: Section) -> None:
    B, C, P, Q, h, w, K = 2, 3, 4, 5, 6, 7, 8
    x, weight, bias, dy = s.draw(B, C, h * P, w * Q), s.draw(K, C, P, Q), s.draw(K), s.draw(B, h, w, K)
    y, pullback = ops.patch_embed(XP, x, weight, bias)
    dx, dweight, dbias = pullback(dy)
    places = entries(B, h, w, C, P, Q)
    patches = places(lambda b, i, j, c, p, q: x[b, c, i * P + p, j * Q + q])
    s.says(
        r"y_{bijk} = \sum_{cpq} x[b, c, iP + p, jQ + q] \; \mathrm{weight}_{kcpq} + \mathrm{bias}_k .",
        (y, np.einsum("bijcpq,kcpq->bijk", patches, weight) + bias),
    )
    s.says(
        r"""y = \mathrm{patches} \cdot \mathrm{matrix}^\top + \mathrm{bias}, \qquad
        \mathrm{matrix} \text{ the weight seen as } (K,\; CPQ) .""",
        (y.reshape(-1, K), patches.reshape(-1, C * P * Q) @ weight.reshape(K, C * P * Q).T + bias),
    )
    s.says(
        r"""dx[b, c, iP + p, jQ + q] = d\mathrm{patches}[(b,i,j), (c,p,q)]
        = \sum_k dy_{bijk} \, \mathrm{weight}_{kcpq}""",
        (
            places(lambda b, i, j, c, p, q: dx[b, c, i * P + p, j * Q + q]),
            np.einsum("bijk,kcpq->bijcpq", dy, weight),
        ),
    )
    s.says(
        r"""d\mathrm{weight}_{kcpq} = \sum_{bij} dy_{bijk} \; x[b, c, iP + p, jQ + q], \qquad
        d\mathrm{bias}_k = \sum_{bij} dy_{bijk}""",
        (dweight, np.einsum("bijk,bijcpq->kcpq", dy, patches)),
        (dbias, dy.sum((0, 1, 2))),
    )


@section
def check_global_average_pool(s: Section) -> None:
    B, H, W, C = 2, 3, 4, 5
    x, dy = s.draw(B, H, W, C), s.draw(B, C)
    y, pullback = ops.global_average_pool(XP, x)
    s.says(
        r"""y_{bc} = \frac{1}{HW} \sum_{hw} x_{bhwc}, \qquad
        \ell = \sum_{bc} dy_{bc} \, \frac{1}{HW} \sum_{hw} x_{bhwc}, \qquad dx_{bhwc} = \frac{1}{HW} \, dy_{bc}""",
        (y, x.sum((1, 2)) / (H * W)),
        (np.sum(dy * y), np.sum(dy * x.sum((1, 2)) / (H * W))),
        (pullback(dy)[0], entries(B, H, W, C)(lambda b, h, w, c: dy[b, c] / (H * W))),
    )


@section
def check_dropout(s: Section) -> None:
    x, dy, mask, rate = s.draw(4, 5), s.draw(4, 5), s.kept(4, 5), 0.4
    y, pullback = ops.dropout(XP, x, mask=mask, rate=rate)
    s.says(
        r"""y_i = x_i \, \frac{\mathrm{mask}_i}{1 - \mathrm{rate}}, \qquad
        dx_i = dy_i \, \frac{\mathrm{mask}_i}{1 - \mathrm{rate}}""",
        (y, x * mask / (1 - rate)),
        (pullback(dy)[0], dy * mask / (1 - rate)),
    )


@section
def check_drop_path(s: Section) -> None:
    x, dy, mask, rate = s.draw(6, 2, 3, 4), s.draw(6, 2, 3, 4), s.kept(6), 0.4
    y, pullback = ops.drop_path(XP, x, mask=mask, rate=rate)
    s.says(
        r"""y_{bhwc} = x_{bhwc} \, \frac{\mathrm{mask}_b}{1 - \mathrm{rate}}, \qquad
        dx_{bhwc} = dy_{bhwc} \, \frac{\mathrm{mask}_b}{1 - \mathrm{rate}}""",
        (y, np.einsum("bhwc,b->bhwc", x, mask / (1 - rate))),
        (pullback(dy)[0], np.einsum("bhwc,b->bhwc", dy, mask / (1 - rate))),
    )


@section
def check_residual(s: Section) -> None:
    x, branch, dy, skip_lam = s.draw(3, 4), s.draw(3, 4), s.draw(3, 4), 1.7
    y, pullback = ops.residual(XP, x, branch, skip_lam)
    dx, dbranch = pullback(dy)
    s.says(
        r"""y = x + \frac{\mathrm{branch}}{\mathrm{skip\_lam}}, \qquad dx = dy, \qquad
        d\mathrm{branch} = \frac{dy}{\mathrm{skip\_lam}}""",
        (y, x + branch / skip_lam),
        (dx, dy),
        (dbranch, dy / skip_lam),
    )


@section
def check_soft_cross_entropy(s: Section) -> None:
    B, K = 3, 5
    z, t, dloss = s.draw(B, K), np.abs(s.draw(B, K)), np.asarray(1.3)
    loss, pullback = ops.soft_cross_entropy(XP, z, targets=t)
    p = softmax_of(z)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    s.says(
        r"""\mathrm{loss} = -\frac1B \sum_{bk} t_{bk} \log p_{bk}, \qquad
        \log p_{bk} = z_{bk} - \log \sum_j e^{z_{bj}}, \qquad p_{b\cdot} = \mathrm{softmax}(z_{b\cdot})""",
        (loss, -np.sum(t * np.log(p)) / B, -np.sum(t * log_p) / B),
        (log_p, np.log(p)),
    )
    s.says(
        r"""d\mathrm{logits}_{bj} = -\frac{d\mathrm{loss}}{B} \sum_k t_{bk} \, (\delta_{kj} - p_{bj})
        = \frac{d\mathrm{loss}}{B} \Big( p_{bj} \sum_k t_{bk} - t_{bj} \Big) .""",
        (
            pullback(dloss)[0],
            entries(B, K)(lambda b, j: -dloss / B * sum(t[b, k] * ((k == j) - p[b, j]) for k in range(K))),
            dloss / B * (p * t.sum(1, keepdims=True) - t),
        ),
    )


@section
def check_cross_entropy(s: Section) -> None:
    B, K, alpha, labels, dloss = 3, 5, 0.2, np.array([4, 0, 2]), np.asarray(1.3)
    z = s.draw(B, K)
    loss, pullback = ops.cross_entropy(XP, z, labels=labels, label_smoothing=alpha)
    t = entries(B, K)(lambda b, k: (1 - alpha) * (k == labels[b]) + alpha / K)
    assert loss == pytest.approx(ops.soft_cross_entropy(XP, z, targets=t)[0], rel=1e-14)
    s.says(
        r"""t_{bk} = (1 - \alpha) \, \delta_{k, \mathrm{label}_b} + \frac{\alpha}{K}, \qquad
        \sum_k t_{bk} = 1, \qquad d\mathrm{logits} = \frac{d\mathrm{loss}}{B} \, (p - t) .""",
        (t.sum(1), np.ones(B)),
        (pullback(dloss)[0], dloss / B * (softmax_of(z) - t)),
    )


# --- layers: what a formula calls by name is the op or layer of that name ---------------------------------------------


def block() -> tuple[Any, Any]:
    """Tokens (B, H, W, C) and the parameters of a block in which no two sizes are equal."""
    params = small_model(dtype="float64").params["network"]["0"]["0"]
    return np.random.default_rng(1).normal(size=(3, 6, 4, 8)), params


@section
def check_mlp(s: Section) -> None:
    x, params = block()
    fc1, fc2 = params["mlp"]["fc1"], params["mlp"]["fc2"]
    D1, D2 = Mask(s.kept(3, 6, 4, 24), 0.4), Mask(s.kept(3, 6, 4, 8), 0.4)
    a = ops.gelu(XP, ops.linear(XP, x, **fc1)[0])[0]
    a = ops.linear(XP, masked(XP, ops.dropout, a, D1)[0], **fc2)[0]
    s.says(
        r"\mathrm{mlp}(x) = D_2 \big( \mathrm{fc2} \big( D_1 \big( \mathrm{gelu}( \mathrm{fc1}(x) ) \big) \big) \big)",
        (
            layers.mlp(XP, x, params["mlp"], hidden_mask=D1, out_mask=D2)[0],
            masked(XP, ops.dropout, a, D2)[0],
        ),
    )
    x = x.reshape(-1, 8)
    dy = s.draw(*x.shape)
    dx, dparams = layers.mlp(XP, x, params["mlp"])[1](dy)
    u = x @ fc1["weight"].T + fc1["bias"]
    du = (dy @ fc2["weight"]) * (scipy.special.ndtr(u) + u * phi(u))
    s.says(
        r"""du = (dy \cdot \mathrm{weight}_2) \odot (\Phi(u) + u \odot \varphi(u)), \qquad
        dx = du \cdot \mathrm{weight}_1,""",
        (dx, du @ fc1["weight"]),
    )
    s.says(
        r"d\mathrm{weight}_2 = dy^\top \mathrm{gelu}(u), \qquad d\mathrm{weight}_1 = du^\top x ,",
        (dparams["fc2"]["weight"], dy.T @ (u * scipy.special.ndtr(u))),
        (dparams["fc1"]["weight"], du.T @ x),
    )


@section
def check_height_branch(s: Section) -> None:
    B, H, W, N, S = 2, 3, 4, 5, 6
    x, weight, dy = s.draw(B, H, W, N * S), s.draw(H * S, H * S), s.draw(B, H, W, N * S)
    y, pullback = layers.height_branch(XP, x, {"weight": weight}, segments=N)
    dx, dparams = pullback(dy)
    a = entries(B, N, W, H, S)(lambda b, n, w, h, s: x[b, h, w, n * S + s]).reshape(B, N, W, H * S)
    mixed = np.einsum("bnwi,oi->bnwo", a, weight)
    s.says(
        r"""a[b, n, w, hS + s] = x[b, h, w, nS + s], \qquad
        a'[b, n, w, gS + t] = \sum_{hs} a[b, n, w, hS + s] \; \mathrm{weight}[gS + t,\, hS + s],""",
        (a, ops.permute_height(XP, x, N)[0]),
        (mixed, ops.linear_no_bias(XP, a, weight)[0]),
    )
    matrix = weight.reshape(H, S, H, S)
    x_hs, dy_gt = x.reshape(B, H, W, N, S), dy.reshape(B, H, W, N, S)
    s.says(
        r"""y[b, g, w, nS + t] = a'[b, n, w, gS + t]
        = \sum_{hs} x[b, h, w, nS + s] \; \mathrm{weight}[gS + t,\, hS + s] .""",
        (
            y.reshape(B, H, W, N, S),
            entries(B, H, W, N, S)(lambda b, g, w, n, t: mixed[b, n, w, g * S + t]),
            np.einsum("bhwns,gths->bgwnt", x_hs, matrix),
        ),
    )
    s.says(
        r"dx[b, h, w, nS + s] = \sum_{gt} dy[b, g, w, nS + t] \; \mathrm{weight}[gS + t,\, hS + s],",
        (dx.reshape(B, H, W, N, S), np.einsum("bgwnt,gths->bhwns", dy_gt, matrix)),
    )
    s.says(
        r"d\mathrm{weight}[gS + t,\, hS + s] = \sum_{bwn} dy[b, g, w, nS + t] \; x[b, h, w, nS + s] ,",
        (dparams["weight"].reshape(H, S, H, S), np.einsum("bgwnt,bhwns->gths", dy_gt, x_hs)),
    )


@section
def check_width_branch(s: Section) -> None:
    B, H, W, N, S = 2, 3, 4, 5, 6
    x, weight, dy = s.draw(B, H, W, N * S), s.draw(W * S, W * S), s.draw(B, H, W, N * S)
    y, pullback = layers.width_branch(XP, x, {"weight": weight}, segments=N)
    dx, dparams = pullback(dy)
    matrix = weight.reshape(W, S, W, S)
    x_ws, dy_vt = x.reshape(B, H, W, N, S), dy.reshape(B, H, W, N, S)
    s.says(
        r"y[b, h, v, nS + t] = \sum_{ws} x[b, h, w, nS + s] \; \mathrm{weight}[vS + t,\, wS + s]",
        (y.reshape(B, H, W, N, S), np.einsum("bhwns,vtws->bhvnt", x_ws, matrix)),
    )
    s.says(
        r"""dx[b, h, w, nS + s] = \sum_{vt} dy[b, h, v, nS + t] \; \mathrm{weight}[vS + t,\, wS + s], \qquad
        d\mathrm{weight}[vS + t,\, wS + s] = \sum_{bhn} dy[b, h, v, nS + t] \; x[b, h, w, nS + s]""",
        (dx.reshape(B, H, W, N, S), np.einsum("bhvnt,vtws->bhwns", dy_vt, matrix)),
        (dparams["weight"].reshape(W, S, W, S), np.einsum("bhvnt,bhwns->vtws", dy_vt, x_ws)),
    )


def branches_of(x: Any, attn: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The branches h, w, c of x, and what they send back for a gradient each, added."""
    run = [BRANCH[kind](XP, x, attn[f"mlp_{kind[0]}"], segments=2) for kind in BRANCH]
    return [y for y, _ in run], lambda *d: sum(back(part)[0] for (_, back), part in zip(run, d, strict=True))


@section
def check_permute_mlp(s: Section) -> None:
    x, params = block()
    attn, mask, dy = params["attn"], Mask(s.kept(3, 6, 4, 8), 0.4), s.draw(3, 6, 4, 8)
    plain = {key: attn[key] for key in ("mlp_c", "mlp_h", "mlp_w", "proj")}
    y, pullback = layers.permute_mlp(XP, x, plain, segments=2, mask=mask)
    (h, w, c), back = branches_of(x, attn)
    a, proj_back = ops.linear(XP, h + w + c, **attn["proj"])
    value, mask_back = masked(XP, ops.dropout, a, mask)
    s.says(r"y = D\big( \mathrm{proj}(h + w + c) \big) .", (y, value))
    d = proj_back(*mask_back(dy))[0]
    s.says(r"dx = dx_h + dx_w + dx_c .", (pullback(dy)[0], back(d, d, d)))


@section
def check_weighted_permute_mlp(s: Section) -> None:
    x, params = block()
    B, H, W, C = x.shape
    attn, mask, dy = params["attn"], Mask(s.kept(*x.shape), 0.4), s.draw(*x.shape)
    y, pullback = layers.weighted_permute_mlp(XP, x, attn, segments=2, mask=mask)
    (h, w, c), back = branches_of(x, attn)
    pooled = (h + w + c).sum((1, 2)) / (H * W)
    r, reweight_back = layers.mlp(XP, pooled, attn["reweight"])
    logits = entries(B, C, 3)(lambda b, c, k: r[b, 3 * c + k])
    s.says(
        r"""\mathrm{pooled}_{bc} = \frac{1}{HW} \sum_{hw} (h + w + c)_{bhwc}, \qquad
        r = \mathrm{reweight}(\mathrm{pooled}) \text{ of shape } (B, 3C), \qquad
        \mathrm{logits}_{bck} = r_{b,\,3c + k},""",
        (r.shape, (B, 3 * C)),
    )
    a = softmax_of(logits)[:, None, None]
    total, proj_back = ops.linear(XP, a[..., 0] * h + a[..., 1] * w + a[..., 2] * c, **attn["proj"])
    value, mask_back = masked(XP, ops.dropout, total, mask)
    s.says(
        r"""a = \mathrm{softmax}(\mathrm{logits}) \text{ over } k, \qquad
        y = D\big( \mathrm{proj}( a_0 \odot h + a_1 \odot w + a_2 \odot c ) \big) .""",
        (y, value),
    )
    d = proj_back(*mask_back(dy))[0]
    dlogits = ops.split_attention(XP, logits, h, w, c)[1](d)[0]
    dr = np.zeros((B, 3 * C))
    for b, channel, k in np.ndindex(B, C, 3):
        dr[b, 3 * channel + k] = dlogits[b, channel, k]
    dpooled = reweight_back(dr)[0]
    dsum = entries(B, H, W, C)(lambda b, h, w, c: dpooled[b, c] / (H * W))
    s.says(
        r"""dr_{b,\,3c+k} = d\mathrm{logits}_{bck}, \qquad
        d\mathrm{pooled} = \mathrm{reweight}^\ast (dr), \qquad
        d\mathrm{sum}_{bhwc} = \frac{1}{HW} \, d\mathrm{pooled}_{bc}""",
        (dsum, ops.global_average_pool(XP, h + w + c)[1](dpooled)[0]),
    )
    s.says(
        r"""dh = a_0 \odot d + d\mathrm{sum}, \qquad dw = a_1 \odot d + d\mathrm{sum}, \qquad
        dc = a_2 \odot d + d\mathrm{sum}, \qquad dx = dx_h + dx_w + dx_c .""",
        (pullback(dy)[0], back(*(a[..., k] * d + dsum for k in range(3)))),
    )


@section
def check_permutator(s: Section) -> None:
    x, params = block()
    skip_lam, dy = 1.7, s.draw(*x.shape)
    R1, R2 = Mask(np.array([1.0, 0.0, 1.0]), 0.3), Mask(np.array([0.0, 1.0, 1.0]), 0.2)
    masks = BlockMasks(attn_path=R1, mlp_path=R2)
    y, pullback = layers.permutator(XP, x, params, segments=2, skip_lam=skip_lam, masks=masks)
    a, norm1_back = ops.layer_norm(XP, x, **params["norm1"])
    a, attn_back = layers.weighted_permute_mlp(XP, a, params["attn"], segments=2)
    a, R1_back = masked(XP, ops.drop_path, a, R1)
    z = x + a / skip_lam
    a, norm2_back = ops.layer_norm(XP, z, **params["norm2"])
    a, mlp_back = layers.mlp(XP, a, params["mlp"])
    a, R2_back = masked(XP, ops.drop_path, a, R2)
    s.says(
        r"""z = x + \frac{R_1(\mathrm{attn}(\mathrm{norm1}(x)))}{\mathrm{skip\_lam}}, \qquad
        y = z + \frac{R_2(\mathrm{mlp}(\mathrm{norm2}(z)))}{\mathrm{skip\_lam}}""",
        (y, z + a / skip_lam),
    )
    dz = dy + norm2_back(mlp_back(*R2_back(dy / skip_lam))[0])[0]
    s.says(
        r"""dz = dy + \mathrm{norm2}^\ast \, \mathrm{mlp}^\ast \, R_2^\ast \Big( \frac{dy}{\mathrm{skip\_lam}} \Big),
        \qquad dx = dz + \mathrm{norm1}^\ast \, \mathrm{attn}^\ast \, R_1^\ast
        \Big( \frac{dz}{\mathrm{skip\_lam}} \Big) .""",
        (pullback(dy)[0], dz + norm1_back(attn_back(*R1_back(dz / skip_lam))[0])[0]),
    )


@section
def check_stage(s: Section) -> None:
    model = small_model(dtype="float64")
    blocks = model.params["network"]["2"]
    x = s.draw(3, 3, 2, 12)
    y = x
    for name in ("0", "1"):
        y = layers.permutator(XP, y, blocks[name], segments=3)[0]
    s.says(
        r"y = \mathrm{block}_L(\cdots \mathrm{block}_2(\mathrm{block}_1(x)))",
        (layers.stage(XP, x, blocks, segments=3)[0], y),
    )


@section
def check_vision_permutator(s: Section) -> None:
    model = small_model(dtype="float64")
    images, dlogits = s.draw(3, 3, 12, 8), s.draw(3, 5)
    logits, pullback = vision_permutator(XP, images, model.params, config=model.config)
    a, tokens_back = tokens(XP, images, model.params, config=model.config)
    a, norm_back = ops.layer_norm(XP, a, **model.params["norm"])
    value, head_back = ops.linear(XP, a.sum((1, 2)) / (a.shape[1] * a.shape[2]), **model.params["head"])
    pool_back = ops.global_average_pool(XP, a)[1]
    s.says(
        r"""\mathrm{logits} = \mathrm{head} \Big( \frac{1}{HW} \sum_{hw}
        \mathrm{norm}(\mathrm{tokens}(\mathrm{images}))_{bhw} \Big)""",
        (logits, value),
    )
    s.says(
        r"""d\mathrm{images} = \mathrm{tokens}^\ast \, \mathrm{norm}^\ast \, \mathrm{pool}^\ast \,
        \mathrm{head}^\ast (d\mathrm{logits})""",
        (pullback(dlogits)[0], tokens_back(norm_back(*pool_back(head_back(dlogits)[0]))[0])[0]),
    )


# --- training ---------------------------------------------------------------------------------------------------------


@section
def check_sgd(s: Section) -> None:
    p, g, b = s.draw(3, 4), s.draw(3, 4), s.draw(3, 4)
    lr, momentum, weight_decay = 0.3, 0.8, 0.1
    options: Any = {"lr": lr, "momentum": momentum, "nesterov": False, "weight_decay": weight_decay}
    new, state = optim.sgd(XP, {"p": p}, {"p": g}, optim.SGDState({"p": b}), **options)
    g = g + weight_decay * p
    b = momentum * b + g
    s.says(
        r"""g \leftarrow g + \mathrm{weight\_decay} \cdot p, \qquad b \leftarrow \mathrm{momentum} \cdot b + g, \qquad
        p \leftarrow p - \mathrm{lr} \cdot b""",
        (new["p"], p - lr * b),
        (state.momentum_buffer["p"], b),
    )


@section
def check_adamw(s: Section) -> None:
    p, g, m, v, t = s.draw(3, 4), s.draw(3, 4), s.draw(3, 4), s.draw(3, 4) ** 2, 4
    lr, (beta1, beta2), eps, weight_decay = 0.3, (0.8, 0.9), 0.2, 0.1
    state = optim.AdamWState(t - 1, {"p": m}, {"p": v})
    options: Any = {"lr": lr, "betas": (beta1, beta2), "eps": eps, "weight_decay": weight_decay}
    new, state = optim.adamw(XP, {"p": p}, {"p": g}, state, **options)
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    s.says(
        r"""m \leftarrow \beta_1 m + (1 - \beta_1) \, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) \, g^2,""",
        (state.exp_avg["p"], m),
        (state.exp_avg_sq["p"], v),
    )
    p = p - lr * weight_decay * p
    s.says(
        r"""p \leftarrow p - \mathrm{lr} \cdot \mathrm{weight\_decay} \cdot p, \qquad
        p \leftarrow p - \mathrm{lr} \, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \mathrm{eps}} .""",
        (new["p"], p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)),
    )


@section
def check_cosine_lr(s: Section) -> None:
    lr, min_lr, warmup_lr, E, E_w = 0.3, 0.01, 0.02, 9, 4

    def rate(e: int) -> float:
        return optim.cosine_lr(e, lr=lr, epochs=E, min_lr=min_lr, warmup_epochs=E_w, warmup_lr=warmup_lr)

    s.says(
        r"""\mathrm{lr}(e) = \mathrm{warmup\_lr} + (\mathrm{lr} - \mathrm{warmup\_lr}) \, \frac{e}{E_w} \quad (e < E_w),
        \qquad \mathrm{lr}(e) = \mathrm{min\_lr}
        + \frac{\mathrm{lr} - \mathrm{min\_lr}}{2} \Big( 1 + \cos \frac{\pi e}{E} \Big) \quad (E_w \le e < E)""",
        ([rate(e) for e in range(E_w)], [warmup_lr + (lr - warmup_lr) * e / E_w for e in range(E_w)]),
        (
            [rate(e) for e in range(E_w, E)],
            [min_lr + (lr - min_lr) / 2 * (1 + math.cos(math.pi * e / E)) for e in range(E_w, E)],
        ),
    )


@section
def check_clip_grad_norm(s: Section) -> None:
    grads = {"a": s.draw(3, 4), "b": s.draw(5)}
    value = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
    for max_norm in (value / 3, 3 * value):
        clipped, norm = optim.clip_grad_norm(XP, grads, max_norm=float(max_norm))
        expected = {name: g * min(1, max_norm / (value + 1e-6)) for name, g in grads.items()}
        assert norm == pytest.approx(value, rel=1e-14)
        assert all(np.allclose(clipped[name], expected[name], rtol=1e-13, atol=0) for name in grads)
    s.says(
        r"""\mathrm{norm} = \Big( \sum_{\text{parameters}} \sum_i g_i^2 \Big)^{1/2}, \qquad
        g \leftarrow g \cdot \min \Big( 1, \; \frac{\mathrm{max\_norm}}{\mathrm{norm} + 10^{-6}} \Big)""",
        (norm, value),
        (clipped["b"], expected["b"]),
    )
