"""From an exception of the library to one line for the person at the terminal."""

from __future__ import annotations

import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from vipnp.core.checks import one_line, printable
from vipnp.core.output import readers_may_leave, to_nowhere
from vipnp.train.ranks import StoppedError, ToldElsewhereError


@contextmanager
def told() -> Iterator[None]:
    """Errors of input end the program with one line and status 2, a diverged run with status 1, and one
    that a signal or a closed pipe stopped with 128 and the number of the signal; of several ranks one tells.

    NumPy's own warnings of numbers that are not finite are left out: the line that ends the program names them."""
    warnings.filterwarnings("ignore", r"(invalid value|overflow|divide by zero) encountered", RuntimeWarning)
    try:
        with readers_may_leave():
            yield
    except ToldElsewhereError as error:
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(128 + signal.SIGINT) from error
    except StoppedError as stopped:
        raise SystemExit(128 + stopped.number) from stopped
    except FloatingPointError as error:
        tell(f"error: {reason(error)}")
        raise SystemExit(1) from error
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, MemoryError) as error:
        tell(f"error: {reason(error)}")
        raise SystemExit(2) from error


def tell(line: str) -> None:
    """Print to standard error, or nowhere where that is closed, full or left by its reader: `print` would put it among
    the results, or end the program over it."""
    if sys.stderr is not None:
        try:
            print(line, file=sys.stderr, flush=True)
        except OSError:
            to_nowhere(sys.stderr)


def reason(error: Exception) -> str:
    """What to tell, in one line: of an error of the system the file and what is wrong, of a missing library the
    extra to install."""
    if isinstance(error, FileNotFoundError) and error.filename is None and _here_is_gone():
        return "the folder at hand is not there any more: go to another"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return ": ".join([*([] if error.filename is None else [printable(error.filename)]), error.strerror])
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        package = error.name.split(".")[0]
        return f"{package} is not installed{_way_to_install(package)}"
    return one_line(str(error)) or type(error).__name__


OTHER_NAMES = {"PIL": "pillow", "flint": "python-flint", "skimage": "scikit-image", "sklearn": "scikit-learn"}
"""Package -> its distribution, where that is called otherwise."""


def _way_to_install(package: str) -> str:
    """What to add to a line about a missing package: the first extra of ours that brings it, if one does."""
    name = OTHER_NAMES.get(package, package).lower()
    try:
        needed = metadata.requires("vipnp") or []
    except metadata.PackageNotFoundError:  # run where it lies
        needed = []
    for line in needed:
        found = re.match(r"([\w.-]+).*\bextra == ['\"](\w+)", line)
        if found and found[1].lower() == name:
            return f': pip install "vipnp[{found[2]}]"'
    return ""


def _here_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False
