"""The last lines of the log, kept in memory and readable at ``.fakecg/log``."""

from __future__ import annotations

import logging
from collections import deque

LOGGER_NAME = "fakecg"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LogRing(logging.Handler):
    """Keeps the last ``size`` records as text."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT))
        self._lines: deque[str] = deque(maxlen=size)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._lines.append(self.format(record))

    def text(self) -> str:
        """All kept records, oldest first."""
        return "".join(f"{line}\n" for line in list(self._lines))
