"""To see what a model does with an image: receptive fields, split-attention weights, gradients; pictures and a page."""

from vipnp.explain.explanation import Block, Branch, Explanation, explain
from vipnp.explain.receptive import receptive_fields, shares
from vipnp.explain.tape import Tape, watched

__all__ = ["Block", "Branch", "Explanation", "Tape", "explain", "receptive_fields", "shares", "watched"]
