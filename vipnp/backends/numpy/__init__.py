"""NumPy on the CPU: its arrays, its matrix products, and the threads that take shards of a batch."""

from vipnp.backends.numpy.backend import NumpyBackend, create, keep_freed_memory, phi

__all__ = ["NumpyBackend", "create", "keep_freed_memory", "phi"]
