"""float32 accuracy at realistic sizes: our error beside PyTorch's, tensor by tensor, over several seeds.

    python -m tools.accuracy --output docs/accuracy.md

Errors are the largest difference from float64, in units of 2^-24 of the largest entry of the tensor. The inputs are
float32 numbers, the same for all three. A single error is a coin toss, so errors are compared as geometric means over
the seeds. An error of less than half a unit counts as half a unit: a correctly rounded result has that much.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import ndtr

from tools.torch_vip import torch_vip
from vipnp.audit import torch_twins
from vipnp.audit.cases import CASES, Case, Inputs, model_loss
from vipnp.backends import get_backend
from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Backend, Generator, HostArray
from vipnp.core.files import check_outputs, write_text
from vipnp.models import ViPConfig, get_config, unflatten
from vipnp.models.initialization import initial_parameters
from vipnp.verify.extras import need
from vipnp.verify.trees import argument_names, tree_arrays, tree_map

UNIT = 2.0**-24
"""Half the distance from 1 to the next float32: the largest relative error of one rounding."""

FLOOR = 0.5
"""The error in units that rounding the exact result may have."""

SEEDS = 8

TENSOR_RATIO = 2.0
TENSOR_UNITS = 4.0
"""A tensor passes with at most TENSOR_RATIO times PyTorch's error (geometric mean over the seeds), or with at most
TENSOR_UNITS units in every seed."""

WHOLE_RATIO = 1.1
"""A block or a model passes with at most this times PyTorch's error, geometric mean over seeds and gradients."""

VALUE = "value"
"""What the rows of the forward result are called."""


@dataclass(frozen=True)
class TensorErrors:
    """The errors of one tensor, one a seed, in units: `name` is "value" or the path of the gradient's argument."""

    name: str
    ours: tuple[float, ...]
    pytorch: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Our error over PyTorch's, geometric mean over the seeds."""
        return geometric_mean(
            max(error, FLOOR) / max(peer, FLOOR) for error, peer in zip(self.ours, self.pytorch, strict=True)
        )

    @property
    def ok(self) -> bool:
        """Whether the tensor is as good as PyTorch's, or good by itself."""
        return self.ratio <= TENSOR_RATIO or max(self.ours) <= TENSOR_UNITS


@dataclass(frozen=True)
class CaseErrors:
    """The errors of the value and of every gradient of one case."""

    name: str
    kind: str
    sizes: Mapping[str, int]
    tensors: tuple[TensorErrors, ...]

    @property
    def gradients(self) -> tuple[TensorErrors, ...]:
        """The tensors without the value."""
        return tuple(tensor for tensor in self.tensors if tensor.name != VALUE)

    @property
    def ratio(self) -> float:
        """Our error over PyTorch's, geometric mean over the gradients and the seeds."""
        return geometric_mean(tensor.ratio for tensor in self.gradients)

    @property
    def ok(self) -> bool:
        """Whether every gradient passes, with the value of an op, and all gradients of a block or model together."""
        together = self.kind not in ("block", "model") or self.ratio <= WHOLE_RATIO
        return together and all(tensor.ok for tensor in (self.tensors if self.kind == "op" else self.gradients))


