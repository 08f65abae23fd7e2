"""Writes what each layer computes as calls of ops, its theorem, and the proof: proofs/layers/LAYER.v.

A layer reaches its ops through `xp.run`. Here such a call stays a call: of a Coq function whose theorem is proved. The
proof takes these theorems in the order of the calls, each at the cotangent that reaches it, and adds them up; nothing
in it is trusted, Coq checks it.

python -m proofs.layers [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proofs.statements import ALL, Spec, axes, dot, kind, projection, statement, write_or_check
from proofs.tracer import Array, Axis, RefusedError, Size, Tracer, flat, fresh, function, require, size
from vipnp import layers, ops
from vipnp.layers import Mask

FOLDER = Path(__file__).parent / "layers"


@dataclass(eq=False)
class Call:
    """A call of an op: `term` is the Coq function at the sizes and constants of the call."""

    name: str
    theorem: str
    term: str
    sizes: list[str]
    fixed: list[str]
    arguments: list[Array]
    result: Array
    cotangent: Array | None = None


@dataclass(eq=False)
class Sum:
    """A sum of two arrays that the layer itself forms."""

    name: str
    left: Array
    right: Array
    result: Array
    backward: bool = False


class LayerTracer(Tracer):
    """A tracer that writes ops as calls, and refuses whatever else computes, but for sums of arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Call | Sum] = []
        self.back: list[Call | Sum] = []
        self.gradients: list[Array] = []
        self.in_pullback = False

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if getattr(ops, op.__name__, None) is not op:
            return op(self, *args, **kwargs)  # a layer in a layer
        bound = inspect.signature(op).bind(self, *args, **kwargs)
        bound.apply_defaults()
        values = by_name(list(bound.arguments.items())[1:])
        theorem, given = matching(op.__name__, values)
        spec = ALL[theorem]
        arguments = [values[n] for n in spec.arrays]
        plain = Tracer()
        copies = {n: plain.argument(n, v.axes) if isinstance(v, Array) else v for n, v in values.items()}
        y, _ = op(plain, *(copies[n] for n in spec.arrays), **{n: copies[n] for n in values if n not in spec.arrays})
        sizes = [f if isinstance(f, str) else f"{f}%nat" for f in (given[n] for n in size_names(theorem))]
        fixed = [literal(self.lift(values[n])) for n in spec.constants]
        number = sum(isinstance(step, Call) for step in self.steps) + 1
        name = f"{op.__name__}_{number}"
        term = " ".join([theorem, *sizes, *fixed])
        call = Call(name, theorem, term, sizes, fixed, arguments, self.argument(f"y_{name}", y.axes))
        self.steps.append(call)
        self.lets.append(f"let y_{name} : {kind(y.axes)} := fst ({' '.join([term, *map(literal, arguments)])}) in")

        def pullback(dy: Array) -> tuple[Array, ...]:
            call.cotangent = dy
            self.back.append(call)
            returned = " * ".join(f"({kind(a.axes)})" for a in arguments)
            self.lets.append(
                f"let d_{name} : {returned} := snd ({' '.join([term, *map(literal, arguments)])}) {literal(dy)} in"
            )
            count = len(arguments)
            return tuple(self.argument(projection(f"d_{name}", k, count), a.axes) for k, a in enumerate(arguments))

        return call.result, pullback

    def elementwise(self, term: str, *operands: Any) -> Array:
        require(term == "{} + {}", "a layer forms nothing but sums of arrays; the rest is what ops are for")
        left, right = operands
        require(left.axes == right.axes, "a sum of two arrays of one shape")
        result = super().elementwise(term, left, right)
        assert result.name
        (self.back if self.in_pullback else self.steps).append(Sum(result.name, left, right, result))
        return result


def size_names(theorem: str) -> list[str]:
    """The sizes of a theorem in the order in which its function takes them."""
    spec = ALL[theorem]
    found = re.search(r"^Definition \w+ \(([^:]*) : nat\)", statement(theorem, getattr(ops, spec.op), spec), re.M)
    assert found
    return found[1].split()


def by_name(arguments: list[tuple[str, Any]]) -> dict[str, Any]:
    """The arguments of a call by the names of the specifications, where `*branches` are branch1, branch2, ..."""
    values: dict[str, Any] = {}
    for name, value in arguments:
        values |= {f"branch{k}": v for k, v in enumerate(value, 1)} if isinstance(value, tuple) else {name: value}
    return values


