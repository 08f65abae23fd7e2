"""The rung "theorem": Coq proved the gradients right for every shape, of the source that is here today.

The theorems stand in proofs/; what was proved, and from which source, is recorded in theorems.json beside this file, so
that the rung needs no Coq.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from vipnp.verify.outcomes import UndecidedError
from vipnp.verify.report import Row, Verdict
from vipnp.verify.subject import Subject

NAME = "theorem"


@cache
def record() -> Mapping[str, Any]:
    """Coq's version, what all theorems together assume, and what was proved, by the name of the theorem."""
    found: Mapping[str, Any] = json.loads((files("vipnp.audit") / "theorems.json").read_text(encoding="utf-8"))
    return found


def theorems_about(function: Callable[..., Any]) -> dict[str, Any]:
    """The recorded theorems about a function, by name."""
    module = getattr(function, "__module__", None)
    return {
        name: entry
        for name, entry in record()["theorems"].items()
        if (entry["module"], entry["of"]) == (module, function.__name__)
    }


def theorem(subject: Subject) -> list[Row]:
    """Whether the theorems about the function are about its source as it is now, and that of all that it calls."""
    found = theorems_about(subject.op)
    if not found:
        raise UndecidedError("no theorem is recorded about this function")
    if changed := changes(subject.op, found):
        raise UndecidedError(
            f"{', '.join(changed)}: not the source that Coq {record()['coq']} proved the theorem of; run "
            "python -m proofs.check --record"
        )
    return subject.all_rows(NAME, Verdict.PASS, "; ".join(dict.fromkeys(map(scope, found.values()))))


def scope(entry: Mapping[str, Any]) -> str:
    """For what a theorem is proved, in a line."""
    if "says" in entry:
        return "proved for every depth, width, image size and batch"
    shapes = ", ".join(f"{n} ({s.replace(' ', ', ')})" for n, s in entry["arrays"].items())
    return f"proved for all sizes of {shapes}"


def changes(function: Callable[..., Any], found: Mapping[str, Any]) -> list[str]:
    """What is not as it was when the theorems were proved: modules by name, or the function itself."""
    if getattr(sys.modules[function.__module__], function.__name__, None) is not function:
        return [function.__name__]
    recorded = {module: digest for entry in found.values() for module, digest in entry["sources"].items()}
    return [module for module, digest in recorded.items() if source_digest(module) != digest]


def source_digest(module: str) -> str:
    """The SHA-256 of the text of a module of vipnp; "" where there is none."""
    package, _, name = module.rpartition(".")
    path = files(package) / f"{name}.py"
    return hashlib.sha256(path.read_text(encoding="utf-8").encode()).hexdigest() if path.is_file() else ""
