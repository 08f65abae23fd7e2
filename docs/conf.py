"""The site of the documentation, `make docs`. Formulas become MathML when it is built: it reads without a network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import pages  # noqa: E402 - stands beside this file
from docutils import nodes  # noqa: E402
from latex2mathml.converter import convert  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

import vipnp  # noqa: E402 - stands in the folder above, where it is not installed

project = "vipnp"
author = "vipnp developers"
project_copyright = "vipnp developers, MIT"
version = release = vipnp.__version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "vipnp"
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]


def formula(self: Any, node: nodes.math) -> None:
    """A formula in a line."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display(self: Any, node: nodes.math_block) -> None:
    """A formula on lines of its own."""
    self.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def write_pages(app: Sphinx) -> None:
    """Make the pages of ops and API from the source before Sphinx looks for pages."""
    pages.write(Path(app.srcdir))


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Run the code of tutorials; lead links into the repository somewhere."""
    text = pages.executed(source[0]) if name.startswith("tutorials/") else source[0]
    source[0] = pages.linked(text, Path(app.srcdir, name).parent, Path(app.srcdir))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(formula, None), block_renderers=(display, None))
    app.connect("builder-inited", write_pages)
    app.connect("source-read", read)
