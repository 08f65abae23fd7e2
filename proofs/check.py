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
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import vipnp.ops
from proofs.statements import SPECS, files

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "proofs"
FOLDERS = {"theories": "Proofs", "statements": "Statements", "ops": "Ops"}
"""Every folder of Coq files, and what the files call it."""

RECORD = HERE / "record.json"


class UnprovedError(Exception):
    """A theorem is missing, is not proved, or assumes what it should not."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sources() -> dict[str, dict[str, str]]:
    """For every theorem its op and the hashes of the op's source and of the written statement."""
    texts = files()
    return {
        name: {
            "op": spec.op,
            "source": digest(inspect.getsource(getattr(vipnp.ops, spec.op))),
            "statement": digest(texts[f"{spec.op}.v"]),
        }
        for name, spec in SPECS.items()
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


def assumptions(theorems: Mapping[str, str]) -> dict[str, list[str]]:
    """What is assumed for each op, by its value and its gradients. `theorems` maps a name to the file of its proof."""
    proved = " ".join(dict.fromkeys(theorems.values()))
    lines = [f"From Statements Require {proved}.", f"From Ops Require {proved}."]
    lines += [f"Check (Ops.{f}.{n}_correct : Statements.{f}.{n}_is_correct)." for n, f in theorems.items()]
    lines += [f"Print Assumptions Ops.{f}.{n}_{part}." for n, f in theorems.items() for part in ("value", "correct")]
    (BUILD / "Assumptions.v").write_text("\n".join([*lines, ""]))
    printed = run("coqc", *(word for f, name in FOLDERS.items() for word in ("-R", f, name)), "Assumptions.v")
    blocks = re.split(r"^(?:Axioms:|Closed under the global context)$", printed, flags=re.M)[1:]
    used = [set(re.findall(r"^([\w.']+)\s*:", block, flags=re.M)) for block in blocks]
    return {
        name: sorted(value | gradients) for name, value, gradients in zip(theorems, used[::2], used[1::2], strict=True)
    }


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
    began = time.monotonic()
    try:
        present = {path.name: path.read_text() for path in (HERE / "statements").glob("*.v")}
        if present != files():
            raise UnprovedError("proofs/statements: not what the sources say today; run python -m proofs.statements")
        compile_all(arguments.jobs)
        found = assumptions({name: spec.op for name, spec in SPECS.items()})
        for name, used in found.items():
            if surplus := sorted(set(used) - set(allowed())):
                raise UnprovedError(f"{name}: got assumptions {surplus}, expected only those of assumptions.txt")
    except UnprovedError as error:
        print(error, file=sys.stderr)
        return 1
    for name, used in found.items():
        print(f"{name:24} value and gradients proved for every shape; axioms: {len(used)}")
    print(f"{len(found)} theorems, {time.monotonic() - began:.0f} s")
    if arguments.record:
        version = run("coqc", "--print-version").split()[0]
        record = {name: {**source, "assumptions": found[name]} for name, source in sources().items()}
        RECORD.write_text(json.dumps({"coq": version, "theorems": record}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
