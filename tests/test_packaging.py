"""What an installed copy promises: a light import, whole wheels, imports in one direction, no path of a machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = ("torch", "cupy", "numba", "matplotlib", "sklearn", "typer", "rich", "flint", "sympy")


def tracked_files() -> list[str]:
    """The files under version control, as paths from the root of the project."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def python(*arguments: str) -> str:
    # with byte code that is kept, as on a user's machine: without, every run compiles all modules again
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light() -> None:
    code = "import sys, vipnp; print(*{name.partition('.')[0] for name in sys.modules})"
    assert not set(python("-c", code).split()) & set(HEAVY)


def test_import_takes_at_most_300_ms() -> None:
    """Processor time, which is the wall clock of a quiet machine; on a busy one it grows, hence the many tries."""
    code = "import time; began = time.process_time(); import vipnp; print(time.process_time() - began)"
    assert any(float(python("-c", code)) <= 0.3 for _ in range(20))


def test_import_takes_at_most_100_ms_more_than_that_of_numpy() -> None:
    code = "import numpy, time; began = time.process_time(); import vipnp; print(time.process_time() - began)"
    assert any(float(python("-c", code)) <= 0.1 for _ in range(20))


def test_a_model_needs_nothing_but_the_core_dependencies() -> None:
    """Every optional library is made impossible to import; then a small model trains a step."""
    code = f"""
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None
import numpy as np, vipnp
from vipnp.optim import AdamW
model = vipnp.create_model("vip_s7", layers=(1,), embed_dims=(8,), segments=(2,), transitions=(False,),
                           patch_size=2, image_size=(8, 6), num_classes=3)
loss, grads = model.loss_and_grads(np.ones((2, 3, 8, 6), "float32"), np.array([0, 2]), rng=np.random.default_rng(0))
model.set_parameters(AdamW(model.backend).update(model.parameters(), grads, lr=1e-3))
print(float(loss) > 0, len(grads))
"""
    passed, count = python("-c", code).split()
    assert passed == "True"
    assert int(count) == 23


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str], list[str]]:
    """What is under version control in the package, and the names in its wheel and in its source archive."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    files = [name for name in tracked_files() if name.startswith("vipnp/")]
    for name in [*files, "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "tests/test_packaging.py"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    for kind in ("wheel", "sdist"):
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(built)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("vipnp-*.whl")
    (archive,) = built.glob("vipnp-*.tar.gz")
    with tarfile.open(archive) as opened:
        members = [member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()]
    return files, zipfile.ZipFile(wheel).namelist(), members


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(
    archives: tuple[list[str], list[str], list[str]],
) -> None:
    files, names, _ = archives
    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(files)
    assert "vipnp/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_archive_holds_what_the_wheel_is_built_from_and_nothing_else(
    archives: tuple[list[str], list[str], list[str]],
) -> None:
    files, _, names = archives
    made = {"PKG-INFO", "setup.cfg"}
    kept = {name for name in names if not name.startswith("vipnp.egg-info/")} - made
    assert kept == {*files, "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md"}


def test_no_extra_brings_two_cuda_wheels() -> None:
    extras = PROJECT["optional-dependencies"]
    whole = {"numba", "onednn", "mkl", "mpi", "train", "data", "audit", "tensorboard"}
    assert set(extras) == whole | {"cuda12", "cuda13", "benchmark", "docs", "test", "all"}
    assert set(re.findall(r"\w+", extras["all"][0])) == {"vipnp", *whole}
    for name, requirements in extras.items():
        cuda = [requirement for requirement in requirements if "cupy" in requirement or "cuda" in requirement]
        assert bool(cuda) == (name in ("cuda12", "cuda13"))


def test_core_dependencies_are_three() -> None:
    assert {re.split(r"[<>=~]", requirement)[0] for requirement in PROJECT["dependencies"]} == {
        "numpy",
        "scipy",
        "array-api-compat",
    }


def test_constraints_pin_every_direct_requirement() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split("\n")
    }
    wanted = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    names = {re.split(r"[<>=~;\[ ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    unpinned = names - pinned - {"vipnp"}
    assert not unpinned


PUBLIC_TORCH = {
    # torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl requires cuda-toolkit 13.0.3 on Linux, and that these.
    "torch": "2.13.0",
    "nvidia-cuda-nvrtc": "13.0.88",
    "nvidia-cuda-runtime": "13.0.96",
}


def test_constraints_agree_with_the_public_wheel_of_pytorch() -> None:
    """It pins libraries of CUDA to exact versions; another one here and pip finds no solution on x86-64 Linux."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line)
    assert {name: pinned[name] for name in PUBLIC_TORCH} == PUBLIC_TORCH


