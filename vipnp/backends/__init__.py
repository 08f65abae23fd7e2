"""The array worlds: `get_backend`, `list_backends`, and what a backend is.

A third party adds a backend by an entry point of the group "vipnp.backends" that names a function returning a
`Backend`; its keyword arguments become the options of `get_backend`.
"""

from vipnp.backends.base import (
    Array,
    Backend,
    Generator,
    HostArray,
    Op,
    Pullback1,
    Pullback2,
    Pullback3,
    Replacements,
)
from vipnp.backends.registry import get_backend, list_backends

__all__ = [
    "Array",
    "Backend",
    "Generator",
    "HostArray",
    "Op",
    "Pullback1",
    "Pullback2",
    "Pullback3",
    "Replacements",
    "get_backend",
    "list_backends",
]
