"""A backend that runs the readable ops and writes down what passes: grids, split-attention weights, pullbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vipnp.backends.numpy import NumpyBackend
from vipnp.core import Array, Backend
from vipnp.core.backend import Replacements
from vipnp.layers import downsample, permutator
from vipnp.models import VisionPermutator
from vipnp.ops import patch_embed, softmax, split_attention


@dataclass
class Step:
    """One part of the network as it ran: the patch embedding, a block or a transition.

    grid : its output, (B, h, w, C). back : from the gradient at the output to that at the input; it can be called
    again. attention : (B, C, 3), the split-attention weights of a block with weighted fusion. gradient : at the output,
    like `grid`, once the model's pullback has run.
    """

    is_block: bool
    grid: Array
    back: Callable[[Array], Array]
    attention: Array | None = None
    gradient: Array | None = None


@dataclass
class Tape:
    """The forward pass of a model, step by step; `watched` fills it.

    Attributes
    ----------
    steps : its parts, in order.
    attention : the split-attention weights of the block that is running.
    """

    steps: list[Step] = field(default_factory=list)
    attention: Array | None = None

    def back_to_the_image(self, last: int, gradient: Array) -> Array:
        """A gradient taken from the inside of the model to the image.

        Parameters
        ----------
        last : the step at whose output the gradient is.
        gradient : (B, h, w, C).

        Returns
        -------
        Array
            (B, channels, height, width).
        """
        for step in reversed(self.steps[: last + 1]):
            gradient = step.back(gradient)
        return gradient

    def backend(self) -> Backend:
        """The readable ops on NumPy, with the passage of every step written down."""
        table = Replacements()
        blocks = NumpyBackend(replacements={split_attention: self._split_attention})
        table[permutator] = self._watched(permutator, blocks, is_block=True)
        table[downsample] = self._watched(downsample, NumpyBackend(), is_block=False)
        table[patch_embed] = self._watched(patch_embed, NumpyBackend(), is_block=False)
        return NumpyBackend(replacements=table)

    def _watched(self, layer: Callable[..., Any], inside: Backend, *, is_block: bool) -> Callable[..., Any]:
        def watched(_: Backend, *args: Any, **kwargs: Any) -> tuple[Array, Callable[[Array], Any]]:
            y, pullback = layer(inside, *args, **kwargs)
            step = Step(is_block, y, lambda dy: pullback(dy)[0], self.attention)
            self.attention = None
            self.steps.append(step)

            def watched_pullback(dy: Array) -> Any:
                step.gradient = dy
                return pullback(dy)

            return y, watched_pullback

        return watched

    def _split_attention(self, xp: Backend, logits: Array, *branches: Array) -> tuple[Array, Any]:
        self.attention, _ = softmax(xp, logits)
        return split_attention(xp, logits, *branches)


def watched(model: VisionPermutator) -> tuple[VisionPermutator, Tape]:
    """The same model on readable NumPy ops.

    Parameters
    ----------
    model : on any backend; it stays as it is.

    Returns
    -------
    model : the twin.
    tape : filled by the next forward pass of the twin.
    """
    tape = Tape()
    twin = VisionPermutator(model.config, backend=tape.backend(), dtype=model.dtype)
    twin.load_state_dict(model.state_dict())
    return twin, tape
