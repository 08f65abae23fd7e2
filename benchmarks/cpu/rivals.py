"""What else a user could pick: the network of PyTorch in ONNX Runtime, OpenVINO and JAX, from the extra `benchmark`.

Each gets the weights of PyTorch's module, and its results are held against PyTorch's before anything is timed.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.cpu.work import LEARNING_RATE, WEIGHT_DECAY, Step, Work, images_and_labels
from vipnp.core import HostArray

LARGEST_DIFFERENCE = 1e-4
"""Of a result from PyTorch's, relative to its largest entry: far above the rounding of float32, below that of half."""


def refuse_difference(contender: str, results: Iterable[tuple[str, Any, Any]]) -> None:
    """Raise RuntimeError where one of (name, result, PyTorch's) is not PyTorch's to rounding."""
    for name, result, expected in results:
        result, expected = np.asarray(result), np.asarray(expected)
        difference = float(np.max(np.abs(result - expected)) / np.max(np.abs(expected)))
        if not difference <= LARGEST_DIFFERENCE:
            raise RuntimeError(
                f"{contender}: {name} differs from PyTorch's by {difference:.1e} of its largest entry, "
                f"expected at most {LARGEST_DIFFERENCE}"
            )


def torch_logits(work: Work, cores: int) -> tuple[Any, HostArray, HostArray]:
    """PyTorch's module in inference, the images, and its logits."""
    import torch

    from tools.torch_vip import torch_vip

    torch.set_num_threads(cores)
    config = work.config()
    module = torch_vip(config).eval()
    images, _ = images_and_labels(work, config)
    with torch.inference_mode():
        return module, images, module(torch.from_numpy(images)).numpy()


def onnxruntime_step(work: Work, cores: int) -> Step:
    """Inference by ONNX Runtime, from the graph that PyTorch's exporter writes."""
    import onnxruntime
    import torch

    module, images, logits = torch_logits(work, cores)
    graph = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated: its successor took eight times as long for the same graph.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.from_numpy(images),),
            graph,  # type: ignore[arg-type] # a buffer serves as well as a path
            input_names=["images"],
            dynamo=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(graph.getvalue(), options, providers=["CPUExecutionProvider"])

    def infer() -> Any:
        return session.run(None, {"images": images})

    refuse_difference("onnxruntime", [("logits", infer()[0], logits)])
    return infer


def openvino_step(work: Work, cores: int) -> Step:
    """Inference by OpenVINO, told to answer soon and to compute in float32."""
    import openvino
    import torch

    module, images, logits = torch_logits(work, cores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it traces the module, which PyTorch calls deprecated
        graph = openvino.convert_model(module, example_input=torch.from_numpy(images))
    settings = {
        "INFERENCE_NUM_THREADS": cores,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)

    def infer() -> Any:
        return compiled(images)

    refuse_difference("openvino", [("logits", infer()[0], logits)])
    return infer


def jax_step(work: Work, cores: int) -> Step:
    """The forward ops of this library on jax.numpy, compiled by XLA, and its gradient by `jax.grad`.

    XLA takes as many threads as the process may use cores.
    """
    import jax
    import torch
    from jax import numpy as jnp
    from jax.scipy.special import erfc

    from vipnp.backends.array_api import ArrayAPIBackend
    from vipnp.core.tree import unflatten
    from vipnp.models.vision_permutator import vision_permutator

    class Traced(ArrayAPIBackend):
        """jax.numpy, and what stands for its arrays while a function is traced."""

        def ndtr(self, x: Any) -> Any:
            return 0.5 * erfc(-(0.5**0.5) * x)  # as in jax.nn.gelu

        def owns(self, x: object) -> bool:
            return isinstance(x, jax.Array)

    xp = Traced(jnp).inference()
    config = work.config()
    module, host_images, logits = torch_logits(work, cores)
    host_labels = images_and_labels(work, config)[1]
    images, labels = jnp.asarray(host_images), jnp.asarray(host_labels)
    params = {name: jnp.array(tensor.numpy()) for name, tensor in module.state_dict().items()}

    def network(params: dict[str, Any], images: Any) -> Any:
        tree: Any = unflatten(params)
        return xp.run(vision_permutator, images, tree, config=config)[0]

    infer = jax.jit(network)
    if work.task == "infer":
        refuse_difference("jax", [("logits", infer(params, images), logits)])
        return lambda: jax.block_until_ready(infer(params, images))

    def loss(params: dict[str, Any], images: Any, labels: Any) -> Any:
        scores = jax.nn.log_softmax(network(params, images))
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))

    gradients = jax.jit(jax.value_and_grad(loss))
    module.train()
    expected = module(torch.from_numpy(host_images))
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(host_labels)).backward()  # type: ignore[no-untyped-call]
    _, grads = gradients(params, images, labels)
    refuse_difference("jax", [(f"gradient of {n}", grads[n], p.grad.numpy()) for n, p in module.named_parameters()])

    def adamw(step: Any, params: Any, grads: Any, mean: Any, square: Any) -> Any:
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, grads)

        def update(p: Any, m: Any, v: Any) -> Any:
            decayed = p * (1 - LEARNING_RATE * WEIGHT_DECAY) if p.ndim >= 2 else p
            return decayed - LEARNING_RATE * (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.999**step)) + 1e-8)

        return step + 1, jax.tree.map(update, params, mean, square), mean, square

    update_all = jax.jit(adamw)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [jnp.float32(1), params, zeros, zeros]

    def train() -> None:
        step, params, mean, square = state
        _, grads = gradients(params, images, labels)
        state[:] = jax.block_until_ready(update_all(step, params, grads, mean, square))

    return train


RIVALS: Mapping[str, Callable[[Work, int], Step]] = MappingProxyType(
    {"onnxruntime": onnxruntime_step, "openvino": openvino_step, "jax": jax_step}
)
"""Name, which is also that of the library -> (work, cores) -> the step. Only `jax` trains."""
