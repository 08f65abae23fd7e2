"""Writes what each op computes, and the theorem about it, as Coq: proofs/statements/OP.v.

The written files are under version control, so that a diff of the source comes with the diff of its theorem; `--check`
fails where they are not what the source says today.

python -m proofs.statements [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vipnp.ops
from proofs.tracer import Array, Axis, Index, Size, Tracer, flat, fresh, function, nested, require

FOLDER = Path(__file__).parent / "statements"


@dataclass(frozen=True)
class Spec:
    """At which shapes an op is traced, and what its theorem assumes.

    Shapes are written like the docstrings': "B H W N*S" has four axes, the last of length N*S; "" is a number.

    Attributes
    ----------
    op : the name of the op in vipnp.ops.
    arrays : the differentiated arguments in their order.
    constants : real numbers and arrays that are not differentiated.
    labels : arrays of natural numbers below the size named last.
    sizes : arguments that are sizes.
    assume : what is assumed of the constants.
    functions : functions of x and of a weight of this shape, of which the theorem is assumed.
    """

    op: str
    arrays: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    sizes: Mapping[str, str] = field(default_factory=dict)
    assume: tuple[str, ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)

    def function_kinds(self) -> dict[str, str]:
        """What Coq calls the type of each function."""
        x = kind(axes(self.arrays["x"])) if self.functions else ""
        weights = {name: kind(axes(shape)) for name, shape in self.functions.items()}
        return {name: f"({x}) -> ({w}) -> ({x}) * (({x}) -> ({x}) * ({w}))" for name, w in weights.items()}

    def function_theorems(self) -> list[str]:
        """What is assumed of each function: that its gradients are right."""
        return [function_theorem(name, axes(self.arrays["x"]), axes(shape)) for name, shape in self.functions.items()]


def branches(count: int) -> dict[str, str]:
    return {"logits": f"B C {count}", **{f"branch{k}": "B H W C" for k in range(1, count + 1)}}


LINEAR = {"weight": "K C", "bias": "K"}
NORM = {"weight": "C", "bias": "C"}

SPECS: Mapping[str, Spec] = {
    "cross_entropy": Spec("cross_entropy", {"logits": "B K"}, {"label_smoothing": ""}, labels={"labels": ("B", "K")}),
    "drop_path": Spec("drop_path", {"x": "B H W C"}, {"mask": "B", "rate": ""}),
    "dropout": Spec("dropout", {"x": "B H W C"}, {"mask": "B H W C", "rate": ""}),
    "dropout_rows": Spec("dropout", {"x": "M C"}, {"mask": "M C", "rate": ""}),
    "gelu": Spec("gelu", {"x": "B H W C"}),
    "gelu_rows": Spec("gelu", {"x": "M C"}),
    "global_average_pool": Spec("global_average_pool", {"x": "B H W C"}),
    "layer_norm": Spec("layer_norm", {"x": "B H W C", **NORM}, {"eps": ""}, assume=("0 < eps",)),
    "layer_norm_rows": Spec("layer_norm", {"x": "M C", **NORM}, {"eps": ""}, assume=("0 < eps",)),
    "linear": Spec("linear", {"x": "B H W C", **LINEAR}),
    "linear_rows": Spec("linear", {"x": "M C", **LINEAR}),
    "linear_no_bias": Spec("linear_no_bias", {"x": "B H W C", "weight": "K C"}),
    "linear_no_bias_rows": Spec("linear_no_bias", {"x": "M C", "weight": "K C"}),
    "patch_embed": Spec("patch_embed", {"x": "B C h*P w*Q", "weight": "K C P Q", "bias": "K"}),
    "permute_height": Spec("permute_height", {"x": "B H W N*S"}, sizes={"segments": "N"}),
    "permute_width": Spec("permute_width", {"x": "B H W N*S"}, sizes={"segments": "N"}),
    "resample_mixing": Spec("resample_mixing", {"weight": "G*S G*S"}, {"spread": "H G", "gather": "G H"}),
    "residual": Spec("residual", {"x": "B H W C", "branch": "B H W C"}, {"skip_lam": ""}),
    "residual_rows": Spec("residual", {"x": "M C", "branch": "M C"}, {"skip_lam": ""}),
    "shift": Spec("shift", {"x": "B H W N*S"}, {"rows": "N G H", "columns": "N V W"}),
    "soft_cross_entropy": Spec("soft_cross_entropy", {"logits": "B K"}, {"targets": "B K"}),
    "softmax": Spec("softmax", {"x": "B C K"}),
    "softmax_rows": Spec("softmax", {"x": "M K"}),
    "split_attention": Spec("split_attention", branches(3)),
    "split_attention_2": Spec("split_attention", branches(2)),
}
"""Every op at the numbers of axes at which the layers use it; a name is the op's, with what is special after it."""


