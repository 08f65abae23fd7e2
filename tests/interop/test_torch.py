"""Our pullbacks inside PyTorch's autograd: its gradcheck on every case, its optimisers on our model."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError
from torch.nn.utils import prune

from tools.torch_vip import torch_vip
from vipnp import VisionPermutator, get_backend
from vipnp.audit.cases import CASES, Case, small_config
from vipnp.interop.torch import TorchModule, differentiable, to_array, to_tensor
from vipnp.ops import gelu, linear, softmax

SIZES = {"B": 3, "H": 2, "W": 1, "N": 2, "S": 4, "P": 2, "K": 5}


def tensors(tree: Any) -> Any:
    """Every float64 array of a tree as a leaf that wants a gradient."""
    if isinstance(tree, dict):
        return {key: tensors(value) for key, value in tree.items()}
    return torch.tensor(tree, requires_grad=True)


def leaves(tree: Any) -> list[torch.Tensor]:
    return [leaf for child in tree.values() for leaf in leaves(child)] if isinstance(tree, dict) else [tree]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.long] * (case.kind == "model"), id=name) for name, case in CASES.items()],
)
def test_gradcheck_of_every_case(case: Case) -> None:
    """Slow mode for ops, one projected direction for what has hundreds of parameters."""
    sizes = {letter: low for letter, (low, _) in case.ranges.items()}
    if {"H", "W"} <= set(sizes):
        sizes["W"] = sizes["H"] + 1
    args, kwargs = case.inputs(0, sizes)
    held = [tensors(arg) for arg in args]
    flat = [leaf for arg in held for leaf in leaves(arg)]
    function = differentiable(case.op)
    assert torch.autograd.gradcheck(lambda *_: function(*held, **kwargs), flat, fast_mode=case.kind != "op")


def test_gradcheck_sees_a_wrong_pullback() -> None:
    def wrong(xp: Any, x: Any) -> tuple[Any, Any]:
        y, pullback = gelu(xp, x)
        return y, lambda dy: (1.001 * pullback(dy)[0] + 1e-3,)

    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    with pytest.raises(GradcheckError):
        torch.autograd.gradcheck(differentiable(wrong), [x])


def test_a_tensor_written_to_before_the_backward_pass_is_told() -> None:
    """Ours look at it, as PyTorch's do, and gave the gradient at its new values in silence."""
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = differentiable(gelu)(x)
    with torch.no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_second_derivative_is_refused() -> None:
    """A penalty on the gradient was taken for a constant, and the loss had the gradient of the rest."""
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(differentiable(gelu)(x).sum(), x, create_graph=True)
    (once,) = torch.autograd.grad(differentiable(gelu)(x).sum(), x)
    assert torch.equal(gradient, once)
    with pytest.raises(RuntimeError, match="got a gradient to differentiate, expected first derivatives alone"):
        (gradient.square().sum() + x.sum()).backward()


def test_memory_is_shared_both_ways() -> None:
    model = VisionPermutator(small_config(SIZES), seed=1)
    module = TorchModule(model)
    name = "network.0.0.attn.proj.weight"
    weight = dict(module.named_parameters())[name]
    with torch.no_grad():
        weight[0, 1] = 7.0
    assert model.parameters()[name][0, 1] == 7.0
    model.parameters()[name][1, 0] = 8.0
    assert weight[1, 0] == 8.0
    assert list(dict(module.named_parameters())) == list(model.parameters())


@pytest.mark.parametrize("change", [np.flip, lambda a: np.broadcast_to(a, a.shape)], ids=["reversed", "read-only"])
def test_weights_that_pytorch_cannot_hold_are_shared_too(change: Any) -> None:
    """The model takes the copies; it was saved untrained."""
    model = VisionPermutator(small_config(SIZES), seed=1)
    weights = dict(model.parameters())
    model.set_parameters({**weights, "head.bias": change(weights["head.bias"])})
    module = TorchModule(model)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    assert all(np.array_equal(module.state_dict()[name], value) for name, value in model.parameters().items())
    images = torch.zeros(1, model.config.in_channels, *model.config.image_size)
    assert np.array_equal(module(images).detach().numpy(), model(images.numpy()))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_twenty_steps_equal_those_of_the_twin(backend: str) -> None:
    config = small_config(SIZES)
    xp = get_backend(backend, shards=1)
    module = TorchModule(VisionPermutator(config, backend=xp, dtype="float64", seed=2))
    twin = torch_vip(config).double()
    twin.load_state_dict({name: value.detach().clone() for name, value in module.state_dict().items()})
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(6, config.in_channels, *config.image_size)))
    labels = torch.from_numpy(rng.integers(0, config.num_classes, 6))
    losses: list[list[float]] = []
    for net in (module, twin):
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
        losses.append([])
        for _ in range(20):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-11)
    assert losses[0][-1] < losses[0][0] - 0.1


