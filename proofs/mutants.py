"""Do the theorems refuse mistakes? Plants those of `vipnp audit --sabotage`, and asks for the theorem of each.

python -m proofs.mutants [--op NAME ...] [--most N] [--seconds N]

The mistake is traced like the op or layer itself, and the proof of the right one is tried on what it says. Needs what
`python -m proofs.check` needs, after it has run: build/proofs holds the compiled theories.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import vipnp.layers
import vipnp.ops
from proofs import layers, statements
from proofs.check import BUILD, FOLDERS, HERE, UnprovedError, limit
from proofs.statements import SPECS
from tools import planting
from tools.mistakes import Mistake

STILL = "still proved"
LOST = ("refused by the tracer", "refused by Coq", "no answer in time")
"""What may become of a mistake that has no theorem; a proof that takes too long is none."""


def files_of(function: Callable[..., Any], of: str) -> Iterator[str]:
    """The Coq files with which the theorems about `function`, a form of the op or layer `of`, stand or fall."""
    if of in SPECS:
        yield op_file(function, of)
    for theorem, spec in layers.LAYERS.items():
        if spec.layer.__name__ == of:
            yield layers.text_of(theorem, dataclasses.replace(spec, layer=function))


def op_file(function: Callable[..., Any], op: str) -> str:
    """What the op computes and its theorem, with the proof of the right one, in one file."""
    script = (HERE / "ops" / f"{op}.v").read_text()
    end = script.index("Qed.", script.index(f"Theorem {op}_correct :")) + len("Qed.")
    imports, proof = script[:end].split("\n\n", 1)
    imports = re.sub(rf"(From Statements Require Import.*?) {op}\b", r"\1", imports)
    imports = imports.replace("From Statements Require Import.", "")
    statement = statements.statement(op, function, SPECS[op])
    return "\n".join([imports, "Open Scope R_scope.", statement, proof, ""])


def fate(mistake: Mistake, right: list[str], seconds: int) -> str:
    """What becomes of a mistake; `right` are the files of the function without it."""
    try:
        files = list(files_of(mistake.build(mistake.function), mistake.function))
    except Exception:  # the mistake may raise anything
        return "refused by the tracer"
    changed = [text for text, before in zip(files, right, strict=True) if text != before]
    return proved(changed[0], seconds) if changed else "the same statement"


def proved(text: str, seconds: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.v"
        path.write_text(text)
        places = [word for f, name in FOLDERS.items() for word in ("-R", f, name)]
        command = ["coqc", "-w", "none", *places, str(path)]
        done = subprocess.run(command, cwd=BUILD, capture_output=True, preexec_fn=partial(limit, seconds))
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return "no answer in time"
    return "refused by Coq" if done.returncode else STILL


def planted(ops: list[str], most: int) -> Iterator[Mistake]:
    """The mistakes that run and give gradients of the right shapes, `most` of each function, drawn with seed 0."""
    known = {*SPECS, *(spec.layer.__name__ for spec in layers.LAYERS.values())}
    by_function: dict[str, list[planting.Planting]] = {}
    for one in planting.plantings(ops or None):
        if one[0] in known:
            by_function.setdefault(one[0], []).append(one)
    for name, found in by_function.items():
        random.Random(0).shuffle(found)
        taken = 0
        for _, mistake, cases in found:
            with contextlib.suppress(Exception):
                subjects = planting.subjects_of(mistake.build(name), name, cases, 0)
                if taken < most and all(planting.runs(subject) for subject in subjects):
                    taken += 1
                    yield mistake


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask for the theorem of every planted mistake.")
    parser.add_argument("--op", action="append", default=[], help="an op or layer; all by default")
    parser.add_argument("--most", type=int, default=sys.maxsize, help="at most so many mistakes of each")
    parser.add_argument("--seconds", type=int, default=60, help="seconds of the processor that a proof may take")
    arguments = parser.parse_args()
    fates: dict[str, Counter[str]] = {}
    right: dict[str, list[str]] = {}
    for mistake in planted(arguments.op, arguments.most):
        name = mistake.function
        if name not in right:
            right[name] = list(files_of(getattr(vipnp.ops, name, None) or getattr(vipnp.layers, name), name))
            for text in right[name]:
                if (without := proved(text, arguments.seconds)) != STILL:
                    raise UnprovedError(f"{name} without a mistake: {without}, expected a proof")
        became = fate(mistake, right[name], arguments.seconds)
        fates.setdefault(name, Counter())[became] += 1
        print(f"{became}: {mistake.key}", flush=True)
    for name, counts in fates.items():
        print(f"{name:24} {counts.total():4} planted: {', '.join(f'{n} {what}' for what, n in counts.most_common())}")
    total = sum(fates.values(), Counter())
    lost = sum(total[what] for what in LOST)
    print(f"{lost} of {total.total()} planted mistakes lose their theorem: {dict(total)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
