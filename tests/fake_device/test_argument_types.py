"""A launch whose names or types are not those of the kernel's source is refused before anything starts.

CUDA looks at no type: a kernel given the address of other numbers reads them as its own.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np
import pytest

from vipnp.backends.cupy import kernels

pytestmark = pytest.mark.kernels

POINTERS = {"T": "float16", "From": "float16", "To": "float32", "A": "float32", "Wide<T>": "float32"}
NUMBERS = {"int": 3, "long long": 3, "Wide<T>": 0.5, "A": 0.5, "Parts<A>": bytes(kernels.PARTS_LAYOUT.itemsize)}


def element(kind: str) -> str:
    return POINTERS.get(kind.removeprefix("const ").removesuffix("*"), "int64")


def right_argument(kind: str) -> Any:
    return cupy.zeros(1, element(kind)) if kind.endswith("*") else NUMBERS[kind]


def wrong_arguments(kind: str) -> tuple[Any, ...]:
    if kind.endswith("*"):
        return cupy.zeros(1, "float64"), np.zeros(1, element(kind)), 3
    return (cupy.zeros((), "float32"), None, "3", *((0.5,) if kind in ("int", "long long") else ()))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was started, instead of starting it."""
    calls: list[tuple[Any, ...]] = []
    function = SimpleNamespace(kernel=SimpleNamespace(ptr=0))
    monkeypatch.setattr(kernels, "_module", lambda *_: SimpleNamespace(get_function=lambda _: function))
    monkeypatch.setattr(kernels, "_ready", kernels._Ready())
    monkeypatch.setattr(kernels.driver, "launchKernel", lambda *arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize("name", sorted(kernels.KERNELS))
def test_a_launch_takes_what_the_source_declares_and_nothing_else(name: str, started: list[tuple[Any, ...]]) -> None:
    dtype = "float16" if "float16" in kernels.KERNELS[name].templates else "float32"
    template = kernels.KERNELS[name].templates[dtype][0]
    right = {parameter: right_argument(kind) for parameter, kind in kernels.signature(name).items()}
    kernels.launch(name, dtype, template, (1,), (1,), **dict(reversed(right.items())))
    assert len(started) == 1
    for parameter, kind in kernels.signature(name).items():
        for wrong in wrong_arguments(kind):
            with pytest.raises(TypeError, match=f"^{name}: {parameter}: got .*, expected "):
                kernels.launch(name, dtype, template, (1,), (1,), **right | {parameter: wrong})
        missing = {other: value for other, value in right.items() if other != parameter}
        for names in (missing, right | {"other": 1}, missing | {"other": 1}):
            with pytest.raises(TypeError, match=f"^{name}: got .*, expected .*{parameter}"):
                kernels.launch(name, dtype, template, (1,), (1,), **names)
    assert len(started) == 1


def test_a_constant_or_kernel_that_the_source_lacks_is_an_error() -> None:
    assert kernels.constant("cross_entropy.cu", "ROW_THREADS") == 128
    with pytest.raises(LookupError, match=r"^gelu\.cu has no constant WARPS$"):
        kernels.constant("gelu.cu", "WARPS")