def test_the_gradient_at_the_image_and_a_second_backward_pass() -> None:
    module = TorchModule(VisionPermutator(small_config(SIZES), dtype="float64", seed=3))
    config = module.vip.config
    images = torch.randn(2, config.in_channels, *config.image_size, dtype=torch.float64, requires_grad=True)
    logits = module(images)
    first = torch.autograd.grad(logits[0, 1], images, retain_graph=True)[0]
    again = torch.autograd.grad(logits[0, 1], images)[0]
    assert torch.equal(first, again)
    assert first[1].abs().max() == 0
    assert first[0].abs().max() > 0


def test_drop_path_only_in_training() -> None:
    config = small_config(SIZES, drop_path=0.7)
    module = TorchModule(VisionPermutator(config, seed=3), rng=np.random.default_rng(0))
    images = torch.randn(4, config.in_channels, *config.image_size)
    assert not torch.equal(module.train()(images), module(images))
    assert torch.equal(module.eval()(images), module(images))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(2, 2, 3, 3), ValueError, r"images: got shape \(2, 2, 3, 3\), expected \(B, "),
        (torch.zeros(2, 2, 4, 2, dtype=torch.float64), TypeError, r"images: got dtype torch.float64, expected float32"),
    ],
)
def test_images_that_do_not_fit(images: torch.Tensor, error: type[Exception], message: str) -> None:
    module = TorchModule(VisionPermutator(small_config(SIZES), seed=3))
    shape = (2, module.vip.config.in_channels, *module.vip.config.image_size)
    if error is TypeError:
        images = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(error, match=message):
        module(images)


def test_constants_may_be_tensors() -> None:
    function = differentiable(linear)
    x, weight, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((5, 3), (4, 3), (4,)))
    torch.testing.assert_close(function(x, weight, bias), torch.nn.functional.linear(x, weight, bias))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_has_a_model_of_its_own(copied: Any) -> None:
    """Its parameters are the memory of that model, as they were before, and nobody else's."""
    module = TorchModule(VisionPermutator(small_config(SIZES), seed=3), rng=np.random.default_rng(1))
    images = torch.randn(2, module.vip.config.in_channels, *module.vip.config.image_size)
    expected = module.eval()(images)
    other = copied(module)
    torch.testing.assert_close(other(images), expected, rtol=0, atol=0)
    with torch.no_grad():
        other.get_parameter("head.bias").fill_(7.0)
    assert (other.vip.parameters()["head.bias"] == 7).all()
    assert not (module.vip.parameters()["head.bias"] == 7).any()


def test_a_shallow_copy_leaves_the_first_as_it_is() -> None:
    module = TorchModule(VisionPermutator(small_config(SIZES), seed=1))
    images = torch.randn(1, module.vip.config.in_channels, *module.vip.config.image_size)
    assert torch.equal(copy.copy(module)(images), module(images))


def test_what_is_no_model_no_op_and_no_tensor() -> None:
    model: Any = VisionPermutator(small_config(SIZES), seed=3)
    for call, message in (
        (lambda: TorchModule(3), "model: got 3, expected a VisionPermutator"),  # type: ignore[arg-type]
        (lambda: TorchModule(model, rng=3), "rng: got int, expected a numpy.random.Generator"),  # type: ignore[arg-type]
        (lambda: differentiable(3), "op: got 3, expected a function"),  # type: ignore[arg-type]
        (lambda: TorchModule(model)(np.zeros((2, 3, 8, 8))), "images: got ndarray, expected a torch.Tensor"),
    ):
        with pytest.raises(TypeError, match=f"^{message}"):
            call()


