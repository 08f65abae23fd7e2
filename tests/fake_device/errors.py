"""What goes wrong on the fake device: a status for CUDA, and the reason in words."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Those of cudaError_t and CUresult that are used; both count them alike."""

    INVALID_VALUE = 1
    OUT_OF_MEMORY = 2
    INSUFFICIENT_DRIVER = 35
    NO_DEVICE = 100
    INVALID_DEVICE = 101
    INVALID_HANDLE = 400
    NOT_FOUND = 500
    NOT_READY = 600
    ILLEGAL_ADDRESS = 700
    LAUNCH_FAILURE = 719
    STREAM_CAPTURE = 900
    NOT_SUPPORTED = 801


class DeviceError(Exception):
    """An error of the program that uses the device."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
