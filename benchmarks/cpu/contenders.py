"""The contenders: each builds the step of a work, a function without arguments that runs it once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.cpu.rivals import RIVALS, refuse_difference
from benchmarks.cpu.work import LEARNING_RATE, WEIGHT_DECAY, Step, Work, images_and_labels
from vipnp.core import HostArray
from vipnp.models import ViPConfig

# --- vipnp -----------------------------------------------------------------------------------------------------------


def vipnp_step(backend: str, *, sharded: bool, **options: Any) -> Callable[[Work, int], Step]:
    """The step of this library on one of its backends; `sharded` gives it one shard of the batch a core."""

    def build(work: Work, cores: int) -> Step:
        from vipnp import VisionPermutator, get_backend
        from vipnp.optim import AdamW

        config = work.config()
        xp = get_backend(backend, **options, **({"shards": cores} if sharded else {}))
        model = VisionPermutator(config, backend=xp)
        images, labels = images_and_labels(work, config)
        if work.task == "infer":
            return lambda: model(images)
        optimizer = AdamW(xp, weight_decay=WEIGHT_DECAY)

        def train() -> None:
            _, grads = model.loss_and_grads(images, labels)
            model.set_parameters(optimizer.update(model.parameters(), grads, lr=LEARNING_RATE))

        return train

    return build


# --- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_step(
    *, keep_memory: bool = False, compiled: bool = False, frozen: bool = False
) -> Callable[[Work, int], Step]:
    """The step of PyTorch: as it is, with malloc told to keep freed memory, or compiled; `frozen` compiles the weights
    in as constants, which serves inference alone."""

    def build(work: Work, cores: int) -> Step:
        import torch

        from tools.torch_vip import torch_vip
        from vipnp.backends.numpy import keep_freed_memory

        if keep_memory and not keep_freed_memory():
            raise RuntimeError("torch-malloc: the malloc of this system takes no such setting")
        torch.set_num_threads(cores)
        config = work.config()
        module = torch_vip(config)
        images, labels = (torch.from_numpy(array) for array in images_and_labels(work, config))
        model = torch.compile(module, options={"freezing": frozen}) if compiled else module
        if work.task == "infer":
            module.eval()

            def infer() -> Any:
                with torch.inference_mode():
                    return model(images)

            if compiled:
                with torch.inference_mode():
                    refuse_difference("compiled PyTorch", [("logits", infer(), module(images))])
            return infer
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in module.parameters() if p.ndim >= 2], "weight_decay": WEIGHT_DECAY},
                {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=LEARNING_RATE,
        )

        def train() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return train

    return build


# --- the floor -------------------------------------------------------------------------------------------------------


def linear_layers(config: ViPConfig) -> list[tuple[int, int, int]]:
    """(rows for one image, inputs, outputs) of every linear layer and convolution of the model."""
    shapes = config.stages()
    first = shapes[0]
    layers = [(first.height * first.width, config.in_channels * config.patch_size**2, first.channels)]
    for i, shape in enumerate(shapes):
        tokens, C, S = shape.height * shape.width, shape.channels, shape.channels // shape.segments
        block = [
            (shape.segments * shape.width, shape.height * S, shape.height * S),
            (shape.height * shape.segments, shape.width * S, shape.width * S),
            (tokens, C, C),
            (1, C, C // 4),
            (1, C // 4, 3 * C),
            (tokens, C, C),
            (tokens, C, config.mlp_ratio * C),
            (tokens, config.mlp_ratio * C, C),
        ]
        layers += block * shape.depth
        if shape.merge:
            layers.append((tokens // shape.merge**2, C * shape.merge**2, shapes[i + 1].channels))
    return [*layers, (1, shapes[-1].channels, config.num_classes)]


def weights_of(layers: Sequence[tuple[int, int, int]]) -> list[HostArray]:
    """(outputs, inputs) a layer, each in memory of its own, as in the model: most are in no core's cache when used."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((N, K), dtype=np.float32) for _, K, N in layers]


def floor_step(products: str) -> Callable[[Work, int], Step]:
    """The matrix products of the step and nothing else, in memory that is there already, one shard a core.

    Layouts are those of the library: y = x weight^T forwards, dy weight and dy^T x backwards. "auto" multiplies as the
    library does: in inference by its own kernels.
    """

    def build(work: Work, cores: int) -> Step:
        from vipnp.backends.numba.products import PRODUCTS
        from vipnp.backends.numpy.blas import openblas_product
        from vipnp.backends.numpy.threads import Crew, bounds

        layers = linear_layers(work.config())
        weights = weights_of(layers)
        crew = Crew(cores)
        if products == "auto" and work.task == "infer":
            from benchmarks.cpu.panels import panel_products

            return panel_products(layers, weights, crew, work.batch)
        product = openblas_product(step=None) if products == "openblas" else PRODUCTS[products]()
        parts = [part.stop - part.start for part in bounds(work.batch, min(cores, work.batch))]
        rng = np.random.default_rng(0)

        def arrays(samples: int) -> dict[tuple[int, int, int], tuple[Any, ...]]:
            return {
                (M, K, N): (
                    rng.standard_normal((samples * M, K), dtype=np.float32),
                    rng.standard_normal((samples * M, N), dtype=np.float32),
                    np.empty((samples * M, K), np.float32),
                    np.empty((N, K), np.float32),
                )
                for M, K, N in set(layers)
            }

        memory = [arrays(samples) for samples in parts]

        def shard(i: int) -> None:
            for layer, weight in zip(layers, weights, strict=True):
                x, dy, dx, dweight = memory[i][layer]
                product(x, weight.T, dy)
                if work.task == "train":
                    product(dy, weight, dx)
                    product(dy.T, x, dweight)

        return lambda: crew.run(shard, len(parts))

    return build


def weights_step(work: Work, cores: int) -> Step:
    """All weights of the linear layers read once, on all cores: no step can take less time than its memory does."""
    from vipnp.backends.numpy.threads import Crew

    weights, crew = weights_of(linear_layers(work.config())), Crew(cores)
    return lambda: crew.run(lambda i: [weight.max() for weight in weights[i::cores]], cores)


CONTENDERS: Mapping[str, Callable[[Work, int], Step]] = MappingProxyType(
    {
        "torch": torch_step(),
        "torch-malloc": torch_step(keep_memory=True),
        "torch-compile": torch_step(compiled=True),
        "torch-freeze": torch_step(compiled=True, frozen=True),
        **RIVALS,
        "numpy": vipnp_step("numpy", sharded=False),
        "numpy-shards": vipnp_step("numpy", sharded=True),
        "numba-auto": vipnp_step("numba", sharded=True, products="auto"),
        "numba": vipnp_step("numba", sharded=True, products="openblas"),
        "numba-onednn": vipnp_step("numba", sharded=True, products="onednn"),
        "numba-mkl": vipnp_step("numba", sharded=True, products="mkl"),
        "floor": floor_step("openblas"),
        "floor-onednn": floor_step("onednn"),
        "floor-mkl": floor_step("mkl"),
        "floor-auto": floor_step("auto"),
        "floor-weights": weights_step,
    }
)
"""Name -> (work, cores) -> the step. `torch` is what the ratios refer to."""

INFERENCE_ALONE = ("torch-freeze", "onnxruntime", "openvino")
"""Contenders that take no training step."""
