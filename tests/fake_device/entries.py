"""The functions of CUDA that CuPy calls, as C sees them: types in the annotations, a status as the result."""

# No postponed annotations here: libraries.py reads the types.
import functools
import traceback
from collections.abc import Callable
from ctypes import (
    POINTER,
    Structure,
    addressof,
    c_char_p,
    c_float,
    c_int,
    c_size_t,
    c_uint,
    c_ulonglong,
    c_void_p,
    create_string_buffer,
    memmove,
    string_at,
)
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.fake_device.compiler import Program
from tests.fake_device.errors import DeviceError, Status
from tests.fake_device.libraries import CUDA_MAJOR
from tests.fake_device.machine import CAPABILITIES, MACHINE, Factor

RUNTIME: dict[str, Callable[..., Any]] = {}
DRIVER: dict[str, Callable[..., Any]] = {}
NVRTC: dict[str, Callable[..., Any]] = {}
CUBLAS: dict[str, Callable[..., Any]] = {}
"""The entry points of each library by name."""

TO_DEVICE, FROM_DEVICE, ON_DEVICE, WHEREVER = 1, 2, 3, 4
"""Kinds of copies; the last is told by the addresses."""

NON_BLOCKING = 1
RELAXED = 2
"""The mode of a capture in which this thread may still ask for memory."""

UNEXPECTED = 999
NO_FAULTS = {Status.OUT_OF_MEMORY, Status.NOT_READY, Status.NO_DEVICE, Status.INSUFFICIENT_DRIVER}
"""What a device may report to a program that did nothing wrong."""

COMPILATION_ERROR = 6
RUNTIME_VERSION = 1000 * CUDA_MAJOR

MAJOR, MINOR, MULTIPROCESSORS, WARP_SIZE = 75, 76, 16, 10
LIMITS = {
    1: 1024,
    2: 1024,
    3: 1024,
    4: 64,
    5: 2**31 - 1,
    6: 65535,
    7: 65535,
    8: 49152,
    WARP_SIZE: 32,
    MULTIPROCESSORS: 4,
}
"""Attributes of a device by their number in cudaDeviceAttr."""

Integer = POINTER(c_int)
Size = POINTER(c_size_t)
Pointer = POINTER(c_void_p)

_texts: dict[int, Any] = {}