def geometric_mean(values: Iterator[float] | Sequence[float]) -> float:
    """The geometric mean of positive numbers."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms))


# --- measuring ------------------------------------------------------------------------------------------------------


def measure(case: Case, sizes: Mapping[str, int], *, seeds: int = SEEDS, backend: Backend | None = None) -> CaseErrors:
    """The float32 errors of `case` at `sizes` on `backend` (NumPy unless given) and in PyTorch.

    Raises MissingExtraError where PyTorch is not installed, ValueError unless `seeds` is positive.
    """
    if seeds < 1:
        raise ValueError(f"seeds: got {seeds}, expected at least 1")
    torch = need("torch", "test")
    xp = get_backend("numpy") if backend is None else backend
    ours: dict[str, list[float]] = {}
    peers: dict[str, list[float]] = {}
    for seed in range(seeds):
        args, kwargs = tree_map(_rounded, case.inputs(seed, sizes))
        truth, dy = _truth(case, args, kwargs, seed)
        single = _on_backend(xp, case, args, kwargs, dy)
        peer = _in_pytorch(torch, case, args, kwargs, dy)
        for name, expected in truth.items():
            ours.setdefault(name, []).append(error_in_units(single[name], expected))
            peers.setdefault(name, []).append(error_in_units(peer[name], expected))
    tensors = tuple(TensorErrors(name, tuple(ours[name]), tuple(peers[name])) for name in ours)
    return CaseErrors(case.name, case.kind, sizes, tensors)


def error_in_units(found: HostArray, truth: HostArray) -> float:
    """The largest difference in units of 2^-24 of the largest entry of `truth`; infinite where `found` is not finite.

    Raises TypeError unless `found` is float32, ValueError if the shapes differ.
    """
    if found.dtype != np.float32:
        raise TypeError(f"found: got dtype {found.dtype}, expected float32")
    if found.shape != truth.shape:
        raise ValueError(f"found: got shape {found.shape}, expected {truth.shape}")
    if not np.isfinite(found).all():
        return math.inf
    difference = float(np.abs(found - truth).max())
    return difference / (UNIT * float(np.abs(truth).max())) if difference else 0.0


def _rounded(array: HostArray) -> HostArray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _widened(array: HostArray) -> HostArray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _named(case: Case, value: Any, gradients: Sequence[Any]) -> dict[str, Any]:
    named = zip(argument_names(case.op, len(gradients)), gradients, strict=True)
    return dict(tree_arrays({VALUE: value, **{"" if name == "params" else name: tree for name, tree in named}}))


def _truth(case: Case, args: Any, kwargs: Any, seed: int) -> tuple[dict[str, HostArray], HostArray]:
    """{name: float64 tensor} of the readable op, and the cotangent used, float32."""
    y, pullback = case.op(get_backend("numpy"), *tree_map(_widened, args), **tree_map(_widened, kwargs))
    dy = _rounded(np.asarray(np.random.default_rng([seed, 1]).normal(size=np.shape(y))))
    return _named(case, np.asarray(y), pullback(_widened(dy))), dy


def _on_backend(xp: Backend, case: Case, args: Any, kwargs: Any, dy: HostArray) -> dict[str, HostArray]:
    args, kwargs = tree_map(xp.asarray, (args, kwargs))
    y, pullback = xp.run(case.op, *args, **kwargs)
    named = _named(case, xp.asarray(y), pullback(xp.asarray(dy)))
    return {name: xp.to_numpy(tensor) for name, tensor in named.items()}


def _in_pytorch(torch: Any, case: Case, args: Any, kwargs: Any, dy: HostArray) -> dict[str, HostArray]:
    inputs = tree_map(lambda array: torch.tensor(array).requires_grad_(), args)
    y = case.twin(*inputs, **tree_map(torch.tensor, kwargs))
    y.backward(torch.tensor(dy))
    named = _named(case, y.detach(), tree_map(lambda tensor: tensor.grad, inputs))
    return {name: tensor.numpy() for name, tensor in named.items()}


# --- the normal distribution function -------------------------------------------------------------------------------

PHI_INTERVALS = ((-12.0, -5.0), (-5.0, -1.0), (-1.0, 1.0), (1.0, 6.0))
PHI_POINTS = 200_000
PHI_UNITS, DEVICE_PHI_UNITS = 1.1, 16.0
"""Phi passes with so many units of relative error in every interval: SciPy's and a tenth on the host, where it is the
library's own; on a device that of CUDA, documented to 5 ulp, which are 10 units."""


