"""`vipnp audit`, `python -m vipnp.audit.gradcheck`, the JSON file and the page, as a user runs them."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from latex2mathml.converter import convert
from rich.console import Console
from typer.testing import CliRunner

from tests.conftest import ROOT
from tools.formulas import FORMULAS, MATH, formulas
from vipnp import ops
from vipnp.audit import gradcheck, terminal
from vipnp.audit.cases import CASES
from vipnp.cli import app
from vipnp.verify import report

VOID = {"meta", "br", "link", "img", "input", "hr"}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["audit", *arguments], env={"COLUMNS": "140", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Path]:
    """Planted by this process alone: others take longer to start."""
    folder = tmp_path_factory.mktemp("audit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.planting.available_cores", lambda: 1)
        result = run(
            *("--op", "gelu", "--op", "drop_path", "--sabotage", "--seed", "3"),
            *("--json", str(folder / "audit.json"), "--html", str(folder / "audit.html")),
        )
    return result, folder / "audit.json", folder / "audit.html"


def test_the_table(written: tuple[Any, Path, Path]) -> None:
    result, _, _ = written
    assert result.exit_code == 0, result.output
    for word in ("complex_step", "finite_field", "certified", "proof", "float32", "gelu", "drop_path", "saved"):
        assert word in result.output
    assert "The audit passes" in result.output
    assert "planted mistakes fail the ladder" in result.output


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    """Of verdicts, INCONCLUSIVE was cut off."""

    def row(argument: str, verdict: str, unit: str = "2^-53 of max") -> report.Row:
        words = ("complex_step", 1.5e-10, 3.4e-11, unit, report.Verdict(verdict), "because")
        return report.Row("layer_norm", "mean=1000", argument, (2, 3), *words)

    rows = [row("x", "INCONCLUSIVE"), row("reweight.fc2.weight", "INCONCLUSIVE"), row("all tensors", "PASS")]
    for unit in ("2^-53 of max", "times PyTorch's error"):
        found = report.Report([*rows, row("y", "PASS", unit)])
        for every_argument, verdicts in ((True, 2), (False, 1)):
            console = Console(width=80, file=StringIO())
            terminal.print_report(console, found, every_argument=every_argument)
            table = console.file.getvalue().partition("INCONCLUSIVE because")[0]
            assert (table.count("INCONCLUSIVE"), "…" in table) == (verdicts, False), table
            assert all(word in table for word in unit.split()) or not every_argument, table


def test_the_json_file(written: tuple[Any, Path, Path]) -> None:
    _, path, _ = written
    content = json.loads(path.read_text())
    assert content["schema"] == report.SCHEMA
    assert content["ok"] is True
    assert content["seed"] == 3
    assert content["versions"]["numpy"].count(".") >= 1
    assert content["totals"]["FAIL"] == 0
    assert sum(content["totals"].values()) == len(content["rows"])
    fields = {"op", "case", "argument", "shape", "rung", "error", "bound", "unit", "verdict", "detail"}
    assert all(set(row) == fields for row in content["rows"])
    assert content["sabotage"]["survivors"] == []
    assert content["sabotage"]["planted"] == len(content["sabotage"]["mistakes"]) > 20
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".part"] == []


def test_the_documentation_names_every_field_of_the_json_file(written: tuple[Any, Path, Path]) -> None:
    content = json.loads(written[1].read_text())
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8").partition("## The JSON file")[2]
    table = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    assert set(table) == set(content)
    assert set(re.findall(r"`(\w+)`", table["sabotage"])) == {*content["sabotage"], *content["sabotage"]["mistakes"][0]}


class Page(HTMLParser):
    """Checks that tags are balanced, and collects them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key in ("href", "src") and value:
                self.links.append(value)
            if key == "id" and value:
                self.ids.add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(written: tuple[Any, Path, Path]) -> None:
    _, _, path = written
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", text)
    recorded = json.loads(FORMULAS.read_text(encoding="utf-8"))
    assert page.tags.count("math") == len(recorded["gelu"] + recorded["drop_path"])
    assert page.tags.count("svg") == 2
    assert {"gelu", "drop_path", "sabotage", "summary"} <= page.ids
    assert "Φ" in unescape(text)
    assert "x (*), Phi(x) (*)" in text
    assert "$" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)


def test_the_page_says_which_of_several_figures_it_shows(tmp_path: Path) -> None:
    """Bounds differ: the largest error of a rung need not be the one nearest its bound, and that is the one shown."""
    files = tmp_path / "audit.json", tmp_path / "audit.html"
    run("--op", "layer_norm", "--rung", "certified", "--json", str(files[0]), "--html", str(files[1]))
    rows = [row for row in json.loads(files[0].read_text())["rows"] if row["verdict"] == "PASS"]
    nearest = max(rows, key=lambda row: row["error"] / row["bound"])
    assert nearest["error"] < max(row["error"] for row in rows)
    text = files[1].read_text(encoding="utf-8")
    assert f'class="cell pass" title="PASS certified: layer_norm ({nearest["case"]}), argument' in text
    assert f"error {nearest['error']:.3g} (bound {nearest['bound']:.3g})" in text
    assert "Each cell shows the figure that is nearest to its bound" in text
    assert "largest error" not in text


