"""`python -m tests.cuda_emulator.sass`: what the compiler made of the kernels, and what a step may take on an H100.

Compiles every instantiation by NVRTC for sm_90, disassembles it (`pip install nvidia-cuda-nvdisasm`) and prints as
Markdown, for every instantiation that a training step of vip_s7 at batch 32 launches: instructions an element,
registers, shared memory, occupancy, bytes, and the time that these suggest. The launches, with their grids and arrays,
are those of the backend's own code, which runs over libraries that do nothing. Times are estimates, no measurements;
`Machine` holds what they assume.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.cuda_emulator.nvrtc import Usage, compiled
from tools.arguments import takes_none
from vipnp.backends.cupy import kernels

MODEL, BATCH = "vip_s7", 32
PRECISIONS = ("float32", "bfloat16")
ARCHITECTURE = 90


class Machine:
    """An H100 SXM. The first group is from its data sheet and the CUDA programming guide, the second is assumed."""

    MULTIPROCESSORS, SCHEDULERS = 132, 4
    REGISTERS, SHARED, WARPS, BLOCKS = 64 * 1024, 228 * 1024, 64, 32
    REGISTER_UNIT, SHARED_UNIT, SHARED_OF_SYSTEM = 256, 128, 1024
    BYTES_A_SECOND = 3.35e12
    PRODUCTS: Mapping[str, float] = MappingProxyType({"float32": 67e12, "bfloat16": 989e12})

    CLOCK = 1.7e9
    MEMORY_SHARE, ISSUE_SHARE, PRODUCT_SHARE = 0.85, 0.7, 0.6
    ITERATION_SECONDS = 0.6e-6
    GAP_SECONDS = 1e-6


# --- instructions -----------------------------------------------------------------------------------------------------

INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?P<predicate>@!?U?P\w+ )?\s*(?P<code>[A-Z][\w.]*)(?P<rest>.*);")
LABEL = re.compile(r"^(\.L_\w+):")
WIDTHS = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}


class Instruction(NamedTuple):
    """target : the index that a branch leads to, None where it is none. always : whether no predicate stands before."""

    code: str
    target: int | None
    always: bool

    @property
    def width(self) -> int:
        """Bytes that a load or store moves."""
        return next((width for part, width in WIDTHS.items() if part in self.code.split(".")[1:]), 4)


def parsed(lines: list[str]) -> list[Instruction]:
    """The instructions of one kernel."""
    labels: dict[str, int] = {}
    found: list[re.Match[str]] = []
    for line in lines:
        if label := LABEL.match(line):
            labels[label[1]] = len(found)
        elif instruction := INSTRUCTION.search(line):
            found.append(instruction)
    result = []
    for each in found:
        target = re.search(r"`\((\.L_\w+)\)", each["rest"]) if each["code"].startswith("BRA") else None
        result.append(Instruction(each["code"], labels.get(target[1]) if target else None, each["predicate"] is None))
    return result


def disassembled(cubin: bytes) -> dict[str, list[Instruction]]:
    """The instructions of every kernel in an ELF file, by its name there."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([disassembler(), file.name], capture_output=True, text=True, check=True)
    result: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in done.stdout.splitlines():
        if name := re.match(r"^\.text\.(\w+):", line):
            lines = result[name[1]] = []
        elif line.strip().startswith((".section", "//---")):
            lines = []
        else:
            lines.append(line)
    return {name: parsed(lines) for name, lines in result.items()}


def disassembler() -> str:
    """That of the wheel nvidia-cuda-nvdisasm, or of a CUDA toolkit."""
    wheel = find_spec("nvidia")
    folders = [Path(root) for root in (wheel.submodule_search_locations or [] if wheel else [])]
    found = [str(path) for folder in folders for path in sorted(folder.glob("*/bin/nvdisasm"))]
    on_path = shutil.which("nvdisasm")
    if not found and on_path is None:
        raise RuntimeError("found no nvdisasm: pip install nvidia-cuda-nvdisasm")
    return found[0] if found else str(on_path)


def following(code: list[Instruction], i: int) -> list[int]:
    """Where control may go after an instruction, calls and divergence left aside."""
    each = code[i]
    ends = each.code.startswith(("EXIT", "BRA", "RET")) and each.always
    ways = [] if ends or i + 1 == len(code) else [i + 1]
    return ways if each.target is None else [*ways, each.target]


