"""Optional packages, imported when a rung needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingExtraError(ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


def need(module: str, extra: str) -> Any:
    """The module, or MissingExtraError naming the extra of vipnp that installs it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise MissingExtraError(f'{package} is not installed: pip install "vipnp[{extra}]"') from error
