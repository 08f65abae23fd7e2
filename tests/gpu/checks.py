"""What only a GPU can show: functions that raise where it is not as it should be, and return what they measured.

None needs pytest: `make gpu-report` runs them where there is none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import Any

import numpy as np

from tests.backends.cupy.comparison import EPS
from tests.backends.cupy.training import SIZES, Training, batch
from tools.torch_vip import torch_vip
from vipnp import create_model
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend
from vipnp.train import TrainingStep

ROOT = Path(__file__).parent.parent.parent
ACCURACY = 0.98

SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    const long long began = clock64();
    while (clock64() - began < cycles) {}
}
"""
CYCLES = 8_000_000_000
"""About four seconds of a GPU: far longer than the host takes to enqueue a step of a small model."""


def waits_for_nothing(precision: str, *, fused: bool) -> None:
    """The step is enqueued behind a kernel that runs for seconds. Had the host waited, that kernel would be done."""
    cupy = import_module("cupy")
    training = Training(get_backend("cupy", fused=fused, precision=precision), small_config(SIZES, drop_path=0.4))
    training.step()
    training.xp.synchronize()
    cupy.RawKernel(SPIN, "spin")((1,), (1,), (np.int64(CYCLES),))
    spun = cupy.cuda.Event()
    spun.record()
    loss, _ = training.step()
    assert not spun.done, "the host waited for the device"
    assert np.isfinite(float(training.xp.to_numpy(loss)))


def same_seed_same_bits() -> None:
    results = []
    for _ in range(2):
        training = Training(get_backend("cupy"), small_config(SIZES, drop_path=0.4))
        for _ in range(5):
            training.step()
        results.append(training.model.state_dict())
    for name, value in results[0].items():
        assert value.tobytes() == results[1][name].tobytes(), name


def graph_same_bits(precision: str) -> None:
    """Steps that a CUDA graph replays, against steps as they come."""
    results = []
    for graph in (False, True):
        training = Training(get_backend("cupy", precision=precision), small_config(SIZES, drop_path=0.4))
        step = TrainingStep(training.model, training.optimizer, label_smoothing=0.1, max_norm=1.0, graph=graph)
        losses = [step(training.images, training.labels, lr=1e-3 * i, rng=training.rng) for i in range(1, 6)]
        values = {f"loss {i}": training.xp.to_numpy(loss) for i, loss in enumerate(losses)}
        results.append(values | training.model.state_dict())
    for name, value in results[0].items():
        assert value.tobytes() == results[1][name].tobytes(), name


def graph_speed(model: str, size: int, precision: str, steps: int = 20) -> dict[str, float]:
    """Seconds of the clock of a step, as it comes and as a graph, the host's own work among them."""
    result = {}
    for graph, title in ((False, "as it comes"), (True, "as a graph")):
        training = Training(get_backend("cupy", precision=precision), create_model(model).config)
        images, labels = (training.xp.asarray(array) for array in batch(training.model.config, size))
        step = TrainingStep(training.model, training.optimizer, graph=graph)
        for _ in range(3):
            step(images, labels, lr=1e-3)
        training.xp.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            step(images, labels, lr=1e-3)
        training.xp.synchronize()
        result[title] = (time.perf_counter() - began) / steps
    return result


@cache
def full_size() -> tuple[Any, Any, float, dict[str, Any], dict[str, Any]]:
    """vip_s7 at batch 4: images, labels, and loss, gradients and weights in float64 on the CPU."""
    model = create_model("vip_s7", dtype="float64", seed=1)
    images, labels = batch(model.config, 4)
    loss, grads = model.loss_and_grads(images.astype(np.float64), labels, label_smoothing=0.1)
    return images, labels, float(loss), grads, model.state_dict()


def error(got: Mapping[str, Any], truth: Mapping[str, Any]) -> float:
    """The relative error of all gradients together."""
    off = sum(np.sum(np.square(np.asarray(got[name], np.float64) - truth[name])) for name in truth)
    return float(np.sqrt(off / sum(np.sum(np.square(value)) for value in truth.values())))


def torch_error(precision: str) -> float:
    """That of PyTorch on the same device in the same precision."""
    import torch

    images, labels, _, truth, state = full_size()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    twin = torch_vip(create_model("vip_s7").config).cuda()
    twin.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()})
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = twin(torch.from_numpy(images).cuda())
    loss = torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(labels).cuda(), label_smoothing=0.1)
    loss.backward()
    return error({name: p.grad.double().cpu().numpy() for name, p in twin.named_parameters()}, truth)


def full_size_gradients(precision: str) -> dict[str, float]:
    """As accurate as PyTorch's."""
    images, labels, expected, truth, state = full_size()
    xp = get_backend("cupy", precision=precision)
    model = create_model("vip_s7", backend=xp, seed=1)
    model.load_state_dict(state)
    loss, grads = model.loss_and_grads(images, labels, label_smoothing=0.1)
    mine = error({name: xp.to_numpy(value) for name, value in grads.items()}, truth)
    theirs = torch_error(precision)
    allowed = 8 * EPS["bfloat16" if precision != "float32" else "float32"] * abs(expected)
    assert abs(float(xp.to_numpy(loss)) - expected) <= allowed, "the loss is off"
    assert mine <= 1.1 * theirs, f"relative error of all gradients {mine:.2e}, PyTorch {theirs:.2e}"
    return {"error": mine, "error of PyTorch": theirs}


def full_size_logits() -> None:
    images, _, _, _, state = full_size()
    logits = {}
    for name in ("cupy", "numpy"):
        model = create_model("vip_s7", backend=name)
        model.load_state_dict(state)
        logits[name] = model.backend.to_numpy(model(images))
    np.testing.assert_allclose(logits["cupy"], logits["numpy"], rtol=0, atol=2e-5 * np.abs(logits["numpy"]).max())


def tiny_example(precision: str, folder: Path) -> dict[str, Any]:
    """The example, by its own command line."""
    spec = util.spec_from_file_location("train_tiny", ROOT / "examples" / "train_tiny.py")
    assert spec is not None
    assert spec.loader is not None
    example = util.module_from_spec(spec)
    sys.modules["train_tiny"] = example
    spec.loader.exec_module(example)
    result: dict[str, Any] = example.main(
        ["--json", str(folder / "result.json")], backend=get_backend("cupy", precision=precision)
    )
    assert result["test_accuracy"] >= ACCURACY, f"got accuracy {result['test_accuracy']}"
    return result


def out_of_memory_and_on() -> dict[str, int]:
    """An error that says what fits, and what it says does."""
    xp = get_backend("cupy", memory_limit=2 << 30)
    try:
        model = create_model("vip_s7", backend=xp)
        images, labels = batch(model.config, 256)
        message = ""
        try:
            model.loss_and_grads(images, labels)
        except MemoryError as caught:
            message = str(caught)
        assert "a batch of 256 does not fit, one of " in message, message or "256 images fit into 2 GiB"
        fits = int(message.split("one of ")[1].split()[0])
        loss, _ = model.loss_and_grads(images[:fits], labels[:fits])
        assert np.isfinite(float(xp.to_numpy(loss)))
    finally:
        import_module("cupy").get_default_memory_pool().set_limit(size=0)
    return {"fits": fits}


def compute_sanitizer(tool: str) -> None:
    """compute-sanitizer comes with the CUDA toolkit; raises FileNotFoundError where it is missing."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        raise FileNotFoundError("compute-sanitizer is not on the PATH: install the CUDA toolkit")
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "tests.gpu.every_kernel"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
