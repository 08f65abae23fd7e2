"""The formulas of docs/math.md by function, for the page of `vipnp audit`: writes vipnp/audit/formulas.json.

python -m tools.formulas
"""

from __future__ import annotations

import re
from pathlib import Path

from tools.arguments import takes_none
from vipnp.core.files import write_json

ROOT = Path(__file__).resolve().parent.parent
MATH = ROOT / "docs" / "math.md"
FORMULAS = ROOT / "vipnp" / "audit" / "formulas.json"


def sections(text: str) -> dict[str, str]:
    """The sections of the math book that are headed by the name of a function: {name: text}."""
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {heading.strip("`"): body for heading, body in named if re.fullmatch(r"`\w+`", heading)}


def formulas(text: str) -> dict[str, list[str]]:
    """The display formulas of every function, in LaTeX, each on one line."""
    found = {
        name: re.findall(r"^```math\n(.*?)^```$", body, re.DOTALL | re.MULTILINE)
        for name, body in sections(text).items()
    }
    return {name: [" ".join(formula.split()) for formula in those] for name, those in found.items() if those}


if __name__ == "__main__":
    takes_none(__doc__)
    write_json(FORMULAS, formulas(MATH.read_text(encoding="utf-8")))
