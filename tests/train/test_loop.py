"""The training loop, evaluation, the digits, augmentation, and whole training steps against PyTorch's."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.torch_vip import torch_vip
from vipnp import ViPConfig, VisionPermutator
from vipnp.data import SPLITS, load_digits, mixup, rotate_and_shift
from vipnp.optim import SGD, AdamW, cosine_lr
from vipnp.train import confusion_matrix, evaluate, train_epoch

HostArray = np.ndarray[Any, Any]


def small_config(**overrides: Any) -> ViPConfig:
    defaults = {
        "layers": (1, 2),
        "embed_dims": (8, 12),
        "segments": (2, 3),
        "transitions": (True, False),
        "patch_size": 2,
        "image_size": (12, 8),
        "num_classes": 5,
        "in_channels": 2,
    }
    return ViPConfig(**{**defaults, **overrides})


def some_images(n: int, dtype: str = "float32", seed: int = 0) -> tuple[HostArray, HostArray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 2, 12, 8)).astype(dtype), rng.integers(0, 5, n)


class Recorder:
    """An optimiser that moves nothing and notes what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, Any], float]] = []

    def update(self, params: Any, grads: Any, *, lr: float) -> dict[str, Any]:
        self.seen.append((dict(grads), lr))
        return dict(params)


def epoch(model: VisionPermutator, optimizer: Any, images: HostArray, labels: HostArray, **options: Any) -> list[float]:
    defaults = {"batch_size": 3, "lr": 0.1, "rng": np.random.default_rng(7)}
    return train_epoch(model, optimizer, images, labels, **{**defaults, **options})


def test_every_image_is_seen_once_in_a_random_order_with_its_label() -> None:
    images, labels = some_images(8)
    seen: list[HostArray] = []

    def watch(batch: HostArray, targets: HostArray, rng: np.random.Generator) -> tuple[HostArray, HostArray]:
        seen.append(batch)
        return batch, targets

    model = VisionPermutator(small_config(), seed=0)
    losses = epoch(model, Recorder(), images, labels, augment=watch)
    assert [len(batch) for batch in seen] == [3, 3, 2]
    order = [int(np.flatnonzero((images == image).all(axis=(1, 2, 3)))[0]) for batch in seen for image in batch]
    assert sorted(order) == list(range(8))
    assert order != list(range(8))
    expected = [model.loss_and_grads(images[part], labels[part])[0] for part in (order[:3], order[3:6], order[6:])]
    np.testing.assert_array_equal(losses, np.array(expected, dtype=np.float64))


def test_options_reach_the_step() -> None:
    images, labels = some_images(6)
    model = VisionPermutator(small_config(drop_path=0.5), seed=0)
    steps: list[int] = []

    def losses(**options: Any) -> list[float]:
        return epoch(model, Recorder(), images, labels, **options)

    plain = losses()
    assert losses(label_smoothing=0.3) != plain
    assert losses(augment=lambda x, y, rng: (x + np.float32(rng.uniform(1, 2)), y)) != plain
    assert losses(augment=lambda x, y, rng: (x, np.eye(5, dtype=np.float32)[y])) == pytest.approx(plain, rel=1e-6)
    assert losses(augment=lambda x, y, rng: (x, np.eye(5, dtype=np.float32)[(y + 1) % 5])) != plain
    assert losses(rng=np.random.default_rng(8)) != plain
    assert losses() == plain
    losses(batch_size=4, on_step=lambda: steps.append(1))
    assert len(steps) == 2
    recorder = Recorder()
    epoch(model, recorder, images, labels, lr=0.25, max_norm=1e-3)
    for grads, lr in recorder.seen:
        assert lr == 0.25
        norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in grads.values()))
        assert norm == pytest.approx(1e-3, rel=2e-3)