def matching(op: str, values: Mapping[str, Any]) -> tuple[str, dict[str, str | int]]:
    """The theorem about `op` at the shapes of the arguments, and what its sizes are there."""
    for name, spec in ALL.items():
        if spec.op != op:
            continue
        if values.keys() != {*spec.arrays, *spec.constants, *spec.labels, *spec.sizes}:
            continue
        given: dict[str, str | int] = {}
        shapes = {**spec.arrays, **spec.constants}
        found = {n: v.axes if isinstance(v, Array) else () for n, v in values.items()}
        fits = all(unify(axes(s), found[n], given) for n, s in shapes.items())
        if fits and all(unify(((s,),), (size(values[n]).factors,), given) for n, s in spec.sizes.items()):
            return name, given
    shown = {n: v.shape for n, v in values.items() if isinstance(v, Array)}
    raise RefusedError(f"no theorem about {op} at the shapes {shown}; add one to proofs/statements.py")


def unify(pattern: tuple[Axis, ...], found: tuple[Axis, ...], given: dict[str, str | int]) -> bool:
    """Whether `found` is `pattern` with sizes put for its names; adds them to `given`."""
    if [len(axis) for axis in pattern] != [len(axis) for axis in found]:
        return False
    return all(
        (given.setdefault(p, f) == f) if isinstance(p, str) else p == f
        for p, f in zip(flat(pattern), flat(found), strict=True)
    )


def literal(a: Array) -> str:
    """An array as a Coq function."""
    if a.name:
        return a.name
    index = fresh(a.axes)
    body = function(index, a.at(index))
    return f"({body})" if flat(index) else body


# --- the layers -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerSpec:
    """At which shapes a layer is traced. `options` makes its keyword arguments from the constants by name.

    Where the layer permutes axes by itself, `exchange` says which sums its proof exchanges, one after another.
    """

    layer: Callable[..., Any]
    x: str
    params: Mapping[str, Any]
    constants: Mapping[str, str] = field(default_factory=dict)
    options: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda constants: {}
    exchange: tuple[tuple[str, str], ...] = ()

    def arrays(self) -> dict[str, str]:
        """The shapes of the differentiated arguments; a parameter is named by its path."""
        return {"x": self.x, **{"_".join(path): shape for path, shape in leaves(self.params)}}

    def flattened(self) -> Callable[..., Any]:
        """The layer as a function of arrays, like an op."""

        def flat_layer(xp: LayerTracer, x: Array, *params: Array, **constants: Array) -> tuple[Array, Any]:
            y, pullback = self.layer(xp, x, filled(self.params, iter(params)), **self.options(constants))

            def flat_pullback(dy: Array) -> tuple[Array, ...]:
                xp.in_pullback = True
                dx, dparams = pullback(dy)
                found = dict(leaves(dparams))
                xp.gradients = [dx, *(found[path] for path, _ in leaves(self.params))]
                return tuple(xp.gradients)

            return y, flat_pullback

        return flat_layer


def leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def filled(tree: Mapping[str, Any], values: Iterator[Array]) -> dict[str, Any]:
    return {key: filled(value, values) if isinstance(value, Mapping) else next(values) for key, value in tree.items()}


def linear(outputs: str, inputs: str) -> dict[str, str]:
    return {"weight": f"{outputs} {inputs}", "bias": outputs}


def mlp(inputs: str, hidden: str, outputs: str) -> dict[str, Any]:
    return {"fc1": linear(hidden, inputs), "fc2": linear(outputs, hidden)}


GRID = "B H W N*S"
BRANCHES = {"mlp_c": {"weight": "N*S N*S"}, "mlp_h": {"weight": "H*S H*S"}, "mlp_w": {"weight": "W*S W*S"}}

SEGMENTED = {"segments": Size("N")}
PLAIN = {**BRANCHES, "proj": linear("N*S", "N*S")}
WEIGHTED = {**PLAIN, "reweight": mlp("N*S", "D", "N*S*3")}


