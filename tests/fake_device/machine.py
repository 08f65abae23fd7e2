"""A machine with NVIDIA GPUs that are none: its memory, its streams, and how kernels and products run on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from tests.cuda_emulator.emulator import Kernel, KernelError
from tests.fake_device.errors import DeviceError, Status
from tests.fake_device.memory import POISON, Memory, bytes_at, slack, unwritten
from tests.fake_device.streams import Operation, Recorded, Stream, Timeline

PATIENCE = 120.0
"""Seconds that one rank waits for another."""

CAPABILITIES = (90, 90, 61)
"""Compute capability of each device; CuPy asks for it once."""

LARGEST_BLOCK, LARGEST_GRID = 1024, 65535

TYPES: dict[int, Any] = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
"""cudaDataType -> dtype."""

COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77

OPERANDS = {COMPUTE_32F: {0, 2, 14}, COMPUTE_64F: {1}, COMPUTE_32F_FAST_TF32: {0}}
"""Compute type of cuBLAS -> the types of A and B that it takes."""


class Factor(NamedTuple):
    """A column-major matrix in device memory, and whether its transpose is what is multiplied."""

    address: int
    type: int
    leading: int
    transposed: bool = False


class Graph(NamedTuple):
    """What a captured stream was asked for, and how many arrays memory pools had given by its end."""

    recorded: list[Recorded]
    gifts: int


class _Current(threading.local):
    device = 0


class Machine:
    """What the libraries of CUDA find.

    devices, driver : what they report; driver 0 is none, 13000 is one of CUDA 13.0.
    nvrtc, headers : whether NVRTC is there, and finds CUDA's headers.
    launches : names of the kernels since `forget`. streams : the handle of the stream of each.
    products : (compute type, dtype of the result) of each matrix product.
    waits : one entry for every time the host waited for the device. uploads : how many arrays it sent there.
    graph_launches : how many graphs it started.
    faults : what went wrong, the kernel's name before the reason.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.posted = threading.Condition(self.lock)
        """A rank has asked for something that another may wait for."""
        self.memory = Memory(1 << 30)
        self.events: dict[int, Operation | None] = {}
        self.handles = count(0x1000, 0x10)
        self.graphs: dict[int, Graph] = {}
        self._current = _Current()
        self.reset()
        self.forget()

    def reset(self) -> None:
        """Devices with all that they need, which do everything at once. CuPy asks for their number once."""
        self.devices = len(CAPABILITIES)
        self.driver = 13000
        self.nvrtc = self.headers = True
        self.timeline = Timeline()

    @property
    def device(self) -> int:
        """The device that is current in this thread."""
        return self._current.device

    @device.setter
    def device(self, device: int) -> None:
        if not 0 <= device < self.devices:
            raise DeviceError(Status.INVALID_DEVICE, f"no device {device}")
        self._current.device = device

    def forget(self) -> None:
        """Start counting anew."""
        self.launches: list[str] = []
        self.streams: list[int] = []
        self.products: list[tuple[int, str]] = []
        self.waits: list[str] = []
        self.uploads = 0
        self.graph_launches = 0
        self.faults: list[DeviceError] = []

    @property
    def own_launches(self) -> list[str]:
        """Those of this project's kernels, which are templates; CuPy's are none."""
        return [name for name in self.launches if "<" in name]

    def stream(self, handle: int | None) -> Stream:
        try:
            return self.timeline.stream(handle, self.device)
        except KeyError:
            raise DeviceError(Status.INVALID_HANDLE, f"no stream {handle:#x}") from None

    def enqueue(self, handle: int | None, name: str, work: Callable[[], None], addresses: Sequence[int] = ()) -> None:
        """Do `work` on a stream; what goes wrong in it is a fault of `name`. A stream that is captured records it."""

        def named_work() -> None:
            with self.blame(name):
                work()

        stream = self.stream(handle)
        if stream.device != self.device:
            raise DeviceError(
                Status.INVALID_HANDLE, f"{name}: a stream of device {stream.device} on device {self.device}"
            )
        if stream.recorded is not None:
            stream.recorded.append(Recorded(named_work, tuple(addresses)))
            return
        if any(other.recorded is not None for other in self.timeline.beside(stream)):
            raise DeviceError(Status.STREAM_CAPTURE, f"{name}: on a stream in step with one that is captured")
        self.timeline.enqueue(stream, named_work)

    # --- graphs -----------------------------------------------------------------------------------------------------

    def end_capture(self, handle: int | None) -> int:
        """What a stream has recorded, as a graph."""
        stream = self.stream(handle)
        if stream.recorded is None:
            raise DeviceError(Status.STREAM_CAPTURE, "this stream is not captured")
        number = next(self.handles)
        self.graphs[number] = Graph(stream.recorded, self.memory.gifts)
        stream.recorded = None
        return number

    def launch_graph(self, number: int, handle: int | None) -> None:
        """Enqueue all that a graph has recorded, on the memory it had then."""
        graph = self.graphs[number]
        self.graph_launches += 1

        def work() -> None:
            for recorded in graph.recorded:
                for address in recorded.addresses:
                    self.memory.check_since(address, graph.gifts)
                recorded.work()

        self.enqueue(handle, "a graph", work)

    @contextmanager
    def blame(self, name: str) -> Iterator[None]:
        """Put `name` before the reason of what goes wrong."""
        try:
            yield
        except DeviceError as fault:
            raise DeviceError(fault.status, f"{name}: {fault.reason}") from None
        except KernelError as error:
            raise DeviceError(Status.LAUNCH_FAILURE, str(error)) from None

    # --- copies -----------------------------------------------------------------------------------------------------

    def copy(self, to: int, source: int, size: int, handle: int | None, *, to_device: bool, from_device: bool) -> None:
        """Pageable memory of the host is read at once, page-locked memory when the turn of the copy comes."""
        for address, on_device in ((to, to_device), (source, from_device)):
            if on_device:
                self._room(address, size, self.device)
        self.uploads += to_device and not from_device
        if self.stream(handle).recorded is not None and not (to_device and from_device):
            raise DeviceError(Status.STREAM_CAPTURE, "a copy between host and device on a stream that is captured")
        held = None if from_device or self.memory.is_pinned(source) else bytes_at(source, size).copy()
        item = next(item for item in (4, 2, 1) if size % item == 0)

        def work() -> None:
            if from_device and item > 1 and unwritten(source, size, item):
                raise DeviceError(Status.ILLEGAL_ADDRESS, "reads what nobody has written")
            bytes_at(to, size)[:] = bytes_at(source, size) if held is None else held

        self.enqueue(handle, "a copy", work, [at for at, here in ((to, to_device), (source, from_device)) if here])
        if from_device and not to_device:
            self.wait(handle, "a copy to the host")

    def fill(self, address: int, value: int, size: int, handle: int | None) -> None:
        self._room(address, size, self.device)
        self.enqueue(handle, "cudaMemset", lambda: bytes_at(address, size).fill(value), [address])

    def poison(self, address: int, size: int, handle: int | None) -> None:
        """A memory pool hands memory out: in the order of the stream, for what came before may read it still."""

        def work() -> None:
            bytes_at(address, size).fill(POISON)
            beside, pattern = slack(address, size)
            beside[:] = pattern

        self.enqueue(handle, "a memory pool", work, [address])

    def wait(self, handle: int | None, reason: str) -> None:
        """The host waits for a stream."""
        if self.stream(handle).recorded is not None:
            raise DeviceError(Status.STREAM_CAPTURE, f"{reason}: waits for a stream that is captured")
        self.waits.append(reason)
        self.finish(self.stream(handle).last)

    def finish(self, operation: Operation | None) -> None:
        """Run an operation and what it waits for; that may be for the thread of another rank to ask for something."""
        while not self.timeline.run(operation):
            if not self.posted.wait(PATIENCE):
                raise DeviceError(Status.LAUNCH_FAILURE, "waits for another rank, which does not come")

    def _room(self, address: int, size: int, device: int) -> None:
        start, room = self.memory.array(address, device)
        if address + size > start + room:
            raise DeviceError(
                Status.ILLEGAL_ADDRESS, f"{size} bytes at {address - start} bytes into an array of {room} bytes"
            )

    # --- kernels and products -----------------------------------------------------------------------------------------

    def launch(
        self, kernel: Kernel, grid: Sequence[int], block: Sequence[int], arguments: Sequence[bytes], handle: int | None
    ) -> None:
        """Enqueue a kernel; `arguments` are the bytes of its parameters."""
        name, device = kernel.expression, self.device
        with self.blame(name):
            if not 1 <= int(np.prod(block)) <= LARGEST_BLOCK or min(grid) < 1 or max(grid[1:]) > LARGEST_GRID:
                raise DeviceError(Status.INVALID_VALUE, f"a grid of {tuple(grid)} blocks of {tuple(block)} threads")
            arrays = []
            for position, (kind, reads, value) in enumerate(
                zip(kernel.parameters, kernel.reads_only, arguments, strict=True)
            ):
                for pointed, address in _pointers(kind, value):
                    with self.blame(f"argument {position}"):
                        held = self.memory.array(address, device)
                    arrays.append((position, pointed, reads or pointed != kind, address, *held))
        self.launches.append(name)
        self.streams.append(handle or 0)

        def work() -> None:
            for position, kind, reads, address, start, size in arrays:
                if reads and kind[:-1] in ITEMS and unwritten(address, start + size - address, ITEMS[kind[:-1]]):
                    raise DeviceError(Status.ILLEGAL_ADDRESS, f"argument {position} was never written")
            kernel(grid, block, arguments)
            for position, _, _, _, start, size in arrays:
                with self.blame(f"argument {position}"):
                    self.memory.check_guards(start, size)

        self.enqueue(handle, name, work, [address for _, _, _, address, _, _ in arrays])

    def multiply(
        self,
        m: int,
        n: int,
        k: int,
        a: Factor,
        b: Factor,
        c: Factor,
        compute: int,
        scalars: tuple[int, int],
        handle: Any,
    ) -> None:
        """C = alpha op(A) op(B) + beta C, op(A) (m, k), op(B) (k, n), as cublasGemmEx does.

        scalars : the addresses of alpha and beta on the host.
        """
        name = "cublasGemmEx"
        with self.blame(name):
            if a.type != b.type or a.type not in OPERANDS.get(compute, ()):
                raise DeviceError(Status.NOT_SUPPORTED, f"types {a.type} and {b.type} with compute type {compute}")
            scalar = np.dtype(np.float64 if compute == COMPUTE_64F else np.float32)
            if c.type not in (a.type, 1 if compute == COMPUTE_64F else 0):
                raise DeviceError(Status.NOT_SUPPORTED, f"a result of type {c.type} from type {a.type}")
            alpha, beta = (bytes_at(address, scalar.itemsize).view(scalar)[0] for address in scalars)
            shape_a, shape_b = ((k, m) if a.transposed else (m, k)), ((n, k) if b.transposed else (k, n))
            matrices = [self._matrix(*each) for each in ((a, shape_a, "A"), (b, shape_b, "B"), (c, (m, n), "C"))]
        self.products.append((compute, np.dtype(TYPES[c.type]).name))

        def work() -> None:
            for factor, matrix, letter in zip((a, b), matrices, "AB", strict=False):
                words = matrix.view(f"u{matrix.itemsize}")
                if np.any(words == np.iinfo(words.dtype).max):
                    raise DeviceError(Status.ILLEGAL_ADDRESS, f"{letter} at {factor.address:#x} was never written")
            # How cuBLAS rounds on its way is not known here: float64, rounded once.
            left, right = (np.float64(_rounded(matrix.astype(scalar), compute)) for matrix in matrices[:2])
            result = alpha * ((left.T if a.transposed else left) @ (right.T if b.transposed else right))
            matrices[2][...] = result if beta == 0 else result + beta * matrices[2]

        self.enqueue(handle, name, work, [factor.address for factor in (a, b, c)])

    def _matrix(self, factor: Factor, shape: tuple[int, int], letter: str) -> np.ndarray[Any, Any]:
        rows, columns = shape
        dtype = np.dtype(TYPES[factor.type])
        with self.blame(letter):
            if factor.leading < rows:
                raise DeviceError(Status.INVALID_VALUE, f"a leading dimension of {factor.leading} for {rows} rows")
            size = (factor.leading * (columns - 1) + rows) * dtype.itemsize
            self._room(factor.address, size, self.device)
        strides = (dtype.itemsize, factor.leading * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(bytes_at(factor.address, size).view(dtype), shape, strides)


ITEMS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "int64": 8}
"""Bytes of what a pointer may point to, where memory that nobody wrote is no value of it."""


def _pointers(kind: str, value: bytes) -> list[tuple[str, int]]:
    """The addresses that an argument holds, each with its kind: a pointer, a CArray of CuPy's own kernels, Parts."""
    if "5Parts" in kind:
        words = np.frombuffer(value, np.uint64)
        pointed = "float32*" if "IfE" in kind else "float64*"
        return [(pointed, int(address)) for address in words[: words.size // 2] if address]
    address = int.from_bytes(value[:8], "little") if kind.endswith("*") or " 6CArray" in kind else 0
    return [(kind, address)] if address else []


def _rounded(x: np.ndarray[Any, Any], compute: int) -> np.ndarray[Any, Any]:
    """`x`, for TF32 to the nearest number of ten bits of mantissa."""
    if compute != COMPUTE_32F_FAST_TF32:
        return x
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


MACHINE = Machine()
"""The one that this process runs on: CuPy keeps what it once learnt of a device."""
