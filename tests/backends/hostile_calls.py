"""Calls of the fused CPU functions with arrays that do not fit, as a program: python hostile_calls.py COUNT SEED.

Every call starts from one that is right, and one thing of it is spoilt. A call that cannot be right must raise
TypeError or ValueError; one that may be (another layout or dtype, a smaller batch) raises or gives what the readable
function gives. Run with NUMBA_BOUNDSCHECK=1 an index outside of its array is an IndexError, which ends the program like
every other surprise. Prints how many calls were refused and how many agreed.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from vipnp import get_backend
from vipnp.backends.numba import block as numba_block
from vipnp.backends.numba import optimizer as numba_optimizer
from vipnp.layers import BlockMasks, Mask, permutator, stage
from vipnp.ops import layer_norm
from vipnp.optim.adamw import AdamWState, adamw

READABLE = get_backend("numpy")
SHARDED = get_backend("numba", shards=2, products="openblas")
WHOLE: Any = SHARDED.shard  # type: ignore[attr-defined]

B, H, W, N, S, R = 5, 2, 3, 4, 1, 7
C = N * S


class Derived(np.ndarray[Any, Any]):
    """An array class of somebody else's."""


# --- one thing spoilt -------------------------------------------------------------------------------------------------


def other_shape(rng: np.random.Generator, array: Any) -> Any:
    """`array` with another shape, filled from its numbers."""
    shape = list(array.shape)
    axis = int(rng.integers(len(shape)))
    match rng.integers(7):
        case 0:
            shape[axis] += int(rng.integers(1, 4))
        case 1:
            shape[axis] -= 1
        case 2:
            shape[axis] = 1 if shape[axis] != 1 else 2
        case 3:
            shape[axis] = 0
        case 4:
            shape.insert(axis, int(rng.integers(1, 3)))
        case 5:
            del shape[axis]
        case _:
            shape[axis] *= int(rng.integers(2, 5))
    return np.resize(array, shape).astype(array.dtype)


def derived(rng: np.random.Generator, array: Any) -> Any:
    classes: list[Callable[[Any], Any]] = [lambda a: a.view(Derived), np.ma.masked_array, lambda a: a.view(np.recarray)]
    if array.ndim == 2:
        classes.append(lambda a: a.view(np.matrix))
    return classes[int(rng.integers(len(classes)))](array)


def other_kind(rng: np.random.Generator, array: Any) -> Any:
    kinds: list[Callable[[Any], Any]] = [np.ndarray.tolist, lambda a: None, lambda a: a.flat[0], memoryview, str]
    return kinds[int(rng.integers(len(kinds)))](array)


def other_dtype(rng: np.random.Generator, array: Any) -> Any:
    dtypes = ["f2", "f8", "i4", "i8", "c8", "O", ">f4", "?", "g"]
    return array.astype(dtypes[int(rng.integers(len(dtypes)))])


def other_layout(rng: np.random.Generator, array: Any) -> Any:
    match rng.integers(6):
        case 0:
            return np.asfortranarray(array)
        case 1:
            return np.repeat(array, 2, axis=-1)[..., ::2]
        case 2:
            return np.flip(np.flip(array, 0).copy(), 0)
        case 3:
            memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
            memory[...] = array
            return memory
        case 4:
            return np.broadcast_to(array[:1], array.shape)
        case _:
            array = array.copy()
            array.flags.writeable = False
            return array


