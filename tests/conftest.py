"""For all tests: no warning is logged unless the test says so, SIGUSR1 shows where a stuck run is, and scores are printed.

A test that replays a recording adds to a score by the property ``cases`` or ``rows``: what is counted, how many there are, how many match.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_configure() -> None:
    faulthandler.register(signal.SIGUSR1)


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[list[str]]:
    """Fails the test for a warning in the log. The value is a list: append part of a message that the test expects."""
    complaints = _Complaints()
    logger = logging.getLogger("fakecg")
    logger.addHandler(complaints)
    expected: list[str] = []
    yield expected
    logger.removeHandler(complaints)
    messages = [record.getMessage() for record in complaints.records]
    unexpected = [message for message in messages if not any(part in message for part in expected)]
    missing = [part for part in expected if not any(part in message for message in messages)]
    assert not unexpected, "logged: " + "\n".join(unexpected)
    assert not missing, f"not logged: {missing}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Here and not beside the replays: with several workers, the process that prints loads no other conftest."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports if getattr(report, "when", None) == "teardown"]
    for unit in ("cases", "rows"):
        recorded: Counter[str] = Counter()
        matched: Counter[str] = Counter()
        for report in reports:
            for name, value in report.user_properties:
                if name == unit:
                    label, nr_recorded, nr_matched = value
                    recorded[label] += nr_recorded
                    matched[label] += nr_matched
        if recorded:
            terminalreporter.section(f"recorded {unit} that come out as recorded")
        for label in sorted(recorded):
            share = 100 * matched[label] / max(1, recorded[label])
            terminalreporter.write_line(f"{label:36} {matched[label]:5} of {recorded[label]:5}  {share:5.1f} %")
