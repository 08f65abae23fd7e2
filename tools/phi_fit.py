"""Makes the coefficients of Phi's tail in the kernels of the backends numba and cupy, and shows how far off they are.

python -m tools.phi_fit [--plot curve.png]

Wanted is Phi(-t) exp(t^2/2) = erfcx(t / sqrt 2) / 2 on 0 <= t <= 15 as p(t)/q(t), p of degree 4, q of degree 5 with
q(0) = 1, so that the largest relative error is as small as it can be. Two iterations run in one: dividing the equation
p - f q = 0 by the last q makes it linear (Sanathanan, Koerner, IEEE Trans. Automatic Control 8, 1963), and multiplying
the weight of a point by the error there leads from least squares to the least maximum (Lawson's weights). At the best
fit the error takes its largest size at 4 + 5 + 2 points with alternating signs (Chebyshev), which is how one knows it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.polynomial.polynomial import polyval, polyvander
from scipy.special import erfcx

from vipnp.backends.numba.kernels.gelu import PHI_TAIL_DENOMINATOR, PHI_TAIL_NUMERATOR
from vipnp.core.files import check_outputs, replaced_when_done

END = 15.0
NUMERATOR, DENOMINATOR = 4, 5
POINTS = 4000
STEPS = 3000

Coefficients: TypeAlias = Sequence[float] | Any


def points() -> Any:
    """Where the error is looked at: Chebyshev's points, close together at both ends."""
    return END * (1 - np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)) / 2


def relative_error(p: Coefficients, q: Coefficients, t: Any) -> Any:
    """(p/q - f) / f at the points t, where f(t) = Phi(-t) exp(t^2/2)."""
    return polyval(t, np.asarray(p)) / polyval(t, np.asarray(q)) / (erfcx(t / np.sqrt(2)) / 2) - 1


def alternations(error: Any, share: float = 0.9) -> int:
    """How often in turn the error reaches this share of its largest size with the other sign."""
    signs = np.sign(error[np.abs(error) >= share * np.abs(error).max()])
    return 1 + int(np.count_nonzero(np.diff(signs)))


def fit() -> tuple[Coefficients, Coefficients]:
    """The coefficients of p and q, from t^0 up."""
    t = points()
    f = erfcx(t / np.sqrt(2)) / 2
    columns = np.hstack([polyvander(t, NUMERATOR) / f[:, None], -polyvander(t, DENOMINATOR)[:, 1:]])
    scale = np.abs(columns).max(axis=0)
    weights, q_last = np.full(POINTS, 1 / POINTS), np.ones(POINTS)
    best: tuple[float, Coefficients, Coefficients] = (np.inf, (), ())
    for _ in range(STEPS):
        rows = np.sqrt(weights) / q_last
        solution = np.linalg.lstsq(columns / scale * rows[:, None], rows, rcond=None)[0] / scale
        p, q = solution[: NUMERATOR + 1], np.concatenate([[1.0], solution[NUMERATOR + 1 :]])
        error = np.abs(relative_error(p, q, t))
        if error.max() < best[0]:
            best = (float(error.max()), p.tolist(), q.tolist())
        weights = weights * error
        weights /= weights.sum()
        q_last = polyval(t, q)
    return best[1], best[2]


def plot(path: Path) -> None:
    """The error of the coefficients in the kernels, as a PNG; needs matplotlib."""
    from matplotlib.figure import Figure

    t = points()
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(t, relative_error(PHI_TAIL_NUMERATOR, PHI_TAIL_DENOMINATOR, t))
    axes.set(title="relative error of the fit of Phi(-t)", xlabel="t")
    axes.grid(alpha=0.3)
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def main() -> None:
    """Print the fit made now beside the one in the kernels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the error of the kernels' fit as a PNG")
    options = parser.parse_args()
    try:
        check_outputs({"--plot": options.plot})
    except ValueError as refused:
        parser.error(str(refused))
    for title, (p, q) in (("made now", fit()), ("in the kernels", (PHI_TAIL_NUMERATOR, PHI_TAIL_DENOMINATOR))):
        error = relative_error(p, q, points())
        print(f"{title}: largest relative error {np.abs(error).max():.3e}, {alternations(error)} alternations")
        print("  p", *p)
        print("  q", *q)
    if options.plot is not None:
        plot(options.plot)


if __name__ == "__main__":
    main()
