"""Clocks: who says what time it is inside the emulated machine.

Every time in the model is boottime in nanoseconds since the emulated boot, as ktime_get_boottime_ns() returns it. A test moves a
``ManualClock``; a mount runs on a ``ScaledClock``, whose rate makes an hour pass in a minute. Real time is read here and nowhere else,
so a seed gives the same counters on every machine.
"""

from __future__ import annotations

import time
from typing import Protocol

from fakecg.abi.errors import UsageError

NSEC_PER_USEC = 1_000
NSEC_PER_MSEC = 1_000_000
NSEC_PER_SEC = 1_000_000_000

#: A machine somebody uses has been up for a day: an age in a writeback request is not more than the uptime unless it is meant to be.
DEFAULT_UPTIME_S = 86_400


class Clock(Protocol):
    """Anything that tells the emulated boottime."""

    def now_ns(self) -> int:
        """Nanoseconds since the emulated boot; never goes back."""
        ...

    def real_delay_ns(self, deadline_ns: int) -> int | None:
        """How long in real nanoseconds a sleeper has to wait for a deadline: 0 if it passed, None if no waiting brings it nearer."""
        ...


class ManualClock:
    """Stands still until it is moved.

    Args:
        start_s: uptime of the emulated machine at creation, seconds.
    """

    __slots__ = ("_now_ns",)

    def __init__(self, start_s: float = DEFAULT_UPTIME_S) -> None:
        if start_s < 0:
            raise UsageError(f"start_s must not be negative: {start_s}")
        self._now_ns = round(start_s * NSEC_PER_SEC)

    def now_ns(self) -> int:
        """Nanoseconds since the emulated boot."""
        return self._now_ns

    def real_delay_ns(self, deadline_ns: int) -> int | None:
        """Waiting does not move this clock: 0 for what is due, else None."""
        return 0 if deadline_ns <= self._now_ns else None

    def jump(self, seconds: float) -> None:
        """Move forward by a number of seconds.

        Timers on the way are not run by the clock: ``Host.advance`` does that (timer.advance_to).

        Raises:
            UsageError: time cannot go backwards.
        """
        self.jump_to(self._now_ns + round(seconds * NSEC_PER_SEC))

    def jump_to(self, when_ns: int) -> None:
        """Move forward to a point in time, nanoseconds of boottime.

        Raises:
            UsageError: time cannot go backwards.
        """
        if when_ns < self._now_ns:
            raise UsageError(f"time cannot go backwards: from {self._now_ns} ns to {when_ns} ns")
        self._now_ns = when_ns


class ScaledClock:
    """Real time, run faster or slower.

    Args:
        rate: emulated seconds in a real second; 1 is real time, 60 an hour in a minute.
        start_s: uptime of the emulated machine at creation, seconds.
    """

    __slots__ = ("_base_ns", "_base_real_ns", "rate")

    def __init__(self, rate: float = 1.0, start_s: float = DEFAULT_UPTIME_S) -> None:
        if not 0 < rate < 1e9:
            raise UsageError(f"rate must be above 0: {rate}")
        if start_s < 0:
            raise UsageError(f"start_s must not be negative: {start_s}")
        self.rate = rate
        self._base_ns = round(start_s * NSEC_PER_SEC)
        self._base_real_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since the emulated boot."""
        elapsed_real_ns = time.monotonic_ns() - self._base_real_ns
        return self._base_ns + (elapsed_real_ns if self.rate == 1.0 else int(elapsed_real_ns * self.rate))

    def real_delay_ns(self, deadline_ns: int) -> int | None:
        """Real nanoseconds until a deadline, 0 if it passed."""
        return max(0, int((deadline_ns - self.now_ns()) / self.rate))
