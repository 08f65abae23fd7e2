"""Bad input: one clear error that names the argument, before any work, with the model as it was."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import vipnp
from tests.namespaces import StrictBackend
from vipnp import ViPConfig, VisionPermutator
from vipnp.audit.cases import small_config

CONFIG = small_config({"B": 2, "H": 2, "W": 1, "N": 3, "S": 4, "P": 2, "K": 4})
IMAGES = np.random.default_rng(0).normal(size=(3, 2, 8, 4)).astype(np.float32)
LABELS = np.array([0, 3, 1])
TARGETS = np.full((3, 4), 0.25, np.float32)


@pytest.fixture(scope="module")
def model() -> VisionPermutator:
    return VisionPermutator(CONFIG)


def changed(array: Any, index: Any, value: Any) -> Any:
    copy = array.copy()
    copy[index] = value
    return copy


@pytest.mark.parametrize(
    "field",
    [
        {"num_classes": 10**400},
        {"image_size": (4 * 10**400, 4)},
        {"in_channels": 2**40},
        {"layers": (10**12, 1, 1)},
        {"mlp_ratio": 2**40},
        {"embed_dims": (12, 16, 12 * 2**20)},
        {"image_size": (8 * 10**6, 4)},
        {"branches": "plane", "image_size": (800, 4000)},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_model_that_no_memory_holds_is_refused_before_any_work(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^config: got a model of more than 2,147,483,648 weights") as error:
        dataclasses.replace(CONFIG, **field)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (IMAGES[0], ValueError, r"images: got shape \(2, 8, 4\), expected \(B, 2, 8, 4\) with B >= 1"),
        (IMAGES[:, :1], ValueError, r"images: got shape \(3, 1, 8, 4\), expected \(B, 2, 8, 4\)"),
        (IMAGES[:, :, :7], ValueError, r"images: got shape \(3, 2, 7, 4\)"),
        (IMAGES.swapaxes(2, 3), ValueError, r"images: got shape \(3, 2, 4, 8\)"),
        (IMAGES[:0], ValueError, r"images: got shape \(0, 2, 8, 4\)"),
        (IMAGES.astype(np.float64), TypeError, "images: got dtype float64, expected float32, the dtype of the model"),
        (IMAGES.astype(np.int64), TypeError, "images: got dtype int64, expected float32"),
        (IMAGES.astype(str), TypeError, "images: got dtype <U"),
        ([[1.0], [2.0, 3.0]], ValueError, "images: got a sequence of unequal lengths"),
        (
            changed(IMAGES, (1, 0, 2, 3), np.nan),
            ValueError,
            r"images: 1 of 192 values are NaN or infinite \(the first at index \(1, 0, 2, 3\)\)",
        ),
        (changed(IMAGES, (0, 0, 0, 0), -np.inf), ValueError, "images: 1 of 192 values are NaN or infinite"),
        (
            torch.zeros(3, 2, 8, 4),
            TypeError,
            "images: got an array of type torch.Tensor on device cpu, expected a NumPy",
        ),
        (None, TypeError, "images: got dtype object, expected numbers"),
        (np.ma.masked_invalid(changed(IMAGES, 0, np.nan)), TypeError, "images: got a masked array"),
    ],
)
def test_images(model: VisionPermutator, images: Any, error: type[Exception], message: str) -> None:
    for call in (model, model.features, lambda value: model.loss_and_grads(value, LABELS)):
        with pytest.raises(error, match=message):
            call(images)


@pytest.mark.parametrize("largest", [255, 65535])
def test_pixels_as_a_file_has_them_are_warned_of_where_the_model_is_called(
    model: VisionPermutator, largest: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, largest, IMAGES.shape, endpoint=True).astype(np.float32)
    pixels[0, 0, 0, :2] = 0, largest
    for call in (model, model.features, model.vjp, lambda value: model.loss_and_grads(value, LABELS)):
        with pytest.warns(UserWarning, match=rf"images: got values from 0 to {largest}, expected normalised") as caught:
            call(pixels)
        assert [warning.filename for warning in caught] == [__file__]
    for fine in (pixels / largest, pixels / largest * 6 - 3, IMAGES - 40):
        model(fine.astype(np.float32))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (LABELS[:2], ValueError, r"targets: got shape \(2,\), expected labels \(3,\) or distributions \(3, 4\)"),
        (TARGETS[:, :3], ValueError, r"targets: got shape \(3, 3\)"),
        (changed(LABELS, 1, 4), ValueError, r"targets: got labels from 0 to 4, expected labels in \[0, 4\)"),
        (changed(LABELS, 1, -1), ValueError, "targets: got labels from -1 to 1"),
        (LABELS.astype(np.float32), TypeError, "targets: got labels of dtype float32, expected integers"),
        (LABELS == 3, TypeError, "targets: got labels of dtype bool, expected integers"),
        (TARGETS.astype(np.float64), TypeError, "targets: got dtype float64, expected float32"),
        (changed(TARGETS, (2, 1), 0.5), ValueError, "targets: row 2 sums to 1.25, expected 1"),
        (changed(TARGETS, (1, slice(None)), [1.5, -0.5, 0, 0]), ValueError, "targets: got a negative entry -0.5"),
        (changed(TARGETS, (0, 0), np.nan), ValueError, "targets: 1 of 12 values are NaN"),
        (torch.zeros(3, dtype=torch.int64), TypeError, "targets: got an array of type torch.Tensor"),
    ],
)
def test_targets(model: VisionPermutator, targets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.loss_and_grads(IMAGES, targets)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing: got 1.0, expected a number in \[0, 1\)"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing: got -0.1"),
        ({"label_smoothing": np.nan}, ValueError, "label_smoothing: got nan"),
        ({"label_smoothing": "0.1"}, TypeError, "label_smoothing: got '0.1'"),
        ({"rng": 3}, TypeError, "rng: got int, expected a numpy.random.Generator or None"),
    ],
)
def test_options(model: VisionPermutator, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model.loss_and_grads(IMAGES, LABELS, **options)


def test_numpy_scalars_keep_the_dtype() -> None:
    config = small_config(
        {"B": 2, "H": 2, "W": 1, "N": 3, "S": 4, "P": 2, "K": 4},
        skip_lam=np.float64(2),
        drop_path=np.float64(0.3),
        dropout=np.float64(0.1),
    )
    model = VisionPermutator(config)
    loss, grads = model.loss_and_grads(IMAGES, LABELS, label_smoothing=np.float64(0.1), rng=np.random.default_rng(0))
    assert loss.dtype == np.float32
    assert {gradient.dtype for gradient in grads.values()} == {np.dtype(np.float32)}
    assert model(IMAGES).dtype == np.float32


def test_a_backend_for_inference_has_no_gradients() -> None:
    model = VisionPermutator(CONFIG, backend=vipnp.get_backend("numpy").inference())
    assert model(IMAGES).shape == (3, 4)
    with pytest.raises(ValueError, match=r"backend: .* keeps nothing for a backward pass"):
        model.loss_and_grads(IMAGES, LABELS)


def test_smoothing_of_distributions(model: VisionPermutator) -> None:
    with pytest.raises(ValueError, match=r"label_smoothing: got 0.1 with targets that are distributions"):
        model.loss_and_grads(IMAGES, TARGETS, label_smoothing=0.1)


def test_errors_come_before_any_work(model: VisionPermutator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model.backend), "run", lambda *_, **__: pytest.fail("work was done"))
    with pytest.raises(ValueError, match="targets"):
        model.loss_and_grads(IMAGES, changed(LABELS, 1, 4))


def test_arrays_of_a_device_are_checked_by_shape_and_dtype() -> None:
    xp = StrictBackend()
    model = VisionPermutator(CONFIG, backend=xp)
    images, labels = xp.asarray(IMAGES), xp.asarray(LABELS)
    loss, _ = model.loss_and_grads(images, labels)
    host, _ = model.loss_and_grads(IMAGES, LABELS)
    assert float(loss) == float(host)
    for array in (xp.zeros((3, 2, 8, 5), device=xp.device), xp.zeros((2, 8, 4), device=xp.device)):
        with pytest.raises(ValueError, match="images: got shape"):
            model(array)
    with pytest.raises(TypeError, match="images: got dtype"):
        model(xp.asarray(IMAGES.astype(np.float64)))
    with pytest.raises(TypeError, match="targets: got labels of dtype"):
        model.loss_and_grads(images, xp.asarray(LABELS.astype(np.float32)))
    with pytest.raises(TypeError, match=r"images: got an array of type array_api_strict.* on device .*CPU_DEVICE"):
        model(xp.namespace.asarray(IMAGES, device=xp.namespace.Device("CPU_DEVICE")))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("vip_s8", {}, ValueError, r"name: got 'vip_s8', expected one of vip_s16, .* \(did you mean 'vip_s"),
        (7, {}, TypeError, "name: got 7, expected one of vip_s16, vip_s14, "),
        ("vip_s7", {"drop_pth": 0.1}, ValueError, r"override: got 'drop_pth'.*did you mean 'drop_path'"),
        ("vip_s7", {"backend": "numppy"}, ValueError, r"backend: unknown name 'numppy'.*did you mean 'numpy'"),
        ("vip_s7", {"dtype": "float16"}, ValueError, "dtype: got 'float16', expected one of float32, float64"),
        ("vip_s7", {"seed": -1}, ValueError, "seed: got -1"),
        ("vip_s7", {"seed": 1.5}, TypeError, "seed: got 1.5"),
        ("vip_s7", {"seed": True}, TypeError, "seed: got True, expected an integer"),
        ("vip_s7", {"num_classes": 0}, ValueError, "num_classes: got 0, expected an integer >= 1"),
        ("vip_s7", {"num_classes": 2.0}, TypeError, "num_classes: got 2.0"),
        ("vip_s7", {"in_channels": True}, TypeError, "in_channels: got True"),
        (
            "vip_s7",
            {"image_size": 230},
            ValueError,
            r"image_size: got \(230, 230\), expected multiples of patch_size 7",
        ),
        ("vip_s7", {"image_size": (224, 230)}, ValueError, r"image_size: got \(224, 230\), expected multiples of"),
        ("vip_s7", {"image_size": (230, 224)}, ValueError, r"image_size: got \(230, 224\), expected multiples of"),
        ("vip_s7", {"image_size": (224, 231)}, ValueError, r"transitions\[0\]: the grid of stage 0 is 32 x 33"),
        ("vip_s7", {"image_size": (224,)}, ValueError, r"image_size: got \(224,\), expected \(height, width\)"),
        ("vip_s7", {"image_size": "224"}, TypeError, "image_size: got '224', expected a sequence"),
        ("vip_s7", {"layers": b"x"}, TypeError, "layers: got b'x', expected a sequence"),
        ("vip_s7", {"embed_dims": np.array(2)}, TypeError, "embed_dims: got ndarray, expected a sequence"),
        ("vip_s7", {"segments": (32, 16, 16, 17)}, ValueError, r"segments\[3\]: got 17, expected a divisor of .* 384"),
        ("vip_s7", {"segments": (32, 16)}, ValueError, r"segments: got 2 entries \(32, 16\), expected 4"),
        ("vip_s7", {"layers": ()}, ValueError, r"layers: got \(\), expected at least one stage"),
        ("vip_s7", {"layers": (4, 0, 8, 3)}, ValueError, r"layers\[1\]: got 0, expected an integer >= 1"),
        ("vip_s7", {"embed_dims": (192, 384, 384, 38.4)}, TypeError, r"embed_dims\[3\]: got 38.4"),
        (
            "vip_s7",
            {"embed_dims": (32, 16, 16, 18), "segments": (32, 16, 16, 9)},
            ValueError,
            r"embed_dims\[3\]: got 18",
        ),
        ("vip_s7", {"transitions": (1, 0, 0, 0)}, TypeError, r"transitions\[0\]: got 1, expected True or False"),
        ("vip_s7", {"transitions": (True,) * 4}, ValueError, "transitions: the last entry is True"),
        ("vip_s7", {"fusion": "mean"}, ValueError, "fusion: got 'mean', expected one of weighted, sum"),
        ("vip_s7", {"branches": ("height", "depth", "channel")}, ValueError, "branches: got"),
        ("vip_s7", {"branches": ("height", "width")}, ValueError, "branches: got"),
        (
            "vip_s7",
            {"branches": "spiral"},
            ValueError,
            "branches: got 'spiral', expected three kinds or one of plane, ",
        ),
        ("vip_s7", {"branches": (["height"], "width", "channel")}, ValueError, "branches: got"),
        ("vip_s7", {"fusion": ["sum"]}, ValueError, r"fusion: got \['sum'\], expected one of weighted, sum"),
        ("vip_s7", {"skip_lam": 0}, ValueError, r"skip_lam: got 0, expected a number in \(0, inf\)"),
        ("vip_s7", {"skip_lam": float("inf")}, ValueError, "skip_lam: got inf"),
        ("vip_s7", {"skip_lam": "2"}, TypeError, "skip_lam: got '2'"),
        ("vip_s7", {"drop_path": 1.0}, ValueError, r"drop_path: got 1.0, expected a number in \[0, 1\)"),
        ("vip_s7", {"dropout": -0.1}, ValueError, "dropout: got -0.1"),
        ("vip_s7", {"dropout": float("nan")}, ValueError, "dropout: got nan"),
        ("vip_s7", {"skip_lam": 10**400}, ValueError, r"skip_lam: got int, expected a number in \(0, inf\)"),
        ("vip_s7", {"drop_path": 10**400}, ValueError, r"drop_path: got int, expected a number in \[0, 1\)"),
        ("vip_s7", {"num_classes": -(10**400)}, ValueError, "num_classes: got int, expected an integer >= 1"),
    ],
)
def test_create_model(name: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vipnp.create_model(name, **options)


def test_other_arguments(model: VisionPermutator) -> None:
    with pytest.raises(TypeError, match="config: got str, expected a ViPConfig"):
        VisionPermutator("vip_s7")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mapping: got list, expected a mapping"):
        model.load_state_dict([])  # type: ignore[arg-type]
    state: dict[str, Any] = model.state_dict()
    with pytest.raises(TypeError, match=r"head.bias: got list, expected a NumPy array or an object with __array__"):
        model.load_state_dict({**state, "head.bias": [0.0] * 4})
    with pytest.raises(TypeError, match=r"head.bias: got dtype int64, expected floating-point numbers"):
        model.load_state_dict({**state, "head.bias": np.zeros(4, np.int64)})
    for value in (torch.zeros(4, requires_grad=True), torch.zeros(4, dtype=torch.bfloat16), torch.zeros(4).to("meta")):
        with pytest.raises(TypeError, match=r"head.bias: NumPy cannot read this Tensor"):
            model.load_state_dict({**state, "head.bias": value})
    with pytest.raises(TypeError, match=r"head.bias: got a masked array"):
        model.load_state_dict({**state, "head.bias": np.ma.zeros(4)})
    for number in (np.nan, 1e300):
        with pytest.raises(ValueError, match=r"head.bias: 1 of 4 values are NaN or infinite"):
            model.load_state_dict({**state, "head.bias": np.array([0, number, 0, 0])})
    with pytest.raises(ValueError, match="unexpected: 3"):
        model.load_state_dict({**state, 3: np.zeros(4)})  # type: ignore[dict-item]
    for value in (3, None, [0.0] * 4):
        with pytest.raises(TypeError, match=r"head.bias: got .* expected a float32 array"):
            model.set_parameters({**model.parameters(), "head.bias": value})
    assert all(np.array_equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_model_loads_its_own_arrays() -> None:
    model = VisionPermutator(CONFIG, backend=StrictBackend(), seed=1)
    other = VisionPermutator(CONFIG, backend=StrictBackend(), seed=2)
    other.load_state_dict(model.parameters())
    assert np.array_equal(other.state_dict()["head.weight"], model.state_dict()["head.weight"])


def test_a_configuration_of_sequences() -> None:
    with pytest.raises(TypeError, match=r"transitions: got True, expected a sequence"):
        ViPConfig((1,), (4,), (1,), True, 1)  # type: ignore[arg-type]