def sine_and_product(xp: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Two values of two arguments."""
    sine, cosine = np.sin(x), np.cos(x)

    def pullback(cotangents: Any) -> tuple[Any, Any]:
        dsine, dproduct = cotangents
        return dsine * cosine + dproduct * y, (dproduct * x).sum(axis=0)

    return (sine, x * y), pullback


@pytest.mark.parametrize("wrong", [[1.0, 2.0], 3, None])
def test_what_is_no_tensor_and_no_array_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"tensor: got .*, expected a tensor of PyTorch"):
        to_array(get_backend("numpy"), wrong)
    with pytest.raises(TypeError, match=r"tensor: got .*, expected a tensor of PyTorch"):
        to_array(get_backend("numpy"), np.zeros(3))
    with pytest.raises(TypeError, match=r"array: got .*, expected an array"):
        to_tensor(wrong)


def test_an_op_of_two_values() -> None:
    """It ended deep in DLPack."""
    x, y = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (4,)))
    function = differentiable(sine_and_product)
    sine, product = function(x, y)
    assert torch.equal(sine, torch.sin(x))
    assert torch.equal(product, x * y)
    assert torch.autograd.gradcheck(function, [x, y])
    (alone,) = torch.autograd.grad(function(x, y)[0].sum(), x)  # the other cotangent is zero
    torch.testing.assert_close(alone, torch.cos(x).detach())


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda dx, dw: dx, TypeError, "pullback of op: got ndarray, expected a tuple of 2, one gradient an argument"),
        (lambda dx, dw: (dx,), TypeError, "pullback of op: got a tuple of 1, expected a tuple of 2"),
        (lambda dx, dw: (dx, dw, dw), TypeError, "pullback of op: got a tuple of 3, expected a tuple of 2"),
        (lambda dx, dw: (dx, {"w": dw[0]}), ValueError, r"got shape \(4,\) for the gradient of args\[1\]\.w, expected"),
        (
            lambda dx, dw: (None, {"w": dw}),
            ValueError,
            r"got None for the gradient of args\[0\], expected shape \(3, 4",
        ),
    ],
)
def test_what_a_pullback_may_not_return(returned: Any, error: type[Exception], message: str) -> None:
    def op(xp: Any, x: Any, params: Any) -> tuple[Any, Any]:
        return x * params["w"], lambda dy: returned(dy * params["w"], dy * x)

    x, w = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    with pytest.raises(error, match=message):
        differentiable(op)(x, {"w": w}).sum().backward()


def test_what_an_op_may_not_be_given_or_return() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(TypeError, match=r"^linear: got ndarray for args\[1\], expected a torch\.Tensor$"):
        differentiable(linear)(x, np.ones((5, 4), np.float32), torch.ones(5))
    with pytest.raises(TypeError, match=r"^<lambda>: got the value 3, expected an array or a tuple of arrays$"):
        differentiable(lambda xp, x: (3, None))(x)


@pytest.mark.parametrize(
    "cut",
    [
        lambda model: model.set_parameters({name: array + 1 for name, array in model.parameters().items()}),
        lambda model: model.load_state_dict(model.state_dict()),
        lambda model: model.reset_classifier(7),
    ],
)
def test_a_model_with_other_weights_is_refused(cut: Any) -> None:
    """The module went on with the old ones in silence; a new one, and a copy, have the new ones or their own."""
    model = VisionPermutator(small_config(SIZES), seed=3)
    module = TorchModule(model)
    images = torch.randn(2, model.config.in_channels, *model.config.image_size)
    module(images)
    cut(model)
    with pytest.raises(ValueError, match=r"^model: got other weights than the parameters of this module"):
        module(images)
    assert np.array_equal(TorchModule(model)(images).detach().numpy(), model(images.numpy()))


def test_parameters_of_another_dtype_are_refused() -> None:
    module = TorchModule(VisionPermutator(small_config(SIZES), seed=3))
    images = torch.randn(2, module.vip.config.in_channels, *module.vip.config.image_size)
    for change in (module.half, module.double):
        change()
        for given in (
            images,
            images.to(next(module.parameters()).dtype),
        ):  # of either dtype, nothing is wrong with them
            with pytest.raises(TypeError, match=r"got a parameter of torch\.(float16|float64), expected float32"):
                module(given)


@pytest.mark.parametrize("change", [lambda y: y.mul_(3), lambda y: y.detach().zero_()], ids=["mul_", "detach"])
def test_what_is_done_to_y_spoils_no_gradient(change: Any) -> None:
    """The pullback of softmax looks at its y, which was the memory of the tensor handed out."""
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    dy = torch.randn(3, 4, dtype=torch.float64)
    y = differentiable(softmax)(x)
    (twin,) = torch.autograd.grad(torch.softmax(x, -1), x, dy)
    grown = 3 if change(y) is y else 1
    y.backward(dy)
    torch.testing.assert_close(x.grad, grown * twin, rtol=1e-13, atol=1e-15)


def test_a_value_that_is_a_view_of_its_argument_is_a_copy() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    inner = x * 1
    differentiable(lambda xp, x: (x.T, lambda dy: (dy.T,)))(inner).add_(5)
    assert not inner.any()


@pytest.mark.parametrize("pullback", [lambda dy: (dy,), lambda dy: (dy[:],), lambda dy: (dy.T.T,)])
def test_a_gradient_is_no_memory_of_the_callers(pullback: Any) -> None:
    """PyTorch keeps what it gets, and clip_grad_norm_ then wrote to the cotangent."""
    x, dy = torch.ones(2, 3, requires_grad=True), torch.ones(2, 3)
    differentiable(lambda xp, x: (x + 1, pullback))(x).backward(dy)
    assert x.grad is not None
    x.grad.zero_()
    assert dy.all()


def test_reversed_arrays_and_negated_views() -> None:
    flip = differentiable(lambda xp, x: (x[::-1], lambda dy: (dy[::-1],)))
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(flip, [x])
    negated = torch.randn(3, dtype=torch.complex128).conj().imag
    torch.testing.assert_close(differentiable(gelu)(negated), torch.nn.functional.gelu(negated))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.int64, torch.bool])
def test_other_dtypes_are_refused(dtype: torch.dtype) -> None:
    """float16 came back as float64, and the gradient of a complex number is another one in PyTorch."""
    with pytest.raises(TypeError, match=rf"gelu: got {dtype} for args\[0\], expected torch\.float32 or torch\.float64"):
        differentiable(gelu)(torch.ones(3, dtype=dtype))


def test_what_numpy_has_not_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"tensor: got torch\.float32 of layout torch\.sparse_coo, expected a dense"):
        differentiable(gelu)(torch.eye(3).to_sparse())


def _assigned(module: TorchModule) -> None:
    module.load_state_dict({name: value + 1 for name, value in module.state_dict().items()}, assign=True)


def _in_data(module: TorchModule) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data + 1


@pytest.mark.parametrize("change", [_assigned, _in_data, lambda module: module.share_memory()])
def test_other_tensors_in_the_place_of_the_parameters_are_the_models_too(change: Any) -> None:
    """The model kept its old weights, and was saved with them."""
    model = VisionPermutator(small_config(SIZES))
    module = TorchModule(model)
    change(module)
    images = torch.randn(2, model.config.in_channels, *model.config.image_size)
    logits = module(images).detach().numpy()
    np.testing.assert_array_equal(model(images.numpy()), logits)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0)
    assert not any(weight.any() for weight in model.parameters().values())


def test_tensors_lent_for_one_pass_are_not_the_models() -> None:
    """The model kept those of `functional_call`, and was saved with them."""
    model = VisionPermutator(small_config(SIZES))
    module = TorchModule(model)
    images = torch.randn(2, model.config.in_channels, *model.config.image_size)
    logits = module(images)
    lent = {name: parameter.detach() * 0 for name, parameter in module.named_parameters()}
    assert not torch.func.functional_call(module, lent, (images,)).any()
    np.testing.assert_array_equal(model(images.numpy()), logits.detach().numpy())
    logits.sum().backward()
    torch.func.functional_call(module, lent, (images,))
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    moved = model(images.numpy())
    np.testing.assert_array_equal(moved, module(images).detach().numpy())
    assert not np.array_equal(moved, logits.detach().numpy())
    with pytest.raises(RuntimeError, match="setup_context"):  # what PyTorch says of transforms
        torch.func.grad(lambda some: torch.func.functional_call(module, some, (images,)).sum())(lent)


def test_pruned_and_parametrized_weights() -> None:
    module = TorchModule(VisionPermutator(small_config(SIZES)))
    config = module.vip.config
    images = torch.randn(2, config.in_channels, *config.image_size)
    before = module(images)
    torch.nn.utils.parametrizations.weight_norm(module.get_submodule("head"), "weight")
    torch.testing.assert_close(module(images), before)
    prune.l1_unstructured(module.get_submodule("network.0.0.norm1"), "weight", 0.5)
    module(images).sum().backward()
    grads = {name: value.grad for name, value in module.named_parameters()}
    assert grads["head.parametrizations.weight.original0"] is not None
    assert grads["network.0.0.norm1.weight_orig"] is not None


COMPILED = """
import sys
import torch
from torch._dynamo.testing import CompileCounter
from tests.interop.test_torch import SIZES, small_config
from vipnp import VisionPermutator
from vipnp.interop.torch import TorchModule, differentiable
from vipnp.ops import gelu

module = TorchModule(VisionPermutator(small_config(SIZES), seed=3))
config = module.vip.config
for whole, graphs in ((lambda x: torch.sin(module(torch.tanh(x))), 2), (differentiable(gelu), 0)):
    x = torch.randn(4, config.in_channels, *config.image_size, requires_grad=True)
    counter = CompileCounter()
    found = []
    for function in (whole, torch.compile(whole, backend=counter)):
        y = function(x)
        found.append((y, *torch.autograd.grad(y.square().sum(), x)))
    assert all(torch.equal(own, compiled) for own, compiled in zip(*found))
    assert counter.frame_count == graphs, counter.frame_count
"""


def test_torch_compile_compiles_what_is_around() -> None:
    """It compiled every call of NumPy: some sixty graphs for the smallest model, slow, with other bits. In a process of
    its own, since PyTorch's compiler leaves weak references that are cleared at any time."""
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=300)
