"""What every op sees: array types, the backend, replacements, trees of parameters, and the checks at the boundary."""

from vipnp.core.backend import Array, Backend, Generator, HostArray, Op, Pullback1, Pullback2, Pullback3, Replacements

__all__ = ["Array", "Backend", "Generator", "HostArray", "Op", "Pullback1", "Pullback2", "Pullback3", "Replacements"]
