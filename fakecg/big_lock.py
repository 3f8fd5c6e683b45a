"""The one lock of a host, which long work hands over between two of its steps."""

from __future__ import annotations

import threading
import time


class BigLock:
    """A plain lock that knows whether anybody waits for it. Not re-entrant: whoever takes it twice has a bug.

    Everybody who waits is counted, so that long work pauses only when that is of use to someone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A list, because appending and popping are atomic.
        self._waiters: list[None] = []

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waiters.append(None)
            self._lock.acquire()
            self._waiters.pop()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def cond_resched(self) -> None:
        """Let whoever waits have the lock. Without the pause this thread would nearly always get it back first."""
        if self._waiters:
            self._lock.release()
            time.sleep(0)
            self._lock.acquire()
