"""Proves the gradients of an op of your own, for every shape; docs/proofs.md has an example."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from proofs.check import BUILD, UnprovedError, compile_all, limit
from proofs.statements import Spec, statement


def prove(
    op: Callable[..., Any],
    arrays: Mapping[str, str],
    *,
    constants: Mapping[str, str] | None = None,
    assume: Sequence[str] = (),
    tactic: str = "multilinear.",
    seconds: int = 60,
) -> str:
    """Let Coq check that the pullback of `op` is right at all sizes.

    Parameters
    ----------
    op : `y, pullback = op(xp, *arrays, **constants)`; the pullback returns a tuple with a gradient for every array.
    arrays : the shapes of the differentiated arguments by name, such as "B H W N*S"; "" is a number.
    constants : likewise those of real arguments that are not differentiated.
    assume : what the theorem assumes of the constants, in Coq, such as "0 < eps".
    tactic : proves the equation between sums that is left once the derivative is found.
    seconds : of the processor that the proof may take.

    Returns
    -------
    str
        What was proved: the op as a Coq function, and its theorem.

    Raises
    ------
    UnprovedError
        With Coq's words, where the proof is not accepted.
    RefusedError
        Where the op does what an op of any shape cannot, such as an `if` on a size.
    """
    name = op.__name__
    text = statement(name, op, Spec(name, arrays, constants or {}, assume=tuple(assume)))
    proof = [
        f"Theorem {name}_correct : {name}_is_correct.",
        f"Proof. differentiate {name} {name}_is_correct. {tactic} Qed.",
    ]
    compile_all(2, "theories/Tactics.vo")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.v"
        path.write_text("\n".join(["From Proofs Require Import Tactics.", "Open Scope R_scope.", text, *proof, ""]))
        command = ["coqc", "-w", "none", "-R", "theories", "Proofs", str(path)]
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, preexec_fn=partial(limit, seconds))
    if done.returncode:
        said = done.stderr.strip() or "no answer in time"
        raise UnprovedError(f"{name}: got no proof, expected one by {tactic!r}; Coq says: {said}")
    return text
