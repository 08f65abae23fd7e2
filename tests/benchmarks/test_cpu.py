"""The benchmark: what it measures, how it reduces times, what it writes, and a small run of the whole."""

from __future__ import annotations

import json
import re
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cpu import command, contenders, main, run_bench
from benchmarks.cpu.contenders import CONTENDERS, INFERENCE_ALONE, linear_layers
from benchmarks.cpu.measure import Process, measure, reduce
from benchmarks.cpu.profile import profile
from benchmarks.cpu.report import TITLES, draw, machine, markdown, profile_table, read_json, table, write_json
from benchmarks.cpu.rivals import RIVALS, openvino_step, refuse_difference
from benchmarks.cpu.work import Work
from vipnp import create_model
from vipnp.models import ViPConfig

TINY = Work("vip_s7", 2, "train", image_size=28, depth=1)
INFER = Work("vip_s7", 2, "infer", image_size=28, depth=1)


def tiny_results() -> list[Any]:
    times = [[1.0, 2.0, 4.0], [0.5, 3.0, 1.0]]
    return reduce(["torch", "numba"], TINY, times, [200_000_000, 100_000_000], [3.0, 4.0])


@pytest.mark.parametrize("name", ["vip_s7", "vip_s14", "vip_m7"])
def test_the_floor_has_all_products_of_the_model(name: str) -> None:
    model = create_model(name, num_classes=10, layers=(1, 1, 1, 1))
    layers = linear_layers(model.config)
    reweight = {layer for layer in layers if layer[0] == 1}
    assert sum(M * K * N for M, K, N in layers) == model.macs
    assert reweight


def test_the_floor_of_a_grid_that_is_not_square() -> None:
    config = ViPConfig(
        layers=(2, 1),
        embed_dims=(12, 24),
        segments=(4, 3),
        transitions=(True, False),
        patch_size=2,
        image_size=(8, 12),
    )
    assert sum(M * K * N for M, K, N in linear_layers(config)) == config.macs


def test_work_changes_the_configuration() -> None:
    config = TINY.config()
    assert config.layers == (1, 1, 1, 1)
    assert config.image_size == (28, 28)
    assert TINY.label() == "vip_s7 train, batch 2, 28 px, 1 blocks a stage"


def test_times_are_reduced_turn_by_turn() -> None:
    torch, numba = tiny_results()
    assert (numba.median, numba.minimum) == (1.0, 0.5)
    assert numba.ratio == 0.5  # the median of 0.5, 1.5 and 0.25
    assert numba.ratio_of_medians == 0.5
    assert numba.ratio_of_minima == 0.5
    assert (torch.ratio, torch.ratio_of_medians, torch.ratio_of_minima) == (1.0, 1.0, 1.0)
    (alone,) = reduce(["numba"], TINY, [[1.0]], [1], [1.0])
    assert alone.ratio is None


def test_large_training_steps_run_in_pairs() -> None:
    names = ["torch", "numpy", "numba"]
    assert command.groups(names, TINY) == [names]
    assert command.groups(names, Work("vip_s7", 32, "infer")) == [names]
    assert command.groups(names, Work("vip_s7", 32, "train")) == [["torch", "numpy"], ["torch", "numba"]]
    assert command.groups(["numba"], Work("vip_s7", 32, "train")) == [["numba"]]
    assert command.groups([*names, *INFERENCE_ALONE], TINY) == [names]
    assert command.groups([*names, *INFERENCE_ALONE], INFER) == [[*names, *INFERENCE_ALONE]]
    assert command.groups(INFERENCE_ALONE, TINY) == []
    floors = ["floor", "floor-mkl"]
    assert command.groups([*names, *floors], Work("vip_s7", 32, "train")) == [
        ["torch", "numpy"],
        ["torch", "numba"],
        ["torch", *floors],
    ]


@pytest.mark.parametrize("name", [name for name in CONTENDERS if not name.startswith("torch-") and name not in RIVALS])
@pytest.mark.parametrize("work", [TINY, INFER], ids=lambda work: work.task)
def test_every_contender_makes_a_step(name: str, work: Work) -> None:
    step = CONTENDERS[name](work, 1)
    step()
    step()


