"""The emulator itself: what it must notice in a kernel, one small kernel for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cuda_emulator import emulator
from tests.fake_device.errors import DeviceError
from tests.fake_device.memory import Memory, bytes_at

pytestmark = pytest.mark.kernels

KERNELS = """
template <typename A> __global__ void reverse(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    if (threadIdx.x < n) held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = held[n - 1 - threadIdx.x];
}
template <typename A> __global__ void race_read(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = held[n - 1 - threadIdx.x];
}
template <typename A> __global__ void race_in_a_warp(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = held[threadIdx.x ^ 1];
}
template <typename A> __global__ void warp_barrier(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = held[threadIdx.x ^ 1];
}
template <typename A> __global__ void warp_barrier_for_two_warps(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = held[threadIdx.x ^ 32];
}
template <typename A> __global__ void race_write(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x / 2] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = held[threadIdx.x / 2];
}
template <typename A> __global__ void race_write_after_read(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = held[n - 1 - threadIdx.x];
    held[threadIdx.x] = 0;
}
template <typename A> __global__ void divergent_barrier(const A* x, A* y, int n) {
    if (threadIdx.x < 32) __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}
template <typename A> __global__ void barriers_of_two_places(const A* x, A* y, int n) {
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}
template <typename A> __global__ void barrier_after_return(const A* x, A* y, int n) {
    if (threadIdx.x >= 40) return;
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}
template <typename A> __global__ void divergent_shuffle(const A* x, A* y, int n) {
    A value = x[threadIdx.x];
    if (threadIdx.x % 2) value = __shfl_xor_sync(0xffffffffu, value, 1);
    y[threadIdx.x] = value;
}
template <typename A> __global__ void shuffle(const A* x, A* y, int n) {
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 5);
}
template <typename A> __global__ void shuffle_of_half_a_mask(const A* x, A* y, int n) {
    y[threadIdx.x] = __shfl_xor_sync(0xffffu, x[threadIdx.x], 1);
}
template <typename A> __global__ void shared_index(const A* x, A* y, int n) {
    SHARED(A, held, 63);
    held[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = held[threadIdx.x];
}
template <typename A> __global__ void unwritten_shared(const A* x, A* y, int n) {
    SHARED(A, held, 64);
    if (threadIdx.x != 7) held[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = held[threadIdx.x];
}
template <typename A> __global__ void beside(const A* x, A* y, int n) {
    y[threadIdx.x == 63 ? n : threadIdx.x] = x[threadIdx.x];
}
template <typename A> __global__ void blocks(const A* x, A* y, int n) {
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    if (threadIdx.x == 0) y[block] = A(blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z);
}
"""
NAMES = [line.split("void ")[1].split("(")[0] for line in KERNELS.splitlines() if line.startswith("template")]


@pytest.fixture(scope="module")
def loaded() -> dict[str, emulator.Kernel]:
    kernels = emulator.load(KERNELS, [f"{name}<float>" for name in NAMES])
    return {name.split("<")[0]: kernel for name, kernel in kernels.items()}


def launch(kernel: emulator.Kernel, n: int = 64, grid: tuple[int, ...] = (1,)) -> np.ndarray:
    size = max(64, int(np.prod(grid)))
    memory = Memory(1 << 20)
    x, y = memory.allocate(4 * size, 0), memory.allocate(4 * size, 0)
    bytes_at(x, 4 * size).view(np.float32)[:] = np.arange(size)
    kernel(grid, (64,), [*(address.to_bytes(8, "little") for address in (x, y)), np.int32(n).tobytes()])
    for address in (x, y):
        memory.check_guards(address, 4 * size)
    return bytes_at(y, 4 * size).view(np.float32).copy()


def test_right_kernels(loaded: dict[str, emulator.Kernel]) -> None:
    lanes = np.arange(64)
    np.testing.assert_array_equal(launch(loaded["reverse"]), lanes[::-1])
    half = launch(loaded["reverse"], 40)
    np.testing.assert_array_equal(half[:40], lanes[:40][::-1])
    assert np.isnan(half[40:]).all(), "memory nobody wrote is NaN"
    np.testing.assert_array_equal(launch(loaded["warp_barrier"]), lanes ^ 1)
    np.testing.assert_array_equal(launch(loaded["shuffle"]), lanes ^ 5)
    grid = launch(loaded["blocks"], grid=(3, 4, 2))[:24].reshape(2, 4, 3)
    z, y, x = np.indices(grid.shape)
    np.testing.assert_array_equal(grid, x + 10 * y + 100 * z)
    assert loaded["reverse"].parameters == ("float32*", "float32*", "int32")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("race_read", "race in shared memory: read without a barrier after a write|write without a barrier"),
        ("race_in_a_warp", "race in shared memory"),
        ("warp_barrier_for_two_warps", "race in shared memory"),
        ("race_write", "race in shared memory: two writes without a barrier"),
        ("race_write_after_read", "race in shared memory"),
        ("divergent_barrier", "exited while others wait at __syncthreads|after a thread of the block has exited"),
        ("barriers_of_two_places", "__syncthreads reached at line .* while others wait at line"),
        ("barrier_after_return", "after a thread of the block has exited|exited while others wait"),
        ("divergent_shuffle", "exited while others wait at a warp barrier|a shuffle needs all 32 lanes"),
        ("shuffle_of_half_a_mask", "a shuffle needs all 32 lanes"),
        ("shared_index", "index 63 into shared memory of 63 elements"),
        ("beside", "something was written beside an array"),
    ],
)
@pytest.mark.parametrize("seed", range(1, 9))
def test_wrong_kernels(
    loaded: dict[str, emulator.Kernel], monkeypatch: pytest.MonkeyPatch, name: str, message: str, seed: int
) -> None:
    """Whatever the order of the lanes: no mistake here needs luck to be seen."""
    monkeypatch.setenv("VIPNP_EMULATOR_SEED", str(seed))
    with pytest.raises((emulator.KernelError, DeviceError), match=message):
        launch(loaded[name])
    np.testing.assert_array_equal(launch(loaded["reverse"]), np.arange(64)[::-1])


def test_shared_memory_nobody_wrote_is_nan(loaded: dict[str, emulator.Kernel]) -> None:
    launch(loaded["reverse"])
    assert list(np.flatnonzero(np.isnan(launch(loaded["unwritten_shared"])))) == [7]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("y[n] = x[0];", "heap-buffer-overflow"),
        ("y[0] = x[n + 3];", "heap-buffer-overflow"),
        ("y[0] = n + 2147483600;", "signed integer overflow"),
        ("y[0] = reinterpret_cast<const Pack*>(x + 1)->a;", "misaligned address"),
    ],
)
def test_the_sanitizers_are_awake(fault: str, message: str) -> None:
    """In a process of its own, which a sanitizer ends."""
    source = (
        "struct alignas(16) Pack { float a, b, c, d; };"
        f"template <typename A> __global__ void fault(const A* x, A* y, int n) {{ {fault} }}"
    )
    program = f"""
import numpy as np
from tests.cuda_emulator import emulator
from tests.fake_device.memory import Memory
memory = Memory(1 << 20)
x, y = memory.allocate(256, 0), memory.allocate(256, 0)
kernel = emulator.load({source!r}, ["fault<float>"])["fault<float>"]
addresses = [address.to_bytes(8, "little") for address in (x, y)]
kernel((1,), (32,), [*addresses, np.int32(64).tobytes()])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=emulator.sanitizer_environment(),
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 99, done.stderr
    assert message in done.stderr