@dataclass(frozen=True)
class PhiErrors:
    """The largest relative errors of Phi in units on an interval: ours, of the form in PyTorch's GELU, SciPy's; and
    the limit that ours is held to."""

    interval: tuple[float, float]
    ours: float
    pytorch: float
    scipy: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether ours passes."""
        return self.ours <= self.limit


def measure_phi(backend: Backend | None = None) -> list[PhiErrors]:
    """The float32 errors of the normal distribution function, relative to its value, interval by interval.

    In PyTorch's GELU it is (1 + erf(x / sqrt 2)) / 2, which cancels for negative x.
    Raises MissingExtraError where PyTorch is not installed.
    """
    torch = need("torch", "test")
    xp = get_backend("numpy") if backend is None else backend
    limit = PHI_UNITS if isinstance(xp, NumpyBackend) else DEVICE_PHI_UNITS
    rows = []
    for interval in PHI_INTERVALS:
        x = np.linspace(*interval, PHI_POINTS).astype(np.float32)
        truth = ndtr(x.astype(np.float64))
        tensor = torch.tensor(x)
        values = (
            xp.to_numpy(xp.ndtr(xp.asarray(x))),
            ((1 + torch.erf(tensor * math.sqrt(0.5))) * 0.5).numpy(),
            ndtr(x),
        )
        ours, pytorch, scipy = (float(np.abs(value / truth - 1).max()) / UNIT for value in values)
        rows.append(PhiErrors(interval, ours, pytorch, scipy, limit))
    return rows


# --- what is measured -----------------------------------------------------------------------------------------------

_TOKENS = {"B": 8, "H": 256, "C": 384}
_IMAGE = {"B": 8, "H": 16, "W": 16, "C": 384}
_GRID = {"B": 4, "H": 16, "W": 14, "N": 16, "S": 24}

SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "linear": {**_TOKENS, "K": 1152},
        "linear_no_bias": {**_TOKENS, "K": 384},
        "layer_norm": _TOKENS,
        "layer_norm/C=2": {**_TOKENS, "C": 2},
        "layer_norm/mean=1000": _TOKENS,
        "gelu": {**_TOKENS, "C": 1152},
        "softmax": {"B": 8, "H": 256, "K": 1000},
        "softmax/saturated": {"B": 8, "H": 384, "K": 3},
        "split_attention": {**_IMAGE, "K": 3},
        "patch_embed": {"B": 8, "C": 3, "H": 16, "W": 16, "P": 7, "Q": 7, "K": 192},
        "global_average_pool": _IMAGE,
        "dropout": _TOKENS,
        "drop_path": _IMAGE,
        "residual/skip_lam": _IMAGE,
        "cross_entropy/smoothed": {"B": 64, "K": 1000},
        "cross_entropy/saturated": {"B": 64, "K": 1000},
        "soft_cross_entropy": {"B": 64, "K": 1000},
        "mlp": _GRID,
        "height_branch": _GRID,
        "width_branch": _GRID,
        "channel_branch": _GRID,
        "permute_mlp": _GRID,
        "weighted_permute_mlp": _GRID,
        "downsample": {"B": 8, "H": 16, "W": 16, "C": 192, "K": 384, "P": 2},
        "permutator": _GRID,
        "permutator/masks": _GRID,
        "vision_permutator": {"B": 2, "H": 8, "W": 7, "N": 16, "S": 12, "P": 7, "K": 1000},
        "model_loss": {"B": 8, "H": 8, "W": 7, "N": 16, "S": 12, "P": 7, "K": 1000},
    }
)
"""The cases of the table, with sizes as in the published models: 2,048 tokens of 384 channels."""


def _published(config: ViPConfig) -> Callable[[Generator, Mapping[str, int]], Inputs]:
    def draw(rng: Generator, sizes: Mapping[str, int]) -> Inputs:
        B = sizes["B"]
        images = rng.normal(size=(B, config.in_channels, *config.image_size))
        params = unflatten(initial_parameters(config, int(rng.integers(2**31))))
        labels = rng.integers(0, config.num_classes, size=B)
        return (images, params), {"config": config, "labels": labels, "label_smoothing": 0.1}

    return draw


def _official_loss(images: Any, params: Any, *, config: ViPConfig, labels: Any, label_smoothing: float) -> Any:
    """`model_loss` in PyTorch's usual form, through the module with the official names."""
    torch = need("torch", "test")
    with torch.device("meta"):
        module = torch_vip(config)
    logits = torch.func.functional_call(module, dict(tree_arrays(params)), (images,))
    return torch_twins.cross_entropy(logits, labels=labels, label_smoothing=label_smoothing)


