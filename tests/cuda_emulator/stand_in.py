"""A stand-in for CuPy on a machine without a GPU: `with installed() as machine:` and `import cupy` gives it.

It is narrower than CuPy, never wider:
  - it has only names the installed wheel has, and every call is bound to the wheel's signature of that function;
  - what this project does not use raises NotImplementedError;
  - arrays refuse implicit conversion to NumPy and mixing with NumPy arrays, and NumPy's ufuncs refuse them;
  - every wait of the host for the device is counted, as is every upload;
  - kernels run on the emulator, with the C++ types of their parameters held against the arguments;
  - cuBLAS is gemmEx alone, on addresses that must belong to allocations large enough.

What is missing on a real machine can be made missing here: see `Machine`.
"""

from __future__ import annotations

import contextlib
import importlib
import operator
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import cupy as wheel
import ml_dtypes
import numpy as np
import scipy.special

from tests.cuda_emulator import emulator, signatures
from tests.cuda_emulator.memory import Memory, Pool

BORROWED_MODULES = (
    "cupy",
    "cupyx",
    "cupy_backends",
    "array_api_compat.cupy",
    "vipnp.backends.cupy",
)
"""Modules that are taken out of sys.modules while the stand-in is installed, and put back afterwards."""

SCALARS = (bool, int, float, complex, np.generic)

# fmt: off
NUMPY_FUNCTIONS = [
    "abs", "all", "arange", "argmax", "array_equal", "broadcast_to", "concatenate", "equal", "exp", "expand_dims",
    "full", "isfinite", "less", "log", "matmul", "max", "maximum", "mean", "min", "multiply", "ones",
    "ones_like", "permute_dims", "reshape", "sqrt", "stack", "sum", "tanh", "transpose", "where", "zeros",
    "zeros_like",
]
# fmt: on
"""Functions of CuPy that stand here as NumPy's of the same name, behind CuPy's signature."""

# fmt: off
OPERATORS = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "lt", "le", "gt", "ge",
    "eq", "ne",
]
# fmt: on

CUDA_TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
"""cudaDataType -> dtype."""

COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70


class Machine:
    """The machine that the stand-in pretends to be, and what was seen on it.

    devices, driver, runtime, compute_capability : what the CUDA runtime reports; driver 0 is none.
    cublas, nvrtc, headers : whether they are installed.
    pool : memory of the device, 0.
    waits : one entry for every time the host waited for the device. uploads : number of arrays sent to it.
    launches : names of the kernels launched. products : (compute type, output dtype) of each matrix product.
    streams : the stream current at each launch.
    """

    def __init__(self, capacity: int = 1 << 30) -> None:
        self.devices = 1
        self.driver = 13000
        self.runtime = 13000
        self.compute_capability = "90"
        self.cublas = self.nvrtc = self.headers = True
        self.pool = Pool(capacity)
        self.current_device = 0
        self.current_stream: Any = None
        self.allocator: Any = None
        self.waits: list[str] = []
        self.uploads = 0
        self.launches: list[str] = []
        self.products: list[tuple[int, str]] = []
        self.streams: list[Any] = []

    def forget(self) -> None:
        """Start counting anew."""
        self.waits.clear()
        self.launches.clear()
        self.products.clear()
        self.streams.clear()
        self.uploads = 0


