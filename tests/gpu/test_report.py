"""`make gpu-report` keeps what it found, whatever becomes of a stage. It needs no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import report

WRITES = 'import pathlib; pathlib.Path({into!r}).write_text(\'{{"status": "passed", "result": {{"n": 3}}}}\')'


def run(code: str, into: Path, limit: float = 60) -> dict[str, Any]:
    return report.run_stage([sys.executable, "-c", code.format(into=str(into))], into, limit)


def test_what_a_stage_wrote_is_what_is_found(tmp_path: Path) -> None:
    found = run(WRITES, tmp_path / "found.json")
    assert found.pop("seconds") >= 0
    assert found == {"status": "passed", "result": {"n": 3}}


def test_a_stage_that_crashes_or_takes_too_long_is_reported(tmp_path: Path) -> None:
    crashed = run("import os; print('so far', flush=True); os.abort()", tmp_path / "a")
    assert crashed["status"] == "failed"
    assert "exit status -6" in crashed["said"]
    assert "so far" in crashed["said"]
    endless = run("import time; print('so far', flush=True); time.sleep(600)", tmp_path / "b", limit=2)
    assert endless["status"] == "cut off"
    assert endless["said"].startswith("after 2 s")
    assert endless["seconds"] < 60


def test_results_are_kept_and_what_passed_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, out = [], tmp_path / "results" / "report.json"

    def stage(command: list[str], into: Path, limit: float) -> dict[str, Any]:
        name = command[command.index("--run") + 1]
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"status": "failed" if name == "kernels" else "passed", "said": "a | b\nc", "seconds": limit}

    monkeypatch.setattr(report, "run_stage", stage)
    arguments = ["--out", str(out), "--stages", "environment", "kernels", "same"]
    with pytest.raises(KeyboardInterrupt):
        report.main(arguments)
    assert list(json.loads(out.read_text())["stages"]) == ["environment"]
    assert report.main(arguments) == 1
    assert asked == ["environment", "kernels", "kernels", "same seed"]
    assert report.main(arguments) == 1
    assert asked[4:] == ["kernels"]
    assert report.main([*arguments, "--again"]) == 1
    assert asked[5:] == ["environment", "kernels", "same seed"]
    assert "| kernels | failed | 480 | a / b c |" in out.with_suffix(".md").read_text()
    assert report.LIMIT <= 8 * 60


def test_a_stage_says_what_is_wrong_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> None:
        raise AssertionError("three is not four")

    def missing() -> None:
        raise ModuleNotFoundError("No module named 'sklearn'")

    def command_line() -> None:
        raise SystemExit('sklearn is not installed: pip install "vipnp[train]"')

    monkeypatch.delenv("VIPNP_FAKE_DEVICE", raising=False)
    monkeypatch.setattr(report, "stages", lambda: {"wrong": wrong, "missing": missing, "line": command_line})
    found = {}
    for name in report.stages():
        report.main(["--run", name, "--into", str(tmp_path / name)])
        found[name] = json.loads((tmp_path / name).read_text())
    assert found == {
        "wrong": {"status": "failed", "said": "AssertionError: three is not four"},
        "missing": {"status": "not run", "said": "ModuleNotFoundError: No module named 'sklearn'"},
        "line": {"status": "not run", "said": 'sklearn is not installed: pip install "vipnp[train]"'},
    }


def test_every_stage_that_the_tests_on_a_device_have() -> None:
    names = " ".join(report.stages())
    for part in ("cases", "same seed", "no wait", "graph bits", "full size", "example", "out of memory", "sanitizer"):
        assert part in names
    assert len([name for name in report.stages() if name.startswith("time ")]) == 24
