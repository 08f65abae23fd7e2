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


class Checked(kernels.Prepared):
    """A kernel that looks at the arrays before it starts."""

    def start(self, grid: Any, block: Any, arguments: tuple[Any, ...]) -> None:
        wide = kernels.wide(self.dtype)
        dtypes = {"T": self.dtype, "Wide<T>": wide, "A": wide, "long long": "int64"}
        for kind, value in zip(kernels.signature(self.name), arguments, strict=True):
            element = kind.removeprefix("const ").removesuffix("*").strip()
            if isinstance(value, cupy.ndarray) and element not in TEMPLATE:
                found = "int64" if value.dtype == "int64" else dtype_name(value)
                assert found == dtypes[element], f"{self.name}: {kind} is given an array of {found}"
        super().start(grid, block, arguments)


def watch_types() -> None:
    """From now on every launch is checked."""
    kernels.Prepared = Checked  # type: ignore[misc]
