"""Lets Coq check every theorem, and compares what each one assumes with proofs/assumptions.txt.

python -m proofs.check [--record]

Needs `coqc` and Coquelicot (Debian: apt-get install coq libcoq-coquelicot). Everything is compiled in build/proofs, so
that a second run checks only what has changed. `--record` writes proofs/record.json: which theorems were proved, from
which source, by which version of Coq.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vipnp.ops
from proofs import layers, statements
from proofs.statements import SPECS

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "proofs"
FOLDERS = {"theories": "Proofs", "statements": "Statements", "ops": "Ops", "layers": "Layers"}
"""Every folder of Coq files, and what the files call it."""

MEMORY = 6 << 30
"""Bytes that one Coq may take: a proof that no longer fits its statement can want all there is."""

RECORD = HERE / "record.json"


class UnprovedError(Exception):
    """A theorem is missing, is not proved, or assumes what it should not."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sources() -> dict[str, dict[str, str]]:
    """For every theorem its op or layer, and the hashes of that source and of the written statement."""
    found = {}
    for name, spec in SPECS.items():
        found[name] = entry(getattr(vipnp.ops, spec.op), statements.files()[f"{spec.op}.v"])
    for name, layer in layers.LAYERS.items():
        found[name] = entry(layer.layer, layers.files()[f"{name}.v"])
    return found


def entry(function: Callable[..., Any], statement: str) -> dict[str, str]:
    return {
        "of": function.__name__,
        "source": digest(inspect.getsource(function)),
        "statement": digest(statement),
    }


def allowed() -> list[str]:
    """The assumptions that a theorem may have."""
    lines = (HERE / "assumptions.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def compile_all(jobs: int) -> None:
    for folder in FOLDERS:
        kept = {path.name for path in (HERE / folder).glob("*.v")}
        (BUILD / folder).mkdir(parents=True, exist_ok=True)
        for old in (BUILD / folder).glob("*.v"):
            if old.name not in kept:
                old.unlink()
        for path in (HERE / folder).glob("*.v"):
            target = BUILD / folder / path.name
            if not target.exists() or target.read_bytes() != path.read_bytes():
                shutil.copy(path, target)
    names = sorted(str(path.relative_to(BUILD)) for folder in FOLDERS for path in (BUILD / folder).glob("*.v"))
    places = [f"-R {folder} {name}" for folder, name in FOLDERS.items()]
    (BUILD / "_CoqProject").write_text("\n".join([*places, "-arg -w -arg -ambiguous-paths", *names, ""]))
    run("coq_makefile", "-f", "_CoqProject", "-o", "Makefile")
    run("make", "--no-print-directory", f"-j{jobs}")


def assumptions() -> dict[str, list[str]]:
    """What the theorems about every op and layer assume."""
    ops = {name: f"{spec.op}." for name, spec in SPECS.items()}
    theorems = {name: [f"Ops.{f}{name}_value", f"Ops.{f}{name}_correct"] for name, f in ops.items()}
    theorems |= {name: [f"Layers.{name}.{name}_correct"] for name in layers.LAYERS}
    modules = " ".join(dict.fromkeys(spec.op for spec in SPECS.values()))
    lines = [f"From {folder} Require {modules}." for folder in ("Statements", "Ops")]
    lines.append(f"From Layers Require {' '.join(layers.LAYERS)}.")
    lines += [f"Check (Ops.{f}{n}_correct : Statements.{f}{n}_is_correct)." for n, f in ops.items()]
    lines += [f"Check (Layers.{n}.{n}_correct : Layers.{n}.{n}_is_correct)." for n in layers.LAYERS]
    lines += [f"Print Assumptions {theorem}." for parts in theorems.values() for theorem in parts]
    (BUILD / "Assumptions.v").write_text("\n".join([*lines, ""]))
    printed = run("coqc", *(word for f, name in FOLDERS.items() for word in ("-R", f, name)), "Assumptions.v")
    blocks = iter(re.split(r"^(?:Axioms:|Closed under the global context)$", printed, flags=re.M)[1:])
    found = {
        name: sorted({axiom for _ in parts for axiom in re.findall(r"^([\w.']+)\s*:", next(blocks), flags=re.M)})
        for name, parts in theorems.items()
    }
    if left := list(blocks):
        raise UnprovedError(f"Print Assumptions: got {len(left)} answers too many")
    return found


def run(*command: str) -> str:
    """What a command prints in build/proofs; its messages go to the reader as they are."""
    done = subprocess.run(command, cwd=BUILD, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise UnprovedError(f"{command[0]}: got exit status {done.returncode}, expected every proof to be accepted")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Let Coq check the theorems about the ops.")
    parser.add_argument("--record", action="store_true", help="write what was proved to proofs/record.json")
    parser.add_argument("--jobs", type=int, default=2, help="how many files are checked at a time")
    arguments = parser.parse_args()
    if shutil.which("coqc") is None:
        print("coqc: not found, expected Coq with Coquelicot (apt-get install coq libcoq-coquelicot)", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    began = time.monotonic()
    try:
        for part in (statements, layers):
            if part.files() != {path.name: path.read_text() for path in part.FOLDER.glob("*.v")}:
                raise UnprovedError(f"{part.FOLDER}: not what the sources say today; run python -m {part.__name__}")
        compile_all(arguments.jobs)
        found = assumptions()
        for name, used in found.items():
            if surplus := sorted(set(used) - set(allowed())):
                raise UnprovedError(f"{name}: got assumptions {surplus}, expected only those of assumptions.txt")
    except UnprovedError as error:
        print(error, file=sys.stderr)
        return 1
    for name, used in found.items():
        print(f"{name:24} proved for every shape; axioms: {len(used)}")
    print(f"{len(found)} theorems, {time.monotonic() - began:.0f} s")
    if arguments.record:
        version = run("coqc", "--print-version").split()[0]
        record = {name: {**hashes, "assumptions": found[name]} for name, hashes in sources().items()}
        RECORD.write_text(json.dumps({"coq": version, "theorems": record}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