LAYERS: Mapping[str, LayerSpec] = {
    "mlp": LayerSpec(layers.mlp, "B H W C", mlp("C", "D", "K")),
    "mlp_dropout": LayerSpec(
        layers.mlp,
        "B H W C",
        mlp("C", "D", "K"),
        {"hidden_mask": "B H W D", "hidden_rate": "", "out_mask": "B H W K", "out_rate": ""},
        lambda c: {
            "hidden_mask": Mask(c["hidden_mask"], c["hidden_rate"]),
            "out_mask": Mask(c["out_mask"], c["out_rate"]),
        },
    ),
    "height_branch": LayerSpec(layers.height_branch, GRID, BRANCHES["mlp_h"], options=lambda c: SEGMENTED),
    "width_branch": LayerSpec(layers.width_branch, GRID, BRANCHES["mlp_w"], options=lambda c: SEGMENTED),
    "channel_branch": LayerSpec(layers.channel_branch, GRID, BRANCHES["mlp_c"], options=lambda c: SEGMENTED),
    "permute_mlp": LayerSpec(
        layers.permute_mlp,
        GRID,
        PLAIN,
        {"mask": GRID, "rate": ""},
        lambda c: {**SEGMENTED, "mask": Mask(c["mask"], c["rate"])},
    ),
    "weighted_permute_mlp": LayerSpec(
        layers.weighted_permute_mlp,
        GRID,
        WEIGHTED,
        {"mask": GRID, "rate": ""},
        lambda c: {**SEGMENTED, "mask": Mask(c["mask"], c["rate"])},
    ),
    "downsample": LayerSpec(
        layers.downsample,
        "B h*P w*P C",
        {"proj": {"weight": "K C P P", "bias": "K"}},
        exchange=(("C", "h"), ("C", "P"), ("C", "w"), ("C", "P")),
    ),
}


# --- the proof --------------------------------------------------------------------------------------------------------


def written(name: str, spec: LayerSpec) -> str:
    xp = LayerTracer()
    as_op = Spec(name, spec.arrays(), spec.constants)
    text = statement(name, spec.flattened(), as_op, xp)
    proof = Proof(name, as_op, xp, text, spec.exchange)
    used = [step.theorem for step in xp.steps if isinstance(step, Call)]
    modules = " ".join(dict.fromkeys(ALL[theorem].op for theorem in used))
    head = [
        f"(* Written by proofs/layers.py from vipnp/layers ({spec.layer.__name__}); do not edit. *)",
        "From Proofs Require Import Tactics.",
        f"From Statements Require Import {modules}.",
        f"From Ops Require Import {modules}.",
        "Open Scope R_scope.",
        "Opaque sum.",
        "",
    ]
    return "\n".join([*head, text, *proof.lines(), ""])