def test_our_contenders_train(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timed step really changes the weights, and the loss falls."""
    losses = []
    from vipnp import VisionPermutator

    original = VisionPermutator.loss_and_grads

    def recorded(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss, grads = original(self, *args, **kwargs)
        losses.append(float(loss))
        return loss, grads

    monkeypatch.setattr(VisionPermutator, "loss_and_grads", recorded)
    step = contenders.vipnp_step("numba", sharded=True, products="openblas")(TINY, 2)
    for _ in range(4):
        step()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_a_whole_run(tmp_path: Path) -> None:
    told: list[str] = []
    bench = run_bench([INFER], ["torch-malloc", "numpy", "floor"], rounds=2, cores=[0], tell=told.append)
    assert [result.contender for result in bench.results] == ["torch-malloc", "numpy", "floor"]
    for result in bench.results:
        assert len(result.seconds) == 2
        assert 0 < result.minimum <= result.median < result.first_call
        assert 20e6 < result.peak_bytes < 4e9
    assert len(told) == 6
    assert told[-1] == table(bench.results)
    path = tmp_path / "bench.json"
    write_json(path, machine(1), bench.results, {})
    content = json.loads(path.read_text())
    assert content["results"][1]["work"]["image_size"] == 28
    assert content["machine"]["versions"]["numpy"]
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]


def test_a_run_that_stops_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(names: Any, work: Work, **options: Any) -> list[Any]:
        if work.task == "infer":
            raise RuntimeError("torch: its process ended")
        return tiny_results()

    monkeypatch.setattr(command, "measure", measured)
    files = tmp_path / "bench.json", tmp_path / "bench.png"
    with pytest.raises(RuntimeError, match="its process ended"):
        main(["--contenders", "numpy", "--json", str(files[0]), "--png", str(files[1])])
    assert [result["contender"] for result in json.loads(files[0].read_text())["results"]] == ["torch", "numba"]
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three turns now, the other four later; ratios are those of all seven, turn by turn."""
    asked: list[tuple[int, float]] = []

    def measured(names: Any, work: Work, *, rounds: int, until: float, **options: Any) -> list[Any]:
        asked.append((rounds, until))
        turns = 3 if len(asked) == 1 else rounds
        times = [[2.0] * turns, [float(len(asked))] * turns]
        return reduce(names, work, times, [3, 5 * len(asked)], [7.0 * len(asked)] * 2)

    monkeypatch.setattr(command, "measure", measured)
    file = tmp_path / "bench.json"
    arguments = ["--contenders", "torch", "numpy", "--task", "train", "--rounds", "7", "--json", str(file), "--resume"]
    for _ in range(3):
        assert main([*arguments, "--seconds", "1000"]) == 0
    assert [rounds for rounds, _ in asked] == [7, 4]
    assert all(time.monotonic() < until < time.monotonic() + 1000 for _, until in asked)
    torch, numpy = read_json(file, machine(2))
    assert torch.seconds == numpy.reference == [2.0] * 7
    assert numpy.seconds == [1.0] * 3 + [2.0] * 4
    assert (numpy.median, numpy.minimum, numpy.ratio_of_minima, numpy.ratio_of_medians) == (2.0, 1.0, 0.5, 1.0)
    assert (numpy.peak_bytes, numpy.first_call) == (10, 7.0)


def test_no_turn_begins_too_late() -> None:
    assert measure(["floor"], INFER, rounds=2, cores=[0], until=0) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError"),
        (
            '{"results": [{"contender": "torch"}], "machine": {}}',
            "KeyError: 'work', expected results of this benchmark",
        ),
        ('{"results": [], "machine": {}}', "got results of {}, expected those of this machine"),
    ],
)
def test_results_of_others_are_not_gone_on_with(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    file.write_text(content)
    with pytest.raises(SystemExit):
        main(["--contenders", "numpy", "--json", str(file), "--resume"])
    assert message in capsys.readouterr().err
    assert file.read_text() == content


def test_the_table_for_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    infer = reduce(["numba"], INFER, [[0.25]], [1], [1.0])
    write_json(file, {}, [*tiny_results(), *infer], {})
    assert main(["--json", str(file), "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| training | vip_s7, batch 2, 28 px, 1 blocks a stage |",
        "| --- | --- |",
        "| PyTorch eager | 2000 ms (1000) |",
        "| **`numba`**, OpenBLAS | 0.50 (0.50) |",
        "",
        "| inference | vip_s7, batch 2, 28 px, 1 blocks a stage |",
        "| --- | --- |",
        "| **`numba`**, OpenBLAS | 250 ms (250) |",
    ]
    assert set(TITLES) == set(CONTENDERS)


@pytest.mark.parametrize("results", ["cpu_contenders.json", "cpu_step.json", "cpu_batches.json", "cpu_models.json"])
def test_the_page_has_the_tables_of_the_results(results: str) -> None:
    root = Path(__file__).resolve().parents[2]
    tables = markdown(read_json(root / "benchmarks/results" / results, None))
    assert tables in (root / "docs/cpu.md").read_text()


def test_the_readme_has_the_figures_of_the_results() -> None:
    root = Path(__file__).resolve().parents[2]
    results = read_json(root / "benchmarks/results/cpu_contenders.json", None)
    works = [Work("vip_s7", *of) for of in ((1, "infer"), (8, "infer"), (32, "infer"), (8, "train"), (32, "train"))]
    rows = re.findall(r"^\| (.+?) \|(.*)\|$", (root / "README.md").read_text().split("| | inference, 1 image")[1], re.M)
    names = {"**`numba`**": "numba-auto", "**`numba`**, OpenBLAS alone": "numba", "floor": "floor-auto"}
    held = 0
    for title, cells in rows[:8]:
        for work, cell in zip(works, cells.replace("**", "").split("|"), strict=True):
            one = "torch-freeze" if work.task == "infer" else "torch-compile"
            titled = {name: known for known, name in TITLES.items()} | names | {"torch.compile": one}
            found = [r for r in results if r.work == work and r.contender == titled[title]]
            assert cell.strip() == (markdown(found).splitlines()[2].split("|")[2].strip() if found else "")
            held += bool(found)
    assert held == 33


def test_a_contender_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="numpy: its process ended with status 1"):
        measure(["numpy"], Work("vip_s7", 1, "infer", image_size=3), rounds=1, cores=[0])
    assert "image_size" in capfd.readouterr().err


def test_a_process_reports_its_peak() -> None:
    process = Process("floor", INFER, [0])
    assert process.read("ready") > 0
    assert process.step() > 0
    assert process.finish() > 20e6
    assert process.child.returncode is not None


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    text = table(tiny_results())
    assert [line.split() for line in text.splitlines()][2:] == [
        ["torch", "2.000", "1.000", "1.00", "1.00", "1.00", "200", "3.0"],
        ["numba", "1.000", "0.500", "0.50", "0.50", "0.50", "100", "4.0"],
    ]
    draw(tmp_path / "bench.png", tiny_results())
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert profile_table({"step": 0.2, "kernel": 0.05}).splitlines()[2].split() == ["kernel", "50.0", "25.0%"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()}, [], {})
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["bench.json"]


