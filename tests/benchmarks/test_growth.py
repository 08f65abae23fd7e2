"""The benchmark of growth: exponents, what is measured, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth
from benchmarks.cpu.work import Work
from benchmarks.growth import Growth, cheapest, exponent, growths, main, table
from vipnp.models import ViPConfig


def test_the_exponent_of_a_power_is_its_exponent() -> None:
    sides = [3, 5, 11]
    assert exponent(sides, [7 * side**2.5 for side in sides]) == pytest.approx(2.5)
    mixed = Growth("x", "side", sides, [2.0 * side for side in sides], [side**3 for side in sides])
    assert mixed.measured == pytest.approx(1)
    assert mixed.theory == pytest.approx(3)


def test_the_least_of_the_turns_counts_and_the_first_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    costs = {"a": [100.0, 5.0, 3.0, 4.0], "b": [100.0, 1.0, 7.0, 2.0]}

    def step(name: str) -> Any:
        def run() -> None:
            clock[0] += costs[name].pop(0)

        return run

    monkeypatch.setattr("benchmarks.growth.time.thread_time", lambda: clock[0])
    assert cheapest([step("a"), step("b")], 3) == [3.0, 1.0]


def test_a_small_run_measures_every_quantity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Work, "config", config_of)
    found = growths(1, batches=(1, 2), depths=(1, 2), sizes=(28, 56), grids=(2, 3), tell=told.append)
    assert len(told) == len(found) == 7
    assert all(min(one.seconds) > 0 for one in found)
    images, blocks, pixels = found[:3]
    assert images.theory == pytest.approx(1)
    assert 0 < blocks.theory < 1
    assert 1.5 < pixels.theory < 3
    assert found[-1].theory == pytest.approx(3)
    assert found[3].multiplications == [3 * count for count in images.multiplications]
    monkeypatch.setattr(growth, "growths", lambda rounds, tell: found)
    main(["--json", str(tmp_path / "g.json"), "--png", str(tmp_path / "g.png")])
    content = json.loads((tmp_path / "g.json").read_text())
    assert content["growths"][-1]["theory"] == pytest.approx(3)
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    assert table(found).count("\n") == 1 + len(found)


def config_of(work: Work) -> ViPConfig:
    """A configuration as small as the steps allow."""
    size, depth = work.image_size or 28, work.depth or 1
    return ViPConfig(
        layers=(depth, depth),
        embed_dims=(32, 48),
        segments=(32, 16),
        transitions=(True, False),
        patch_size=7,
        image_size=(size, size),
        num_classes=5,
    )


def test_the_mixing_has_as_many_multiplications_as_it_is_said_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, size = growth.SEGMENTS * 3, 3 * growth.CHANNELS
    assert 2 * rows * size * size == 2 * growth.SEGMENTS * growth.CHANNELS**2 * 3**3
    seen: list[Any] = []

    class Watched:
        def inference(self) -> Any:
            return self

        def run(self, op: Any, x: Any, weight: Any) -> None:
            seen.append((x.shape, weight.shape))

    monkeypatch.setattr(growth, "get_backend", lambda *_, **__: Watched())
    growth.mixing(3)()
    assert seen == [((rows, size), (size, size))] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds: got 0, expected a positive number"),
        (["--png", "/nowhere/x.png"], "there is no folder"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--png"])
def test_an_output_that_cannot_be_written_is_told_before_the_measurements(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "growths", lambda rounds, tell: pytest.fail("measured"))
    with pytest.raises(SystemExit):
        main([option, ""])
    assert f"{option}: . is a folder, expected the name of a file" in capsys.readouterr().err
