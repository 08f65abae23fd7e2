"""Would an array of another type be noticed?"""

from __future__ import annotations

import cupy
import pytest

from tests.fake_device.argument_types import Checked
from vipnp.backends.cupy import kernels

pytestmark = pytest.mark.kernels
POINTERS = {"const T*": "float16", "T*": "float16", "const A*": "float32", "A*": "float32", "const Wide<T>*": "float32"}


@pytest.mark.parametrize("name", sorted(kernels.KERNELS))
def test_an_array_of_another_type_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = []
    monkeypatch.setattr(Checked.__base__, "start", lambda *arguments: launched.append(arguments))
    checked = object.__new__(Checked)
    checked.name, checked.dtype = name, "float16"
    kinds = kernels.signature(name)
    right = [cupy.zeros(1, POINTERS[kind]) if kind in POINTERS else 1 for kind in kinds]
    checked.start((1,), (1,), tuple(right))
    assert len(launched) == 1
    for i, kind in enumerate(kinds):
        if kind in POINTERS:
            with pytest.raises(AssertionError, match="is given an array of float64"):
                checked.start((1,), (1,), (*right[:i], cupy.zeros(1, "float64"), *right[i + 1 :]))
    assert len(launched) == 1
