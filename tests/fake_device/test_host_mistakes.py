"""Mistakes planted in the Python code of the cupy backend: each must be caught on the fake device.

A plant is one change of text in one module. Its check passes on the modules as they are and must fail on the changed
one, because the fake device reports a fault or because of what a check of a training step asserts. Each runs in a
process of its own, which imports the backend anew.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

import cupy
import numpy as np
import pytest

import vipnp
from tests.backends.cupy.training import SIZES, Training
from tests.fake_device.machine import COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F, MACHINE, Machine
from tests.fake_device.ranks import called, differing, left_alone, trained
from vipnp import VisionPermutator, ops
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend
from vipnp.train import TrainingStep

pytestmark = [pytest.mark.kernels, pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")]

TIMEOUT = 120
STEPS = 3
STEP_UPLOADS = 1
"""The draws of drop path."""

FOLDER = Path(vipnp.__file__).parent / "backends" / "cupy"


# --- checks ---------------------------------------------------------------------------------------------------------


@cache
def on_host() -> tuple[list[float], list[dict[str, Any]]]:
    """Losses and gradients of three steps of the NumPy backend."""
    training = Training(get_backend("numpy"), small_config(SIZES, drop_path=0.4))
    steps = [training.step() for _ in range(STEPS)]
    return [float(loss) for loss, _ in steps], [grads for _, grads in steps]


def check_step(options: dict[str, Any], compute: int, tolerance: float) -> None:
    """Training steps, begun as late as the device may, against NumPy's; what they enqueue, and no wait."""
    MACHINE.timeline.order = "lazy"
    training = Training(get_backend("cupy", **options), small_config(SIZES, drop_path=0.4))
    steps = []
    for _ in range(STEPS):
        MACHINE.forget()
        steps.append(training.step())
        assert MACHINE.waits == []
        assert {kind for kind, _ in MACHINE.products} == {compute}
    uploads = MACHINE.uploads
    losses, gradients = on_host()
    np.testing.assert_allclose([float(training.xp.to_numpy(loss)) for loss, _ in steps], losses, rtol=tolerance)
    for (_, grads), expected in zip(steps, gradients, strict=True):
        for name, gradient in grads.items():
            error = np.abs(training.xp.to_numpy(gradient) - expected[name]).max()
            assert error <= 20 * tolerance * np.abs(expected[name]).max() + tolerance, name
    assert uploads == STEP_UPLOADS


def in_float32() -> None:
    check_step({}, COMPUTE_32F, 5e-6)


def in_tf32() -> None:
    check_step({"precision": "tf32"}, COMPUTE_32F_FAST_TF32, 5e-3)


def in_bfloat16() -> None:
    check_step({"precision": "bfloat16"}, COMPUTE_32F, 2e-2)


def on_the_second_device() -> None:
    check_step({"device": 1}, COMPUTE_32F, 5e-6)


def by_graph() -> None:
    """Steps of a graph on a stream, begun as late as the device may, against those that run as they come."""
    MACHINE.timeline.order = "lazy"
    results = []
    for graph in (False, True):
        with cupy.cuda.Stream(non_blocking=True):
            training = Training(get_backend("cupy"), small_config(SIZES, drop_path=0.4))
            step = TrainingStep(training.model, training.optimizer, max_norm=1.0, graph=graph)
            taken = []
            for i in range(STEPS):
                loss = step(training.images * (i + 1), training.labels, lr=1e-2 / (i + 1), rng=training.rng)
                taken.append(loss * 2)
                held = [training.xp.asarray(np.zeros(64 * size, np.float32)) for size in range(1, 40)]
            assert MACHINE.waits == []
            results.append([float(training.xp.to_numpy(loss)) for loss in taken])
            results[-1] += [float(value.astype(np.float64).sum()) for value in training.model.state_dict().values()]
            assert len(held) == 39
        MACHINE.forget()
    assert results[0] == results[1], results


def on_both_devices() -> None:
    in_float32()
    on_the_second_device()


def on_another_stream() -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        in_float32()


def in_float64() -> None:
    MACHINE.forget()
    models = [VisionPermutator(small_config(SIZES), backend=xp, seed=3, dtype="float64") for xp in ("cupy", "numpy")]
    images = np.random.default_rng(0).normal(size=(2, models[0].config.in_channels, *models[0].config.image_size))
    found, expected = (model.backend.to_numpy(model(images)) for model in models)
    assert {kind for kind, _ in MACHINE.products} == {COMPUTE_64F}
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@cache
def of_one_rank(precision: str) -> dict[str, Any]:
    return trained(1, precision=precision)[0]


