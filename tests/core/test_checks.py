"""How names of others are shown."""

from __future__ import annotations

import numpy as np
import pytest

from vipnp.core.checks import one_line, shown


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a b\u00a0c\u202fd\u3000e", "a b\u00a0c\u202fd\u3000e"),
        ("photo \N{CAT FACE} \u00e9", "photo \N{CAT FACE} \u00e9"),
        ("a\nb\t\x1b[31m\x9b\u2028\u202e\udce9", "a\\nb\\t\\x1b[31m\\x9b\\u2028\\u202e\\udce9"),
    ],
)
def test_only_what_a_terminal_would_obey_is_escaped(text: str, printed: str) -> None:
    assert one_line(text) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (np.float16, "<class 'numpy.float16'>"),
        (np.zeros(3), "ndarray"),
        ([np.zeros(3)], "list"),
        (np.float32(2), "np.float32(2.0)"),
    ],
)
def test_a_value_is_shown_as_python_writes_it_and_an_array_by_its_type(value: object, printed: str) -> None:
    assert shown(value) == printed
