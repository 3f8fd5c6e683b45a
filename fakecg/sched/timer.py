"""One heap of timers for everything that happens later.

Workloads, kswapd, pressure windows, deferred notices and recorders are timers here; there is no thread per anything. Timers due at the
same nanosecond run in the order in which they were added, so a run is the same every time.

A callback may return a generator: work that the kernel would do in a loop with cond_resched(). ``run_due_steps`` hands its pauses on, so
that the host can let others in between; ``run_due`` runs it to its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from itertools import count

from fakecg.sched.clock import Clock, ManualClock

#: Work with pauses; what a pause yields is for whoever drives it.
Steps = Generator[object, None, None]
Callback = Callable[[], Steps | None]

#: A cancelled timer stays in the heap until it surfaces; past this many (and half of the heap) they are swept out.
_SWEEP_MIN = 64


class Timer:
    """One pending call; ``deadline_ns`` is boottime. Pending until run or cancelled."""

    __slots__ = ("callback", "deadline_ns")

    def __init__(self, deadline_ns: int, callback: Callback) -> None:
        self.deadline_ns = deadline_ns
        self.callback: Callback | None = callback

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self.callback is not None


class TimerQueue:
    """Timers ordered by deadline, then by age. Adding and taking one cost O(log n)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._counter = count()
        self._nr_cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._nr_cancelled

    def add(self, deadline_ns: int, callback: Callback) -> Timer:
        """Have ``callback()`` called once boottime reaches ``deadline_ns``; a deadline in the past is due at once."""
        timer = Timer(deadline_ns, callback)
        heapq.heappush(self._heap, (deadline_ns, next(self._counter), timer))
        return timer

    def cancel(self, timer: Timer | None) -> bool:
        """Drop a timer; False if there is none or it ran already."""
        if timer is None or timer.callback is None:
            return False
        timer.callback = None
        self._nr_cancelled += 1
        if self._nr_cancelled > _SWEEP_MIN and self._nr_cancelled * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[2].callback is not None]
            heapq.heapify(self._heap)
            self._nr_cancelled = 0
        return True

    @property
    def next_deadline_ns(self) -> int | None:
        """When the next timer is due; None without timers."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
            self._nr_cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def run_due(self, now_ns: int) -> int:
        """Run what is due at ``now_ns``, in order, to its end; returns how many callbacks ran."""
        nr_run = 0
        while (callback := self._pop_due(now_ns)) is not None:
            nr_run += 1
            steps = callback()
            if steps is not None:
                for _ in steps:
                    pass
        return nr_run

    def run_due_steps(self, now_ns: int) -> Steps:
        """The same as a generator: pauses after each callback and wherever a callback's own generator does.

        A timer that re-arms itself at or before ``now_ns`` runs again in the same call, as with any other heap of timers.
        """
        while (callback := self._pop_due(now_ns)) is not None:
            steps = callback()
            if steps is not None:
                yield from steps
            yield None

    def _pop_due(self, now_ns: int) -> Callback | None:
        deadline_ns = self.next_deadline_ns
        if deadline_ns is None or deadline_ns > now_ns:
            return None
        timer = heapq.heappop(self._heap)[2]
        callback, timer.callback = timer.callback, None
        return callback


def advance_to(clock: Clock, timers: TimerQueue, target_ns: int) -> Steps:
    """Move a manual clock to ``target_ns``, running the timers on the way with the clock standing at each one's deadline.

    A clock that runs by itself is not moved: what is due by now is run.
    """
    if not isinstance(clock, ManualClock):
        yield from timers.run_due_steps(clock.now_ns())
        return
    while (deadline_ns := timers.next_deadline_ns) is not None and deadline_ns <= target_ns:
        clock.jump_to(max(deadline_ns, clock.now_ns()))
        yield from timers.run_due_steps(clock.now_ns())
    clock.jump_to(target_ns)
