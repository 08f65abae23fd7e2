"""What a model does with one image, in numbers: the computation of `model.vjp`, looked at on its way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vipnp.core import HostArray
from vipnp.core.checks import check_host_images, is_whole, shown
from vipnp.explain.receptive import receptive_fields
from vipnp.explain.tape import watched
from vipnp.layers import SHIFTS, BranchKind
from vipnp.layers.branches import shift_matrices
from vipnp.models import StageShape, ViPConfig, VisionPermutator


@dataclass(frozen=True)
class Branch:
    """One branch of a Permute-MLP.

    Attributes
    ----------
    place : "mlp_h", "mlp_w" or "mlp_c".
    kind : see `vipnp.layers.BRANCHES`.
    strength : (n, n), how much token i takes from token j, the Frobenius norm of the weights between them: of
        the tokens of a line for the height and the width, of all h*w tokens for a plane and for shifted channels; None
        for the channels, where a token takes from itself.
    """

    place: str
    kind: BranchKind
    strength: HostArray | None


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes
    ----------
    name : of its weights, "network.0.1".
    grid : (h, w), of its tokens.
    branches : in the order mlp_h, mlp_w, mlp_c.
    attention : (C, 3), the split-attention weights of every channel; None where the branches are added.
    gradient : (h, w), the norm over the channels of the gradient of the score at the output of the block.
    field : (height / P, width / P), the effective receptive field of the middle token, see `receptive_fields`.
    """

    name: str
    grid: tuple[int, int]
    branches: tuple[Branch, ...]
    attention: HostArray | None
    gradient: HostArray
    field: HostArray


@dataclass(frozen=True)
class Explanation:
    """What a model does with one image.

    Attributes
    ----------
    image : (channels, height, width), as the network sees it.
    logits : (K,).
    target : the class that was asked about.
    gradient : of logits[target] at the image, in its shape.
    patch_size : P.
    blocks : in their order.
    """

    image: HostArray
    logits: HostArray
    target: int
    gradient: HostArray
    patch_size: int
    blocks: tuple[Block, ...]


def explain(model: VisionPermutator, image: HostArray, target: int | None = None) -> Explanation:
    """Run `model` on one image and look.

    Parameters
    ----------
    model : on any backend; the look is taken at the readable ops on NumPy, in the model's dtype.
    image : (1, channels, height, width), as for the model.
    target : the class whose score is derived; the likeliest unless given.

    Returns
    -------
    Explanation
        Of the image.

    Raises
    ------
    ValueError, TypeError
        If the image does not fit or there is no such class.
    """
    if not isinstance(model, VisionPermutator):
        raise TypeError(f"model: got {shown(model)}, expected a VisionPermutator such as vipnp.load returns")
    check_host_images(image)
    if len(image) != 1:
        raise ValueError(f"image: got {len(image)} images, expected one")
    config = model.config
    if target is not None and not is_whole(target):  # True, as an index, is every class
        raise TypeError(f"target: got {shown(target)}, expected an integer")
    if target is not None and not 0 <= target < config.num_classes:
        raise ValueError(f"target: got {target}, expected a class in [0, {config.num_classes})")
    twin, tape = watched(model)
    logits, pullback = twin.vjp(image)
    chosen = int(np.argmax(logits[0]) if target is None else target)
    cotangent = np.zeros_like(logits)
    cotangent[0, chosen] = 1
    dimage, _ = pullback(cotangent)
    steps = [step for step in tape.steps if step.is_block]
    blocks = []
    for (name, shape), step, field in zip(
        block_shapes(config), steps, receptive_fields(tape, config.patch_size), strict=True
    ):
        attn = {place: twin.parameters()[f"{name}.attn.{place}.weight"] for place in ("mlp_h", "mlp_w", "mlp_c")}
        blocks.append(
            Block(
                name,
                (shape.height, shape.width),
                tuple(
                    Branch(place, kind, strength(weight, kind, shape))
                    for (place, weight), kind in zip(attn.items(), config.branches, strict=True)
                ),
                None if step.attention is None else step.attention[0],
                np.linalg.norm(np.asarray(step.gradient)[0], axis=-1),
                field,
            )
        )
    return Explanation(image[0], logits[0], chosen, dimage[0], config.patch_size, tuple(blocks))


def block_shapes(config: ViPConfig) -> list[tuple[str, StageShape]]:
    """(name, shape of its stage) of every block, in order."""
    return [(f"network.{shape.place}.{i}", shape) for shape in config.stages() for i in range(shape.depth)]


def strength(weight: HostArray, kind: BranchKind, shape: StageShape) -> HostArray | None:
    """How much token i takes from token j, see `Branch`; None for the channels.

    Along a line the entry (i, j) is the norm of weight[i*S : (i+1)*S, j*S : (j+1)*S], S = channels / segments; of
    shifted channels it is that of weight[:, c], over the channels c that token i takes from token j.
    """
    if kind == "plane":
        return np.abs(weight)
    if kind in SHIFTS:
        rows, columns = (np.array(matrices) for matrices in shift_matrices(kind, shape.height, shape.width))
        square = np.sum(weight**2, axis=0, dtype=np.float64).reshape(len(rows), -1).sum(axis=1)
        tokens = shape.height * shape.width
        between = np.einsum("q,qhi,qwj->hwij", square, rows, columns).reshape(tokens, tokens)
        mixed: HostArray = np.sqrt(between)
        return mixed
    length = {"height": shape.height, "width": shape.width}.get(kind)
    if length is None:
        return None
    S = shape.channels // shape.segments
    norms: HostArray = np.linalg.norm(weight.reshape(length, S, length, S), axis=(1, 3))
    return norms
