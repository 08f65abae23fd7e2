"""What the tests of several ranks run under mpirun: `vipnp train` with what a test changes about one of the ranks."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any


def main(script: str, *commands: str) -> None:
    """Each of `commands` as the command line of vipnp, after the changes named `script`."""
    rank = int(os.environ.get("PMI_RANK", "0"))
    if os.environ.get("DIGITS"):
        start_quickly()
    if script:
        globals()[script](rank)
    from vipnp.cli import app

    for command in commands:
        app(shlex.split(command), standalone_mode=len(commands) == 1)


def start_quickly() -> None:
    """The digits come from a file, since a process takes longer to import scikit-learn than to train; no pictures."""
    import numpy as np

    from vipnp.data import embedded
    from vipnp.data.digits import Digits
    from vipnp.train import report

    with np.load(os.environ["DIGITS"]) as found:
        digits = Digits(**{name: found[name] for name in Digits._fields})
    embedded.load_digits = lambda _: digits
    report.curves = lambda *_: None

    def gallery(_: Path, pictures: list[Any], *__: Any) -> None:
        if not pictures:
            raise ValueError("there is nothing to draw")

    report.gallery = gallery


def count_reads(rank: int) -> None:
    """Every picture that is decoded to train on goes into a file of the rank that did."""
    from vipnp.data.sets import Split

    picture, log = Split.picture, Path(os.environ["READS"]) / f"{rank}.txt"

    def counted(self: Any, index: int, channels: int) -> Any:
        with log.open("a") as file:
            print(len(self), index, file=file)
        return picture(self, index, channels)

    Split.picture = counted  # type: ignore[method-assign]


def other_weights(rank: int) -> None:
    """Rank 1 changes one weight by one unit in the last place after the second step."""
    import numpy as np

    from vipnp.train import run

    run.COMPARE_EVERY = 1
    one_step = run.Run._one_step

    def changed(self: Any, *arguments: Any) -> Any:
        told = one_step(self, *arguments)
        if rank == 1 and self.step == 2:
            bias = self.model.params["head"]["bias"]
            bias[0] = np.nextafter(bias[0], bias.dtype.type(2))
        return told

    run.Run._one_step = changed  # type: ignore[method-assign]


def other_start(rank: int) -> None:
    """Rank 1 begins with other weights."""
    from vipnp.train import run

    restored = run.Run._restored

    def changed(self: Any) -> Any:
        rows = restored(self)
        if rank == 1:
            self.model.params["head"]["bias"] += 1
        return rows

    run.Run._restored = changed  # type: ignore[method-assign]


def other_images(rank: int) -> None:
    """Rank 1 finds its images under other names."""
    from vipnp.train import folder

    rows = folder.split_rows
    folder.split_rows = lambda data: [*rows(data), "one more"] if rank == 1 else rows(data)


def other_version(rank: int) -> None:
    """Rank 1 has another NumPy."""
    from vipnp.train import start

    versions = start.versions
    if rank == 1:
        start.versions = lambda: {**versions(), "numpy": "1.0"}


def other_products(rank: int) -> None:
    """Rank 1 multiplies by another library."""
    from vipnp.train import run

    made = run.get_backend

    def get_backend(*args: Any, **options: Any) -> Any:
        backend = made(*args, **options)
        backend.products = "another" if rank == 1 else backend.products
        return backend

    run.get_backend = get_backend


def fails_later(rank: int) -> None:
    """Rank 1 fails in its third step."""
    from vipnp.train import run

    one_step = run.Run._one_step

    def changed(self: Any, *arguments: Any) -> Any:
        if rank == 1 and self.step == 2:
            raise OSError("the disk is on fire")
        return one_step(self, *arguments)

    run.Run._one_step = changed  # type: ignore[method-assign]


def no_mpi4py(rank: int) -> None:
    """mpi4py is not installed."""
    sys.modules["mpi4py"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    main(*sys.argv[1:])
