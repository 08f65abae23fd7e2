"""complex128, whose imaginary part carries a derivative: Im f(x + ih) = h f'(x), with no difference taken.

Source: Squire, Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions", SIAM Review 40 (1998).
"""

from __future__ import annotations

from typing import Any

from vipnp.backends.numpy import NumpyBackend
from vipnp.verify.outcomes import UndecidedError

STEP = 1e-20
"""h: h^2 vanishes beside 1 in float64, so the truncation error of order h^2 is none."""

NOT_ANALYTIC = frozenset({"abs", "conj", "real", "imag", "var", "std", "vecdot", "linalg", "sign"})
"""Functions that silently drop or flip the imaginary part."""


class ComplexStepBackend(NumpyBackend):
    """NumPy on complex128; functions under which the imaginary part is no derivative raise UndecidedError."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "complex step"

    def __getattr__(self, name: str) -> Any:
        if name in NOT_ANALYTIC:
            raise UndecidedError(f"the op calls xp.{name}, under which an imaginary part is no derivative")
        return super().__getattr__(name)
