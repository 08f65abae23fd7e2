"""The CUDA replacement table of the cupy backend: kernels written for this network, products by cuBLAS.

`TABLE` maps ops, layers and the optimiser's step to the functions that stand in for them; docs/cuda.md says which
kernel does what. Activations are float32, float16 or bfloat16 with float32 sums, or float64.
"""

from vipnp.backends.cupy import (
    cross_entropy,
    gelu,
    layer_norm,
    linear,
    optimizer,
    permutations,
    residual,
    split_attention,
    stage,
)
from vipnp.core import Replacements

TABLE = Replacements()
for module in (layer_norm, gelu, residual, linear, permutations, split_attention, cross_entropy, stage, optimizer):
    TABLE.update(module.TABLE)

__all__ = ["TABLE"]