def explored(code: list[Instruction]) -> tuple[list[int], dict[int, list[int]]]:
    """The instructions that are reached, each before those it leads to; and where loops begin, with their last ones."""
    done: list[int] = []
    loops: dict[int, list[int]] = {}
    seen, active = {0}, {0}
    stack = [(0, iter(following(code, 0)))]
    while stack:
        i, ways = stack[-1]
        way = next(ways, None)
        if way is None:
            stack.pop()
            active.discard(i)
            done.append(i)
        elif way in active:
            loops.setdefault(way, []).append(i)
        elif way not in seen:
            seen.add(way)
            active.add(way)
            stack.append((way, iter(following(code, way))))
    return done[::-1], loops


def longest_path(code: list[Instruction], order: list[int], loops: dict[int, list[int]], first: int) -> list[int]:
    """The longest way through the loop that begins at `first`, or from there to the end where none does: of two ways at
    a branch the longer one, and no way back."""
    ends = loops.get(first)
    backward = {(last, head) for head, lasts in loops.items() for last in lasts}
    after: dict[int, tuple[int, int]] = {}
    for i in reversed(order):
        ways = [way for way in following(code, i) if (i, way) not in backward and way in after]
        best = max(((after[way][0], way) for way in ways), default=None)
        if ends is None or i in ends:
            after[i] = (1, -1) if best is None else (best[0] + 1, best[1])
        elif best is not None:
            after[i] = best[0] + 1, best[1]
        if i == first:
            break
    path = [first]
    while after[path[-1]][1] >= 0:
        path.append(after[path[-1]][1])
    return path


def main_path(code: list[Instruction]) -> list[Instruction]:
    """One turn of the longest loop, or where there is none the way through the whole kernel."""
    order, loops = explored(code)
    paths = [longest_path(code, order, loops, first) for first in loops] or [longest_path(code, order, loops, 0)]
    return [code[i] for i in max(paths, key=len)]


def moved(path: list[Instruction], kind: str) -> int:
    """Bytes that the loads ("LDG") or stores ("STG") of a path move."""
    return sum(each.width for each in path if each.code.split(".")[0] == kind)


WORK = {
    "norm_forward": "lane",
    "norm_backward": "lane",
    "gelu_forward": "STG 1",
    "gelu_backward": "STG 2",
    "residual_forward": "STG 1",
    "residual_backward": "STG 1",
    "dropout": "thread",
    "sum_rows": "LDG 1",
    "exchange": "STG 1",
    "convert": "thread",
    "pool_forward": "LDG branches",
    "pool_backward": "STG 1",
    "split_attention_forward": "STG 1",
    "split_attention_backward_weights": "LDG branches+1",
    "split_attention_backward_logits": "thread",
    "split_attention_backward_branches": "STG branches",
    "cross_entropy_forward": "MUFU.EX2",
    "cross_entropy_backward": "STG 1",
    "join": "thread",
    "sum_of_squares": "LDG 1",
    "clip_gradient": "thread",
    "adamw_update": "thread",
}
"""How the elements of a path are counted: what its loads or stores move beside one element in so many arrays, the
channels that a lane holds, or the elements of a thread."""


def elements_of(name: str, dtype: str, template: tuple[str, ...], path: list[Instruction]) -> float:
    """How many elements one thread works off on that path."""
    how = WORK[name]
    if how == "lane":
        return int(template[0]) * int(template[1])
    if how == "thread":
        return int(template[-1]) if template else 1
    if how == "MUFU.EX2":
        return sum(each.code == how for each in path)
    kind, arrays = how.split()
    count = sum(int(template[-1]) if part == "branches" else int(part) for part in arrays.split("+"))
    size = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}[dtype]
    return moved(path, kind) / (size * count)


class Made(NamedTuple):
    """What the compiler made of an instantiation. turns : elements a thread works off before it goes round again."""

    usage: Usage
    instructions: int
    turns: float

    @property
    def an_element(self) -> float:
        return self.instructions / self.turns


def made() -> dict[str, Made]:
    """Every instantiation by its name in C++; those of float64 are compiled and disassembled, and left out."""
    result = {}
    for file in kernels.files():
        built = compiled(kernels.source(file), kernels.expressions(file), ARCHITECTURE, kernels.OPTIONS)
        code = disassembled(built.cubin)
        for name, kernel in kernels.KERNELS.items():
            for dtype, templates in kernel.templates.items():
                if kernel.file != file or dtype == "float64":
                    continue
                for template in templates:
                    expression = kernels.expression(name, dtype, template)
                    path = main_path(code[built.names[expression]])
                    turns = elements_of(name, dtype, template, path)
                    result[expression] = Made(built.usages[expression], len(path), turns)
    return result


# --- launches ---------------------------------------------------------------------------------------------------------


class Launch(NamedTuple):
    """One launch of a step. moved : bytes of all arrays it is given; elements : entries of the largest of them."""

    expression: str
    grid: int
    block: int
    moved: int
    elements: int


