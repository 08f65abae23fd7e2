"""Every instantiation of every CUDA kernel compiled by NVRTC for real architectures: no spills."""

from __future__ import annotations

import time

import pytest

from tests.cuda_emulator.nvrtc import Usage, compiled
from vipnp.backends.cupy import kernels

pytestmark = pytest.mark.kernels

ARCHITECTURES = (75, 80, 90, 100, 120)

LARGEST_STATIC_SHARED_MEMORY = 48 * 1024


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_instantiation_compiles_without_spills(architecture: int) -> None:
    start = time.perf_counter()
    usages: dict[str, Usage] = {}
    for file in kernels.files():
        usages |= compiled(kernels.source(file), kernels.expressions(file), architecture, kernels.OPTIONS).usages
    assert list(usages) == [expression for _, expression in kernels.all_instantiations()]
    print(f"\nsm_{architecture}: {len(usages)} instantiations in {time.perf_counter() - start:.0f} s")
    print(f"  {'kernel':36s} {'number':>6s} {'registers':>9s} {'shared memory':>13s} {'spills':>6s}")
    for name in kernels.KERNELS:
        mine = [usage for expression, usage in usages.items() if expression.startswith(f"{name}<")]
        registers, shared, spills = (max(column) for column in zip(*mine, strict=True))
        print(f"  {name:36s} {len(mine):6d} {registers:9d} {shared:13d} {spills:6d}")
    assert {name: usage for name, usage in usages.items() if usage.spills} == {}
    assert {name: usage for name, usage in usages.items() if usage.shared > LARGEST_STATIC_SHARED_MEMORY} == {}


def test_a_spill_is_seen() -> None:
    """The reading of the compiler's report: a kernel that needs more registers than it is given."""
    source = """
    extern "C" __device__ float opaque(float);
    template <typename T> __global__ void __launch_bounds__(1024, 2) greedy(const T* x, T* y) {
        T value[64];
    #pragma unroll
        for (int i = 0; i < 64; ++i) value[i] = x[i * 1024 + threadIdx.x];
        __syncthreads();
    #pragma unroll
        for (int i = 0; i < 64; ++i) y[i * 1024 + threadIdx.x] = value[i] * value[63 - i];
    }
    """
    assert compiled(source, ["greedy<float>"], 90, ("--std=c++17",)).usages["greedy<float>"].spills > 0


def test_a_mistake_in_the_source_is_reported() -> None:
    with pytest.raises(RuntimeError, match="undefined"):
        compiled("template <typename T> __global__ void f(T* x) { *x = nothing; }", ["f<float>"], 90, ())
