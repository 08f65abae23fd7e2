"""A reader's own op is proved by what docs/proofs.md says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from proofs import own
from proofs.check import UnprovedError

PAGE = Path(own.__file__).parents[1] / "docs" / "proofs.md"


@pytest.mark.skipif(
    shutil.which("coqc") is None, reason="needs coqc and Coquelicot: Debian's coq and libcoq-coquelicot"
)
def test_the_example_of_the_page_is_proved_and_loses_its_proof_with_its_factor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert len([line for line in example.splitlines() if line]) <= 10
    exec(compile(example, str(PAGE), "exec"), {})
    assert "Definition scale_is_correct : Prop" in capsys.readouterr().out
    wrong = example.replace("return dy * factor,", "return dy,")
    assert wrong != example
    with pytest.raises(UnprovedError, match=r"^scale: got no proof, expected one by 'multilinear\.'; Coq says: "):
        exec(compile(wrong, str(PAGE), "exec"), {})
