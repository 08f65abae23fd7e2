"""What the documentation says, as far as a machine can tell: links, sections, code, the README's examples, figures."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vipnp
from tests.conftest import FENCE, ROOT, fenced, small_model
from tools.formulas import MATH, sections
from vipnp import layers, ops, optim
from vipnp.backends import get_backend
from vipnp.backends.cupy.backend import create as cupy_backend
from vipnp.core import Replacements
from vipnp.data import Transform
from vipnp.models import VisionPermutator, get_config, parameter_shapes, vision_permutator
from vipnp.train import TrainingStep
from vipnp.verify import verify

README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE_SPAN = re.compile(r"`[^`\n]+`")
INLINE_MATH = re.compile(r"\$([^$]+)\$")


def prose(text: str) -> str:
    """The text without its code blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors GitHub gives to the headings: lower case, punctuation dropped, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The links to files and headings of this repository that lead nowhere."""
    broken = []
    for link in LINK.findall(CODE_SPAN.sub("code", prose(text))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        lost = not path.exists()
        if lost or (anchor and anchor not in anchors(text if path == page else path.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    assert not broken_links(page, page.read_text())


def test_a_broken_link_is_seen() -> None:
    text = "# One thing\n[good](#one-thing) [good](docs/math.md) [bad](docs/none.md) [bad](#two) [bad](docs/math.md#no)"
    assert broken_links(README, text) == ["docs/none.md", "#two", "docs/math.md#no"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_paths_exist(page: Path) -> None:
    """A path of the repository in backticks, such as those of the README's map of the code, is one."""
    folders = "vipnp|tests|docs|examples|benchmarks"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", prose(page.read_text()))
    assert not [path for path in named if not (ROOT / path).exists()]


# --- docs/math.md -----------------------------------------------------------------------------------------------------


def functions_of(module: Any) -> dict[str, Any]:
    """The public functions of a package by name, classes left out."""
    return {name: getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))}


DERIVED = {
    **functions_of(ops),
    **functions_of(layers),
    "tokens": vipnp.models.tokens,
    "vision_permutator": vision_permutator,
    **{name: getattr(optim, name) for name in ("sgd", "adamw", "cosine_lr", "clip_grad_norm")},
}
"""Every function that docs/math.md owes a section."""


def test_every_op_and_layer_has_its_section() -> None:
    assert set(sections(MATH.read_text())) == set(DERIVED)


@pytest.mark.parametrize("name", DERIVED)
def test_a_section_links_to_its_file_and_quotes_it(name: str) -> None:
    section = sections(MATH.read_text())[name]
    (link,) = re.findall(r"^File: \[[^\]]+\]\(([^)]+)\)$", section, re.MULTILINE)
    source = inspect.getsourcefile(DERIVED[name])
    assert source is not None
    assert (MATH.parent / link).resolve() == Path(source).resolve()
    assert not misquoted(section, Path(source).read_text())


def misquoted(section: str, source: str) -> list[str]:
    """The lines of Python in `section` that are not lines of `source`."""
    lines = {line.strip() for line in source.splitlines()}
    return [line for block in fenced(section, "python") for line in block.splitlines() if line.strip() not in lines]


