"""Training step and inference on a GPU: this library's cupy backend against PyTorch eager and torch.compile.

    python benchmarks/gpu_step.py
    python benchmarks/gpu_step.py --models vip_s7 --batches 32 --precisions float32 --rounds 5

All contenders run in one process, turn by turn, each timed by CUDA events around its own work; images and labels lie on
the device. A training step is loss, gradients of all parameters and AdamW (PyTorch's fused one), without drop path.
Precisions: float32 in full; tf32, matrix products alone; bfloat16, this library's setting against autocast.

Prints medians, ratios, peak memory (what the step needs beside weights, optimiser state and data; not that of a graph,
which keeps its memory between steps and during the turns of the others) and the share of the
roofline: the time that the products need at the rate of a large product measured here, or that one read and one write
of every array between two kernels need at the rate of a large copy measured here, whichever is longer, as if the two
overlapped. Writes JSON and a PNG after every row.

Needs a GPU, PyTorch with CUDA, and `pip install "vipnp[cuda13,train]"`.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from vipnp import ViPConfig, create_model, get_backend, list_models
from vipnp.backends.cupy import PRECISIONS, CupyBackend
from vipnp.core.files import check_outputs, replaced_when_done, write_json
from vipnp.models import get_config
from vipnp.optim import AdamW
from vipnp.train import TrainingStep

RESULTS = Path(__file__).parent / "results"
TASKS = ("train", "infer")
CONTENDERS = ("vipnp", "graph", "eager", "compile")
"""`graph` is the training step of vipnp as one CUDA graph."""

OURS = ("vipnp", "graph")
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.05
WARM_UP = 3

PASSES = {"infer": 39, "train": 39 + 68}
"""Reads and writes of one activation (B, H, W, C) a block, by kernels and products of vipnp/backends/cupy/stage.py."""

ADAMW_PASSES = 7 + 2
"""Reads and writes of every weight in the optimiser's step, with the copy of the gradients into one buffer."""

COPY_BYTES = 1 << 30
PRODUCT_SIZE = 8192

TARGETS = {"float32": 0.9, "tf32": 0.65, "bfloat16": 0.6}
"""Goals for the training step: at most this share of eager's time."""

Step = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    model: str
    batch: int
    precision: str
    task: str

    @property
    def config(self) -> ViPConfig:
        return get_config(self.model)


@dataclass
class Timing:
    """Seconds of every round and peak bytes of one contender, or why there are none."""

    seconds: list[float]
    peak_bytes: int
    failed: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


def data(case: Case) -> tuple[Any, Any]:
    """The same random batch for every contender."""
    rng = np.random.default_rng(0)
    config = case.config
    images = rng.standard_normal((case.batch, config.in_channels, *config.image_size), dtype=np.float32)
    return images, rng.integers(0, config.num_classes, case.batch)


# --- contenders -----------------------------------------------------------------------------------------------------


def vipnp_step(case: Case, *, graph: bool = False) -> tuple[Step, CupyBackend]:
    xp = get_backend("cupy", precision=case.precision)
    assert isinstance(xp, CupyBackend)
    model = create_model(case.model, backend=xp)
    images, labels = (xp.asarray(array) for array in data(case))
    if case.task == "infer":
        return lambda: model(images), xp
    step = TrainingStep(model, AdamW(xp, weight_decay=WEIGHT_DECAY), graph=graph)
    return lambda: step(images, labels, lr=LEARNING_RATE), xp


def torch_step(case: Case, *, compiled: bool) -> Step:
    import torch

    from tools.torch_vip import torch_vip

    module = torch_vip(case.config).cuda()
    images, labels = (torch.from_numpy(array).cuda() for array in data(case))
    model = torch.compile(module) if compiled else module
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=case.precision == "bfloat16")
    if case.task == "infer":
        module.eval()

        def infer() -> None:
            with torch.inference_mode(), autocast:
                model(images)

        return infer
    decayed, plain = ([p for p in module.parameters() if (p.ndim >= 2) is wanted] for wanted in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        fused=True,
    )

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return train


@contextmanager
def torch_precision(precision: str) -> Iterator[None]:
    """TF32 in PyTorch's products and convolutions where asked for, and only there."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


# --- timing ---------------------------------------------------------------------------------------------------------


class CupyClock:
    """Seconds of the device between two moments of CuPy's current stream."""

    def __init__(self) -> None:
        import cupy

        self.cuda = cupy.cuda

    def __call__(self, step: Step) -> float:
        start, end = self.cuda.Event(), self.cuda.Event()
        self.cuda.Device().synchronize()
        start.record()
        step()
        end.record()
        end.synchronize()
        return float(self.cuda.get_elapsed_time(start, end)) / 1e3


