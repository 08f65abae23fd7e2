"""The page of `vipnp explain` in headless Chromium: what is drawn, pointing, the keyboard, accessibility."""

from __future__ import annotations

import base64
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from vipnp import VisionPermutator
from vipnp.audit.cases import small_config
from vipnp.explain import Explanation, explain
from vipnp.explain.page import render
from vipnp.layers import MIXINGS

pytestmark = pytest.mark.browser

CONFIG = small_config({"B": 1, "H": 2, "W": 3, "N": 3, "S": 4, "P": 2, "K": 5}, in_channels=3)
CLASSES = ("cat", "</script><b>", "&amp;", "dog", "emu")


@pytest.fixture(scope="module")
def found() -> Explanation:
    model = VisionPermutator(CONFIG, seed=1)
    return explain(model, np.random.default_rng(0).normal(size=(1, 3, *CONFIG.image_size)).astype(np.float32), 1)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on PATH (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=str)
def page(request: pytest.FixtureRequest, chromium: Any, found: Explanation, tmp_path: Path) -> Iterator[Page]:
    """The open page; whatever goes wrong in its script, or asks for the network, fails the test. No rule of the style
    asks for width and scheme at once, so that two pages show all of both."""
    width, scheme = request.param
    yield from opened(chromium, found, tmp_path, width, scheme)


def opened(chromium: Any, found: Explanation, folder: Path, width: int, scheme: str) -> Iterator[Page]:
    height, width_px = CONFIG.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (height, width_px, 3), np.uint8)
    path = folder / "index.html"
    path.write_text(render(found, pixels, CLASSES, "a <photo>.png"), encoding="utf-8")
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda asked: problems.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#branches li")
    yield page
    page.close()
    assert not problems


def said(page: Page) -> list[str]:
    return page.locator(".controls output").all_inner_texts()


def test_it_fits_and_is_accessible(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert page.title() == "vipnp: a <photo>.png, explained"
    assert "</script><b>" in page.locator(".lead").inner_text()


def test_the_maps_are_the_numbers(page: Page, found: Explanation) -> None:
    """The cell of the largest number has the accent's colour, and every array in the page has the bits it was given."""
    decoded = page.evaluate("data.blocks.map((block) => [array(block.gradient), array(block.field)])")
    for block, (gradient, field) in zip(found.blocks, decoded, strict=True):
        for values, entry in ((block.gradient, gradient), (block.field, field)):
            assert entry["shape"] == list(values.shape)
            assert np.array(entry["values"], np.float32).tobytes() == values.astype(np.float32).tobytes()
    encoded = page.evaluate("data.gradient.float32")
    norm = np.linalg.norm(found.gradient, axis=0)
    assert base64.b64decode(encoded) == norm.astype("<f4").tobytes()
    row, column = np.unravel_index(norm.argmax(), norm.shape)
    drawn = page.evaluate(f"""(() => {{
        const canvas = document.querySelector("[data-map=gradient]");
        const pixel = canvas.getContext("2d").getImageData({column}, {row}, 1, 1).data;
        const hex = Array.from(pixel.slice(0, 3), (value) => value.toString(16).padStart(2, "0")).join("");
        return [`#${{hex}}`, color("--accent")];
    }})()""")
    assert drawn[0] == drawn[1]


def test_pointing_and_a_click(page: Page, found: Explanation) -> None:
    canvas = page.locator("#tokens")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    rows, columns = found.blocks[0].grid
    before = page.evaluate("tokens.toDataURL()")
    page.mouse.move(box["x"] + box["width"] * 0.5 / columns, box["y"] + box["height"] * (rows - 0.5) / rows)
    assert said(page) == ["0.0", f"{rows} of {rows}", f"1 of {columns}"]
    assert page.evaluate("tokens.toDataURL()") != before
    strength = found.blocks[0].branches[0].strength
    assert strength is not None
    assert f"most from row {strength[rows - 1].argmax() + 1}" in page.locator("#branches").inner_text()
    canvas.click(position={"x": box["width"] - 3, "y": 3})
    assert said(page) == ["0.0", f"1 of {rows}", f"{columns} of {columns}"]


def test_the_keyboard_moves_token_and_block(page: Page, found: Explanation) -> None:
    """A token stays in its place of the image where the next block has another grid."""
    page.locator("#row").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    rows, columns = found.blocks[0].grid
    assert said(page)[1] == f"2 of {rows}"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("End")
    last = found.blocks[-1]
    assert said(page)[0] == last.name.removeprefix("network.")
    assert said(page)[1] == f"1 of {last.grid[0]}"
    assert last.grid != (rows, columns)
    weights = np.asarray(last.attention).mean(axis=0)
    text = page.locator("#branches").inner_text()
    for weight in weights:
        assert f"weight {100 * weight:.0f} % in this image" in text


def test_summed_branches(chromium: Any, found: Explanation, tmp_path: Path) -> None:
    blocks = tuple(dataclasses.replace(block, attention=None) for block in found.blocks)
    for page in opened(chromium, dataclasses.replace(found, blocks=blocks), tmp_path, 390, "light"):
        assert page.locator("#attention").count() == 0
        assert "weight" not in page.locator("#branches").inner_text()


@pytest.mark.parametrize("mixing", MIXINGS)
def test_other_mixings(chromium: Any, mixing: str, tmp_path: Path) -> None:
    """Of the middle token: the page names the token that it takes most from, and marks what the branch takes."""
    config = dataclasses.replace(CONFIG, branches=MIXINGS[mixing])
    image = np.random.default_rng(0).normal(size=(1, 3, *config.image_size)).astype(np.float32)
    other = explain(VisionPermutator(config, seed=1), image, 1)
    for page in opened(chromium, other, tmp_path, 1280, "light"):
        rows, columns = other.blocks[0].grid
        branch = other.blocks[0].branches[0]
        assert branch.strength is not None
        at = (rows // 2) * columns + columns // 2
        if mixing == "line":
            expected = f"most from row {branch.strength[rows // 2].argmax() + 1}"
        else:
            row, column = divmod(int(branch.strength[at].argmax()), columns)
            expected = f"most from row {row + 1}, column {column + 1}"
        assert page.locator("#branches li span").first.inner_text() == expected
