"""CuPy on an NVIDIA GPU: its arrays, and CUDA kernels in the place of ops, stages and the optimiser's step."""

from vipnp.backends.cupy.backend import PRECISIONS, CupyBackend, create
from vipnp.backends.cupy.memory import DeviceMemoryError, Memory

__all__ = ["PRECISIONS", "CupyBackend", "DeviceMemoryError", "Memory", "create"]