def test_labels_are_taken_as_a_list_and_as_distributions() -> None:
    images, labels = some_images(6)
    soft = np.random.default_rng(2).dirichlet(np.ones(5), 6).astype("float32")
    model = VisionPermutator(small_config(), seed=0)
    assert epoch(model, Recorder(), images, labels.tolist()) == epoch(model, Recorder(), images, labels)
    found, expected = (evaluate(model, images, given, batch_size=4).accuracy for given in (labels.tolist(), labels))
    assert found == expected
    order = np.random.default_rng(7).permutation(6)
    losses = [model.loss_and_grads(images[part], soft[part])[0] for part in (order[:3], order[3:])]
    np.testing.assert_array_equal(epoch(model, Recorder(), images, soft), np.array(losses, np.float64))


@pytest.mark.parametrize(
    ("spoil", "options", "error", "message"),
    [
        (lambda soft: soft.astype("float64"), {}, TypeError, "labels: got distributions of dtype float64"),
        (lambda soft: 2 * soft, {}, ValueError, "labels: row . sums to 2, expected 1"),
        (lambda soft: soft[:, :4], {}, ValueError, r"labels: got shape \(6, 4\) for 6 images"),
        (lambda soft: soft, {"label_smoothing": 0.1}, ValueError, "label_smoothing: got 0.1 with labels that are"),
    ],
)
def test_wrong_distributions_are_refused_before_the_first_step(
    spoil: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    images, _ = some_images(6)
    soft = spoil(np.random.default_rng(2).dirichlet(np.ones(5), 6).astype("float32"))
    recorder = Recorder()
    with pytest.raises(error, match=message):
        epoch(VisionPermutator(small_config(), seed=0), recorder, images, soft, **options)
    assert recorder.seen == []


def test_evaluation_wants_labels() -> None:
    images, _ = some_images(6)
    soft = np.full((6, 5), 0.2, "float32")
    with pytest.raises(ValueError, match=r"labels: got shape \(6, 5\) for 6 images"):
        evaluate(VisionPermutator(small_config(), seed=0), images, soft, batch_size=4)


def test_the_rate_may_change_with_every_step() -> None:
    images, labels = some_images(8)
    recorder = Recorder()
    model = VisionPermutator(small_config(), seed=0)
    epoch(model, recorder, images, labels, lr=lambda done: cosine_lr(2 + done, epochs=5, lr=0.5))
    rates = [cosine_lr(2 + seen / 8, epochs=5, lr=0.5) for seen in (0, 3, 6)]
    assert [lr for _, lr in recorder.seen] == rates
    assert len(set(rates)) == 3
    with pytest.raises(ValueError, match=r"lr: got -0\.5"):
        epoch(model, recorder, images, labels, lr=lambda done: done - 0.5)
    assert len(recorder.seen) == 3


def test_training_reduces_the_loss() -> None:
    images, labels = some_images(12)
    model = VisionPermutator(small_config(), seed=0)
    optimizer = AdamW(model.backend)
    rng = np.random.default_rng(0)
    losses = [np.mean(epoch(model, optimizer, images, labels, lr=0.01, rng=rng)) for _ in range(30)]
    assert losses[-1] < 0.1 * losses[0]
    assert evaluate(model, images, labels, batch_size=5).accuracy == 1


def test_a_loss_that_is_not_finite_ends_training() -> None:
    images, labels = some_images(6)
    model = VisionPermutator(small_config(), seed=0)
    broken = {name: np.full_like(p, np.nan) for name, p in model.parameters().items()}
    model.set_parameters(broken)
    with pytest.raises(FloatingPointError, match=r"loss of step 0 of this epoch is nan; try a smaller lr than 0\.1"):
        epoch(model, Recorder(), images, labels)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("lr", [1e38, 3e38])
def test_weights_that_overflow_in_the_last_step_end_training(lr: float) -> None:
    """Every loss is finite, since each is that before its step."""
    images, labels = some_images(3)
    model = VisionPermutator(small_config(), seed=0)
    with pytest.raises(
        FloatingPointError, match=r"^\S+\.weight is NaN or infinite after the last step of this epoch; try"
    ):
        epoch(model, AdamW(model.backend, weight_decay=10.0), images, labels, lr=lr)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_evaluation_names_the_image_whose_logits_are_not_finite() -> None:
    images, labels = some_images(7)
    model = VisionPermutator(small_config(), seed=0)
    assert evaluate(model, images, labels, batch_size=3).predictions.shape == (7,)
    images[4:] = 3e38
    with pytest.raises(FloatingPointError, match=r"^the logits of image 4 are NaN or infinite"):
        evaluate(model, images, labels, batch_size=3)


def test_evaluation_counts_what_is_right_and_ignores_the_batch_size() -> None:
    images, labels = some_images(7)
    model = VisionPermutator(small_config(), seed=3)
    predictions = np.argmax(model(images), axis=1)
    labels[:4], labels[4:] = predictions[:4], (predictions[4:] + 1) % 5
    for batch_size in (1, 3, 7, 100):
        found = evaluate(model, images, labels, batch_size=batch_size)
        assert found.accuracy == 4 / 7
        np.testing.assert_array_equal(found.predictions, predictions)


def test_confusion_matrix_has_a_row_for_every_true_class() -> None:
    counts = confusion_matrix(np.array([0, 2, 2, 1]), np.array([0, 1, 1, 1]), 4)
    np.testing.assert_array_equal(counts, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("wrong", [[0, -1], [0, 3]])
def test_confusion_matrix_refuses_other_classes(wrong: list[int]) -> None:
    good = np.array([0, 2])
    for name, labels, predictions in (("labels", np.array(wrong), good), ("predictions", good, np.array(wrong))):
        with pytest.raises(ValueError, match=rf"{name}: got values from .*expected classes in \[0, 3\)"):
            confusion_matrix(labels, predictions, 3)
        with pytest.raises(TypeError, match=f"{name}: got dtype float64, expected integers"):
            confusion_matrix(labels.astype(float if name == "labels" else int), predictions.astype(float), 3)


def test_confusion_matrix_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"predictions: got shape \(1,\) for labels of shape \(2,\)"):
        confusion_matrix(np.array([0, 1]), np.array([0]), 3)
    with pytest.raises(TypeError, match="labels: got list, expected a NumPy array"):
        confusion_matrix([0, 1], np.array([0, 1]), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_classes: got 0"):
        confusion_matrix(np.array([0]), np.array([0]), 0)


def with_nan(images: HostArray) -> HostArray:
    images = images.copy()
    images[-1, 1, 2, 3] = np.nan
    return images


WRONG_SETS: list[tuple[Callable[[HostArray, HostArray], tuple[Any, Any]], type[Exception], str]] = [
    (lambda x, y: (with_nan(x), y), ValueError, "images: image 5 has NaN or infinity"),
    (lambda x, y: (x.astype("float64"), y), TypeError, "images: got dtype float64, expected float32"),
    (lambda x, y: (x[:, :, :, :4], y), ValueError, r"images: got shape \(6, 2, 12, 4\), expected \(n, 2, 12, 8\)"),
    (lambda x, y: (x[0], y), ValueError, r"images: got shape \(2, 12, 8\)"),
    (lambda x, y: (x.tolist(), y), TypeError, "images: got list, expected a NumPy array"),
    (lambda x, y: (np.ma.masked_array(x), y), TypeError, "images: got MaskedArray"),
    (lambda x, y: (x, [[0], *y[1:].tolist()]), ValueError, "labels: got a sequence of unequal lengths"),
    (lambda x, y: (x, y.astype(float).tolist()), TypeError, "labels: got dtype float64, expected integers"),
    (lambda x, y: (x, "012340"), TypeError, "labels: got str, expected a NumPy array"),
    (lambda x, y: (x, y.astype(float)), TypeError, "labels: got dtype float64, expected integers"),
    (lambda x, y: (x, y > 0), TypeError, "labels: got dtype bool, expected integers"),
    (lambda x, y: (x, np.array([0, 1, 2, 3, 4, 5])), ValueError, r"labels: got values from 0 to 5, .* in \[0, 5\)"),
    (lambda x, y: (x, np.array([0, 1, 2, 3, 4, -1])), ValueError, "labels: got values from -1 to 4"),
]


@pytest.mark.parametrize(("spoil", "error", "message"), WRONG_SETS)
def test_a_wrong_set_is_refused_before_the_first_step(spoil: Any, error: type[Exception], message: str) -> None:
    """What is wrong sits in the last image, so that a check batch by batch would have trained on the others."""
    images, labels = spoil(*some_images(6))
    model, recorder = VisionPermutator(small_config(), seed=0), Recorder()
    with pytest.raises(error, match=message):
        epoch(model, recorder, images, labels, batch_size=1)
    assert recorder.seen == []
    with pytest.raises(error, match=message):
        evaluate(model, images, labels, batch_size=1)


@pytest.mark.parametrize(
    ("optimizer", "got"),
    [
        (lambda: torch.optim.AdamW([torch.zeros(2)]), "one of type torch.optim.adamw.AdamW"),
        (lambda: AdamW, "the class vipnp.optim.adamw.AdamW"),
        (lambda: None, "one of type builtins.NoneType"),
    ],
)
def test_what_is_no_optimizer_is_refused(optimizer: Any, got: str) -> None:
    """PyTorch's gave an AttributeError after the first backward pass."""
    message = f"^optimizer: got {re.escape(got)}, expected one of vipnp.optim, such as AdamW"
    with pytest.raises(TypeError, match=message):
        epoch(VisionPermutator(small_config(), seed=0), optimizer(), *some_images(6))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rng": None}, TypeError, "rng: got NoneType, expected a numpy.random.Generator"),
        ({"rng": 0}, TypeError, "rng: got int, expected a numpy.random.Generator"),
        ({"lr": -0.1}, ValueError, "lr: got -0.1"),
        ({"lr": "0.1"}, TypeError, "lr: got '0.1', expected a number"),
        ({"max_norm": 0}, ValueError, "max_norm: got 0"),
        ({"max_norm": "1"}, TypeError, "max_norm: got '1'"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing: got 1.0"),
        ({"label_smoothing": None}, TypeError, "label_smoothing: got None"),
        ({"augment": "mixup"}, TypeError, "augment: got 'mixup', expected a function or None"),
        ({"on_step": 3}, TypeError, "on_step: got 3, expected a function or None"),
    ],
)
def test_wrong_options_are_refused_before_the_first_step(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    recorder = Recorder()
    with pytest.raises(error, match=message):
        epoch(VisionPermutator(small_config(), seed=0), recorder, *some_images(6), **options)
    assert recorder.seen == []


@pytest.mark.parametrize("model", [None, "vip_s7", VisionPermutator], ids=repr)
def test_what_is_no_model_is_refused(model: Any) -> None:
    """It gave an AttributeError."""
    images, labels = some_images(6)
    for call in (
        lambda: epoch(model, Recorder(), images, labels),
        lambda: evaluate(model, images, labels, batch_size=2),
    ):
        with pytest.raises(TypeError, match=r"^model: got .*, expected a VisionPermutator such as vipnp\.create_model"):
            call()


@pytest.mark.parametrize("made", [None, 3, (1,), np.zeros((2, 2))], ids=repr)
def test_what_augment_returns_is_named(made: Any) -> None:
    model = VisionPermutator(small_config(), seed=0)
    with pytest.raises(TypeError, match=r"^augment: returned .*, expected the images and the labels of a batch$"):
        epoch(model, Recorder(), *some_images(6), augment=lambda *_: made)


@pytest.mark.parametrize("scalar", [np.float32, np.float64])
def test_numpy_scalars_train_in_the_dtype_of_the_model(scalar: Any) -> None:
    images, labels = some_images(6)
    model = VisionPermutator(small_config(), seed=0)
    options = {"lr": scalar(0.01), "max_norm": scalar(1), "label_smoothing": scalar(0.1), "batch_size": np.int64(3)}
    epoch(model, AdamW(model.backend), images, labels, **options)
    assert {p.dtype for p in model.parameters().values()} == {np.dtype("float32")}


def test_a_new_classifier_needs_a_new_optimizer() -> None:
    images, labels = some_images(6)
    model = VisionPermutator(small_config(num_classes=1), seed=0)
    optimizer = AdamW(model.backend)
    epoch(model, optimizer, images, np.zeros_like(labels))
    model.reset_classifier(5)
    with pytest.raises(ValueError, match=r"head.weight is float32 \(1, 12\), .* need a new optimizer"):
        epoch(model, optimizer, images, labels)


@pytest.mark.parametrize("function", [evaluate, train_epoch])
def test_loops_refuse_what_does_not_fit(function: Callable[..., Any]) -> None:
    images, labels = some_images(6)
    model = VisionPermutator(small_config(), seed=0)
    more = {} if function is evaluate else {"optimizer": Recorder(), "lr": 0.1, "rng": np.random.default_rng(0)}

    def call(images: HostArray, labels: HostArray, batch_size: Any) -> None:
        function(model=model, images=images, labels=labels, batch_size=batch_size, **more)

    for wrong in (labels[:5], labels[:, None]):
        with pytest.raises(ValueError, match=r"labels: got shape .* for 6 images, expected one label an image"):
            call(images, wrong, 2)
    with pytest.raises(ValueError, match="for 0 images"):
        call(images[:0], labels[:0], 2)
    with pytest.raises(ValueError, match="batch_size: got 0, expected an integer >= 1"):
        call(images, labels, 0)
    with pytest.raises(TypeError, match=r"batch_size: got 2\.5, expected an integer"):
        call(images, labels, 2.5)


# --- whole training steps against PyTorch's ---------------------------------------------------------------------------


def torch_steps(kind: str, config: ViPConfig, weights: dict[str, HostArray], steps: int) -> Any:
    """Yield (loss, {name: weight}) of PyTorch's training, step by step."""
    module = torch_vip(config).double()
    module.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    named = dict(module.named_parameters())
    groups = [
        {"params": [p for p in named.values() if p.ndim >= 2]},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0 if kind == "adamw" else 0.1},
    ]
    optimizer: torch.optim.Optimizer
    if kind == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1)
    else:
        optimizer = torch.optim.SGD(groups, lr=0.02, momentum=0.9, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=1e-5)
    for step in range(steps):
        images, labels = some_images(4, "float64", seed=step)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            module(torch.tensor(images)), torch.tensor(labels), label_smoothing=0.1
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimizer.step()
        schedule.step()
        yield loss.item(), {name: p.detach().numpy() for name, p in named.items()}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_training_equals_pytorch_step_by_step(kind: str) -> None:
    """Twenty steps in float64 of model, clipping, optimiser and schedule: every loss and every weight."""
    steps = 20
    config = small_config(skip_lam=2.0)
    model = VisionPermutator(config, seed=1, dtype="float64")
    optimizer = AdamW(model.backend, weight_decay=0.1) if kind == "adamw" else SGD(model.backend, weight_decay=0.1)
    top = 1e-3 if kind == "adamw" else 0.02
    for step, (loss, weights) in enumerate(torch_steps(kind, config, model.state_dict(), steps)):
        ours = train_epoch(
            model,
            optimizer,
            *some_images(4, "float64", seed=step),
            batch_size=4,
            lr=cosine_lr(step, lr=top, epochs=steps, min_lr=1e-5),
            rng=np.random.default_rng(step),
            label_smoothing=0.1,
            max_norm=1.0,
        )
        assert ours == pytest.approx([loss], rel=1e-12)
        for name, weight in model.parameters().items():
            np.testing.assert_allclose(weight, weights[name], rtol=0, atol=1e-11 * np.abs(weights[name]).max())


