"""A run as it is seen at the terminal."""

from __future__ import annotations

import pytest

from vipnp.cli.progress import rate


@pytest.mark.parametrize(("images", "said"), [(0.187, "0.19"), (4.26, "4.3"), (79.4, "79"), (1234.5, "1234")])
def test_a_slow_rate_is_not_zero(images: float, said: str) -> None:
    assert rate(images) == f"{said} images/s"