class TorchClock:
    """Seconds of the device between two moments of PyTorch's current stream."""

    def __call__(self, step: Step) -> float:
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        step()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3


def measure(case: Case, contenders: tuple[str, ...], rounds: int) -> dict[str, Timing]:
    """Warm up every contender, then time them in turns; each gives back what its library caches before the next."""
    import torch

    steps: dict[str, Step] = {}
    contenders = tuple(name for name in contenders if name != "graph" or case.task == "train")
    timings = {name: Timing([], 0) for name in contenders}
    clocks: dict[str, Callable[[Step], float]] = {
        name: CupyClock() if name in OURS else TorchClock() for name in contenders
    }
    with torch_precision(case.precision):
        for name in contenders:
            try:
                steps[name], timings[name].peak_bytes = prepared(case, name)
            except (MemoryError, torch.cuda.OutOfMemoryError) as error:
                timings[name].failed = str(error).split("\n")[0]
                release()
            give_back()
        for _ in range(rounds):
            for name, step in steps.items():
                step()  # takes the memory that was given back
                timings[name].seconds.append(clocks[name](step))
                give_back()
    steps.clear()
    release()
    return timings


def prepared(case: Case, name: str) -> tuple[Step, int]:
    """The warm step of a contender, and the most bytes it adds to what lies on the device between two steps: a graph
    adds nothing, it keeps all that it needs."""
    import torch

    if name in OURS:
        step, xp = vipnp_step(case, graph=name == "graph")
        for _ in range(WARM_UP):
            step()
        with xp.watch_memory() as peak:
            step()
        return step, peak.added
    step = torch_step(case, compiled=name == "compile")
    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return step, torch.cuda.max_memory_allocated() - before


def give_back() -> None:
    """Give cached memory of both libraries back to the device."""
    import cupy
    import torch

    torch.cuda.empty_cache()
    cupy.get_default_memory_pool().free_all_blocks()


def release() -> None:
    """Let go of compiled models too."""
    import torch

    gc.collect()
    torch._dynamo.reset()
    give_back()


# --- roofline -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ceilings:
    """Measured here: bytes a second of a copy (read and write counted), operations a second of a product."""

    copy: float
    product: dict[str, float]


def ceilings() -> Ceilings:
    import cupy

    from vipnp.backends.cupy.products import operand, product

    clock = CupyClock()
    source, target = (cupy.zeros(COPY_BYTES, cupy.uint8) for _ in range(2))
    copy = 2 * COPY_BYTES / best(clock, lambda: cupy.copyto(target, source))
    rates = {}
    for precision in PRECISIONS:
        xp = get_backend("cupy", precision=precision)
        assert isinstance(xp, CupyBackend)
        a = operand(xp, cupy.ones((PRODUCT_SIZE, PRODUCT_SIZE), cupy.float32))
        seconds = best(clock, lambda xp=xp, a=a: product(xp, a, a, dtype=a.dtype.name))
        rates[precision] = 2 * PRODUCT_SIZE**3 / seconds
    return Ceilings(copy, rates)


def best(clock: Callable[[Step], float], step: Step, times: int = 8) -> float:
    return min(clock(step) for _ in range(times))


def roofline(case: Case, measured: Ceilings) -> float:
    """Seconds below which this library cannot come: its products or its traffic alone, whichever takes longer."""
    config = case.config
    operations = 2 * config.macs * case.batch * (3 if case.task == "train" else 1)
    entries = sum(shape.depth * shape.height * shape.width * shape.channels for shape in config.stages()) * case.batch
    moved = PASSES[case.task] * entries * (2 if case.precision == "bfloat16" else 4)
    if case.task == "train":
        moved += ADAMW_PASSES * 4 * create_model(case.model).num_parameters
    return max(operations / measured.product[case.precision], moved / measured.copy)


# --- report ---------------------------------------------------------------------------------------------------------


