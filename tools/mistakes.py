"""Plant mistakes in backward passes: at every place in the syntax tree of a pullback where one of the kinds fits.

Each planted mistake is a whole module with one node of one pullback replaced, compiled and run beside the real one.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Mistake:
    """One planted mistake: `before` became `after` in line `line` of `function`, in the file of that function."""

    function: str
    kind: str
    line: int
    before: str
    after: str
    source: str
    module: str

    @property
    def key(self) -> str:
        """What tells this mistake from all others, and stays when lines move."""
        return f"{self.function}: {self.kind}: {self.before} -> {self.after}"

    def build(self, name: str) -> Callable[..., Any]:
        """The function `name` of the module with the mistake in it."""
        namespace: dict[str, Any] = {"__name__": self.module}
        exec(compile(self.source, f"<{self.key}>", "exec"), namespace)
        built: Callable[..., Any] = namespace[name]
        return built


@dataclass(frozen=True)
class Site:
    """A node of a pullback, with what the kinds need to know about its surroundings."""

    node: ast.expr
    gradient: bool
    names: frozenset[str]
    aliases: frozenset[frozenset[str]]
    has_eps: bool


Kind: TypeAlias = Callable[[Site], Iterator[ast.expr]]


def mistakes(function: Callable[..., Any], *, inside: bool = False, one_shot: bool = False) -> list[Mistake]:
    """Every mistake of every kind that fits somewhere in the pullback of `function`, or in its whole body where it has
    no pullback of its own (it hands on that of another op).

    inside : it is a part of another function, which alone sees the arrays that its pullback might write to.
    one_shot : its pullback works once, so that there is no state between two calls to plant.
    """
    module = sys.modules[function.__module__]
    tree = ast.parse(inspect.getsource(module))
    outer, _ = _pullback_of(tree, function.__name__)
    place_of_outer = tree.body.index(outer)
    texts = [ast.unparse(statement) for statement in tree.body]
    found = []
    seen = set()
    for place, site in _sites(tree, function.__name__):
        for kind, plant in KINDS.items():
            for replacement in plant(site):
                before, after = _text(site.node), _text(replacement)
                place.put(replacement)
                texts[place_of_outer] = ast.unparse(outer)  # the rest of the module stays as it is
                source = "\n".join(texts)
                place.put(site.node)
                if before != after and source not in seen:
                    seen.add(source)
                    line = site.node.lineno
                    found.append(Mistake(function.__name__, kind, line, before, after, source, function.__module__))
    for kind, rewrite in ({} if inside else STATEMENT_KINDS).items():
        if one_shot and rewrite is state_between_calls:
            continue
        for changed, line, before, after in rewrite(tree, function.__name__):
            source = ast.unparse(changed)
            found.append(Mistake(function.__name__, kind, line, before, after, source, function.__module__))
    return found


# --- kinds of mistakes in expressions -----------------------------------------------------------------------------


def dropped_term(site: Site) -> Iterator[ast.expr]:
    """a + b -> a, b;  a - b -> a."""
    match site.node:
        case ast.BinOp(left, ast.Add(), right):
            yield left
            yield right
        case ast.BinOp(left, ast.Sub(), right):
            yield left


def flipped_sign(site: Site) -> Iterator[ast.expr]:
    """a + b -> a - b;  a - b -> a + b;  -a -> a;  a gradient g -> -g."""
    match site.node:
        case ast.BinOp(left, ast.Add(), right):
            yield ast.BinOp(left, ast.Sub(), right)
        case ast.BinOp(left, ast.Sub(), right):
            yield ast.BinOp(left, ast.Add(), right)
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
    if site.gradient:
        yield ast.UnaryOp(ast.USub(), site.node)


def swapped_operands(site: Site) -> Iterator[ast.expr]:
    """a - b -> b - a;  a / b -> b / a;  a @ b -> b @ a."""
    match site.node:
        case ast.BinOp(left, (ast.Sub() | ast.Div() | ast.MatMult()) as operator, right):
            yield ast.BinOp(right, operator, left)


def other_operator(site: Site) -> Iterator[ast.expr]:
    """a * b -> a + b, a / b;  a / b -> a * b."""
    match site.node:
        case ast.BinOp(left, ast.Mult(), right):
            yield ast.BinOp(left, ast.Add(), right)
            yield ast.BinOp(left, ast.Div(), right)
        case ast.BinOp(left, ast.Div(), right):
            yield ast.BinOp(left, ast.Mult(), right)


def repeated_factor(site: Site) -> Iterator[ast.expr]:
    """a * b -> a * a, b * b."""
    match site.node:
        case ast.BinOp(left, ast.Mult(), right):
            yield ast.BinOp(left, ast.Mult(), left)
            yield ast.BinOp(right, ast.Mult(), right)


def lost_factor(site: Site) -> Iterator[ast.expr]:
    """a * b -> a, b;  a / b -> a."""
    match site.node:
        case ast.BinOp(left, ast.Mult(), right):
            yield left
            yield right
        case ast.BinOp(left, ast.Div(), right):
            yield left


def swapped_axes(site: Site) -> Iterator[ast.expr]:
    """Two neighbours in a tuple of axes or of sizes exchanged;  the last axis -> the first;  a.T -> a."""
    match site.node:
        case ast.Call(ast.Attribute(attr="permute_dims" | "reshape"), [array, ast.Tuple(elements)]):
            for i in range(len(elements) - 1):
                swapped = [*elements[:i], elements[i + 1], elements[i], *elements[i + 2 :]]
                yield ast.Call(site.node.func, [array, ast.Tuple(swapped, ast.Load())], [])
        case ast.Call(function, arguments, keywords):
            for i, keyword in enumerate(keywords):
                if keyword.arg == "axis":
                    first = ast.keyword("axis", ast.Constant(0))
                    yield ast.Call(function, arguments, [*keywords[:i], first, *keywords[i + 1 :]])
        case ast.Attribute(value, "T"):
            yield value


def sum_for_mean(site: Site) -> Iterator[ast.expr]:
    """mean -> sum;  sum -> mean;  the sum over the rows -> their mean."""
    match site.node:
        case ast.Call(ast.Attribute(value, "mean"), arguments, keywords):
            yield ast.Call(ast.Attribute(value, "sum", ast.Load()), arguments, keywords)
        case ast.Call(ast.Attribute(value, "sum"), arguments, keywords):
            yield ast.Call(ast.Attribute(value, "mean", ast.Load()), arguments, keywords)
        case ast.Call(ast.Attribute(_, "sum_rows"), [array]):
            yield ast.BinOp(site.node, ast.Div(), _expression("{0}.shape[0]", array))


def other_variable(site: Site) -> Iterator[ast.expr]:
    """A name -> another name of its sort in scope (size, pullback or array), unless the two have the same value."""
    match site.node:
        case ast.Name(name, ast.Load()) if name in site.names:
            for other in sorted(site.names - {name}):
                if _sort(other) == _sort(name) and frozenset({name, other}) not in site.aliases:
                    yield ast.Name(other, ast.Load())


def _sort(name: str) -> str:
    return "size" if name.isupper() else "pullback" if name.endswith("back") else "array"


def other_index(site: Site) -> Iterator[ast.expr]:
    """A gradient read one place further along its last axis."""
    if site.gradient and "keepdims" not in ast.unparse(site.node):
        yield _expression("xp.roll({0}, 1, axis=-1)", site.node)


def reversed_order(site: Site) -> Iterator[ast.expr]:
    """A gradient with its first axis read backwards."""
    if site.gradient:
        yield _expression("xp.flip({0}, axis=0)", site.node)


def averaged_over_the_batch(site: Site) -> Iterator[ast.expr]:
    """A gradient replaced by its mean over the first axis."""
    if site.gradient:
        yield _expression("xp.mean({0}, axis=0, keepdims=True) + 0 * {0}", site.node)


def zero_gradient(site: Site) -> Iterator[ast.expr]:
    """A gradient that is never computed."""
    if site.gradient:
        yield _expression("0 * {0}", site.node)


def cotangent_of_ones(site: Site) -> Iterator[ast.expr]:
    """dy -> 1 everywhere: right wherever the loss is a plain sum."""
    match site.node:
        case ast.Name(name, ast.Load()) if name in COTANGENTS:
            yield _expression("0 * {0} + 1", site.node)


def nonlinear_cotangent(site: Site) -> Iterator[ast.expr]:
    """dy -> |dy|."""
    match site.node:
        case ast.Name(name, ast.Load()) if name in COTANGENTS:
            yield _expression("xp.abs({0})", site.node)


def float32_intermediate(site: Site) -> Iterator[ast.expr]:
    """A product, sum or gradient rounded to float32 on the way; integers and one-hot rows lose nothing by that."""
    match site.node:
        case ast.Call(ast.Attribute(attr="arange" | "astype")):
            return
    if site.gradient or isinstance(site.node, ast.BinOp):
        yield _expression("xp.astype(xp.astype({0}, xp.float32), ({0}).dtype)", site.node)


def constant_of_five_digits(site: Site) -> Iterator[ast.expr]:
    """An irrational constant with five digits."""
    match site.node:
        case ast.Call(ast.Attribute(_, "constant"), [ast.Constant("rsqrt_2pi")]):
            yield ast.Constant(0.39894)


def lost_eps(site: Site) -> Iterator[ast.expr]:
    """1/sqrt(var + eps) -> 1/sqrt(var), and with twice the eps."""
    match site.node:
        case ast.Name("rstd", ast.Load()) if site.has_eps:
            yield _expression("1 / xp.sqrt(1 / (rstd * rstd) - eps)")
            yield _expression("1 / xp.sqrt(1 / (rstd * rstd) + eps)")


def slightly_scaled(site: Site) -> Iterator[ast.expr]:
    """A gradient times 1 + 1e-8."""
    if site.gradient:
        yield _expression("(1 + 1e-8) * {0}", site.node)


def doubled(site: Site) -> Iterator[ast.expr]:
    """A gradient times 2."""
    if site.gradient:
        yield _expression("2 * {0}", site.node)


def skipped_step(site: Site) -> Iterator[ast.expr]:
    """The pullback of a part left out: part_back(dy) -> (dy,)."""
    match site.node:
        case ast.Call(ast.Name(name), [argument]) if name.endswith("back"):
            yield ast.Tuple([argument], ast.Load())


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.__name__.replace("_", " "): kind
        for kind in (
            dropped_term,
            flipped_sign,
            swapped_operands,
            other_operator,
            repeated_factor,
            lost_factor,
            swapped_axes,
            sum_for_mean,
            other_variable,
            other_index,
            reversed_order,
            averaged_over_the_batch,
            zero_gradient,
            cotangent_of_ones,
            nonlinear_cotangent,
            float32_intermediate,
            constant_of_five_digits,
            lost_eps,
            slightly_scaled,
            doubled,
            skipped_step,
        )
    }
)
"""Kinds of mistakes that replace one expression."""

FACTOR_KINDS = frozenset({"slightly scaled", "doubled", "zero gradient"})
"""Kinds that only scale a gradient."""

COTANGENTS = frozenset({"dy", "ds", "dloss", "dlogits"})
"""What the ops call the argument of their pullback."""


# --- kinds of mistakes in statements --------------------------------------------------------------------------------

Changed: TypeAlias = tuple[ast.Module, int, str, str]


def state_between_calls(tree: ast.Module, name: str) -> Iterator[Changed]:
    """The second call of a pullback gives twice the first gradient."""
    outer, original = _pullback_of(tree, name)
    if original is outer:
        return
    changed, pullback = _copy_of(tree, name)
    pullback.args.args.append(ast.arg("calls"))
    pullback.args.defaults.append(ast.List([], ast.Load()))
    pullback.body.insert(0, ast.parse("calls.append(0)").body[0])
    for node in ast.walk(pullback):
        if isinstance(node, ast.Return) and node.value is not None:
            first = node.value.elts[0] if isinstance(node.value, ast.Tuple) else node.value
            replacement = _expression("len(calls) * {0}", first)
            if isinstance(node.value, ast.Tuple):
                node.value.elts[0] = replacement
            yield changed, pullback.lineno, "first gradient", "len(calls) * first gradient"
            return


def written_input(tree: ast.Module, name: str) -> Iterator[Changed]:
    """The pullback writes to its cotangent, or to an array that it has saved."""
    _, original = _copy_of(tree, name)
    if original.name == name:
        return
    parameters = [argument.arg for argument in original.args.args]
    loaded = {n.id for n in ast.walk(original) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    stored = {n.id for n in ast.walk(original) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for target in [*parameters, *sorted(loaded - stored - set(parameters) - {"xp", "math"})]:
        changed, pullback = _copy_of(tree, name)
        last = pullback.body[-1]
        if isinstance(last, ast.Return) and last.value is not None:
            statements = ast.parse(f"result = None\n{target}[...] = 0 * {target} + 1\nreturn result").body
            statements[0].value = last.value  # type: ignore[attr-defined]
            pullback.body[-1:] = statements
            yield changed, last.lineno, "return ...", f"{target}[...] = 1 before the return"


STATEMENT_KINDS: Mapping[str, Callable[[ast.Module, str], Iterator[Changed]]] = MappingProxyType(
    {"state between calls": state_between_calls, "written input": written_input}
)
"""Kinds of mistakes that add statements."""


# --- syntax trees -------------------------------------------------------------------------------------------------


def _pullback_of(tree: ast.Module, name: str) -> tuple[ast.FunctionDef, ast.FunctionDef]:
    """The function `name` and its pullback; the function itself twice where it defines none."""
    (outer,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    inner = [node for node in ast.walk(outer) if isinstance(node, ast.FunctionDef) and node.name == "pullback"]
    return outer, (inner[0] if inner else outer)


def _copy_of(tree: ast.Module, name: str) -> tuple[ast.Module, ast.FunctionDef]:
    changed = copy.deepcopy(tree)
    return changed, _pullback_of(changed, name)[1]


def _sites(tree: ast.Module, name: str) -> list[tuple[Place, Site]]:
    outer, pullback = _pullback_of(tree, name)
    gradients = {id(node) for node in _gradient_expressions(pullback)}
    names = frozenset(
        {node.id for node in ast.walk(outer) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        | {argument.arg for f in (outer, pullback) for argument in (*f.args.args, *f.args.kwonlyargs)}
    ) - {"xp", "_"}
    aliases = frozenset(frozenset(pair) for pair in _aliases(outer))
    has_eps = "eps" in names
    return [
        (place, Site(place.get(), id(place.get()) in gradients, names, aliases, has_eps)) for place in _places(pullback)
    ]


def _aliases(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Pairs of names with the same value: `a = b`, `a, c = b, ...`, and `a = xp.reshape(b, ...)`."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        both_tuples = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        pairs = zip(target.elts, value.elts, strict=True) if both_tuples else [(target, value)]  # type: ignore[attr-defined]
        for name, source in pairs:
            match source:
                case ast.Call(ast.Attribute(attr="reshape"), [ast.Name(other), *_]) | ast.Name(other):
                    if isinstance(name, ast.Name):
                        yield name.id, other


def _gradient_expressions(pullback: ast.FunctionDef) -> Iterator[ast.expr]:
    """The parts of what is returned, and the right-hand sides of plain assignments."""
    for node in ast.walk(pullback):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _parts(node.value)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.value


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Tuple):
        for element in node.elts:
            yield from _parts(element)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _parts(value)
    elif isinstance(node, ast.Starred):
        yield from _parts(node.value)
    elif isinstance(node, ast.GeneratorExp):
        yield node.elt
    else:
        yield node


@dataclass(frozen=True)
class Place:
    """Where an expression hangs in the tree: a field of its parent, or one element of it."""

    parent: ast.AST
    field: str
    index: int | None

    def get(self) -> ast.expr:
        """The expression that hangs here."""
        value = getattr(self.parent, self.field)
        expression: ast.expr = value if self.index is None else value[self.index]
        return expression

    def put(self, node: ast.expr) -> None:
        """Hang another expression here."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _places(pullback: ast.FunctionDef) -> list[Place]:
    """Every expression in the body of a pullback; whose device or dtype is asked for makes no difference."""
    found = []
    for statement in pullback.body:
        if _is_docstring(statement):
            continue
        for parent in ast.walk(statement):
            for name, value in ast.iter_fields(parent):
                if isinstance(parent, ast.Attribute) and parent.attr in ("device", "dtype"):
                    continue
                if isinstance(value, ast.expr):
                    found.append(Place(parent, name, None))
                elif isinstance(value, list):
                    found += [Place(parent, name, i) for i, child in enumerate(value) if isinstance(child, ast.expr)]
    return found


def _expression(template: str, *parts: ast.expr) -> ast.expr:
    """The expression that `template` gives with {0}, {1}, ... standing for `parts`."""
    text = template.format(*(f"({_text(part)})" for part in parts))
    return ast.parse(text, mode="eval").body


def _text(node: ast.expr) -> str:
    return ast.unparse(node)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
