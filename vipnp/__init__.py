"""vipnp: the Vision Permutator from scratch, forward and backward by hand, on a pluggable array backend."""

from vipnp.backends import get_backend, list_backends
from vipnp.core import Backend
from vipnp.models import ViPConfig, VisionPermutator, create_model, list_models, load

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "ViPConfig",
    "VisionPermutator",
    "create_model",
    "get_backend",
    "list_backends",
    "list_models",
    "load",
]
