"""The `array_api` backend: the readable ops on any namespace of the Python array API standard."""

from vipnp.backends.array_api.backend import ArrayAPIBackend, create

__all__ = ["ArrayAPIBackend", "create"]
