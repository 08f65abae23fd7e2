"""Our ops, layers and models inside PyTorch: its graph, its optimisers and its trainers, our pullbacks.

from vipnp.interop.torch import TorchModule, differentiable

gelu = differentiable(vipnp.ops.gelu)               # a function of tensors that autograd goes through
net = TorchModule(vipnp.create_model("vip_s7"))     # an nn.Module whose parameters are the model's own memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

try:
    import torch
    import torch.utils.dlpack
except ImportError as error:
    raise ImportError('vipnp.interop.torch needs PyTorch: pip install "torch==2.13.0"') from error

from vipnp.backends import get_backend
from vipnp.core import Array, Backend, Generator
from vipnp.core.checks import check_generator, shown
from vipnp.core.tree import flatten, unflatten
from vipnp.models import VisionPermutator, draw_masks, vision_permutator

Tensor = torch.Tensor


def to_array(xp: Backend, tensor: Tensor) -> Array:
    """The numbers of a tensor as an array, in the same memory where both are on one device.

    Parameters
    ----------
    xp : the backend of the array.
    tensor : of PyTorch.

    Returns
    -------
    Array
        Of the backend.

    Raises
    ------
    TypeError
        If the backend cannot hold them: a tensor on the host belongs to a backend of NumPy arrays.
    """
    tensor = tensor.detach()
    if xp.array_type is np.ndarray:
        if tensor.device.type != "cpu":
            raise TypeError(f"tensor: got one on {tensor.device}, expected one on the cpu for backend {xp.name!r}")
        return tensor.numpy()
    return xp.namespace.from_dlpack(tensor.contiguous())


def to_tensor(array: Array) -> Tensor:
    """An array as a tensor, in the same memory; a copy of what is read-only, such as the broadcast gradient of a mean.

    Parameters
    ----------
    array : of NumPy or of another library with DLPack.

    Returns
    -------
    torch.Tensor
        On the device of the array.
    """
    if isinstance(array, np.ndarray | np.generic):
        return torch.from_numpy(np.require(array, requirements="W"))
    tensor: Tensor = torch.utils.dlpack.from_dlpack(array)
    return tensor


class _Function(torch.autograd.Function):
    """y = op(xp, *args, **constants) with the op's pullback as its derivative.

    The pullback is used once and let go, since those of stages and models work once. A second backward pass through the
    same node (`retain_graph=True`) runs the op again. There are no second derivatives, which PyTorch says where they
    are asked for; and it refuses tensors that were written to since the forward pass, since the pullback looks at them.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Array, Any]], xp: Backend, *tensors: Tensor) -> Tensor:
        y, ctx.pullback = run(*(to_array(xp, tensor) for tensor in tensors))
        ctx.run, ctx.xp = run, xp
        ctx.save_for_backward(*tensors)
        return to_tensor(y)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        tensors = ctx.saved_tensors  # asked for in any case: this is where PyTorch compares their versions
        pullback, ctx.pullback = ctx.pullback, None
        if pullback is None:
            _, pullback = ctx.run(*(to_array(ctx.xp, tensor) for tensor in tensors))
        gradients = pullback(to_array(ctx.xp, dy.contiguous()))
        found = [to_tensor(gradient) for gradient in gradients]
        if torch.is_grad_enabled():  # by create_graph=True
            found = [_Once.apply(gradient, dy, *tensors) for gradient in found]  # type: ignore[no-untyped-call]
        return None, None, *found


