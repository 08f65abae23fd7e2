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


def test_it_fits_and_is_accessible(tmp_path: Path) -> None:
    names = ["gelu", "layer_norm"]
    path = tmp_path / "audit.html"
    path.write_text(render(audit(ops=names, rungs=["contract", "certified", "value"]), None, ops=names), "utf-8")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "no Chromium on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.goto(path.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
                results = Axe().run(page)
                assert results.violations_count == 0, results.generate_report()
                assert not re.search(r"\^-?\d|xhat_j", " ".join(page.locator("main p, main td").all_inner_texts()))
                assert page.locator("table th:not([scope])").count() == 0
        browser.close()
