"""A stage in inference on panels of tokens: values, bits, threads, and what it leaves to the shards."""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import small_model
from vipnp import VisionPermutator, get_backend, ops
from vipnp.audit.cases import CASES
from vipnp.backends.numba import inference
from vipnp.backends.numba.inference import Shared, leaf, stage_by_images
from vipnp.backends.numba.kernels import machine, stage_chunks
from vipnp.backends.numba.kernels.image import COUNTERS, PARAMS, next_chunk
from vipnp.backends.numba.kernels.machine import LANES, WIDTH, sum_of_rows, tile_of, transpose_of, vector_of
from vipnp.backends.numpy.threads import Crew
from vipnp.layers import BlockMasks, Mask, stage
from vipnp.models import ViPConfig
from vipnp.verify.trees import tree_arrays, tree_map

READABLE = get_backend("numpy").inference()
UNIT = 2.0**-24


def fused(shards: int = 4, products: str = "auto") -> Any:
    return get_backend("numba", shards=shards, products=products).inference()


def draw(
    B: int, H: int, W: int, N: int, S: int, R: int = 5, Q: int = 3, blocks: int = 2, seed: int = 0
) -> tuple[Any, Any]:
    """Images (B, H, W, N * S) and the parameters of a stage, float32."""
    rng, C = np.random.default_rng(seed), N * S

    def matrix(*shape: int) -> Any:
        return rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    def affine(out: int, into: int) -> dict[str, Any]:
        return {"weight": matrix(out, into), "bias": matrix(out)}

    params = {
        str(block): {
            "norm1": {"weight": 1 + matrix(C), "bias": matrix(C)},
            "attn": {
                "mlp_h": {"weight": matrix(H * S, H * S)},
                "mlp_w": {"weight": matrix(W * S, W * S)},
                "mlp_c": {"weight": matrix(C, C)},
                "reweight": {"fc1": affine(Q, C), "fc2": affine(3 * C, Q)},
                "proj": affine(C, C),
            },
            "norm2": {"weight": 1 + matrix(C), "bias": matrix(C)},
            "mlp": {"fc1": affine(R, C), "fc2": affine(C, R)},
        }
        for block in range(blocks)
    }
    return rng.normal(size=(B, H, W, C)).astype(np.float32), params


def error(found: Any, truth: Any) -> float:
    return float(np.sqrt(np.mean((found - truth) ** 2)) / np.sqrt(np.mean(truth**2)))


def assert_as_accurate(found: Any, x: Any, params: Any, **options: Any) -> None:
    """Against float64: hardly worse than the readable layer in float32."""
    truth, _ = READABLE.run(stage, *tree_map(np.float64, (x, params)), **options)
    readable, _ = READABLE.run(stage, x, params, **options)
    assert found.dtype == np.float32
    assert found.shape == truth.shape
    assert error(found, truth) <= 1.5 * error(readable, truth) + UNIT


# --- values ----------------------------------------------------------------------------------------------------------


ANY_SHAPE = fused()


