"""Do the theorems refuse mistakes? Plants those of `vipnp audit --sabotage`, and asks for the theorem of each.

python -m proofs.mutants [--op NAME ...] [--every N]

The mistake is traced like the op or layer itself. A counterexample to what it says shows that it has no theorem
(proofs/refutation.py); where none is found, Coq tries the proof of the right one on it. With `--every N` Coq is also
asked about every N-th statement with a counterexample: it may prove none of them. Asking Coq needs what
`python -m proofs.check` needs, after it has run: build/proofs holds the compiled theories. What Coq said of a text is
kept in build/proofs/mutants.txt, so that a run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import os
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import vipnp.layers
import vipnp.ops
from proofs import layers, statements
from proofs.check import BUILD, FOLDERS, HERE, UnprovedError, limit_memory
from proofs.refutation import refuted
from proofs.statements import SPECS
from tools import planting
from tools.mistakes import Mistake

STILL, REFUSED, REFUTED, COQ = "still proved", "refused by the tracer", "a counterexample", "refused by Coq"
LATE, SAME, HARMLESS = "no answer in time", "the same statement", "no mistake"
LOST = (REFUSED, REFUTED, COQ, LATE)
"""What may become of a mistake that has no theorem; a proof that takes too long is none."""

TIMES, LEAST = 3, 2.0
"""A proof may take so many times what that of the right one took, and so many seconds of the processor in any case."""

KEPT = BUILD / "mutants.txt"


@dataclasses.dataclass(frozen=True)
class Text:
    """What Coq reads: once the head, then the definition of `name`, its theorem and the proof."""

    name: str
    head: str
    body: str

    @property
    def digest(self) -> str:
        theories = [(HERE / "theories" / f"{name}.v").read_text() for name in ("Arrays", "Derivatives", "Tactics")]
        return hashlib.sha256("\n".join([*theories, self.head, self.body]).encode()).hexdigest()


class Coq:
    """A Coq that reads one text after another, so that libraries are read once for all that have the same head."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.head = ""
        self.count = 0

    def proved(self, text: Text, seconds: float) -> tuple[str, float]:
        """What becomes of a text, and the seconds of the processor that it took."""
        if self.process is None or self.head != text.head:
            self.start(text.head)
        began = self.used()
        named = [name for name in (f"{text.name}_value", f"{text.name}_correct") if f"Theorem {name} :" in text.body]
        said = self.say("\n".join([text.body, *(f"Check {name}." for name in named)]), began + seconds)
        took = self.used() - began
        if said is None:
            self.stop()
            return LATE, took
        self.say(f"Abort All. Reset {text.name}.", began + 600)
        known = all(re.search(rf"^(Coq < )*{name}\s*:", said, re.M) for name in named)
        return (STILL if known else COQ), took

    def start(self, head: str) -> None:
        self.stop()
        places = [word for f, name in FOLDERS.items() for word in ("-R", f, name)]
        self.process = subprocess.Popen(
            ["coqtop", "-q", "-w", "none", *places],
            cwd=BUILD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=limit_memory,
        )
        self.head = head
        said = self.say(f"Set Silent. Set Printing Depth 10.\n{head}", 600)
        if said is None or said.count("Toplevel input") > 1:  # the one is about the mark
            raise UnprovedError(f"coqtop: got {said}, expected compiled theories; run python -m proofs.check first")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def say(self, words: str, until: float) -> str | None:
        """What Coq answers, or None where it is still busy after so many seconds of the processor in all."""
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        self.count += 1
        mark = f"heard_{self.count}"
        with contextlib.suppress(BrokenPipeError):  # it has run out of memory; that it says nothing is seen below
            self.process.stdin.write(f"{words}\nCheck {mark}.\n".encode())  # which Coq does not know, and says so
            self.process.stdin.flush()
        said = b""
        while f"> Check {mark}.".encode() not in said:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                more = os.read(self.process.stdout.fileno(), 1 << 16)
                if not more:
                    return None
                said += more
            elif self.used() > until:
                return None
        return said.decode()

    def used(self) -> float:
        """Seconds of the processor so far."""
        assert self.process
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def texts_of(function: Callable[..., Any], of: str) -> Iterator[Text]:
    """The theorems about `function`, a form of the op or layer `of`, and their proofs."""
    if of in SPECS:
        yield op_text(function, of)
    for theorem, spec in layers.LAYERS.items():
        if spec.layer.__name__ == of:
            yield parted(theorem, layers.text_of(theorem, dataclasses.replace(spec, layer=function)))


def op_text(function: Callable[..., Any], op: str) -> Text:
    """What the op computes and its theorem, with the proof of the right one."""
    script = (HERE / "ops" / f"{op}.v").read_text()
    end = script.index("Qed.", script.index(f"Theorem {op}_correct :")) + len("Qed.")
    imports, proof = script[:end].split("\n\n", 1)
    imports = re.sub(rf"(From Statements Require Import.*?) {op}\b", r"\1", imports)
    imports = imports.replace("From Statements Require Import.", "")
    statement = statements.statement(op, function, SPECS[op])
    return Text(op, f"{imports}\nOpen Scope R_scope.\n", f"{statement}\n{proof}\n")


