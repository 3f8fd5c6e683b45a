"""Pressure stall information: how long tasks of a group waited for memory, io or cpu, and the averages of it.

Mirrors the group half of kernel/sched/psi.c; triggers are in psi_trigger.py. The kernel samples task states per CPU; here whoever makes a
task wait says from when and for how long, in advance, and a group credits the union of these stalls as time passes. A task's stall counts
in its cgroup and in every ancestor, each with its own union: an ancestor's total is not the sum of its children's.

Simplified: no per-CPU states, so ``full`` is what the caller says it is; recorded kernels show some == full for memory in nearly all cases.

Invariants: totals never fall; full never exceeds some; credited time never exceeds elapsed time.
"""

from __future__ import annotations

from collections.abc import Callable

from fakecg.sched.clock import NSEC_PER_SEC, NSEC_PER_USEC, Clock
from fakecg.sched.psi_trigger import AverageTriggers, PollTriggers, PsiTrigger, parse_trigger
from fakecg.sched.stall_time import MAX_EARLIER, StallTime
from fakecg.sched.timer import TimerQueue

HZ = 250
JIFFY_NS = NSEC_PER_SEC // HZ
#: Time between two steps of the averages. Source: psi.c, PSI_FREQ: the jiffy keeps it out of step with the load average.
PSI_PERIOD_NS = 2 * NSEC_PER_SEC + JIFFY_NS

#: In the order of the kernel's state numbers: a state is 2 x resource + full.
RESOURCES = ("io", "memory", "cpu")
NR_STATES = 2 * len(RESOURCES)

FSHIFT = 11
FIXED_1 = 1 << FSHIFT
#: Decay of the 10, 60 and 300 second averages per period, as fractions of FIXED_1.
EXP = (1677, 1981, 2034)


def state_of(resource: str, full: bool) -> int:
    """Number of a state, e.g. of (``"memory"``, True)."""
    return 2 * RESOURCES.index(resource) + full


