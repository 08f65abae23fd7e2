"""The table of cases: every op, layer and model with inputs, naive definition and PyTorch twin. Every suite uses it.

A case draws its inputs from a generator at given sizes, in float64: `args`, the arrays (or nested dicts of arrays)
that are differentiated, and `kwargs`, the constants. All values are random and nonzero, B >= 2, and no two letters of a
case have the same size, so that any two that are swapped are seen. Drop masks drop some samples and keep some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from vipnp.audit.cases.case import Case, Inputs
from vipnp.audit.cases.layers import layer_cases
from vipnp.audit.cases.models import model_cases, model_loss, small_config
from vipnp.audit.cases.ops import op_cases

__all__ = ["CASES", "Case", "Inputs", "cases_of", "model_loss", "small_config"]

CASES: Mapping[str, Case] = MappingProxyType(
    {case.name: case for case in (*op_cases(), *layer_cases(), *model_cases())}
)
"""Every case by name: ops first, then layers, blocks and models."""


def cases_of(op: Callable[..., Any]) -> list[Case]:
    """The cases of one op, layer or model."""
    return [case for case in CASES.values() if case.op is op]
