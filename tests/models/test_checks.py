"""The checks of the model by themselves: what they let pass, what they count, and every word of what they say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vipnp import ViPConfig
from vipnp.audit.torch_twins import vision_permutator
from vipnp.core.boundary import SUM_TOLERANCE, check_distributions
from vipnp.layers import FusionKind
from vipnp.models import config, parameter_shapes, unflatten
from vipnp.models.checks import IncompatibleKeys, check_names

SIZES = {"layers": (1, 2), "embed_dims": (8, 12), "segments": (2, 3), "transitions": (True, False), "patch_size": 3}


def test_names_that_do_not_fit_are_told_all_at_once() -> None:
    made = ViPConfig(**SIZES, image_size=(12, 24), num_classes=5)  # type: ignore[arg-type]
    tensors = {name: np.empty(shape) for name, shape in parameter_shapes(made).items()}
    assert check_names(made, tensors, strict=True) == IncompatibleKeys([], [])
    del tensors["norm.bias"], tensors["head.bias"]
    tensors["extra"] = np.empty(1)
    assert check_names(made, tensors, strict=False) == IncompatibleKeys(["norm.bias", "head.bias"], ["extra"])
    tensors["norm.weight"], tensors["head.weight"] = np.empty(3), np.empty((5, 4))
    wrong = "wrong shapes: norm.weight (3,) instead of (12,), head.weight (5, 4) instead of (5, 12)"
    begin = f"the tensors do not fit the {len(parameter_shapes(made))} of this model: "
    for strict, expected in ((False, wrong), (True, f"{wrong}; missing: norm.bias, head.bias; unexpected: extra")):
        with pytest.raises(ValueError, match=f"^{re.escape(begin + expected)}$"):
            check_names(made, tensors, strict=strict)


def test_of_many_names_three_are_told() -> None:
    made = ViPConfig(**SIZES, image_size=(12, 24), num_classes=5)  # type: ignore[arg-type]
    names = list(parameter_shapes(made))
    with pytest.raises(ValueError, match=r"missing: (.*); unexpected: a, b, c and 2 more$") as caught:
        check_names(made, dict.fromkeys("abcde", np.empty(1)), strict=True)
    assert f"missing: {', '.join(names[:3])} and {len(names) - 3} more;" in str(caught.value)


@pytest.mark.parametrize("branches", ["line", "plane"])
def test_a_model_may_have_as_many_weights_as_is_said(branches: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted are the matrices of patch embedding, blocks and head: in these lies the size of what is too large."""

    def make() -> ViPConfig:
        return ViPConfig(**SIZES, image_size=(12, 24), num_classes=5, mlp_ratio=4, branches=branches)  # type: ignore[arg-type]

    counted = re.compile(r"patch_embed\.proj|attn\.(mlp_[hwc]|proj)|mlp\.fc[12]|head")
    shapes = parameter_shapes(make()).items()
    weights = sum(int(np.prod(shape)) for name, shape in shapes if len(shape) > 1 and counted.search(name))
    monkeypatch.setattr(config, "LARGEST", weights)
    make()
    monkeypatch.setattr(config, "LARGEST", weights - 1)
    with pytest.raises(ValueError, match=f"^config: got a model of more than {weights - 1:,} weights"):
        make()


def test_distributions() -> None:
    """One-hot rows and sums that float32 rounds are fine; of rows that are off, the worst is named."""
    check_distributions("t", np.eye(3, dtype=np.float32))
    check_distributions("t", np.full((2, 4), (1 + 0.9 * SUM_TOLERANCE) / 4, np.float32))
    rows = np.array([[0.5, 0.5], [0.5, 0.6], [0.5, 0.3]])
    with pytest.raises(ValueError, match=r"^t: row 2 sums to 0\.8, expected 1$"):
        check_distributions("t", rows)


def test_drop_path_rates_grow_evenly() -> None:
    made = ViPConfig(**{**SIZES, "layers": (2, 2)}, image_size=(12, 24), drop_path=0.3)  # type: ignore[arg-type]
    np.testing.assert_allclose(made.drop_path_rates(), [0, 0.1, 0.2, 0.3], rtol=1e-15)
    for blocks, rates in ((1, [0]), (2, [0, 0.3])):
        assert ViPConfig((blocks,), (8,), (2,), (False,), 3, (12, 24), drop_path=0.3).drop_path_rates() == rates


@pytest.mark.parametrize("fusion", ["weighted", "sum"])
@pytest.mark.parametrize("branches", ["line", "plane", "axial", "point"])
def test_multiplications_are_those_that_pytorch_counts(branches: str, fusion: FusionKind) -> None:
    """A merge, a projection and nothing between the stages; grids that are not square. PyTorch's count also has the
    weighted sum of the three branches, which is no linear layer."""
    stages: Any = {
        "layers": (1, 2, 1, 1),
        "embed_dims": (8, 12, 20, 20),
        "segments": (2, 3, 4, 5),
        "branches": branches,
    }
    made = ViPConfig(**stages, transitions=(True, *3 * (False,)), patch_size=3, image_size=(12, 24), fusion=fusion)
    shapes = parameter_shapes(made)
    params = unflatten({name: torch.ones(shape) for name, shape in shapes.items()})
    with FlopCounterMode(display=False) as counter:
        vision_permutator(torch.ones(1, 3, 12, 24), params, config=made)
    entries = sum(stage.depth * stage.height * stage.width * stage.channels for stage in made.stages())
    assert 2 * (made.macs + 3 * entries * (fusion == "weighted")) == counter.get_total_flops()
    linear = [name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) > 1]
    assert set(made.layer_macs()) == set(linear)


@pytest.mark.parametrize(("branches", "kind"), [("axial", "axial_height"), ("point", "point")])
def test_shifts_need_four_groups_of_channels(branches: str, kind: str) -> None:
    """So does the fusion "weighted"; the plain sum of other branches needs none."""

    def make(channels: int, branches: str) -> ViPConfig:
        return ViPConfig((1,), (channels,), (2,), (False,), 3, (12, 24), branches=branches, fusion="sum")  # type: ignore[arg-type]

    make(12, branches)
    make(10, "line")
    make(10, "plane")
    message = rf"^embed_dims\[0\]: got 10, expected a multiple of 4 \(branch '{kind}'\)$"
    with pytest.raises(ValueError, match=message):
        make(10, branches)


@pytest.mark.parametrize("strict", ["no", None, np.zeros(2), 0])
def test_strict_is_true_or_false(strict: Any) -> None:
    with pytest.raises(TypeError, match=r"strict: got .*, expected True or False"):
        check_names(ViPConfig(**SIZES, image_size=(12, 24), num_classes=5), {}, strict=strict)  # type: ignore[arg-type]