def test_the_profile_covers_the_step() -> None:
    seconds = profile(TINY, shards=2)
    names = set(seconds) - {"step, all threads"}
    assert {"adamw_entries", "bias_gelu", "layer_norm_permuted_backward", "product: dweight = dy^T x"} <= names
    assert all(value > 0 for value in seconds.values())
    from vipnp.backends.numba import kernels

    assert all(hasattr(getattr(kernels, name), "py_func") for name in kernels.KERNELS), "kernels are put back"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "expected positive numbers"),
        (["--batch", "0"], "expected positive numbers"),
        (["--cores", "9999"], "--cores: got 9999, expected 1 to"),
        (["--model", "vip_x"], "invalid choice: 'vip_x'"),
        (["--contenders", "theano"], "invalid choice: 'theano'"),
        (
            ["--contenders", "torch-freeze", "--task", "train"],
            "--contenders: torch-freeze: it takes no training step",
        ),
        (["--json", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (["--png", ""], "--png: . is a folder"),
        (["--resume"], "--resume and --markdown need --json FILE"),
        (["--json", "no-such-results.json", "--markdown"], "No such file"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("contender", "extra"),
    [("torch", "test"), ("numba", "numba"), ("floor", "numba"), ("numpy-shards", "numba"), ("jax", "test")],
)
def test_missing_packages_name_their_extra(
    contender: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert f'pip install "vipnp[{extra}]"' in str(command.unavailable(contender))
    with pytest.raises(SystemExit):
        main(["--contenders", contender])
    assert contender in capsys.readouterr().err


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "openvino", "jax"])
def test_a_rival_without_its_library_is_named_and_left_out(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rival = "onnxruntime" if library == "onnx" else library
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == library else object())
    seen: list[Any] = []

    def recorded(works: Any, names: Any, **options: Any) -> command.Bench:
        seen.extend(names)
        return command.Bench([], {})

    monkeypatch.setattr(command, "run_bench", recorded)
    assert main([]) == 0
    said = capsys.readouterr().err
    assert f'left out: {rival}: {library} is not installed: pip install "vipnp[benchmark]"' in said
    assert set(RIVALS) - set(seen) == {rival}
    left = [name for name in INFERENCE_ALONE if name in seen]
    assert f"left out of training, which they do not do: {', '.join(left)}\n" in said
    with pytest.raises(SystemExit):
        main(["--contenders", rival])
    assert f"--contenders: {rival}: {library} is not installed" in capsys.readouterr().err


def test_another_result_than_pytorchs_is_refused() -> None:
    expected = np.array([1.0, -200.0])
    refuse_difference("jax", [("logits", expected + 0.019, expected)])
    for result in (expected + 0.021, np.full(2, np.nan)):
        with pytest.raises(RuntimeError, match=r"jax: logits differs from PyTorch's by .*expected at most 0.0001"):
            refuse_difference("jax", [("logits", result, expected)])


@pytest.mark.parametrize("error", [0.0, 1e-3])
def test_a_rival_is_held_against_pytorch_before_it_is_timed(error: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO is not installed here: its place is taken by PyTorch, wrong by `error`."""
    import torch

    def compile_model(module: Any, device: str, settings: dict[str, Any]) -> Any:
        assert settings["INFERENCE_NUM_THREADS"] == 1
        return lambda images: [module(torch.from_numpy(images)).detach().numpy() * (1 + error)]

    fake = types.ModuleType("openvino")
    vars(fake).update(
        convert_model=lambda module, example_input: module,
        Core=lambda: types.SimpleNamespace(compile_model=compile_model),
    )
    monkeypatch.setitem(sys.modules, "openvino", fake)
    if error:
        with pytest.raises(RuntimeError, match=r"openvino: logits differs from PyTorch's by 1\.0e-03"):
            openvino_step(INFER, 1)
    else:
        assert openvino_step(INFER, 1)() is not None


@pytest.mark.parametrize("extra", ["onednn", "mkl"])
def test_a_missing_library_is_left_out(
    extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(command.DISTRIBUTIONS, extra, "no-such-distribution")
    seen: list[Any] = []

    def recorded(works: Any, names: Any, **options: Any) -> command.Bench:
        seen.extend(names)
        return command.Bench([], {})

    monkeypatch.setattr(command, "run_bench", recorded)
    assert main(["--rounds", "1"]) == 0
    assert f'left out: numba-{extra}: no-such-distribution is not installed: pip install "vipnp[{extra}]"' in (
        capsys.readouterr().err
    )
    assert "numba" in seen
    assert f"numba-{extra}" not in seen