def bound(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, its calls bound to the signature of the wheel's function `path` first."""
    known = signatures.signature(path)

    def call(*args: Any, **kwargs: Any) -> Any:
        known.bind(*args, **kwargs)
        return function(*args, **kwargs)

    call.__name__ = path.rpartition(".")[2]
    return call


def missing(path: str) -> Callable[..., Any]:
    """A function of the wheel that the stand-in does without."""

    def call(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{path} is not part of the stand-in")

    return call


class Simulation:
    """The modules of the stand-in, all on one `Machine`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.ndarray = self._make_ndarray()
        self.modules = {
            "cupy": self._cupy(),
            "cupy.linalg": self._stubs("cupy.linalg"),
            "cupy.fft": self._stubs("cupy.fft"),
        }
        self.modules["cupy"].linalg = self.modules["cupy.linalg"]
        self.modules["cupy"].fft = self.modules["cupy.fft"]
        self.modules |= self._cuda()
        self.modules |= self._libraries()

    # --- arrays -----------------------------------------------------------------------------------------------------

    def allocate(self, shape: Any, dtype: Any) -> Any:
        """An array of poison."""
        shape = (shape,) if isinstance(shape, int) else tuple(map(operator.index, shape))
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (self.machine.allocator or self._malloc)(size)
        return self.ndarray(memory.view(shape, dtype), memory, self.machine.current_device)

    def _malloc(self, size: int) -> Memory:
        pool = self.machine.pool
        if not pool.fits(size):
            raise wheel.cuda.memory.OutOfMemoryError(size, pool.used, pool.limit)
        return pool.allocate(size)

    def put(self, values: Any) -> Any:
        """A device array with the values of a NumPy array."""
        values = np.asarray(values)
        array = self.allocate(values.shape, values.dtype)
        array._values[...] = values
        return array

    def wrap(self, result: Any, *sources: Any) -> Any:
        """The result of a NumPy function: a view of one of the sources, or a new array."""
        if isinstance(result, tuple):
            return tuple(self.wrap(one, *sources) for one in result)
        if not isinstance(result, np.ndarray | np.generic):
            return result
        if isinstance(result, np.ndarray) and result.size:
            for source in sources:
                if isinstance(source, self.ndarray) and np.shares_memory(result, source._values):
                    return self.ndarray(result, source._memory, source._device)
        return self.put(result)

    def unwrap(self, value: Any) -> Any:
        if isinstance(value, self.ndarray):
            return value._values
        if isinstance(value, list | tuple):
            return type(value)(self.unwrap(one) for one in value)
        if isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
        return value

    def wait(self, reason: str) -> None:
        self.machine.waits.append(reason)

    def _make_ndarray(self) -> type:
        simulation = self

        class ndarray:  # noqa: N801 - CuPy's name
            __array_priority__ = 100
            __hash__ = None  # type: ignore[assignment]

            def __init__(self, values: Any, memory: Memory, device: int) -> None:
                self._values = values
                self._memory = memory
                self._device = device

            def __array__(self, *_: Any, **__: Any) -> Any:
                raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

            def __array_ufunc__(self, *_: Any, **__: Any) -> Any:
                raise TypeError("a NumPy ufunc was called on a device array")

            def __dlpack__(self, **_: Any) -> Any:
                raise NotImplementedError("DLPack is not part of the stand-in")

            @property
            def data(self) -> Any:
                return types.SimpleNamespace(ptr=self._values.ctypes.data)

            @property
            def device(self) -> Any:
                return simulation.modules["cupy"].cuda.Device(self._device)

            @property
            def base(self) -> Any:
                whole = simulation.ndarray
                if self._values.nbytes == self._memory.size:
                    return None
                count = self._memory.size // self._values.dtype.itemsize
                return whole(self._memory.view((count,), self._values.dtype), self._memory, self._device)

            @property
            def T(self) -> Any:  # noqa: N802 - NumPy's name
                return simulation.wrap(self._values.T, self)

            def get(self, *_: Any, **__: Any) -> Any:
                simulation.wait("get")
                return self._values.copy()

            def item(self) -> Any:
                simulation.wait("item")
                return self._values.item()

            def __float__(self) -> float:
                return float(self.item())

            def __int__(self) -> int:
                return int(self.item())

            def __bool__(self) -> bool:
                return bool(self.item())

            def __len__(self) -> int:
                return len(self._values)

            def __getitem__(self, index: Any) -> Any:
                return simulation.wrap(self._values[simulation.unwrap(index)], self)

            def __setitem__(self, index: Any, value: Any) -> None:
                self._values[simulation.unwrap(index)] = simulation.unwrap(value)

            def __neg__(self) -> Any:
                return simulation.wrap(-self._values)

            def astype(self, dtype: Any, copy: bool = True, **_: Any) -> Any:
                if not copy and self._values.dtype == dtype:
                    return self
                return simulation.put(self._values.astype(dtype))

            def copy(self, **_: Any) -> Any:
                return simulation.put(self._values)

            def fill(self, value: Any) -> None:
                self._values.fill(simulation.unwrap(value))

        for name in ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides", "flags"):
            setattr(ndarray, name, property(lambda self, name=name: getattr(self._values, name)))
        for name in ("reshape", "ravel", "sum", "transpose"):

            def method(self: Any, *args: Any, name: str = name, **kwargs: Any) -> Any:
                return simulation.wrap(getattr(self._values, name)(*args, **kwargs), self)

            setattr(ndarray, name, method)
        for name in ("get", "item", "astype", "copy", "fill", "reshape", "ravel", "sum", "transpose"):
            setattr(ndarray, name, bound(f"cupy.ndarray.{name}", getattr(ndarray, name)))
        for name in OPERATORS:
            function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

            def forward(self: Any, other: Any, function: Any = function) -> Any:
                return simulation._operate(function, self, other)

            def backward(self: Any, other: Any, function: Any = function) -> Any:
                return simulation._operate(function, other, self)

            setattr(ndarray, f"__{name}__", forward)
            if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
                setattr(ndarray, f"__r{name}__", backward)
        return ndarray

    def _operate(self, function: Any, left: Any, right: Any) -> Any:
        for value in (left, right):
            if not isinstance(value, (self.ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(value)}")
        left, right = self.unwrap(left), self.unwrap(right)
        if function is operator.matmul:
            if left.ndim != 2 or right.ndim != 2:
                raise NotImplementedError("a matrix product of more than two dimensions")
            kinds = {left.dtype.name, right.dtype.name}
            self.machine.products.append((COMPUTE_64F if "float64" in kinds else COMPUTE_32F, max(kinds)))
        return self.put(function(left, right))

    # --- modules ----------------------------------------------------------------------------------------------------

    def _stubs(self, path: str) -> Any:
        """A module with every public name of the wheel's: values as they are, functions missing."""
        real = importlib.import_module(path)
        module = types.ModuleType(path)
        for name in dir(real):
            thing = getattr(real, name)
            if name.startswith("_") or isinstance(thing, types.ModuleType):
                continue
            is_value = not callable(thing) or (isinstance(thing, type) and issubclass(thing, np.generic | np.dtype))
            setattr(module, name, thing if is_value else missing(f"{path}.{name}"))
        return module

    def _cupy(self) -> Any:
        module = self._stubs("cupy")
        module.__path__ = []
        for name in ("iinfo", "finfo", "issubdtype", "isdtype", "result_type", "dtype"):
            setattr(module, name, getattr(wheel, name))
        for name in NUMPY_FUNCTIONS:
            setattr(module, name, bound(f"cupy.{name}", self._numpy(name)))

        def empty(shape: Any, dtype: Any = float, order: str = "C") -> Any:
            return self.allocate(shape, dtype)

        def empty_like(prototype: Any, dtype: Any = None, **_: Any) -> Any:
            return self.allocate(prototype.shape, dtype or prototype.dtype)

        def asarray(a: Any, dtype: Any = None, order: Any = None, **_: Any) -> Any:
            if isinstance(a, self.ndarray):
                return a if dtype in (None, a.dtype) else a.astype(dtype)
            self.machine.uploads += 1
            return self.put(np.asarray(a, dtype=dtype))

        def ascontiguousarray(a: Any, dtype: Any = None) -> Any:
            same = a if dtype in (None, a.dtype) else a.astype(dtype)
            return same if same.flags.c_contiguous else same.copy()

        def asnumpy(a: Any, *_: Any, **__: Any) -> Any:
            return a.get()

        for function in (empty, empty_like, asarray, ascontiguousarray, asnumpy):
            setattr(module, function.__name__, bound(f"cupy.{function.__name__}", function))
        module.array = bound("cupy.array", asarray)
        module.ndarray = self.ndarray
        module.RawModule = self._raw_module()
        module.get_default_memory_pool = bound("cupy.get_default_memory_pool", lambda: self._pool())
        return module

    def _numpy(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "concatenate":
                self.machine.uploads += 3  # the addresses, ends and strides of what it joins
            sources = [value for value in (*args, *kwargs.values()) if isinstance(value, self.ndarray)]
            kwargs.pop("blocking", None)
            return self.wrap(
                function(*map(self.unwrap, args), **{k: self.unwrap(v) for k, v in kwargs.items()}), *sources
            )

        return call

    def _pool(self) -> Any:
        pool = self.machine.pool

        def set_limit(size: int | None = None, fraction: float | None = None) -> None:
            pool.limit = size or 0

        functions = {
            "used_bytes": lambda: pool.used,
            "total_bytes": lambda: pool.used,
            "get_limit": lambda: pool.limit,
            "free_all_blocks": lambda stream=None: None,
            "set_limit": set_limit,
            "malloc": self._malloc,
        }
        return types.SimpleNamespace(
            **{name: _without_self(f"cupy.cuda.MemoryPool.{name}", function) for name, function in functions.items()}
        )

    def _raw_module(self) -> type:
        simulation = self

        class RawModule:
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                given = signatures.signature("cupy.RawModule").bind(*args, **kwargs).arguments
                self._code: str = given["code"]
                self._names = tuple(given.get("name_expressions") or ())
                self._options = tuple(given.get("options") or ())
                self._kernels: dict[str, emulator.Kernel] | None = None

            def get_function(self, name: str) -> Any:
                machine = simulation.machine
                if not machine.headers and "#include" in self._code:
                    raise wheel.cuda.compiler.CompileException(
                        'catastrophic error: cannot open source file "cuda_bf16.h"', self._code, "kernel.cu", ()
                    )
                if not self._names:
                    if not re.search(rf'extern "C" __global__ void {name}\(', self._code):
                        raise wheel.cuda.driver.CUDADriverError(500)
                    return missing(name)
                if name not in self._names:
                    raise RuntimeError(f"{name} is none of the name expressions of the module")
                if self._kernels is None:
                    self._kernels = emulator.load(self._code, self._names)
                return bound_kernel(simulation, self._kernels[name])

        return RawModule

    def _cuda(self) -> dict[str, Any]:
        machine = self.machine
        cuda, runtime, memory, device, nvrtc, compiler = (
            types.ModuleType(name)
            for name in (
                "cupy.cuda",
                "cupy.cuda.runtime",
                "cupy.cuda.memory",
                "cupy.cuda.device",
                "cupy.cuda.nvrtc",
                "cupy.cuda.compiler",
            )
        )

        def device_count() -> int:
            if machine.driver == 0 or machine.driver // 1000 < machine.runtime // 1000:
                raise wheel.cuda.runtime.CUDARuntimeError(35)
            if machine.devices == 0:
                raise wheel.cuda.runtime.CUDARuntimeError(100)
            return machine.devices

        def set_device(index: int) -> None:
            machine.current_device = index

        def memory_info() -> tuple[int, int]:
            return machine.pool.capacity - machine.pool.used, machine.pool.capacity

        for name, function in {
            "getDeviceCount": device_count,
            "getDevice": lambda: machine.current_device,
            "setDevice": set_device,
            "driverGetVersion": lambda: machine.driver,
            "runtimeGetVersion": lambda: machine.runtime,
            "memGetInfo": memory_info,
        }.items():
            setattr(runtime, name, bound(f"cupy.cuda.runtime.{name}", function))
        runtime.CUDARuntimeError = wheel.cuda.runtime.CUDARuntimeError
        for name in ("CUDA_R_32F", "CUDA_R_64F", "CUDA_R_16F", "CUDA_R_16BF"):
            setattr(runtime, name, getattr(wheel.cuda.runtime, name))
        memory.OutOfMemoryError = wheel.cuda.memory.OutOfMemoryError
        compiler.CompileException = wheel.cuda.compiler.CompileException
        device.get_cublas_handle = bound("cupy.cuda.device.get_cublas_handle", lambda: 1)

        def nvrtc_version() -> tuple[int, int]:
            if not machine.nvrtc:
                raise RuntimeError("CuPy failed to load libnvrtc.so.13")
            return machine.runtime // 1000, 0

        nvrtc.getVersion = bound("cupy.cuda.nvrtc.getVersion", nvrtc_version)
        cuda.runtime, cuda.memory, cuda.device, cuda.nvrtc, cuda.compiler = runtime, memory, device, nvrtc, compiler
        cuda.Device = device.Device = self._device()
        cuda.Stream = self._stream()

        @contextlib.contextmanager
        def using_allocator(allocator: Any = None) -> Iterator[None]:
            before, machine.allocator = machine.allocator, allocator
            try:
                yield
            finally:
                machine.allocator = before

        cuda.using_allocator = bound("cupy.cuda.using_allocator", using_allocator)
        cuda.get_current_stream = bound("cupy.cuda.get_current_stream", lambda device_id=-1: machine.current_stream)
        self.modules["cupy"].cuda = cuda
        # nvrtc is an attribute of cupy.cuda in the wheel and no module of that name.
        return {module.__name__: module for module in (cuda, runtime, memory, device, compiler)}

    def _device(self) -> type:
        simulation, machine = self, self.machine

        class Device:
            def __init__(self, device: int | None = None) -> None:
                self.id = machine.current_device if device is None else int(getattr(device, "id", device))
                self._before: list[int] = []

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Device) and self.id == other.id

            def __hash__(self) -> int:
                return hash(self.id)

            def __repr__(self) -> str:
                return f"<CUDA Device {self.id}>"

            def __enter__(self) -> Any:
                self._before.append(machine.current_device)
                machine.current_device = self.id
                return self

            def __exit__(self, *_: object) -> None:
                machine.current_device = self._before.pop()

            @property
            def compute_capability(self) -> str:
                return machine.compute_capability

            def use(self) -> None:
                machine.current_device = self.id

            def synchronize(self) -> None:
                simulation.wait("Device.synchronize")

        return Device

    def _stream(self) -> type:
        simulation, machine = self, self.machine

        class Stream:
            def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
                self._before: list[Any] = []

            def __enter__(self) -> Any:
                self._before.append(machine.current_stream)
                machine.current_stream = self
                return self

            def __exit__(self, *_: object) -> None:
                machine.current_stream = self._before.pop()

            def synchronize(self) -> None:
                simulation.wait("Stream.synchronize")

        return Stream

    def _libraries(self) -> dict[str, Any]:
        backends, cuda = (types.ModuleType(name) for name in ("cupy_backends", "cupy_backends.cuda"))
        libs = self.libraries()
        cupyx, scipy_part, special = (
            types.ModuleType(name) for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.special")
        )
        ndtr = lambda x: self.put(scipy.special.ndtr(x._values))  # noqa: E731
        special.ndtr = bound("cupyx.scipy.special.ndtr", ndtr)
        modules = {module.__name__: module for module in (backends, cuda, libs, cupyx, scipy_part, special)}
        for name, module in modules.items():
            module.__path__ = []
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(modules[parent], last, module)
        return modules

    def libraries(self) -> Any:
        """The package cupy_backends.cuda.libs, whose __getattr__ loads what pip installed; past it nothing is found."""
        package = types.ModuleType("cupy_backends.cuda.libs")
        package.__path__ = []

        def load(name: str) -> Any:
            if name != "cublas":
                raise AttributeError(name)
            if not self.machine.cublas:
                raise ImportError('Failure finding "libcublas.so.13"')
            return self.cublas()

        package.__getattr__ = load  # type: ignore[method-assign]
        return package

    def cublas(self) -> Any:
        """The module cupy_backends.cuda.libs.cublas, with the one function used of it."""
        module = types.ModuleType("cupy_backends.cuda.libs.cublas")
        constants = {
            "CUBLAS_OP_N": 0,
            "CUBLAS_OP_T": 1,
            "CUBLAS_COMPUTE_32F": COMPUTE_32F,
            "CUBLAS_COMPUTE_32F_FAST_TF32": COMPUTE_32F_FAST_TF32,
            "CUBLAS_COMPUTE_64F": COMPUTE_64F,
            "CUBLAS_GEMM_DEFAULT": -1,
        }
        for name, value in constants.items():
            if not signatures.cublas_has(name):
                raise AttributeError(f"the wheel's cuBLAS module has no {name}")
            setattr(module, name, value)
        known = signatures.cublas_signature("gemmEx")

        def gemm_ex(*args: Any) -> None:
            self._gemm(known.bind(*args).arguments)

        module.gemmEx = gemm_ex
        return module

    def _gemm(self, given: dict[str, Any]) -> None:
        """C = alpha * op(A) op(B) + beta * C, all column-major."""
        m, n, k = given["m"], given["n"], given["k"]
        compute = given["computeType"]
        scalar = np.float64 if compute == COMPUTE_64F else np.float32
        types_ok = {
            COMPUTE_64F: {1},
            COMPUTE_32F_FAST_TF32: {0},
            COMPUTE_32F: {0, 2, 14},
        }[compute]
        if given["Atype"] != given["Btype"] or given["Atype"] not in types_ok:
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED: the types of A and B for this compute type")
        if given["Ctype"] not in (given["Atype"], 0 if compute != COMPUTE_64F else 1):
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED: the type of C")
        rows_a, columns_a = (m, k) if given["transa"] == 0 else (k, m)
        rows_b, columns_b = (k, n) if given["transb"] == 0 else (n, k)
        a = self._matrix(given["A"], given["Atype"], rows_a, columns_a, given["lda"])
        b = self._matrix(given["B"], given["Btype"], rows_b, columns_b, given["ldb"])
        c = self._matrix(given["C"], given["Ctype"], m, n, given["ldc"])
        a, b = (self._rounded(x, compute, scalar) for x in (a, b))
        alpha, beta = (
            float(np.ctypeslib.as_array((_C_TYPES[scalar]).from_address(given[x]))) for x in ("alpha", "beta")
        )
        product = scalar(alpha) * ((a.T if given["transa"] else a) @ (b.T if given["transb"] else b))
        c[...] = product if beta == 0 else product + scalar(beta) * c
        self.machine.products.append((compute, c.dtype.name))

    def _matrix(self, address: int, cuda_type: int, rows: int, columns: int, leading: int) -> np.ndarray[Any, Any]:
        """A column-major matrix at `address`; KernelError if its allocation is too small."""
        dtype = np.dtype(CUDA_TYPES[cuda_type])
        memory, offset = self.machine.pool.at(address)
        if leading < rows:
            raise RuntimeError("CUBLAS_STATUS_INVALID_VALUE: a leading dimension below the number of rows")
        needed = (leading * (columns - 1) + rows) * dtype.itemsize
        if offset + needed > memory.size:
            raise emulator.KernelError(f"a matrix of {needed} bytes in an allocation of {memory.size - offset}")
        flat = memory.view((memory.size,), np.uint8)[offset : offset + needed].view(dtype)
        strides = (dtype.itemsize, leading * dtype.itemsize)
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), strides)

    @staticmethod
    def _rounded(x: np.ndarray[Any, Any], compute: int, scalar: Any) -> np.ndarray[Any, Any]:
        wide = np.ascontiguousarray(x.astype(scalar))
        if compute == COMPUTE_32F_FAST_TF32:  # to nearest, ten bits of mantissa
            bits = wide.view(np.uint32)
            wide = ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
        return wide