MAYBE_RIGHT = (other_shape, other_kind, other_dtype, other_layout)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every array in nested dicts."""
    found = []
    for key, value in tree.items():
        found += places(value) if isinstance(value, dict) else [(tree, key)]
    return found


# --- right calls ------------------------------------------------------------------------------------------------------


def block_parameters(rng: np.random.Generator) -> dict[str, Any]:
    def affine(*shape: int) -> dict[str, Any]:
        return {"weight": normal(rng, *shape), "bias": normal(rng, shape[0])}

    return {
        "norm1": {"weight": normal(rng, C), "bias": normal(rng, C)},
        "attn": {
            "mlp_c": {"weight": normal(rng, C, C)},
            "mlp_h": {"weight": normal(rng, H * S, H * S)},
            "mlp_w": {"weight": normal(rng, W * S, W * S)},
            "reweight": {"fc1": affine(2, C), "fc2": affine(3 * C, 2)},
            "proj": affine(C, C),
        },
        "norm2": {"weight": normal(rng, C), "bias": normal(rng, C)},
        "mlp": {"fc1": affine(R, C), "fc2": affine(C, R)},
    }


def normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def masks(rng: np.random.Generator) -> BlockMasks:
    return BlockMasks(*(Mask(rng.integers(0, 2, B).astype(np.float32), 0.25) for _ in range(2)))


def right_call(rng: np.random.Generator, op: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    x = normal(rng, B, H, W, C)
    if op is layer_norm:
        return {"x": x, "weight": normal(rng, C), "bias": normal(rng, C)}, {}
    if op is stage:
        blocks = {name: block_parameters(rng) for name in ("0", "1")}
        return {"x": x, "params": blocks}, {"segments": N, "masks": [masks(rng), masks(rng)]}
    return {"x": x, "params": block_parameters(rng)}, {"segments": N, "masks": masks(rng)}


# --- calls ------------------------------------------------------------------------------------------------------------


MAGNIFIED = 1000
"""What LayerNorm makes of a rounding, 1 / sqrt(eps), where the channels of a token are nearly equal. Entries near zero
are differences of numbers of size one."""


def outcome(call: Callable[[], Any], truth: Callable[[], Any] | None) -> str:
    """ "refused" or "agreed"; AssertionError where a call that must be refused (without a truth) gives something, and
    where what it gives is not the truth. What is no array at all may end in AttributeError, as in the readable op."""
    try:
        found = call()
    except (TypeError, ValueError, AttributeError, KeyError):
        return "refused"
    assert truth is not None, f"a call that cannot be right gave {type(found).__name__}"
    for a, b in zip(leaves(found), leaves(truth()), strict=True):
        assert a.shape == b.shape, (a.shape, b.shape)
        eps = np.finfo(b.dtype if b.dtype.kind in "fc" else np.float32).eps
        a, b = a.astype(complex), b.astype(complex)
        np.testing.assert_allclose(a, b, rtol=0, atol=64 * MAGNIFIED * eps * np.abs(b).max(initial=1))
    return "agreed"


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for child in tree.values() for leaf in leaves(child)]
    if isinstance(tree, tuple | list):
        return [leaf for child in tree for leaf in leaves(child)]
    return [np.asarray(tree)]


def layer_call(rng: np.random.Generator) -> str:
    op = [layer_norm, permutator, stage][int(rng.integers(3))]
    args, kwargs = right_call(rng, op)
    xp = [SHARDED, WHOLE][int(rng.integers(2))]
    run: Any = xp.run
    readable: Any = READABLE.run
    if xp is WHOLE and op in numba_block.TABLE and rng.integers(2):  # no guard before them
        run = lambda op, *args, **kwargs: numba_block.TABLE[op](xp, *args, **kwargs)  # noqa: E731
        readable = lambda op, *args, **kwargs: op(READABLE, *args, **kwargs)  # noqa: E731
    dy = normal(rng, B, H, W, C)

    def both(run: Any) -> Any:
        y, pullback = run(op, *args.values(), **kwargs)
        return y, pullback(dy if y.dtype == dy.dtype or dy.dtype != np.float32 else dy.astype(y.dtype))

    certain = True
    match rng.integers(8):
        case 0:  # the cotangent
            spoil = [other_shape, derived, other_kind, other_dtype][int(rng.integers(4))]
            dy = spoil(rng, dy)
            _, pullback = run(op, *args.values(), **kwargs)
            return outcome(lambda: pullback(dy), None)
        case 1:
            dy, certain = other_layout(rng, dy), False
        case 2 if "segments" in kwargs:
            kwargs["segments"] = [0, -1, 1, 2, 3, 8, 2.5, "4", None, True, 10**30][int(rng.integers(11))]
        case 3 if "masks" in kwargs:
            all_masks = kwargs["masks"] if op is stage else [kwargs["masks"]]
            block, place = int(rng.integers(len(all_masks))), ["attn_path", "mlp_path"][int(rng.integers(2))]
            mask = getattr(all_masks[block], place)
            spoil = [other_shape, derived, other_kind][int(rng.integers(3))]
            all_masks[block] = all_masks[block]._replace(**{place: Mask(spoil(rng, mask.mask), mask.rate)})
            if op is not stage:
                kwargs["masks"] = all_masks[0]
        case 4 if "params" in args:
            trees = places(args["params"])
            tree, key = trees[int(rng.integers(len(trees)))]
            tree.pop(key)
        case _:
            trees = places(args)
            tree, key = trees[int(rng.integers(len(trees)))]
            certain = bool(rng.integers(2))
            spoil = derived if certain else MAYBE_RIGHT[int(rng.integers(len(MAYBE_RIGHT)))]
            tree[key] = spoil(rng, tree[key])
    return outcome(lambda: both(run), None if certain else lambda: both(readable))


def optimizer_call(rng: np.random.Generator) -> str:
    def draw() -> dict[str, Any]:
        return {"matrix": normal(rng, 3, 4), "vector": normal(rng, 5)}

    trees = [draw() for _ in range(4)]
    trees[3] = {name: np.abs(array) for name, array in trees[3].items()}
    options: Any = {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
    tree = trees[int(rng.integers(4))]
    name = ["matrix", "vector"][int(rng.integers(2))]
    certain = bool(rng.integers(2))
    if certain:
        spoils: Any = (other_shape, derived) if tree is not trees[0] else (derived,)
    else:
        spoils = (other_kind, other_dtype, other_layout)
    tree[name] = spoils[int(rng.integers(len(spoils)))](rng, tree[name])

    def step(function: Any) -> Any:
        params, state = function(SHARDED, trees[0], trees[1], AdamWState(3, trees[2], trees[3]), **options)
        return params, state.exp_avg, state.exp_avg_sq

    fused = numba_optimizer.TABLE[adamw]
    return outcome(lambda: step(fused), None if certain else lambda: step(adamw))


def main(count: int, seed: int) -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    for number in range(count):
        state = rng.bit_generator.state
        try:
            outcomes[(optimizer_call if number % 5 == 0 else layer_call)(rng)] += 1
        except Exception:
            print(f"call {number}, generator at {state}", file=sys.stderr)
            raise
    print(outcomes["refused"], outcomes["agreed"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