def test_a_wrong_quotation_is_seen() -> None:
    source = (ROOT / "vipnp" / "ops" / "residual.py").read_text()
    assert not misquoted("```python\nreturn dy, dy / skip_lam\n```\n", source)
    assert misquoted("```python\nreturn dy, dy * skip_lam\n```\n", source) == ["return dy, dy * skip_lam"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_math_is_well_formed(page: Path) -> None:
    """Braces and dollars pair up, and nothing stands in inline math that Markdown takes for its own (an escape such as
    a backslash and a comma, or an underscore behind a brace)."""
    text = page.read_text()
    running = CODE_SPAN.sub("", prose(text))
    assert running.count("$") % 2 == 0
    inline = INLINE_MATH.findall(running)
    for formula in [*inline, *fenced(text, "math")]:
        assert formula.count("{") == formula.count("}"), formula
        assert formula.count(r"\Big(") == formula.count(r"\Big)"), formula
    assert not [formula for formula in inline if re.search(r"\\[^A-Za-z ]|[^A-Za-z]_|\*|\n\n", formula)]


@pytest.mark.parametrize("name", vipnp.list_models())
def test_the_parameter_count_of_a_block(name: str) -> None:
    ((square, linear),) = re.findall(r"\$(\d+) C\^2 \+ ([\d.]+) C\$ parameters", MATH.read_text())
    config = get_config(name)
    shapes = parameter_shapes(config)
    for stage in config.stages():
        block = [np.prod(shape) for key, shape in shapes.items() if key.startswith(f"network.{stage.place}.0.")]
        assert sum(block) == int(square) * stage.channels**2 + float(linear) * stage.channels


# --- README.md --------------------------------------------------------------------------------------------------------


def test_the_readme_examples_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All blocks of Python, one after the other in one namespace, in a folder with a photo and a trained model; what
    they print is what their comments say."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("photo.jpg")
    model = small_model()
    model.classes, model.transform = tuple("abcde"), Transform(size=model.config.image_size)
    (tmp_path / "runs" / "pets").mkdir(parents=True)
    model.save("runs/pets/best.safetensors")
    namespace: dict[str, Any] = {}
    for block in fenced(README.read_text(), "python"):
        exec(compile(block, "README.md", "exec"), namespace)
        promised = re.findall(r"^print\(.*\)  # (.+)$", block, re.MULTILINE)
        assert len(promised) == block.count("print(")
        assert capsys.readouterr().out.splitlines() == promised
    assert np.isfinite(namespace["loss"])
    assert namespace["answer"] in model.classes


RUN_ELSEWHERE = {"README", "audit", "math", "proofs"}
"""Pages whose Python other tests run, or hold to the source."""

WITH_PYTHON = [page for page in PAGES if fenced(page.read_text(), "python") and page.stem not in RUN_ELSEWHERE]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is printed, with what the page talks about; every model is a small one. Of the backend that needs a GPU the
    options are looked at, and NumPy does the work."""

    def backend(name: str, **options: Any) -> vipnp.Backend:
        if name != "cupy":
            return get_backend(name, **options)
        assert set(options) <= set(inspect.signature(cupy_backend).parameters)
        return get_backend("numpy")

    def step(*args: Any, graph: bool, **options: Any) -> TrainingStep:
        return TrainingStep(*args, **options)

    monkeypatch.setattr("vipnp.train.TrainingStep", step)
    monkeypatch.setattr(vipnp, "get_backend", backend)
    monkeypatch.setattr(vipnp, "create_model", lambda _, **options: VisionPermutator(small_model().config, **options))
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 2, 3, 4))
    namespace = {
        "vipnp": vipnp,
        "xp": get_backend("numpy"),
        "rng": rng,
        "x": x,
        "dy": dy,
        "weight": np.ones(4),
        "bias": np.zeros(4),
        "layer_norm": ops.layer_norm,
        "softmax": ops.softmax,
        "images": rng.normal(size=(2, 3, 12, 8)).astype(np.float32),
        "labels": np.array([0, 3]),
        "Replacements": Replacements,
    }
    for block in fenced(page.read_text(), "python"):
        exec(compile(block, page.name, "exec"), namespace)


def test_the_options_of_verify() -> None:
    """docs/audit.md gives the signature, and a line to every parameter but the op."""
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    said = re.search(r"`verify\((.*?)\)`:\n\n((?:- .*\n|  .*\n)+)", text, re.DOTALL)
    assert said is not None
    parameters = inspect.signature(verify).parameters.values()
    words = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    assert said[1].replace("\n", " ").replace("'", '"') == ", ".join([*words[:2], "*", *words[2:]]).replace("'", '"')
    lines = re.findall(r"^- (`.*?):", said[2], re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(lines))) == sorted(p.name for p in parameters if p.name != "op")


def test_the_ops_that_use_another_op() -> None:
    sources = {name: inspect.getsource(importlib.import_module(f"vipnp.ops.{name}")) for name in ops.__all__}
    used = {f"`{name}` calls `{other}`" for name, text in sources.items()
            for other in re.findall(r"^from vipnp\.ops\.(\w+) import", text, re.MULTILINE)}  # fmt: skip
    text = " ".join((ROOT / "docs" / "design.md").read_text(encoding="utf-8").split())
    assert set(re.findall(r"`\w+` calls `\w+`", text)) == used


def test_the_readme_fits_a_screen_of_120_columns() -> None:
    assert not [line for line in README.read_text().splitlines() if len(line) > 120]


def test_the_readme_has_the_accuracy_of_the_page() -> None:
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| B=[^|]+\| [\d.]+ \| \d+ \| ([\d.]+) \|", page, re.MULTILINE)
    ratios = dict(rows)
    names = {"block": "permutator", "small model": "vision_permutator", "its loss": "model_loss", "vip_s7": "vip_s7"}
    said = ", ".join(f"{words} {ratios[name]}" for words, name in names.items())
    assert f"| float32 gradient error over PyTorch's | {said} | `make accuracy` |" in README.read_text()


def test_the_readme_table_of_models() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| ([\d, ]+) \| ([\d,]+) \| ([\d.]+) G \|$", README.read_text(), re.M)
    assert [row[0] for row in rows] == vipnp.list_models()
    for name, blocks, channels, parameters, macs in rows:
        config = get_config(name)
        assert tuple(map(int, blocks.split(", "))) == config.layers
        assert tuple(map(int, channels.split(", "))) == config.embed_dims
        assert int(parameters.replace(",", "")) == sum(map(np.prod, parameter_shapes(config).values()))
        assert float(macs) == pytest.approx(config.macs / 1e9, abs=5e-4)


def test_the_readme_commands_exist() -> None:
    """Every `make` target, command-line option of the example and module that the README calls is there."""
    text = README.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
    options = re.findall(r"train_tiny\.py(.*)$", text, re.MULTILINE)
    example = (ROOT / "examples" / "train_tiny.py").read_text()
    assert all(f'"{option}"' in example for line in options for option in re.findall(r"--[a-z-]+", line))
    for module in re.findall(r"python -m (vipnp[\w.]*)", text):
        assert importlib.util.find_spec(module) is not None, module
