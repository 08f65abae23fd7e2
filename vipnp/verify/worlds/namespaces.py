"""Other array libraries as plain backends: array_api_strict on its fake second device, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtr

from vipnp.core import Array, Backend, HostArray
from vipnp.verify.extras import need


class StrictBackend(Backend):
    """array_api_strict on "device1": nothing outside the array API standard works, and nothing of NumPy slips in.

    Raises MissingExtraError where array-api-strict is not installed.
    """

    def __init__(self) -> None:
        strict = need("array_api_strict", "audit")
        super().__init__("array_api_strict", strict, type(strict.zeros(())), device=strict.Device("device1"))

    def ndtr(self, x: Array) -> Array:
        return self.asarray(np.asarray(ndtr(self.to_numpy(x))))

    def to_numpy(self, x: Array) -> HostArray:
        host = self.namespace.Device("CPU_DEVICE")
        return np.from_dlpack(self.namespace.asarray(x, device=host, copy=True))


class TorchBackend(Backend):
    """PyTorch's namespace on the CPU, as array-api-compat presents it.

    Raises MissingExtraError where PyTorch is not installed.
    """

    def __init__(self) -> None:
        self.torch: Any = need("torch", "test")
        super().__init__("torch", need("array_api_compat.torch", "test"), self.torch.Tensor)

    def ndtr(self, x: Array) -> Array:
        return self.torch.special.ndtr(x)

    def to_numpy(self, x: Array) -> HostArray:
        return np.asarray(x.detach().numpy())
