"""Removed cgroups and controller states that something still holds.

Mirrors the reference counts of kernel/cgroup/cgroup.c as far as cgroup.stat shows them: a removed state stays as long as its controller
says so (memory: while anything is charged to it), a removed cgroup as long as one of its states or a removed cgroup below it stays. A
process that ended there and that nobody waited for holds all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.cgroup.real_tasks import is_unreaped

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.sched.clock import Clock
    from fakecg.sched.task import Task
    from fakecg.sched.timer import TimerQueue

#: What nothing holds is freed after RCU grace periods and work items; measured in tens of milliseconds.
RELEASE_DELAY_NS = 50_000_000


class Dying:
    """What is removed and not yet freed, with the counters of the ancestors that cgroup.stat shows."""

    def __init__(self, clock: Clock, timers: TimerQueue) -> None:
        self._clock = clock
        self._timers = timers
        self._states: dict[Css, int] = {}
        self._cgroups: dict[Cgroup, int] = {}
        self._zombies: dict[Task, Cgroup] = {}
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._states) + len(self._cgroups)

    def add_state(self, css: Css) -> None:
        """A controller's state went offline."""
        name = css.controller.name
        for ancestor in css.cgroup.ancestors(include_self=True):
            ancestor.nr_dying_css[name] = ancestor.nr_dying_css.get(name, 0) + 1
        self._states[css] = self._schedule()

    def add_cgroup(self, cgroup: Cgroup) -> None:
        """A cgroup was removed."""
        for ancestor in cgroup.ancestors():
            ancestor.nr_dying_descendants += 1
        self._cgroups[cgroup] = self._schedule()

    def add_zombie(self, task: Task) -> None:
        """A real process ended and was not waited for."""
        if task.cgroup is not None:
            self._zombies[task] = task.cgroup
            self._schedule()

    def _schedule(self) -> int:
        ready_ns = self._clock.now_ns() + RELEASE_DELAY_NS
        if not self._scheduled:
            self._scheduled = True
            self._timers.add(ready_ns, self._release_later)
        return ready_ns

    def _release_later(self) -> None:
        self._scheduled = False
        self.release()
        now_ns = self._clock.now_ns()
        waiting = [ready_ns for ready_ns in (*self._states.values(), *self._cgroups.values()) if ready_ns > now_ns]
        if waiting:
            self._scheduled = True
            self._timers.add(min(waiting), self._release_later)

    def release(self) -> None:
        """Let go of what nothing holds any more. Cost: O(removed and held)."""
        now_ns = self._clock.now_ns()
        self._zombies = {task: cgroup for task, cgroup in self._zombies.items() if is_unreaped(cgroup.hierarchy, task)}
        held = set(self._zombies.values())
        for css, ready_ns in list(self._states.items()):
            if ready_ns > now_ns or css.cgroup in held or css.controller.is_dying(css):
                held.add(css.cgroup)
                continue
            del self._states[css]
            for ancestor in css.cgroup.ancestors(include_self=True):
                ancestor.nr_dying_css[css.controller.name] -= 1
        ready = [cgroup for cgroup, ready_ns in self._cgroups.items() if ready_ns <= now_ns and cgroup not in held]
        for cgroup in sorted(ready, key=lambda each: -each.level):
            if not cgroup.nr_dying_descendants:
                del self._cgroups[cgroup]
                for ancestor in cgroup.ancestors():
                    ancestor.nr_dying_descendants -= 1
