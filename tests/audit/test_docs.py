"""The example in docs/audit.md does what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

from tests.conftest import ROOT
from tools.mistakes import KINDS, STATEMENT_KINDS
from vipnp.audit.audit import LADDER
from vipnp.verify import verify

TEXT = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_wrong_op_is_caught_with_the_printed_message() -> None:
    (example,) = blocks("python")
    (expected,) = blocks("text")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, {})
    assert printed.getvalue() == expected


def test_the_right_op_passes() -> None:
    (example,) = blocks("python")
    namespace: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example, namespace)

    def my_gelu(xp: Any, x: Any) -> Any:
        cdf = xp.ndtr(x)

        def pullback(dy: Any) -> Any:
            return (dy * (cdf + x * (xp.exp(-0.5 * (x * x)) * xp.constant("rsqrt_2pi"))),)

        return x * cdf, pullback

    report = verify(my_gelu, [namespace["x"]])
    assert report.ok, str(report)


def test_the_page_names_every_rung_and_counts_the_kinds() -> None:
    assert all(f"| `{rung}` |" in TEXT for rung in (*LADDER, "backend"))
    assert f"one of {len(KINDS) + len(STATEMENT_KINDS)} kinds of mistake" in TEXT
