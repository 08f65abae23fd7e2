"""Compiled kernels between matrix products on the CPU."""

from vipnp.backends.numba.backend import ShardBackend, create

__all__ = ["ShardBackend", "create"]
