"""The one lock of a host, which long work hands over between two of its steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class BigLock:
    """A plain lock that knows whether anybody waits for it.

    Everybody who waits is counted, so that long work pauses only when that is of use to someone. Not re-entrant: who takes it twice gets a
    RuntimeError, since waiting for oneself would be for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A list, because appending and popping are atomic.
        self._waiters: list[None] = []
        # Written by who holds the lock, and cleared before it is let go: equal to a thread's own id only while that thread holds it.
        self._owner = 0

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            if self._owner == threading.get_ident():
                raise RuntimeError("this thread holds the host's lock: what is called back by the host must not use the host")
            self._waiters.append(None)
            self._lock.acquire()
            self._waiters.pop()
        self._owner = threading.get_ident()

    def __exit__(self, *exception: object) -> None:
        self._owner = 0
        self._lock.release()

    @contextmanager
    def released(self) -> Iterator[None]:
        """For the holder: let the lock go for a moment, as between two steps of long work."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def cond_resched(self) -> None:
        """Let whoever waits have the lock. Without the pause this thread would nearly always get it back first."""
        if self._waiters:
            self._owner = 0
            self._lock.release()
            time.sleep(0)
            self._lock.acquire()
            self._owner = threading.get_ident()
