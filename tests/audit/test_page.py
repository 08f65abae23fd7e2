"""What the page of the audit says, and how it is marked up, without a browser."""

from __future__ import annotations

import re
from html import unescape

import pytest

from vipnp.audit.audit import audit
from vipnp.audit.page import render
from vipnp.verify.report import Report, Row, Verdict


@pytest.fixture(scope="module")
def page() -> str:
    """The page of an op whose formulas have powers and indices, with figures in units of 2^-53."""
    return render(audit(ops=["layer_norm"], rungs=["contract", "certified"]), None, ops=["layer_norm"])


def test_powers_and_indices_are_written_as_people_do(page: str) -> None:
    text = re.sub(r"<(style|pre|math|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert "2<sup>&minus;53</sup> of max" in text
    words = unescape(re.sub(r"<[^>]*>", "", text))
    assert not re.findall(r".{0,30}\^-?\d.{0,10}|.{0,30}[a-z]_[ij]\b.{0,10}", words)


def test_there_is_no_space_before_a_comma() -> None:
    """A case without a name left one: "gelu , argument x"."""
    row = Row("gelu", "", "x", (3,), "complex_step", 1.0, 0.5, "of max", Verdict.FAIL, "")
    failed = render(Report([row]), None, ops=["gelu"])
    assert "gelu, argument x" in failed
    assert not re.findall(r".{0,30}[\w)] ,.{0,10}", re.sub(r"<(style|pre|math|svg)\b.*?</\1>", "", failed, flags=re.S))


def test_every_table_says_what_it_is(page: str) -> None:
    tables = page.count("<table")
    assert tables > 1
    assert len(re.findall(r"<table[^>]*><caption>[^<]+</caption>", page)) == tables
    assert not re.findall(r'<th(?! scope="(?:col|row)")[ >]', page)


def test_columns_of_figures_are_set_to_the_right_with_their_titles(page: str) -> None:
    for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
        head, body = table.split("<tbody>")
        titles = [bool(re.search(r"\bnumber\b", tag)) for tag in re.findall(r"<th\b[^>]*>", head)]
        for row in re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL):
            cells = re.findall(r"<t[dh][^>]*>", row)
            if len(cells) == len(titles):
                assert [bool(re.search(r"\bnumber\b", tag)) for tag in cells] == titles, row


def test_what_scrolls_can_be_scrolled_by_keyboard(page: str) -> None:
    assert len(re.findall(r'<div class="scroll" tabindex="0" role="region" aria-label="[^"]+">', page)) == page.count(
        "<table"
    )
    assert not re.findall(r"<pre(?![^>]*tabindex)[^>]*>", page)
