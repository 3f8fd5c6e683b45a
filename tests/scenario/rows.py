"""Which rows of a recording come out as recorded, which need not, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Rows that differ, by recording and row, and the reason. All others must match.
DEVIATIONS: tuple[tuple[str, str, str], ...] = ()


def reason(file: str, row: str) -> str | None:
    """Why a row need not match; None for one that must."""
    for file_pattern, row_pattern, why in DEVIATIONS:
        if re.fullmatch(file_pattern, file) and re.match(row_pattern, row):
            return why
    return None


@dataclass
class Rows:
    """The rows of one recording that a test replays."""

    file: str
    matched: dict[str, bool] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def check(self, row: str, modelled: Mapping[str, object], recorded: Mapping[str, object]) -> None:
        """Compare one row: the result and every counter; a counter that is not named did not change."""
        differences = []
        for key in sorted(modelled.keys() | recorded.keys()):
            if (modelled.get(key) or 0) != (recorded.get(key) or 0):
                differences.append(f"{key}: recorded {recorded.get(key)!r}, got {modelled.get(key)!r}")
        assert row not in self.matched, row
        self.matched[row] = not differences
        why = reason(self.file, row)
        if differences and why is None:
            self.wrong.append(f"{row}: " + "; ".join(differences))
        elif not differences and why is not None:
            self.wrong.append(f"{row}: matches, but is listed as deviating: {why}")
