"""Which versions of libraries a result depends on."""

from __future__ import annotations

import platform
from importlib import metadata


def installed(*packages: str) -> dict[str, str]:
    """The versions of Python and of those of `packages` that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
