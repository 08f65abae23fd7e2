"""Weights in files."""

from vipnp.checkpoint.weights import load_metadata, load_weights, replaced_when_done, save_weights, weights_sha256

__all__ = ["load_metadata", "load_weights", "replaced_when_done", "save_weights", "weights_sha256"]
