"""`python -m tests.cuda_emulator.pytorch_step`: what PyTorch's eager step may take where sass.py estimates ours.

Traces the training step of the module that the benchmarks compare with, op by op: forward, loss and backward pass on
tensors without data, clipping and the foreach AdamW on real ones. An op is one launch that reads its operands and
writes its results, each once; views are free. Bytes and products take what sass.py says that they take in ours. An
estimate, no measurement: `Machine` of sass.py holds what both assume, docs/cuda.md what is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, ClassVar, NamedTuple

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

from tests.cuda_emulator.sass import (
    BATCH,
    MODEL,
    PRECISIONS,
    TOTALS,
    memory_floor,
    memory_seconds,
    product_seconds,
    total,
)
from tools.arguments import takes_none
from tools.torch_vip import torch_vip
from vipnp.models import get_config

aten = torch.ops.aten
NO_KERNEL = {aten._unsafe_view, aten.empty, aten.empty_like, aten.lift_fresh}
"""Ops that move nothing, beside the views and those that write no tensor."""

OVERWRITING = {aten.copy_, aten.fill_, aten.zero_}
"""Ops that do not read the operand they write."""


class Op(NamedTuple):
    """One launch. operations : of a product, 0 of all others; dtype : of its first result."""

    name: str
    moved: int
    operations: int
    dtype: str

    @property
    def seconds(self) -> float:
        if self.operations:
            return product_seconds(self.operations, self.moved, self.dtype)
        return memory_seconds(self.moved)


def bytes_of(tensor: torch.Tensor) -> int:
    """Of the memory behind a tensor: what is expanded counts once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(sizes) * tensor.element_size()


def distinct(tree: Any) -> dict[int, torch.Tensor]:
    return {id(leaf): leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)}


class Recorder(TorchDispatchMode):
    """Notes every op that launches something."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: list[Op] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func._overloadpacket
        given = zip(func._schema.arguments, args, strict=False)
        changed = distinct([value for about, value in given if about.alias_info and about.alias_info.is_write])
        read, written = distinct((args, kwargs)), distinct(result) | changed
        if func.is_view or packet in NO_KERNEL or not written:
            return result
        if packet in OVERWRITING:
            read = {key: tensor for key, tensor in read.items() if key not in changed}
        moved = sum(map(bytes_of, [*read.values(), *written.values()]))
        operations = flop_registry[packet](*args, **kwargs, out_val=result) if packet in flop_registry else 0
        dtype = str(next(iter(written.values())).dtype).removeprefix("torch.")
        self.ops.append(Op(str(packet), moved, operations, dtype))
        return result


class Autocast(TorchFunctionMode):
    """What autocast to bfloat16 does on CUDA with the functions of this model; a weight is cast once a step.

    Source: the op reference in PyTorch's documentation of torch.amp. PyTorch's own refuses tensors without data.
    """

    TO: ClassVar[dict[Any, torch.dtype]] = {
        functional.linear: torch.bfloat16,
        functional.conv2d: torch.bfloat16,
        functional.layer_norm: torch.float32,
        functional.cross_entropy: torch.float32,
        torch.Tensor.softmax: torch.float32,
    }

    def __init__(self) -> None:
        super().__init__()
        self.weights: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if (dtype := self.TO.get(func)) is not None:
            args, kwargs = tree_map_only(torch.Tensor, lambda each: self.cast(each, dtype), (args, kwargs))
        return func(*args, **(kwargs or {}))

    def cast(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.dtype == dtype:
            return tensor
        if not isinstance(tensor, torch.nn.Parameter):
            return tensor.to(dtype)
        if id(tensor) not in self.weights:
            self.weights[id(tensor)] = tensor.to(dtype)
        return self.weights[id(tensor)]


def traced(work: Callable[[], object]) -> list[Op]:
    """The launches of that work."""
    with Recorder() as recorder:
        work()
    return recorder.ops


def gradients(precision: str) -> list[Op]:
    """Of the loss, smoothed as in our step, and its gradients."""
    config = get_config(MODEL)
    with torch.device("meta"):
        module = torch_vip(config)
        images = torch.empty(BATCH, config.in_channels, *config.image_size)
        labels = torch.empty(BATCH, dtype=torch.long)

    def work() -> None:
        with Autocast() if precision == "bfloat16" else nullcontext():
            loss = functional.cross_entropy(module(images), labels, label_smoothing=0.1)
        loss.backward()

    return traced(work)


def update() -> list[Op]:
    """Of the clipping and of AdamW, whose state is there already."""
    with torch.device("meta"):
        shapes = [parameter.shape for parameter in torch_vip(get_config(MODEL)).parameters()]
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.AdamW(parameters, foreach=True)

    def work() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()

    work()
    return traced(work)


def report() -> Iterator[str]:
    """The table, line by line."""
    yield TOTALS
    of_update = update()
    for precision in PRECISIONS:
        ops = gradients(precision) + of_update
        kernels = [each for each in ops if not each.operations]
        yield total(
            f"PyTorch eager, {precision}",
            [memory_floor(each.moved) for each in kernels],
            [each.seconds for each in kernels],
            [each.seconds for each in ops if each.operations],
        )


if __name__ == "__main__":
    takes_none(__doc__)
    for each in report():
        print(each, flush=True)
