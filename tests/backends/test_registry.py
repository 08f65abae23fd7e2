"""Backends: the registry, replacements, foreign arrays, sums."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vipnp
from vipnp import get_backend, ops
from vipnp.core import Array, Backend, Replacements
from vipnp.layers import mlp

XP = vipnp.get_backend("numpy")

THIRD_PARTY = """
import numpy
from vipnp import Backend

class Doubled(Backend):
    def ndtr(self, x):
        return numpy.ones_like(x)

def create(scale=1):
    backend = Doubled("third", numpy, numpy.ndarray)
    backend.scale = scale
    return backend

def wrong():
    return "no backend"

def open_ended(**options):
    return create(options["scale"])
"""


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that registers two backends by entry point."""
    (tmp_path / "third_party.py").write_text(THIRD_PARTY)
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vipnp.backends]\nthird = third_party:create\nwrong = third_party:wrong\nopen = third_party:open_ended\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "third_party", raising=False)


@pytest.mark.usefixtures("third_party")
def test_a_third_party_registers_a_backend() -> None:
    assert "third" in vipnp.list_backends()
    backend = vipnp.get_backend("third", scale=3)
    assert backend.name == "third"
    assert backend.scale == 3
    x = np.array([[1.0, -2.0]])
    y, _ = ops.gelu(backend, x)
    assert np.array_equal(y, x)
    assert vipnp.get_backend("open", scale=4).scale == 4
    with pytest.raises(ValueError, match="backend 'third' has no option 'size'; expected one of: scale"):
        vipnp.get_backend("third", size=3)
    with pytest.raises(ValueError, match=r"no option 'scales'.*did you mean 'scale'"):
        vipnp.get_backend("third", scales=3)
    with pytest.raises(TypeError, match="backend 'wrong': its entry point returned str, expected a Backend"):
        vipnp.get_backend("wrong")


@pytest.mark.usefixtures("third_party")
def test_a_name_registered_twice_is_refused(tmp_path: Path) -> None:
    info = tmp_path / "another-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vipnp.backends]\nthird = another:create\n")
    with pytest.raises(
        ValueError, match="backend 'third': registered more than once, by another:create and third_party"
    ):
        vipnp.get_backend("third")


def test_names() -> None:
    assert {"numpy", "cupy"} <= set(vipnp.list_backends())
    assert vipnp.list_backends() == sorted(vipnp.list_backends())
    assert vipnp.get_backend(XP) is XP
    with pytest.raises(ValueError, match=r"backend: unknown name 'nunpy'.*did you mean 'numpy'"):
        vipnp.get_backend("nunpy")
    with pytest.raises(TypeError, match="backend: expected a name or a Backend, got int"):
        vipnp.get_backend(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"options \['x'\] cannot be given to a ready-made backend"):
        vipnp.get_backend(XP, x=1)
    with pytest.raises(ValueError, match="backend 'numpy' has no option 'fast'"):
        vipnp.get_backend("numpy", fast=True)


class PlainBackend(Backend):
    """What a third party writes at the least."""

    def ndtr(self, x: Array) -> Array:
        return XP.ndtr(x)


def counted_gelu(xp: Backend, x: Array) -> tuple[Array, Callable[[Array], tuple[Array]]]:
    y, pullback = ops.gelu(xp, x)
    return 2 * y, lambda dy: (2 * pullback(dy)[0],)


def test_a_replacement_runs_in_the_place_of_its_op() -> None:
    table = Replacements()
    assert table.replaces(ops.gelu)(counted_gelu) is counted_gelu
    with pytest.raises(ValueError, match="op gelu is replaced twice"):
        table.replaces(ops.gelu)(counted_gelu)
    fast = PlainBackend("fast", np, np.ndarray, replacements=table)
    counting = fast.counting()
    x = np.random.default_rng(0).normal(size=(2, 3))
    y, pullback = counting.run(ops.gelu, x)
    plain, plain_back = ops.gelu(fast, x)
    assert np.array_equal(y, 2 * plain)
    assert np.array_equal(pullback(x)[0], 2 * plain_back(x)[0])
    assert counting.ran == {counted_gelu: 1}
    assert fast.find(ops.gelu) is counted_gelu
    assert fast.find(ops.softmax) is ops.softmax
    assert fast.ran is None
    table.clear()
    assert fast.replacements == {ops.gelu: counted_gelu}


