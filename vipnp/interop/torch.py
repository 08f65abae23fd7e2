"""Our ops, layers and models inside PyTorch: its graph, its optimisers and its trainers, our pullbacks.

from vipnp.interop.torch import TorchModule, differentiable

gelu = differentiable(vipnp.ops.gelu)               # a function of tensors that autograd goes through
net = TorchModule(vipnp.create_model("vip_s7"))     # an nn.Module whose parameters are the model's own memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

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

__all__ = ["TorchModule", "differentiable", "to_array", "to_tensor"]

Tensor = torch.Tensor
Function = TypeVar("Function", bound=Callable[..., Any])


def _never_compiled(function: Function) -> Function:
    """`function` as it is under `torch.compile` too, which else compiles our calls of NumPy one by one, as its own.
    PyTorch is told so at the first trace, since `torch.compiler.disable` loads the compiler."""

    @wraps(function)
    def as_it_is(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)  # type: ignore[no-untyped-call]
        return function(*args, **kwargs)

    return as_it_is  # type: ignore[return-value]


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
        For what is no tensor, and what the backend cannot hold: a tensor on the host belongs to a backend of NumPy
        arrays.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor: got {shown(tensor)}, expected a tensor of PyTorch")
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if xp.array_type is np.ndarray:
        if tensor.device.type != "cpu":
            raise TypeError(f"tensor: got one on {tensor.device}, expected one on the cpu for backend {xp.name!r}")
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.dtype is torch.bfloat16:
            kind = "a quantized one" if tensor.is_quantized else f"{tensor.dtype} of layout {tensor.layout}"
            raise TypeError(f"tensor: got {kind}, expected a dense one of a dtype that NumPy has")
        return tensor.numpy()
    return xp.namespace.from_dlpack(tensor.contiguous())


def to_tensor(array: Array) -> Tensor:
    """An array as a tensor, in the same memory; a copy of what PyTorch cannot hold: what is read-only, such as the
    broadcast gradient of a mean, or has a negative stride, such as a reversed array.

    Parameters
    ----------
    array : of NumPy or of another library with DLPack.

    Returns
    -------
    torch.Tensor
        On the device of the array.

    Raises
    ------
    TypeError
        For what is no array.
    """
    if not hasattr(array, "__dlpack__") and not isinstance(array, np.generic):
        raise TypeError(f"array: got {shown(array)}, expected an array")
    if isinstance(array, np.ndarray | np.generic):
        reversed_ = any(stride < 0 for stride in array.strides)
        return torch.from_numpy(array.copy() if reversed_ else np.require(array, requirements="W"))
    tensor: Tensor = torch.utils.dlpack.from_dlpack(array)
    return tensor


class _Function(torch.autograd.Function):
    """y = op(xp, *args, **constants) with the op's pullback as its derivative.

    The pullback is used once and let go, since those of stages and models work once. A second backward pass through the
    same node (`retain_graph=True`) runs the op again. There are no second derivatives, which PyTorch says where they
    are asked for; and it refuses tensors that were written to since the forward pass, since the pullback looks at them.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Any, Any]], xp: Backend, *tensors: Tensor) -> Any:
        y, ctx.pullback = run(*(to_array(xp, tensor) for tensor in tensors))
        ctx.run, ctx.xp, ctx.several = run, xp, isinstance(y, tuple)
        ctx.save_for_backward(*tensors)
        # A copy, since y may be what the pullback looks at, or the memory of x: y.mul_(2) must spoil neither.
        return tuple(to_tensor(part).clone() for part in y) if ctx.several else to_tensor(y).clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors  # asked for in any case: this is where PyTorch compares their versions
        pullback, ctx.pullback = ctx.pullback, None
        if pullback is None:
            _, pullback = ctx.run(*(to_array(ctx.xp, tensor) for tensor in tensors))
        dy = tuple(to_array(ctx.xp, cotangent.contiguous()) for cotangent in cotangents)
        found = [to_tensor(gradient) for gradient in pullback(dy if ctx.several else dy[0])]
        # PyTorch keeps a gradient as it comes, and writes to it: it must not be the memory of the caller's cotangent.
        found = [gradient.clone() if _overlaps(gradient, cotangents) else gradient for gradient in found]
        if torch.is_grad_enabled():  # by create_graph=True
            found = [_Once.apply(gradient, *cotangents, *tensors) for gradient in found]  # type: ignore[no-untyped-call]
        return None, None, *found


