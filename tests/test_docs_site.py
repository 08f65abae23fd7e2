"""The pages of the site that are made from the source; `make docs` builds it, this needs no Sphinx."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tools.formulas import sections
from vipnp import ops, optim
from vipnp.audit.audit import audit

DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_output_of_a_tutorial_stands_below_its_code(pages: ModuleType) -> None:
    text = "One.\n\n```python\nx = 2\n```\n\n```python\nprint(x + 1)\n```\n"
    assert pages.executed(text) == text.replace("x + 1)\n```", "x + 1)\n```\n```text\n3\n```")
    with pytest.raises(ZeroDivisionError):
        pages.executed("```python\n1 / 0\n```\n")


@pytest.mark.long
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run(pages: ModuleType, tutorial: Path) -> None:
    text = tutorial.read_text(encoding="utf-8")
    assert pages.executed(text).count("```text") >= 2


def test_links_lead_to_pages_of_the_site_or_are_names(pages: ModuleType) -> None:
    text = "[a](../vipnp/ops/gelu.py) [b](../Makefile) [c](math.md#gelu) [d](../none.py) [e](https://example.org)"
    expected = "[a](/generated/ops/gelu.md) b [c](math.md#gelu) [d](../none.py) [e](https://example.org)"
    assert pages.linked(text, DOCS, DOCS) == expected


def test_the_page_of_an_op_has_its_derivation_its_source_and_what_was_measured(pages: ModuleType) -> None:
    derivations = sections((DOCS / "math.md").read_text(encoding="utf-8"))
    assert set(ops.__all__) <= set(derivations)
    page = pages.op_page("gelu", derivations["gelu"], audit(ops=["gelu"], rungs=["complex_step", "theorem"]))
    assert "dx = dy \\, \\big( \\Phi(x) + x \\, \\varphi(x) \\big) ." in page
    assert "def pullback(dy: Array)" in page
    assert "| complex step | regular | `x` | " in page
    assert re.search(r"^\| theorem \| .* PASS \| proved for all sizes of x \(B, H, W, C\)", page, re.MULTILINE)


def test_what_a_rung_says_is_no_markdown(pages: ModuleType) -> None:
    assert pages.cell("a*b | c_1 [0]\n$x$") == r"a\*b \| c\_1 \[0\] \$x\$"


def test_every_public_name_is_in_the_reference(pages: ModuleType) -> None:
    page = pages.api_page("vipnp.optim")
    assert all(f" vipnp.optim.{name}" in page for name in optim.__all__)
    assert "{py:method} update(params, grads, *, lr)" in page
    assert "{py:function} vipnp.optim.cosine_lr(epoch, *, lr, epochs, min_lr=1e-05, " in page