class PsiGroup:
    """Pressure of one cgroup; the root's is the system's.

    Args:
        parent: group of the parent cgroup; None for the root.
        clock: boottime.
        timers: for triggers, which have to fire when nobody reads.
    """

    __slots__ = (
        "_avg",
        "_avg_last_update_ns",
        "_avg_next_update_ns",
        "_avg_total_ns",
        "_avg_triggers",
        "_avgs_work_ns",
        "_chain",
        "_poll_triggers",
        "_work_seen_ns",
        "clock",
        "enabled",
        "parent",
        "stalls",
        "timers",
    )

    def __init__(self, parent: PsiGroup | None, clock: Clock, timers: TimerQueue) -> None:
        self.parent = parent
        self.clock = clock
        self.timers = timers
        self.enabled = True
        self._chain: tuple[PsiGroup, ...] = (self, *(parent._chain if parent is not None else ()))
        now_ns = clock.now_ns()
        self.stalls = [StallTime(now_ns) for _ in range(NR_STATES)]
        self._avg = [[0, 0, 0] for _ in range(NR_STATES)]
        self._avg_total_ns = [0] * NR_STATES
        self._avg_last_update_ns = now_ns
        self._avg_next_update_ns = now_ns + PSI_PERIOD_NS
        self._avgs_work_ns: int | None = None
        self._work_seen_ns = 0
        # Made with the first trigger: most cgroups never have one.
        self._poll_triggers: PollTriggers | None = None
        self._avg_triggers: AverageTriggers | None = None

    # Stalls

    def memstall(self, duration_ns: int, now_ns: int, full: bool = True) -> None:
        """A task waits for memory, from ``now_ns`` on for ``duration_ns``.

        ``now_ns`` is the waiting task's own time: boottime plus what its work in this step took so far. Two stalls of one task with the
        same start would count once, since stalls that overlap are taken for stalls of different tasks.
        Source: psi.c:psi_memstall_enter, psi_memstall_leave.
        """
        self.stall("memory", duration_ns, now_ns, full)

    def stall(self, resource: str, duration_ns: int, now_ns: int, full: bool = True) -> None:
        """A task waits for ``io``, ``memory`` or ``cpu``; ``full`` unless something else of the group does productive work meanwhile."""
        if duration_ns <= 0:
            return
        end_ns = now_ns + duration_ns
        some = state_of(resource, False)
        for group in self._chain:
            if not group.enabled:
                continue
            for stall in group.stalls[some : some + 1 + full]:
                # Nearly always right after or within the latest interval.
                if stall.begin_ns <= now_ns <= stall.end_ns:
                    if end_ns > stall.end_ns:
                        stall.end_ns = end_ns
                    continue
                stall.add(now_ns, end_ns)
                if len(stall.earlier) > MAX_EARLIER:
                    group._make_room(stall)
            if group._avgs_work_ns is None:
                group._schedule_avgs_work(now_ns + PSI_PERIOD_NS)
            triggers = group._poll_triggers
            if triggers is not None:
                triggers.state_changed(some, now_ns)
                if full:
                    triggers.state_changed(some + 1, now_ns)

    def _make_room(self, stall: StallTime) -> None:
        self.advance(self.clock.now_ns())
        if len(stall.earlier) > MAX_EARLIER:
            stall.compact()

    def total_ns(self, resource: str, full: bool = False) -> int:
        """Stall time until now."""
        self.advance(self.clock.now_ns())
        return self.stalls[state_of(resource, full)].total_ns

    def pending_from_ns(self, states: int) -> int | None:
        """Start of the next stall not yet credited among a bit mask of states, None without one."""
        starts = (stall.next_ns for state, stall in enumerate(self.stalls) if states & 1 << state)
        return min((start_ns for start_ns in starts if start_ns is not None), default=None)

    # Averages

    def advance(self, now_ns: int) -> None:
        """Bring totals up to ``now_ns``, and do what the periodic work would have done on the way."""
        while self._avgs_work_ns is not None and self._avgs_work_ns <= now_ns:
            self._avgs_work(self._avgs_work_ns)
        self._credit(now_ns)

    def _credit(self, now_ns: int) -> None:
        for stall in self.stalls:
            stall.credit(now_ns)

    def _schedule_avgs_work(self, deadline_ns: int) -> None:
        self._avgs_work_ns = deadline_ns
        if self._avg_triggers is not None:
            self._avg_triggers.arm(deadline_ns)

    def _avgs_work(self, now_ns: int) -> None:
        # Source: psi.c:psi_avgs_work. While there is activity it comes back one jiffy after the next deadline; else the clock of the
        # averages stops, and whoever looks next catches up.
        self._credit(now_ns)
        if now_ns >= self._avg_next_update_ns:
            if self._avg_triggers is not None:
                self._avg_triggers.update(now_ns, self._avg_total_ns)
            self._update_averages(now_ns)
        seen_ns = sum(stall.total_ns for stall in self.stalls)
        active, self._work_seen_ns = seen_ns != self._work_seen_ns, seen_ns
        next_stall_ns = self.pending_from_ns(-1)
        if active or (next_stall_ns is not None and next_stall_ns <= now_ns):
            self._schedule_avgs_work(self._avg_next_update_ns + JIFFY_NS)
        elif next_stall_ns is not None:
            self._schedule_avgs_work(next_stall_ns + PSI_PERIOD_NS)
        else:
            self._avgs_work_ns = None

    def _update_averages(self, now_ns: int) -> None:
        # Source: psi.c:update_averages.
        missed_periods = (now_ns - self._avg_next_update_ns) // PSI_PERIOD_NS
        period_ns = now_ns - (self._avg_last_update_ns + missed_periods * PSI_PERIOD_NS)
        self._avg_next_update_ns += (1 + missed_periods) * PSI_PERIOD_NS
        self._avg_last_update_ns = now_ns
        for state, stall in enumerate(self.stalls):
            sample_ns = min(stall.total_ns - self._avg_total_ns[state], period_ns)
            self._avg_total_ns[state] += sample_ns
            self._avg[state] = calc_avgs(self._avg[state], missed_periods, sample_ns, period_ns)

    def _refresh(self) -> None:
        now_ns = self.clock.now_ns()
        self.advance(now_ns)
        if now_ns >= self._avg_next_update_ns:
            self._update_averages(now_ns)

    def averages(self, resource: str, full: bool = False) -> tuple[float, float, float]:
        """Share of time stalled, percent, over 10, 60 and 300 seconds; reading catches up missed periods."""
        self._refresh()
        avg10, avg60, avg300 = (avg / FIXED_1 for avg in self._avg[state_of(resource, full)])
        return avg10, avg60, avg300

    def show(self, resource: str) -> str:
        """Text of ``<resource>.pressure``. The system's cpu line for full is all zeros. Source: psi.c:psi_show."""
        self._refresh()
        lines = []
        for full, word in enumerate(("some", "full")):
            state = state_of(resource, bool(full))
            avg, total_ns = self._avg[state], self.stalls[state].total_ns
            if self.parent is None and resource == "cpu" and full:
                avg, total_ns = [0, 0, 0], 0
            text = " ".join(f"avg{span}={_fixed(value)}" for span, value in zip((10, 60, 300), avg, strict=True))
            lines.append(f"{word} {text} total={total_ns // NSEC_PER_USEC}\n")
        return "".join(lines)

    # Life

    def disable(self) -> None:
        """Stop accounting here, not in ancestors, and drop the triggers (cgroup.pressure 0)."""
        if not self.enabled:
            return
        self.advance(self.clock.now_ns())
        self.enabled = False
        for stall in self.stalls:
            stall.forget()
        self.destroy_triggers()

    def enable(self) -> None:
        """Account again; totals go on from where they stood (cgroup.pressure 1). Source: psi.c:psi_cgroup_restart."""
        if not self.enabled:
            self.advance(self.clock.now_ns())
            self.enabled = True

    def destroy_triggers(self) -> None:
        """End every trigger, waking whoever polls (the cgroup is removed or its pressure files are)."""
        for owner in (self._poll_triggers, self._avg_triggers):
            for trigger in list(owner.triggers) if owner is not None else ():
                trigger.destroy()

    # Triggers

    def create_trigger(self, resource: str, data: bytes, privileged: bool, on_event: Callable[[], None]) -> PsiTrigger:
        """Watch for ``some|full <stall us> <window us>``.

        Args:
            data: one write; see psi_trigger.parse_trigger.
            privileged: the opener may have a window that is watched by polling of its own.
            on_event: called when the trigger fires and when it is destroyed.

        Raises:
            InvalidInput: not a trigger, or its numbers are refused (EINVAL).

        Source: psi.c:psi_trigger_create.
        """
        full, threshold_ns, window_ns = parse_trigger(data, privileged)
        self.advance(self.clock.now_ns())
        if self._poll_triggers is None or self._avg_triggers is None:
            self._poll_triggers, self._avg_triggers = PollTriggers(self), AverageTriggers(self)
        owner: PollTriggers | AverageTriggers = self._poll_triggers if privileged else self._avg_triggers
        trigger = PsiTrigger(owner, state_of(resource, full), threshold_ns, window_ns, on_event)
        owner.add(trigger, self._avgs_work_ns)
        return trigger


