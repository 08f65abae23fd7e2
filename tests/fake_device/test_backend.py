"""The cupy backend end to end: the CuPy wheel on the fake device."""

from __future__ import annotations

import gc
import math
import re
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import cupy
import numpy as np
import pytest

from tests.backends.cupy.training import BATCH, SIZES, Training, batch
from tests.fake_device.machine import COMPUTE_32F, COMPUTE_32F_FAST_TF32, Machine
from vipnp import VisionPermutator, layers, ops
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend

pytestmark = pytest.mark.kernels

# --- training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False])
def test_a_tiny_model_trains_as_on_numpy_and_no_step_waits(machine: Machine, fused: bool) -> None:
    steps = 20 if fused else 3
    config = small_config(SIZES, drop_path=0.4)
    device, host = Training(get_backend("cupy", fused=fused), config), Training(get_backend("numpy"), config)
    exact = Training(get_backend("numpy"), config)
    exact.model = VisionPermutator(config, backend="numpy", seed=3, dtype="float64")
    exact.images = exact.images.astype(np.float64)
    losses: list[Any] = []
    host_losses = []
    for step in range(steps):
        machine.forget()
        loss, grads = device.step()
        assert machine.waits == []
        assert machine.uploads == 1, "the draws of drop path"
        assert bool(machine.own_launches) is fused
        host_loss, host_grads = host.step()
        losses.append(loss)
        host_losses.append(float(host_loss))
        if step == 0:
            _, truth = exact.step()
            for name, gradient in grads.items():
                scale = np.abs(truth[name]).max()
                error = np.abs(device.xp.to_numpy(gradient) - truth[name]).max()
                assert error <= 3 * np.abs(host_grads[name] - truth[name]).max() + 1e-6 * scale, name
    values = [float(device.xp.to_numpy(loss)) for loss in losses]
    np.testing.assert_allclose(values, host_losses, rtol=2e-6)
    assert values[-1] < values[0] - 0.005 * steps
    assert device.xp.host_waits == len(losses) + len(grads)


@pytest.mark.parametrize(("precision", "tolerance"), [("tf32", 2e-3), ("bfloat16", 2e-2)])
def test_lower_precisions_train_too(machine: Machine, precision: str, tolerance: float) -> None:
    config = small_config(SIZES, drop_path=0.4)
    device, host = Training(get_backend("cupy", precision=precision), config), Training(get_backend("numpy"), config)
    losses = []
    for _ in range(3):
        machine.forget()
        loss, grads = device.step()
        kinds = {compute for compute, _ in machine.products}
        assert kinds == {COMPUTE_32F_FAST_TF32 if precision == "tf32" else COMPUTE_32F}
        outputs = {dtype for _, dtype in machine.products}
        assert outputs == ({"float32"} if precision == "tf32" else {"float32", "bfloat16"})
        assert all(gradient.dtype == np.float32 for gradient in grads.values())
        host_loss, _ = host.step()
        losses.append((float(device.xp.to_numpy(loss)), float(host_loss)))
    for mine, theirs in losses:
        assert mine == pytest.approx(theirs, abs=tolerance)
    assert losses[-1][0] != losses[-1][1]


def test_steps_use_every_entry_of_the_table(machine: Machine) -> None:
    """The published model, and one that falls back from the stage: plain sum, other branches, dropout, soft targets."""
    xp = get_backend("cupy").counting()
    Training(xp, small_config(SIZES, drop_path=0.4)).step()
    ran = set(xp.ran or ())
    table = xp.replacements
    for entry in (layers.stage, layers.downsample, ops.patch_embed, ops.layer_norm, ops.linear, ops.cross_entropy):
        assert table[entry] in ran
    assert layers.permutator not in ran
    assert not set(table) & ran, "a readable function ran in the place of its kernels"
    other = Training(xp, small_config(SIZES, drop_path=0.4, dropout=0.2))
    other.labels = xp.asarray(np.full((BATCH, 4), 0.25, np.float32))
    loss, _ = other.model.loss_and_grads(other.images, other.labels, rng=other.rng)
    assert np.isfinite(float(xp.to_numpy(loss)))
    ran = set(xp.ran or ())
    assert set(table.values()) <= ran, {entry.__name__ for entry in set(table.values()) - ran}
    assert set(table) & ran == {layers.stage}