# --- the digits -------------------------------------------------------------------------------------------------------


def keys(images: HostArray) -> list[bytes]:
    return [image.tobytes() for image in images]


def test_splits_are_stratified_and_leave_the_development_images_alone() -> None:
    everything = sklearn.datasets.load_digits()
    scaled = (everything.images / 8 - 1).astype(np.float32)[:, None]
    label_of = dict(zip(keys(scaled), everything.target, strict=True))
    assert len(label_of) == 1797
    tested: Counter[bytes] = Counter()
    developments = []
    for split in range(SPLITS):
        digits = load_digits(split)
        assert digits.train_images.shape[1:] == digits.test_images.shape[1:] == (1, 8, 8)
        assert digits.train_images.dtype == np.float32
        assert digits.train_labels.dtype == np.int64
        train, test = keys(digits.train_images), keys(digits.test_images)
        assert sorted(train + test) == sorted(label_of)
        assert [label_of[key] for key in train] == digits.train_labels.tolist()
        assert [label_of[key] for key in test] == digits.test_labels.tolist()
        share = np.bincount(digits.test_labels) / np.bincount(everything.target)
        assert np.abs(share - 0.2).max() < 0.012
        tested.update(test)
        developments.append(set(train[: digits.development]))
    assert all(development == developments[0] for development in developments)
    assert set(tested) == set(label_of) - developments[0]
    assert set(tested.values()) == {2}


