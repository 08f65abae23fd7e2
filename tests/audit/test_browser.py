"""The page of `vipnp audit` in headless Chromium: it fits, and an accessibility checker finds nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from vipnp.audit.audit import audit
from vipnp.audit.page import render

pytestmark = pytest.mark.browser

FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


CUT = """[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1
  && !e.closest('math, svg') && getComputedStyle(e).overflowX === 'hidden').map(e => e.outerHTML.slice(0, 80))"""
"""What is wider than its place, and neither scrolls nor is broken into lines."""

LEFT = "[...document.querySelectorAll('td.number')].filter(e => getComputedStyle(e).textAlign !== 'right').length"


def test_it_fits_and_is_accessible(tmp_path: Path) -> None:
    """The page of every function, all details open, which show what is hidden at first as well."""
    report = audit(rungs=["contract"])
    report.extend(audit(ops=["gelu", "layer_norm"], rungs=["certified", "value"]).rows)
    path = tmp_path / "audit.html"
    path.write_text(render(report, None, ops=None), "utf-8")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "no Chromium on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (390, "dark")):  # no rule of the style asks for both at once
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(path.as_uri())
            assert page.evaluate(FITS)
            page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
            assert page.evaluate(FITS)
            results = Axe().run(page)
            assert results.violations_count == 0, results.generate_report()
            texts = " ".join(page.locator("main p, main td").all_inner_texts())
            assert not re.search(r"\^-?\d|xhat_j|\w ,", texts)
            assert page.locator("table th:not([scope])").count() == 0
            assert page.locator("table").count() == page.locator("table > caption").count() > 0
            assert page.evaluate(CUT) == []
            assert page.evaluate(LEFT) == 0
            page.close()
        browser.close()