def test_first_ten_losses_of_the_tiny_example(machine: Machine) -> None:
    spec = import_module("importlib.util").spec_from_file_location("train_tiny", "examples/train_tiny.py")
    example = import_module("importlib.util").module_from_spec(spec)
    sys.modules["train_tiny"] = example
    spec.loader.exec_module(example)
    recipe = replace(example.RECIPE, epochs=1)
    digits = example.load_digits(0)
    images, labels = digits.train_images[:320], digits.train_labels[:320]
    losses: dict[str, list[float]] = {}
    for name in ("numpy", "cupy"):
        model = VisionPermutator(example.CONFIG, backend=name, seed=0)
        (losses[name],) = example.train(model, images, labels, recipe, 0)
    assert len(losses["numpy"]) == 10
    np.testing.assert_allclose(losses["cupy"], losses["numpy"], rtol=1e-6)


def rounded(size: int) -> int:
    """What CuPy's pool takes for that many bytes."""
    return math.ceil(size / 512) * 512


def test_inference_keeps_nothing(machine: Machine) -> None:
    xp = get_backend("cupy")
    model = VisionPermutator(small_config(SIZES), backend=xp, seed=3)
    images = xp.asarray(batch(model.config)[0])
    held = xp.memory().used
    logits = model(images)
    assert xp.memory().used - held == rounded(logits.nbytes)
    with pytest.raises(RuntimeError, match="no pullback"):
        xp.inference().run(ops.gelu, images)[1](images)


def test_a_stage_saves_nine_activations_a_block(machine: Machine) -> None:
    """Of a hidden layer three channels wide; PyTorch saves sixteen."""
    xp = get_backend("cupy")
    config = replace(
        small_config(SIZES), layers=(4,), embed_dims=(64,), segments=(4,), transitions=(False,), mlp_ratio=3
    )
    model = VisionPermutator(config, backend=xp, seed=3)
    x = xp.asarray(np.random.default_rng(0).normal(size=(8, 4, 2, 64)).astype(np.float32))
    before = xp.memory().used
    y, pullback = xp.run(layers.stage, x, model.params["network"]["0"], segments=4)
    saved = xp.memory().used - before - y.nbytes
    del pullback
    small = 4 * (8 * 4 * 2 * 4 * 4 + 8 * 64 * 4 * 4 * 2)  # mean and rstd of a token twice; pooled values and logits
    assert 8 * 4 * x.nbytes < saved <= 9 * 4 * x.nbytes + small
    assert xp.memory().used == before + y.nbytes