def test_a_split_is_always_the_same() -> None:
    for ours, again in zip(load_digits(3), load_digits(3), strict=True):
        np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize(("split", "error"), [(5, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_an_unknown_split_is_refused(split: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"split: got {split}, expected"):
        load_digits(split)


def test_digits_without_scikit_learn_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r'pip install "vipnp\[train\]"'):
        load_digits()


# --- augmentation -----------------------------------------------------------------------------------------------------


class Fixed(np.random.Generator):
    """A generator whose uniform draws are all the highest value asked for."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return np.full(size, high, dtype=np.float64)


def test_a_shift_by_whole_pixels_moves_down_and_right() -> None:
    images = some_images(3)[0]
    moved = rotate_and_shift(images, Fixed(), max_degrees=0, max_shift=2, background=-1.5)
    expected = np.full_like(images, -1.5)
    expected[:, :, 2:, 2:] = images[:, :, :-2, :-2]
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-12)


def test_a_quarter_turn_is_that_of_numpy() -> None:
    images = some_images(3)[0][:, :, :8]
    moved = rotate_and_shift(images, Fixed(), max_degrees=90, max_shift=0, background=0.0)
    np.testing.assert_allclose(moved, np.rot90(images, -1, axes=(2, 3)), rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 2),
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    degrees=st.floats(0, 45),
    shift=st.floats(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_augmentation_keeps_shape_dtype_range_and_its_argument(
    batch: int, channels: int, height: int, width: int, degrees: float, shift: float, seed: int
) -> None:
    images = np.random.default_rng(seed).uniform(-1, 1, (batch, channels, height, width)).astype(np.float32)
    images.flags.writeable = False
    options = {"max_degrees": degrees, "max_shift": shift, "background": -1.0}
    moved = rotate_and_shift(images, np.random.default_rng(seed), **options)
    assert moved.shape == images.shape
    assert moved.dtype == images.dtype
    assert moved.min() >= -1 - 1e-6
    assert moved.max() <= images.max() + 1e-6
    np.testing.assert_array_equal(moved, rotate_and_shift(images, np.random.default_rng(seed), **options))


def test_no_angle_and_no_shift_change_nothing() -> None:
    images = some_images(2)[0]
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(rotate_and_shift(images, rng, max_degrees=0, max_shift=0, background=0.0), images)


def test_every_image_moves_by_itself() -> None:
    images = np.repeat(some_images(1)[0], 4, axis=0)
    moved = rotate_and_shift(images, np.random.default_rng(0), max_degrees=10, max_shift=1, background=0.0)
    assert len(set(keys(moved))) == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixup_blends_with_the_reversed_batch(dtype: str) -> None:
    images, labels = some_images(5, dtype)
    options: dict[str, Any] = {"alpha": 0.4, "num_classes": 5, "label_smoothing": 0.1}
    mixed, targets = mixup(images, labels, np.random.default_rng(0), **options)
    assert mixed.dtype == targets.dtype == np.dtype(dtype)
    lam = np.random.default_rng(0).beta(0.4, 0.4)
    assert 0.01 < lam < 0.99
    for i in range(5):
        np.testing.assert_allclose(mixed[i], lam * images[i] + (1 - lam) * images[4 - i], rtol=1e-6, atol=1e-6)
        expected = np.full(5, 0.1 / 5)
        expected[labels[i]] += 0.9 * lam
        expected[labels[4 - i]] += 0.9 * (1 - lam)
        np.testing.assert_allclose(targets[i], expected, rtol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


def test_mixup_without_alpha_only_smooths() -> None:
    images, labels = some_images(4)
    mixed, targets = mixup(images, labels, np.random.default_rng(1), alpha=0, num_classes=5, label_smoothing=0)
    np.testing.assert_array_equal(mixed, images)
    np.testing.assert_array_equal(targets, np.eye(5)[labels])


WRONG_MIXUPS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"labels": np.array([0, 1, 2, 5])}, ValueError, r"labels: got values from 0 to 5, expected classes in \[0, 5\)"),
    ({"labels": np.array([0, -1, 2, 3])}, ValueError, "labels: got values from -1 to 3"),
    ({"labels": np.array([0.0, 1.0, 2.0, 3.0])}, TypeError, "labels: got dtype float64, expected integers"),
    ({"labels": [0, 1, 2, 3]}, TypeError, "labels: got list"),
    ({"labels": np.array([0, 1, 2])}, ValueError, r"labels: got shape \(3,\) for 4 images"),
    ({"images": np.zeros((4, 2, 12, 8), np.uint8)}, TypeError, "images: got dtype uint8, expected float32 or float64"),
    ({"images": np.zeros((4, 12, 8), np.float32)}, ValueError, r"images: got shape \(4, 12, 8\)"),
    ({"rng": None}, TypeError, "rng: got NoneType"),
    ({"alpha": -0.1}, ValueError, "alpha: got -0.1"),
    ({"alpha": 1e308}, ValueError, r"alpha: got 1e\+308, expected a number in \[0, 1000000.0\]"),
    ({"alpha": float("nan")}, ValueError, "alpha: got nan"),
    ({"num_classes": 0}, ValueError, "num_classes: got 0"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing: got 1.0"),
    ({"label_smoothing": -0.1}, ValueError, "label_smoothing: got -0.1"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_MIXUPS)
def test_mixup_refuses_what_does_not_fit(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    images, labels = some_images(4)
    right: dict[str, Any] = {"images": images, "labels": labels, "rng": np.random.default_rng(0), "alpha": 0.4}
    with pytest.raises(error, match=message):
        mixup(**{**right, "num_classes": 5, "label_smoothing": 0.1, **wrong})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (
            {"images": np.zeros((4, 2, 12, 8), np.uint8)},
            TypeError,
            "images: got dtype uint8, expected float32 or float64",
        ),
        ({"images": np.zeros((2, 12, 8), np.float32)}, ValueError, r"images: got shape \(2, 12, 8\)"),
        ({"rng": 0}, TypeError, "rng: got int"),
        ({"max_degrees": -1}, ValueError, "max_degrees: got -1"),
        ({"max_shift": -1}, ValueError, "max_shift: got -1"),
        ({"background": float("inf")}, ValueError, "background: got inf"),
    ],
)
def test_rotation_refuses_what_does_not_fit(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    right: dict[str, Any] = {"images": some_images(4)[0], "rng": np.random.default_rng(0), "background": -1.0}
    with pytest.raises(error, match=message):
        rotate_and_shift(**{**right, "max_degrees": 5, "max_shift": 1, **wrong})