class Product(NamedTuple):
    """(rows, inner) times (inner, columns), and the bytes of the three matrices."""

    rows: int
    columns: int
    inner: int
    moved: int

    @property
    def operations(self) -> int:
        return 2 * self.rows * self.columns * self.inner


def record(precision: str) -> None:
    """Print the launches and products of a training step as JSON; libraries that do nothing take CuPy's for good."""
    from tests.fake_device.install import install_libraries

    install_libraries()
    import numpy as np

    from tests.backends.cupy.training import batch
    from tests.fake_device.host_cost import do_nothing
    from vipnp import create_model
    from vipnp.backends import get_backend
    from vipnp.backends.cupy.products import CUDA_TYPES, recorded_by
    from vipnp.models import get_config
    from vipnp.optim import AdamW
    from vipnp.train import TrainingStep

    launches: list[Launch] = []
    products: list[Product] = []

    class Recorded:
        """Stands for a kernel that is ready to start."""

        def __init__(self, name: str, dtype: str, template: tuple[str, ...]) -> None:
            self.expression = kernels.expression(name, dtype, template)

        def start(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: dict[str, Any]) -> None:
            arrays = [each for each in arguments.values() if hasattr(each, "nbytes")]
            largest = max(arrays, key=lambda array: array.size)
            bundled = any(isinstance(each, bytes) for each in arguments.values())
            bytes_moved = sum(array.nbytes for array in arrays) + bundled * largest.nbytes
            launches.append(
                Launch(self.expression, math.prod(grid), math.prod(block), int(bytes_moved), int(largest.size))
            )

    class Blas:
        """Stands for the handle that a graph records."""

        def gemm(self, *arguments: Any) -> None:
            columns, rows, inner = arguments[2:5]
            input_size, output_size = (2 if arguments[i] == CUDA_TYPES["bfloat16"] else 4 for i in (7, 14))
            bytes_moved = input_size * inner * (rows + columns) + output_size * rows * columns
            products.append(Product(rows, columns, inner, bytes_moved))

    xp = get_backend("cupy", precision=precision)
    model = create_model(MODEL, backend=xp)
    step = TrainingStep(model, AdamW(xp), label_smoothing=0.1, max_norm=1.0)
    images, labels = (xp.asarray(array) for array in batch(get_config(MODEL), BATCH))
    do_nothing()
    kernels.Prepared = Recorded  # type: ignore[misc, assignment]
    rng = np.random.default_rng(0)
    with recorded_by(Blas()), np.errstate(all="ignore"):  # type: ignore[arg-type]
        step(images, labels, lr=1e-3, rng=rng)
        launches.clear(), products.clear()
        step(images, labels, lr=1e-3, rng=rng)
    print(json.dumps([launches, products]))


def recorded(precision: str) -> tuple[list[Launch], list[Product]]:
    """What `record` prints in a process of its own."""
    script = f"from tests.cuda_emulator.sass import record; record({precision!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    launches, products = json.loads(done.stdout.splitlines()[-1])
    return [Launch(*each) for each in launches], [Product(*each) for each in products]


# --- estimates --------------------------------------------------------------------------------------------------------