def test_failures_set_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vipnp.verify.subject.OP_BOUND", 0.0)
    result = run("--op", "gelu", "--rung", "complex_step", "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 1
    assert "FAIL complex_step: gelu, argument x" in result.output
    assert "The audit FAILS" in result.output
    assert "fails</span>" not in (page := (tmp_path / "page.html").read_text())
    assert "fail the audit" in page or "fails the audit" in page
    assert 'class="alarm"' in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--op", "gellu"), "did you mean 'gelu'"),
        (("--rung", "complex"), "unknown rung 'complex'"),
        (("--backend", "nump"), "did you mean 'numpy'"),
        (("--rung", "backend"), "needs a backend"),
        (
            ("--op", "gelu", "--rung", "contract", "--json", "no/such/folder/a.json"),
            "there is no folder no/such/folder to write it to",
        ),
        (
            ("--op", "gelu", "--rung", "contract", "--html", "no/such/folder/a.html"),
            "there is no folder no/such/folder to write it to",
        ),
        (("--seed=-1",), "Invalid value for '--seed'"),
    ],
)
def test_bad_options(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in re.sub(r"[│\s]+", " ", result.output)


def test_a_backend_on_the_command_line() -> None:
    result = run("--op", "softmax", "--backend", "numpy", "--rung", "backend")
    assert result.exit_code == 0, result.output
    assert "backend" in result.output


def test_an_audit_needs_what_writes_formulas_for_its_page_alone(tmp_path: Path) -> None:
    """`pip install vipnp[train]` brings the command; it named that extra again."""
    code = "import sys; sys.modules['latex2mathml.converter'] = None; from vipnp.cli import app; app()"
    arguments = ["audit", "--op", "gelu", "--rung", "contract", "--rung", "complex_step"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = [*arguments, "--html", str(tmp_path / "a.html")]
    done = subprocess.run([sys.executable, "-c", code, *page], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'error: --html needs latex2mathml: pip install "vipnp[audit]"\n'


def test_without_typer_the_command_names_the_extra() -> None:
    code = "import sys; sys.modules['typer'] = None; import vipnp.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'typer is not installed: pip install "vipnp[train]"' in done.stderr


def test_gradcheck_needs_numpy_and_scipy_alone(capsys: pytest.CaptureFixture[str]) -> None:
    blocked = ("torch", "sympy", "flint", "typer", "rich", "pygments", "array_api_strict")
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport vipnp.audit.gradcheck"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_gradcheck_prints_every_case_and_can_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some = {name: CASES[name] for name in ("gelu", "residual", "softmax/saturated")}
    monkeypatch.setattr(gradcheck, "CASES", some)
    assert gradcheck.main() == 0
    printed = capsys.readouterr().out
    assert "3 cases, 4 gradients: all PASS" in printed
    assert printed.count("zero") >= 3
    monkeypatch.setattr("vipnp.verify.subject.OP_BOUND", 0.0)
    assert gradcheck.main() == 1
    assert "FAIL complex_step: gelu, argument x" in capsys.readouterr().out


# --- formulas -----------------------------------------------------------------------------------------------------


def test_the_recorded_formulas_are_those_of_the_math_book() -> None:
    recorded = json.loads(FORMULAS.read_text(encoding="utf-8"))
    assert recorded == formulas(MATH.read_text(encoding="utf-8")), "run: python -m tools.formulas"


def test_every_op_has_formulas_in_print() -> None:
    recorded = json.loads(FORMULAS.read_text(encoding="utf-8"))
    for name in ops.__all__:
        assert recorded[name], name
    converted = [convert(formula) for those in recorded.values() for formula in those]
    assert not [mathml for mathml in converted if "\\" in mathml], "a command that the converter does not know"


def test_without_a_derivative_rung_nothing_is_called_right(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    result = CliRunner().invoke(app, ["audit", "--op", "gelu", "--rung", "contract", "--html", str(page)])
    assert result.exit_code == 3
    assert "no gradient was checked (contract only)" in " ".join(result.output.split())
    assert "Nothing fails in 1 function, but no gradient was checked: contract only." in page.read_text()
    assert "Every gradient of" not in page.read_text()


@pytest.mark.parametrize(("rung", "package"), [("proof", "sympy"), ("pytorch", "torch")])
def test_a_rung_that_misses_its_package_has_checked_nothing(
    rung: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a value that is right the audit passed; alone, the page said that 0 of 1 function fail."""
    monkeypatch.setitem(sys.modules, package, None)
    page = tmp_path / "a.html"
    command = ["audit", "--op", "gelu", "--rung", rung, "--html", str(page)]
    result = CliRunner().invoke(app, [*command, "--rung", "value"])
    assert result.exit_code == 3
    assert "no gradient was checked" in " ".join(result.output.split())
    assert "Every gradient of" not in page.read_text()
    assert CliRunner().invoke(app, command).exit_code == 1
    assert '<span class="bad">1 of 1 function</span> fails the audit.' in page.read_text()


def test_gradcheck_is_left_out_of_planted_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.planting.available_cores", lambda: 1)
    result = run("--op", "residual", "--rung", "value", "--sabotage", "--no-gradcheck")
    assert "planted mistakes fail the ladder" in result.output
    assert "torch.autograd.gradcheck misses" not in result.output
    result = run("--op", "residual", "--no-gradcheck")
    assert result.exit_code == 2
    assert "--no-gradcheck: got it alone, expected --sabotage" in " ".join(result.output.split())


def test_an_installed_copy_says_that_it_has_no_planter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = importlib.import_module("vipnp.cli.audit")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "vipnp" / "cli" / "audit.py"))
    result = run("--op", "gelu", "--sabotage")
    assert result.exit_code == 2
    assert "--sabotage: got vipnp installed in" in result.output
