"""NVRTC and the loading of modules: what CuPy compiles becomes kernels of the CPU emulator."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.cuda_emulator import emulator
from tests.fake_device.libraries import CUDA_MAJOR

HEADERS = Path(__file__).parent / "include"
"""Those that stand before CuPy's own."""


@dataclass
class Program:
    """What nvrtcCreateProgram was given, and the expressions whose instantiations are wanted."""

    source: str
    expressions: list[str] = field(default_factory=list)
    log: str = ""
    _kernels: dict[str, emulator.Kernel] | None = None

    def kernel(self, name: str) -> emulator.Kernel | None:
        """The kernel of that name or name expression, None if there is none; compiled when first asked for."""
        if not self.expressions:
            if not re.search(rf"__global__ void {name}\(", self.source):
                return None
            # CuPy's own, a hundred of them: the sanitizers are for ours, and the other parts give these guarded arrays
            return emulator.load(self.source, [name], _options(), sanitized=False)[name]
        if self._kernels is None:
            self._kernels = emulator.load(self.source, self.expressions)
        return self._kernels.get(name)


def _options() -> list[str]:
    """What g++ needs for the headers that CuPy's own kernels start with."""
    wheel = find_spec("cupy")
    assert wheel is not None
    assert wheel.origin is not None
    return [
        f"-D__CUDACC_VER_MAJOR__={CUDA_MAJOR}",
        f"-I{HEADERS}",
        f"-I{Path(wheel.origin).parent / '_core' / 'include'}",
    ]
