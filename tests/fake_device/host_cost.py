"""`python -m tests.fake_device.host_cost [model]`: the host cost of a training step, on a device that does nothing.

Of a step as it comes, and of one that starts a CUDA graph.

The CuPy wheel runs over libraries whose functions return at once, with memory that nobody touches. Printed are the
calls of a step after two others, its milliseconds of processor time, and the instructions that the host executes for
it, which `valgrind --tool=callgrind` counts. No figure here says how long a GPU takes.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vipnp.models import list_models

NOTHING = """
#include <stddef.h>
#include <valgrind/callgrind.h>
long launches, products, uploads, graphs;
int cudaGetDevice(int* device) { *device = 0; return 0; }
int cudaSetDevice(int device) { return 0; }
int cudaMalloc(void** address, size_t size) {
    static char* next = (char*)0x100000000000;
    *address = next;
    next += (size + 511) / 512 * 512;
    return 0;
}
int cudaFree(void* address) { return 0; }
int cudaStreamCreateWithFlags(void** stream, unsigned flags) { *stream = &graphs; return 0; }
int cudaStreamDestroy(void* stream) { return 0; }
int cudaStreamWaitEvent(void* stream, void* event, unsigned flags) { return 0; }
int cudaStreamBeginCapture(void* stream, int mode) { return 0; }
int cudaStreamEndCapture(void* stream, void** graph) { *graph = &graphs; return 0; }
int cudaGraphInstantiate(void** made, void* graph, unsigned long long flags) { *made = graph; return 0; }
int cudaGraphDestroy(void* graph) { return 0; }
int cudaGraphExecDestroy(void* graph) { return 0; }
int cudaGraphLaunch(void* graph, void* stream) { ++graphs; return 0; }
int cudaStreamIsCapturing(void* stream, int* status) { *status = 0; return 0; }
int cudaEventCreateWithFlags(void** event, unsigned flags) { *event = &launches; return 0; }
int cudaEventRecord(void* event, void* stream) { return 0; }
int cudaEventQuery(void* event) { return 0; }
int cudaEventDestroy(void* event) { return 0; }
int cudaMemcpyAsync(void* to, void* from, size_t size, int kind, void* stream) { uploads += kind == 1; return 0; }
int cuLaunchKernel() { ++launches; return 0; }
int cublasCreate_v2(void** handle) { *handle = &products; return 0; }
int cublasDestroy_v2(void* handle) { return 0; }
int cublasSetWorkspace_v2(void* handle, void* workspace, size_t size) { return 0; }
int cublasSetStream_v2(void* handle, void* stream) { return 0; }
int cublasGemmEx() { ++products; return 0; }
void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void end(void) { CALLGRIND_STOP_INSTRUMENTATION; }
"""


def do_nothing() -> ctypes.CDLL:
    """Put functions that return at once in the place of the fake device's; a library with their counters."""
    from cupy_backends.cuda.api import runtime

    from tests.fake_device.libraries import CUBLAS_LIBRARY, address_of, inside, jump, overwrite

    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "nothing.c", Path(folder) / "nothing.so"
        source.write_text(NOTHING)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-o", str(made), str(source)], check=True)
        library = ctypes.CDLL(str(made))
    addresses = inside(runtime, "cuda")
    loaded_from = {"cuLaunchKernel": "libcuda.so.1", "cublas": CUBLAS_LIBRARY}
    for name in re.findall(r"^int (\w+)\(", NOTHING, re.MULTILINE):
        loaded = next((file for prefix, file in loaded_from.items() if name.startswith(prefix)), None)
        overwrite(address_of(ctypes.CDLL(loaded), name) if loaded else addresses[name], jump(address_of(library, name)))
    return library


def measure(model: str, graph: bool) -> None:
    """Print the counts; under callgrind its instructions are those of one step."""
    from tests.fake_device.install import install_libraries

    install_libraries()
    import numpy as np

    from tests.backends.cupy.training import Training
    from vipnp.backends import get_backend
    from vipnp.models import get_config
    from vipnp.train import TrainingStep

    training = Training(get_backend("cupy"), get_config(model))
    training_step = TrainingStep(training.model, training.optimizer, label_smoothing=0.1, max_norm=1.0, graph=graph)
    library = do_nothing()
    counters = [ctypes.c_long.in_dll(library, name) for name in ("launches", "products", "uploads", "graphs")]

    def step() -> Any:
        with np.errstate(all="ignore"):
            return training_step(training.images, training.labels, lr=1e-3, rng=training.rng)

    step(), step()
    before = [counter.value for counter in counters]
    library.begin()
    start = time.process_time()
    step()
    milliseconds = 1e3 * (time.process_time() - start)
    library.end()
    launches, products, uploads, graphs = (counter.value - held for counter, held in zip(counters, before, strict=True))
    print(
        f"{launches} kernels, {products} products, {graphs} graphs, {uploads} uploads, "
        f"{milliseconds:.1f} ms of processor time"
    )


def main(model: str) -> None:
    """All measurements."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    options = ("--tool=callgrind", "--instr-atstart=no", "--smc-check=all", "--callgrind-out-file=/dev/null")
    for graph, title in ((False, "as it comes"), (True, "as a graph")):
        script = f"from tests.fake_device.host_cost import measure; measure({model!r}, {graph})"
        measured = [sys.executable, "-c", script]
        plain = subprocess.run(measured, env=environment, check=True, capture_output=True, text=True)
        print(f"{model} {title}: {plain.stdout.strip()}", flush=True)
        counted = subprocess.run(
            ["valgrind", *options, *measured], env=environment, check=True, capture_output=True, text=True
        )
        found = re.search(r"Collected\s*: (\d+)", counted.stderr)
        print(f"{int(found[1]) / 1e6:.2f} million instructions of the host" if found else counted.stderr[-2000:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list_models(), default="vip_s7")
    main(parser.parse_args().model)