def resident_blocks(usage: Usage, threads: int) -> int:
    """Blocks that a multiprocessor holds at a time."""
    warps = math.ceil(threads / 32)
    unit = Machine.REGISTER_UNIT
    by_registers = Machine.REGISTERS // (math.ceil(usage.registers * 32 / unit) * unit * warps)
    shared = math.ceil(usage.shared / Machine.SHARED_UNIT) * Machine.SHARED_UNIT + Machine.SHARED_OF_SYSTEM
    return min(by_registers, Machine.SHARED // shared, Machine.WARPS // warps, Machine.BLOCKS)


class Estimate(NamedTuple):
    """Seconds: those of the bytes alone at the full rate of the memory, then of what may hold the launch up."""

    floor: float
    memory: float
    issue: float
    latency: float

    @property
    def seconds(self) -> float:
        return max(self.memory, self.issue, self.latency)

    @property
    def bound(self) -> str:
        return {self.memory: "memory", self.issue: "instructions", self.latency: "waiting"}[self.seconds]


def estimate(launch: Launch, kernel: Made) -> Estimate:
    """Of one launch."""
    floor = memory_floor(launch.moved)
    rate = Machine.MULTIPROCESSORS * Machine.SCHEDULERS * Machine.CLOCK * Machine.ISSUE_SHARE
    share = launch.grid / (math.ceil(launch.grid / Machine.MULTIPROCESSORS) * Machine.MULTIPROCESSORS)
    issue = launch.elements * kernel.an_element / 32 / rate / share
    held = Machine.MULTIPROCESSORS * resident_blocks(kernel.usage, launch.block)
    turns = launch.elements / (launch.grid * launch.block * kernel.turns)
    latency = max(turns, 1) * max(launch.grid / held, 1) * Machine.ITERATION_SECONDS
    return Estimate(floor, memory_seconds(launch.moved), issue, latency)


def memory_floor(moved: int) -> float:
    """Seconds for so many bytes at the full rate of the memory."""
    return moved / Machine.BYTES_A_SECOND


def memory_seconds(moved: int) -> float:
    """Seconds for so many bytes at the share of that rate which is assumed."""
    return memory_floor(moved) / Machine.MEMORY_SHARE


def product_seconds(operations: int, moved: int, precision: str) -> float:
    """Of a matrix product of so many operations and bytes."""
    by_operations = operations / (Machine.PRODUCTS[precision] * Machine.PRODUCT_SHARE)
    return max(by_operations, memory_seconds(moved))


# --- report -----------------------------------------------------------------------------------------------------------

HEAD = (
    "| kernel | template | launches | instructions an element | registers | shared KiB | occupancy | bytes an element "
    "| floor µs | estimate µs | held up by |\n" + "|---" * 11 + "|"
)


def rows(precision: str, everything: dict[str, Made], launches: list[Launch]) -> Iterator[str]:
    """The lines of the table: what a step launches, then one line for each kernel that it does not."""
    for name in kernels.KERNELS:
        mine = [launch for launch in launches if launch.expression.startswith(f"{name}<")]
        for expression in sorted({launch.expression for launch in mine}):
            kernel = everything[expression]
            these = [launch for launch in mine if launch.expression == expression]
            estimates = [estimate(launch, kernel) for launch in these]
            longest = max(estimates, key=lambda each: each.seconds)
            cells = (
                f"{sum(launch.moved for launch in these) / sum(launch.elements for launch in these):.1f}",
                f"{1e6 * sum(each.floor for each in estimates):.0f}",
                f"{1e6 * sum(each.seconds for each in estimates):.0f}",
                longest.bound,
            )
            yield line(name, expression, len(these), kernel, these[0].block, *cells)
        if not mine and precision == PRECISIONS[0]:
            expression = max(each for each in everything if each.startswith(f"{name}<"))
            yield line(name, expression, 0, everything[expression], kernels.THREADS, "", "", "", "")


def line(name: str, expression: str, launches: int, kernel: Made, threads: int, *rest: str) -> str:
    """One line of the table; its kernel has blocks of that many threads."""
    template = expression.removeprefix(f"{name}<").removesuffix(">").replace("__nv_", "")
    occupancy = resident_blocks(kernel.usage, threads) * math.ceil(threads / 32) / Machine.WARPS
    cells = [
        f"`{name}`",
        template,
        str(launches),
        f"{kernel.an_element:.1f}",
        str(kernel.usage.registers),
        f"{kernel.usage.shared / 1024:g}",
        f"{100 * occupancy:.0f} %",
        *rest,
    ]
    return "| " + " | ".join(cells) + " |"


TOTALS = (
    "| estimate of the step | kernels | products | memory floor of the kernels ms | kernels ms | products ms "
    "| gaps ms | together ms |\n" + "|---" * 8 + "|"
)


def total(name: str, floors: list[float], kernel_seconds: list[float], seconds_of_products: list[float]) -> str:
    """One line of the table of whole steps."""
    launches = len(kernel_seconds), len(seconds_of_products)
    parts = sum(kernel_seconds), sum(seconds_of_products), sum(launches) * Machine.GAP_SECONDS
    cells = [f"{1e3 * seconds:.1f}" for seconds in (sum(floors), *parts, sum(parts))]
    return "| " + " | ".join([name, *map(str, launches), *cells]) + " |"


def report() -> Iterator[str]:
    """The tables, line by line."""
    everything = made()
    yield f"{len(everything)} instantiations for sm_{ARCHITECTURE}, those of float64 not counted."
    totals = []
    for precision in PRECISIONS:
        launches, products = recorded(precision)
        yield f"\n{MODEL}, batch {BATCH}, one training step in {precision}:\n\n{HEAD}"
        yield from rows(precision, everything, launches)
        estimates = [estimate(launch, everything[launch.expression]) for launch in launches]
        of_products = [product_seconds(each.operations, each.moved, precision) for each in products]
        totals.append(
            total(precision, [each.floor for each in estimates], [each.seconds for each in estimates], of_products)
        )
    yield f"\n{TOTALS}"
    yield from totals


if __name__ == "__main__":
    takes_none(__doc__)
    for each in report():
        print(each, flush=True)