def entry(table: dict[str, Callable[..., Any]]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function under its own name into `table`; a DeviceError in it becomes the status it returns."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any) -> Any:
            try:
                with MACHINE.lock:
                    return function(*args) or 0
            except DeviceError as fault:
                if fault.status not in NO_FAULTS:
                    MACHINE.faults.append(fault)
                _texts[fault.status] = create_string_buffer(fault.reason.encode())
                return int(fault.status)
            except Exception:
                MACHINE.faults.append(DeviceError(Status.NOT_SUPPORTED, traceback.format_exc()))
                return UNEXPECTED

        table[function.__name__] = call
        return call

    return decorate


def text_of(status: int) -> int:
    """The address of what went wrong in words."""
    return addressof(_texts.setdefault(status, create_string_buffer(f"status {status} of the fake device".encode())))


# --- the runtime ------------------------------------------------------------------------------------------------------


@entry(RUNTIME)
def cudaGetErrorString(status: c_int) -> c_void_p:
    return text_of(status)


@entry(RUNTIME)
def cudaGetErrorName(status: c_int) -> c_void_p:
    return text_of(status)


@entry(RUNTIME)
def cudaGetLastError() -> int:
    return 0


@entry(RUNTIME)
def cudaPeekAtLastError() -> int:
    return 0


@entry(RUNTIME)
def cudaDriverGetVersion(version: Integer) -> None:
    version[0] = MACHINE.driver


@entry(RUNTIME)
def cudaRuntimeGetVersion(version: Integer) -> None:
    version[0] = RUNTIME_VERSION


@entry(RUNTIME)
def cudaGetDeviceCount(number: Integer) -> None:
    if MACHINE.driver // 1000 < RUNTIME_VERSION // 1000:
        raise DeviceError(Status.INSUFFICIENT_DRIVER, "the driver is too old")
    if MACHINE.devices == 0:
        raise DeviceError(Status.NO_DEVICE, "no CUDA-capable device is detected")
    number[0] = MACHINE.devices


@entry(RUNTIME)
def cudaGetDevice(device: Integer) -> None:
    device[0] = MACHINE.device


@entry(RUNTIME)
def cudaSetDevice(device: c_int) -> None:
    MACHINE.device = device


@entry(RUNTIME)
def cudaDeviceGetAttribute(value: Integer, attribute: c_int, device: c_int) -> None:
    major, minor = divmod(CAPABILITIES[device], 10)
    value[0] = {**LIMITS, MAJOR: major, MINOR: minor}.get(attribute, 0)


@entry(RUNTIME)
def cudaGetDeviceProperties(properties: c_void_p, device: c_int) -> None:
    """The name alone, which comes first."""
    name = b"fake device, no hardware\0"
    memmove(properties, name, len(name))


@entry(RUNTIME)
def cudaDeviceCanAccessPeer(possible: Integer, device: c_int, peer: c_int) -> None:
    possible[0] = 0


@entry(RUNTIME)
def cudaMemGetInfo(free: Size, total: Size) -> None:
    total[0] = MACHINE.memory.capacity
    free[0] = MACHINE.memory.capacity - MACHINE.memory.used.get(MACHINE.device, 0)


class PointerAttributes(Structure):
    """cudaPointerAttributes; type 0 is memory that CUDA does not know, 1 page-locked, 2 on the device."""

    _fields_ = (("type", c_int), ("device", c_int), ("on_device", c_void_p), ("on_host", c_void_p))


@entry(RUNTIME)
def cudaPointerGetAttributes(attributes: POINTER(PointerAttributes), address: c_void_p) -> None:
    block = MACHINE.memory.block(address)
    attributes[0].type = 2 if block else int(MACHINE.memory.is_pinned(address))
    attributes[0].device = block.device if block else -1


@entry(RUNTIME)
def cudaMalloc(address: Pointer, size: c_size_t) -> None:
    if any(stream.recorded is not None and not stream.relaxed for stream in MACHINE.timeline.streams.values()):
        raise DeviceError(Status.STREAM_CAPTURE, "memory from the device while a stream is captured in a strict mode")
    address[0] = MACHINE.memory.allocate(size, MACHINE.device)


@entry(RUNTIME)
def cudaFree(address: c_void_p) -> None:
    """It waits for everything on the device, as CUDA's does."""
    if address:
        MACHINE.timeline.run_all()
        MACHINE.memory.free(address)


@entry(RUNTIME)
def cudaHostAlloc(address: Pointer, size: c_size_t, flags: c_uint) -> None:
    address[0] = MACHINE.memory.pin(size)


@entry(RUNTIME)
def cudaFreeHost(address: c_void_p) -> None:
    MACHINE.timeline.run_all()
    MACHINE.memory.unpin(address)


@entry(RUNTIME)
def cudaMemcpyAsync(to: c_void_p, source: c_void_p, size: c_size_t, kind: c_int, stream: c_void_p) -> None:
    if size:
        on_device = [kind == WHEREVER and MACHINE.memory.block(address) is not None for address in (to, source)]
        MACHINE.copy(
            to,
            source,
            size,
            stream,
            to_device=on_device[0] or kind in (TO_DEVICE, ON_DEVICE),
            from_device=on_device[1] or kind in (FROM_DEVICE, ON_DEVICE),
        )


@entry(RUNTIME)
def cudaMemcpy(to: c_void_p, source: c_void_p, size: c_size_t, kind: c_int) -> None:
    cudaMemcpyAsync(to, source, size, kind, None)
    MACHINE.wait(None, "cudaMemcpy")


@entry(RUNTIME)
def cudaMemsetAsync(address: c_void_p, value: c_int, size: c_size_t, stream: c_void_p) -> None:
    if size:
        MACHINE.fill(address, value, size, stream)


@entry(RUNTIME)
def cudaStreamCreate(stream: Pointer) -> None:
    stream[0] = MACHINE.timeline.create(MACHINE.device, blocking=True)


@entry(RUNTIME)
def cudaStreamCreateWithFlags(stream: Pointer, flags: c_uint) -> None:
    stream[0] = MACHINE.timeline.create(MACHINE.device, blocking=flags != NON_BLOCKING)


@entry(RUNTIME)
def cudaStreamCreateWithPriority(stream: Pointer, flags: c_uint, priority: c_int) -> None:
    cudaStreamCreateWithFlags(stream, flags)


@entry(RUNTIME)
def cudaStreamDestroy(stream: c_void_p) -> None:
    """What is enqueued on it still runs."""


@entry(RUNTIME)
def cudaStreamIsCapturing(stream: c_void_p, status: Integer) -> None:
    status[0] = int(MACHINE.stream(stream).recorded is not None)


@entry(RUNTIME)
def cudaStreamBeginCapture(stream: c_void_p, mode: c_int) -> None:
    if not stream:
        raise DeviceError(Status.STREAM_CAPTURE, "the default stream cannot be captured")
    MACHINE.stream(stream).recorded = []
    MACHINE.stream(stream).relaxed = mode == RELAXED


@entry(RUNTIME)
def cudaStreamEndCapture(stream: c_void_p, graph: Pointer) -> None:
    graph[0] = MACHINE.end_capture(stream)


@entry(RUNTIME)
def cudaGraphInstantiate(executable: Pointer, graph: c_void_p, flags: c_ulonglong) -> None:
    executable[0] = graph


@entry(RUNTIME)
def cudaGraphLaunch(executable: c_void_p, stream: c_void_p) -> None:
    MACHINE.launch_graph(executable, stream)


@entry(RUNTIME)
def cudaGraphDestroy(graph: c_void_p) -> None:
    """What was made of it for launching may still be launched."""


@entry(RUNTIME)
def cudaGraphExecDestroy(executable: c_void_p) -> None:
    MACHINE.timeline.run_all()
    MACHINE.graphs.pop(executable, None)


@entry(RUNTIME)
def cudaStreamSynchronize(stream: c_void_p) -> None:
    MACHINE.wait(stream, "cudaStreamSynchronize")


@entry(RUNTIME)
def cudaStreamQuery(stream: c_void_p) -> None:
    last = MACHINE.stream(stream).last
    if last is not None and not last.done:
        raise DeviceError(Status.NOT_READY, "not ready")


@entry(RUNTIME)
def cudaDeviceSynchronize() -> None:
    MACHINE.waits.append("cudaDeviceSynchronize")
    MACHINE.timeline.run_all(MACHINE.device)


@entry(RUNTIME)
def cudaEventCreate(event: Pointer) -> None:
    event[0] = next(MACHINE.handles)
    MACHINE.events[event[0]] = None


@entry(RUNTIME)
def cudaEventCreateWithFlags(event: Pointer, flags: c_uint) -> None:
    cudaEventCreate(event)


@entry(RUNTIME)
def cudaEventDestroy(event: c_void_p) -> None:
    MACHINE.events.pop(event, None)


@entry(RUNTIME)
def cudaEventRecord(event: c_void_p, stream: c_void_p) -> None:
    MACHINE.enqueue(stream, "cudaEventRecord", lambda: None)
    MACHINE.events[event] = MACHINE.stream(stream).last


@entry(RUNTIME)
def cudaEventQuery(event: c_void_p) -> None:
    """Whoever looks again and again sees it come."""
    operation = MACHINE.events[event]
    if operation is not None and not operation.done:
        MACHINE.timeline.run(operation)
        raise DeviceError(Status.NOT_READY, "not ready")


@entry(RUNTIME)
def cudaEventSynchronize(event: c_void_p) -> None:
    MACHINE.waits.append("cudaEventSynchronize")
    MACHINE.finish(MACHINE.events[event])


@entry(RUNTIME)
def cudaEventElapsedTime(milliseconds: POINTER(c_float), start: c_void_p, end: c_void_p) -> None:
    milliseconds[0] = 1.0


@entry(RUNTIME)
def cudaStreamWaitEvent(stream: c_void_p, event: c_void_p, flags: c_uint) -> None:
    MACHINE.stream(stream).waits.append(MACHINE.events[event])


# --- the driver -------------------------------------------------------------------------------------------------------

_numbers = count(1)
_programs: dict[int, Program] = {}
_modules: dict[int, tuple[Program, int]] = {}
_functions: dict[int, tuple[Any, int]] = {}
"""A kernel and the device that it was loaded on."""

MAGIC = b"\x7fFAKE"


@entry(DRIVER)
def cuGetErrorName(status: c_int, text: Pointer) -> None:
    text[0] = text_of(status)


@entry(DRIVER)
def cuGetErrorString(status: c_int, text: Pointer) -> None:
    text[0] = text_of(status)


@entry(DRIVER)
def cuInit(flags: c_uint) -> None:
    pass


@entry(DRIVER)
def cuCtxGetCurrent(context: Pointer) -> None:
    context[0] = 1 + MACHINE.device


@entry(DRIVER)
def cuCtxSetCurrent(context: c_void_p) -> None:
    pass


@entry(DRIVER)
def cuModuleLoadData(module: Pointer, image: c_void_p) -> None:
    number = int(string_at(image, len(MAGIC) + 8)[len(MAGIC) :])
    module[0] = next(_numbers)
    _modules[module[0]] = _programs[number], MACHINE.device


@entry(DRIVER)
def cuModuleUnload(module: c_void_p) -> None:
    _modules.pop(module, None)


@entry(DRIVER)
def cuModuleGetFunction(function: Pointer, module: c_void_p, name: c_char_p) -> None:
    program, device = _modules[module]
    kernel = program.kernel(name.decode())
    if kernel is None:
        raise DeviceError(Status.NOT_FOUND, f"no kernel {name.decode()}")
    function[0] = next(_numbers)
    _functions[function[0]] = kernel, device


@entry(DRIVER)
def cuFuncGetAttribute(value: Integer, attribute: c_int, function: c_void_p) -> None:
    value[0] = 1024


@entry(DRIVER)
def cuLaunchKernel(
    function: c_void_p,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: c_void_p,
    parameters: Pointer,
    extra: c_void_p,
) -> None:
    kernel, device = _functions[function]
    if device != MACHINE.device:
        raise DeviceError(
            Status.INVALID_HANDLE,
            f"{kernel.expression}: loaded on device {device}, launched on device {MACHINE.device}",
        )
    arguments = [string_at(parameters[i], size_of(kind)) for i, kind in enumerate(kernel.parameters)]
    MACHINE.launch(kernel, (grid_x, grid_y, grid_z), (block_x, block_y, block_z), arguments, stream)


def size_of(kind: str) -> int:
    """Bytes of a parameter of that kind, see `emulator.Kernel`."""
    if kind.endswith("*"):
        return 8
    if kind.startswith("struct"):
        return int(kind.split()[1])
    return 1 if kind == "bool" else int("".join(filter(str.isdigit, kind.removeprefix("b")))) // 8


# --- NVRTC ------------------------------------------------------------------------------------------------------------


@entry(NVRTC)
def nvrtcGetErrorString(status: c_int) -> c_void_p:
    return text_of(status)


@entry(NVRTC)
def nvrtcVersion(major: Integer, minor: Integer) -> None:
    if not MACHINE.nvrtc:
        raise DeviceError(Status.NOT_FOUND, "CuPy failed to load libnvrtc")
    major[0], minor[0] = RUNTIME_VERSION // 1000, 0


@entry(NVRTC)
def nvrtcCreateProgram(
    program: Pointer, source: c_char_p, name: c_char_p, headers: c_int, texts: c_void_p, names: c_void_p
) -> None:
    program[0] = next(_numbers)
    _programs[program[0]] = Program(source.decode())


@entry(NVRTC)
def nvrtcDestroyProgram(program: Pointer) -> None:
    """The image that was made of it may be loaded yet."""


@entry(NVRTC)
def nvrtcAddNameExpression(program: c_void_p, expression: c_char_p) -> None:
    _programs[program].expressions.append(expression.decode())


@entry(NVRTC)
def nvrtcCompileProgram(program: c_void_p, number: c_int, options: POINTER(c_char_p)) -> int:
    held = _programs[program]
    if MACHINE.headers or "#include" not in held.source:
        return 0
    held.log = 'catastrophic error: cannot open source file "cuda_bf16.h"'
    return COMPILATION_ERROR


@entry(NVRTC)
def nvrtcGetLoweredName(program: c_void_p, expression: c_char_p, lowered: Pointer) -> None:
    text = _texts.setdefault(expression, create_string_buffer(expression))
    lowered[0] = addressof(text)


def _image(program: int) -> bytes:
    return MAGIC + f"{program:8d}".encode()


def _copy(text: bytes, to: int) -> None:
    memmove(to, text + b"\0", len(text) + 1)


@entry(NVRTC)
def nvrtcGetProgramLogSize(program: c_void_p, size: Size) -> None:
    size[0] = len(_programs[program].log) + 1


@entry(NVRTC)
def nvrtcGetProgramLog(program: c_void_p, text: c_void_p) -> None:
    _copy(_programs[program].log.encode(), text)


@entry(NVRTC)
def nvrtcGetCUBINSize(program: c_void_p, size: Size) -> None:
    size[0] = len(_image(program)) + 1


@entry(NVRTC)
def nvrtcGetCUBIN(program: c_void_p, image: c_void_p) -> None:
    _copy(_image(program), image)


@entry(NVRTC)
def nvrtcGetPTXSize(program: c_void_p, size: Size) -> None:
    size[0] = len(_image(program)) + 1


@entry(NVRTC)
def nvrtcGetPTX(program: c_void_p, image: c_void_p) -> None:
    _copy(_image(program), image)


# --- cuBLAS -----------------------------------------------------------------------------------------------------------


@dataclass
class Blas:
    """A handle: the device it was made on and the stream it was given."""

    device: int
    stream: int | None = None
    workspace: int | None = None


HANDLES: dict[int, Blas] = {}
"""Those of cuBLAS that are in use."""


@entry(CUBLAS)
def cublasCreate_v2(handle: Pointer) -> None:
    handle[0] = next(_numbers)
    HANDLES[handle[0]] = Blas(MACHINE.device)


@entry(CUBLAS)
def cublasDestroy_v2(handle: c_void_p) -> None:
    HANDLES.pop(handle, None)


@entry(CUBLAS)
def cublasSetStream_v2(handle: c_void_p, stream: c_void_p) -> None:
    HANDLES[handle].stream = stream
    HANDLES[handle].workspace = None


@entry(CUBLAS)
def cublasSetWorkspace_v2(handle: c_void_p, workspace: c_void_p, size: c_size_t) -> None:
    HANDLES[handle].workspace = workspace


@entry(CUBLAS)
def cublasGemmEx(
    handle: c_void_p,
    transpose_a: c_int,
    transpose_b: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: c_void_p,
    a: c_void_p,
    type_a: c_int,
    leading_a: c_int,
    b: c_void_p,
    type_b: c_int,
    leading_b: c_int,
    beta: c_void_p,
    c: c_void_p,
    type_c: c_int,
    leading_c: c_int,
    compute: c_int,
    algorithm: c_int,
) -> None:
    blas = HANDLES[handle]
    if blas.device != MACHINE.device:
        raise DeviceError(
            Status.INVALID_HANDLE, f"cublasGemmEx: a handle of device {blas.device} on device {MACHINE.device}"
        )
    if MACHINE.stream(blas.stream).recorded is not None and blas.workspace is None:
        raise DeviceError(Status.STREAM_CAPTURE, "cublasGemmEx: recorded without a workspace of its own")
    MACHINE.multiply(
        m,
        n,
        k,
        Factor(a, type_a, leading_a, bool(transpose_a)),
        Factor(b, type_b, leading_b, bool(transpose_b)),
        Factor(c, type_c, leading_c),
        compute,
        (alpha, beta),
        blas.stream,
    )
