"""Any namespace of the Python array API standard: PyTorch, array_api_strict, JAX's NumPy, and what comes after them.

    get_backend("array_api", namespace="torch")                    PyTorch on its default device
    get_backend("array_api", namespace=torch, device="cuda:0")     the same on a GPU

PyTorch on the CPU and array_api_strict are tested; for other namespaces the standard is all there is to go by.
Source: Python array API standard, https://data-apis.org/array-api.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np
from scipy.special import ndtr

from vipnp.core import Array, Backend, HostArray
from vipnp.core.checks import shown


class ArrayAPIBackend(Backend):
    """The arrays of a namespace on one of its devices; the readable ops run as they stand.

    Parameters
    ----------
    module : the array library.
    device : one of its devices, None for its default.
    name : of the backend.

    Raises
    ------
    ValueError
        If the module has no `zeros` that makes an array of the standard on the device.
    """

    def __init__(self, module: ModuleType, device: Any = None, *, name: str = "array_api") -> None:
        try:
            example = module.zeros((), device=device)
            namespace: Any = array_api_compat.array_namespace(example)
        # PyTorch asserts that it was built for the device.
        except (AttributeError, TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ValueError(
                f"namespace: got {module.__name__} on device {shown(device)}, expected a namespace of the array API "
                f"standard and one of its devices ({error})"
            ) from error
        super().__init__(name, namespace, type(example), device=array_api_compat.device(example))
        self.module = module
        self._ndtr: Callable[[Array], Array] = getattr(getattr(module, "special", None), "ndtr", self._ndtr_on_host)

    def __repr__(self) -> str:
        return f"<vipnp backend {self.name!r} namespace={self.module.__name__!r} device={str(self.device)!r}>"

    def ndtr(self, x: Array) -> Array:
        """That of the library where it has one, as `special.ndtr`, else SciPy's, on the host."""
        return self._ndtr(x)

    def to_numpy(self, x: Array) -> HostArray:
        # A tensor of PyTorch that requires a gradient, which nobody asks of its values, is not exported.
        return np.from_dlpack(getattr(x, "detach", lambda: x)(), device="cpu")

    def _ndtr_on_host(self, x: Array) -> Array:
        return self.asarray(np.asarray(ndtr(self.to_numpy(x))))


def create(*, namespace: str | ModuleType, device: Any = None) -> ArrayAPIBackend:
    """The `array_api` backend.

    Parameters
    ----------
    namespace : the array library, such as "torch": the name of its module, or the module.
    device : one of its devices, as its functions take it; None means its default.

    Raises
    ------
    ImportError
        If the library is not installed.
    TypeError, ValueError
        If it is no namespace of the array API standard, or has no such device.
    """
    if isinstance(namespace, str):
        try:
            module = import_module(namespace)
        except ImportError as error:
            raise ImportError(f"namespace: {namespace!r} cannot be imported ({error})") from error
        except (ValueError, TypeError) as error:  # an empty name, and one that begins with a dot
            raise ValueError(
                f"namespace: got {namespace!r}, expected the name of an array library, such as 'torch' ({error})"
            ) from error
    elif isinstance(namespace, ModuleType):
        module = namespace
    else:
        raise TypeError(f"namespace: got {shown(namespace)}, expected the name of an array library, or its module")
    backend = ArrayAPIBackend(module, device)
    backend.remake = partial(create, namespace=module.__name__, device=device)  # a module does not pickle
    return backend
