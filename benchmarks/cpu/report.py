"""The measurements as a table, as JSON and as a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.cpu.measure import REFERENCE, Result
from benchmarks.cpu.work import Work
from vipnp.core import files

PACKAGES = ("vipnp", "numpy", "scipy", "numba", "onednn-cpu-gomp", "mkl", "torch", "onnxruntime", "openvino", "jax")


def table(results: Sequence[Result]) -> str:
    """One line a contender and work. Ratios are to PyTorch eager in the same turns."""
    head = ("", "median s", "min s", f"/ {REFERENCE}", "medians", "minima", "peak MB", "1st call s")
    lines = []
    for work in dict.fromkeys(result.work for result in results):
        lines.append((work.label(), *[""] * 7))
        for result in results:
            if result.work == work:
                ratios = (result.ratio, result.ratio_of_medians, result.ratio_of_minima)
                lines.append(
                    (
                        f"  {result.contender}",
                        f"{result.median:.3f}",
                        f"{result.minimum:.3f}",
                        *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                        f"{result.peak_bytes / 1e6:.0f}",
                        f"{result.first_call:.1f}",
                    )
                )
    return _aligned([head, *lines])


def profile_table(seconds: Mapping[str, float]) -> str:
    """One line a kernel."""
    total = next(iter(seconds.values()))
    head = ("processor time of a step, numba backend", "ms", "share")
    return _aligned([head, *((name, f"{s * 1e3:.1f}", f"{s / total:.1%}") for name, s in seconds.items())])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    )


def machine(cores: int) -> dict[str, Any]:
    """What the figures were measured on."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor(),
        "cores_used": cores,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        information = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in information.splitlines() if "model name" in line), "")


def write_json(path: Path, about: Mapping[str, Any], results: Sequence[Result], profile: Mapping[str, float]) -> None:
    """Everything measured: {"machine": ..., "results": [...], "profile": {kernel: seconds}}."""
    content = {"machine": about, "results": [asdict(result) for result in results], "profile": dict(profile)}
    files.write_json(path, content)


def read_json(path: Path, about: Mapping[str, Any] | None) -> list[Result]:
    """The results that `write_json` wrote, on the machine `about` (None: on any).

    Raises OSError for a file that cannot be read, ValueError naming it where it holds something else or was measured
    on another machine or with other versions.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = [Result(**{**entry, "work": Work(**entry["work"])}) for entry in content["results"]]
        measured_on = content["machine"]
    except (ValueError, TypeError, KeyError) as problem:
        raise ValueError(
            f"{path}: got {type(problem).__name__}: {problem}, expected results of this benchmark"
        ) from None
    if about is not None and measured_on != about:
        raise ValueError(f"{path}: got results of {measured_on}, expected those of this machine, {about}")
    return results


TITLES: Mapping[str, str] = MappingProxyType(
    {
        "torch": "PyTorch eager",
        "torch-malloc": "PyTorch, malloc tuned",
        "torch-compile": "torch.compile",
        "torch-freeze": "torch.compile, frozen",
        "onnxruntime": "ONNX Runtime",
        "openvino": "OpenVINO",
        "jax": "JAX",
        "numpy": "`numpy`",
        "numpy-shards": "`numpy`, `shards=2`",
        "numba-auto": '**`numba`**, `products="auto"`',
        "numba": "**`numba`**, OpenBLAS",
        "numba-onednn": "**`numba`**, oneDNN",
        "numba-mkl": "**`numba`**, MKL",
        "floor": "floor, OpenBLAS",
        "floor-onednn": "floor, oneDNN",
        "floor-mkl": "floor, MKL",
        "floor-auto": 'floor, `products="auto"`',
        "floor-weights": "floor, weights read",
    }
)
"""Contender -> how a page calls it."""


def markdown(results: Sequence[Result]) -> str:
    """A table of Markdown for every task: a line a contender, a column a work.

    PyTorch eager in milliseconds, the others as ratios of medians to it in the same turns, minima in brackets.
    """
    tables = []
    for task in dict.fromkeys(result.work.task for result in results):
        found = {(result.contender, result.work): result for result in results if result.work.task == task}
        works = list(dict.fromkeys(work for _, work in found))
        head = [
            {"infer": "inference", "train": "training"}[task],
            *(work.label().replace(f" {task}", "") for work in works),
        ]
        lines = [head, ["---"] * len(head)]
        lines += [
            [TITLES[name], *(_cell(found.get((name, work))) for work in works)]
            for name in TITLES
            if any((name, work) in found for work in works)
        ]
        tables.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(tables)


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    if result.contender == REFERENCE or result.ratio_of_medians is None:
        return f"{result.median * 1e3:.0f} ms ({result.minimum * 1e3:.0f})"
    return f"{result.ratio_of_medians:.2f} ({result.ratio_of_minima:.2f})"


def draw(path: Path, results: Sequence[Result]) -> None:
    """Bars of the ratio of medians to PyTorch eager, with the ratio of minima as a mark; PNG.

    Raises ImportError naming the extra where matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as problem:
        raise ImportError('a picture needs matplotlib: pip install "vipnp[train]"') from problem
    import io

    columns: dict[str, list[Result]] = {}
    for result in results:
        if result.ratio_of_medians is not None:
            columns.setdefault(result.work.task, []).append(result)
    rows = max((len(column) + len({result.work for result in column}) for column in columns.values()), default=0)
    figure = Figure(figsize=(7 * max(1, len(columns)), 0.8 + 0.25 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, column in zip(figure.subplots(1, max(1, len(columns)), squeeze=False)[0], columns.values(), strict=False):
        _bars(axes, column)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    with files.replaced_when_done(path) as temporary:
        temporary.write_bytes(picture.getvalue())


def _bars(axes: Any, results: Sequence[Result]) -> None:
    """A group of bars for every work."""
    names, position = [], 0.0
    for work in dict.fromkeys(result.work for result in results):
        for result in results:
            median, minimum = result.ratio_of_medians, result.ratio_of_minima
            if result.work != work or median is None or minimum is None:
                continue
            ours = result.contender.startswith(("numpy", "numba"))
            color = "tab:blue" if ours else "tab:gray" if result.contender.startswith("floor") else "tab:orange"
            axes.barh(position, median, color=color)
            axes.plot(minimum, position, "k|", markersize=9)
            axes.text(
                max(median, minimum) + 0.02,
                position,
                f"{median:.2f}",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )
            names.append((position, f"{work.label()}: {result.contender}"))
            position += 1
        position += 0.6
    axes.set_yticks([place for place, _ in names], [name for _, name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.08, y=0.02)
    axes.set_xlabel("time / PyTorch eager (bar: medians, mark: minima)")
