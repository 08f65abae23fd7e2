"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from benchmarks.cpu.contenders import CONTENDERS, INFERENCE_ALONE
from benchmarks.cpu.measure import REFERENCE, Result, measure, with_more_turns
from benchmarks.cpu.profile import profile
from benchmarks.cpu.report import draw, machine, markdown, profile_table, read_json, table, write_json
from benchmarks.cpu.work import TASKS, Work
from vipnp.backends.numpy.threads import available_cores
from vipnp.core.files import check_outputs
from vipnp.models import list_models

SCALING_CONTENDERS = ("torch", "numba")
BATCHES_TOGETHER = 8
"""From larger batches on, training steps of all contenders at once may not fit into memory: they run in pairs."""

NEEDS = {
    "torch": {"torch": "test"},
    "numba": {"numba": "numba", "threadpoolctl": "numba"},
    "floor": {"numba": "numba", "threadpoolctl": "numba"},
    "onnxruntime": {"torch": "test", "onnx": "benchmark", "onnxruntime": "benchmark"},
    "openvino": {"torch": "test", "openvino": "benchmark"},
    "jax": {"torch": "test", "jax": "benchmark"},
}
"""First part of a contender's name -> the packages it needs -> the extra that installs each."""

DISTRIBUTIONS = {"onednn": "onednn-cpu-gomp", "mkl": "mkl"}
"""Extra, which is also the end of a contender's name -> what it installs."""


@dataclass(frozen=True)
class Bench:
    """All that was measured: times of every contender on every work, and seconds a step of every kernel."""

    results: list[Result]
    profile: dict[str, float]


def unavailable(contender: str) -> str | None:
    """Why `contender` cannot run here, None if it can."""
    family, _, variant = contender.partition("-")
    for package, extra in NEEDS.get(family, {}).items():
        if find_spec(package) is None:
            return f'{package} is not installed: pip install "vipnp[{extra}]"'
    if variant in DISTRIBUTIONS and not _installed(DISTRIBUTIONS[variant]):
        return f'{DISTRIBUTIONS[variant]} is not installed: pip install "vipnp[{variant}]"'
    if variant == "shards" and find_spec("threadpoolctl") is None:
        return 'threadpoolctl is not installed: pip install "vipnp[numba]"'
    if variant in ("compile", "freeze") and not (shutil.which("g++") or shutil.which("clang++")):
        return "torch.compile needs a C++ compiler"
    if variant == "malloc" and sys.platform != "linux":
        return "malloc can be tuned with glibc only"
    return None


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def groups(contenders: Sequence[str], work: Work) -> list[list[str]]:
    """Who runs at the same time: all that can do the work, or, for large training steps, one at a time beside the
    reference, and the floors, which need little memory, together."""
    if work.task == "train":
        contenders = [name for name in contenders if name not in INFERENCE_ALONE]
    floors = [name for name in contenders if name.startswith("floor")]
    others = [name for name in contenders if name != REFERENCE and name not in floors]
    if work.task == "infer" or work.batch <= BATCHES_TOGETHER or REFERENCE not in contenders or not others:
        return [list(contenders)] if contenders else []
    return [[REFERENCE, name] for name in others] + ([[REFERENCE, *floors]] if floors else [])


def scaling_works(model: str) -> list[Work]:
    """Training steps at other batches, resolutions and depths."""
    return [
        *(Work(model, batch, "train") for batch in (1, 2, 4, 8, 16)),
        *(Work(model, 4, "train", image_size=size) for size in (112, 224, 336)),
        *(Work(model, 8, "train", depth=depth) for depth in (1, 2, 4)),
    ]


def run_bench(
    works: Sequence[Work],
    contenders: Sequence[str],
    *,
    rounds: int,
    cores: Sequence[int],
    profiled: Work | None = None,
    known: Sequence[Result] = (),
    until: float = math.inf,
    tell: Callable[[str], None] = lambda _: None,
    keep: Callable[[Bench], None] = lambda _: None,
) -> Bench:
    """Measure `contenders` on every work, and the kernels of the fused backend on `profiled`.

    rounds : turns; where `known` has some of them, the others are measured. cores : the cores that every contender is
    pinned to. until : no turn begins after this time of `time.monotonic`; with the results as `known`, another call
    goes on. tell : called with what happens, and with the figures of every work as soon as they are there. keep :
    called with all that was measured so far, whenever there is more of it, so that what stops the run does not lose it.
    Raises RuntimeError if a contender's process fails.
    """
    results = {(result.contender, result.work): result for result in known}
    for work in works:
        for group in groups(contenders, work):
            counted = [name for name in group if name != REFERENCE] or group  # which takes part in many groups
            left = rounds - min(turns_of(results, name, work) for name in counted)
            if left <= 0 or time.monotonic() > until:
                continue
            measured = measure(group, work, rounds=left, cores=cores, tell=tell, until=until)
            for result in measured:
                key = result.contender, result.work
                results[key] = with_more_turns(results[key], result) if key in results else result
            if measured:
                tell(table([results[result.contender, result.work] for result in measured]))
                keep(Bench(list(results.values()), {}))
    bench = Bench(list(results.values()), profile(profiled, shards=len(cores)) if profiled else {})
    keep(bench)
    return bench