def test_features_and_weights_come_back(machine: Machine) -> None:
    config = small_config(SIZES)
    images = batch(config)[0]
    grids = {}
    for xp in (get_backend("cupy"), get_backend("numpy")):
        model = VisionPermutator(config, backend=xp, seed=3)
        grids[xp.name] = [xp.to_numpy(grid) for grid in model.features(images)]
        assert all(isinstance(value, np.ndarray) for value in model.state_dict().values())
    for mine, theirs in zip(grids["cupy"], grids["numpy"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


# --- streams and devices --------------------------------------------------------------------------------------------


def test_kernels_run_on_the_current_stream(machine: Machine) -> None:
    xp = get_backend("cupy")
    x = xp.asarray(np.ones((3, 4), np.float32))
    stream = cupy.cuda.Stream(non_blocking=True)
    machine.forget()
    with stream:
        _, pullback = xp.run(ops.gelu, x)
        pullback(x)
    xp.run(ops.gelu, x)
    assert machine.streams == [stream.ptr, stream.ptr, 0]


def test_a_second_device(machine: Machine) -> None:
    first, second = get_backend("cupy"), get_backend("cupy", device=1)
    x = np.ones((3, 4), np.float32)
    on_second = second.asarray(x)
    assert on_second.device.id == 1
    assert second.owns(on_second)
    assert not first.owns(on_second)
    y, pullback = second.run(ops.gelu, on_second)
    assert y.device.id == 1
    assert pullback(on_second)[0].device.id == 1
    assert machine.device == 0
    with pytest.raises(TypeError, match="gelu: got an array of CUDA device 1; this backend is on device 0"):
        first.run(ops.gelu, on_second)
    with pytest.raises(TypeError, match="images: got an array of type"):
        VisionPermutator(small_config(SIZES), backend=first)(second.asarray(batch(small_config(SIZES))[0]))


def test_a_pullback_belongs_to_the_stream_of_its_forward_pass(machine: Machine) -> None:
    xp = get_backend("cupy")
    x = xp.asarray(np.ones((2, 3), np.float32))
    with cupy.cuda.Stream(non_blocking=True):
        y, pullback = xp.run(ops.gelu, x)
        pullback(y)
    with pytest.raises(RuntimeError, match=r"gelu: its pullback was called on .*, expected .* forward pass"):
        pullback(y)


# --- bad input ------------------------------------------------------------------------------------------------------


def test_what_is_reached_in_the_wheel_is_there() -> None:
    """`cupy.cuda.nvrtc` is an attribute and no module; importing `...libs.cublas` goes past what loads pip's cuBLAS."""
    assert cupy.cuda.nvrtc.getVersion()[0] in (12, 13)
    with pytest.raises(ModuleNotFoundError):
        import_module("cupy.cuda.nvrtc")
    assert callable(import_module("cupy_backends.cuda.libs").__getattr__)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": 3}, ValueError, "device: got 3, expected 0 to 2"),
        ({"device": 2}, RuntimeError, "device 2 has compute capability 61, the kernels need 75 or newer"),
        ({"device": "0"}, TypeError, "device: got '0', expected the index"),
        ({"precision": "fp8"}, ValueError, "precision: got 'fp8', expected one of float32, tf32, bfloat16"),
        ({"precision": "tf32", "fused": False}, ValueError, "precision: got 'tf32' with fused=False"),
        ({"fused": 1}, TypeError, "fused: got 1, expected True or False"),
        ({"memory_limit": 0}, ValueError, "memory_limit: got 0, expected a positive number"),
        ({"memory_limit": 1.5}, TypeError, "memory_limit: got 1.5, expected a number of bytes"),
        ({"stream": None}, ValueError, "has no option 'stream'"),
    ],
)
def test_bad_options(machine: Machine, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        get_backend("cupy", **options)


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ({"driver": 0}, RuntimeError, "found no NVIDIA driver on this machine"),
        (
            {"driver": 12040},
            RuntimeError,
            r"the driver supports CUDA 12.4, this CuPy was built for CUDA 13.0.*vipnp\[cuda12\]",
        ),
        ({"devices": 0}, RuntimeError, "found no CUDA device"),
        ({"nvrtc": False}, RuntimeError, r"the compiler NVRTC of CUDA 13 is missing: pip install \"vipnp\[cuda13\]\""),
        ({"headers": False}, RuntimeError, r"finds no CUDA headers.*pip install \"vipnp\[cuda13\]\""),
    ],
)
def test_what_may_be_missing_on_a_machine(
    machine: Machine, broken: dict[str, Any], error: type[Exception], message: str
) -> None:
    cupy.clear_memo()
    for name, value in broken.items():
        setattr(machine, name, value)
    with pytest.raises(error, match=message):
        get_backend("cupy")
    cupy.clear_memo()
    machine.faults.clear()


def test_no_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where pip's wheel of cuBLAS is missing: the package of libraries looks for it when first asked."""
    libs = import_module("cupy_backends.cuda.libs")
    _ = libs.cublas
    pathfinder = import_module("cuda.pathfinder")

    def find(name: str) -> None:
        raise pathfinder.DynamicLibNotFoundError(f"no {name}")

    monkeypatch.delattr(libs, "cublas")
    monkeypatch.setattr(pathfinder, "load_nvidia_dynamic_lib", find)
    with pytest.raises(ImportError, match=r"cuBLAS of CUDA 13 is missing: pip install \"cupy-cuda13x\[ctk\]\""):
        get_backend("cupy")


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r'pip install "vipnp\[cuda13\]"'):
        get_backend("cupy")


def test_no_ml_dtypes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="precision 'bfloat16' needs ml_dtypes"):
        get_backend("cupy", precision="bfloat16")


