"""Other array libraries as plain backends: array_api_strict on its fake second device, and PyTorch."""

from __future__ import annotations

from vipnp.backends.array_api import ArrayAPIBackend
from vipnp.verify.extras import need


class StrictBackend(ArrayAPIBackend):
    """array_api_strict on "device1": nothing outside the array API standard works, and nothing of NumPy slips in.

    Raises MissingExtraError where array-api-strict is not installed.
    """

    def __init__(self) -> None:
        strict = need("array_api_strict", "audit")
        super().__init__(strict, strict.Device("device1"), name="array_api_strict")


class TorchBackend(ArrayAPIBackend):
    """PyTorch's namespace on the CPU, as array-api-compat presents it.

    Raises MissingExtraError where PyTorch is not installed.
    """

    def __init__(self) -> None:
        super().__init__(need("torch", "test"), "cpu", name="torch")
