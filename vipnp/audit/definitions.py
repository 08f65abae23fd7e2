"""What every op and layer means, as loops over scalars: Python lists and `math`, and nothing of vipnp.

Arrays are nested lists, x[b][h][w][c]. These definitions are slow and as plain as the formula; the ops are held against
them by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

Nested = Any
"""A number, or a list of Nested."""


def _over_rows(function: Callable[[list[float]], Nested], x: Nested) -> Nested:
    """`function` applied to every innermost list of `x`."""
    if isinstance(x[0], list):
        return [_over_rows(function, part) for part in x]
    return function(x)


def _each(function: Callable[..., float], *xs: Nested) -> Nested:
    """`function` of the numbers at the same place in all of `xs`."""
    if isinstance(xs[0], list):
        return [_each(function, *parts) for parts in zip(*xs, strict=True)]
    return function(*xs)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(u * v for u, v in zip(a, b, strict=True))


# --- ops ----------------------------------------------------------------------------------------------------------


def linear(x: Nested, weight: Nested, bias: Nested) -> Nested:
    return _over_rows(lambda row: [_dot(row, w) + b for w, b in zip(weight, bias, strict=True)], x)


def linear_no_bias(x: Nested, weight: Nested) -> Nested:
    return _over_rows(lambda row: [_dot(row, w) for w in weight], x)


def layer_norm(x: Nested, weight: Nested, bias: Nested, eps: float = 1e-5) -> Nested:
    def normalised(row: list[float]) -> list[float]:
        mean = math.fsum(row) / len(row)
        variance = math.fsum((v - mean) ** 2 for v in row) / len(row)
        return [g * (v - mean) / math.sqrt(variance + eps) + b for v, g, b in zip(row, weight, bias, strict=True)]

    return _over_rows(normalised, x)


def gelu(x: Nested) -> Nested:
    return _each(lambda v: v * math.erfc(-v / math.sqrt(2)) / 2, x)


def softmax(x: Nested) -> Nested:
    def normalised(row: list[float]) -> list[float]:
        top = max(row)
        total = math.fsum(math.exp(v - top) for v in row)
        return [math.exp(v - top) / total for v in row]

    return _over_rows(normalised, x)


def permute_height(x: Nested, segments: int) -> Nested:
    B, H, W, C = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    S = C // segments
    return [
        [[[x[b][h][w][n * S + s] for h in range(H) for s in range(S)] for w in range(W)] for n in range(segments)]
        for b in range(B)
    ]


def permute_width(x: Nested, segments: int) -> Nested:
    B, H, W, C = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    S = C // segments
    return [
        [[[x[b][h][w][n * S + s] for w in range(W) for s in range(S)] for n in range(segments)] for h in range(H)]
        for b in range(B)
    ]


def resample_mixing(weight: Nested, spread: Nested, gather: Nested) -> Nested:
    H, G = len(spread), len(gather)
    S = len(weight) // G
    return [
        [
            math.fsum(spread[h][i] * weight[i * S + t][j * S + s] * gather[j][k] for i in range(G) for j in range(G))
            for k in range(H)
            for s in range(S)
        ]
        for h in range(H)
        for t in range(S)
    ]


def shift(x: Nested, *, rows: Nested, columns: Nested) -> Nested:
    H, W, C = len(x[0]), len(x[0][0]), len(x[0][0][0])
    S, G, V = C // len(rows), len(rows[0]), len(columns[0])

    def output(image: Nested, g: int, v: int, c: int) -> float:
        row, column = rows[c // S][g], columns[c // S][v]
        return math.fsum(row[h] * column[w] * image[h][w][c] for h in range(H) for w in range(W))

    return [[[[output(image, g, v, c) for c in range(C)] for v in range(V)] for g in range(G)] for image in x]


def split_attention(logits: Nested, *branches: Nested) -> Nested:
    B, H, W, C = len(branches[0]), len(branches[0][0]), len(branches[0][0][0]), len(branches[0][0][0][0])
    a = softmax(logits)
    return [
        [
            [
                [math.fsum(a[b][c][k] * x[b][h][w][c] for k, x in enumerate(branches)) for c in range(C)]
                for w in range(W)
            ]
            for h in range(H)
        ]
        for b in range(B)
    ]


def patch_embed(x: Nested, weight: Nested, bias: Nested) -> Nested:
    P, Q = len(weight[0][0]), len(weight[0][0][0])
    C = len(x[0])
    h, w = len(x[0][0]) // P, len(x[0][0][0]) // Q

    def output(image: Nested, i: int, j: int, k: int) -> Nested:
        return float(bias[k]) + math.fsum(
            image[c][i * P + p][j * Q + q] * weight[k][c][p][q] for c in range(C) for p in range(P) for q in range(Q)
        )

    return [[[[output(image, i, j, k) for k in range(len(bias))] for j in range(w)] for i in range(h)] for image in x]


def global_average_pool(x: Nested) -> Nested:
    H, W, C = len(x[0]), len(x[0][0]), len(x[0][0][0])
    return [[math.fsum(image[h][w][c] for h in range(H) for w in range(W)) / (H * W) for c in range(C)] for image in x]


def dropout(x: Nested, *, mask: Nested, rate: float) -> Nested:
    return _each(lambda v, kept: v / (1 - rate) if kept == 1 else 0.0, x, mask)


def drop_path(x: Nested, *, mask: Nested, rate: float) -> Nested:
    return [
        _each(lambda v, kept=kept: v / (1 - rate) if kept == 1 else 0.0, image)
        for image, kept in zip(x, mask, strict=True)
    ]


def residual(x: Nested, branch: Nested, skip_lam: float = 1.0) -> Nested:
    return _each(lambda v, r: v + r / skip_lam, x, branch)


def soft_cross_entropy(logits: Nested, *, targets: Nested) -> float:
    p = softmax(logits)
    total: float = math.fsum(
        t * math.log(q) for p_b, t_b in zip(p, targets, strict=True) for q, t in zip(p_b, t_b, strict=True)
    )
    return -total / len(logits)


def cross_entropy(logits: Nested, *, labels: Sequence[int], label_smoothing: float = 0.0) -> float:
    K = len(logits[0])
    targets = [[(1 - label_smoothing) * (k == y) + label_smoothing / K for k in range(K)] for y in labels]
    return soft_cross_entropy(logits, targets=targets)


# --- layers -------------------------------------------------------------------------------------------------------


def mlp(x: Nested, params: Any, *, hidden_mask: Any = None, out_mask: Any = None) -> Nested:
    a = gelu(linear(x, params["fc1"]["weight"], params["fc1"]["bias"]))
    a = _masked(dropout, a, hidden_mask)
    return _masked(dropout, linear(a, params["fc2"]["weight"], params["fc2"]["bias"]), out_mask)


def height_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    B, H, W, C = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    S, weight = C // segments, params["weight"]

    def output(b: int, g: int, w: int, n: int, t: int) -> float:
        return math.fsum(x[b][h][w][n * S + s] * weight[g * S + t][h * S + s] for h in range(H) for s in range(S))

    return [
        [[[output(b, g, w, c // S, c % S) for c in range(C)] for w in range(W)] for g in range(H)] for b in range(B)
    ]


def width_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    B, H, W, C = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    S, weight = C // segments, params["weight"]

    def output(b: int, h: int, v: int, n: int, t: int) -> float:
        return math.fsum(x[b][h][w][n * S + s] * weight[v * S + t][w * S + s] for w in range(W) for s in range(S))

    return [
        [[[output(b, h, v, c // S, c % S) for c in range(C)] for v in range(W)] for h in range(H)] for b in range(B)
    ]


def channel_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    del segments
    return linear_no_bias(x, params["weight"])


def plane_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    del segments
    H, W, C, weight = len(x[0]), len(x[0][0]), len(x[0][0][0]), params["weight"]
    places = [(h, w) for h in range(H) for w in range(W)]

    def output(image: Nested, h: int, w: int, c: int) -> float:
        return _dot(weight[h * W + w], [image[i][j][c] for i, j in places])

    return [[[[output(image, h, w, c) for c in range(C)] for w in range(W)] for h in range(H)] for image in x]


def point_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    del segments
    H, W, C = len(x[0]), len(x[0][0]), len(x[0][0][0])

    def taken(image: Nested, h: int, w: int, c: int) -> float:
        i, j = [(max(h - 1, 0), w), (min(h + 1, H - 1), w), (h, max(w - 1, 0)), (h, min(w + 1, W - 1))][4 * c // C]
        return float(image[i][j][c])

    a = [[[[taken(image, h, w, c) for c in range(C)] for w in range(W)] for h in range(H)] for image in x]
    return linear_no_bias(a, params["weight"])


def axial_height_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    del segments
    H, W, C = len(x[0]), len(x[0][0]), len(x[0][0][0])

    def taken(image: Nested, h: int, w: int, c: int) -> float:
        i = h - (-2, -1, 1, 2)[4 * c // C]
        return float(image[i][w][c]) if 0 <= i < H else 0.0

    a = [[[[taken(image, h, w, c) for c in range(C)] for w in range(W)] for h in range(H)] for image in x]
    return linear_no_bias(a, params["weight"])


def axial_width_branch(x: Nested, params: Any, *, segments: int) -> Nested:
    turned = [[list(column) for column in zip(*image, strict=True)] for image in x]
    y = axial_height_branch(turned, params, segments=segments)
    return [[list(column) for column in zip(*image, strict=True)] for image in y]


BRANCHES = {
    "height": height_branch,
    "width": width_branch,
    "channel": channel_branch,
    "plane": plane_branch,
    "point": point_branch,
    "axial_height": axial_height_branch,
    "axial_width": axial_width_branch,
}


STANDARD = ("height", "width", "channel")


def _branches(x: Nested, params: Any, segments: int, kinds: Sequence[str]) -> list[Nested]:
    places = zip(kinds, ("mlp_h", "mlp_w", "mlp_c"), strict=True)
    return [BRANCHES[kind](x, params[place], segments=segments) for kind, place in places]


def permute_mlp(
    x: Nested, params: Any, *, segments: int, branches: Sequence[str] = STANDARD, mask: Any = None
) -> Nested:
    total = _each(lambda h, w, c: math.fsum((h, w, c)), *_branches(x, params, segments, branches))
    return _masked(dropout, linear(total, params["proj"]["weight"], params["proj"]["bias"]), mask)


def weighted_permute_mlp(
    x: Nested, params: Any, *, segments: int, branches: Sequence[str] = STANDARD, mask: Any = None
) -> Nested:
    h, w, c = _branches(x, params, segments, branches)
    pooled = global_average_pool(_each(lambda u, v, t: math.fsum((u, v, t)), h, w, c))
    rows = mlp(pooled, params["reweight"])
    logits = [[[row[3 * channel + k] for k in range(3)] for channel in range(len(row) // 3)] for row in rows]
    attended = split_attention(logits, h, w, c)
    return _masked(dropout, linear(attended, params["proj"]["weight"], params["proj"]["bias"]), mask)


def permutator(
    x: Nested,
    params: Any,
    *,
    segments: int,
    fusion: str = "weighted",
    branches: Sequence[str] = STANDARD,
    skip_lam: float = 1.0,
    masks: Any = (None, None, None, None, None),
) -> Nested:
    attn_path, mlp_path, proj, hidden, out = masks
    attention = weighted_permute_mlp if fusion == "weighted" else permute_mlp
    a = layer_norm(x, params["norm1"]["weight"], params["norm1"]["bias"])
    a = attention(a, params["attn"], segments=segments, branches=branches, mask=proj)
    z = residual(x, _masked(drop_path, a, attn_path), skip_lam)
    a = layer_norm(z, params["norm2"]["weight"], params["norm2"]["bias"])
    a = mlp(a, params["mlp"], hidden_mask=hidden, out_mask=out)
    return residual(z, _masked(drop_path, a, mlp_path), skip_lam)


def stage(x: Nested, params: Any, *, masks: Any = None, **options: Any) -> Nested:
    for i in range(len(params)):
        block_masks = (None, None, None, None, None) if masks is None else masks[i]
        x = permutator(x, params[str(i)], masks=block_masks, **options)
    return x


def downsample(x: Nested, params: Any) -> Nested:
    H, W, C = len(x[0]), len(x[0][0]), len(x[0][0][0])
    channels_first = [[[[image[h][w][c] for w in range(W)] for h in range(H)] for c in range(C)] for image in x]
    return patch_embed(channels_first, params["proj"]["weight"], params["proj"]["bias"])


def vision_permutator(images: Nested, params: Any, *, config: Any, masks: Any = None) -> Nested:
    x = patch_embed(images, params["patch_embed"]["proj"]["weight"], params["patch_embed"]["proj"]["bias"])
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
    x = global_average_pool(layer_norm(x, params["norm"]["weight"], params["norm"]["bias"]))
    return linear(x, params["head"]["weight"], params["head"]["bias"])


def model_loss(
    images: Nested, params: Any, *, config: Any, labels: Sequence[int], label_smoothing: float, masks: Any = None
) -> float:
    logits = vision_permutator(images, params, config=config, masks=masks)
    return cross_entropy(logits, labels=labels, label_smoothing=label_smoothing)


def _masked(function: Callable[..., Nested], x: Nested, mask: Any) -> Nested:
    return x if mask is None else function(x, mask=mask[0], rate=mask[1])
