"""`python -m vipnp COMMAND` and the script `vipnp`: the command line."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line.

    An interrupt while its modules are imported, which takes a moment, ends it like one later: status 130, no traceback.
    """
    try:
        from vipnp.cli import app

        app(prog_name="vipnp")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
