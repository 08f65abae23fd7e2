"""The CUDA replacement table of the cupy backend: kernels written for this network, products by cuBLAS.

`TABLE` maps ops, layers and the optimiser's step to the functions that stand in for them; docs/cuda.md says which
kernel does what. Activations are float32, float16 or bfloat16 with float32 sums, or float64.
"""

from vipnp.backends.cupy import ops, optimizer, stage
from vipnp.core import Replacements

TABLE = Replacements()
TABLE.update(ops.TABLE)
TABLE.update(stage.TABLE)
TABLE.update(optimizer.TABLE)

__all__ = ["TABLE"]
