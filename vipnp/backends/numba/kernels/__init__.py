"""Numba kernels of the fused CPU backend: each fuses what stands between two matrix products of a Permutator block.

Every kernel works on the samples it is given, in one thread, without the GIL, and writes only into the arrays named as
outputs. Letters are those of the ops: B batch, H W grid, C channels, N segments, S = C/N, T = H*W tokens, R hidden
width of the MLP. Activations stand in three layouts,

    y  (B, H, W, N*S)   channels last
    yh (B, N, W, H*S)   permute_height(y): a row holds a column of the image, for one segment
    yw (B, H, N, W*S)   permute_width(y): a row holds a row of the image, for one segment

and the permutations happen inside the kernels that read or write these. Sums over the tokens add the W tokens of a row
first and then the H rows, so that their rounding error grows like sqrt(T). Floating-point contraction and reordering of
sums are allowed to the compiler; NaN and infinity are not assumed away. All kernels are compiled for float32 and for
float64, but for image.py: a stage in inference, float32, products included, in a layout of its own.
"""

from vipnp.backends.numba.kernels.adamw import adamw_entries
from vipnp.backends.numba.kernels.branches import (
    branch_means,
    weighted_sum,
    weighted_sum_backward,
    weighted_sum_da,
)
from vipnp.backends.numba.kernels.compiler import KERNELS, OPTIONS
from vipnp.backends.numba.kernels.gelu import bias_gelu, bias_gelu_backward
from vipnp.backends.numba.kernels.image import stage_chunks
from vipnp.backends.numba.kernels.layer_norm import (
    layer_norm,
    layer_norm_backward,
    layer_norm_permuted,
    layer_norm_permuted_backward,
    residual_layer_norm,
)
from vipnp.backends.numba.kernels.residual import residual, token_sums

__all__ = [
    "KERNELS",
    "OPTIONS",
    "adamw_entries",
    "bias_gelu",
    "bias_gelu_backward",
    "branch_means",
    "layer_norm",
    "layer_norm_backward",
    "layer_norm_permuted",
    "layer_norm_permuted_backward",
    "residual",
    "residual_layer_norm",
    "stage_chunks",
    "token_sums",
    "weighted_sum",
    "weighted_sum_backward",
    "weighted_sum_da",
]