def parted(name: str, text: str) -> Text:
    head, definition, body = text.partition(f"Definition {name} ")
    return Text(name, head, definition + body)


def planted(ops: Sequence[str]) -> Iterator[Mistake]:
    """The mistakes that run and give gradients of the right shapes, in functions that a theorem is about."""
    known = {*SPECS, *(spec.layer.__name__ for spec in layers.LAYERS.values())}
    for name, mistake, cases in planting.plantings(ops or None):
        if name in known:
            with contextlib.suppress(Exception):
                subjects = planting.subjects_of(mistake.build(name), name, cases, 0)
                if all(planting.runs(subject) for subject in subjects):
                    yield mistake


class Trial:
    """Looks for counterexamples, and asks Coq, and keeps what it said.

    every : of the different statements of a function with a counterexample, Coq is asked about every N-th, from the
    first; 0 is none.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.coq = Coq()
        self.kept = dict(line.split(" ", 1) for line in KEPT.read_text().splitlines()) if KEPT.exists() else {}
        self.allowed: dict[str, float] = {}
        self.refuted: dict[str, dict[Text, bool]] = {}
        self.asked: Counter[str] = Counter()

    def limit(self, right: Text) -> float:
        """The seconds that a proof of a mistake may take, from what the right one takes, which must be a proof."""
        if right.name not in self.allowed:
            fate, took = self.coq.proved(right, 600)
            if fate != STILL:
                raise UnprovedError(f"{right.name} without a mistake: {fate}, expected a proof")
            self.allowed[right.name] = max(LEAST, TIMES * took)
            print(f"{right.name}: proved in {took:.1f} s, a mistake gets {self.allowed[right.name]:.1f} s", flush=True)
        return self.allowed[right.name]

    def fate(self, text: Text, right: Text) -> str:
        digest = text.digest
        if digest not in self.kept:
            self.kept[digest], _ = self.coq.proved(text, self.limit(right))
            with KEPT.open("a") as file:
                print(digest, self.kept[digest], file=file)
        self.asked[self.kept[digest]] += 1
        return self.kept[digest]

    def has_counterexample(self, function: str, text: Text, right: Text) -> bool:
        """Only of an op there is a theorem about the value, which is that of the right one."""
        seen = self.refuted.setdefault(function, {})
        if text not in seen:
            seen[text] = refuted(text.body, text.name, right.body if function in SPECS else None)
            number = sum(seen.values()) - 1
            if seen[text] and self.every and number % self.every == 0 and self.fate(text, right) == STILL:
                raise UnprovedError(f"{text.name}: got a counterexample to what Coq proves; one of them is wrong")
        return seen[text]

    def of(self, mistake: Mistake, right: Sequence[Text]) -> str:
        """What becomes of a mistake; `right` are the theorems of the function without it, one of which must be lost."""
        try:
            texts = list(texts_of(mistake.build(mistake.function), mistake.function))
        except Exception:  # the mistake may raise anything
            return REFUSED
        changed = [(text, before) for text, before in zip(texts, right, strict=True) if text != before]
        if not changed:
            return SAME
        if any(self.has_counterexample(mistake.function, text, before) for text, before in changed):
            return REFUTED
        for text, before in changed:
            if (fate := self.fate(text, before)) in LOST:
                return fate
        return STILL


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask for the theorem of every planted mistake.")
    parser.add_argument("--op", action="append", default=[], help="an op or layer; all by default")
    parser.add_argument(
        "--every", type=int, default=0, help="ask Coq also about every N-th statement of each with a counterexample"
    )
    arguments = parser.parse_args()
    trial = Trial(arguments.every)
    fates: dict[str, Counter[str]] = {}
    right: dict[str, list[Text]] = {}
    for mistake in planted(arguments.op):
        name = mistake.function
        if name not in right:
            right[name] = list(texts_of(getattr(vipnp.ops, name, None) or getattr(vipnp.layers, name), name))
        fate = trial.of(mistake, right[name])
        reason = planting.EQUIVALENT.get(mistake.key)
        if reason and fate in (SAME, STILL):
            fate = HARMLESS
        fates.setdefault(name, Counter())[fate] += 1
        print(f"{fate}: {mistake.key}{f' ({reason})' if reason else ''}", flush=True)
    trial.coq.stop()
    for name, counts in fates.items():
        print(f"{name:24} {counts.total():4} planted: {', '.join(f'{n} {what}' for what, n in counts.most_common())}")
    total = sum(fates.values(), Counter())
    lost = sum(total[what] for what in LOST)
    print(f"{lost} of {total.total() - total[HARMLESS]} planted mistakes lose their theorem: {dict(total)}")
    print(f"Coq was asked about {trial.asked.total()} statements: {dict(trial.asked)}")
    return 0 if not total[SAME] + total[STILL] else 1


if __name__ == "__main__":
    sys.exit(main())
