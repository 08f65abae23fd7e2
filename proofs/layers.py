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
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from proofs.statements import ALL, Spec, axes, dot, kind, moves, projection, statement, write_or_check
from proofs.tracer import Array, Axis, RefusedError, Size, Tracer, flat, fresh, function, require, size
from vipnp import layers, ops
from vipnp.layers import STANDARD_BRANCHES, BlockMasks, BranchKind, Mask

FOLDER = Path(__file__).parent / "layers"


@dataclass(eq=False)
class Theorem:
    """A theorem at the shapes of a call: what its sizes, constants and differentiated arguments are there.

    `params` is the tree of a layer's parameters, whose gradients come back in its shape; None for an op. `functions`
    are the branches that a layer is given, each of which has its theorem.
    """

    name: str
    sizes: Mapping[str, str | int]
    constants: list[Any]
    arguments: list[Array]
    assume: tuple[str, ...] = ()
    params: Mapping[str, Any] | None = None
    functions: tuple[str, ...] = ()


@dataclass(eq=False)
class Call:
    """A call of an op or layer: `term` is the Coq function at the sizes and constants of the call."""

    name: str
    theorem: Theorem
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
    """A tracer that writes ops as calls, and refuses whatever else computes, but for sums of arrays.

    branches : the layers of which only the theorem is known, by their names in Coq.
    """

    def __init__(self, branches: Mapping[Callable[..., Any], str] | None = None) -> None:
        super().__init__()
        self.branches = branches or {}
        self.steps: list[Call | Sum] = []
        self.back: list[Call | Sum] = []
        self.gradients: list[Array] = []
        self.in_pullback = False

    def begin_backward(self, count: int) -> None:
        super().begin_backward(count)
        self.back = []

    def run(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        found = op_theorem(self, op, args, kwargs) if is_op(op) else layer_theorem(self, op, args, kwargs)
        if found is None:
            return op(
                self, *args, **kwargs
            )  # a layer without a theorem at these shapes: its calls are calls of this one
        arguments = found.arguments
        y = arguments[0] if op in self.branches else self.traced(op, args, kwargs)
        names = () if op in self.branches else size_names(found.name)
        sizes = [f if isinstance(f, str) else f"{f}%nat" for f in (found.sizes[n] for n in names)]
        fixed = [*(literal(self.lift(value)) for value in found.constants), *found.functions]
        number = sum(isinstance(step, Call) for step in self.steps) + 1
        name = f"{self.branches.get(op, op.__name__)}_{number}"
        term = " ".join([found.name, *sizes, *fixed])
        call = Call(name, found, term, sizes, fixed, arguments, self.argument(f"y_{name}", y.axes))
        self.steps.append(call)
        self.lets.append(f"let y_{name} : {kind(y.axes)} := fst ({' '.join([term, *map(literal, arguments)])}) in")

        def pullback(dy: Array) -> Any:
            require(axes_of(dy) == call.result.axes, f"the pullback of {name} takes a cotangent shaped like its result")
            call.cotangent = dy
            self.back.append(call)
            returned = " * ".join(f"({kind(a.axes)})" for a in arguments)
            self.lets.append(
                f"let d_{name} : {returned} := snd ({' '.join([term, *map(literal, arguments)])}) {literal(dy)} in"
            )
            count = len(arguments)
            gradients = (self.argument(projection(f"d_{name}", k, count), a.axes) for k, a in enumerate(arguments))
            return tuple(gradients) if found.params is None else (next(gradients), filled(found.params, gradients))

        return call.result, pullback

    def traced(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Array:
        """What the op or layer returns, for its shape alone."""
        xp = Tracer() if is_op(op) else LayerTracer(self.branches)
        y, _ = op(xp, *copied(args, xp), **copied(kwargs, xp))
        result: Array = y
        return result

    def asarray(self, x: Array, dtype: Any = None) -> Array:
        require(isinstance(x, Array), "asarray of what is no array yet")
        return x

    def elementwise(self, term: str, *operands: Any) -> Array:
        require(term == "{} + {}", "a layer forms nothing but sums of arrays; the rest is what ops are for")
        left, right = operands
        require(left.axes == right.axes, "a sum of two arrays of one shape")
        result = super().elementwise(term, left, right)
        assert result.name
        (self.back if self.in_pullback else self.steps).append(Sum(result.name, left, right, result))
        return result


def is_op(function: Callable[..., Any]) -> bool:
    return getattr(ops, function.__name__, None) is function


def size_names(theorem: str) -> list[str]:
    """The sizes of a theorem in the order in which its function takes them."""
    if theorem in LAYERS:
        return sizes_of(written(theorem))
    spec = ALL[theorem]
    return sizes_of(statement(theorem, getattr(ops, spec.op), spec))


def sizes_of(text: str) -> list[str]:
    found = re.search(r"^Definition \w+ \(([^:]*) : nat\)", text, re.M)
    assert found
    return found[1].split()


def op_theorem(xp: Tracer, op: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Theorem:
    """The theorem about `op` at the shapes of its arguments."""
    values = by_name(list(called(xp, op, args, kwargs).items()))
    for name, spec in ALL.items():
        if spec.op != op.__name__:
            continue
        if values.keys() != {*spec.arrays, *spec.constants, *spec.labels, *spec.sizes}:
            continue
        given: dict[str, str | int] = {}
        fits = all(unify(axes(s), axes_of(values[n]), given) for n, s in {**spec.arrays, **spec.constants}.items())
        if fits and all(unify(axes(s), (size(values[n]).factors,), given) for n, s in spec.sizes.items()):
            constants, arguments = ([values[n] for n in names] for names in (spec.constants, spec.arrays))
            return Theorem(name, given, constants, arguments, spec.assume)
    shown = {n: v.shape for n, v in values.items() if isinstance(v, Array)}
    raise RefusedError(f"no theorem about {op.__name__} at the shapes {shown}; add one to proofs/statements.py")


def layer_theorem(
    xp: LayerTracer, layer: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Theorem | None:
    """The theorem about `layer` at the shapes and with the options of this call, if there is one."""
    values = called(xp, layer, args, kwargs)
    if layer in xp.branches:
        arguments = [values["x"], *(value for _, value in leaves(values["params"]))]
        return Theorem(xp.branches[layer], {}, [], arguments, params=values["params"])
    for name, spec in LAYERS.items():
        if spec.layer is not layer:
            continue
        names = {n: xp.argument(n, axes(s)) for n, s in spec.constants.items()}
        options = called(xp, layer, (values["x"], values["params"]), spec.options(names))
        options = {n: v for n, v in options.items() if n not in ("x", "params", "branches")}
        branches = [layers.BRANCHES[kind] for kind in values.get("branches", ())]
        if not all(branch in xp.branches for branch in branches):
            continue
        given: dict[str, str | int] = {}
        constants: dict[str, Any] = {}
        params = dict(leaves(values["params"]))
        if params.keys() != dict(leaves(spec.params)).keys():
            continue
        fits = unify(axes(spec.x), axes_of(values["x"]), given)
        fits = fits and all(unify(axes(s), axes_of(params[path]), given) for path, s in leaves(spec.params))
        if fits and all(same_option(v, values[n], given, constants) for n, v in options.items()):
            arguments = [values["x"], *(params[path] for path, _ in leaves(spec.params))]
            functions = tuple(xp.branches[branch] for branch in branches)
            return Theorem(name, given, [constants[n] for n in spec.constants], arguments, (), spec.params, functions)
    return None


def called(xp: Tracer, f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without xp."""
    bound = inspect.signature(f).bind(xp, *args, **kwargs)
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


def same_option(wanted: Any, value: Any, given: dict[str, str | int], constants: dict[str, Any]) -> bool:
    """Whether a value is the option of a specification, with sizes and constants put for its names."""
    if isinstance(wanted, Array):
        assert wanted.name
        constants[wanted.name] = value
        return value is not None and unify(wanted.axes, axes_of(value), given)
    if isinstance(wanted, Size):
        return unify((wanted.factors,), (size(value).factors,), given)
    if isinstance(wanted, tuple):
        return (
            isinstance(value, tuple)
            and len(wanted) == len(value)
            and all(same_option(w, v, given, constants) for w, v in zip(wanted, value, strict=True))
        )
    return type(wanted) is type(value) and bool(wanted == value)


def copied(value: Any, xp: Tracer) -> Any:
    """The same arguments as arrays of another tracer."""
    if isinstance(value, Array):
        return xp.argument("", value.axes)
    if isinstance(value, Mapping):
        return {key: copied(v, xp) for key, v in value.items()}
    if isinstance(value, tuple):
        entries = [copied(v, xp) for v in value]
        return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
    return value


def axes_of(value: Any) -> tuple[Axis, ...]:
    return value.axes if isinstance(value, Array) else ()


def by_name(arguments: list[tuple[str, Any]]) -> dict[str, Any]:
    """The arguments of a call by the names of the specifications, where `*branches` are branch1, branch2, ..."""
    values: dict[str, Any] = {}
    for name, value in arguments:
        values |= {f"branch{k}": v for k, v in enumerate(value, 1)} if isinstance(value, tuple) else {name: value}
    return values


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

    Where the layer permutes axes by itself, `exchange` says which sums its proof exchanges, one after another. Where it
    shifts, the constants `rows` and `columns` stand for what `shift_matrices` would write for known sizes.

    `functions` are the branches that it is given, by the shapes of their weights. Of each no more is known than its
    theorem, so that the layer's is about any branches; `branches` only says with which it is traced.
    """

    layer: Callable[..., Any]
    x: str
    params: Mapping[str, Any]
    constants: Mapping[str, str] = field(default_factory=dict)
    options: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda constants: {}
    exchange: tuple[tuple[str, str], ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)
    branches: tuple[BranchKind, ...] = STANDARD_BRANCHES

    def tracer(self) -> LayerTracer:
        kinds = self.branches if self.functions else ()
        return LayerTracer({layers.BRANCHES[kind]: name for kind, name in zip(kinds, self.functions, strict=True)})

    def as_op(self, name: str) -> Spec:
        return Spec(name, self.arrays(), self.constants, functions=self.functions)

    def arrays(self) -> dict[str, str]:
        """The shapes of the differentiated arguments; a parameter is named by its path."""
        return {"x": self.x, **{"_".join(path): shape for path, shape in leaves(self.params)}}

    def flattened(self) -> Callable[..., Any]:
        """The layer as a function of arrays, like an op."""

        def flat_layer(xp: LayerTracer, x: Array, *params: Array, **constants: Array) -> tuple[Array, Any]:
            with self.any_matrices(constants):
                y, pullback = self.layer(xp, x, filled(self.params, iter(params)), **self.options(constants))

            def flat_pullback(dy: Array) -> tuple[Array, ...]:
                xp.in_pullback = True
                dx, dparams = pullback(dy)
                found = dict(leaves(dparams))
                xp.gradients = [dx, *(found[path] for path, _ in leaves(self.params))]
                return tuple(xp.gradients)

            return y, flat_pullback

        return flat_layer

    @contextmanager
    def any_matrices(self, constants: Mapping[str, Array]) -> Iterator[None]:
        """The matrices of a shift are symbols, so that the theorem is about all matrices."""
        if "rows" not in constants:
            yield
            return
        names = self.layer.__globals__
        written = names["shift_matrices"]
        names["shift_matrices"] = lambda kind, height, width: (constants["rows"], constants["columns"])
        try:
            yield
        finally:
            names["shift_matrices"] = written


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
SEGMENTED = {"segments": Size("N")}

WEIGHTS = {"branch_h": "K*T K*T", "branch_w": "L*U L*U", "branch_c": "M*V M*V"}
"""The branches in the places mlp_h, mlp_w and mlp_c."""

BRANCHES = {f"mlp_{place}": {"weight": WEIGHTS[f"branch_{place}"]} for place in "chw"}
PLAIN = {**BRANCHES, "proj": linear("N*S", "N*S")}
WEIGHTED = {**PLAIN, "reweight": mlp("N*S", "D", "N*S*3")}


def mlp_options(constants: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{place}_mask": Mask(constants[f"{place}_mask"], constants[f"{place}_rate"]) for place in ("hidden", "out")
    }


BLOCK_MASKS = {
    "skip_lam": "",
    "attn_path": "B",
    "attn_path_rate": "",
    "mlp_path": "B",
    "mlp_path_rate": "",
    "proj": GRID,
    "proj_rate": "",
    "hidden": "B H W D2",
    "hidden_rate": "",
    "out": GRID,
    "out_rate": "",
}
"""The constants of a block with everything dropped that can be."""


def block(attn: Mapping[str, Any]) -> dict[str, Any]:
    norm = {"weight": "N*S", "bias": "N*S"}
    return {"norm1": norm, "attn": attn, "norm2": norm, "mlp": mlp("N*S", "D2", "N*S")}


def block_options(constants: Mapping[str, Any], fusion: str) -> dict[str, Any]:
    masks = BlockMasks(**{name: Mask(constants[name], constants[f"{name}_rate"]) for name in BlockMasks._fields})
    return {**SEGMENTED, "fusion": fusion, "skip_lam": constants["skip_lam"], "masks": masks}


LAYERS: Mapping[str, LayerSpec] = {
    "mlp": LayerSpec(layers.mlp, "B H W C", mlp("C", "D", "K")),
    "mlp_dropout": LayerSpec(
        layers.mlp,
        "B H W C",
        mlp("C", "D", "K"),
        {"hidden_mask": "B H W D", "hidden_rate": "", "out_mask": "B H W K", "out_rate": ""},
        mlp_options,
    ),
    "mlp_segments": LayerSpec(
        layers.mlp,
        GRID,
        mlp("N*S", "D", "N*S"),
        {"hidden_mask": "B H W D", "hidden_rate": "", "out_mask": GRID, "out_rate": ""},
        mlp_options,
    ),
    "reweight": LayerSpec(layers.mlp, "B N*S", mlp("N*S", "D", "N*S*3")),
    "height_branch": LayerSpec(layers.height_branch, GRID, {"weight": "H*S H*S"}, options=lambda c: SEGMENTED),
    "width_branch": LayerSpec(layers.width_branch, GRID, {"weight": "W*S W*S"}, options=lambda c: SEGMENTED),
    "channel_branch": LayerSpec(layers.channel_branch, GRID, {"weight": "N*S N*S"}, options=lambda c: SEGMENTED),
    "plane_branch": LayerSpec(
        layers.plane_branch, GRID, {"weight": "H*W H*W"}, options=lambda c: {"segments": Size("N", "S")}
    ),
    **{
        shifting.__name__: LayerSpec(
            shifting,
            GRID,
            {"weight": "N*S N*S"},
            {"rows": "N H H", "columns": "N W W"},
            lambda c: SEGMENTED,
        )
        for shifting in (layers.point_branch, layers.axial_height_branch, layers.axial_width_branch)
    },
    "permute_mlp": LayerSpec(
        layers.permute_mlp,
        GRID,
        PLAIN,
        {"mask": GRID, "rate": ""},
        lambda c: {**SEGMENTED, "mask": Mask(c["mask"], c["rate"])},
        functions=WEIGHTS,
    ),
    "weighted_permute_mlp": LayerSpec(
        layers.weighted_permute_mlp,
        GRID,
        WEIGHTED,
        {"mask": GRID, "rate": ""},
        lambda c: {**SEGMENTED, "mask": Mask(c["mask"], c["rate"])},
        functions=WEIGHTS,
    ),
    "permutator": LayerSpec(
        layers.permutator,
        GRID,
        block(WEIGHTED),
        BLOCK_MASKS,
        lambda c: block_options(c, "weighted"),
        functions=WEIGHTS,
    ),
    "permutator_sum": LayerSpec(
        layers.permutator,
        GRID,
        block(PLAIN),
        BLOCK_MASKS,
        lambda c: block_options(c, "sum"),
        functions=WEIGHTS,
    ),
    "permutator_sum_unmasked": LayerSpec(
        layers.permutator,
        GRID,
        block(PLAIN),
        {"skip_lam": ""},
        lambda c: {**SEGMENTED, "fusion": "sum", "skip_lam": c["skip_lam"]},
        functions=WEIGHTS,
    ),
    "downsample": LayerSpec(
        layers.downsample,
        "B h*P w*P C",
        {"proj": {"weight": "K C P P", "bias": "K"}},
        exchange=(("C", "h"), ("C", "P"), ("C", "w"), ("C", "P")),
    ),
}


# --- the proof --------------------------------------------------------------------------------------------------------


@cache
def written(name: str) -> str:
    return text_of(name, LAYERS[name])


def text_of(name: str, spec: LayerSpec) -> str:
    xp = spec.tracer()
    as_op = spec.as_op(name)
    text = statement(name, spec.flattened(), as_op, xp)
    proof = Proof(name, as_op, xp, text, spec.exchange)
    used = [step.theorem.name for step in xp.steps if isinstance(step, Call)]
    of_ops = " ".join(dict.fromkeys(ALL[theorem].op for theorem in used if theorem in ALL))
    of_layers = " ".join(dict.fromkeys(theorem for theorem in used if theorem in LAYERS))
    head = [
        f"(* Written by proofs/layers.py from vipnp/layers ({spec.layer.__name__}); do not edit. *)",
        "From Proofs Require Import Tactics.",
        *([f"From Statements Require Import {of_ops}.", f"From Ops Require Import {of_ops}."] if of_ops else []),
        *([f"From Layers Require Import {of_layers}."] if of_layers else []),
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
        self.sizes = sizes_of(text)
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
        names = [*self.sizes, *spec.constants, *spec.functions, *spec.arrays, *(f"u_{n}" for n in spec.arrays)]
        names += [*(f"P_{n}" for n in self.sizes), *(f"C_{n}" for n in spec.functions)]
        names += [f"D_{n}" for n in spec.arrays]
        lines = [f"Theorem {self.name}_correct : {self.name}_is_correct.", "Proof.", *self.abstract()]
        lines.append(f"  intros {' '.join(names)}.")
        for step in xp.steps:
            lines += self.forward(step)
        last = xp.steps[-1].result
        lines.append(f"  exists {self.velocity(last)}. split; [exact D_{last.name} | intros dy g].")
        for step in xp.back:
            lines += self.backward(step)
        return [*lines, *self.tuple(), *self.ending(), "Qed."]

    def abstract(self) -> list[str]:
        """Of the called functions only their theorems are kept, so that Coq never looks into one."""
        called = dict.fromkeys(step.theorem.name for step in self.xp.steps if isinstance(step, Call))
        called = dict.fromkeys(f for f in called if f not in self.spec.functions)
        lines = [f"  cbv beta delta [{self.name}_is_correct {self.name}]."]
        lines += [
            f"  generalize {f}_correct; cbv delta [{f}_is_correct]; generalize {f}; intros {f} C_{f}." for f in called
        ]
        return lines

    def tuple(self) -> list[str]:
        """What the pullback returns, by the names of what the calls return."""
        gradients = ", ".join(self.gradients[n] for n in self.spec.arrays)
        calls = [f"d_{step.name}" for step in self.xp.back if isinstance(step, Call)]
        return [
            f"  assert (G : g = ({gradients})) by reflexivity.",
            f"  clearbody g; subst g; clearbody {' '.join(calls)}; cbn [fst snd].",
        ]

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
        premises += ["ltac:(lra)"] * len(step.theorem.assume)
        premises += [f"C_{function}" for function in step.theorem.functions]
        velocities = [self.velocity(a) for a in step.arguments]
        given = [*step.sizes, *step.fixed, *curves, *velocities, *premises, *(self.moves(a) for a in step.arguments)]
        return [
            f"  pose ({name} := fun t => fst ({' '.join([step.term, *(self.at('t', text) for text in literals)])})).",
            f"  destruct (C_{step.theorem.name} {' '.join(given)})",
            f"    as [u_{name} [D_{name} A_{name}]].",
            f"  change ({moves}) in D_{name}.",
        ]

    def backward(self, step: Call | Sum) -> list[str]:
        if isinstance(step, Sum):
            of = step.result.axes
            body = f"{step.left.at(fresh(of))} + {step.right.at(fresh(of))}"
            return [f"  pose ({step.name} := {function(fresh(of), body)})."]
        assert step.cotangent is not None
        d, result, count = f"d_{step.name}", step.result, len(step.arguments)
        sides = [dot(projection(d, k, count), self.velocity(a), a.axes) for k, a in enumerate(step.arguments)]
        left = dot(literal(step.cotangent), f"u_{result.name}", result.axes)
        equation = f"{left} = {' + '.join(sides)}"
        call = " ".join([step.term, *(self.at("0", literal(a)) for a in step.arguments)])
        return [
            f"  pose ({d} := snd ({call}) {literal(step.cotangent)}).",
            f"  assert (E_{step.name} : {equation}) by exact (A_{result.name} {literal(step.cotangent)}).",
        ]


# --- the stage --------------------------------------------------------------------------------------------------------


def run_of_blocks(theorem: str, depth: int) -> LayerTracer:
    """What the loop of layers/stage.py calls, at a depth: that it is a list, gone through and back, is tested on it."""
    spec = LAYERS[theorem]
    xp = spec.tracer()
    stage: Callable[..., Any] = layers.stage
    params, masks = {}, []
    for k in range(depth):
        arrays = (xp.argument(f"block{k}_{'_'.join(path)}", axes(s)) for path, s in leaves(spec.params))
        params[str(k)] = filled(spec.params, arrays)
        constants = {
            n: xp.argument(n if n == "skip_lam" else f"block{k}_{n}", axes(s)) for n, s in spec.constants.items()
        }
        options = spec.options(constants)
        masks.append(options.pop("masks", BlockMasks()))
    y, pullback = stage(xp, xp.argument("x", axes(spec.x)), params, masks=masks, **options)
    dx, dparams = pullback(xp.argument("dy", y.axes))
    xp.gradients = [dx, *(gradient for _, gradient in leaves(dparams))]
    return xp


STAGES: Mapping[str, str] = {"stage": "permutator", "stage_sum": "permutator_sum"}
"""The theorems about a run of any number of blocks, and the theorem about the block."""


def conjunct(proof: str, k: int, count: int) -> str:
    """The proof of statement k of some; Coq nests conjunctions to the right."""
    for _ in range(k):
        proof = f"(proj2 {proof})"
    return f"(proj1 {proof})" if k < count - 1 else proof


def stage_text(name: str) -> str:
    """The theorem of the block as one about a function of (parameters, x), so that proofs/theories/Chain.v applies."""
    of = STAGES[name]
    spec = LAYERS[of]
    x, *params = ((n, axes(s)) for n, s in spec.arrays().items())
    sizes, count = sizes_of(written(of)), len(params)
    fixed = {n: axes(s) for n, s in spec.constants.items()}
    constants = " ".join(f"({n} : {kind(a)})" for n, a in fixed.items())
    as_op = spec.as_op(of)
    functions = [*as_op.functions]
    variables = "\n  ".join(f"Variable {n} : {k}." for n, k in as_op.function_kinds().items())
    quantified = " ".join(f"({n} : {k})" for n, k in as_op.function_kinds().items())
    given = " ".join([of, *sizes, *fixed, *functions])
    part = [projection("p", k, count) for k in range(count)]
    velocity = [projection("u", k, count) for k in range(count)]
    gradients = ", ".join(projection("g", k, count + 1) for k in range(1, count + 1))
    moved = [moves(projection("(p t)", k, count), velocity[k], a) for k, (_, a) in enumerate(params)]
    moved_by = [conjunct("M_p", k, count) for k in range(count)]
    dots = [dot(part[k], velocity[k], a) for k, (_, a) in enumerate(params)]
    curves = " ".join(f"(fun t => {projection('(p t)', k, count)})" for k in range(count))
    names = " ".join(sizes)
    positive = " ".join([*(f"P_{n}" for n in sizes), *(f"C_{n}" for n in functions)])
    taken = f"correct array params dot_x dot_p moves_x moves_p (one {' '.join(fixed)})"
    premises = " ".join([*(f"(0 < {n})%nat ->" for n in sizes), *(f"{f} ->" for f in as_op.function_theorems())])
    plus, both = " +\n    ", " /\\\n    "
    run = "stage array params fs (map (fun p => p {}) ps) (x {})"
    return f"""(* Written by proofs/layers.py from the theorem of {of}; do not edit. *)
From Proofs Require Import Tactics Chain.
From Coq Require Import List.
From Layers Require Import {of}.
Open Scope R_scope.
Opaque sum.

Section Stage.
  Variables ({names} : nat).
  {variables}

  Definition array : Type := {kind(x[1])}.
  (** {", ".join(n for n, _ in params)}. *)
  Definition params : Type := ({" * ".join(f"({kind(a)})" for _, a in params)})%type.

  Definition dot_x (a u : array) : R := {dot("a", "u", x[1])}.
  Definition dot_p (p u : params) : R :=
    {plus.join(dots)}.

  Definition moves_x (x : R -> array) (u : array) : Prop := {moves("x t", "u", x[1])}.
  Definition moves_p (p : R -> params) (u : params) : Prop :=
    {both.join(moved)}.

  (** One block, with its masks. *)
  Definition one {constants} : block array params := fun p x =>
    let f := {given} x {" ".join(part)} in
    (fst f, fun dy => let g := snd f dy in ({projection("g", 0, count + 1)}, ({gradients}))).

  Lemma one_correct {constants} : {premises} {taken}.
  Proof using Type.
    intros {positive} x p u_x u M_x M_p. unfold moves_p in M_p. unfold one.
    generalize {of}_correct; cbv delta [{of}_is_correct]; generalize {of}; intros f C.
    destruct (C {names} {" ".join([*fixed, *functions])} x {curves}
      u_x {" ".join(velocity)}
      {positive} M_x
      {" ".join(moved_by)}) as [v [M_v A]].
    exists v. split; [exact M_v|]. intros dy. specialize (A dy). cbv beta zeta in *. cbn [fst snd].
    etransitivity; [exact A|]. unfold dot_x, dot_p. cbn [fst snd].
    repeat apply one_later. reflexivity.
  Qed.

  Definition any_depth : Prop :=
    {premises}
    forall fs : list (block array params),
    Forall (fun f => exists {" ".join(fixed)}, f = one {" ".join(fixed)}) fs ->
    forall (ps : list (R -> params)) (us : list params) (x : R -> array) (u_x : array),
    length ps = length fs -> moves_x x u_x -> Forall2 moves_p ps us ->
    exists v : array, moves_x (fun t => fst ({run.format("t", "t")})) v /\\
    forall dy : array, let g := snd ({run.format("0", "0")}) dy in
    dot_x dy v = dot_x (fst g) u_x + dots params dot_p (snd g) us.

  Lemma any_depth_correct : any_depth.
  Proof using Type.
    intros {positive} fs F ps us x u_x Same M_x M_ps.
    apply (Chain.stage_correct array params dot_x dot_p moves_x moves_p fs); [|exact Same|exact M_x|exact M_ps].
    revert F. apply Forall_impl. intros f ({" & ".join(fixed)} & ->). apply one_correct; assumption.
  Qed.
End Stage.

Definition {name}_is_correct : Prop := forall ({names} : nat) {quantified}, any_depth {names} {" ".join(functions)}.

Theorem {name}_correct : {name}_is_correct.
Proof. exact any_depth_correct. Qed.
"""


def files() -> dict[str, str]:
    texts = {name: written(name) for name in LAYERS} | {name: stage_text(name) for name in STAGES}
    return {f"{name}.v": text for name, text in texts.items()}


def main() -> int:
    return write_or_check(FOLDER, files(), "proofs.layers")


if __name__ == "__main__":
    sys.exit(main())