@pytest.mark.parametrize("extra", ["cuda12", "cuda13"])
def test_cupy_is_new_enough_to_keep_compiled_kernels(extra: str) -> None:
    """Before 14.2 CuPy compiles modules with name expressions anew in every process."""
    (wanted,) = (r for r in PROJECT["optional-dependencies"][extra] if r.startswith("cupy"))
    assert ">=14.2" in wanted


PLANTED = {
    "ops/planted.py": ("from vipnp.layers import mlp\n", "vipnp.ops.planted -> vipnp.layers"),
    "layers/planted.py": ("import vipnp.models\n", "vipnp.layers.planted -> vipnp.models"),
    "models/planted.py": ("import vipnp.train\n", "vipnp.models.planted -> vipnp.train"),
    "train/planted.py": ("import vipnp.verify\n", "vipnp.train.planted -> vipnp.verify"),
    "verify/planted.py": ("import vipnp.audit\n", "vipnp.verify.planted -> vipnp.audit"),
    "optim/planted.py": ("import vipnp.backends\n", "vipnp.optim.planted -> vipnp.backends"),
    "core/planted.py": ("import vipnp.ops\n", "vipnp.core.planted -> vipnp.ops"),
    "audit/planted.py": ("import vipnp.cli\n", "vipnp.audit.planted -> vipnp.cli"),
    "data/upward.py": ("import vipnp.verify\n", "vipnp.data.upward -> vipnp.verify"),
    "checkpoint/planted.py": ("import vipnp.train\n", "vipnp.checkpoint.planted -> vipnp.train"),
    "backends/planted.py": ("def f() -> None:\n    import vipnp.models\n", "vipnp.backends.planted -> vipnp.models"),
    "data/planted.py": ("import torch\n", "vipnp.data.planted -> torch"),
}


def test_the_linter_sees_imports_that_go_up(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "vipnp", tmp_path / "vipnp", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, (source, _) in PLANTED.items():
        (tmp_path / "vipnp" / name).write_text(source)
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert [chain for _, chain in PLANTED.values() if chain not in done.stdout] == []


@pytest.mark.parametrize("library", ["numpy", "scipy.special", "cupy", "numba"])
@pytest.mark.parametrize(
    ("file", "allowed"),
    [
        ("vipnp/ops/linear.py", False),
        ("vipnp/layers/mlp.py", False),
        ("vipnp/models/model.py", False),
        ("vipnp/models/initialization.py", True),
        ("vipnp/backends/numpy/backend.py", True),
    ],
)
def test_the_linter_sees_array_libraries_in_ops_layers_and_models(library: str, file: str, allowed: bool) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "check", "--quiet", "--select", "TID251", "--stdin-filename", file, "-"],
        input=f"def f():\n    import {library}\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == allowed
    assert ("TID251" in done.stdout) == (not allowed)


def test_no_path_of_a_machine_is_committed() -> None:
    folders = "|".join(("ro" + "ot", "wo" + "rk", "ho" + "me", "tm" + "p", "Us" + "ers"))
    leak = re.compile(rf"(?<![\w.$}}])/(?:{folders})/\w")
    leaks = [
        f"{name}:{number}: {line.strip()}"
        for name in tracked_files()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), start=1)
        if leak.search(line)
    ]
    assert leaks == []


def test_no_file_of_the_package_is_longer_than_400_lines() -> None:
    files = [
        path for ending in ("py", "cu", "cuh", "js", "css", "html") for path in (ROOT / "vipnp").rglob(f"*.{ending}")
    ]
    assert len(files) > 100
    long = {path.name: count for path in files if (count := path.read_text(encoding="utf-8").count("\n")) > 400}
    assert not long


def test_no_module_of_ours_is_imported_by_a_string_but_by_the_registry() -> None:
    """The linter, which holds the order of imports, sees no strings."""
    by_string = re.compile(r"""import_module\(\s*f?["']vipnp\b""")
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "vipnp").rglob("*.py")}
    assert [path.relative_to(ROOT) for path, text in files.items() if by_string.search(text)] == []