def test_arrays_of_another_library(machine: Machine) -> None:
    xp = get_backend("cupy")
    with pytest.raises(TypeError, match=r"gelu: got an array of type numpy.ndarray.*; backend 'cupy' takes"):
        xp.run(ops.gelu, np.ones((2, 3), np.float32))
    with pytest.raises(TypeError, match="gelu: got dtype complex64, expected one of"):
        xp.run(ops.gelu, xp.asarray(np.ones((2, 3), np.complex64)))
    with pytest.raises(TypeError, match="got an array of dtype int32, the CUDA kernels take float32"):
        xp.run(ops.gelu, xp.asarray(np.ones((2, 3), np.int32)))
    weights = (xp.asarray(np.ones(3, np.float64)), xp.asarray(np.ones(3, np.float64)))
    with pytest.raises(TypeError, match="weight: got dtype float64 beside activations of float32"):
        xp.run(ops.layer_norm, xp.asarray(np.ones((2, 3), np.float32)), *weights)


def test_float64_needs_full_precision(machine: Machine) -> None:
    model = VisionPermutator(small_config(SIZES), backend=get_backend("cupy", precision="tf32"), dtype="float64")
    with pytest.raises(TypeError, match="float64 needs precision='float32'"):
        model(batch(model.config)[0].astype(np.float64))


def test_too_many_channels(machine: Machine) -> None:
    xp = get_backend("cupy")
    for width, limit in ((1028, 1024), (514, 512), (513, 512)):
        x = xp.asarray(np.ones((2, width), np.float32))
        weight = xp.asarray(np.ones(width, np.float32))
        with pytest.raises(ValueError, match=rf"C: got {width} channels of float32 .* most {limit} .*fused=False"):
            xp.run(ops.layer_norm, x, weight, weight)


@pytest.mark.parametrize("room", [0.2, 0.75])
def test_out_of_memory(machine: Machine, room: float) -> None:
    """One error with the numbers; what was held is free again, and the batch it names runs where no larger one does."""
    xp = get_backend("cupy")
    config = small_config(SIZES, drop_path=0.4)
    model = VisionPermutator(config, backend=xp, seed=3)
    images, labels = batch(config, 64)
    used = xp.memory().used

    def step(size: int) -> None:
        loss, grads = model.loss_and_grads(images[:size], labels[:size], rng=np.random.default_rng(1))
        assert np.isfinite(float(xp.to_numpy(loss)))
        assert len(grads) == len(model.parameters())

    with xp.watch_memory() as peak:
        step(64)
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    limit = used + int(room * peak.added)
    pool.set_limit(size=limit)
    error_type = import_module("vipnp.backends.cupy").DeviceMemoryError
    with pytest.raises(error_type) as caught:
        step(64)
    found = re.search(
        r"asked for ([\d.]+) KiB, in use ([\d.]+) ([KM])iB, free ([\d.]+) KiB of 1.00 GiB; a batch of 64 does not fit, "
        r"one of (\d+) does",
        str(caught.value),
    )
    assert found is not None, str(caught.value)
    asked, in_use, free = (float(found[i]) for i in (1, 2, 4))
    assert asked > 0
    in_use *= 2**10 if found[3] == "M" else 1
    assert in_use + free == pytest.approx(limit / 2**10, abs=8)
    fits = int(found[5])
    assert xp.memory().used - used < 2 * images.nbytes, "the exception holds more than the inputs of the step"
    del caught
    gc.collect()
    assert xp.memory().used == used
    step(fits)
    with pytest.raises(error_type):
        step(round(fits * 1.25) + 1)


def test_out_of_memory_for_one_image(machine: Machine) -> None:
    xp = get_backend("cupy")
    model = VisionPermutator(small_config(SIZES), backend=xp, seed=3)
    images = xp.asarray(batch(model.config)[0])
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    pool.set_limit(size=pool.total_bytes())
    with pytest.raises(MemoryError, match="a batch of 4 does not fit, and neither does one image"):
        model(images)


def test_memory_limit(machine: Machine) -> None:
    xp = get_backend("cupy", memory_limit=10_000)
    with pytest.raises(MemoryError):
        xp.asarray(np.zeros(10_000, np.float32))
    assert xp.asarray(np.zeros(1_000, np.float32)).nbytes == 4_000
