"""The tracer says what array functions mean, which Coq cannot check: its terms against NumPy on the same source."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vipnp.ops
from proofs import statements
from proofs.statements import ALL, Spec, axes, statement
from proofs.terms import MEANING, definition, flattened
from proofs.tracer import Array, RefusedError, Size, Tracer, flat, size
from vipnp.backends import get_backend

XP = get_backend("numpy")
FOLDER = Path(statements.__file__).parent / "statements"
LETTERS = "BCGHKMNPQSTUVWhw"
DIVISOR = 8
"""Entries are eighths: exact in binary, so that NumPy's floats are the same numbers."""


def written(name: str) -> str:
    return (FOLDER / f"{ALL[name].op}.v").read_text()


def lengths(shape: str, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(sizes[f] if isinstance(f, str) else f for f in flat(axes(shape)))


def as_function(values: Any) -> Any:
    """An array as Coq has it, from NumPy's or nested lists."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    return (lambda i: as_function(values[i])) if isinstance(values, list) else values


def exactly(entries: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The entries of an array of Coq."""
    table = np.empty(shape, dtype=object)
    for index in itertools.product(*map(range, shape)):
        value = entries
        for i in index:
            value = value(i)
        table[index] = value
    return table


def tabulated(entries: Any, shape: tuple[int, ...]) -> np.ndarray:
    return exactly(entries, shape).astype(float)


def disagreement(text: str, name: str, spec: Spec, op: Callable[..., Any], sizes: dict[str, int], seed: int) -> float:
    """The largest difference, of result and gradients, between the Coq term and the op on NumPy, relative to one."""
    rng = np.random.default_rng(seed)

    def draw(shape: str) -> np.ndarray:
        return rng.integers(1, 3 * DIVISOR, lengths(shape, sizes)) * rng.choice([-1, 1], lengths(shape, sizes))

    def merged(values: np.ndarray, shape: str) -> np.ndarray:
        return values.reshape([np.prod([sizes.get(f, f) for f in axis], dtype=int) for axis in axes(shape)])

    exact = np.vectorize(lambda n: Fraction(int(n), DIVISOR), otypes=[object])
    drawn = {n: draw(s) for n, s in spec.arrays.items()}
    constants = {n: draw(s) * (draw(s) % 2) if s else np.abs(draw(s)) % 5 + 1 for n, s in spec.constants.items()}
    labels = {n: rng.integers(0, sizes[below], lengths(s, sizes)) for n, (s, below) in spec.labels.items()}
    host = {n: merged(values / DIVISOR, spec.arrays[n]) for n, values in drawn.items()}
    keywords: dict[str, Any] = {
        n: merged(v / DIVISOR, spec.constants[n]) if v.ndim else float(v / DIVISOR) for n, v in constants.items()
    }
    keywords |= labels | {n: math.prod(sizes[f] for f in axes(s)[0]) for n, s in spec.sizes.items()}
    y, pullback = op(XP, *host.values(), **keywords)

    parameters, term = definition(text, name)
    coq = {n: as_function(exact(values)) for n, values in (drawn | constants).items()}
    coq |= {n: as_function(values) for n, values in labels.items()}
    forward, back = term(*((sizes | coq)[parameter] for parameter in parameters))

    y_shape = _factors(op, spec, sizes)
    dy = rng.integers(1, 3 * DIVISOR, y_shape) * rng.choice([-1, 1], y_shape)
    gradients = pullback((dy / DIVISOR).reshape(y.shape) if y.ndim else np.float64(dy / DIVISOR))
    found = flattened(back(as_function(exact(dy))), len(gradients))
    assert len(gradients) == len(spec.arrays)
    pairs = [(forward, np.asarray(y), y_shape)]
    pairs += [
        (f, np.asarray(g), lengths(s, sizes)) for f, g, s in zip(found, gradients, spec.arrays.values(), strict=True)
    ]
    return max(
        float(np.max(np.abs(tabulated(f, shape) - g.reshape(shape)) / (1 + np.abs(g.reshape(shape))), initial=0.0))
        for f, g, shape in pairs
    )


def _factors(op: Callable[..., Any], spec: Spec, sizes: dict[str, int]) -> tuple[int, ...]:
    """The lengths of the result's axes, every one split into its factors."""
    xp = Tracer()
    named = {**spec.constants, **{n: s for n, (s, _) in spec.labels.items()}}
    y, _ = op(
        xp,
        *(xp.argument(n, axes(s)) for n, s in spec.arrays.items()),
        **{n: xp.argument(n, axes(s)) for n, s in named.items()},
        **{n: Size(*axes(s)[0]) for n, s in spec.sizes.items()},
    )
    return tuple(sizes.get(f, f) for f in flat(y.axes))


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_written_term_is_what_numpy_computes(name: str, data: st.DataObject) -> None:
    """At drawn sizes, one included; exact numbers go in, so only the rounding of NumPy and of exp is left."""
    spec = ALL[name]
    sizes = {letter: data.draw(st.integers(1, 3), label=letter) for letter in LETTERS}
    op = getattr(vipnp.ops, spec.op)
    assert disagreement(written(name), name, spec, op, sizes, data.draw(st.integers(0, 99))) < 1e-12


# --- split attention of any number of branches: the definition written by hand ----------------------------------------


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_split_attention_is_at_every_number_of_branches_the_one_that_is_proved_for_any(count: int) -> None:
    """Exactly: with a rational function in the place of exp, about which neither term knows anything, no entry is
    rounded."""
    meaning = {**MEANING, "exp": lambda x: 1 + x * x}
    _, softmax = definition(written("softmax"), "softmax", meaning)
    meaning["softmax"] = lambda B: lambda C: lambda K: lambda x: softmax(B, C, K, x)
    script = (FOLDER.parent / "ops" / "split_attention_any.v").read_text()
    _, for_any = definition(script, "split_attention_any", meaning)
    spec = Spec("split_attention", statements.branches(count))
    _, traced = definition(statement("traced", vipnp.ops.split_attention, spec), "traced", meaning)

    rng = np.random.default_rng(count)
    B, C, H, W = 2, 3, 4, 7
    exact = np.vectorize(lambda n: Fraction(int(n), DIVISOR), otypes=[object])
    logits = exact(rng.integers(-20, 20, (B, C, count)))
    branches = exact(rng.integers(-20, 20, (count, B, H, W, C)))
    dy = as_function(exact(rng.integers(-20, 20, (B, H, W, C))))
    y, back = traced(B, C, H, W, as_function(logits), *map(as_function, branches))
    y_any, back_any = for_any(count, B, C, H, W, as_function(logits), as_function(branches))
    dlogits, *dbranches = flattened(back(dy), count + 1)
    dlogits_any, dbranches_any = back_any(dy)

    assert np.array_equal(exactly(y, (B, H, W, C)), exactly(y_any, (B, H, W, C)))
    assert np.array_equal(exactly(dlogits, (B, C, count)), exactly(dlogits_any, (B, C, count)))
    for k, dbranch in enumerate(dbranches):
        assert np.array_equal(exactly(dbranch, (B, H, W, C)), exactly(dbranches_any(k), (B, H, W, C)))


# --- what the tracer must not follow ----------------------------------------------------------------------------------


def branch_on_a_size(xp: Any, x: Any) -> Any:
    scale = 2 if x.shape[0] > 1 else 1
    return scale * x, lambda dy: (scale * dy,)


def branch_on_equal_sizes(xp: Any, x: Any) -> Any:
    rows, columns = x.shape
    return (x.T if rows == columns else x), lambda dy: (dy,)


def branch_on_equal_shapes(xp: Any, x: Any) -> Any:
    return (x + x if x.shape == x.T.shape else x), lambda dy: (dy,)


def loop_over_an_axis(xp: Any, x: Any) -> Any:
    return sum((x[i, :] for i in range(x.shape[0])), start=0), lambda dy: (dy,)


def branch_on_an_entry(xp: Any, x: Any) -> Any:
    return (x if x[0, 0] else -x), lambda dy: (dy,)


def branch_on_an_array(xp: Any, x: Any) -> Any:
    return (x if xp.sum(x) else -x), lambda dy: (dy,)


def rest_of_a_size(xp: Any, x: Any) -> Any:
    return x * (x.shape[0] % 2), lambda dy: (dy,)


def unknown_function(xp: Any, x: Any) -> Any:
    return xp.tanh(x), lambda dy: (dy,)


def reshape_across_sizes(xp: Any, x: Any) -> Any:
    rows, columns = x.shape
    return xp.reshape(x, (columns, rows)), lambda dy: (xp.reshape(dy, (rows, columns)),)


def gradient_of_another_shape(xp: Any, x: Any) -> Any:
    return x, lambda dy: (xp.sum(dy, axis=0),)


@pytest.mark.parametrize(
    "op",
    [
        branch_on_a_size,
        branch_on_equal_sizes,
        branch_on_equal_shapes,
        loop_over_an_axis,
        branch_on_an_entry,
        branch_on_an_array,
        rest_of_a_size,
        unknown_function,
        reshape_across_sizes,
        gradient_of_another_shape,
    ],
)
def test_what_depends_on_sizes_or_values_is_refused(op: Callable[..., Any]) -> None:
    with pytest.raises(RefusedError):
        statement("op", op, Spec("op", {"x": "M C"}))


# --- planted mistakes in the meaning of the array functions -----------------------------------------------------------

SIZES = dict(zip(LETTERS, (2, 3, 2, 4, 5, 3, 3, 2, 3, 2, 2, 3, 4, 5, 2, 3), strict=True))
TRUE = {name: getattr(Tracer, name) for name in vars(Tracer) if not name.startswith("_")}


def less_the_largest(xp: Any, x: Any) -> Any:
    """Softmax does not see which number is subtracted; this does."""
    return x - xp.max(x, axis=1, keepdims=True), lambda dy: (dy,)


def one_where_zero(xp: Any, x: Any, *, mask: Any) -> Any:
    """A target of zero does not see what stands in its place; this does."""
    return x + xp.where(mask == 0, xp.zeros_like(mask), 1 + mask), lambda dy: (dy,)


PROBES = {name: (getattr(vipnp.ops, spec.op), spec) for name, spec in ALL.items()}
PROBES["less_the_largest"] = less_the_largest, Spec("less_the_largest", {"x": "M C"})
PROBES["one_where_zero"] = one_where_zero, Spec("one_where_zero", {"x": "M C"}, {"mask": "M C"})


def seen(monkeypatch: pytest.MonkeyPatch, method: str, wrong: Callable[..., Any]) -> bool:
    """Whether a comparison with NumPy notices that `method` of the tracer means something else."""
    monkeypatch.setattr(Tracer, method, wrong)
    for name, (op, spec) in PROBES.items():
        try:
            text = statement(name, op, spec)
            if not disagreement(text, name, spec, op, SIZES, 0) < 1e-6:
                return True
        except (
            RefusedError,
            ValueError,
            ZeroDivisionError,
        ):
            return True
    return False


def writing(old: str, new: str) -> Callable[..., Any]:
    """`elementwise` that writes `new` where it is asked for `old`."""
    return lambda self, term, *operands: TRUE["elementwise"](self, new if term == old else term, *operands)


def entry_zero(self: Tracer, x: Array, shape: Any) -> Array:
    whole = TRUE["broadcast_to"](self, x, shape)
    return Array(self, whole.axes, lambda index: whole.at(tuple(("0%nat",) * len(axis) for axis in index)))


MISTAKES: dict[str, tuple[str, Callable[..., Any]]] = {
    "exp means ln": ("exp", lambda self, x: self.elementwise("ln {}", x)),
    "log means nothing": ("log", lambda self, x: x),
    "sqrt means nothing": ("sqrt", lambda self, x: x),
    "ndtr is its mirror image": ("ndtr", lambda self, x: self.elementwise("1 - Phi {}", x)),
    "the constant is another": ("constant", lambda self, name: self.lift(Fraction(2, 5))),
    "max means sum": ("max", TRUE["sum"]),
    "mean means sum": ("mean", TRUE["sum"]),
    "sum means mean": ("sum", lambda self, x, axis=None, keepdims=False: TRUE["sum"](self, x, axis, keepdims) / 2),
    "sum ignores its axis": ("sum", lambda self, x, axis=None, keepdims=False: TRUE["sum"](self, x, 0, keepdims)),
    "sum_rows leaves out the first axis": ("sum_rows", lambda self, x: self.sum(x, axis=tuple(range(1, x.ndim)))),
    "matmul adds its left side to itself": ("matmul", lambda self, a, b: TRUE["matmul"](self, a + a, b)),
    "stack turns the order round": ("stack", lambda self, arrays, axis: TRUE["stack"](self, arrays[::-1], axis)),
    "permute_dims takes the inverse order": (
        "permute_dims",
        lambda self, x, order: TRUE["permute_dims"](self, x, tuple(order.index(a) for a in range(len(order)))),
    ),
    "where has its sides exchanged": ("where", lambda self, zero, x, y: TRUE["where"](self, zero, y, x)),
    "zeros_like means ones": ("zeros_like", lambda self, x: Array(self, x.axes, lambda _: "1")),
    "broadcast_to reads entry zero": ("broadcast_to", entry_zero),
    "arange begins at one": (
        "arange",
        lambda self, n, device=None: Array(self, (size(n).factors,), lambda index: f"(S {index[0][0]})"),
    ),
    "plus means minus": ("elementwise", writing("{} + {}", "{} - {}")),
    "minus has its sides exchanged": ("elementwise", writing("{} - {}", "- {} + {}")),
    "times means divided by": ("elementwise", writing("{} * {}", "{} / {}")),
    "divided by means times": ("elementwise", writing("{} / {}", "{} * {}")),
    "negation means nothing": ("elementwise", writing("- {}", "{}")),
    "equal means unequal": (
        "elementwise",
        writing("if Nat.eqb {} {} then 1 else 0", "if Nat.eqb {} {} then 0 else 1"),
    ),
    "numbers are rounded": (
        "lift",
        lambda self, value: TRUE["lift"](self, round(value) if isinstance(value, float) else value),
    ),
    "a size is its first factor": (
        "lift",
        lambda self, value: TRUE["lift"](self, Size(*value.factors[:1]) if isinstance(value, Size) else value),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_what_an_array_function_means_is_seen(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, *MISTAKES[mistake])


def test_without_a_mistake_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not seen(monkeypatch, "sum_rows", TRUE["sum_rows"])


def test_every_computing_function_of_the_tracer_has_a_planted_mistake() -> None:
    """But for `astype`, whose meaning is to do nothing, and reshape, whose mistakes are refused shapes above."""
    helpers = {"run", "argument", "let", "reduce", "begin_backward"}
    assert {method for method, _ in MISTAKES.values()} == TRUE.keys() - helpers - {"astype", "reshape"}
