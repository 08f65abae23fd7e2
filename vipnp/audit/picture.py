"""A picture of the error of a derivative against the step size: differences have a best step, the complex step needs
none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vipnp.verify.rungs.complex_step import directional, directional_error
from vipnp.verify.rungs.differences import difference
from vipnp.verify.subject import Subject

Curve = list[tuple[float, float]]

EXPONENTS = range(-20, 0)
FLOOR = 1e-17
WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 42


def curves(subject: Subject) -> dict[str, Curve]:
    """(step, error) of each method along one direction in the first argument, against the hand-written gradient."""
    gradient = subject.float64_gradients[0]
    direction = subject.rng("picture").choice([-1.0, 1.0], gradient.shape)
    found = float(np.sum(gradient * direction))
    scaled, size = direction / math.sqrt(direction.size), math.sqrt(direction.size)
    steps = [10.0**exponent for exponent in EXPONENTS]

    def curve(slopes: Sequence[float]) -> Curve:
        errors = (directional_error(found, slope, gradient) for slope in slopes)
        return [(step, max(error, FLOOR)) for step, error in zip(steps, errors, strict=True)]

    with np.errstate(all="ignore"):
        return {
            "second-order differences": curve([size * difference(subject, 0, scaled, h, order=2) for h in steps]),
            "fourth-order differences": curve([size * difference(subject, 0, scaled, h) for h in steps]),
            "complex step": curve([directional(subject, 0, direction, h) for h in steps]),
        }


def svg(found: dict[str, Curve], title: str) -> str:
    """The curves as an SVG element; colours come from the page's style sheet."""
    parts = [f'<svg class="picture" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">', *_axes()]
    for number, (name, curve) in enumerate(found.items()):
        points = " ".join(f"{_x(step):.1f},{_y(error):.1f}" for step, error in curve if math.isfinite(error))
        parts.append(f'<polyline class="curve curve{number}" points="{points}"><title>{name}</title></polyline>')
        parts += [
            f'<circle class="dot curve{number}" cx="{_x(step):.1f}" cy="{_y(error):.1f}" r="2.2"/>'
            for step, error in curve
            if math.isfinite(error)
        ]
    return "".join([*parts, "</svg>"])


def _axes() -> list[str]:
    lines = []
    for exponent in range(-20, 1, 4):
        x = _x(10.0**exponent)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        lines.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}">{_power(exponent)}</text>')
    for exponent in range(-16, 1, 4):
        y = _y(10.0**exponent)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{_power(exponent)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(f'<text class="label" x="{middle}" y="{HEIGHT - 6}">step size h</text>')
    lines.append(
        f'<text class="label" transform="translate(12 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)">error</text>'
    )
    return lines


def _power(exponent: int) -> str:
    if exponent == 0:
        return "1"
    return f'10<tspan class="exponent" dy="-4">{str(exponent).replace("-", "&minus;")}</tspan>'


def _x(step: float) -> float:
    return LEFT + (math.log10(step) + 20) / 20 * (WIDTH - LEFT - RIGHT)


def _y(error: float) -> float:
    position = (min(max(math.log10(error), -17), 1) + 17) / 18
    return HEIGHT - BOTTOM - position * (HEIGHT - TOP - BOTTOM)