def test_inference_keeps_no_pullback() -> None:
    inference = XP.inference()
    x = np.ones((2, 3))
    y, pullback = inference.run(ops.gelu, x)
    assert np.array_equal(y, XP.run(ops.gelu, x)[0])
    with pytest.raises(RuntimeError, match="computed for inference"):
        pullback(x)
    assert XP.keep


def test_foreign_arrays_are_refused() -> None:
    x = np.ones((2, 4))
    with pytest.raises(
        TypeError, match=r"gelu: got an array of type torch.Tensor; backend 'numpy' takes numpy.ndarray"
    ):
        XP.run(ops.gelu, torch.ones(2, 4))
    with pytest.raises(TypeError, match=r"dropout: got an array of type torch.Tensor"):
        XP.run(ops.dropout, x, mask=torch.ones(2, 4), rate=0.5)
    params: Any = {
        "fc1": {"weight": torch.ones(3, 4), "bias": np.ones(3)},
        "fc2": {"weight": np.ones((4, 3)), "bias": np.ones(4)},
    }
    with pytest.raises(TypeError, match=r"linear: got an array of type torch.Tensor"):
        XP.run(mlp, x, params)


class Derived(np.ndarray[Any, Any]):
    """An array class of somebody else's."""


DERIVED: list[Callable[[Any], Any]] = [lambda a: a.view(Derived), lambda a: a.view(np.matrix), np.ma.masked_array]
"""Views of a host array as one of a derived class, which may multiply otherwise or hide what it holds."""


@pytest.mark.parametrize("derive", DERIVED)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_arrays_of_a_derived_class_are_refused(backend: str, derive: Callable[[Any], Any]) -> None:
    xp, x = get_backend(backend), np.ones((2, 4))
    name = type(derive(x)).__name__
    with pytest.raises(
        TypeError, match=rf"gelu: got an array of type .*\.{name}; backend '{backend}' takes numpy.ndarr"
    ):
        xp.run(ops.gelu, derive(x))
    _, pullback = xp.run(ops.gelu, x)
    with pytest.raises(TypeError, match=rf"cotangent of gelu: got an array of type .*\.{name}; backend"):
        pullback(derive(x))


COTANGENTS: list[tuple[Any, type[Exception], str]] = [
    (1.0, TypeError, "got an array of type builtins.float; backend '.*' takes numpy.ndarray"),
    (None, TypeError, "got an array of type builtins.NoneType"),
    (np.ones((2, 3, 4, 4)).tolist(), TypeError, "got an array of type builtins.list"),
    (torch.ones(2, 3, 4, 4), TypeError, "got an array of type torch.Tensor"),
    (np.float64(1), TypeError, "got an array of type numpy.float64"),
    (np.ones((1, 3, 1, 4)), ValueError, r"got shape \(1, 3, 1, 4\), expected \(2, 3, 4, 4\), that of its y"),
    (np.ones((2, 3, 4, 4, 1)), ValueError, r"got shape \(2, 3, 4, 4, 1\)"),
    (np.ones(()), ValueError, r"got shape \(\), expected"),
    (np.ones((2, 3, 4, 4), np.float32), TypeError, "got dtype float32, expected float64, that of its y"),
    (np.ones((2, 3, 4, 4), ">f8"), TypeError, "got dtype >f8, expected float64"),
]


