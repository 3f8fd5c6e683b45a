"""Scores of replays: how many recorded rows come out as recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from rows import Rows


@pytest.fixture
def rows(file: str, record_property: Any) -> Iterator[Rows]:
    """The rows a test replays of its recording; the test fails for those that differ without being listed."""
    rows = Rows(file)
    yield rows
    record_property("rows", [file, len(rows.matched), sum(rows.matched.values())])
    assert not rows.wrong, f"\n{file}\n" + "\n".join(rows.wrong)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    recorded: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "rows" and getattr(report, "when", None) == "teardown":
                    file, nr_rows, nr_matched = value
                    recorded[file] += nr_rows
                    matched[file] += nr_matched
    if recorded:
        terminalreporter.section("recorded rows that come out as recorded")
        for file in sorted(recorded):
            share = 100 * matched[file] / max(1, recorded[file])
            terminalreporter.write_line(f"{file:28} {matched[file]:5} of {recorded[file]:5}  {share:5.1f} %")
