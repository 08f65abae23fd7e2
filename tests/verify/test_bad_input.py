"""Bad ops and bad inputs: a clear verdict or error naming op, argument and rung; one failure stops nothing else."""

from __future__ import annotations

import contextlib
import gc
import inspect
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from vipnp import ops
from vipnp.verify import Verdict, verify
from vipnp.verify.budget import SECONDS, OutOfTimeError, limited
from vipnp.verify.extras import MissingExtraError, need
from vipnp.verify.report import Report, Row, worst

X = np.random.default_rng(3).normal(size=(2, 3))


def op_returning(gradients: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def my_op(xp: Any, x: Any, weight: Any) -> Any:
        return x * weight, lambda dy: gradients(x, dy)

    return my_op


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (lambda x, dy: (dy, None), "the gradient is None, expected an array"),
        (lambda x, dy: (dy, dy[:1]), "the gradient has shape (1, 3), expected (2, 3)"),
        (lambda x, dy: (dy, dy.astype(np.int64)), "dtype int64"),
        (lambda x, dy: 1 / 0, "the pullback raised ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.parametrize("rung", ["contract", "differences", "complex_step", "certified"])
def test_broken_pullbacks(gradients: Callable[[Any, Any], Any], message: str, rung: str) -> None:
    report = verify(op_returning(gradients), [X, X + 1], rungs=[rung])
    assert not report.ok
    assert report.failures, str(report)
    text = str(report.failures[0])
    assert "my_op" in text
    assert rung in text
    assert message in text


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (lambda x, dy: (dy,), "my_op: the pullback returned 1 gradients, expected 2, one for each of x, weight"),
        (lambda x, dy: dy, "my_op: the pullback returned a ndarray, expected a tuple"),
        (lambda x, dy: None, "my_op: the pullback returned None, expected a tuple"),
    ],
)
def test_what_is_no_pullback_is_one_error(gradients: Callable[[Any, Any], Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}"):
        verify(op_returning(gradients), [X, X + 1])


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (lambda x: (x, lambda dy: (dy,)), r"^op: got <lambda>\(x\), expected one that takes \(xp, array\): too many"),
        (lambda xp, x, w: None, r"^op: got <lambda>\(xp, x, w\), expected .*: missing a required argument: 'w'$"),
        (lambda xp, *, x: None, r"^op: got <lambda>\(xp, \*, x\), expected one that takes \(xp, array\)"),
    ],
)
def test_what_does_not_take_the_arguments_is_one_error(op: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        verify(op, [X])
    with pytest.raises(TypeError, match=r"expected one that takes \(xp, array, mask=\): got an unexpected keyword"):
        verify(ops.gelu, [X], kwargs={"mask": X})


def test_the_argument_of_a_wrong_shape_is_named() -> None:
    report = verify(op_returning(lambda x, dy: (dy, dy[:1])), [X, X + 1], rungs=["complex_step"])
    assert [row.argument for row in report.failures] == ["weight"]


@pytest.mark.parametrize(
    ("result", "message"),
    [(None, "None"), ((1, 2, 3), "a tuple of 3"), (X, "a ndarray"), ((X, 5), "a tuple of 2")],
)
def test_ops_that_return_no_pair(result: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^<lambda>: the op returned {message}, expected the pair"):
        verify(lambda xp, x: result, [X])


@pytest.mark.parametrize(("second", "message"), [(None, "None"), ((X, X[0]), "a tuple of 2"), ({"y": X}, "a dict")])
def test_outputs_that_are_no_arrays(second: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^<lambda>: y has {message} in it, expected arrays$"):
        verify(lambda xp, x: ((x * 2, second), lambda dys: (2 * dys[0],)), [X])


@pytest.mark.parametrize(("y", "message"), [(None, "None"), ("sum", "a str"), ({"y": X}, "a dict")])
def test_a_value_that_is_no_array(y: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^<lambda>: y is {message}, expected an array or a tuple of arrays$"):
        verify(lambda xp, x: (y, lambda dy: (x,)), [X])


@pytest.mark.filterwarnings("error")
def test_a_complex_value_is_called_so_by_every_rung() -> None:
    report = verify(lambda xp, x: (np.fft.fft(x), lambda dy: (x,)), [X], rungs=["contract", "adjoint", "differences"])
    assert [row.verdict for row in report.rows] == [Verdict.FAIL] * 3
    assert all("y has dtype complex128, expected float64" in row.detail for row in report.rows)


def test_an_exception_without_a_message() -> None:
    def op(xp: Any, x: Any) -> Any:
        raise NotImplementedError

    (row,) = verify(op, [X], rungs=["differences"]).rows
    assert row.detail.startswith("the forward raised NotImplementedError (test_bad_input.py, line ")


def test_a_gradient_that_is_a_number_of_python_is_called_so() -> None:
    def op(xp: Any, x: Any, s: Any) -> Any:
        return x * s, lambda dy: (dy * s, float(np.sum(dy * x)))

    report = verify(op, [X, np.array(0.4)], rungs=["contract", "certified"])
    assert [row.rung for row in report.failures] == ["contract"]
    assert "float64 arguments give a gradient of dtype float;" in report.failures[0].detail


def raises(xp: Any, x: Any) -> Any:
    raise ValueError("no such thing")


def test_an_exception_in_the_forward_pass_is_reported_by_every_float64_rung() -> None:
    report = verify(raises, [X], rungs=["contract", "differences", "finite_field"])
    assert "the forward raised ValueError: no such thing" in report.failures[0].detail
    assert [row.verdict for row in report.rows] == [Verdict.FAIL, Verdict.FAIL, Verdict.INCONCLUSIVE]


def test_what_several_rungs_say_alike_is_printed_once() -> None:
    lines = str(verify(raises, [X], rungs=["adjoint", "differences", "certified"])).splitlines()
    where, what = lines[0].split(": raises, argument x (2, 3): ")
    assert where == "FAIL adjoint, differences, certified"
    assert what.startswith("the forward raised ValueError: no such thing")


def test_without_a_definition_nothing_is_said_about_the_value() -> None:
    (row,) = verify(raises, [X], rungs=["value"]).rows
    assert (row.verdict, row.detail) == (Verdict.INCONCLUSIVE, "no definition to compare with was given")


def test_a_broken_definition_is_a_failure_of_that_rung_alone() -> None:
    def definition(x: Any) -> Any:
        raise KeyError("x")

    report = verify(ops.gelu, [X], definition=definition, rungs=["contract", "value"])
    assert [row.rung for row in report.failures] == ["value"]
    assert "KeyError" in report.failures[0].detail


def test_nested_gradients_must_have_the_keys_of_the_parameters() -> None:
    def layer(xp: Any, x: Any, params: Any) -> Any:
        return x * params["a"]["weight"], lambda dy: (dy * params["a"]["weight"], {"b": dy * x})

    report = verify(layer, [X, {"a": {"weight": X + 1}}], rungs=["complex_step"])
    assert "has ['b'], expected ['a']" in report.failures[0].detail
    assert report.rows[1].argument == "a.weight"


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ([np.arange(3)], TypeError, "gelu, argument x: got dtype int64, expected float64; constants such as labels"),
        ([X.astype(np.float32)], TypeError, "got dtype float32, expected float64"),
        ([X.tolist()[0][0]], TypeError, "argument x: got float, expected a float64 NumPy array"),
        ([np.ma.array(X)], TypeError, "argument x: got MaskedArray, expected a float64 NumPy array"),
        ([X[0].view(np.matrix)], TypeError, "argument x: got matrix, expected a float64 NumPy array"),
        ([np.empty((0, 3))], ValueError, "argument x: got an empty array of shape \\(0, 3\\)"),
        ([np.array([1.0, np.nan, np.inf])], ValueError, "argument x: 2 of 3 entries are NaN or infinite"),
        ([], ValueError, "gelu: args is empty"),
        ([{}], ValueError, "gelu: args hold no array"),
    ],
)
def test_bad_arguments(args: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        verify(ops.gelu, args)


def test_bad_constants_and_rungs() -> None:
    with pytest.raises(ValueError, match="constant mask: 1 of 6 entries are NaN"):
        verify(ops.dropout, [X], kwargs={"mask": np.where(X[0, 0] == X, np.nan, 1.0), "rate": 0.5})
    with pytest.raises(ValueError, match="unknown rung 'complex', expected some of contract"):
        verify(ops.gelu, [X], rungs=["complex"])
    with pytest.raises(TypeError, match="got the string 'contract', expected a list"):
        verify(ops.gelu, [X], rungs="contract")
    with pytest.raises(TypeError, match="op: got int"):
        verify(5, [X])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("module", "rung", "extra"),
    [("flint", "certified", "audit"), ("sympy", "proof", "audit"), ("torch", "pytorch", "test")],
)
def test_a_missing_package_is_no_pass(module: str, rung: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    report = verify(ops.gelu, [X[:1]], twin=lambda x: x, rungs=[rung, "complex_step"])
    first = next(row for row in report.rows if row.rung == rung)
    assert first.verdict is Verdict.INCONCLUSIVE
    assert f'{module} is not installed: pip install "vipnp[{extra}]"' in first.detail
    assert report.ok


def test_need_passes_on_errors_inside_a_package(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        need("half_installed", "audit")
    with pytest.raises(MissingExtraError, match="vipnp\\[audit\\]"):
        need("no_such_package", "audit")


def test_nothing_shown_is_not_ok() -> None:
    assert not Report().ok
    undecided = verify(ops.gelu, [X], rungs=["value"])
    assert not undecided.failures
    assert undecided.undecided == [("gelu", "")]
    assert not undecided.ok
    assert worst([]) is None


def test_a_report_is_written_with_infinities_as_words() -> None:
    row = Row("op", "", "x", (1,), "value", float("inf"), 0.0, "", Verdict.FAIL, "")
    (written,) = Report([row]).to_json()["rows"]
    assert written["error"] == "inf"
    assert written["verdict"] == "FAIL"


def test_a_gradient_of_nan_never_passes() -> None:
    def op(xp: Any, x: Any) -> Any:
        return x * 2, lambda dy: (dy * np.nan,)

    report = verify(op, [X], hard=True)
    assert not [row for row in report.rows if row.verdict is Verdict.PASS and row.rung != "value"]
    assert "not finite" in str(report)


def softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
    p = e / xp.sum(e, axis=-1, keepdims=True)
    return p, lambda dy: (p * (dy - xp.sum(dy * p, axis=-1, keepdims=True)),)


def endless(*_: Any, **__: Any) -> Any:
    while True:
        with contextlib.suppress(Exception):
            X.sum()


def endless_pullback(xp: Any, x: Any) -> Any:
    return x + 1, endless


def endless_second_call(xp: Any, x: Any) -> Any:
    dys = []

    def pullback(dy: Any) -> Any:
        dys.append(dy)
        return endless() if len(dys) > 1 else (dy,)

    return x + 1, pullback


def plus_one(xp: Any, x: Any) -> Any:
    return x + 1, lambda dy: (dy,)


TWELVE = np.random.default_rng(0).normal(size=(2, 12))

WITHOUT_AN_END: dict[str, tuple[Any, Any, str, dict[str, Any]]] = {
    "forward": (endless, X, "contract", {}),
    "pullback": (endless_pullback, X, "differences", {}),
    "second call": (endless_second_call, X, "contract", {}),
    "complex step": (endless_pullback, X, "complex_step", {}),
    "definition": (plus_one, X, "value", {"definition": endless}),
    "proof": (softmax, TWELVE, "proof", {}),  # which takes minutes
}


def test_what_is_not_done_in_time_decides_nothing() -> None:
    """In another process, which is ended where it does not end: without a limit, this test fails and does not hang. The
    last form that it names is the one at fault."""
    code = (
        "from tests.verify.test_bad_input import *\nfor form in WITHOUT_AN_END:\n print(form)\n is_inconclusive(form)"
    )
    subprocess.run([sys.executable, "-u", "-c", code], check=True, timeout=60, cwd=ROOT)


def is_inconclusive(form: str) -> None:
    op, x, rung, options = WITHOUT_AN_END[form]
    report = verify(op, [x], rungs=[rung, "elsewhere"] if form == "proof" else [rung], seconds=0.5, **options)
    row = next(row for row in report.rows if row.rung == rung)
    assert (row.verdict, row.detail) == (Verdict.INCONCLUSIVE, "not done after 0.5 s"), str(report)
    assert not report.failures or form != "proof", "one rung that is not done ends no other"
    assert not report.ok or form == "proof"


def test_the_time_limit_that_nobody_asks_for() -> None:
    assert inspect.signature(verify).parameters["seconds"].default == SECONDS == 10


def test_a_time_limit_beyond_any_clock() -> None:
    assert verify(plus_one, [X], rungs=["adjoint"], seconds=1e300).rows


def test_the_time_limit_leaves_nothing_behind() -> None:
    threads = threading.active_count()
    for _ in range(50):
        with contextlib.suppress(OutOfTimeError):
            limited(1e-3, lambda: time.sleep(1e-3))
    time.sleep(0.05)
    assert threading.active_count() == threads


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def collects() -> None:
    def callback(phase: str, _: Any) -> None:
        if phase == "start":
            busy(0.3)

    gc.collect()  # of what earlier tests left: an end of theirs may let the watch run between two callbacks
    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


def deletes() -> None:
    class Slow:
        def __del__(self) -> None:
            busy(0.3)

    Slow()


def swallows() -> None:
    with contextlib.suppress(BaseException):
        busy(1.0)


@pytest.mark.parametrize("loses", [collects, deletes, swallows])
def test_the_time_limit_outlives_what_loses_its_exception(loses: Callable[[], None]) -> None:
    """CPython prints an exception that leaves a callback of its own, and goes on."""

    def loses_and_goes_on() -> None:
        loses()
        busy(20.0)

    with pytest.raises(OutOfTimeError):
        limited(0.05, loses_and_goes_on)


class Slow:
    """A number whose product takes a while."""

    def __add__(self, other: Any) -> Any:
        return self

    def __mul__(self, other: Any) -> Any:
        busy(0.001)
        return self


def slow_product(xp: Any, x: Any) -> Any:
    _ = np.array([Slow()] * 2500, object).reshape(50, 50) @ np.full((50, 50), Slow())
    return x, lambda dy: (dy,)


def test_the_time_limit_in_a_product_of_objects() -> None:
    """NumPy's goes on after an exception and ends with a SystemError, which is no fault of the op."""
    report = verify(slow_product, [X], rungs=["adjoint"], seconds=0.1)
    assert [(row.verdict, row.detail) for row in report.rows] == [(Verdict.INCONCLUSIVE, "not done after 0.1 s")]


def test_no_collection_begins_between_the_time_limit_and_its_exception() -> None:
    """A matrix product runs without the interpreter, the limit falls into it, and the next list starts a collection."""
    matrix = np.ones((400, 400))
    thresholds = gc.get_threshold()

    def multiply_until(end: float) -> None:
        while time.monotonic() < end:
            matrix @ matrix
            cycle: list[Any] = []
            cycle.append(cycle)

    def callback(_phase: str, _info: Any) -> None:
        busy(0.0)

    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        for _ in range(100):
            end = time.monotonic() + 5.0
            with contextlib.suppress(OutOfTimeError):
                limited(2e-3, partial(multiply_until, end))
            assert time.monotonic() < end
            assert gc.isenabled()
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(callback)


PROFILED = """
import sys
from vipnp.verify.budget import OutOfTimeError, limited

def swallows(kind):
    try:
        while True:
            pass
    except kind:
        pass

limited(10, lambda: None)
for kind in (OutOfTimeError, BaseException):
    limited(0.05, lambda: swallows(kind))
sys.setprofile(lambda *_: None)
(lambda: 1)()
sys.setprofile(None)
"""


def test_a_profiler_runs_after_a_time_limit() -> None:
    """It never came back while an exception was withdrawn that CPython still believed to be pending."""
    subprocess.run([sys.executable, "-c", PROFILED], check=True, timeout=60)


def leaves(xp: Any, x: Any) -> Any:
    sys.exit(0)


def leaves_in_the_pullback(xp: Any, x: Any) -> Any:
    return x + 1, lambda dy: sys.exit(0)


def recurses(xp: Any, x: Any) -> Any:
    return recurses(xp, x)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (leaves, "the forward raised SystemExit"),
        (leaves_in_the_pullback, "the pullback raised SystemExit"),
        (recurses, "the forward raised RecursionError"),
    ],
)
def test_ops_that_end_the_program(op: Any, message: str) -> None:
    report = verify(op, [X])
    assert not report.ok
    assert message in str(report)


def test_an_empty_y_is_no_pass() -> None:
    report = verify(lambda xp, x: (x[:0] * 2, lambda dy: (0 * x,)), [X])
    assert not report.ok
    assert "y has no entries" in next(row.detail for row in report.rows if row.rung == "differences")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed: got -1, expected an integer >= 0"),
        ({"seed": 0.5}, TypeError, "seed: got 0.5, expected an integer"),
        ({"seed": True}, TypeError, "seed: got True, expected an integer"),
        ({"kwargs": 3}, TypeError, "kwargs: got 3, expected a mapping from names to constants"),
        ({"seconds": 0}, ValueError, "seconds: got 0, expected a positive number"),
        ({"seconds": "1"}, ValueError, "seconds: got '1', expected a positive number"),
        ({"definition": 3}, TypeError, "definition: got 3, expected a function of the arguments of op without xp"),
        ({"twin": "gelu"}, TypeError, "twin: got 'gelu', expected a function"),
        ({"hard": "no"}, TypeError, "hard: got 'no', expected True or False"),
        ({"one_shot": 1}, TypeError, "one_shot: got 1, expected True or False"),
        ({"seconds": 10**400}, ValueError, "seconds: got int, expected a positive number"),
        (
            {"kwargs": {"lock": threading.Lock()}},
            TypeError,
            "gelu, constant lock: got lock, expected something that copy.deepcopy can copy",
        ),
    ],
)
def test_bad_options(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        verify(ops.gelu, [X], **options)


def test_a_seed_may_be_a_numpy_integer() -> None:
    assert verify(ops.gelu, [X], seed=np.int64(3), rungs=["complex_step"]).ok  # type: ignore[arg-type]


def test_the_time_limit_does_not_cut_off_an_import() -> None:
    """A fresh process, in which nothing is imported yet: half of PyTorch would fail every later rung."""
    program = (
        "import numpy as np\nfrom vipnp.verify import verify\n"
        "op = lambda xp, x: (x * x, lambda dy: (2 * x * dy,))\n"
        "x = np.array([[1.5, -0.25]])\n"
        "verify(op, [x], twin=lambda x: x * x, rungs=['pytorch', 'proof'], seconds=0.05)\n"
        "print(verify(op, [x], twin=lambda x: x * x, rungs=['pytorch', 'proof'], seconds=None).totals)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'PASS': 3, 'FAIL': 0, 'INCONCLUSIVE': 0}"


def test_what_stops_every_clause_is_said_once_with_the_line_it_comes_from() -> None:
    def broken(xp: Any, x: Any) -> Any:
        return xp.matmul(x, x), lambda dy: (dy,)  # (2, 3) by (2, 3)

    (row,) = verify(broken, [X], rungs=["contract"]).failures
    line = broken.__code__.co_firstlineno + 1
    assert row.detail.startswith("shapes and dtypes, writes nothing, shares no memory, repeatable, ")
    assert row.detail.count("the forward raised ValueError: ") == 1
    assert row.detail.endswith(f" (test_bad_input.py, line {line})")


def test_the_line_of_a_pullback_of_several_values() -> None:
    def broken(xp: Any, x: Any) -> Any:
        return (x * 2, x * 3), lambda dy: (xp.matmul(*dy),)

    (row,) = verify(broken, [X], rungs=["differences"]).failures
    assert row.detail.endswith(f" (test_bad_input.py, line {broken.__code__.co_firstlineno + 1})")


def test_an_op_that_is_not_of_python_has_no_line() -> None:
    (row,) = verify(divmod, [X], rungs=["differences"]).failures
    assert "the forward raised TypeError: " in row.detail
    assert " line " not in row.detail
