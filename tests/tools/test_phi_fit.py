"""The fit of Phi's tail: what the kernels use is the best there is, and the tool finds it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.conftest import ROOT
from tools import phi_fit
from tools.phi_fit import alternations, points, relative_error
from vipnp.backends.numba.kernels.gelu import PHI_TAIL_DENOMINATOR, PHI_TAIL_NUMERATOR


def test_the_fit_in_the_kernels_is_the_best_and_as_good_as_it_says() -> None:
    error = relative_error(PHI_TAIL_NUMERATOR, PHI_TAIL_DENOMINATOR, points())
    assert np.abs(error).max() < 6.4e-9
    # Chebyshev: with the largest error at so many points with alternating signs no other fit has a smaller one.
    assert alternations(error) == 4 + 5 + 2


def test_a_wrong_digit_is_no_best_fit() -> None:
    p = list(PHI_TAIL_NUMERATOR)
    p[2] *= 1 + 1e-7
    error = relative_error(p, PHI_TAIL_DENOMINATOR, points())
    assert np.abs(error).max() > 6.4e-9
    assert alternations(error) < 11


def test_the_tool_comes_to_a_fit_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi_fit, "POINTS", 600)
    monkeypatch.setattr(phi_fit, "STEPS", 800)
    p, q = phi_fit.fit()
    assert (len(p), len(q), q[0]) == (5, 6, 1)
    assert np.abs(relative_error(p, q, points())).max() < 6.4e-9


def test_the_cuda_kernel_has_these_coefficients() -> None:
    text = (ROOT / "vipnp/backends/cupy/gelu.cu").read_text().split("normal(float t) {")[1].split("\n}")[0]
    for name, coefficients in (("p", PHI_TAIL_NUMERATOR), ("q", PHI_TAIL_DENOMINATOR)):
        lines = re.findall(rf"^    (?:float )?{name} = .*?([\d.]+)f\)?;$", text, re.MULTILINE)
        assert tuple(float(number) for number in lines[::-1]) == coefficients
