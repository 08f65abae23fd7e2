"""A training step as a CUDA graph: the bits of the step as it comes, and nothing but one start of the host."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import cupy
import numpy as np
import pytest

from tests.backends.cupy.training import BATCH, SIZES, batch
from tests.fake_device.entries import HANDLES
from tests.fake_device.machine import Machine
from vipnp import VisionPermutator
from vipnp.audit.cases import small_config
from vipnp.backends import get_backend
from vipnp.backends.cupy import graph as cuda_graph
from vipnp.backends.cupy import products
from vipnp.backends.cupy.graph import WORKSPACE_BYTES
from vipnp.backends.cupy.memory import DeviceMemoryError
from vipnp.optim import SGD, AdamW
from vipnp.train import TrainingStep

pytestmark = pytest.mark.kernels


class Run:
    """A tiny model in training by `TrainingStep`."""

    def __init__(
        self,
        graph: bool,
        *,
        drop_path: float = 0.4,
        max_norm: float | None = 1.0,
        smoothing: float = 0.1,
        **options: Any,
    ) -> None:
        self.xp = get_backend("cupy", **options)
        self.model = VisionPermutator(small_config(SIZES, drop_path=drop_path), backend=self.xp, seed=3)
        self.optimizer = AdamW(self.xp)
        self.step = TrainingStep(self.model, self.optimizer, label_smoothing=smoothing, max_norm=max_norm, graph=graph)
        self.rng = np.random.default_rng(1)
        self.losses: list[Any] = []

    def steps(self, count: int, size: int = BATCH, *, soft: bool = False, first: int = 0) -> None:
        for i in range(first, first + count):
            images, labels = batch(self.model.config, size)
            targets = np.full((size, 4), 0.25, np.float32) if soft else np.roll(labels, i)
            self.losses.append(self.step(images + np.float32(i), targets, lr=1e-3 * (1 + i % 3), rng=self.rng))

    def result(self) -> dict[str, Any]:
        values = {f"loss {i}": self.xp.to_numpy(loss) for i, loss in enumerate(self.losses)}
        state = self.optimizer.state_dict()
        for part in ("exp_avg", "exp_avg_sq"):
            values |= {f"{part} of {name}": value for name, value in state[part].items()}
        return values | {"step": np.array(state["step"])} | self.model.state_dict()


def assert_same_bits(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("order", ["eager", "lazy", 1])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_same_bits_as_the_step_as_it_comes(machine: Machine, precision: str, order: Any) -> None:
    machine.timeline.order = order
    results = []
    for graph in (False, True):
        run = Run(graph, precision=precision)
        run.steps(5)
        assert machine.waits == []
        results.append(run.result())
        machine.forget()
    assert_same_bits(*results)


def test_a_started_graph_is_all_that_a_step_asks_for(machine: Machine) -> None:
    run = Run(True)
    run.steps(2)
    images, labels = (run.xp.asarray(array) for array in batch(run.model.config))
    for _ in range(2):
        machine.forget()
        run.step(images, labels, lr=1e-3, rng=run.rng)
        assert machine.graph_launches == 1
        assert machine.uploads == 1, "the draws and the learning rate"
        assert machine.own_launches == []
        assert machine.products == []
        assert machine.waits == []


def test_off_it_starts_no_graph(machine: Machine) -> None:
    run = Run(False)
    run.steps(3)
    assert machine.graph_launches == 0
    assert machine.own_launches


@pytest.mark.parametrize("options", [{"drop_path": 0.0}, {"max_norm": None}, {"device": 1}])
def test_without_draws_without_clipping_and_on_another_device(machine: Machine, options: dict[str, Any]) -> None:
    results = []
    for graph in (False, True):
        run = Run(graph, **options)
        run.steps(4)
        results.append(run.result())
    assert machine.graph_launches == 3
    assert_same_bits(*results)


def test_another_batch_runs_as_it_comes(machine: Machine) -> None:
    """The last of an epoch, and soft targets; the graph goes on from what they leave."""
    results = []
    for graph in (False, True):
        run = Run(graph, smoothing=0.0)
        run.steps(3)
        run.steps(1, BATCH - 1, first=3)
        run.steps(2, first=4)
        run.steps(1, soft=True, first=6)
        run.steps(1, first=7)
        results.append(run.result())
    assert machine.graph_launches == 5
    assert_same_bits(*results)


def test_weights_and_state_from_elsewhere(machine: Machine) -> None:
    """Put in between two steps, as a resumed run does."""
    results = []
    for graph in (False, True):
        run = Run(graph)
        run.steps(2)
        weights, state = run.model.state_dict(), run.optimizer.state_dict()
        run.steps(2)
        run.model.load_state_dict(weights)
        run.optimizer.load_state_dict(state)
        run.steps(2)
        run.optimizer.load_state_dict({"step": 0, "exp_avg": {}, "exp_avg_sq": {}})
        run.steps(2)
        results.append(run.result())
    assert_same_bits(*results)


def test_other_arrays_do_not_come_into_the_memory_of_a_graph(machine: Machine) -> None:
    xp = get_backend("cupy")
    run = Run(True)
    run.steps(2)
    held = [xp.asarray(np.ones(size, np.float32)) for size in (1, 7, 33, 200, 1000) for _ in range(20)]
    run.steps(2, first=2)
    for array in held:
        assert (xp.to_numpy(array) == 1).all()
    other = Run(False)
    other.steps(4)
    assert_same_bits(run.result(), other.result())


def test_a_step_on_a_stream(machine: Machine) -> None:
    """What comes before and after it on that stream is in its order."""
    machine.timeline.order = "lazy"
    results = []
    for graph in (False, True):
        run = Run(graph)
        run.steps(2)
        run.xp.synchronize()
        with cupy.cuda.Stream(non_blocking=True) as stream:
            images, labels = (run.xp.asarray(array) for array in batch(run.model.config))
            images *= 2
            loss = run.step(images, labels, lr=1e-3, rng=run.rng)
            images *= 0
            run.losses.append(loss * 2)
            results.append(run.result())
            stream.synchronize()
    assert_same_bits(*results)


def test_memory_comes_back(machine: Machine) -> None:
    xp = get_backend("cupy")
    run = Run(True)
    run.steps(1)
    del run
    gc.collect()
    before, handles = xp.memory().used, set(HANDLES)
    run = Run(True)
    run.steps(3)
    assert xp.memory().used > before
    del run
    gc.collect()
    assert xp.memory().used == before
    assert set(HANDLES) == handles
    assert machine.graphs == {}


@pytest.mark.parametrize("room", [1 << 20, WORKSPACE_BYTES + 100_000], ids=["for its buffers", "to record"])
def test_no_memory_for_a_graph(machine: Machine, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """One error, and nothing has changed; with room for it the run goes on."""
    run = Run(True)
    run.steps(1)
    before = run.result()
    run.xp.release_memory()
    with monkeypatch.context() as small:
        small.setattr(machine.memory, "capacity", machine.memory.used[0] + room)
        with pytest.raises(DeviceMemoryError, match="out of memory on CUDA device 0"):
            run.steps(1, first=1)
    assert_same_bits(run.result(), before)
    run.rng = np.random.default_rng(2)
    run.steps(2, first=1)
    assert machine.graph_launches == 2


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_a_graph_is_not_for(machine: Machine) -> None:
    for xp in (get_backend("numpy"), get_backend("cupy", fused=False)):
        model = VisionPermutator(small_config(SIZES), backend=xp)
        with pytest.raises(ValueError, match=r"graph: got a model on .*, expected get_backend\('cupy'\)"):
            TrainingStep(model, AdamW(xp), graph=True)
        TrainingStep(model, AdamW(xp))
    xp = get_backend("cupy")
    with pytest.raises(ValueError, match=r"graph: got a model with dropout=0\.2, expected none"):
        TrainingStep(VisionPermutator(small_config(SIZES, dropout=0.2), backend=xp), AdamW(xp), graph=True)
    model = VisionPermutator(small_config(SIZES), backend=xp)
    with pytest.raises(TypeError, match="graph: got the optimizer SGD, expected AdamW"):
        TrainingStep(model, SGD(xp), graph=True)
    with pytest.raises(TypeError, match="graph: got 1, expected True or False"):
        TrainingStep(model, AdamW(xp), graph=1)  # type: ignore[arg-type]


def test_bad_input_is_refused_as_without_a_graph(machine: Machine) -> None:
    run = Run(True)
    run.steps(2)
    images, labels = batch(run.model.config)
    before = run.result()
    for spoilt in ((images[:, :1], labels), (images, labels + 4), (images * np.nan, labels)):
        with pytest.raises(ValueError, match=r"images: |targets: "):
            run.step(*spoilt, lr=1e-3, rng=run.rng)
    with pytest.raises(ValueError, match="lr: got -1"):
        run.step(images, labels, lr=-1.0, rng=run.rng)
    assert_same_bits(run.result(), before)


def test_cupy_does_not_let_its_own_products_be_recorded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why there is a handle of our own; when a CuPy allows it, this fails and that can go."""
    run = Run(True)
    run.steps(1)
    monkeypatch.setattr(cuda_graph, "recorded_by", lambda blas: products.recorded_by(None))  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="stream capture"):
        run.steps(1)
