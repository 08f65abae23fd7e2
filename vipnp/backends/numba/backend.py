"""NumPy arrays on the CPU with compiled kernels: the fused CPU table, in shards of the batch."""

from __future__ import annotations

import numba

from vipnp.backends.numba.block import TABLE as BLOCK_TABLE
from vipnp.backends.numba.inference import TABLE as INFERENCE_TABLE
from vipnp.backends.numba.optimizer import TABLE as OPTIMIZER_TABLE
from vipnp.backends.numba.products import PRODUCTS as MULTIPLIERS
from vipnp.backends.numba.products import measured_product
from vipnp.backends.numpy.backend import NumpyBackend, crew_of, keep_freed_memory
from vipnp.backends.numpy.blas import Product
from vipnp.backends.numpy.threads import available_cores
from vipnp.core.checks import check_flag, check_whole, shown

PRODUCTS = ("auto", "ranked", "openblas", "onednn", "mkl", "numpy")


class ShardBackend(NumpyBackend):
    """What runs in one thread on one shard: NumPy, kernels in the place of blocks, and `product` for all products."""

    def __init__(self, product: Product) -> None:
        super().__init__("numba shard", replacements=BLOCK_TABLE, product=product)


def create(*, shards: int | None = None, products: str = "auto", keep_memory: bool = True) -> NumpyBackend:
    """The `numba` backend: blocks run as compiled kernels between matrix products, in shards of the batch.

    shards : threads, each with its part of the batch; None means one for each core this process may use. Results are
        deterministic for a given number of shards.
    products : who multiplies matrices. "openblas", the one inside NumPy; "onednn" and "mkl", extras of the same names;
        "numpy", whatever NumPy calls; "auto", for every kind of product the one that was the fastest when this was
        measured on this machine, once, which is kept in the folder of the compiled kernels (choice.py); "ranked", the
        first that is there of onednn, openblas, numpy, and on processors other than AMD's of mkl before these, where
        nothing is measured. With both, a batch that is not divided, such as one image in training, is left to
        openblas, and in inference in float32 the stages are multiplied by kernels of their own, image by image
        (inference.py): their bits depend neither on the number of threads nor on the batch.
    keep_memory : see vipnp.backends.numpy.create.

    Raises RuntimeError where Numba is told to compile nothing, ImportError naming the extra where Numba, oneDNN, MKL or
    OpenBLAS is missing, ValueError or TypeError for a wrong option.
    """
    if shards is None:
        shards = available_cores()
    shards, keep_memory = check_whole("shards", shards, low=1), check_flag("keep_memory", keep_memory)
    if not isinstance(products, str) or products not in PRODUCTS:
        raise ValueError(f"products: got {shown(products)}, expected one of {', '.join(PRODUCTS)}")
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError('backend "numba": got NUMBA_DISABLE_JIT=1, expected Numba to compile its kernels')
    product, note, kinds = measured_product() if products == "auto" else (MULTIPLIERS[products](), products, products)
    if keep_memory:
        keep_freed_memory()
    table, crew = crew_of(shards)
    own = INFERENCE_TABLE if products in ("auto", "ranked") else {}
    replacements = {**table, **OPTIMIZER_TABLE, **own}
    backend = NumpyBackend("numba", replacements=replacements, crew=crew, shard=ShardBackend(product))
    backend.notes = (f"products: {note}",)
    backend.products = kinds
    return backend


__all__ = ["ShardBackend", "create"]
