"""NumPy's integers, bools, strings, types and dtypes are taken wherever a number, a flag or a name is."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from vipnp import ViPConfig, VisionPermutator, get_backend
from vipnp.data import load_digits, mixup, rotate_and_shift

ONE, TWO, FOUR = np.int64(1), np.int32(2), np.uint8(4)


def config(**changes: Any) -> ViPConfig:
    fields: dict[str, Any] = {
        "layers": (ONE, ONE),
        "embed_dims": (FOUR, FOUR),
        "segments": (TWO, TWO),
        "transitions": (np.True_, np.False_),
        "patch_size": TWO,
        "image_size": (np.int64(8), np.int64(12)),
        "num_classes": np.int64(3),
        "in_channels": ONE,
        "mlp_ratio": TWO,
        "fusion": np.str_("weighted"),
        "branches": tuple(map(np.str_, ("height", "width", "channel"))),
        "drop_path": np.float32(0.25),
    }
    return ViPConfig(**{**fields, **changes})


def test_a_configuration_of_numpy_scalars_is_one_of_pythons() -> None:
    made = config()
    assert made == ViPConfig(
        (1, 1), (4, 4), (2, 2), (True, False), 2, (8, 12), 3, 1, 2, "weighted", drop_path=0.25
    )  # fmt: skip
    assert json.loads(json.dumps(dataclasses.asdict(made)))["transitions"] == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), np.str_("float32"), "float32"])
def test_a_dtype_by_any_of_its_names(dtype: Any) -> None:
    model = VisionPermutator(config(), dtype=dtype, seed=np.int64(3))  # type: ignore[arg-type]
    assert type(model.dtype) is str
    assert model.dtype == "float32"
    assert model.state_dict()["head.bias"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.dtype("int64"), float, "f4", None, np.array(["float32"])])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"dtype: got .*, expected one of float32, float64"):
        VisionPermutator(config(), dtype=dtype)


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_backends(name: str) -> None:
    xp = get_backend(np.str_(name), shards=TWO, keep_memory=np.False_)
    model = VisionPermutator(config(), backend=xp)
    assert model(np.zeros((5, 1, 8, 12), np.float32)).shape == (5, 3)
    with pytest.raises(TypeError, match=r"shards: got np.True_, expected an integer"):
        get_backend(name, shards=np.True_)


def test_data() -> None:
    np.testing.assert_array_equal(load_digits(np.int64(3)).test_labels, load_digits(3).test_labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.int64])
def test_images_of_a_type_that_no_model_takes(dtype: Any) -> None:
    images, rng = np.zeros((2, 1, 4, 4), dtype), np.random.default_rng(0)
    expected = r"images: got dtype .*, expected float32 or float64"
    with pytest.raises(TypeError, match=expected):
        rotate_and_shift(images, rng, max_degrees=9, max_shift=1, background=0)
    with pytest.raises(TypeError, match=expected):
        mixup(images, np.zeros(2, int), rng, alpha=1, num_classes=2, label_smoothing=0)
