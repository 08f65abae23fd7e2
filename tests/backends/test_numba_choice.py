"""The measured choice of the library that multiplies: what is chosen, how it is kept, what a bad file does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import as_nobody
from vipnp import create_model, get_backend
from vipnp.backends.numba import choice, products
from vipnp.backends.numba.choice import KINDS, by_kind, fastest, file_of, kept, kind_of, read
from vipnp.backends.numpy.blas import default_product

MACHINE = {"processor": "this", "one": "1.0", "two": "2.0"}


def named(asked: list[str], name: str) -> Any:
    """A product that tells who multiplied."""

    def product(a: Any, b: Any, out: Any) -> Any:
        asked.append(name)
        return np.matmul(a, b, out=out)

    return product


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[str]]:
    """Two libraries, of which the second is measured as the faster for the products of a batch; who multiplied."""
    asked: list[str] = []
    measured = {kind: "two" if kind.endswith("a batch") else "one" for kind in KINDS}
    monkeypatch.setattr(choice, "measured", lambda found: measured)
    return {"one": named(asked, "one"), "two": named(asked, "two")}, asked


def linear(pattern: int, tokens: int) -> tuple[Any, Any, Any]:
    return choice.factors(choice.PATTERNS[pattern], tokens, 5, 7)


@pytest.mark.parametrize("pattern", range(3))
@pytest.mark.parametrize(("tokens", "size"), [(2, 0), (32, 0), (33, 1), (512, 1), (513, 2), (4096, 2)])
def test_the_kind_of_a_product(pattern: int, tokens: int, size: int) -> None:
    a, b, out = linear(pattern, tokens)
    assert a.shape[1] == b.shape[0]
    assert out.shape == (len(a), b.shape[1])
    assert kind_of(a, b) == KINDS[3 * pattern + size] == f"{choice.PATTERNS[pattern]}, {choice.SIZES[size][0]}"


def test_every_kind_goes_to_its_library(two: Any) -> None:
    found, asked = two
    product = by_kind(found, {kind: "two" if kind == KINDS[4] else "one" for kind in KINDS})
    for pattern in range(3):
        for tokens in (8, 256, 1024):
            product(*linear(pattern, tokens))
    assert asked == ["one"] * 4 + ["two"] + ["one"] * 4


def test_only_a_clear_lead_is_one() -> None:
    assert fastest({"a": 1.0, "b": 0.98}) == "a"
    assert fastest({"a": 1.0, "b": 0.96}) == "b"
    assert fastest({"a": 1.0, "b": 0.96, "c": 0.94}) == "b"
    assert fastest({"a": 1.0, "b": 1.1, "c": 0.5}) == "c"


def test_the_faster_library_is_measured_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """One multiplies once, the other nine times."""
    monkeypatch.setattr(choice, "SHAPES", ((64, 96),))

    def slow(a: Any, b: Any, out: Any) -> Any:
        for _ in range(9):
            default_product()(a, b, out)
        return out

    assert choice.measured({"slow": slow, "fast": default_product()}) == dict.fromkeys(KINDS, "fast")


def test_it_is_measured_once(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not there yet"
    first, source = kept(two[0], MACHINE, folder)
    file = file_of(folder, MACHINE)
    assert source == f"measured, {file}"
    assert first is not None
    assert {kind for kind, name in first.items() if name == "two"} == {k for k in KINDS if k.endswith("a batch")}
    monkeypatch.setattr(choice, "measured", lambda found: pytest.fail("it was measured again"))
    assert kept(two[0], MACHINE, folder) == (first, source)
    assert [path.name for path in folder.iterdir()] == [file.name]


def test_a_file_system_without_hard_links(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    first, source = kept(two[0], MACHINE, tmp_path)
    assert source == f"measured, {file_of(tmp_path, MACHINE)}"
    assert first == read(file_of(tmp_path, MACHINE), ["one", "two"])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("changed", [{"processor": "other"}, {"one": "1.1"}, {"three": "1.0"}])
def test_another_machine_or_library_has_a_file_of_its_own(changed: dict[str, str], tmp_path: Path) -> None:
    assert file_of(tmp_path, {**MACHINE, **changed}) != file_of(tmp_path, MACHINE)


DAMAGED = {
    "empty": "",
    "half": '{"machine": {}, "choi',
    "no object": "[]",
    "no choice": "{}",
    "other kinds": json.dumps({"choice": {"x": "one"}}),
    "another library": json.dumps({"choice": dict.fromkeys(KINDS, "three")}),
    "no name": json.dumps({"choice": {kind: ["one"] for kind in KINDS}}),
    "bytes": "\udcff",
    "nested": "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named_and_left(damage: str, two: Any, tmp_path: Path) -> None:
    file = file_of(tmp_path, MACHINE)
    file.write_bytes(DAMAGED[damage].encode(errors="surrogateescape"))
    before = file.read_bytes()
    with pytest.warns(RuntimeWarning, match=rf"{file.name}: got .*the order of products=\"ranked\" holds; remove"):
        assert kept(two[0], MACHINE, tmp_path) == (None, f"not measured: {file} cannot be read")
    assert file.read_bytes() == before


def test_a_pipe_in_the_place_of_the_file_is_not_waited_for(two: Any, tmp_path: Path) -> None:
    file = file_of(tmp_path, MACHINE)
    os.mkfifo(file)
    with pytest.warns(RuntimeWarning, match="it is no regular file"):
        assert kept(two[0], MACHINE, tmp_path)[0] is None


def test_a_folder_that_may_not_be_looked_into(two: Any, open_folder: Path) -> None:
    (open_folder / "locked").mkdir(mode=0o700)
    with as_nobody(), pytest.warns(RuntimeWarning, match="got PermissionError"):
        choice, source = kept(two[0], MACHINE, open_folder / "locked")
    assert choice is None
    assert source.endswith("cannot be written")


def test_without_a_folder_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "measured", lambda found: pytest.fail("it was measured in vain"))
    assert kept({}, MACHINE, None) == (None, "not measured: there is no folder to keep the choice in")
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match="expected the measured choice .*set NUMBA_CACHE_DIR to a folder"):
        assert kept({}, MACHINE, tmp_path / "file")[0] is None


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(choice, "measured", lambda found: pytest.fail("it was measured in vain"))
    monkeypatch.setattr(Path, "touch", refused)
    file = file_of(tmp_path, MACHINE)
    with pytest.warns(RuntimeWarning, match="PermissionError"):
        assert kept({}, MACHINE, tmp_path) == (None, f"not measured: {file} cannot be written")
    assert list(tmp_path.iterdir()) == []


def test_of_two_at_once_the_first_decides_for_both(two: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both find no file and measure, each something else; the barrier lets nobody write before both have begun."""
    both = threading.Barrier(2)

    def measured(found: Any) -> dict[str, str]:
        return dict.fromkeys(KINDS, ("one", "two")[both.wait()])

    monkeypatch.setattr(choice, "measured", measured)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(kept(two[0], MACHINE, tmp_path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    assert results[0][0] == read(file_of(tmp_path, MACHINE), ["one", "two"])
    assert len(list(tmp_path.iterdir())) == 1


PROGRAM = """
import hashlib, numpy as np, vipnp
xp = vipnp.get_backend("numba", shards=2)
a, b = np.random.default_rng(0).standard_normal((2, 256, 256), np.float32)
print(xp.notes[0], hashlib.sha256(xp.shard.product(a, b.T, np.empty_like(a)).tobytes()).hexdigest())
"""


@pytest.mark.long
def test_two_processes_at_once_give_the_same_bits(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM]
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (process.communicate()[0] for process in started)
    assert [process.returncode for process in started] == [0, 0]
    assert first == second
    assert "kinds of products, measured, " in first
    assert len(list(tmp_path.rglob("products-*.json"))) == 1


def test_the_summary_says_who_multiplies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def model(**options: Any) -> str:
        backend = get_backend("numba", shards=1, **options)
        small = create_model("vip_s7", layers=(1, 1, 1, 1), image_size=28, num_classes=5, backend=backend)
        return str(small.summary()).splitlines()[-1]

    assert model(products="openblas") == "products: openblas"
    assert model(products="ranked") == "products: ranked"
    monkeypatch.setattr(products, "cache_folder", lambda kernel: tmp_path)
    monkeypatch.setattr(choice, "measured", lambda found: dict.fromkeys(KINDS, "openblas"))
    last = model()
    (file,) = tmp_path.iterdir()
    assert last == f"products: openblas for 9 of 9 kinds of products, measured, {file}"
    monkeypatch.setattr(products, "libraries", lambda: {"openblas": default_product()})
    assert model() == "products: openblas, the only one that is installed"