_C_TYPES: dict[Any, Any] = {np.float32: __import__("ctypes").c_float, np.float64: __import__("ctypes").c_double}


def _without_self(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """As `bound`, for a method called without its object."""
    known = signatures.signature(path)

    def call(*args: Any, **kwargs: Any) -> Any:
        known.bind(None, *args, **kwargs)
        return function(*args, **kwargs)

    return call


def bound_kernel(simulation: Simulation, kernel: emulator.Kernel) -> Callable[..., None]:
    """What RawModule.get_function returns: arguments are checked as CuPy does not, then the emulator runs."""
    machine = simulation.machine
    known = signatures.signature("cupy.RawKernel.__call__")

    def call(grid: Any, block: Any, args: Any, **kwargs: Any) -> None:
        known.bind(None, grid, block, args, **kwargs)
        if len(args) != len(kernel.parameters):
            raise TypeError(f"{kernel.expression}: {len(args)} arguments, it takes {len(kernel.parameters)}")
        if np.prod(block) > 1024 or min(grid) < 1 or max((1, *grid[1:])) > 65535:
            raise RuntimeError(f"{kernel.expression}: CUDA_ERROR_INVALID_VALUE, grid {grid} block {block}")
        packed = [_packed(simulation, kernel, position, value) for position, value in enumerate(args)]
        machine.launches.append(kernel.expression)
        machine.streams.append(machine.current_stream)
        kernel(grid, block, packed)
        for value in args:
            if isinstance(value, simulation.ndarray):
                value._memory.check()

    return call


def _packed(simulation: Simulation, kernel: emulator.Kernel, position: int, value: Any) -> bytes:
    """The bytes of one argument, which must be of the type the kernel declares."""
    wanted = kernel.parameters[position]
    where = f"{kernel.expression}, argument {position}"
    if isinstance(value, simulation.ndarray):
        if f"{value.dtype.name}*" != wanted:
            raise TypeError(f"{where}: got an array of {value.dtype.name}, it takes {wanted}")
        # A strided vector is handed over with its stride; anything else would be read in the wrong order.
        if not value.flags.c_contiguous and value.ndim != 1:
            raise TypeError(f"{where}: got an array that is not contiguous")
        if value._device != simulation.machine.current_device:
            raise RuntimeError(
                f"{where}: an array of device {value._device} on device {simulation.machine.current_device}"
            )
        return int(value.data.ptr).to_bytes(8, "little")
    if wanted.endswith("*"):
        if not isinstance(value, np.uintp) or value != 0:
            raise TypeError(f"{where}: got {value!r}, it takes {wanted}")
        return bytes(8)
    if not isinstance(value, np.generic) or value.dtype.name != wanted:
        raise TypeError(f"{where}: got {type(value).__name__}, it takes {wanted}")
    return value.tobytes()


@contextlib.contextmanager
def installed(machine: Machine | None = None) -> Iterator[Machine]:
    """Put the stand-in in CuPy's place, with every module of this project that imported CuPy imported anew."""
    machine = machine or Machine()
    simulation = Simulation(machine)
    held = {name: module for name, module in sys.modules.items() if _borrowed(name)}
    for name in held:
        del sys.modules[name]
    sys.modules.update(simulation.modules)
    try:
        yield machine
    finally:
        for name in [name for name in sys.modules if _borrowed(name)]:
            del sys.modules[name]
        sys.modules.update(held)


def _borrowed(name: str) -> bool:
    return any(name == root or name.startswith(root + ".") for root in BORROWED_MODULES)
