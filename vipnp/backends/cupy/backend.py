"""CuPy on an NVIDIA GPU: the readable ops as they stand, or CUDA kernels in their place.

    get_backend("cupy")                           fused kernels, float32 products in full precision
    get_backend("cupy", precision="tf32")         float32 storage, products rounded to TF32
    get_backend("cupy", precision="bfloat16")     bfloat16 activations and products, float32 sums and weights
    get_backend("cupy", fused=False)              the readable ops on CuPy arrays

Kernels and products run on CuPy's current stream, memory comes from CuPy's pool. Nothing waits for the device but
`to_numpy` and `synchronize`; `host_waits` counts them.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import cupy

from vipnp.backends.cupy import (  # noqa: F401 - what fills the table
    cross_entropy,
    gelu,
    layer_norm,
    linear,
    permutations,
    residual,
    split_attention,
    stage,
)
from vipnp.backends.cupy.common import TABLE
from vipnp.backends.cupy.graph import RecordedStep
from vipnp.backends.cupy.memory import (
    POOL_YIELD,
    STEP_DOWN,
    DeviceMemoryError,
    Memory,
    PeakMemory,
    first_images,
    size_text,
)
from vipnp.backends.cupy.requirements import check_device, check_libraries
from vipnp.core.backend import NO_REPLACEMENTS, Array, Backend, HostArray, Op
from vipnp.core.checks import check_flag, is_whole

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
Y = TypeVar("Y")
Back = TypeVar("Back")

PRECISIONS = ("float32", "tf32", "bfloat16")

DTYPES = ("float16", "float32", "float64", "bfloat16", "bool", "int8", "int16", "int32", "int64", "uint8")
"""What arrays on the device may hold; bfloat16 is the type of ml_dtypes."""


class CupyBackend(Backend):
    """CuPy arrays on one device.

    Attributes
    ----------
    precision : of the matrix products, see `create`.
    fused : whether CUDA kernels replace the readable ops.
    device_id : the index of the device.
    host_waits : how many times the host has waited for the device through this backend (`to_numpy`, `synchronize`).
    """

    def __init__(self, cupy: Any, device_id: int, precision: str, fused: bool) -> None:
        super().__init__(
            "cupy",
            import_module("array_api_compat.cupy"),
            cupy.ndarray,
            device=cupy.cuda.Device(device_id),
            replacements=TABLE if fused else NO_REPLACEMENTS,
        )
        self.cupy = cupy
        self.device_id = device_id
        self.precision = precision
        self.fused = fused
        self._phi = import_module("cupyx.scipy.special").ndtr
        self._shared = _Shared()

    def __repr__(self) -> str:
        return f"<vipnp backend 'cupy' device={self.device_id} precision={self.precision!r} fused={self.fused}>"

    def __getattr__(self, name: str) -> Any:
        """A name of the namespace; its functions work on this backend's device, whichever is current."""
        value = super().__getattr__(name)
        if name.startswith("_") or isinstance(value, type) or not callable(value) or self._shared.depth.value:
            return value

        def on_this_device(*args: Any, **kwargs: Any) -> Any:
            with self.device:
                return value(*args, **kwargs)

        return on_this_device

    @property
    def host_waits(self) -> int:
        return self._shared.host_waits

    # --- running ops ---------------------------------------------------------------------------------------------

    def find(self, function: F) -> F:
        """See `Backend.find`. Called outside of `run`, what is found selects the device, as `run` does."""
        found = super().find(function)
        if self._shared.depth.value:
            return found
        return cast("F", partial(self._outermost, None, None, found))

    def run(
        self, op: Callable[Concatenate[Any, P], tuple[Y, Back]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Y, Back]:
        """See `Backend.run`. The outermost call selects the device and turns a lack of memory into DeviceMemoryError.

        Raises TypeError for an array of another library, another device or an unsupported dtype. The pullback raises
        RuntimeError on another stream than that of the forward pass: nothing would make it wait for what it reads.
        """
        for value in (*args, *kwargs.values()):
            if isinstance(value, self.array_type):
                self._check_array(op, value)
        if self._shared.depth.value:
            return super().run(op, *args, **kwargs)
        arrays: list[Array] = [value for value in args if isinstance(value, self.array_type)]
        batch = next((array.shape[0] for array in arrays if array.ndim == 4), None)

        def measure(images: int) -> int:
            first = {name: first_images(value, images, batch) for name, value in kwargs.items()}
            return self._peak(op, first_images(args, images, batch), first)

        y, pullback = self._outermost(batch, measure, super().run, op, *args, **kwargs)
        if not self.keep:
            return y, pullback

        stream = self._stream()

        def outermost_pullback(*cotangents: Array) -> Any:
            if self._stream() != stream:
                raise RuntimeError(
                    f"{op.__name__}: its pullback was called on {self._stream()}, expected {stream}, the stream of its "
                    "forward pass"
                )
            return self._outermost(batch, measure, pullback, *cotangents)

        return y, outermost_pullback  # type: ignore[return-value]

    def _stream(self) -> Any:
        with self.device:
            return self.cupy.cuda.get_current_stream()

    def _outermost(
        self,
        batch: int | None,
        measure: Callable[[int], int] | None,
        function: Callable[..., Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with self.device, self._shared.depth:
            try:
                return function(*args, **kwargs)
            except self.cupy.cuda.memory.OutOfMemoryError as error:
                message = self._out_of_memory(str(error))
        # Raised out here, when the frames that held the arrays of the failed step are gone.
        self.release_memory()
        if batch is not None and measure is not None:
            message += f"; {self._what_fits(batch, measure)}"
        raise DeviceMemoryError(message)

    def _out_of_memory(self, error: str) -> str:
        memory = self.memory()
        found = re.search(r"allocating ([\d,]+) bytes", error)
        asked = int(found[1].replace(",", "")) if found else 0
        return (
            f"out of memory on CUDA device {self.device_id}: asked for {size_text(asked)}, "
            f"in use {size_text(memory.used)}, free {size_text(memory.available)} of {size_text(memory.total)}"
        )

    def _what_fits(self, batch: int, measure: Callable[[int], int]) -> str:
        """The largest batch that fits, found by running smaller ones: memory grows about in proportion."""
        half, peaks = batch // 2, None
        while half > 0 and peaks is None:
            peaks = self._peaks(measure, half)
            half = half if peaks else half // 2
        if peaks is None:
            return f"a batch of {batch} does not fit, and neither does one image"
        small, large = peaks
        each = max((large - small) / max(half - half // 2, 1), 1.0)
        fits = min(half + int((self.memory().available * POOL_YIELD - large) / each), batch - 1)
        while fits > half and not self._peaks(measure, fits):
            fits = max(half, int(fits * STEP_DOWN))
        return f"a batch of {batch} does not fit, one of {max(fits, half)} does"

    def _peaks(self, measure: Callable[[int], int], images: int) -> tuple[int, int] | None:
        """The peaks of half as many images and of `images`, None if these do not fit."""
        try:
            return measure(max(images // 2, 1)), measure(images)
        except self.cupy.cuda.memory.OutOfMemoryError:
            pass
        self.release_memory()
        return None

    def _peak(self, op: Op, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """The most bytes that `op` and its pullback need at a time, beside what is in use already."""
        with self.watch_memory() as peak, self._shared.depth:
            y, pullback = super().run(op, *args, **kwargs)
            if self.keep:
                pullback(self.ones_like(y))
        return peak.added

    def _check_array(self, op: Op, array: Array) -> None:
        device = array.data.device_id
        if device != self.device_id:
            raise TypeError(
                f"{op.__name__}: got an array of CUDA device {device}; this backend is on device {self.device_id}"
            )
        if not _is_known(array.dtype):
            raise TypeError(f"{op.__name__}: got dtype {array.dtype}, expected one of {', '.join(DTYPES)}")

    def owns(self, x: object) -> bool:
        """See `Backend.owns`."""
        return type(x) is self.array_type and x.data.device_id == self.device_id  # type: ignore[attr-defined]

    def recorded_step(
        self, params: Mapping[str, Array], batch: Sequence[Array], draws: tuple[int, ...], **options: Any
    ) -> RecordedStep:
        """A training step to record in a CUDA graph, see `vipnp.backends.cupy.graph.RecordedStep`."""
        step: RecordedStep = self._outermost(None, None, RecordedStep, self, params, batch, draws, **options)
        return step

    # --- what an array namespace lacks ----------------------------------------------------------------------------

    def ndtr(self, x: Array) -> Array:
        return self._phi(x)

    # --- arrays in and out ------------------------------------------------------------------------------------------

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        with self.device:
            return self.cupy.asarray(values, dtype=dtype)

    def to_numpy(self, x: Array) -> HostArray:
        self._shared.host_waits += 1
        host: HostArray = self.cupy.asnumpy(x)
        return host

    def synchronize(self) -> None:
        self._shared.host_waits += 1
        self.device.synchronize()

    def memory(self) -> Memory:
        """What arrays use on the device, and what the pool and its limit leave them."""
        pool = self.cupy.get_default_memory_pool()
        with self.device:
            free, total = self.cupy.cuda.runtime.memGetInfo()
            used, limit = pool.used_bytes(), pool.get_limit()
            available = free + pool.total_bytes() - used
            return Memory(used, min(available, limit - used) if limit else available, total)

    @contextmanager
    def watch_memory(self) -> Iterator[PeakMemory]:
        """Within this context the allocations of this thread are watched for the peak of memory in use."""
        pool = self.cupy.get_default_memory_pool()

        def allocate(size: int) -> Any:
            pointer = pool.malloc(size)
            peak.added = max(peak.added, pool.used_bytes() - peak.before)
            return pointer

        with self.device, self.cupy.cuda.using_allocator(allocate):
            peak = PeakMemory(before=pool.used_bytes())
            yield peak

    def release_memory(self) -> None:
        """Give what the pool holds for no array back to the device."""
        with self.device:
            self.cupy.get_default_memory_pool().free_all_blocks()


@cache
def _is_known(dtype: Any) -> bool:
    return dtype.name in DTYPES


class _Depth(threading.local):
    """How many `run` calls are under way in this thread."""

    value = 0

    def __enter__(self) -> None:
        self.value += 1

    def __exit__(self, *_: object) -> None:
        self.value -= 1


class _Shared:
    """What a backend shares with its `inference` and `counting` twins."""

    def __init__(self) -> None:
        self.depth = _Depth()
        self.host_waits = 0


def create(
    device: int = 0, precision: str = "float32", fused: bool = True, memory_limit: int | None = None
) -> CupyBackend:
    """The `cupy` backend.

    device : index of the CUDA device.
    precision : how the matrix products of float32 arrays are computed. "float32": in full. "tf32": inputs rounded to
    the 10-bit mantissa of TF32, float32 sums. "bfloat16": activations stored and multiplied in bfloat16, sums,
    normalisations, gradients of weights and the weights themselves in float32. Other than "float32" needs fused=True.
    fused : CUDA kernels in the place of the readable ops; False runs the ops as they stand.
    memory_limit : bytes that the memory pool may hold on the device, None for all there is.

    Raises ImportError where cuBLAS is missing, RuntimeError where there is no driver, no device, a driver too
    old for this CuPy, no NVRTC or no CUDA headers, ValueError or TypeError for an option out of its range.
    """
    if not is_whole(device):
        raise TypeError(f"device: got {device!r}, expected the index of a CUDA device")
    if precision not in PRECISIONS:
        raise ValueError(f"precision: got {precision!r}, expected one of {', '.join(PRECISIONS)}")
    fused = check_flag("fused", fused)
    if precision != "float32" and not fused:
        raise ValueError(f"precision: got {precision!r} with fused=False, which runs in the dtype of its arrays")
    if memory_limit is not None and not is_whole(memory_limit):
        raise TypeError(f"memory_limit: got {memory_limit!r}, expected a number of bytes or None")
    if memory_limit is not None and memory_limit <= 0:
        raise ValueError(f"memory_limit: got {memory_limit}, expected a positive number of bytes")
    device = int(device)
    check_device(cupy, device)
    with cupy.cuda.Device(device):
        check_libraries(cupy, precision)
        if memory_limit is not None:
            cupy.get_default_memory_pool().set_limit(size=memory_limit)
    return CupyBackend(cupy, device, precision, fused)