class Proof:
    """The proof of a layer's theorem, line by line. Curves are functions of t; a velocity of a is called u_a."""

    def __init__(
        self, name: str, spec: Spec, xp: LayerTracer, text: str, exchange: tuple[tuple[str, str], ...]
    ) -> None:
        self.name, self.spec, self.xp, self.exchange = name, spec, xp, exchange
        found = re.search(r"^Definition \w+ \(([^:]*) : nat\)", text, re.M)
        assert found
        self.sizes = found[1].split()
        self.curves = {*spec.arrays, *(step.result.name for step in xp.steps)}
        self.gradients = dict(zip(spec.arrays, map(literal, xp.gradients), strict=True))

    def renamed(self, text: str, rule: Callable[[str], str]) -> str:
        """`text` with `rule` for every name of a curve in it."""
        return re.sub(r"[A-Za-z_][\w']*", lambda m: rule(m[0]) if m[0] in self.curves else m[0], text)

    def at(self, time: str, text: str) -> str:
        return self.renamed(text, lambda name: f"({name} {time})")

    def velocity(self, a: Array) -> str:
        return self.renamed(literal(a), lambda name: f"u_{name}")

    def moves(self, a: Array) -> str:
        """The proof that the curve of `a` has its velocity."""
        return self.renamed(literal(a), lambda name: f"D_{name}").replace(" : nat =>", " =>")

    def lines(self) -> list[str]:
        xp, spec = self.xp, self.spec
        names = [*self.sizes, *spec.constants, *spec.arrays, *(f"u_{n}" for n in spec.arrays)]
        names += [*(f"P_{n}" for n in self.sizes), *(f"D_{n}" for n in spec.arrays)]
        lines = [f"Theorem {self.name}_correct : {self.name}_is_correct.", "Proof.", f"  intros {' '.join(names)}."]
        for step in xp.steps:
            lines += self.forward(step)
        last = xp.steps[-1].result
        equation = self.equation()
        lines += [f"  exists {self.velocity(last)}. split; [exact D_{last.name} | intros dy].", *equation]
        for step in xp.back:
            lines += self.backward(step)
        return [*lines, *self.ending(), "Qed."]

    def ending(self) -> list[str]:
        """The equations of the calls add up, once the sums that the layer forms are taken apart."""
        sums = [step for step in (*self.xp.steps, *self.xp.back) if isinstance(step, Sum)]
        names = [f"u_{step.name}" if step in self.xp.steps else step.name for step in sums]
        lines = [f"  unfold {name} in *." for name in reversed(names)]
        lines.append("  cbv beta in *.")
        for step in self.xp.back:
            if isinstance(step, Call) and step.cotangent is not None:
                words = set(re.findall(r"[A-Za-z_][\w']*", literal(step.cotangent)))
                words |= {word for a in (step.result, *step.arguments) for word in re.findall(r"\w+", self.velocity(a))}
                lines += [f"  spread_in E_{step.name}."] if words & {*names} else []
        calls = [step.name for step in self.xp.back if isinstance(step, Call)]
        for m, n in self.exchange:
            lines += [
                f"  try setoid_rewrite (sum_exchange {m} {n}){place}." for place in ("", *(f" in E_{c}" for c in calls))
            ]
        return [*lines, "  spread. lra."]

    def forward(self, step: Call | Sum) -> list[str]:
        name, of = step.result.name, step.result.axes
        index = " ".join(flat(fresh(of)))
        moves = f"forall {index}, is_derive (fun t => {name} t {index}) 0 (u_{name} {index})"
        if isinstance(step, Sum):
            left, right = (self.renamed(a.at(fresh(of)), lambda n: f"D_{n}") for a in (step.left, step.right))
            body = f"{step.left.at(fresh(of))} + {step.right.at(fresh(of))}"
            return [
                f"  pose ({name} := fun t => {function(fresh(of), self.at('t', body))}).",
                f"  pose (u_{name} := {function(fresh(of), self.renamed(body, lambda n: f'u_{n}'))}).",
                f"  assert (D_{name} : {moves}) by exact (fun {index} => is_derive_sum _ _ _ _ {left} {right}).",
            ]
        literals = [literal(a) for a in step.arguments]
        curves = [f"(fun t => {self.at('t', text)})" for text in literals]
        premises = [f"P_{n}" if n in self.sizes else "ltac:(lia)" for n in step.sizes]
        premises += ["ltac:(lra)"] * len(ALL[step.theorem].assume)
        velocities = [self.velocity(a) for a in step.arguments]
        given = [*step.sizes, *step.fixed, *curves, *velocities, *premises, *(self.moves(a) for a in step.arguments)]
        return [
            f"  pose ({name} := fun t => fst ({' '.join([step.term, *(self.at('t', text) for text in literals)])})).",
            f"  destruct ({step.theorem}_correct {' '.join(given)})",
            f"    as [u_{name} [D_{name} A_{name}]].",
            f"  change ({moves}) in D_{name}.",
        ]

    def equation(self) -> list[str]:
        """The goal with a name for what every pullback returns."""
        lines = ["  change ("]
        for step in self.xp.back:
            if isinstance(step, Sum):
                of = step.result.axes
                body = f"{step.left.at(fresh(of))} + {step.right.at(fresh(of))}"
                lines.append(f"    let {step.name} := {function(fresh(of), body)} in")
            else:
                assert step.cotangent is not None
                call = " ".join([step.term, *(self.at("0", literal(a)) for a in step.arguments)])
                lines.append(f"    let d_{step.name} := snd ({call}) {literal(step.cotangent)} in")
        result = self.xp.steps[-1].result
        terms = [dot(self.gradients[n], f"u_{n}", axes(s)) for n, s in self.spec.arrays.items()]
        lines += [f"    {dot('dy', self.velocity(result), result.axes)} =", "    " + " + ".join(terms) + ")."]
        return lines

    def backward(self, step: Call | Sum) -> list[str]:
        if isinstance(step, Sum):
            return [f"  intros {step.name}."]
        assert step.cotangent is not None
        d, result, count = f"d_{step.name}", step.result, len(step.arguments)
        sides = [dot(projection(d, k, count), self.velocity(a), a.axes) for k, a in enumerate(step.arguments)]
        left = dot(literal(step.cotangent), f"u_{result.name}", result.axes)
        equation = f"{left} = {' + '.join(sides)}"
        return [
            f"  intros {d}.",
            f"  assert (E_{step.name} : {equation}) by exact (A_{result.name} {literal(step.cotangent)}).",
            f"  clearbody {d}.",
        ]


def files() -> dict[str, str]:
    return {f"{name}.v": written(name, spec) for name, spec in LAYERS.items()}


def main() -> int:
    return write_or_check(FOLDER, files(), "proofs.layers")


if __name__ == "__main__":
    sys.exit(main())
