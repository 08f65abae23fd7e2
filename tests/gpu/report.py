"""`make gpu-report`, or `python -m tests.gpu.report`: everything that a GPU has to show, stage by stage.

    python -m tests.gpu.report                       all stages that have not passed yet
    python -m tests.gpu.report --stages example      those whose names begin so
    python -m tests.gpu.report --again --out a.json  all of them once more, into another file

Needs CuPy, PyTorch, NumPy and ml_dtypes, no internet and no installed vipnp. What may be missing is looked for in
build/carried: `pip install --no-deps --target build/carried array-api-compat` where there is internet, then take the
folder along. Stages that need more (scikit-learn for the example, compute-sanitizer) say so and are left out.

Every stage is a process of its own that has eight minutes. What it found is written before the next one begins, as JSON
and as a table beside it; when the whole is cut off, the same command goes on with what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
CARRIED = ROOT / "build" / "carried"
OUT = ROOT / "benchmarks" / "results" / "gpu_report.json"
LIMIT = 480
"""Seconds of a stage."""

PRECISIONS = ("float32", "tf32", "bfloat16")
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "torch", "numpy", "scipy", "ml_dtypes", "array-api-compat")
MODELS, BATCHES, TASKS = ("vip_s7", "vip_l7"), (32, 128), ("train", "infer")
ROUNDS = 20

PASSED, FAILED, MISSING, CUT_OFF = "passed", "failed", "not run", "cut off"


# --- stages ---------------------------------------------------------------------------------------------------------


def environment() -> dict[str, Any]:
    cupy = import_module("cupy")
    nvrtc = cupy.cuda.nvrtc.getVersion()
    properties = cupy.cuda.runtime.getDeviceProperties(0)
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    return {
        "device": properties["name"].decode(),
        "compute capability": cupy.cuda.Device(0).compute_capability,
        "memory": cupy.cuda.runtime.memGetInfo()[1],
        "driver": cupy.cuda.runtime.driverGetVersion(),
        "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        "nvrtc": ".".join(map(str, nvrtc)),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        **versions,
    }


def every_kernel() -> dict[str, int]:
    checks = import_module("tests.backends.cupy.kernel_checks").CHECKS
    xp = import_module("vipnp.backends").get_backend("cupy")
    found = dict.fromkeys(check for each in checks.values() for check in each)
    for check in found:
        check(xp)
    xp.synchronize()
    return {"checks": len(found)}


def replacement_cases(dtype: str) -> dict[str, int]:
    """All of them, whatever fails; then the first failures together."""
    comparison = import_module("tests.backends.cupy.comparison")
    xp = import_module("vipnp.backends").get_backend("cupy")
    count, wrong = 0, []
    for name, case, of_dtype, sizes in comparison.all_cases():
        if of_dtype != dtype:
            continue
        count += 1
        try:
            comparison.compare_case(xp, case, dtype, sizes, replaced=True)
        except AssertionError as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, f"{len(wrong)} of {count} cases: " + "; ".join(wrong[:20])
    return {"cases": count}


def checked(name: str, *args: Any, **kwargs: Any) -> Any:
    """The check of that name in tests/gpu/checks.py."""
    return getattr(import_module("tests.gpu.checks"), name)(*args, **kwargs)


def example(precision: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return checked("tiny_example", precision, Path(folder))


def timing(model: str, batch: int, precision: str, task: str) -> dict[str, Any]:
    """A row of benchmarks/gpu_step.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    step = import_module("gpu_step")
    case = step.Case(model, batch, precision, task)
    floor = step.roofline(case, step.ceilings())
    row: dict[str, Any] = step.row(case, step.measure(case, step.CONTENDERS, ROUNDS), floor)
    return row


def stages() -> dict[str, Callable[[], Any]]:
    """Everything by name, in the order in which it is run: what must hold before what takes long."""
    found: dict[str, Callable[[], Any]] = {"environment": environment, "kernels": every_kernel}
    found |= {f"cases {dtype}": partial(replacement_cases, dtype) for dtype in ("float32", "float64")}
    found |= {f"cases {dtype}": partial(replacement_cases, dtype) for dtype in ("float16", "bfloat16")}
    found["same seed"] = partial(checked, "same_seed_same_bits")
    found["no wait readable"] = partial(checked, "waits_for_nothing", "float32", fused=False)
    for precision in PRECISIONS:
        found[f"no wait {precision}"] = partial(checked, "waits_for_nothing", precision, fused=True)
        found[f"graph bits {precision}"] = partial(checked, "graph_same_bits", precision)
        found[f"example {precision}"] = partial(example, precision)
        found[f"full size {precision}"] = partial(checked, "full_size_gradients", precision)
    found["full size logits"] = partial(checked, "full_size_logits")
    found["out of memory"] = partial(checked, "out_of_memory_and_on")
    found |= {f"sanitizer {tool}": partial(checked, "compute_sanitizer", tool) for tool in SANITIZERS}
    for precision in PRECISIONS:
        found[f"graph speed {precision}"] = partial(checked, "graph_speed", "vip_s7", 32, precision)
    for model in MODELS:
        for batch in BATCHES:
            for precision in PRECISIONS:
                for task in TASKS:
                    found[f"time {task} {model} {batch} {precision}"] = partial(timing, model, batch, precision, task)
    return found