def row(case: Case, timings: dict[str, Timing], floor: float) -> dict[str, Any]:
    """One row of the results: medians, ratios turn by turn, peaks, share of the roofline."""
    mine = timings["vipnp"]
    result: dict[str, Any] = {**asdict(case), "roofline_seconds": floor}
    for name, timing in timings.items():
        result[name] = {**asdict(timing), "median": timing.median}
    for name in ("eager", "compile"):
        other = timings.get(name)
        if other is None or not (mine.seconds and other.seconds):
            continue
        ratios = [a / b for a, b in zip(mine.seconds, other.seconds, strict=True)]
        result[f"ratio_{name}"] = statistics.median(ratios)
        result[f"memory_ratio_{name}"] = mine.peak_bytes / other.peak_bytes
    result["roofline_share"] = floor / mine.median
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| model | batch | precision | task | vipnp ms | graph ms | eager ms | compile ms "
        "| /eager | /compile | memory /eager | roofline |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        times = [f"{1e3 * each[name]['median']:.2f}" if name in each else "-" for name in CONTENDERS]
        ratios = [
            f"{each[key]:.2f}" if key in each else "-" for key in ("ratio_eager", "ratio_compile", "memory_ratio_eager")
        ]
        cells = [each["model"], str(each["batch"]), each["precision"], each["task"], *times, *ratios]
        lines.append("| " + " | ".join([*cells, f"{100 * each['roofline_share']:.0f} %"]) + " |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], device: str, path: Path) -> None:
    """Time of the step as it comes and of torch.compile as shares of eager's, one panel a task."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tasks = [task for task in TASKS if any(each["task"] == task for each in rows)]
    figure, axes = plt.subplots(len(tasks), 1, figsize=(10, 3.6 * len(tasks)), squeeze=False)
    for (axis,), task in zip(axes, tasks, strict=True):
        mine = [each for each in rows if each["task"] == task]
        places = np.arange(len(mine))
        for i, name in enumerate(("vipnp", "compile")):
            shares = [
                each[name]["median"] / each["eager"]["median"] if name in each and "eager" in each else np.nan
                for each in mine
            ]
            axis.bar(
                places + 0.35 * (i - 0.5), shares, 0.35, label={"vipnp": "vipnp", "compile": "torch.compile"}[name]
            )
        floors = [each["roofline_seconds"] / each["eager"]["median"] if "eager" in each else np.nan for each in mine]
        axis.plot(places, floors, "k_", markersize=24, label="roofline of vipnp's kernels")
        axis.axhline(1, color="gray", linewidth=0.8)
        axis.set_xticks(
            places, [f"{each['model']}\nbatch {each['batch']}\n{each['precision']}" for each in mine], fontsize=7
        )
        axis.set_ylabel("time / PyTorch eager")
        axis.set_title({"train": "training step", "infer": "inference"}[task], loc="left")
        axis.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    figure.suptitle(device, fontsize=9)
    figure.tight_layout()
    with replaced_when_done(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    plt.close(figure)


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """Goals that a training step did not reach."""
    lines = []
    for each in rows:
        if each["task"] != "train":
            continue
        name = f"{each['model']} batch {each['batch']} {each['precision']}"
        for key, most in (
            ("ratio_eager", TARGETS[each["precision"]]),
            ("ratio_compile", 1.1),
            ("memory_ratio_eager", 0.7),
        ):
            if each.get(key, 0) > most:
                lines.append(f"{name}: {key} is {each[key]:.2f}, the goal is {most}")
    return lines


def environment() -> dict[str, Any]:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "device": properties["name"].decode(),
        "compute_capability": cupy.cuda.Device().compute_capability,
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("vipnp", "torch", "numpy", "cupy-cuda13x", "cupy-cuda12x")},
    }


def version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list_models(), default=["vip_s7", "vip_l7"])
    parser.add_argument("--batches", nargs="+", type=int, default=[32, 128])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="vipnp is always in"
    )
    parser.add_argument("--rounds", type=int, default=20, help="timed steps of every contender (20)")
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu_step.json")
    parser.add_argument("--plot", type=Path, default=RESULTS / "gpu_step.png")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = command_line().parse_args(arguments)
    try:
        get_backend("cupy")
        import torch
    except (ImportError, RuntimeError) as error:
        print(f"gpu_step: error: {error}", file=sys.stderr)
        return 2
    if not torch.cuda.is_available():
        print("gpu_step: error: this PyTorch finds no CUDA device", file=sys.stderr)
        return 2
    contenders = tuple(name for name in CONTENDERS if name == "vipnp" or name in options.contenders)
    for path in (options.json, options.plot):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        check_outputs({"--json": options.json, "--plot": options.plot})
    except ValueError as error:
        print(f"gpu_step: error: {error}", file=sys.stderr)
        return 2
    measured = ceilings()
    where = environment()
    rows = []
    for model in options.models:
        for batch in options.batches:
            for precision in options.precisions:
                for task in options.tasks:
                    case = Case(model, batch, precision, task)
                    timings = measure(case, contenders, options.rounds)
                    rows.append(row(case, timings, roofline(case, measured)))
                    print(table(rows[-1:]).split("\n")[-1], flush=True)
                    result = {
                        "environment": where,
                        "ceilings": asdict(measured),
                        "rounds": options.rounds,
                        "rows": rows,
                    }
                    write_json(options.json, result)
                    plot(rows, f"{where['device']}, {where['date']}", options.plot)
    print(
        f"\n{where['device']}: copy {measured.copy / 1e12:.2f} TB/s, products in TFLOP/s "
        + ", ".join(f"{name} {rate / 1e12:.0f}" for name, rate in measured.product.items())
    )
    print(table(rows))
    for line in missed(rows):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