SEGMENTS: Mapping[str, Spec] = {
    "permute_height_plane": Spec("permute_height", {"x": "B H*W 1 N*S"}, sizes={"segments": "N*S"}),
    "linear_no_bias_plane": Spec("linear_no_bias", {"x": "B N*S 1 H*W", "weight": "K*T H*W"}),
    "drop_path_segments": Spec("drop_path", {"x": "B H W N*S"}, {"mask": "B", "rate": ""}),
    "dropout_segments": Spec("dropout", {"x": "B H W N*S"}, {"mask": "B H W N*S", "rate": ""}),
    "global_average_pool_segments": Spec("global_average_pool", {"x": "B H W N*S"}),
    "layer_norm_segments": Spec(
        "layer_norm", {"x": "B H W N*S", "weight": "N*S", "bias": "N*S"}, {"eps": ""}, assume=("0 < eps",)
    ),
    "linear_segments": Spec("linear", {"x": "B H W N*S", "weight": "K*T N*S", "bias": "K*T"}),
    "linear_from_segments": Spec("linear", {"x": "B H W N*S", "weight": "K N*S", "bias": "K"}),
    "linear_to_segments": Spec("linear", {"x": "B H W C", "weight": "K*T C", "bias": "K*T"}),
    "linear_from_segment_rows": Spec("linear", {"x": "M N*S", "weight": "K N*S", "bias": "K"}),
    "linear_to_segment_rows": Spec("linear", {"x": "M C", "weight": "K*T*U C", "bias": "K*T*U"}),
    "linear_no_bias_segments": Spec("linear_no_bias", {"x": "B H W N*S", "weight": "K*T N*S"}),
    "residual_segments": Spec("residual", {"x": "B H W N*S", "branch": "B H W N*S"}, {"skip_lam": ""}),
    "split_attention_segments": Spec(
        "split_attention", {"logits": "B N*S 3", **{f"branch{k}": "B H W N*S" for k in (1, 2, 3)}}
    ),
}
"""The same ops where a layer calls them on channels that are segments: an axis of length N*S is two indices; and on the
plane as one column."""

ALL: Mapping[str, Spec] = {**SPECS, **SEGMENTS}


def axes(shape: str) -> tuple[Axis, ...]:
    return tuple(tuple(int(f) if f.isdigit() else f for f in axis.split("*") if f != "1") for axis in shape.split())


def kind(of: tuple[Axis, ...], entry: str = "R") -> str:
    return " -> ".join(["nat"] * len(flat(of)) + [entry])


def dot(left: str, right: str, of: tuple[Axis, ...]) -> str:
    """The sum over all entries of left * right."""
    index = flat(fresh(of))
    entry = [" ".join([term, *index]) for term in (left, right)]
    return nested("sum", flat(of), index, " * ".join(entry))


def projection(term: str, k: int, count: int) -> str:
    """Entry k of a tuple; Coq nests tuples to the left."""
    for _ in range(count - 1 - k if k else count - 1):
        term = f"(fst {term})"
    return f"(snd {term})" if k else term


def moves(curve: str, velocity: str, of: tuple[Axis, ...]) -> str:
    """Every entry of `curve`, a term in t, has at t = 0 the derivative `velocity`."""
    index = flat(fresh(of))
    curve, velocity = (" ".join([term, *index]) for term in (curve, velocity))
    every = f"forall {' '.join(index)}, " if index else ""
    return f"({every}is_derive (fun t => {curve}) 0 ({velocity}))"


def function_theorem(name: str, x: tuple[Axis, ...], weight: tuple[Axis, ...]) -> str:
    """The theorem of y = name(x, weight), where y is shaped like x."""
    curves = f"(x : R -> {kind(x)}) (weight : R -> {kind(weight)}) (u_x : {kind(x)}) (u_weight : {kind(weight)})"
    sides = f"{dot('dy', 'v', x)} = {dot('(fst g)', 'u_x', x)} + {dot('(snd g)', 'u_weight', weight)}"
    return (
        f"(forall {curves}, {moves('x t', 'u_x', x)} -> {moves('weight t', 'u_weight', weight)} -> "
        f"exists v : {kind(x)}, {moves(f'fst ({name} (x t) (weight t))', 'v', x)} /\\ "
        f"forall dy : {kind(x)}, let g := snd ({name} (x 0) (weight 0)) dy in {sides})"
    )


def entries(a: Array) -> str:
    index: Index = fresh(a.axes)
    return function(index, a.at(index))


