"""What the tests of several ranks run under mpirun: `vipnp train` with what a test changes about one of the ranks."""

from __future__ import annotations

import os
import shlex
import sys


def main(script: str, *commands: str) -> None:
    """Each of `commands` as the command line of vipnp, after the changes named `script`."""
    rank = int(os.environ.get("PMI_RANK", "0"))
    if script:
        globals()[script](rank)
    from vipnp.cli import app

    for command in commands:
        app(shlex.split(command), standalone_mode=len(commands) == 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
