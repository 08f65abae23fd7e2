"""Weights in files."""

from vipnp.checkpoint.weights import load_metadata, load_weights, save_pytorch, save_weights, weights_sha256

__all__ = ["load_metadata", "load_weights", "save_pytorch", "save_weights", "weights_sha256"]