def on_two_ranks(precision: str = "float32", reduce: str = "exact") -> None:
    """The bits of one rank, sent as late as the devices may; the sum of two has one order, and so has NCCL's own."""
    expected = of_one_rank(precision)
    MACHINE.timeline.order = "lazy"
    for weights in trained(2, precision=precision, reduce=reduce):
        assert differing(expected, weights) == []


def on_two_ranks_in_float64() -> None:
    on_two_ranks("float64")


def by_allreduce() -> None:
    on_two_ranks(reduce="fast")


def with_a_lost_rank() -> None:
    assert str(left_alone()).startswith("NCCL: ")
    assert "abort" in called()


def pullbacks_on_streams() -> None:
    """A pullback on the stream of its forward pass runs, on another one it is refused."""
    xp = get_backend("cupy")
    x = xp.asarray(np.ones((2, 3), np.float32))
    with cupy.cuda.Stream(non_blocking=True):
        y, pullback = xp.run(ops.gelu, x)
        pullback(y)
    try:
        pullback(y)
    except RuntimeError:
        return
    raise AssertionError("a pullback ran on another stream than its forward pass")


Check = Callable[[], None]


# --- mistakes -------------------------------------------------------------------------------------------------------

DEVICE, ORDER, FREED, LEADING, COMPUTE, SWAPPED, SIZE, WAIT, RANKS = (
    "wrong device",
    "missing stream order",
    "use after free",
    "wrong leading dimension",
    "wrong compute type",
    "swapped arguments",
    "wrong size",
    "a wait or an upload",
    "between ranks",
)


class Plant(NamedTuple):
    """In `module`, after the first `after`, the first `old` becomes `new`."""

    kind: str
    module: str
    after: str
    old: str
    new: str
    check: Check = in_float32


ASIDE = "with cupy.cuda.Stream(non_blocking=True):"
COPIED = (
    "(lambda at: cupy.ndarray({0}.shape, {0}.dtype, "
    "cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(at, 1, None, 0), 0)))({0}.copy().data.ptr)"
)
"""An array at the address of a copy that is gone."""