def statement(name: str, op: Callable[..., Any], spec: Spec, xp: Tracer | None = None) -> str:
    """The op as a Coq function of sizes, constants and arrays that returns (y, pullback), and its theorem."""
    xp = xp or Tracer()
    shapes = {n: axes(s) for n, s in spec.arrays.items()}
    constants = {n: axes(s) for n, s in spec.constants.items()}
    labels = {n: axes(s) for n, (s, _) in spec.labels.items()}
    arrays = [xp.argument(n, a) for n, a in shapes.items()]
    keywords = {n: xp.argument(n, a) for n, a in (constants | labels).items()}
    y, pullback = op(xp, *arrays, **keywords, **{n: Size(*axes(s)[0]) for n, s in spec.sizes.items()})
    forward, count = xp.lets, xp.count

    def backward() -> tuple[tuple[Array, ...], list[str]]:
        xp.begin_backward(count)
        gradients = pullback(xp.argument("dy", y.axes))
        return gradients, [*xp.lets, *map(entries, gradients)]

    (_, first), (gradients, second) = backward(), backward()
    require(first == second, f"{name}: the pullback gives something else when it is called again")
    require([g.axes for g in gradients] == list(shapes.values()), f"{name}: a gradient is not shaped like its argument")

    every = [*shapes.values(), *constants.values(), *labels.values(), y.axes]
    sizes = list(dict.fromkeys(f for shape in every for f in flat(shape) if isinstance(f, str)))
    fixed = [f"({' '.join(sizes)} : nat)", *(f"({n} : {kind(a)})" for n, a in constants.items())]
    fixed += [f"({n} : {kind(a, 'nat')})" for n, a in labels.items()]
    fixed += [f"({n} : {k})" for n, k in spec.function_kinds().items()]
    given = " ".join([name, *sizes, *constants, *labels, *spec.functions])
    curves = [f"({n} : R -> {kind(a)})" for n, a in shapes.items()]
    velocities = [f"(u_{n} : {kind(a)})" for n, a in shapes.items()]
    assume = [*(f"(0 < {n})%nat" for n in sizes), *spec.assume]
    assume += [f"(forall i, ({n} i < {below})%nat)" for n, (_, below) in spec.labels.items()]
    assume += spec.function_theorems()
    at_t, at_0 = (" ".join([given, *(f"({n} {time})" for n in shapes)]) for time in ("t", "0"))
    terms = [dot(projection("g", k, len(shapes)), f"u_{n}", a) for k, (n, a) in enumerate(shapes.items())]
    lines = [
        f"Definition {name} {' '.join(fixed)}",
        f"    {' '.join(f'({n} : {kind(a)})' for n, a in shapes.items())}",
        f"    : ({kind(y.axes)}) * (({kind(y.axes)}) -> {' * '.join(f'({kind(a)})' for a in shapes.values())}) :=",
        *(f"  {line}" for line in forward),
        f"  ({entries(y)},",
        f"   fun dy : {kind(y.axes)} =>",
        *(f"     {line}" for line in xp.lets),
        f"     ({', '.join(entries(g) for g in gradients)})).",
        "",
        f"Definition {name}_is_correct : Prop :=",
        f"  forall {' '.join(fixed)}",
        f"    {' '.join(curves)}",
        f"    {' '.join(velocities)},",
        *(f"  {a} ->" for a in assume),
        *(f"  {moves(f'{n} t', f'u_{n}', a)} ->" for n, a in shapes.items()),
        f"  exists v : {kind(y.axes)},",
        f"  {moves(f'fst ({at_t})', 'v', y.axes)} /\\",
        f"  forall dy : {kind(y.axes)},",
        f"  let g := snd ({at_0}) dy in",
        f"  {dot('dy', 'v', y.axes)} =",
        "  " + " +\n  ".join(terms) + ".",
        "",
    ]
    return "\n".join(lines)


def opening(script: str, source: str, *imports: str) -> list[str]:
    """The first lines of a file that `script` writes from `source`."""
    return [
        f"(* Written by {script} from {source}; do not edit. *)",
        "From Coq Require Import Reals.",
        *imports,
        "From Proofs Require Import Arrays.",
        "Open Scope R_scope.",
        "",
    ]


def files() -> dict[str, str]:
    """The text of every file of statements by name, from the sources as they are now."""
    texts = {}
    for op in dict.fromkeys(spec.op for spec in ALL.values()):
        head = opening("proofs/statements.py", f"vipnp/ops/{op}.py", "From Coquelicot Require Import Coquelicot.")
        parts = [statement(name, getattr(vipnp.ops, op), spec) for name, spec in ALL.items() if spec.op == op]
        texts[f"{op}.v"] = "\n".join([*head, *parts])
    return texts


def write_or_check(folder: Path, texts: Mapping[str, str], module: str) -> int:
    """Write the files of a folder anew, or with `--check` compare them: 1 where one is not up to date."""
    parser = argparse.ArgumentParser(description=f"Write {folder.name} as Coq, from the sources.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    arguments = parser.parse_args()
    present = {path.name: path.read_text() for path in folder.glob("*.v")}
    if arguments.check:
        stale = sorted(name for name in texts.keys() | present.keys() if texts.get(name) != present.get(name))
        for name in stale:
            print(
                f"proofs/{folder.name}/{name}: got another text than the source gives today, expected the same; "
                f"run python -m {module} and read the diff",
                file=sys.stderr,
            )
        return bool(stale)
    folder.mkdir(exist_ok=True)
    for name in present.keys() - texts.keys():
        (folder / name).unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return 0


def main() -> int:
    return write_or_check(FOLDER, files(), "proofs.statements")


if __name__ == "__main__":
    sys.exit(main())
