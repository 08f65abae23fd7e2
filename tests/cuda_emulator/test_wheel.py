"""The build of CuPy that a run is meant for is the one it runs on: both have one import name.

Environment:
    VIPNP_CUDA=12   the major version of CUDA that the wheel, NVRTC and the headers must have; 13 unless given
"""

from __future__ import annotations

import os
import re

import pytest
from cupy.cuda import driver, nvrtc

from tests.cuda_emulator.emulator import cuda_headers

pytestmark = pytest.mark.kernels


def test_wheel_compiler_and_headers_are_of_the_cuda_that_is_wanted() -> None:
    wanted = int(os.environ.get("VIPNP_CUDA", "13"))
    defined = re.search(r"#define CUDART_VERSION +(\d+)", (cuda_headers() / "cuda_runtime_api.h").read_text())
    assert defined is not None
    found = {
        "CuPy": driver.get_build_version() // 1000,
        "NVRTC": nvrtc.getVersion()[0],
        "headers": int(defined[1]) // 1000,
    }
    assert found == dict.fromkeys(found, wanted), f"make .venv/.kernels .venv/.cuda12; headers: {cuda_headers()}"
