"""The array worlds by name: `get_backend`, `list_backends`; one folder each, with its arrays and its kernels.

A third party adds a backend by an entry point of the group "vipnp.backends" that names a function returning a
`Backend`; its keyword arguments become the options of `get_backend`.
"""

from vipnp.backends.registry import get_backend, list_backends
from vipnp.core import Backend

__all__ = ["Backend", "get_backend", "list_backends"]
