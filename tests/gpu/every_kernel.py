"""`python -m tests.gpu.every_kernel`: runs every CUDA kernel once on the device, for compute-sanitizer to watch.

Memory comes from cudaMalloc, array by array, so that a read or write beside an array is seen.
"""

from __future__ import annotations

import cupy

from tests.backends.cupy.kernel_checks import CHECKS
from tools.arguments import takes_none
from vipnp.backends import get_backend


def main() -> None:
    cupy.cuda.set_allocator(None)
    xp = get_backend("cupy")
    for check in dict.fromkeys(check for checks in CHECKS.values() for check in checks):
        check(xp)
        print(check.__name__, flush=True)
    xp.synchronize()


if __name__ == "__main__":
    takes_none(__doc__)
    main()