class _Published(Case):
    """A published model, beside the module with the official names."""

    name = "vip_s7"
    twin = staticmethod(_official_loss)


VIP_S7 = _Published(
    op=model_loss,
    draw=_published(get_config("vip_s7")),
    sizes=MappingProxyType({"B": 2}),
    ranges=MappingProxyType({"B": (2, 8)}),
    kind="model",
    one_shot=True,
)
"""The published vip_s7, whole, with its official initialisation, on the loss of a batch of two 224 x 224 images."""


def selected(names: Sequence[str]) -> list[tuple[Case, Mapping[str, int]]]:
    """The cases of the table with their sizes: those named, or all.

    Raises ValueError for a name that is not in the table.
    """
    table = {name: (CASES[name], sizes) for name, sizes in SIZES.items()} | {VIP_S7.name: (VIP_S7, VIP_S7.sizes)}
    for name in names:
        if name not in table:
            raise ValueError(f"case: got {name!r}, expected one of {', '.join(table)}")
    return [table[name] for name in names or table]


# --- the page -------------------------------------------------------------------------------------------------------

PREFACE = """# float32 accuracy

Is a float32 gradient from this library as good as one from PyTorch? This page is written by

    {command}

It takes the same float32 inputs, computes value and gradients in float64 with the readable op, and measures how far
float32 is off: here ("ours") and in PyTorch. The figures are the largest difference in the tensor, in units of
2^-24 of the tensor's largest entry, as geometric means over {seeds} seeds. The ratio is ours over PyTorch's; below 1 we
are nearer to float64. An error below half a unit counts as half a unit in ratios: a correctly rounded result has that
much.

Each gradient, and the value of each op, is held to a ratio of at most {tensor_ratio:g}, or to an error of at most
{tensor_units:g} units in every seed; all gradients of a block or a model together to a ratio of at most \
{whole_ratio:g}. {verdict}

Measured with {versions}. Another processor has another matrix product and other figures.
"""

OPS_HEADING = """
## Ops, tensor by tensor

| op | sizes | tensor | ours | PyTorch | ratio | |
|---|---|---|---:|---:|---:|---|
"""

PHI_HEADING = """
## The normal distribution function, relative to its value

The largest relative error of Phi(x) in units of 2^-24 over {points:,} points of each interval; ours is held to
{limit:g}. PyTorch's is (1 + erf(x / sqrt 2)) / 2, the form in its GELU, which has no correct digit left in the tail.

| x | ours | PyTorch | SciPy | |
|---|---:|---:|---:|---|
"""

LAYERS_HEADING = """
## Layers, blocks and models, all gradients together

"vision_permutator" and "model_loss" are a model of four blocks with a 2x2 merge; "vip_s7" is the published model,
whole, with its official initialisation, {vip_batch} images of 224 x 224.

| layer or model | sizes | value, ratio | gradients | ratio of all | worst gradient | ours | PyTorch | ratio | |
|---|---|---:|---:|---:|---|---:|---:|---:|---|
"""