PLANTS = [
    Plant(DEVICE, "backend", "def asarray", "with self.device:", "if True:", on_the_second_device),
    Plant(DEVICE, "backend", "def _outermost", "with self.device, self", "with self", on_the_second_device),
    Plant(DEVICE, "backend", "def on_this_device", "with self.device:", "if True:", on_the_second_device),
    Plant(DEVICE, "backend", "super().__init__(", "Device(device_id)", "Device(0)", on_the_second_device),
    Plant(ORDER, "kernels", "def start", "        driver.", f"        {ASIDE}\n         driver."),
    Plant(ORDER, "products", "def product", "    libs.cublas.gemmEx(", f"    {ASIDE}\n         libs.cublas.gemmEx("),
    Plant(ORDER, "common", "def sum_rows", "    launch(", f"    {ASIDE}\n     launch("),
    Plant(
        ORDER,
        "gelu",
        "def gelu_forward",
        "    launch_columns(",
        "    with cupy.cuda.Stream.null:\n     launch_columns(",
        on_another_stream,
    ),
    Plant(ORDER, "arrays", "def convert", "    launch(", f"    {ASIDE}\n     launch(", in_bfloat16),
    Plant(
        ORDER, "backend", "def outermost_pullback", "if self._stream() != stream:", "if False:", pullbacks_on_streams
    ),
    Plant(FREED, "products", "arguments =", "b.data.ptr", "b.copy().data.ptr"),
    Plant(FREED, "products", "arguments =", "a.data.ptr", "a.copy().data.ptr"),
    Plant(FREED, "common", 'launch("sum_rows"', "partial=partial", f"partial={COPIED.format('partial')}"),
    Plant(FREED, "kernels", "def start", "value.data.ptr", "(value + 0).data.ptr"),
    Plant(LEADING, "products", "arguments =", "b.shape[1]", "b.shape[0]"),
    Plant(LEADING, "products", "arguments =", "a.shape[1]", "a.shape[0]"),
    Plant(LEADING, "products", "arguments =", "columns,\n        compute", "rows,\n        compute"),
    Plant(COMPUTE, "products", "compute =", 'name == "float32" and xp.precision == "tf32"', 'name == "float32"'),
    Plant(COMPUTE, "products", "compute =", "libs.cublas.CUBLAS_COMPUTE_32F_FAST_TF32", "compute", in_tf32),
    Plant(COMPUTE, "products", "compute =", "CUBLAS_COMPUTE_64F", "CUBLAS_COMPUTE_32F", in_float64),
    Plant(COMPUTE, "products", "_ADDRESSES[", '"float64" if name == "float64" else "float32"', '"float32"', in_float64),
    Plant(COMPUTE, "products", '"bfloat16"', "CUDA_R_16BF", "CUDA_R_16F", in_bfloat16),
    Plant(COMPUTE, "products", '"float32"', "CUDA_R_32F", "CUDA_R_16F"),
    Plant(SWAPPED, "products", "arguments =", "columns,\n        rows", "rows,\n        columns"),
    Plant(SWAPPED, "products", "arguments =", "_operation(transpose_b)", "_operation(transpose_a)"),
    Plant(SWAPPED, "products", "arguments =", "        one,", "        zero,"),
    Plant(SWAPPED, "products", "CUDA_TYPES[name],\n        a.shape[1]", "        zero,", "        one,"),
    Plant(
        SWAPPED,
        "layer_norm",
        '"norm_forward"',
        "weight=weight,\n        bias=bias,",
        "weight=bias,\n        bias=weight,",
    ),
    Plant(
        SWAPPED,
        "layer_norm",
        '"norm_backward"',
        "mean=saved.mean,\n        rstd=saved.rstd",
        "mean=saved.rstd,\n        rstd=saved.mean",
    ),
    Plant(SWAPPED, "gelu", '"gelu_backward"', "dy=dy,\n        u=u,", "dy=u,\n        u=dy,"),
    Plant(SWAPPED, "common", "def launch_columns", "M=rows, K=width", "M=width, K=rows"),
    Plant(SWAPPED, "permutations", "sizes =", '"I": first, "M": middle', '"I": middle, "M": first'),
    Plant(
        SWAPPED,
        "cross_entropy",
        "def _cross_entropy",
        '"smoothing": label_smoothing,\n        "share": label_smoothing / K',
        '"smoothing": label_smoothing / K,\n        "share": label_smoothing',
    ),
    Plant(SWAPPED, "optimizer", "def adamw_cuda", "(p, g, m, v)", "(p, g, v, m)"),
    Plant(
        SWAPPED,
        "optimizer",
        '"adamw_update"',
        "beta1=beta1,\n        rest1=1 - beta1",
        "beta1=1 - beta1,\n        rest1=beta1",
    ),
    Plant(SIZE, "common", "class RowSums", "self._ends[-1])", "self._ends[-1] - 1)", in_float32),
    Plant(
        SIZE,
        "split_attention",
        "def split_attention_forward",
        "empty((grid.rows, grid.C)",
        "empty((grid.rows - 1, grid.C)",
    ),
    Plant(SIZE, "common", "def sum_rows", "P=rows,", "P=rows + 1,"),
    Plant(SIZE, "optimizer", '"adamw_update"', "size=p.size,\n", "size=p.size - 1,\n"),
    Plant(SIZE, "optimizer", "def joined", "flat[done :", "flat["),
    Plant(FREED, "optimizer", "def joined", "[array.data.ptr for", "[(array + 0).data.ptr for"),
    Plant(SIZE, "optimizer", "def named_parts", "* dtype.itemsize", ""),
    Plant(SIZE, "kernels", "real =", '("d" if', '("f" if', in_float64),
    Plant(DEVICE, "kernels", "    key =", "runtime.getDevice()", "0", on_both_devices),
    Plant(SIZE, "products", "def product", "empty((rows, columns)", "empty((rows, columns - 1)"),
    Plant(WAIT, "common", "def sum_rows", "    launch(", "    float(partial.sum()); launch("),
    Plant(WAIT, "optimizer", "def adamw_cuda", "    t = state.step + 1", "    t = state.step + 1; xp.synchronize()"),
    Plant(WAIT, "optimizer", "def adamw_cuda", "    t = state.step + 1", "    t = state.step + 1; xp.asarray([lr])"),
    Plant(ORDER, "graph", "def __call__", "self._stream.wait_event(outside.record())", "outside.record()", by_graph),
    Plant(ORDER, "graph", "def __call__", "outside.wait_event(self._stream.record())", "pass", by_graph),
    Plant(FREED, "graph", "def record", "cupy.cuda.using_allocator(self._pool.malloc)", "self._xp.device", by_graph),
    Plant(
        SWAPPED,
        "graph",
        "def record",
        "self._numbers[:NUMBERS]",
        "step_factors(2, 1e-2, self._betas, self._weight_decay)",
        by_graph,
    ),
    Plant(SWAPPED, "graph", "def __call__", "t, lr,", "2, lr,", by_graph),
    Plant(SIZE, "graph", "def __init__", "NUMBERS + ", "", by_graph),
    Plant(WAIT, "graph", "def record", "begin_capture()", "begin_capture(0)", by_graph),
    Plant(WAIT, "graph", "def record", "flat = ", "self._xp.synchronize(); flat = ", by_graph),
    Plant(ORDER, "recordable_blas", "def __init__", "handle, stream.ptr", "handle, 0", by_graph),
    Plant(
        FREED,
        "recordable_blas",
        "def __init__",
        '_call("cublasSetWorkspace_v2"',
        'False and _call("cublasSetWorkspace_v2"',
        by_graph,
    ),
]


