"""The same ops, layers and model in PyTorch, for comparison; PyTorch is imported when one is called.

The functions take what our ops take, with tensors in the place of arrays, and leave the backward pass to autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vipnp.models import ViPConfig

Tensor = Any


def _f() -> Any:
    import torch.nn.functional

    return torch.nn.functional


# --- ops ----------------------------------------------------------------------------------------------------------


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _f().linear(x, weight, bias)


def linear_no_bias(x: Tensor, weight: Tensor) -> Tensor:
    return _f().linear(x, weight)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return _f().layer_norm(x, weight.shape, weight, bias, eps)


def gelu(x: Tensor) -> Tensor:
    return _f().gelu(x)


def softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def permute_height(x: Tensor, segments: int) -> Tensor:
    B, H, W, C = x.shape
    return x.reshape(B, H, W, segments, C // segments).permute(0, 3, 2, 1, 4).reshape(B, segments, W, -1)


def permute_width(x: Tensor, segments: int) -> Tensor:
    B, H, W, C = x.shape
    return x.reshape(B, H, W, segments, C // segments).permute(0, 1, 3, 2, 4).reshape(B, H, segments, -1)


def resample_mixing(weight: Tensor, spread: Tensor, gather: Tensor) -> Tensor:
    import torch

    (H, G), S = spread.shape, len(weight) // spread.shape[1]
    seen = weight.reshape(G, S, G, S)
    return torch.einsum("hi,itjs,jk->htks", spread, seen, gather).reshape(H * S, H * S)


def shift(x: Tensor, *, rows: Tensor, columns: Tensor) -> Tensor:
    import torch

    seen = x.reshape(*x.shape[:3], len(rows), -1)
    return torch.einsum("ngh,nvw,bhwns->bgvns", rows, columns, seen).flatten(3)


def split_attention(logits: Tensor, *branches: Tensor) -> Tensor:
    import torch

    return torch.einsum("kbhwc,bck->bhwc", torch.stack(branches), logits.softmax(-1))


def patch_embed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return _f().conv2d(x, weight, bias, stride=weight.shape[2:]).permute(0, 2, 3, 1)


def global_average_pool(x: Tensor) -> Tensor:
    return x.mean((1, 2))


def dropout(x: Tensor, *, mask: Tensor, rate: float) -> Tensor:
    return x * mask / (1 - rate)


def drop_path(x: Tensor, *, mask: Tensor, rate: float) -> Tensor:
    return x * mask.reshape(-1, 1, 1, 1) / (1 - rate)


def residual(x: Tensor, branch: Tensor, skip_lam: float = 1.0) -> Tensor:
    return x + branch / skip_lam


def soft_cross_entropy(logits: Tensor, *, targets: Tensor) -> Tensor:
    return _f().cross_entropy(logits, targets)


def cross_entropy(logits: Tensor, *, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    return _f().cross_entropy(logits, labels.long(), label_smoothing=label_smoothing)


# --- layers -------------------------------------------------------------------------------------------------------


def mlp(x: Tensor, params: Any, *, hidden_mask: Any = None, out_mask: Any = None) -> Tensor:
    a = _masked(dropout, gelu(linear(x, **params["fc1"])), hidden_mask)
    return _masked(dropout, linear(a, **params["fc2"]), out_mask)


def height_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    import torch

    B, H, W, C = x.shape
    S = C // segments
    weight = params["weight"].reshape(H, S, H, S)
    return torch.einsum("bhwns,gths->bgwnt", x.reshape(B, H, W, segments, S), weight).reshape(B, H, W, C)


def width_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    import torch

    B, H, W, C = x.shape
    S = C // segments
    weight = params["weight"].reshape(W, S, W, S)
    return torch.einsum("bhwns,vtws->bhvnt", x.reshape(B, H, W, segments, S), weight).reshape(B, H, W, C)


def channel_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    del segments
    return linear_no_bias(x, params["weight"])


def plane_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    import torch

    del segments
    return torch.einsum("qp,bpc->bqc", params["weight"], x.flatten(1, 2)).reshape(x.shape)


def point_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    import torch

    del segments
    above, below, left, right = x.chunk(4, -1)
    above = torch.cat([above[:, :1], above[:, :-1]], 1)
    below = torch.cat([below[:, 1:], below[:, -1:]], 1)
    left = torch.cat([left[:, :, :1], left[:, :, :-1]], 2)
    right = torch.cat([right[:, :, 1:], right[:, :, -1:]], 2)
    return linear_no_bias(torch.cat([above, below, left, right], -1), params["weight"])


def axial_height_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    import torch

    del segments
    H = x.shape[1]
    padded = _f().pad(x, (0, 0, 0, 0, 2, 2)).chunk(4, -1)
    parts = [part[:, start : start + H] for part, start in zip(padded, (4, 3, 1, 0), strict=True)]
    return linear_no_bias(torch.cat(parts, -1), params["weight"])


def axial_width_branch(x: Tensor, params: Any, *, segments: int) -> Tensor:
    return axial_height_branch(x.transpose(1, 2), params, segments=segments).transpose(1, 2)


BRANCHES: dict[str, Callable[..., Tensor]] = {
    "height": height_branch,
    "width": width_branch,
    "channel": channel_branch,
    "plane": plane_branch,
    "point": point_branch,
    "axial_height": axial_height_branch,
    "axial_width": axial_width_branch,
}


def _branches(x: Tensor, params: Any, segments: int, kinds: Sequence[str]) -> list[Tensor]:
    places = zip(kinds, ("mlp_h", "mlp_w", "mlp_c"), strict=True)
    return [BRANCHES[kind](x, params[place], segments=segments) for kind, place in places]


STANDARD = ("height", "width", "channel")


def permute_mlp(
    x: Tensor, params: Any, *, segments: int, branches: Sequence[str] = STANDARD, mask: Any = None
) -> Tensor:
    h, w, c = _branches(x, params, segments, branches)
    return _masked(dropout, linear(h + w + c, **params["proj"]), mask)


def weighted_permute_mlp(
    x: Tensor, params: Any, *, segments: int, branches: Sequence[str] = STANDARD, mask: Any = None
) -> Tensor:
    B, _, _, C = x.shape
    h, w, c = _branches(x, params, segments, branches)
    logits = mlp((h + w + c).mean((1, 2)), params["reweight"]).reshape(B, C, 3)
    return _masked(dropout, linear(split_attention(logits, h, w, c), **params["proj"]), mask)


def permutator(
    x: Tensor,
    params: Any,
    *,
    segments: int,
    fusion: str = "weighted",
    branches: Sequence[str] = STANDARD,
    skip_lam: float = 1.0,
    masks: Any = (None, None, None, None, None),
) -> Tensor:
    attn_path, mlp_path, proj, hidden, out = masks
    attention = weighted_permute_mlp if fusion == "weighted" else permute_mlp
    a = attention(layer_norm(x, **params["norm1"]), params["attn"], segments=segments, branches=branches, mask=proj)
    z = x + _masked(drop_path, a, attn_path) / skip_lam
    a = mlp(layer_norm(z, **params["norm2"]), params["mlp"], hidden_mask=hidden, out_mask=out)
    return z + _masked(drop_path, a, mlp_path) / skip_lam


def stage(x: Tensor, params: Any, *, masks: Any = None, **options: Any) -> Tensor:
    for i in range(len(params)):
        block_masks = (None, None, None, None, None) if masks is None else masks[i]
        x = permutator(x, params[str(i)], masks=block_masks, **options)
    return x


def downsample(x: Tensor, params: Any) -> Tensor:
    return patch_embed(x.permute(0, 3, 1, 2), **params["proj"])


def vision_permutator(images: Tensor, params: Any, *, config: ViPConfig, masks: Any = None) -> Tensor:
    x = patch_embed(images, **params["patch_embed"]["proj"])
    first = place = 0
    for depth, segments in zip(config.layers, config.segments, strict=True):
        x = stage(
            x,
            params["network"][str(place)],
            segments=segments,
            fusion=config.fusion,
            branches=config.branches,
            skip_lam=config.skip_lam,
            masks=None if masks is None else masks[first : first + depth],
        )
        first, place = first + depth, place + 1
        if "proj" in params["network"].get(str(place), {}):
            x = downsample(x, params["network"][str(place)])
            place += 1
    return linear(layer_norm(x, **params["norm"]).mean((1, 2)), **params["head"])


def model_loss(
    images: Tensor, params: Any, *, config: ViPConfig, labels: Tensor, label_smoothing: float, masks: Any = None
) -> Tensor:
    logits = vision_permutator(images, params, config=config, masks=masks)
    return cross_entropy(logits, labels=labels, label_smoothing=label_smoothing)


def _masked(function: Callable[..., Tensor], x: Tensor, mask: Any) -> Tensor:
    return x if mask is None else function(x, mask=mask[0], rate=mask[1])