# --- one stage, in its process ----------------------------------------------------------------------------------------


def stand_in_for_scipy() -> None:
    """The one function of SciPy that vipnp asks for when it is imported, element by element."""
    try:
        import_module("scipy.special")
    except ImportError:
        numpy = import_module("numpy")
        scipy, special = types.ModuleType("scipy"), types.ModuleType("scipy.special")
        special.ndtr = numpy.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes="d")  # type: ignore[attr-defined]
        sys.modules |= {"scipy": scipy, "scipy.special": special}


def run_here(name: str, into: Path) -> None:
    """Run a stage and write what it found."""
    stand_in_for_scipy()
    if os.environ.get("VIPNP_FAKE_DEVICE") == "1":
        import_module("tests.fake_device.install").install()
    try:
        found = {"status": PASSED, "result": stages()[name]()}
    except SystemExit as ended:  # of the example's command line, where a package is missing
        found = {"status": MISSING if "is not installed" in str(ended) else FAILED, "said": str(ended)}
    except (ImportError, FileNotFoundError) as error:
        found = {"status": MISSING, "said": f"{type(error).__name__}: {error}"}
    except Exception as error:
        found = {"status": FAILED, "said": f"{type(error).__name__}: {error}"}
    into.write_text(json.dumps(found))


# --- all of them ------------------------------------------------------------------------------------------------------


def run_stage(command: Sequence[str], into: Path, limit: float) -> dict[str, Any]:
    """Run a stage by its command, which writes what it found into the file `into`, for `limit` seconds at most."""
    path = os.pathsep.join([str(ROOT), *([str(CARRIED)] if CARRIED.exists() else []), os.environ.get("PYTHONPATH", "")])
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
            ended = f"exit status {status}"
        except subprocess.TimeoutExpired:
            ended = CUT_OFF
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        output = said.read()[-2000:]
    if ended == CUT_OFF:
        found = {"status": CUT_OFF, "said": f"after {limit:g} s: {output}"}
    elif into.exists():
        found = json.loads(into.read_text())
    else:
        found = {"status": FAILED, "said": f"{ended}: {output}"}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def table(found: Mapping[str, Any], *, fake: bool) -> str:
    """The results as Markdown."""
    lines = ["On a fake device: no hardware has run any of this.", ""] if fake else []
    lines += ["| stage | status | s | |", "|---|---|---|---|"]
    for name, each in found.items():
        text = json.dumps(each["result"]) if each.get("result") else each.get("said", "")
        text = " ".join(text.split()).replace("|", "/")
        lines.append(f"| {name} | {each['status']} | {each['seconds']} | {text[:600]} |")
    return "\n".join(lines) + "\n"


def keep(found: Mapping[str, Any], out: Path) -> None:
    """Write both files, each whole or not at all."""
    fake = os.environ.get("VIPNP_FAKE_DEVICE") == "1"
    texts = {
        out: json.dumps({"fake device": fake, "stages": found}, indent=1) + "\n",
        out.with_suffix(".md"): table(found, fake=fake),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text)
        temporary.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stages", nargs="+", default=[""], help="beginnings of names (all)")
    parser.add_argument("--again", action="store_true", help="also those that have passed before")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        run_here(options.run, options.into)
        return 0
    found: dict[str, Any] = json.loads(options.out.read_text())["stages"] if options.out.exists() else {}
    names = [name for name in stages() if name.startswith(tuple(options.stages))]
    for name in names:
        if found.get(name, {}).get("status") == PASSED and not options.again:
            continue
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder) / "found.json"
            command = [sys.executable, "-m", "tests.gpu.report", "--run", name, "--into", str(into)]
            found[name] = run_stage(command, into, LIMIT)
        keep(found, options.out)
        print(f"{name}: {found[name]['status']}, {found[name]['seconds']} s", flush=True)
    print(f"{options.out.with_suffix('.md')} holds all that was found")
    return int(any(found[name]["status"] in (FAILED, CUT_OFF) for name in names))


if __name__ == "__main__":
    sys.exit(main())
