"""How the cost grows with batch, depth and resolution: fitted exponents beside those of the multiplications.

python benchmarks/growth.py                                          vip_s7 on the numba backend, about two minutes
python benchmarks/growth.py --json growth.json --png growth.png      every figure, and a picture

Cost is the processor time of one thread, the least of the rounds, so that other work on the machine counts little. The
exponent is the slope of the least-squares line through the logarithms. Beside it stands the same slope of the
multiplications that the model counts: linear in images, and in blocks but for what stands outside of them. In the
mixing over height and width alone, H*W*(H+W) times C*S multiplications, it is 3 in the side; in the rest of the network
it is 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.cpu.report import machine
from benchmarks.cpu.work import LEARNING_RATE, WEIGHT_DECAY, Step, Work, images_and_labels
from vipnp import VisionPermutator, get_backend
from vipnp.core import files
from vipnp.ops import linear_no_bias
from vipnp.optim import AdamW

MODEL = "vip_s7"
BATCHES = (1, 2, 4, 8)
DEPTHS = (1, 2, 4, 8)
SIZES = (112, 168, 224, 280, 336)
GRIDS = (32, 48, 64, 96, 128)
SEGMENTS, CHANNELS = 32, 6
"""Of the mixing alone: those of the first stage of vip_s7, N and S."""


@dataclass(frozen=True)
class Growth:
    """Seconds of processor time and multiplications at some values of a quantity, in their order."""

    what: str
    quantity: str
    values: list[int]
    seconds: list[float]
    multiplications: list[int]

    @property
    def measured(self) -> float:
        """The fitted exponent."""
        return exponent(self.values, self.seconds)

    @property
    def theory(self) -> float:
        """That of the multiplications."""
        return exponent(self.values, self.multiplications)


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of the least-squares line through log costs over log values."""
    return float(np.polyfit(np.log(values), np.log(np.asarray(costs, float)), 1)[0])


def cheapest(steps: Sequence[Step], rounds: int) -> list[float]:
    """The least processor time of every step, in turns, after one that does not count."""
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, spent in zip(steps, times, strict=True):
            began = time.thread_time()
            step()
            spent.append(time.thread_time() - began)
    return [min(spent) for spent in times]


def step_of(work: Work) -> Step:
    """The step of a work on the numba backend, in one thread."""
    config, xp = work.config(), get_backend("numba", shards=1)
    model = VisionPermutator(config, backend=xp)
    images, labels = images_and_labels(work, config)
    if work.task == "infer":
        return lambda: model(images)
    optimizer: Any = AdamW(xp, weight_decay=WEIGHT_DECAY)

    def train() -> None:
        _, grads = model.loss_and_grads(images, labels)
        model.set_parameters(optimizer.update(model.parameters(), grads, lr=LEARNING_RATE))

    return train


def mixing(side: int) -> Step:
    """The products over height and over width of one image of side x side tokens."""
    xp: Any = get_backend("numba", shards=1, products="openblas").inference()
    rng = np.random.default_rng(0)
    size = side * CHANNELS
    rows, weight = (rng.standard_normal((n, size), dtype=np.float32) for n in (SEGMENTS * side, size))

    def step() -> None:
        for _ in ("height", "width"):
            xp.run(linear_no_bias, rows, weight)

    return step


def growths(
    rounds: int,
    *,
    model: str = MODEL,
    batches: Sequence[int] = BATCHES,
    depths: Sequence[int] = DEPTHS,
    sizes: Sequence[int] = SIZES,
    grids: Sequence[int] = GRIDS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Growth]:
    """Everything that is measured; `tell` hears what comes next."""
    found = []
    for task in ("infer", "train"):
        for quantity, values, works in (
            ("images", batches, [Work(model, batch, task) for batch in batches]),
            ("blocks a stage", depths, [Work(model, 1, task, depth=depth) for depth in depths]),
            ("side in pixels", sizes, [Work(model, 1, task, image_size=size) for size in sizes]),
        ):
            tell(f"{task}: {quantity}")
            passes = 1 if task == "infer" else 3
            multiplications = [passes * work.batch * work.config().macs for work in works]
            seconds = cheapest([step_of(work) for work in works], rounds)
            found.append(Growth(f"{model} {task}", quantity, list(values), seconds, multiplications))
    tell("mixing: side in tokens")
    products = [2 * SEGMENTS * CHANNELS**2 * side**3 for side in grids]
    seconds = cheapest([mixing(side) for side in grids], 3 * rounds)
    return [*found, Growth("mixing alone", "side in tokens", list(grids), seconds, products)]


def table(found: Sequence[Growth]) -> str:
    """One line a growth, as Markdown."""
    lines = ["| | cost over | milliseconds | exponent | of the multiplications |", "|---|---|---|---|---|"]
    for growth in found:
        costs = ", ".join(f"{1e3 * seconds:.{0 if seconds > 0.1 else 1}f}" for seconds in growth.seconds)
        values = ", ".join(map(str, growth.values))
        lines.append(
            f"| {growth.what} | {growth.quantity}: {values} | {costs} | {growth.measured:.2f} | {growth.theory:.2f} |"
        )
    return "\n".join(lines)


def draw(path: Path, found: Sequence[Growth]) -> None:
    """Seconds over each quantity, both logarithmic: the points, and theory's slope through the last of them; PNG."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    quantities = list(dict.fromkeys(growth.quantity for growth in found))
    figure = Figure(figsize=(3.6 * len(quantities), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, quantity in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True):
        shown = [growth for growth in found if growth.quantity == quantity]
        for growth, color in zip(shown, ("tab:blue", "tab:orange"), strict=False):
            name = f"{growth.what}: {growth.measured:.2f}, theory {growth.theory:.2f}"
            axes.plot(growth.values, growth.seconds, "o", color=color, label=name)
            scale = growth.seconds[-1] / growth.multiplications[-1]
            axes.plot(growth.values, [scale * count for count in growth.multiplications], color=color, linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(shown[0].values, [str(value) for value in shown[0].values])
        axes.minorticks_off()
        axes.set_xlabel(quantity)
        axes.set_ylabel("processor time, s")
        axes.legend(fontsize=8, title="fitted exponent", title_fontsize=8)
        axes.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110, format="png")
    with files.replaced_when_done(path) as temporary:
        temporary.write_bytes(picture.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, write what was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3, help="turns, default: 3")
    options.add_argument("--json", type=Path, metavar="FILE")
    options.add_argument("--png", type=Path, metavar="FILE")
    given = options.parse_args(arguments)
    if given.rounds < 1:
        options.error(f"--rounds: got {given.rounds}, expected a positive number")
    try:
        files.check_outputs({"--json": given.json, "--png": given.png})
    except ValueError as error:
        options.error(str(error))
    found = growths(given.rounds, tell=lambda line: print(line, file=sys.stderr, flush=True))
    if given.json:
        content = [{**asdict(growth), "measured": growth.measured, "theory": growth.theory} for growth in found]
        files.write_json(given.json, {"machine": machine(1), "growths": content})
    if given.png:
        draw(given.png, found)
    print(table(found))


if __name__ == "__main__":
    main()
