"""Every array handed to a kernel has the dtype that the kernel's source declares for it.

CUDA looks at no type: a kernel given the address of other numbers reads them as its own.
"""

from __future__ import annotations

from typing import Any

import cupy

from vipnp.backends.cupy import kernels
from vipnp.backends.cupy.arrays import dtype_name

TEMPLATE = ("From", "To")
"""Types that each launch chooses for itself."""


class Checked:
    """What `vipnp.backends.cupy.kernels` launches a kernel by, with a look at the arrays before."""

    def __init__(self, function: Any, name: str, dtype: str) -> None:
        self.function, self.name = function, name
        wide = kernels.wide(dtype)
        self.dtypes = {"T": dtype, "Wide<T>": wide, "A": wide, "long long": "int64"}

    def __call__(self, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        for kind, value in zip(kernels.signature(self.name), arguments, strict=True):
            element = kind.removeprefix("const ").removesuffix("*").strip()
            if isinstance(value, cupy.ndarray) and element not in TEMPLATE:
                found = "int64" if value.dtype == "int64" else dtype_name(value)
                assert found == self.dtypes[element], f"{self.name}: {kind} is given an array of {found}"
        self.function(grid, block, arguments)


def watch_types() -> None:
    """From now on every launch is checked."""
    original = kernels._function

    def function(name: str, dtype: str, template: tuple[str, ...]) -> tuple[Any, Any]:
        found, scalars = original(name, dtype, template)
        return Checked(found, name, dtype), scalars

    function.cache_clear = original.cache_clear  # type: ignore[attr-defined]
    kernels._function = function  # type: ignore[assignment]
