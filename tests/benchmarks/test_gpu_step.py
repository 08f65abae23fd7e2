"""What benchmarks/gpu_step.py computes from timings, and its error where there is no GPU."""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from vipnp.models import get_config

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="module")
def gpu_step() -> Any:
    path = Path(__file__).parent.parent.parent / "benchmarks" / "gpu_step.py"
    spec = util.spec_from_file_location("gpu_step", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["gpu_step"] = module
    spec.loader.exec_module(module)
    return module


def rows(gpu_step: Any) -> list[dict[str, Any]]:
    ceilings = gpu_step.Ceilings(3e12, {"float32": 5e13, "tf32": 4e14, "bfloat16": 8e14})
    made = []
    for task, factor in (("train", 1.0), ("infer", 0.3)):
        for precision in ("float32", "bfloat16"):
            case = gpu_step.Case("vip_s7", 128, precision, task)
            timings = {
                "vipnp": gpu_step.Timing([0.2 * factor, 0.21 * factor, 0.19 * factor], 10),
                "eager": gpu_step.Timing([0.4 * factor, 0.3 * factor, 0.38 * factor], 20),
                "compile": gpu_step.Timing([], 0, "out of memory"),
            }
            if task == "train":
                timings["graph"] = gpu_step.Timing([0.15, 0.16, 0.14], 0)
            made.append(gpu_step.row(case, timings, gpu_step.roofline(case, ceilings)))
    return made


def test_roofline_of_a_training_step(gpu_step: Any) -> None:
    """5.3 Tflop of products; 107 passes over 276.8 million entries of four bytes, nine over the weights."""
    case = gpu_step.Case("vip_s7", 128, "float32", "train")
    assert 6 * get_config("vip_s7").macs * 128 == pytest.approx(5.3e12, rel=0.01)
    products = gpu_step.roofline(case, gpu_step.Ceilings(1e30, {"float32": 1e12}))
    assert products == pytest.approx(5.3, rel=0.01)
    traffic = gpu_step.roofline(case, gpu_step.Ceilings(1e9, {"float32": 1e30}))
    assert traffic == pytest.approx(107 * 0.2768 * 4 + 9 * 0.0251 * 4, rel=1e-3)
    both = gpu_step.roofline(case, gpu_step.Ceilings(1e9, {"float32": 1e12}))
    assert both == max(products, traffic), "products and traffic overlap: their sum would be no lower bound"
    half = gpu_step.roofline(
        gpu_step.Case("vip_s7", 128, "bfloat16", "infer"), gpu_step.Ceilings(1e9, {"bfloat16": 1e30})
    )
    assert half == pytest.approx(39 * 0.2768 * 2, rel=1e-3)


def test_ratios_are_taken_turn_by_turn(gpu_step: Any) -> None:
    first = rows(gpu_step)[0]
    assert first["vipnp"]["median"] == 0.2
    assert first["ratio_eager"] == pytest.approx(0.5)
    assert first["memory_ratio_eager"] == 0.5
    assert "ratio_compile" not in first
    assert first["compile"]["failed"] == "out of memory"


def test_report(gpu_step: Any, tmp_path: Path) -> None:
    made = rows(gpu_step)
    text = gpu_step.table(made).split("\n")
    assert text[2].startswith("| vip_s7 | 128 | float32 | train | 200.00 | 150.00 | 380.00 | nan | 0.50 | - | 0.50 | ")
    assert text[4].startswith("| vip_s7 | 128 | float32 | infer | 60.00 | - | 114.00 | nan | 0.50 | - | 0.50 | ")
    assert len({line.count("|") for line in text}) == 1
    assert gpu_step.missed(made) == []
    made[0]["ratio_eager"] = 0.95
    assert gpu_step.missed(made) == ["vip_s7 batch 128 float32: ratio_eager is 0.95, the goal is 0.9"]
    path = tmp_path / "bars.png"
    gpu_step.plot(made, "a device", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_every_row_is_kept_at_once(gpu_step: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second case that fails costs nothing of the first."""
    import torch

    done = []

    def measure(case: Any, *_: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(case)
        return {"vipnp": gpu_step.Timing([0.2], 10), "eager": gpu_step.Timing([0.4], 20)}

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_step, "get_backend", lambda name: None)
    monkeypatch.setattr(gpu_step, "measure", measure)
    monkeypatch.setattr(gpu_step, "ceilings", lambda: gpu_step.Ceilings(3e12, {"float32": 5e13}))
    monkeypatch.setattr(gpu_step, "environment", lambda: {"device": "a device", "date": "today"})
    outputs = [tmp_path / "new" / "r.json", tmp_path / "new" / "r.png"]
    with pytest.raises(KeyboardInterrupt):
        gpu_step.main(["--precisions", "float32", "--json", str(outputs[0]), "--plot", str(outputs[1])])
    assert len(json.loads(outputs[0].read_text())["rows"]) == 1
    assert outputs[1].read_bytes().startswith(b"\x89PNG")


def test_without_a_gpu(gpu_step: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise RuntimeError(f'backend "{name}": found no NVIDIA driver on this machine')

    monkeypatch.setattr(gpu_step, "get_backend", none)
    assert gpu_step.main([]) == 2
    assert 'gpu_step: error: backend "cupy": found no NVIDIA driver' in capsys.readouterr().err
