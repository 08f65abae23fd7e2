"""What the estimate of PyTorch's step counts, by hand, and that the documentation has its table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.conftest import ROOT
from tests.cuda_emulator.pytorch_step import Autocast, Op, report, traced
from tests.cuda_emulator.sass import Machine

pytestmark = pytest.mark.long

X, WEIGHT, BIAS = torch.ones(5, 3), torch.nn.Parameter(torch.ones(7, 3)), torch.nn.Parameter(torch.ones(7))


def test_a_linear_layer() -> None:
    (op,) = traced(lambda: functional.linear(X, WEIGHT, BIAS))
    assert op == Op("aten.addmm", 4 * (5 * 3 + 7 * 3 + 7 + 5 * 7), 2 * 5 * 3 * 7, "float32")
    assert op.seconds == pytest.approx(op.moved / (Machine.BYTES_A_SECOND * Machine.MEMORY_SHARE))


def test_a_large_product_takes_its_operations() -> None:
    op = Op("aten.mm", 6, 10**12, "bfloat16")
    assert op.seconds == pytest.approx(10**12 / (Machine.PRODUCTS["bfloat16"] * Machine.PRODUCT_SHARE))


def test_gelu_and_its_gradient() -> None:
    x, dy = torch.ones(5, 7, requires_grad=True), torch.ones(5, 7)
    ops = traced(lambda: torch.autograd.grad(functional.gelu(x), x, dy))
    array = 4 * 5 * 7
    assert ops == [Op("aten.gelu", 2 * array, 0, "float32"), Op("aten.gelu_backward", 3 * array, 0, "float32")]


@pytest.mark.parametrize(
    ("work", "arrays"),
    [
        (lambda: X.t().reshape(15), 2),
        (lambda: X.clone().add_(X), 2 + 3),
        (lambda: torch.empty(5, 3).copy_(X), 2),
        (lambda: X * X, 2),
        (lambda: torch._foreach_mul_([X.clone()], 1), 2 + 2),
        (lambda: X[:, :1].expand(5, 3).t().permute(1, 0).view(5, 3, 1), 0),
        (lambda: X.to(torch.bfloat16), 1.5),
    ],
    ids=["copy", "in place", "overwritten", "given twice", "foreach", "views", "cast"],
)
def test_elementwise(work: Callable[[], Any], arrays: float) -> None:
    assert sum(op.moved for op in traced(work)) == arrays * 4 * 15


def test_what_is_expanded_is_read_once() -> None:
    (op,) = traced(lambda: X[:, :1].expand(5, 3) + 1)
    assert op.moved == 4 * (5 + 15)


def test_autocast_casts_weights_once_and_inputs_every_time() -> None:
    def work() -> None:
        with Autocast():
            for _ in range(2):
                functional.layer_norm(functional.linear(X, WEIGHT, BIAS), (7,))

    names = [(op.name.removeprefix("aten."), op.dtype) for op in traced(work)]
    low, high = ("_to_copy", "bfloat16"), ("_to_copy", "float32")
    layers = [("addmm", "bfloat16"), high, ("native_layer_norm", "float32")]
    assert names == [low, low, low, *layers, low, *layers]


def test_the_documentation_has_the_table() -> None:
    assert "\n".join(report()) in (ROOT / "docs" / "cuda.md").read_text()
