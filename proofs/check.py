"""Lets Coq check every theorem, and compares what each one assumes with proofs/assumptions.txt.

python -m proofs.check [--record]

Needs `coqc` and Coquelicot (Debian: apt-get install coq libcoq-coquelicot). Everything is compiled in build/proofs, so
that a second run checks only what has changed. `--record` writes vipnp/audit/theorems.json: which theorems were proved,
from which source, by which version of Coq.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import vipnp.layers
import vipnp.ops
import vipnp.optim
from proofs import layers, optimisers, statements
from proofs.statements import SPECS
from vipnp.audit import theorem
from vipnp.audit.cases.models import model_loss
from vipnp.models import vision_permutator

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "proofs"
FOLDERS = {
    "theories": "Proofs",
    "statements": "Statements",
    "ops": "Ops",
    "layers": "Layers",
    "updates": "Updates",
    "optim": "Optim",
    "network": "Network",
}
"""Every folder of Coq files, and what the files call it."""

ANY_NETWORK = (
    "For all numbers of stages and blocks, widths, segments, image sizes, batches, masks, rates and skip_lam, for "
    "either fusion of any branches, all real images and parameters"
)
CURVES = "where images and parameters move along curves with derivatives u,"

NETWORK: Mapping[str, tuple[Callable[..., Any], str]] = {
    "network_correct": (
        vision_permutator,
        f"{ANY_NETWORK}: {CURVES} the logits have a derivative v, and for every dlogits ⟨dlogits, v⟩ is the sum of "
        "⟨gradient, u⟩ over images and parameters, with the gradients that the pullback gives.",
    ),
    "network_with_loss_correct": (
        model_loss,
        f"{ANY_NETWORK}, and for labels with smoothing and distributions over the classes: {CURVES} the cross-entropy "
        "has a derivative v, and for every dloss dloss * v is the sum of ⟨gradient, u⟩ over images and parameters.",
    ),
}
"""The theorems about the whole network, in proofs/network/network.v: what each is about, and what it says."""

ANY_BRANCHES = {"logits": "B C K", "branches": "K B H W C"}
"""The arguments of split attention of any number K of branches, whose definition is written by hand."""

PARTS = (
    "patch_embed",
    *(branch.__name__ for branch in vipnp.layers.BRANCHES.values()),
    "permutator",
    "permutator_sum",
    "downsample",
    "layer_norm",
    "global_average_pool",
    "linear_rows",
)
"""The theorems that the network's theorem puts together."""

MEMORY = 6 << 30
"""Bytes that one Coq may take: a proof that no longer fits its statement can want all there is."""

RECORD = Path(theorem.__file__).parent / "theorems.json"


class UnprovedError(Exception):
    """A theorem is missing, is not proved, or assumes what it should not."""


def theorems() -> dict[str, dict[str, Any]]:
    """Every theorem about an op or layer, and the hashes of the modules and of the statement that it is about."""
    by_op, by_layer = statements.files(), layers.files()
    found = {}
    for name, spec in SPECS.items():
        op = getattr(vipnp.ops, spec.op)
        assume = [*spec.assume, *(f"{n} < {below}" for n, (_, below) in spec.labels.items())]
        constants = {**spec.constants, **{n: shape for n, (shape, _) in spec.labels.items()}}
        modules = modules_of(partial(statements.statement, name, op, spec))
        proof = lines_of((HERE / "ops" / f"{spec.op}.v").read_text(), f"{name}_correct")
        found[name] = entry(op, spec.arrays, constants, assume, by_op[f"{spec.op}.v"], modules, proof)
    script = (HERE / "ops" / "split_attention_any.v").read_text()
    proof = (
        "(* proofs/ops/split_attention_any.v: K branches, by a definition written by hand.\n"
        "   Coq proves that the traced ops of two and three are it; a test compares two to six. *)\n"
    ) + lines_of(script, "split_attention_any_correct")
    statement = by_op["softmax.v"] + by_op["split_attention.v"] + script
    modules = [*found["split_attention"]["sources"]]
    found["split_attention_any"] = entry(vipnp.ops.split_attention, ANY_BRANCHES, {}, [], statement, modules, proof)
    for name, layer in layers.LAYERS.items():
        modules = modules_of(partial(layers.text_of, name, layer))
        text = by_layer[f"{name}.v"]
        used = re.findall(r"generalize (\w+)_correct;", text)
        proof = f"(* proofs/layers/{name}.v: the theorems of {', '.join(used)}, added up. *)"
        assume = [f"the theorem of {branch}" for branch in layer.functions]
        found[name] = entry(layer.layer, layer.arrays(), layer.constants, assume, text, modules, proof)
    for name, block in layers.STAGES.items():
        layer = layers.LAYERS[block]
        modules = modules_of(partial(layers.run_of_blocks, block, 2))
        proof = f"(* proofs/layers/{name}.v: the theorem of {block}, by induction over the blocks. *)"
        arrays = {"x": layer.x, **{f"blocks.{n}": s for n, s in layer.arrays().items() if n != "x"}}
        text = by_layer[f"{name}.v"]
        assume = [f"the theorem of {branch}" for branch in layer.functions]
        found[name] = entry(vipnp.layers.stage, arrays, layer.constants, assume, text, modules, proof)
    return found | others(found)


