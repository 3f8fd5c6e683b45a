"""Pressure triggers: one event per window in which a group stalled for longer than a threshold.

Mirrors the trigger half of kernel/sched/psi.c. Triggers of privileged openers are watched every tenth of the shortest window while there
are stalls; those of others when the averages step, hence their windows of whole multiples of 2 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from fakecg.abi.errors import InvalidInput
from fakecg.sched.clock import NSEC_PER_SEC, NSEC_PER_USEC

if TYPE_CHECKING:
    from fakecg.sched.psi import PsiGroup
    from fakecg.sched.timer import Timer

WINDOW_MAX_US = 10_000_000
#: Unprivileged windows are whole multiples of this.
WINDOW_STEP_US = 2_000_000
UPDATES_PER_WINDOW = 10

_JIFFY_NS = NSEC_PER_SEC // 250
#: sscanf("some %u %u"): white space in the format matches any amount, also none, and what follows is ignored.
_TRIGGER = re.compile(rb"(some|full)[ \t\n\v\f\r\xa0]*([0-9]+)[ \t\n\v\f\r\xa0]+([0-9]+)")


def parse_trigger(data: bytes, privileged: bool) -> tuple[bool, int, int]:
    """Read ``some|full <stall us> <window us>``: (full, threshold in ns, window in ns).

    Numbers wrap at 2^32. The text ends at the first NUL.

    Raises:
        InvalidInput: not of this form; window 0 or above 10 s; threshold 0 or above the window; a window that is not a multiple of
            2 s without privilege (EINVAL).

    Source: psi.c:psi_trigger_create.
    """
    match = _TRIGGER.match(data.partition(b"\0")[0])
    if match is None:
        raise InvalidInput(f"not a trigger: {data[:40]!r} (some|full <stall us> <window us>)")
    threshold_us, window_us = _wrap(match.group(2)), _wrap(match.group(3))
    if not 0 < window_us <= WINDOW_MAX_US:
        raise InvalidInput(f"trigger window of {window_us} us, not in 1..{WINDOW_MAX_US}")
    if not privileged and window_us % WINDOW_STEP_US:
        raise InvalidInput(f"trigger window of {window_us} us: a multiple of {WINDOW_STEP_US} without CAP_SYS_RESOURCE")
    if not 0 < threshold_us <= window_us:
        raise InvalidInput(f"trigger threshold of {threshold_us} us, not in 1..{window_us} (the window)")
    return match.group(1) == b"full", threshold_us * NSEC_PER_USEC, window_us * NSEC_PER_USEC


def _wrap(digits: bytes) -> int:
    value = 0
    for begin in range(0, len(digits), 100):
        piece = digits[begin : begin + 100]
        value = value * 10 ** len(piece) + int(piece)
    return value % (1 << 32)


class PsiTrigger:
    """One trigger: a sliding window over a total, and an event that stays until a poll takes it."""

    __slots__ = (
        "_owner",
        "event",
        "last_event_ns",
        "on_event",
        "pending",
        "prev_growth_ns",
        "start_ns",
        "start_total_ns",
        "state",
        "threshold_ns",
        "window_ns",
    )

    def __init__(
        self, owner: PollTriggers | AverageTriggers, state: int, threshold_ns: int, window_ns: int, on_event: Callable[[], None]
    ) -> None:
        self._owner: PollTriggers | AverageTriggers | None = owner
        self.state = state
        self.threshold_ns = threshold_ns
        self.window_ns = window_ns
        self.on_event = on_event
        self.event = False
        self.pending = False
        #: None until the first event: the kernel's 0 means "long ago" on a machine that booted before.
        self.last_event_ns: int | None = None
        self.reset_window(owner.group.clock.now_ns(), owner.group.stalls[state].total_ns, 0)

    @property
    def alive(self) -> bool:
        """Whether it still watches."""
        return self._owner is not None

    def take_event(self) -> bool:
        """Whether it fired since the last call; the event is consumed. Source: psi.c:psi_trigger_poll."""
        event, self.event = self.event, False
        return event

    def destroy(self) -> None:
        """Stop watching, waking whoever polls. Source: psi.c:psi_trigger_destroy."""
        if self._owner is not None:
            owner, self._owner = self._owner, None
            owner.remove(self)
            self.on_event()

    def reset_window(self, now_ns: int, total_ns: int, prev_growth_ns: int) -> None:
        """Start a window. Source: psi.c:window_reset."""
        self.start_ns, self.start_total_ns, self.prev_growth_ns = now_ns, total_ns, prev_growth_ns

    def growth_ns(self, now_ns: int, total_ns: int) -> int:
        """Stall time in the window that ends now: the last window is assumed to have grown evenly. Source: psi.c:window_update."""
        elapsed_ns = now_ns - self.start_ns
        growth_ns = total_ns - self.start_total_ns
        if elapsed_ns > self.window_ns:
            self.reset_window(now_ns, total_ns, growth_ns)
            return growth_ns
        return growth_ns + self.prev_growth_ns * (self.window_ns - elapsed_ns) // self.window_ns

    def update(self, now_ns: int, total_ns: int, seen_total_ns: int) -> None:
        """Look at the total; fire at most once a window, a breach in between is kept for later. Source: psi.c:update_triggers."""
        if total_ns != seen_total_ns:
            growth_ns = self.growth_ns(now_ns, total_ns)
            if growth_ns >= self.threshold_ns:
                self.pending = True
        if not self.pending or (self.last_event_ns is not None and now_ns < self.last_event_ns + self.window_ns):
            return
        self.last_event_ns = now_ns
        self.pending = False
        if not self.event:
            self.event = True
            self.on_event()


class PollTriggers:
    """Triggers of privileged openers: polled while stalls go on and for one shortest window after.

    Source: psi.c:psi_rtpoll_work; "sched/psi: Avoid updating PSI triggers and ->rtpoll_total when there are no state changes" (in v6.7).
    """

    def __init__(self, group: PsiGroup) -> None:
        self.group = group
        self.triggers: list[PsiTrigger] = []
        self._states = 0
        self._min_period_ns = 0
        self._until_ns = -1
        self._next_update_ns: int | None = None
        self._collected_ns: list[int] = []
        self._seen_ns: list[int] = []
        self._timer: Timer | None = None

    def add(self, trigger: PsiTrigger, avgs_work_ns: int | None) -> None:
        """Watch one more."""
        self.triggers.append(trigger)
        self._recount()
        totals_ns = self._totals_ns()
        if len(self.triggers) == 1:
            self._collected_ns = totals_ns
            self._seen_ns = totals_ns
        start_ns = self.group.pending_from_ns(1 << trigger.state)
        if start_ns is not None:
            self.state_changed(trigger.state, start_ns)

    def remove(self, trigger: PsiTrigger) -> None:
        """Stop watching one."""
        self.triggers.remove(trigger)
        self._recount()
        if not self.triggers:
            self.group.timers.cancel(self._timer)
            self._timer = None
            self._until_ns = -1
            self._next_update_ns = None

    def _recount(self) -> None:
        self._states = 0
        for trigger in self.triggers:
            self._states |= 1 << trigger.state
        self._min_period_ns = min((trigger.window_ns // UPDATES_PER_WINDOW for trigger in self.triggers), default=0)

    def _totals_ns(self) -> list[int]:
        return [stall.total_ns for stall in self.group.stalls]

    def state_changed(self, state: int, start_ns: int) -> None:
        """A stall begins: look a jiffy later. Source: psi.c:psi_group_change, psi_schedule_rtpoll_work."""
        if self._states >> state & 1 and self._timer is None:
            self._schedule(max(start_ns, self.group.clock.now_ns()), 1)

    def _schedule(self, now_ns: int, nr_jiffies: int) -> None:
        # The timer wheel rounds up by one more jiffy so as never to be early.
        self._timer = self.group.timers.add(now_ns + (nr_jiffies + 1) * _JIFFY_NS, self._work)

    def _work(self) -> None:
        group = self.group
        now_ns = group.clock.now_ns()
        self._timer = None
        group.advance(now_ns)
        totals_ns = self._totals_ns()
        changed = any(
            self._states >> state & 1 and total_ns != collected_ns
            for state, (total_ns, collected_ns) in enumerate(zip(totals_ns, self._collected_ns, strict=True))
        )
        self._collected_ns = totals_ns
        if changed:
            if now_ns > self._until_ns:
                for trigger in self.triggers:
                    trigger.reset_window(now_ns, totals_ns[trigger.state], 0)
                self._seen_ns = totals_ns
                self._next_update_ns = now_ns + self._min_period_ns
            self._until_ns = now_ns + self._min_period_ns * UPDATES_PER_WINDOW
        if now_ns > self._until_ns or self._next_update_ns is None:
            self._next_update_ns = None
            start_ns = group.pending_from_ns(self._states)
            if start_ns is not None:
                self._schedule(max(start_ns, now_ns), 1)
            return
        if now_ns >= self._next_update_ns:
            self._next_update_ns = now_ns + self._min_period_ns
            # Since Linux 6.7 nothing is looked at without a change, so a breach kept for later waits for the next stall.
            if changed:
                seen_ns, self._seen_ns = self._seen_ns, totals_ns
                for trigger in list(self.triggers):
                    trigger.update(now_ns, totals_ns[trigger.state], seen_ns[trigger.state])
        if self.triggers and self._timer is None:
            self._schedule(now_ns, (self._next_update_ns - now_ns) // _JIFFY_NS + 1)


class AverageTriggers:
    """Triggers of other openers: looked at when the averages step. Source: psi.c:psi_avgs_work."""

    def __init__(self, group: PsiGroup) -> None:
        self.group = group
        self.triggers: list[PsiTrigger] = []
        self._timer: Timer | None = None

    def add(self, trigger: PsiTrigger, avgs_work_ns: int | None) -> None:
        """Watch one more; ``avgs_work_ns`` is when the averages' work comes next."""
        self.triggers.append(trigger)
        if avgs_work_ns is not None:
            self.arm(avgs_work_ns)

    def remove(self, trigger: PsiTrigger) -> None:
        """Stop watching one."""
        self.triggers.remove(trigger)
        if not self.triggers:
            self.group.timers.cancel(self._timer)
            self._timer = None

    def arm(self, deadline_ns: int) -> None:
        """See to it that the averages' work is done at its time though nobody reads."""
        if self.triggers:
            self.group.timers.cancel(self._timer)
            self._timer = self.group.timers.add(deadline_ns, self._work)

    def _work(self) -> None:
        self._timer = None
        self.group.advance(self.group.clock.now_ns())

    def update(self, now_ns: int, seen_total_ns: list[int]) -> None:
        """The averages step."""
        for trigger in list(self.triggers):
            trigger.update(now_ns, self.group.stalls[trigger.state].total_ns, seen_total_ns[trigger.state])
