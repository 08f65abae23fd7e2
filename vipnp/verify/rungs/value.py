"""The value against a definition written as loops: a forward pass with its own right gradient can still be wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from vipnp.core import HostArray
from vipnp.verify.report import Row, Verdict
from vipnp.verify.several import OfOneArray, in_one_array
from vipnp.verify.subject import Subject
from vipnp.verify.trees import tree_map

NAME = "value"


def value(subject: Subject) -> list[Row]:
    """y against `definition`, which takes nested lists of floats (and the constants, arrays as nested lists)."""
    if subject.definition is None:
        return [subject.row(NAME, "y", Verdict.INCONCLUSIVE, detail="no definition to compare with was given")]
    y = subject.value
    kwargs = tree_map(_as_lists, subject.constants())
    defined = subject.definition(*tree_map(_as_lists, subject.args), **kwargs)
    _, pullback = subject.run(subject.numpy, subject.copies())
    several = isinstance(pullback, OfOneArray) and isinstance(defined, (tuple, list))
    expected = np.asarray(in_one_array(defined) if several else defined, np.float64)
    if expected.shape != y.shape:
        detail = f"y has shape {y.shape}, the definition gives {expected.shape}"
        return [subject.row(NAME, "y", Verdict.FAIL, detail=detail)]
    return [subject.compared(NAME, "y", y, expected)]


def _as_lists(array: HostArray) -> Any:
    return array.tolist()
