"""How names of others are shown."""

from __future__ import annotations

import pytest

from vipnp.core.checks import one_line


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
