"""Every deliberate difference from the recordings is told to users."""

from __future__ import annotations

import re
from pathlib import Path

from deviations import DEVIATIONS

PAGE = Path(__file__).parents[2] / "docs" / "fidelity.md"
WHERE = {"*": "both", "api": "api", "mount": "mount"}


def test_each_deviation_has_a_line_in_the_page_and_no_other_has() -> None:
    _, section = PAGE.read_text(encoding="utf-8").split("\n## Files\n")
    section = section.split("\n## ")[0]
    told = {(case, where): why for case, where, why in re.findall(r"^\| `(.*)` \| (\w+) \| (.*) \|$", section, re.MULTILINE)}
    assert told == {(case, WHERE[backend]): why for (backend, case), why in DEVIATIONS.items()}