START, END = "nccl.groupStart()", "nccl.groupEnd()"
SENT = "partner, self.stream.ptr)"

PLANTS += [
    Plant(
        ORDER,
        "nccl",
        "def post",
        "self.stream.wait_event(cupy.cuda.get_current_stream().record())",
        "pass",
        on_two_ranks,
    ),
    Plant(ORDER, "nccl", "def post", "self._wait(done)", "pass", on_two_ranks),
    Plant(ORDER, "nccl", "communicator.send", SENT, "partner, 0)", on_two_ranks),
    Plant(ORDER, "nccl", "communicator.recv", SENT, "partner, 0)", on_two_ranks),
    Plant(SIZE, "nccl", "def _tree_sum", "(flat.size,", "(flat.size - 1,", on_two_ranks),
    Plant(SIZE, "nccl", "communicator.recv", "*what", "what[0] - 1, what[1]", on_two_ranks),
    Plant(SIZE, "nccl", "def _fast_sum", "flat.size", "flat.size - 1", by_allreduce),
    Plant(COMPUTE, "nccl", '"float32"', "NCCL_FLOAT32", "NCCL_FLOAT64", on_two_ranks),
    Plant(COMPUTE, "nccl", '"float64"', "NCCL_FLOAT64", "NCCL_FLOAT32", on_two_ranks_in_float64),
    Plant(RANKS, "nccl", "def _tree_sum", END, "pass", on_two_ranks),
    Plant(RANKS, "nccl", "def _tree_sum", START, "pass", on_two_ranks),
    Plant(RANKS, "nccl", "def _tree_sum", "cupy.add(flat, other, out=flat)", "pass", on_two_ranks),
    Plant(RANKS, "nccl", "def _fast_sum", "nccl.NCCL_SUM", "nccl.NCCL_MAX", by_allreduce),
    Plant(RANKS, "nccl", "def _wait", "self.communicator.check_async_error()", "pass", with_a_lost_rank),
    Plant(RANKS, "nccl", "def _wait", "self.communicator.abort()", "pass", with_a_lost_rank),
    Plant(RANKS, "stage", "def posting", "    add(saved.params, found[-1])", "    pass", on_two_ranks),
]


def planted(plant: Plant) -> str:
    """The text of the module with the mistake in it."""
    text = (FOLDER / f"{plant.module}.py").read_text()
    before, after, rest = text.partition(plant.after)
    assert after, f"{plant.module}: {plant.after!r} is not there"
    assert plant.old in rest, f"{plant.module}: {plant.old!r} is not there after {plant.after!r}"
    return before + after + rest.replace(plant.old, plant.new, 1)


@cache
def passes(check: Check) -> None:
    """It does on the modules as they are, and without a fault."""
    check()
    MACHINE.timeline.run_all()
    assert MACHINE.faults == []


def try_check(connection: Any, plant: Plant, text: str) -> None:
    """In a child process: the check on the backend with the mistake; what it says."""
    changed = f"vipnp.backends.cupy.{plant.module}"
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> Any:
        return compile(text, self.path, "exec") if fullname == changed else original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    for name in [name for name in sys.modules if name.startswith("vipnp.backends.cupy")]:
        del sys.modules[name]
    import_module(changed)
    MACHINE.reset()
    MACHINE.forget()
    try:
        plant.check()
        MACHINE.timeline.run_all()
    except Exception as error:
        said = MACHINE.faults[0].reason if MACHINE.faults else f"{type(error).__name__}: {error}"
        connection.send(("caught", said))
        return
    connection.send(("caught", MACHINE.faults[0].reason) if MACHINE.faults else ("survived", ""))


@pytest.mark.parametrize("plant", PLANTS, ids=[f"{i}-{plant.kind}" for i, plant in enumerate(PLANTS)])
def test_planted_mistake_is_caught(machine: Machine, plant: Plant) -> None:
    text = planted(plant)
    passes(plant.check)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=try_check, args=(sender, plant, text))
    child.start()
    sender.close()
    try:
        verdict, reason = receiver.recv() if receiver.poll(TIMEOUT) else ("survived", "did not end")
    except EOFError:
        verdict, reason = "survived", "the process crashed"
    finally:
        child.join(1)
        if child.is_alive():
            child.kill()
    print(f"{plant.kind}, {plant.module}: {reason[:200]}")
    assert verdict == "caught", f"{plant}: {reason}"


def test_every_kind_of_mistake_is_planted() -> None:
    kinds = Counter(plant.kind for plant in PLANTS)
    assert min(kinds.values()) >= 3
    assert len(PLANTS) >= 25
