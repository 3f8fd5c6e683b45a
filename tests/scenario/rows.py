"""Which rows of a recording come out as recorded, which need not, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Rows that differ, by recording and row, and the reason. All others must match.
DEVIATIONS: tuple[tuple[str, str, str], ...] = ()

#: Counters in compressed bytes, and the longest compressed page of a recorded mapping.
BYTES = ("zswap",)
LENGTH = 2082
#: Versions of the proposal whose own counter is in compressed bytes too.
BYTE_VERSIONS = ("v4", "v5")
#: memory.current is what was charged plus what each of the two CPUs keeps in stock, up to 64 pages: before the call, and after it.
SLACK = {"current": 128}


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

    def check(
        self,
        row: str,
        modelled: Mapping[str, Any],
        recorded: Mapping[str, Any],
        *,
        own_pages: int = 0,
        slack: Mapping[str, int] | None = None,
    ) -> None:
        """Compare one row: the result and every counter; a counter that is not named did not change.

        Args:
            own_pages: that many entries are of pages of the process itself, whose contents are not recorded: they are shorter than a
                page of the mapping, and may stand before or after it.
            slack: how far other counters may be off; the caller says why.
        """
        differences = []
        for key in sorted(modelled.keys() | recorded.keys()):
            value, expected = modelled.get(key) or 0, recorded.get(key) or 0
            counter = key.split()[-1]
            in_bytes = counter in BYTES or (counter == "counter" and any(version in self.file for version in BYTE_VERSIONS))
            most = {**SLACK, **(slack or {})}.get(counter, 0) + (own_pages * LENGTH if in_bytes else 0)
            if value != expected and not (most and abs(value - expected) <= most):
                differences.append(f"{key}: recorded {expected!r}, got {value!r}")
        assert row not in self.matched, row
        self.matched[row] = not differences
        why = reason(self.file, row)
        if differences and why is None:
            self.wrong.append(f"{row}: " + "; ".join(differences))
        elif not differences and why is not None:
            self.wrong.append(f"{row}: matches, but is listed as deviating: {why}")
