"""What an audit left open: regular inputs must be decided by the rungs that look at derivatives.

    vipnp audit --json FILE
    python -m tools.undecided FILE

The audit fails where a gradient is wrong. A rung that could no longer decide would pass in silence: this fails then,
and where a case or one of these rungs is missing altogether.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vipnp.audit.cases import CASES

RUNGS = ("differences", "complex_step", "finite_field", "certified", "pytorch")


def undecided(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Every rung of `RUNGS` and case, as "rung: case", that has no row, or on regular inputs one that does not
    pass."""
    verdicts: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        name = f"{row['op']}/{row['case']}" if row["case"] else row["op"]
        verdicts.setdefault((row["rung"], name), set()).add(row["verdict"])
    for rung in RUNGS:
        for name, case in CASES.items():
            found = verdicts.get((rung, name), set())
            if not found or (not case.hard and found != {"PASS"}):
                yield f"{rung}: {name}"


def main(path: str | Path) -> int:
    """1 where something was left open."""
    found = list(undecided(json.loads(Path(path).read_text(encoding="utf-8"))["rows"]))
    for one in found:
        print(f"left open: {one}")
    return int(bool(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tools.undecided", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="what `vipnp audit --json` wrote")
    file = parser.parse_args().file
    if not file.is_file():
        parser.error(f"file: there is no file {str(file)!r}")
    sys.exit(main(file))
