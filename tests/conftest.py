"""For all tests: nothing is logged as a warning or worse unless the test says so, and SIGUSR1 shows where a stuck run is."""

from __future__ import annotations

import faulthandler
import logging
import signal
from collections.abc import Iterator

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
