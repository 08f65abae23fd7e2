"""The explanation as one self-contained page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np
from scipy.special import softmax

import vipnp
from vipnp.core import HostArray
from vipnp.explain.explanation import Block, Explanation
from vipnp.explain.receptive import shares

LIKELIEST = 5
"""Classes that the page lists."""


GENERATOR = '<meta name="generator" content="vipnp explain">'
"""By which a page is known for one of ours."""


def render(found: Explanation, pixels: HostArray, classes: Sequence[str], name: str) -> str:
    """The page as a string.

    pixels : (height, width) or (height, width, 3) uint8, the image as the network sees it. classes : the names of all.
    name : of the image.
    """
    folder = files("vipnp.explain") / "templates"
    p = softmax(found.logits)
    answer, target = classes[int(p.argmax())], classes[found.target]
    asked = "" if target == answer else f" The gradients are those of the score of {target} ({p[found.target]:.1%})."
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        css="".join(
            path.read_text(encoding="utf-8") for path in (files("vipnp.core") / "style.css", folder / "page.css")
        ),
        script=(folder / "page.js").read_text(encoding="utf-8"),
        version=escape(vipnp.__version__),
        title=escape(f"{name}, explained"),
        headline=f"{escape(answer)}, {p.max():.1%}",
        lead=escape(f"What the network computes on {name}, block by block.{asked}"),
        answers="".join(
            f'<tr><td>{escape(classes[k])}</td><td class="bar"><i style="width:{100 * p[k]:.1f}%"></i></td>'
            f'<td class="number">{p[k]:.1%}</td></tr>'
            for k in np.argsort(-p, kind="stable")[:LIKELIEST]
        ),
        picture=_png(pixels),
        size=" &times; ".join(map(str, pixels.shape[:2])),
        target=escape(target),
        attention=_attention(found.blocks),
        fields="".join(
            _map("field", k, block, f"({shares(block.field, block.grid)[1]:.0%})")
            for k, block in enumerate(found.blocks)
        ),
        gradients="".join(
            _map("gradient", k, block, f"up to {block.gradient.max():.2g}") for k, block in enumerate(found.blocks)
        ),
        # A class may be called "</script>".
        data=json.dumps(_data(found)).replace("<", "\\u003c"),
    )


def _png(pixels: HostArray) -> str:
    from PIL import Image

    contents = io.BytesIO()
    Image.fromarray(pixels).save(contents, format="png")
    return "data:image/png;base64," + base64.b64encode(contents.getvalue()).decode()


def _data(found: Explanation) -> dict[str, Any]:
    return {
        "gradient": _array(np.linalg.norm(found.gradient, axis=0)),
        "blocks": [
            {
                "name": block.name,
                "grid": block.grid,
                "branches": [
                    {
                        "place": branch.place,
                        "kind": branch.kind,
                        "strength": None if branch.strength is None else _array(branch.strength),
                    }
                    for branch in block.branches
                ],
                "attention": None if block.attention is None else block.attention.mean(axis=0).tolist(),
                "gradient": _array(block.gradient),
                "field": _array(block.field),
            }
            for block in found.blocks
        ],
    }


def _array(values: HostArray) -> dict[str, Any]:
    return {"shape": values.shape, "float32": base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()}


def _attention(blocks: Sequence[Block]) -> str:
    """The split-attention weights, or nothing where the branches are added."""
    if blocks[0].attention is None:
        return ""
    key = "".join(
        f'<li><i class="{branch.place}"></i>{branch.place}: {branch.kind}</li>' for branch in blocks[0].branches
    )
    head = "".join(f'<th class="number">{branch.place}</th>' for branch in blocks[0].branches)
    return f"""<section id="attention">
<h2>How each block weighs its branches</h2>
<p>The split-attention weights for this image, mean over the channels.</p>
<ul class="key">{key}</ul>
<div class="scroll"><table class="attention"><caption hidden>Split-attention weights</caption>
<thead><tr><th>block</th><td></td>{head}</tr></thead>
<tbody>{"".join(_attention_rows(blocks))}</tbody></table></div>
</section>"""


def _attention_rows(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        assert block.attention is not None
        weights = block.attention.mean(axis=0)
        parts = "".join(
            f'<i class="{branch.place}" style="width:{100 * weight:.1f}%"></i>'
            for branch, weight in zip(block.branches, weights, strict=True)
        )
        numbers = "".join(f'<td class="number">{weight:.0%}</td>' for weight in weights)
        yield f'<tr><td>{_short(block)}</td><td class="stack"><div>{parts}</div></td>{numbers}</tr>'


def _map(kind: str, index: int, block: Block, aside: str) -> str:
    title = {"field": "Effective receptive field after", "gradient": "Gradient of the score after"}[kind]
    return (
        f'<figure><canvas class="pixels map" data-map="{kind} {index}" role="img" '
        f'aria-label="{title} block {_short(block)}"></canvas>'
        f"<figcaption>Block {_short(block)} {aside}</figcaption></figure>"
    )


def _short(block: Block) -> str:
    return block.name.removeprefix("network.")