def _overlaps(tensor: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether a tensor lies in the memory of one of the others."""
    start, end = _span(tensor)
    return any(start < its_end and its_start < end for its_start, its_end in map(_span, others))


def _span(tensor: Tensor) -> tuple[int, int]:
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size() if tensor.numel() else start


class _Once(torch.autograd.Function):
    """A gradient that depends on the tensors of the op in a way that is not known: to be used, not differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError("vipnp.interop.torch: got a gradient to differentiate, expected first derivatives alone")


def differentiable(op: Callable[..., tuple[Any, Any]], *, backend: str | Backend = "numpy") -> Callable[..., Any]:
    """`op` as a function of PyTorch tensors whose backward pass is the op's own pullback.

    Parameters
    ----------
    op : an op or a layer, `y, pullback = op(xp, ...)`. Where y is a tuple of arrays, so is the cotangent.
    backend : where it runs: a name or a `Backend`. "numpy" and "numba" take tensors on the cpu, "cupy" on its device.

    Returns
    -------
    callable
        function(*args, **constants), which returns a tensor or a tuple of them: args are tensors or nested dicts of
        tensors, which are differentiated; constants are what the op takes by keyword, tensors among them as arrays.

    Raises
    ------
    TypeError
        If `op` is no function; from the function, if an argument is no tensor of float32 or float64 or y no array; from
        its backward pass, if the pullback does not return a tuple of one gradient for each argument.
    ValueError
        From the backward pass, if a gradient has another shape than its argument.
    """
    if not callable(op):
        raise TypeError(f"op: got {shown(op)}, expected a function y, pullback = op(xp, ...)")
    return _Differentiable(op, get_backend(backend))


@dataclass(frozen=True)
class _Differentiable:
    """What `differentiable` returns; a class, since a function within a function cannot be pickled."""

    op: Callable[..., tuple[Any, Any]]
    xp: Backend

    @_never_compiled
    def __call__(self, *args: Any, **constants: Any) -> Any:
        op, xp = self.op, self.xp
        held = {key: to_array(xp, value) if isinstance(value, Tensor) else value for key, value in constants.items()}
        named = dict(flatten({f"args[{i}]": arg for i, arg in enumerate(args)}))
        for key, value in named.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{_name(op)}: got {shown(value)} for {key}, expected a torch.Tensor")
            if value.dtype not in (torch.float32, torch.float64):
                raise TypeError(f"{_name(op)}: got {value.dtype} for {key}, expected torch.float32 or torch.float64")

        def run(*arrays: Array) -> tuple[Any, Callable[[Any], list[Array]]]:
            tree = unflatten(dict(zip(named, arrays, strict=True)))
            y, pullback = xp.run(op, *(tree[f"args[{i}]"] for i in range(len(args))), **held)
            for part in y if isinstance(y, tuple) else (y,):
                if not xp.owns(part) and not isinstance(part, np.generic):
                    raise TypeError(f"{_name(op)}: got the value {shown(part)}, expected an array or a tuple of arrays")
            shapes = {key: tuple(array.shape) for key, array in zip(named, arrays, strict=True)}
            return y, lambda dy: _gradients(op, pullback(dy), len(args), shapes)

        return _Function.apply(run, xp, *named.values())  # type: ignore[no-untyped-call]


def _gradients(op: Callable[..., Any], returned: Any, args: int, shapes: Mapping[str, tuple[int, ...]]) -> list[Array]:
    """What the pullback of `op` returned, as a list with one gradient for each of `shapes`. Raises as `differentiable`
    says."""
    if not isinstance(returned, tuple) or len(returned) != args:
        got = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise TypeError(f"pullback of {_name(op)}: got {got}, expected a tuple of {args}, one gradient an argument")
    found = dict(flatten({f"args[{i}]": gradient for i, gradient in enumerate(returned)}))
    for key, shape in shapes.items():
        its_shape = getattr(found.get(key), "shape", None)
        if its_shape is None or tuple(its_shape) != shape:
            what = shown(found.get(key)) if its_shape is None else f"shape {tuple(its_shape)}"
            raise ValueError(f"pullback of {_name(op)}: got {what} for the gradient of {key}, expected shape {shape}")
    return [found[key] for key in shapes]


def _name(op: Callable[..., Any]) -> str:
    return getattr(op, "__name__", None) or shown(op)


class TorchModule(torch.nn.Module):
    """A Vision Permutator as an `nn.Module`: PyTorch's parameters are the memory of the model's weights.

    An optimiser of PyTorch that writes in place so trains `model` too, and `state_dict` has the official names. Other
    tensors in the place of the parameters, such as `load_state_dict(assign=True)` puts there, are given to `model` with
    the next forward pass, but not plain tensors, which `torch.func.functional_call` lends for one pass. A weight that
    is computed from others, by pruning or a parametrization, is not the model's. `torch.compile` compiles what is
    around the module and runs the module as it is.

    Parameters
    ----------
    model : the model. Its own `set_parameters` and `load_state_dict` put other arrays in the place of its weights,
        which cuts the tie, and the forward pass then refuses: load through `self.load_state_dict`.
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
        self._tie_copies()

    def _own(self) -> dict[str, torch.nn.Parameter]:
        """Without the plain tensors that `torch.func.functional_call` lends for one forward pass."""
        return {name: own for name, own in self.named_parameters() if isinstance(own, torch.nn.Parameter)}

    def _where(self) -> dict[str, int]:
        return {name: parameter.data_ptr() for name, parameter in self._own().items()}

    def _tie(self) -> None:
        """Make the memory of the parameters that of the model's weights, where they are all there in its dtype."""
        found, dtype = self._own(), getattr(torch, self.vip.dtype)
        names = list(self.vip.parameters())
        if all(name in found and found[name].dtype == dtype for name in names):
            self.vip.set_parameters({name: to_array(self.vip.backend, found[name]) for name in names})
        self._shared, self._places = self.vip.params, self._where()

    def _tie_copies(self) -> None:
        """Tie where a parameter is a copy: of memory that PyTorch cannot write to or has no strides for, or of a copied
        module; not in a shallow copy, which shares model and parameters with the first."""
        self._shared, self._places = self.vip.params, self._where()
        theirs = {name: to_tensor(array).data_ptr() for name, array in self.vip.parameters().items()}
        if self._places != theirs:
            self._tie()

    def _weight(self, name: str) -> Tensor:
        """A parameter by its official name, or what pruning or a parametrization computes in its place."""
        path, _, last = name.rpartition(".")
        weight: Tensor = getattr(self.get_submodule(path), last)
        return weight

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_shared", "_places")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy, or what comes out of a pickle: its parameters are the memory of its own model, as here."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._tie_copies()

    @_never_compiled
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
            If the images do not fit, the model was given other weights than those shared, or the parameters another
            dtype.
        """
        if not isinstance(images, Tensor):
            raise TypeError(f"images: got {shown(images)}, expected a torch.Tensor")
        config, dtype = self.vip.config, self.vip.dtype
        expected = (config.in_channels, *config.image_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(f"images: got shape {tuple(images.shape)}, expected (B, {', '.join(map(str, expected))})")
        if self.vip.params is not self._shared:
            raise ValueError(
                "model: got other weights than the parameters of this module, put there by set_parameters, "
                "load_state_dict or reset_classifier of the model; expected the same memory: make a new TorchModule"
            )
        if self._where() != self._places:
            self._tie()
        parameters = {name: self._weight(name) for name in self.vip.parameters()}
        for name, parameter in parameters.items():
            if parameter.dtype != getattr(torch, dtype):
                raise TypeError(
                    f"{name}: got a parameter of {parameter.dtype}, expected {dtype}, the dtype of the model: instead "
                    "of module.double() or module.half(), make a model of another dtype"
                )
        if images.dtype != getattr(torch, dtype):
            raise TypeError(f"images: got dtype {images.dtype}, expected {dtype}, that of the model")
        masks = None
        if self.training and self.rng is not None:
            masks = draw_masks(self.vip.backend, self.rng, config, images.shape[0], dtype)
        logits: Tensor = self._function(images, unflatten(parameters), config=config, masks=masks)
        return logits