class _Once(torch.autograd.Function):
    """A gradient that depends on the tensors of the op in a way that is not known: to be used, not differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError("vipnp.interop.torch: got a gradient to differentiate, expected first derivatives alone")


def differentiable(op: Callable[..., tuple[Any, Any]], *, backend: str | Backend = "numpy") -> Callable[..., Tensor]:
    """`op` as a function of PyTorch tensors whose backward pass is the op's own pullback.

    Parameters
    ----------
    op : an op or a layer, `y, pullback = op(xp, ...)`.
    backend : where it runs: a name or a `Backend`. "numpy" and "numba" take tensors on the cpu, "cupy" on its device.

    Returns
    -------
    callable
        function(*args, **constants): args are tensors or nested dicts of tensors, which are differentiated; constants
        are what the op takes by keyword, tensors among them as arrays.

    Raises
    ------
    TypeError
        If `op` is no function.
    """
    if not callable(op):
        raise TypeError(f"op: got {shown(op)}, expected a function y, pullback = op(xp, ...)")
    return _Differentiable(op, get_backend(backend))


@dataclass(frozen=True)
class _Differentiable:
    """What `differentiable` returns; a class, since a function within a function cannot be pickled."""

    op: Callable[..., tuple[Any, Any]]
    xp: Backend

    def __call__(self, *args: Any, **constants: Any) -> Tensor:
        op, xp = self.op, self.xp
        held = {key: to_array(xp, value) if isinstance(value, Tensor) else value for key, value in constants.items()}
        named = dict(flatten({str(i): arg for i, arg in enumerate(args)}))

        def run(*arrays: Array) -> tuple[Array, Callable[[Array], list[Array]]]:
            tree = unflatten(dict(zip(named, arrays, strict=True)))
            y, pullback = xp.run(op, *(tree[str(i)] for i in range(len(args))), **held)

            def flat_pullback(dy: Array) -> list[Array]:
                gradients = dict(flatten({str(i): gradient for i, gradient in enumerate(pullback(dy))}))
                return [gradients[name] for name in named]

            return y, flat_pullback

        y: Tensor = _Function.apply(run, xp, *named.values())  # type: ignore[no-untyped-call]
        return y


class TorchModule(torch.nn.Module):
    """A Vision Permutator as an `nn.Module`: PyTorch's parameters are the memory of the model's weights.

    An optimiser of PyTorch that writes in place so trains `model` too, and `state_dict` has the official names.

    Parameters
    ----------
    model : the model. Its own `set_parameters` and `load_state_dict` put other arrays in the place of its weights,
        which cuts the tie: load through `self.load_state_dict`.
    rng : draws drop path and dropout in training mode (`self.train()`), as in `loss_and_grads`; None means neither.

    Raises
    ------
    TypeError
        For what is no such model or generator.
    """

    def __init__(self, model: VisionPermutator, *, rng: Generator | None = None) -> None:
        super().__init__()
        if not isinstance(model, VisionPermutator):
            raise TypeError(f"model: got {shown(model)}, expected a VisionPermutator")
        if rng is not None:
            check_generator(rng)
        self.vip = model
        self.rng = rng
        self._function = differentiable(vision_permutator, backend=model.backend)
        for name, array in model.parameters().items():
            *path, last = name.split(".")
            owner: torch.nn.Module = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, torch.nn.Module())
                child = owner._modules[part]
                assert child is not None
                owner = child
            owner.register_parameter(last, torch.nn.Parameter(to_tensor(array)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, or what comes out of a pickle: its parameters are the memory of its own model, as here."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        parameters = dict(self.named_parameters())
        if all(parameter.dtype == getattr(torch, self.vip.dtype) for parameter in parameters.values()):
            self.vip.set_parameters({name: to_array(self.vip.backend, value) for name, value in parameters.items()})

    def forward(self, images: Tensor) -> Tensor:
        """The logits of images.

        Parameters
        ----------
        images : (B, in_channels, height, width), in the dtype of the model.

        Returns
        -------
        torch.Tensor
            (B, K).

        Raises
        ------
        ValueError, TypeError
            If the images do not fit.
        """
        if not isinstance(images, Tensor):
            raise TypeError(f"images: got {shown(images)}, expected a torch.Tensor")
        config, dtype = self.vip.config, self.vip.dtype
        expected = (config.in_channels, *config.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(f"images: got shape {tuple(images.shape)}, expected (B, {', '.join(map(str, expected))})")
        if images.dtype != getattr(torch, dtype):
            raise TypeError(f"images: got dtype {images.dtype}, expected {dtype}, that of the model")
        masks = None
        if self.training and self.rng is not None:
            masks = draw_masks(self.vip.backend, self.rng, config, images.shape[0], dtype)
        params: Mapping[str, Any] = unflatten(dict(self.named_parameters()))
        return self._function(images, params, config=config, masks=masks)