def page(results: Sequence[CaseErrors], phi: Sequence[PhiErrors], *, command: str, seeds: int) -> str:
    """The Markdown page of `results` and of the errors of Phi."""
    failed = [result.name for result in results if not result.ok] + ["Phi"] * (not all(row.ok for row in phi))
    verdict = f"**Not met by: {', '.join(failed)}.**" if failed else "All of this page meets that."
    text = PREFACE.format(
        command=command,
        seeds=seeds,
        tensor_ratio=TENSOR_RATIO,
        tensor_units=TENSOR_UNITS,
        whole_ratio=WHOLE_RATIO,
        verdict=verdict,
        versions=versions(),
    )
    ops = [result for result in results if result.kind == "op"]
    if ops:
        text += OPS_HEADING + "".join(_op_row(result, tensor) for result in ops for tensor in result.tensors)
    layers = [result for result in results if result.kind != "op"]
    if layers:
        text += LAYERS_HEADING.format(vip_batch=VIP_S7.sizes["B"]) + "".join(map(_layer_row, layers))
    text += PHI_HEADING.format(points=PHI_POINTS, limit=phi[0].limit)
    return text + "".join(map(_phi_row, phi))


def _phi_row(row: PhiErrors) -> str:
    low, high = row.interval
    return f"| {low:g} to {high:g} | {row.ours:.2f} | {row.pytorch:,.2f} | {row.scipy:.2f} | {_mark(row.ok)} |\n"


def _op_row(result: CaseErrors, tensor: TensorErrors) -> str:
    label = VALUE if tensor.name == VALUE else f"d{tensor.name}"
    return f"| {result.name} | {_sizes(result)} | {label} | {_figures(tensor)} | {_mark(tensor.ok)} |\n"


def _layer_row(result: CaseErrors) -> str:
    (value,) = (tensor for tensor in result.tensors if tensor.name == VALUE)
    worst = max(result.gradients, key=lambda tensor: tensor.ratio)
    return (
        f"| {result.name} | {_sizes(result)} | {value.ratio:.2f} | {len(result.gradients)} | {result.ratio:.2f} "
        f"| d{worst.name} | {_figures(worst)} | {_mark(result.ok)} |\n"
    )


def _figures(tensor: TensorErrors) -> str:
    ours, pytorch = (_typical(errors) for errors in (tensor.ours, tensor.pytorch))
    return f"{ours} | {pytorch} | {tensor.ratio:.2f}"


def _typical(errors: Sequence[float]) -> str:
    """The geometric mean, errors of zero counted as FLOOR; "exact" where all are zero."""
    return f"{geometric_mean([error or FLOOR for error in errors]):.2f}" if any(errors) else "exact"


def _sizes(result: CaseErrors) -> str:
    return " ".join(f"{letter}={size}" for letter, size in result.sizes.items())


def _mark(ok: bool) -> str:
    return "ok" if ok else "**FAIL**"


def versions() -> str:
    """What the figures depend on: the versions, and which matrix product NumPy runs on this processor."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch"))
    blas = [
        f"{library['internal_api']} {library.get('version')} ({library['architecture']})"
        for library in need("threadpoolctl", "test").threadpool_info()
        if "architecture" in library and "numpy" in library["filepath"]
    ]
    return f"Python {platform.python_version()}, {packages}" + "".join(f", NumPy's {name}" for name in blas)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; the exit status is 1 where a limit is not met."""
    parser = argparse.ArgumentParser(prog="python -m tools.accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="a case of the table; repeatable")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"inputs drawn for each case (default {SEEDS})")
    parser.add_argument("--backend", default="numpy", help="where our float32 runs (default numpy)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write the page (default: print it)")
    given = parser.parse_args(arguments)
    try:
        check_outputs({"--output": given.output})
        cases = selected(given.case)
        backend = get_backend(given.backend)
        results = []
        for case, sizes in cases:
            result = measure(case, sizes, seeds=given.seeds, backend=backend)
            print(f"{'ok  ' if result.ok else 'FAIL'} {result.name}: {result.ratio:.2f} x PyTorch's", file=sys.stderr)
            results.append(result)
        phi = measure_phi(backend)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    command = " ".join(["python -m tools.accuracy", *(sys.argv[1:] if arguments is None else arguments)])
    text = page(results, phi, command=command, seeds=given.seeds)
    if given.output is None:
        print(text)
    else:
        write_text(given.output, text)
    return 0 if all(result.ok for result in results) and all(row.ok for row in phi) else 1


if __name__ == "__main__":
    sys.exit(main())