@pytest.mark.parametrize(("dy", "error", "message"), COTANGENTS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("options", [{}, {"shards": 2}, {"name": "numba"}, {"name": "numba", "shards": 3}])
def test_a_cotangent_that_is_not_like_y_is_refused(
    options: dict[str, Any], dy: Any, error: type[Exception], message: str
) -> None:
    """Broadcast, a cotangent of another shape gave wrong gradients without a word."""
    xp = get_backend(**{"name": "numpy", **options})
    x, weight, bias = (np.random.default_rng(1).normal(size=shape) for shape in ((2, 3, 4, 4), 4, 4))
    _, pullback = xp.run(ops.layer_norm, x, weight, bias)
    with pytest.raises(error, match=f"cotangent of layer_norm: {message}"):
        pullback(dy)
    whole = np.broadcast_to(np.ones((1, 3, 1, 4)), x.shape)
    np.testing.assert_allclose(pullback(whole)[2], np.full(4, 24.0))


def test_the_cotangent_of_a_loss_is_an_array_like_it() -> None:
    logits, labels = np.zeros((3, 5)), np.array([1, 0, 4])
    loss, pullback = XP.run(ops.cross_entropy, logits, labels=labels)
    (expected,) = pullback(np.ones_like(loss))
    assert np.array_equal(pullback(np.float64(1))[0], expected)
    with pytest.raises(TypeError, match=r"cotangent of cross_entropy: got an array of type builtins.float"):
        pullback(1.0)


def test_a_guarded_pullback_does_not_keep_the_result() -> None:
    x = np.ones((2, 3))
    y, pullback = XP.run(ops.residual, x, x, 2.0)
    result = weakref.ref(y)
    del y
    assert result() is None
    assert np.array_equal(pullback(x)[0], x)


@pytest.mark.parametrize(
    ("left", "right"), [((3, 5), (5, 2)), ((3, 500), (500, 2)), ((2, 3, 400), (400, 5)), ((400,), (400, 2))]
)
def test_matmul_is_exact_on_integers(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.integers(-9, 9, size=shape).astype(np.float64) for shape in (left, right))
    assert np.array_equal(XP.matmul(x, y), x @ y)


@pytest.mark.parametrize(("left", "right"), [((4, 192), (300, 5)), ((4, 300), (192, 5)), ((2, 4, 192), (384, 5))])
def test_matmul_refuses_what_does_not_fit(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="matmul"):
        XP.matmul(np.ones(left), np.ones(right))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 1000, 1013])
def test_sum_rows_is_exact_on_integers(rows: int) -> None:
    x = np.random.default_rng(rows).integers(-9, 9, size=(rows, 2, 5)).astype(np.float64)
    assert np.array_equal(XP.sum_rows(x), x.sum(axis=(0, 1)))
    generic = PlainBackend("generic", np, np.ndarray)
    assert np.array_equal(generic.sum_rows(x), x.sum(axis=(0, 1)))


def test_sum_rows_is_accurate_in_float32() -> None:
    x = np.random.default_rng(1).uniform(0, 1, size=(8192, 3)).astype(np.float32)
    truth = x.astype(np.float64).sum(axis=0)
    error = np.abs(XP.sum_rows(x) - truth).max() / truth.max() * 2**24
    assert error <= 8
    assert np.abs(x.sum(axis=0) - truth).max() / truth.max() * 2**24 > error


def test_a_backend_says_what_it_is() -> None:
    assert repr(XP) == "<vipnp backend 'numpy'>"
    assert XP.owns(np.ones(2))
    assert not XP.owns(torch.ones(2))
    assert np.array_equal(XP.asarray([1, 2], dtype=np.float32), np.array([1, 2], np.float32))
    XP.synchronize()
    with pytest.raises(AttributeError, match="no_such_function"):
        _ = XP.no_such_function
    with pytest.raises(TypeError, match="abstract"):
        Backend("bare", np, np.ndarray)  # type: ignore[abstract]


def test_a_library_that_is_installed_and_does_not_load_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not «not installed»: the cause is what helps."""
    (tmp_path / "cupy.py").write_text("raise ImportError('libfoo.so.13: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "cupy"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match="cupy is installed and cannot be loaded: libfoo"):
        vipnp.get_backend("cupy")