@settings(max_examples=15, deadline=None)
@given(
    B=st.integers(1, 3),
    H=st.integers(1, 7),
    W=st.integers(1, 9),
    N=st.integers(1, 5),
    S=st.integers(1, 6),
    R=st.integers(1, 30),
    Q=st.integers(1, 70),
    blocks=st.integers(1, 2),
    skip_lam=st.sampled_from([1.0, 1.7]),
)
def test_a_stage_of_any_shape(skip_lam: float, **sizes: int) -> None:
    x, params = draw(**sizes)
    found, _ = ANY_SHAPE.run(stage, x, params, segments=sizes["N"], skip_lam=skip_lam)
    exact = tree_map(np.float64, (x, params))
    rng = np.random.default_rng(1)
    rounded = tree_map(lambda array: array * (1 + UNIT * rng.choice([-1, 1], array.shape)), exact)
    truth, other = (READABLE.run(stage, *args, segments=sizes["N"], skip_lam=skip_lam)[0] for args in (exact, rounded))
    # LayerNorm of two or three channels that are nearly equal makes much of a rounding.
    tolerance = 64 * (UNIT * np.abs(truth).max() + np.abs(other - truth).max())
    np.testing.assert_allclose(found, truth, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "sizes",
    [
        {"H": 16, "W": 12, "N": 8, "S": 16, "R": 400, "Q": 33},  # several panels, chunks and parts of every sum
        {"H": 3, "W": 40, "N": 4, "S": 50, "R": 13, "Q": 5},  # a row longer than a panel, segments longer than one
        {"H": 17, "W": 19, "N": 3, "S": 7, "R": 25, "Q": 300},  # no size divides another
        {"H": LANES, "W": 2 * LANES, "N": 3, "S": 5, "R": 7, "Q": 4},  # rows and columns are whole vectors
        {"H": 3 * LANES, "W": LANES, "N": 2, "S": 3, "R": 31, "Q": 2},
    ],
)
def test_stages_of_several_panels(sizes: dict[str, int]) -> None:
    x, params = draw(2, **sizes)
    found, _ = fused().run(stage, x, params, segments=sizes["N"])
    assert_as_accurate(found, x, params, segments=sizes["N"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_spoil_their_image_and_no_other(bad: float) -> None:
    x, params = draw(3, 4, 5, 2, 6)
    clean, _ = fused().run(stage, x, params, segments=2)
    x[1, 2, 3, 4] = bad
    with np.errstate(invalid="ignore"):
        found, _ = fused().run(stage, x, params, segments=2)
        truth, _ = READABLE.run(stage, x, params, segments=2)
    assert np.array_equal(np.isfinite(found), np.isfinite(truth))
    assert np.array_equal(found[[0, 2]], clean[[0, 2]])
    assert not np.isfinite(found[1]).all()


def test_arguments_are_never_written_and_may_be_readonly() -> None:
    x, params = draw(2, 4, 5, 2, 6)
    expected, _ = fused().run(stage, x, params, segments=2)
    for _, array in tree_arrays((x, params)):
        array.flags.writeable = False
    found, _ = fused().run(stage, x, params, segments=2)
    assert np.array_equal(found, expected)
    assert not np.shares_memory(found, x)


@pytest.mark.parametrize("form", [lambda a: np.repeat(a, 2, -1)[..., ::2], np.asfortranarray])
def test_arrays_of_other_strides(form: Any) -> None:
    x, params = draw(2, 4, 5, 2, 6)
    expected, _ = fused().run(stage, x, params, segments=2)
    found, _ = fused().run(stage, *tree_map(form, (x, params)), segments=2)
    assert np.array_equal(found, expected)


def test_what_does_not_fit_is_refused() -> None:
    x, params = draw(1, 4, 5, 2, 6)
    with pytest.raises(ValueError, match="segments: got 5, expected a divisor of C = 12"):
        fused().run(stage, x, params, segments=5)
    params["1"]["mlp"]["fc2"]["weight"] = np.ones((12, 7), np.float32)
    with pytest.raises(ValueError, match=r"params\.1\.mlp\.fc2\.weight: got shape \(12, 7\), expected \(12, 5\)"):
        fused().run(stage, x, params, segments=2)


# --- who computes it --------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every call of the kernel."""
    made: list[int] = []

    def counted(*arguments: Any) -> None:
        made.append(1)
        stage_chunks(*arguments)

    monkeypatch.setattr(inference, "stage_chunks", counted)
    return made


@pytest.mark.parametrize(
    ("B", "shards", "expected"),
    [(1, 1, 1), (2, 1, 2), (1, 2, 2), (2, 2, 2), (3, 2, 4), (2, 3, 6), (3, 3, 3), (8, 3, 12), (0, 2, 0)],
)
def test_a_thread_takes_an_image_by_itself_and_all_share_what_is_left(
    B: int, shards: int, expected: int, calls: list[int]
) -> None:
    x, params = draw(B, 4, 5, 2, 6)
    y, _ = fused(shards).run(stage, x, params, segments=2)
    assert y.shape == x.shape
    assert len(calls) == expected


def test_what_the_kernel_does_not_cover_runs_in_shards(calls: list[int]) -> None:
    x, params = draw(2, 4, 5, 2, 6)
    masks = [BlockMasks(attn_path=Mask(np.ones(2, np.float32), 0.25))] * 2
    other = draw(2, 4, 5, 2, 6, R=7)[1]
    mixed = {"0": params["0"], "1": other["1"]}
    for args, options in (
        (tree_map(np.float64, (x, params)), {}),
        ((x, params), {"masks": masks}),
        ((x, params), {"fusion": "sum"}),
        ((x, mixed), {}),
        ((x, {}), {}),
    ):
        found, _ = fused().run(stage, *args, segments=2, **options)
        expected, _ = READABLE.run(stage, *args, segments=2, **options)
        tolerance = 8 * np.finfo(found.dtype).eps * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    training = get_backend("numba", shards=4)
    y, pullback = training.run(stage, x, params, segments=2)
    assert pullback(y)[0].shape == x.shape
    assert not calls


@pytest.mark.parametrize("products", ["openblas", "onednn", "mkl", "numpy"])
def test_a_library_that_is_named_multiplies_in_inference_too(products: str, calls: list[int]) -> None:
    x, params = draw(1, 4, 5, 2, 6)
    fused(4, products).run(stage, x, params, segments=2)
    assert not calls


# --- bits and threads -------------------------------------------------------------------------------------------------


def test_the_bits_of_an_image_depend_on_nothing_else() -> None:
    """Neither on the number of threads nor on the batch it stands in."""
    x, params = draw(5, 16, 12, 8, 16, R=50)
    expected = np.concatenate([fused(1).run(stage, x[b : b + 1], params, segments=8)[0] for b in range(5)])
    for first, end in ((0, 1), (2, 4), (0, 5)):
        for shards in (1, 2, 3, 6):
            found, _ = fused(shards).run(stage, x[first:end], params, segments=8)
            assert np.array_equal(found, expected[first:end]), (shards, first, end)


def prepared(x: Any, params: Any, segments: int, side: int = 0) -> Any:
    """The arguments of the kernel for one image (H, W, C), and its result."""
    hidden = inference.widths(params["0"])
    shared = Shared(x.shape, segments, hidden, len(params))
    addresses = np.array([[leaf(block, name).ctypes.data for name in PARAMS] for block in params.values()], np.int64)
    result = np.empty_like(x)
    return (
        x,
        addresses,
        segments,
        hidden,
        1.0,
        1e-5,
        shared.memory,
        shared.small,
        shared.tickets,
        side,
        result,
    ), result


def test_a_thread_that_comes_late_finds_everything_done() -> None:
    x, params = draw(1, 16, 12, 8, 16)
    arguments, result = prepared(x[0], params, 8, side=1)
    stage_chunks(*arguments)
    once = result.copy()
    tickets = arguments[-3]
    done = tickets[:, 1].copy()
    assert (done > 0).all()
    result[:] = np.nan
    stage_chunks(*arguments)
    assert np.isnan(result).all(), "the second call computed something again"
    assert np.array_equal(tickets[:, 1], done)
    expected, _ = fused(1).run(stage, x, params, segments=8)
    assert np.array_equal(once, expected[0])


def test_every_chunk_is_done_once_by_many_threads() -> None:
    """More threads than cores, so that some sleep while they hold a chunk."""
    x, params = draw(1, 16, 12, 8, 16, blocks=6)
    expected, _ = fused(1).run(stage, x, params, segments=8)
    for _ in range(5):
        arguments, result = prepared(x[0], params, 8)
        threads = [
            threading.Thread(target=stage_chunks, args=(*arguments[:-2], thread % 2, result)) for thread in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert np.array_equal(result, expected[0])


@pytest.mark.parametrize("chunks", [1, 2, 3, 8])
@pytest.mark.parametrize("sides", [[0], [1], [0, 1], [1, 1, 0], [0, 0, 0, 1]])
def test_both_sides_together_take_every_chunk_once(chunks: int, sides: list[int]) -> None:
    @numba.njit
    def take(tickets: Any, side: int) -> Any:
        return next_chunk(tickets.ctypes.data, chunks, side)

    tickets = np.zeros(COUNTERS, np.int64)
    order = (sides * 9)[:chunks]
    taken = [take(tickets, side) for side in order]
    assert sorted(taken) == list(range(chunks))
    assert [chunk for chunk, side in zip(taken, order, strict=True) if side == 0] == list(range(order.count(0)))
    assert take(tickets, 0) == take(tickets, 1) == chunks


def test_many_callers_on_one_crew_end() -> None:
    """Tasks of a crew may wait for one another's threads: none of these waits for a thread that has not come."""
    x, params = draw(1, 4, 5, 2, 6)
    xp = fused(3)
    assert isinstance(xp.crew, Crew)
    expected, _ = xp.run(stage, x, params, segments=2)
    found: list[Any] = []

    def call() -> None:
        found.extend(xp.run(stage, x, params, segments=2)[0] for _ in range(10))

    callers = [threading.Thread(target=call, daemon=True) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
        assert not caller.is_alive()
    assert len(found) == 50
    assert all(np.array_equal(y, expected) for y in found)


def test_logits_of_a_model() -> None:
    config = ViPConfig(
        layers=(2, 1),
        embed_dims=(12, 24),
        segments=(4, 3),
        transitions=(True, False),
        patch_size=2,
        image_size=(8, 12),
        num_classes=5,
    )
    images = np.random.default_rng(3).normal(size=(3, 3, 8, 12)).astype(np.float32)
    model = VisionPermutator(config, backend=get_backend("numba", shards=4))
    exact = VisionPermutator(config, backend="numpy", dtype="float64")
    truth = exact(images.astype(np.float64))
    np.testing.assert_allclose(model(images), truth, rtol=0, atol=16 * UNIT * np.abs(truth).max())


# --- tiles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("rows", [1, 2, 6, 12])
def test_a_tile_is_a_product(rows: int, lanes: int) -> None:
    tile = tile_of(rows, lanes)

    @numba.njit
    def multiply(w: Any, x: Any, out: Any, add: int) -> None:
        tile(w.ctypes.data, w.shape[1], x.ctypes.data, x.shape[0], out.ctypes.data, add)

    rng = np.random.default_rng(rows)
    for K in (1, 2, 7):
        w, x = rng.integers(-9, 9, (rows, K + 3)).astype(np.float32), rng.integers(-9, 9, (K, 2 * lanes))
        x, out = x.astype(np.float32), np.full((rows + 1, 2 * lanes), 7, np.float32)
        multiply(w, x, out, 0)
        assert np.array_equal(out[:rows], w[:, :K] @ x)
        multiply(w, x, out, 1)
        assert np.array_equal(out[:rows], 2 * w[:, :K] @ x)
        assert (out[rows] == 7).all()


@pytest.mark.parametrize(
    ("features", "architecture", "expected"),
    [
        ({"avx512f": True, "avx": True}, "x86_64", (16, 12)),
        ({"avx512f": False, "avx": True}, "AMD64", (8, 6)),
        ({}, "x86_64", (4, 6)),
        ({}, "aarch64", (4, 12)),
        ({}, "arm64", (4, 12)),
    ],
)
def test_the_tile_of_a_processor(features: dict[str, bool], architecture: str, expected: tuple[int, int]) -> None:
    assert vector_of(features, architecture) == expected


def test_waiting_ends_when_another_thread_has_counted() -> None:
    counter = np.zeros(1, np.int64)

    @numba.njit(nogil=True)
    def count(counter: Any) -> Any:
        return machine.fetch_add(counter.ctypes.data)

    waiting = threading.Thread(target=machine.wait_for, args=(counter.ctypes.data, 2))
    waiting.start()
    assert count(counter) == 0
    waiting.join(timeout=0.2)
    assert waiting.is_alive()
    assert count(counter) == 1
    waiting.join(timeout=60)
    assert not waiting.is_alive()


def test_panels_begin_where_a_vector_may() -> None:
    shared = Shared((5, 7, 6), 3, (4, 2), 1)
    for array in shared.memory:
        assert array.ctypes.data % (4 * WIDTH) == 0
        assert array.flags.c_contiguous
    h_in, w_in = shared.memory[4], shared.memory[6]
    assert not h_in.any()
    assert not w_in.any()


def test_the_case_of_the_stage_is_covered(calls: list[int]) -> None:
    args, kwargs = CASES["stage"].inputs(5)
    args = tree_map(lambda array: array.astype(np.float32), args)
    xp = fused(8).counting()
    found, _ = xp.run(stage, *args, **kwargs)
    truth, _ = READABLE.run(stage, *tree_map(np.float64, args), **kwargs)
    np.testing.assert_allclose(found, truth, rtol=0, atol=64 * UNIT * np.abs(truth).max())
    assert calls
    assert xp.ran[stage_by_images] == 1


@pytest.mark.parametrize(("keep", "threads"), [(False, 1), (True, 2)])
def test_between_the_stages_of_one_image_blas_has_one_thread(keep: bool, threads: int) -> None:
    """Its other threads would go on looking for work, on the core that the next stage wants. In training the products
    of one image have both."""
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(user_api="blas")
    seen: list[list[int]] = []

    def watch(op: Any, function: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if op in (ops.patch_embed, ops.linear):
                seen.append([library.num_threads for library in blas.lib_controllers])
            return function(*args, **kwargs)

        return watched

    backend = get_backend("numba", shards=2)
    backend = backend if keep else backend.inference()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 3, 8, 12)).astype(np.float32)
    weight, head = rng.normal(size=(6, 3, 4, 4)).astype(np.float32), rng.normal(size=(5, 6)).astype(np.float32)
    with ThreadpoolController().limit(limits=2):
        twin: Any = backend.watched(lambda op, function: function)
        twin.shard = twin.shard.watched(watch)
        y, _ = twin.run(ops.patch_embed, x, weight, np.ones(6, np.float32))
        twin.run(ops.linear, y, head, np.ones(5, np.float32))
    assert seen == 2 * [[threads] * len(blas.lib_controllers)]


def test_split_attention_of_one_image_has_no_logit_that_is_too_large() -> None:
    """exp of the logits alone overflows; less their largest it does not."""
    readable = small_model(dtype="float32")
    weights = readable.state_dict()
    weights = {name: value * (1e4 if ".reweight." in name else 1) for name, value in weights.items()}
    readable.load_state_dict(weights)
    fused = VisionPermutator.from_weights(readable.config, weights, backend=get_backend("numba", shards=2))
    images = np.random.default_rng(0).normal(size=(1, 3, 12, 8)).astype(np.float32)
    expected = readable(images)
    np.testing.assert_allclose(fused(images), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("power", [1, 2])
def test_vectors_are_added(power: int, lanes: int) -> None:
    add_sum = sum_of_rows(power, lanes)

    @numba.njit
    def add(x: Any, rows: int, centre: Any, out: Any) -> None:
        add_sum(x.ctypes.data, 4 * x.shape[1], rows, centre.ctypes.data, out.ctypes.data)

    rng = np.random.default_rng(lanes)
    x, centre = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((7, lanes + 3), lanes))
    for rows in (1, 2, 7):
        out = np.full(lanes + 1, 5, np.float32)
        add(x, rows, centre, out)
        terms = x[:rows, :lanes] - (centre if power == 2 else 0)
        assert np.array_equal(out[:lanes], 5 + (terms**power).sum(0))
        assert out[lanes] == 5


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_a_square_is_turned(lanes: int) -> None:
    transpose = transpose_of(lanes)

    @numba.njit
    def turn(x: Any, y: Any) -> None:
        transpose(x.ctypes.data, 4 * x.shape[1], y.ctypes.data, 4 * y.shape[1])

    x = np.arange(lanes * (lanes + 3), dtype=np.float32).reshape(lanes, -1)
    y = np.full((lanes + 1, lanes + 5), -1, np.float32)
    turn(x, y)
    assert np.array_equal(y[:lanes, :lanes], x[:, :lanes].T)
    y[:lanes, :lanes] = -1
    assert (y == -1).all()
