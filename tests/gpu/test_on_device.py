"""The cupy backend on a GPU. Run with `make test-gpu`; left out of plain `pytest`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module, util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.cupy.training import SIZES, Training, batch
from tests.fake_device.test_kernels import EPS, all_cases, compare_case
from vipnp import VisionPermutator, create_model
from vipnp.audit.cases import CASES, Case, small_config
from vipnp.audit.torch_twins import torch_vip
from vipnp.backends import get_backend
from vipnp.verify.trees import tree_arrays

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parent.parent.parent
ACCURACY = 0.98


@pytest.fixture(scope="module")
def cupy() -> Iterator[Any]:
    module = import_module("cupy")
    yield module
    module.get_default_memory_pool().free_all_blocks()


@pytest.mark.parametrize(("case", "dtype", "sizes"), list(all_cases()))
def test_replacement_against_the_readable_op(cupy: Any, case: Case, dtype: str, sizes: Mapping[str, int]) -> None:
    compare_case(get_backend("cupy"), case, dtype, sizes, replaced=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_readable_op_on_the_device(cupy: Any, case: Case, dtype: str) -> None:
    compare_case(get_backend("cupy", fused=False), case, dtype, case.sizes, replaced=False)


SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    const long long began = clock64();
    while (clock64() - began < cycles) {}
}
"""
CYCLES = 8_000_000_000
"""About four seconds of a GPU: far longer than the host takes to enqueue a step of a small model."""


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_step_waits_for_nothing(cupy: Any, fused: bool, precision: str) -> None:
    """The step is enqueued behind a kernel that runs for seconds. Had the host waited, that kernel would be done."""
    if not fused and precision != "float32":
        with pytest.raises(ValueError, match="fused=False"):
            get_backend("cupy", fused=fused, precision=precision)
        return
    training = Training(get_backend("cupy", fused=fused, precision=precision), small_config(SIZES, drop_path=0.4))
    training.step()
    training.xp.synchronize()
    cupy.RawKernel(SPIN, "spin")((1,), (1,), (np.int64(CYCLES),))
    spun = cupy.cuda.Event()
    spun.record()
    loss, _ = training.step()
    assert not spun.done
    assert np.isfinite(float(training.xp.to_numpy(loss)))


def test_same_seed_same_bits(cupy: Any) -> None:
    results = []
    for _ in range(2):
        training = Training(get_backend("cupy"), small_config(SIZES, drop_path=0.4))
        for _ in range(5):
            training.step()
        results.append(training.model.state_dict())
    for name, value in results[0].items():
        assert value.tobytes() == results[1][name].tobytes(), name


@pytest.fixture(scope="module")
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


def torch_error(images: Any, labels: Any, truth: Mapping[str, Any], state: Mapping[str, Any], precision: str) -> float:
    """That of PyTorch on the same device in the same precision."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    twin = torch_vip(create_model("vip_s7").config).cuda()
    twin.load_state_dict({name: torch.from_numpy(value.astype(np.float32)) for name, value in state.items()})
    with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = twin(torch.from_numpy(images).cuda())
    loss = torch.nn.functional.cross_entropy(logits.float(), torch.from_numpy(labels).cuda(), label_smoothing=0.1)
    loss.backward()
    return error({name: p.grad.double().cpu().numpy() for name, p in twin.named_parameters()}, truth)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_full_size_gradients_as_accurate_as_pytorch(cupy: Any, full_size: Any, precision: str) -> None:
    images, labels, expected, truth, state = full_size
    xp = get_backend("cupy", precision=precision)
    model = create_model("vip_s7", backend=xp, seed=1)
    model.load_state_dict(state)
    loss, grads = model.loss_and_grads(images, labels, label_smoothing=0.1)
    mine = error({name: xp.to_numpy(value) for name, value in grads.items()}, truth)
    theirs = torch_error(images, labels, truth, state, precision)
    print(f"\n{precision}: relative error of all gradients {mine:.2e}, PyTorch {theirs:.2e}")
    assert float(xp.to_numpy(loss)) == pytest.approx(
        expected, rel=8 * EPS["bfloat16" if precision != "float32" else "float32"]
    )
    assert mine <= 1.1 * theirs


def test_full_size_logits(cupy: Any, full_size: Any) -> None:
    images, _, _, _, state = full_size
    logits = {}
    for name in ("cupy", "numpy"):
        model = create_model("vip_s7", backend=name)
        model.load_state_dict(state)
        logits[name] = model.backend.to_numpy(model(images))
    np.testing.assert_allclose(logits["cupy"], logits["numpy"], rtol=0, atol=2e-5 * np.abs(logits["numpy"]).max())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_tiny_example_learns(cupy: Any, precision: str, tmp_path: Path) -> None:
    spec = util.spec_from_file_location("train_tiny", ROOT / "examples" / "train_tiny.py")
    assert spec is not None
    assert spec.loader is not None
    example = util.module_from_spec(spec)
    sys.modules["train_tiny"] = example
    spec.loader.exec_module(example)
    result = example.main(["--json", str(tmp_path / "result.json")], backend=get_backend("cupy", precision=precision))
    print(f"\n{precision}: {result}")
    assert result["test_accuracy"] >= ACCURACY


def test_out_of_memory_and_on(cupy: Any) -> None:
    xp = get_backend("cupy", memory_limit=2 << 30)
    try:
        model = create_model("vip_s7", backend=xp)
        images, labels = batch(model.config, 256)
        with pytest.raises(MemoryError, match=r"a batch of 256 does not fit, one of \d+ does") as caught:
            model.loss_and_grads(images, labels)
        fits = int(str(caught.value).split("one of ")[1].split()[0])
        del caught
        loss, _ = model.loss_and_grads(images[:fits], labels[:fits])
        assert np.isfinite(float(xp.to_numpy(loss)))
    finally:
        cupy.get_default_memory_pool().set_limit(size=0)


@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "initcheck", "synccheck"])
def test_compute_sanitizer(cupy: Any, tool: str) -> None:
    """compute-sanitizer comes with the CUDA toolkit; this test fails where it is missing."""
    program = shutil.which("compute-sanitizer")
    assert program is not None, "compute-sanitizer is not on the PATH: install the CUDA toolkit"
    done = subprocess.run(
        [program, "--tool", tool, "--error-exitcode", "9", sys.executable, "-m", "tests.gpu.every_kernel"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def test_features_on_the_device(cupy: Any) -> None:
    config = small_config(SIZES)
    images = batch(config)[0]
    grids = []
    for name in ("cupy", "numpy"):
        model = VisionPermutator(config, backend=name, seed=3)
        grids.append([model.backend.to_numpy(grid) for grid in model.features(images)])
    for (_, mine), (_, theirs) in zip(*map(tree_arrays, grids), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