def turns_of(results: Mapping[tuple[str, Work], Result], contender: str, work: Work) -> int:
    """How many turns a contender has had."""
    return len(results[contender, work].seconds) if (contender, work) in results else 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="cpu_step.py",
        description="Time training steps and inference beside PyTorch: every contender in a process of its own, pinned "
        "to the same cores, taking turns step by step.",
    )
    options.add_argument("--model", nargs="+", default=["vip_s7"], choices=list_models(), help="default: vip_s7")
    options.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS, help="default: both")
    options.add_argument("--batch", nargs="+", type=int, default=[8], metavar="B", help="images, default: 8")
    options.add_argument(
        "--contenders", nargs="+", choices=list(CONTENDERS), metavar="NAME", help=f"of {', '.join(CONTENDERS)}"
    )
    options.add_argument("--rounds", type=int, default=7, help="turns, default: 7")
    options.add_argument("--cores", type=int, default=min(2, available_cores()), help="default: 2")
    options.add_argument("--full", action="store_true", help="vip_s7 and vip_s14 at batch 1, 8, 32")
    options.add_argument("--scaling", action="store_true", help="batch, resolution and depth, torch and numba only")
    options.add_argument("--profile", action="store_true", help="seconds of every kernel of the numba backend")
    options.add_argument("--json", type=Path, metavar="FILE", help="write everything measured, anew after every work")
    options.add_argument("--resume", action="store_true", help="keep the turns that --json has, and measure the others")
    options.add_argument(
        "--seconds", type=float, metavar="S", help="begin no turn later than this, for --resume to go on"
    )
    options.add_argument(
        "--markdown", action="store_true", help="print the results in --json for a page; measure nothing"
    )
    options.add_argument("--png", type=Path, metavar="FILE", help="draw the ratios")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark with command-line `arguments` (None: those of the process); the exit status."""
    options = parser()
    given = options.parse_args(arguments)
    if given.rounds < 1 or min(given.batch) < 1:
        options.error("--rounds and --batch: expected positive numbers")
    if not 1 <= given.cores <= available_cores():
        options.error(f"--cores: got {given.cores}, expected 1 to {available_cores()}")
    try:
        check_outputs({"--json": given.json, "--png": given.png})
    except ValueError as error:
        options.error(str(error))
    if (given.resume or given.markdown) and given.json is None:
        options.error("--resume and --markdown need --json FILE")
    known: list[Result] = []
    if given.markdown or (given.resume and given.json.exists()):
        try:
            known = read_json(given.json, None if given.markdown else machine(given.cores))
        except (OSError, ValueError) as problem:
            options.error(str(problem))
    if given.markdown:
        print(markdown(known))
        return 0
    names = given.contenders or (SCALING_CONTENDERS if given.scaling else list(CONTENDERS))
    contenders = []
    for name in names:
        reason = unavailable(name)
        if given.task == ["train"] and name in INFERENCE_ALONE:
            reason = "it takes no training step"
        if reason and given.contenders:
            options.error(f"--contenders: {name}: {reason}")
        if reason:
            print(f"left out: {name}: {reason}", file=sys.stderr)
        else:
            contenders.append(name)
    alone = [name for name in contenders if name in INFERENCE_ALONE]
    if alone and "train" in given.task:
        print(f"left out of training, which they do not do: {', '.join(alone)}", file=sys.stderr)
    if given.scaling:
        works = scaling_works(given.model[0])
    else:
        models, batches = (["vip_s7", "vip_s14"], [1, 8, 32]) if given.full else (given.model, given.batch)
        works = [Work(model, batch, task) for model in models for batch in batches for task in given.task]
    affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(available_cores())

    def keep(bench: Bench) -> None:
        if given.json:
            write_json(given.json, machine(given.cores), bench.results, bench.profile)
        if given.png:
            draw(given.png, bench.results)

    bench = run_bench(
        works,
        contenders,
        rounds=given.rounds,
        cores=list(affinity)[: given.cores],
        profiled=Work(given.model[0], given.batch[0], "train") if given.profile else None,
        known=known,
        until=math.inf if given.seconds is None else time.monotonic() + given.seconds,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
        keep=keep,
    )
    print(table(bench.results))
    if bench.profile:
        print(f"\n{profile_table(bench.profile)}")
    return 0