def calc_avgs(avg: list[int], missed_periods: int, sample_ns: int, period_ns: int) -> list[int]:
    """One step of the three averages after ``missed_periods`` idle ones. Source: psi.c:calc_avgs.

    The share of the period is a whole number of percent before it is scaled, so less than 1 % leaves no trace.
    """
    if missed_periods:
        avg = [calc_load(value, fixed_power_int(exp, missed_periods), 0) for value, exp in zip(avg, EXP, strict=True)]
    active = sample_ns * 100 // period_ns * FIXED_1
    return [calc_load(value, exp, active) for value, exp in zip(avg, EXP, strict=True)]


def calc_load(load: int, exp: int, active: int) -> int:
    """Exponential average in fixed point, rounded up while rising. Source: include/linux/sched/loadavg.h."""
    new_load = load * exp + active * (FIXED_1 - exp)
    if active >= load:
        new_load += FIXED_1 - 1
    return new_load // FIXED_1


def fixed_power_int(base: int, exponent: int) -> int:
    """Power of a fixed-point fraction by squaring, each product rounded to 11 bits. Source: kernel/sched/loadavg.c."""
    result = FIXED_1
    while exponent:
        if exponent & 1:
            result = (result * base + (FIXED_1 >> 1)) >> FSHIFT
        exponent >>= 1
        base = (base * base + (FIXED_1 >> 1)) >> FSHIFT
    return result


def _fixed(value: int) -> str:
    return f"{value >> FSHIFT}.{((value & (FIXED_1 - 1)) * 100) >> FSHIFT:02d}"