def others(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The theorems that are about another form than y and pullback; `found` are those about ops and layers."""
    entries = {}
    script = (HERE / "network" / "network.v").read_text()
    statement = script + (HERE / "network" / "parts.v").read_text()
    losses = ("cross_entropy", "soft_cross_entropy")
    for name, (function, says) in NETWORK.items():
        parts = [*PARTS, *losses] if function is model_loss else PARTS
        loops = {f.__module__ for f in (vipnp.layers.stage, vision_permutator, function)}
        modules = sorted(loops.union(*(found[part]["sources"] for part in parts)))
        entries[name] = told(function, says, statement, modules, lines_of(script, name))
    for file, said in optimisers.THEOREMS.items():
        script = (HERE / "optim" / f"{file}.v").read_text()
        modules = modules_of(partial(optimisers.text_of, getattr(vipnp.optim, file)))
        statement = optimisers.files()[f"{file}.v"] + script
        for name, says in said.items():
            entries[name] = told(getattr(vipnp.optim, file), says, statement, modules, lines_of(script, name))
    return entries


def told(function: Callable[..., Any], says: str, statement: str, modules: Sequence[str], proof: str) -> dict[str, Any]:
    return {
        "of": function.__name__,
        "module": function.__module__,
        "says": says,
        "proof": proof,
        **bound_to(statement, modules),
    }


def bound_to(statement: str, modules: Sequence[str]) -> dict[str, Any]:
    """What a theorem is about, by hash: a changed statement or source is another one."""
    return {
        "statement": hashlib.sha256(statement.encode()).hexdigest(),
        "sources": {module: theorem.source_digest(module) for module in modules},
    }


def entry(
    function: Callable[..., Any],
    arrays: Mapping[str, str],
    constants: Mapping[str, str],
    assume: Sequence[str],
    statement: str,
    modules: Sequence[str],
    proof: str,
) -> dict[str, Any]:
    shapes = " ".join([*arrays.values(), *constants.values()])
    return {
        "of": function.__name__,
        "module": function.__module__,
        "sizes": list(dict.fromkeys(re.findall(r"[A-Za-z]\w*", shapes))),
        "arrays": dict(arrays),
        "constants": dict(constants),
        "assume": list(assume),
        "proof": proof,
        **bound_to(statement, modules),
    }


def lines_of(script: str, theorem: str) -> str:
    """The lines of a theorem, with its proof."""
    start = script.index(f"Theorem {theorem} :")
    return script[start : script.index("Qed.", start) + len("Qed.")]


def modules_of(trace: Callable[[], object]) -> list[str]:
    """The modules of vipnp whose code runs in a trace."""
    seen = set()
    sys.setprofile(lambda frame, event, _: seen.add(frame.f_globals.get("__name__", "")) if event == "call" else None)
    try:
        trace()
    finally:
        sys.setprofile(None)
    return sorted(module for module in seen if module.startswith("vipnp."))


def allowed() -> list[str]:
    """The assumptions that a theorem may have."""
    lines = (HERE / "assumptions.txt").read_text().splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def compile_all(jobs: int, *targets: str) -> None:
    """Compile what has changed: every file, or only what the targets need."""
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
    (BUILD / "_CoqProject").write_text(
        "\n".join([*places, "-docroot Proofs", "-arg -w -arg -ambiguous-paths", *names, ""])
    )
    run("coq_makefile", "-f", "_CoqProject", "-o", "Makefile")
    run("make", "--no-print-directory", f"-j{jobs}", *targets)


def assumptions() -> list[str]:
    """What all theorems together assume: Coq takes a second for every question."""
    ops = {name: f"{spec.op}." for name, spec in SPECS.items()}
    modules = " ".join(dict.fromkeys(spec.op for spec in SPECS.values()))
    lines = [f"From {folder} Require {modules}." for folder in ("Statements", "Ops")]
    lines.append("From Ops Require split_attention_any.")
    of_layers = [*layers.LAYERS, *layers.STAGES]
    lines.append(f"From Layers Require {' '.join(of_layers)}.")
    lines.append(f"From Optim Require {' '.join(optimisers.THEOREMS)}.")
    lines.append("From Network Require network.")
    lines += [f"Check (Ops.{f}{n}_correct : Statements.{f}{n}_is_correct)." for n, f in ops.items()]
    lines += [f"Check (Layers.{n}.{n}_correct : Layers.{n}.{n}_is_correct)." for n in of_layers]
    any_branches = "Ops.split_attention_any.split_attention_"
    lines.append(f"Check ({any_branches}any_correct : {any_branches}any_is_correct).")
    at = "Network.network"
    lines += [f"Check ({at}.{name} : {at}.{name.replace('_correct', '_is_correct')})." for name in NETWORK]
    proved = [f"Ops.{f}{n}_{what}" for n, f in ops.items() for what in ("value", "correct")]
    proved += [f"{any_branches}{what}" for what in ("any_value", "any_correct", "is_any", "2_is_any")]
    proved += [f"Layers.{n}.{n}_correct" for n in of_layers]
    proved += [f"{at}.{name}" for name in NETWORK]
    proved += [f"Network.parts.{name}" for name in ("branches_correct", "masks_left_out")]
    proved += [f"Optim.{file}.{name}" for file, names in optimisers.THEOREMS.items() for name in names]
    lines += [f"Definition all := ({', '.join(proved)}).", "Print Assumptions all."]
    (BUILD / "Assumptions.v").write_text("\n".join([*lines, ""]))
    printed = run("coqc", *(word for f, name in FOLDERS.items() for word in ("-R", f, name)), "Assumptions.v")
    _, listed = re.split(r"^Axioms:$", printed, flags=re.M)
    return sorted(re.findall(r"^([\w.']+)\s*:", listed, flags=re.M))


def run(*command: str) -> str:
    """What a command prints in build/proofs; its messages go to the reader as they are."""
    done = subprocess.run(command, cwd=BUILD, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise UnprovedError(f"{command[0]}: got exit status {done.returncode}, expected every proof to be accepted")
    return done.stdout


def limit_memory() -> None:
    """What one proof may take of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def limit(seconds: int) -> None:
    """What one proof may take of memory and processor."""
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def main() -> int:
    parser = argparse.ArgumentParser(description="Let Coq check the theorems about the ops.")
    parser.add_argument("--record", action="store_true", help="write what was proved to vipnp/audit/theorems.json")
    parser.add_argument("--jobs", type=int, default=2, help="how many files are checked at a time")
    arguments = parser.parse_args()
    if shutil.which("coqc") is None:
        print("coqc: not found, expected Coq with Coquelicot (apt-get install coq libcoq-coquelicot)", file=sys.stderr)
        return 2
    limit_memory()
    began = time.monotonic()
    try:
        for part in (statements, layers, optimisers):
            if part.files() != {path.name: path.read_text() for path in part.FOLDER.glob("*.v")}:
                raise UnprovedError(f"{part.FOLDER}: not what the sources say today; run python -m {part.__name__}")
        compile_all(arguments.jobs)
        assumed = assumptions()
        if surplus := sorted(set(assumed) - set(allowed())):
            raise UnprovedError(f"got the assumptions {surplus}, expected only those of assumptions.txt")
    except UnprovedError as error:
        print(error, file=sys.stderr)
        return 1
    proved = theorems()
    for name, about in proved.items():
        print(f"{name:26} proved{'' if 'says' in about else ' for every shape'}")
    print(f"{len(proved)} theorems, {time.monotonic() - began:.0f} s; they assume {', '.join(assumed)}")
    if arguments.record:
        version = run("coqc", "--print-version").split()[0]
        RECORD.write_text(json.dumps({"coq": version, "assumptions": assumed, "theorems": proved}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
