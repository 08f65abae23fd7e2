"""What the backend needs of the machine: a device, its driver, and the libraries of CUDA."""

from __future__ import annotations

from importlib import import_module
from typing import Any

OLDEST_COMPUTE_CAPABILITY = 75

CUDA_INSUFFICIENT_DRIVER = 35

PROBE = '#include <cuda_bf16.h>\n#include <cuda_fp16.h>\nextern "C" __global__ void probe() {}\n'


def check_device(cupy: Any, device: int) -> None:
    """Raise RuntimeError where there is no driver, no device or one too old, ValueError for an index of none."""
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status != CUDA_INSUFFICIENT_DRIVER:
            raise RuntimeError(f'backend "cupy": found no CUDA device ({error})') from error
        driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
        if driver == 0:
            raise RuntimeError('backend "cupy": found no NVIDIA driver on this machine') from error
        raise RuntimeError(
            f'backend "cupy": the driver supports CUDA {_version(driver)}, this CuPy was built for CUDA '
            f"{_version(needed)}: update the driver, or install the CuPy of CUDA {driver // 1000} "
            f'(pip uninstall cupy-cuda{needed // 1000}x; pip install "vipnp[cuda{driver // 1000}]")'
        ) from error
    if count == 0:
        raise RuntimeError('backend "cupy": found no CUDA device')
    if not 0 <= device < count:
        raise ValueError(f"device: got {device}, expected 0 to {count - 1}: there are {count} CUDA devices")
    capability = cupy.cuda.Device(device).compute_capability
    if int(capability) < OLDEST_COMPUTE_CAPABILITY:
        raise RuntimeError(
            f'backend "cupy": device {device} has compute capability {capability}, the kernels need '
            f"{OLDEST_COMPUTE_CAPABILITY} or newer"
        )


def check_libraries(cupy: Any, precision: str) -> None:
    """Raise ImportError without cuBLAS or what `precision` needs, RuntimeError without NVRTC or CUDA's headers."""
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    if precision == "bfloat16":
        try:
            import_module("ml_dtypes")
        except ImportError as error:
            raise ImportError(f"precision 'bfloat16' needs ml_dtypes: pip install \"vipnp[cuda{major}]\"") from error
    try:
        # The package's __getattr__ loads pip's cuBLAS first; importing the module goes past it.
        _ = import_module("cupy_backends.cuda.libs").cublas
    except ImportError as error:
        raise ImportError(
            f'backend "cupy": cuBLAS of CUDA {major} is missing: pip install "cupy-cuda{major}x[ctk]", or install the '
            f"CUDA toolkit ({error})"
        ) from error
    try:
        cupy.cuda.nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        raise RuntimeError(
            f'backend "cupy": the compiler NVRTC of CUDA {major} is missing: pip install "vipnp[cuda{major}]" ({error})'
        ) from error
    try:
        cupy.RawModule(code=PROBE).get_function("probe")
    except (RuntimeError, cupy.cuda.compiler.CompileException) as error:
        raise RuntimeError(
            f'backend "cupy": NVRTC finds no CUDA headers (cuda_fp16.h, cuda_bf16.h): pip install "vipnp[cuda{major}]" '
            f"({error})"
        ) from error


def _version(code: int) -> str:
    return f"{code // 1000}.{code % 1000 // 10}"
