"""The ops: one a file, forward and backward together, `y, pullback = op(xp, ...)`.

`xp` is a backend (`vipnp.backends`). An op is a plain pure function: no argument, cotangent or saved array is ever
written, and calling a pullback again gives the same. Positional arrays are differentiated: `pullback(dy)` returns one
gradient for each, in their order. Masks, labels and targets come by keyword and are constants. Ops check nothing;
shapes, dtypes and values are checked where they enter the library (`vipnp.models`).

Letters: B batch, H W grid, C channels, N segments, S = C/N, P Q patch, K classes or output features, M rows; the
gradient of a thing t is dt; (*) is any shape.
"""

from vipnp.ops.cross_entropy import cross_entropy
from vipnp.ops.drop_path import drop_path
from vipnp.ops.dropout import dropout
from vipnp.ops.gelu import gelu
from vipnp.ops.global_average_pool import global_average_pool
from vipnp.ops.layer_norm import layer_norm
from vipnp.ops.linear import linear
from vipnp.ops.linear_no_bias import linear_no_bias
from vipnp.ops.patch_embed import patch_embed
from vipnp.ops.permute_height import permute_height
from vipnp.ops.permute_width import permute_width
from vipnp.ops.resample_mixing import resample_mixing
from vipnp.ops.residual import residual
from vipnp.ops.shift import shift
from vipnp.ops.soft_cross_entropy import soft_cross_entropy
from vipnp.ops.softmax import softmax
from vipnp.ops.split_attention import split_attention

__all__ = [
    "cross_entropy",
    "drop_path",
    "dropout",
    "gelu",
    "global_average_pool",
    "layer_norm",
    "linear",
    "linear_no_bias",
    "patch_embed",
    "permute_height",
    "permute_width",
    "resample_mixing",
    "residual",
    "shift",
    "soft_cross_entropy",
    "softmax",
    "split_attention",
]
