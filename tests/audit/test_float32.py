"""The errors of all tensors of a layer together, beside PyTorch's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vipnp.audit.audit import subject_of
from vipnp.audit.cases import CASES
from vipnp.verify import Row, Verdict
from vipnp.verify.ladder import climb
from vipnp.verify.rungs.float32 import COMPOSITE_RATIO, UNIT_32
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_map_reals


def together(subject: Subject) -> list[Row]:
    return [row for row in climb("float32", subject) if row.argument == "all tensors"]


def noisy(op: Any) -> Any:
    """`op`, whose gradients in float32 are off by a unit or two, here and there."""

    def spoiled(xp: Any, *args: Any, **kwargs: Any) -> Any:
        y, pullback = op(xp, *args, **kwargs)
        rng = np.random.default_rng(0)

        def spoil(gradient: Any) -> Any:
            off = 2 * UNIT_32 * np.max(np.abs(gradient)) * rng.choice([-1, 1], gradient.shape)
            return gradient + off.astype(np.float32) if gradient.dtype == np.float32 else gradient

        return y, lambda dy: tree_map_reals(spoil, pullback(dy))

    return spoiled


def test_a_layer_is_held_to_pytorch_over_all_its_tensors() -> None:
    subject = subject_of(CASES["mlp"])
    (right,) = together(subject)
    assert right.verdict is Verdict.PASS
    (wrong,) = together(replace(subject, op=noisy(subject.op)))
    assert wrong.verdict is Verdict.FAIL
    assert wrong.error is not None
    assert wrong.error > COMPOSITE_RATIO


@pytest.mark.parametrize("name", ["channel_branch", "plane_branch", "axial_height_branch", "linear"])
def test_one_product_is_held_to_it_tensor_by_tensor(name: str) -> None:
    assert together(subject_of(CASES[name])) == []
