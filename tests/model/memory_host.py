"""A small machine that a state machine drives: every operation on it, the errors each may end with, and what must hold after it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fakecg import Host
from fakecg.abi.errors import Busy, ControlError, DataLost, InvalidInput
from fakecg.cgroup.cgroup import Cgroup
from fakecg.cgroup.hierarchy import ROOT_CALLER
from fakecg.mm.memcontrol import MemCgroup
from fakecg.mm.page_table import MAPPED, RESIDENT
from fakecg.observe.check import check
from fakecg.workload.job import JobSpec

MAX_DEPTH = 3
MAX_TASKS = 6
#: A task throttled so often, or stuck at a limit with nobody to kill, does not go on.
MAX_SLEEPS = 50
MAX_GROUPS = 8


class MemoryHost:
    """The machine, and an oracle of what it must remember.

    Attributes:
        injected: kinds of swap faults injected so far.
        messages: what was reported of failed I/O.
        ever: of each anonymous space, which pages were ever touched: from then on they are somewhere.
    """

    def __init__(self, **options: Any) -> None:
        host = self.host = Host(seed=5, **options)
        self.injected: set[str] = set()
        self.messages: list[str] = []
        host.report_io_error = self.messages.append  # type: ignore[method-assign]
        host.machine.report_io_error = self.messages.append
        self.ever: dict[int, bytearray] = {}
        self.nr_deaths = 0
        self.pids: set[int] = set()
        self.killed: set[int] = set()
        self._resched = host.lock.cond_resched
        self._pending: Callable[[], None] | None = None
        self._countdown = 0
        self.busy: set[int] = set()
        self.generation = 0

    # -- two at once ------------------------------------------------------------------------------------------------------------------

    def interrupt_next(self, nr_steps: int, action: Callable[[], None]) -> None:
        """Run ``action`` in the middle of the next work, after ``nr_steps`` of its steps, as another thread with the lock would."""
        self._countdown, self._pending = nr_steps, action
        self.host.lock.cond_resched = self._cond_resched  # type: ignore[method-assign]

    def _cond_resched(self) -> None:
        self._countdown -= 1
        if self._countdown > 0 or self._pending is None:
            return
        action, self._pending = self._pending, None
        lock = self.host.lock
        lock.cond_resched = self._resched  # type: ignore[method-assign]
        lock.__exit__()
        try:
            action()
        finally:
            lock.__enter__()

    # -- who is there -----------------------------------------------------------------------------------------------------------------

    def groups(self) -> list[Cgroup]:
        """All cgroups but the root, in order."""
        return list(self.host.hierarchy.root.descendants_pre())[1:]

    def group(self, number: int, *, with_root: bool = False) -> Cgroup | None:
        """One of them, chosen by number."""
        groups = [self.host.hierarchy.root, *self.groups()] if with_root else self.groups()
        return groups[number % len(groups)] if groups else None

    def idle_pid(self, number: int) -> int | None:
        """A task that is between two touches; without any, a new one."""
        if not self.host.jobs:
            self.spawn(number, 300, "text", "once", 50, 0)
        pids = [pid for pid, job in self.host.jobs.items() if job.done and pid not in self.busy]
        return pids[number % len(pids)] if pids else None

    def memcg(self, cgroup: Cgroup) -> MemCgroup | None:
        """The cgroup's own memory state; None while the controller is off for it."""
        css = cgroup.css.get("memory")
        return css if isinstance(css, MemCgroup) else None

    @contextmanager
    def may_fail(self, *numbers: int) -> Iterator[None]:
        """Refusals with these errnos are in order; any other is a bug."""
        refusal = None
        try:
            yield
        except ControlError as error:
            refusal = error
        assert refusal is None or refusal.errno in numbers, f"unexpected {refusal}"

    # -- operations -------------------------------------------------------------------------------------------------------------------

    def mkdir(self, where: int, name: str) -> None:
        """A cgroup; EEXIST if it is there."""
        parent = self.group(where, with_root=True)
        assert parent is not None
        if parent.level < MAX_DEPTH and len(self.groups()) < MAX_GROUPS:
            exists = name.encode() in parent.children
            with self.may_fail(errno.EEXIST) if exists else self.may_fail():
                self.host.mkdir(f"{parent.path().rstrip('/')}/{name}")

    def rmdir(self, where: int) -> None:
        """EBUSY with children or tasks, and only then."""
        cgroup = self.group(where)
        if cgroup is None:
            return
        is_busy = bool(cgroup.children or cgroup.tasks)
        if not is_busy:
            self.host.rmdir_at(cgroup)
            return
        with pytest.raises(Busy):
            self.host.rmdir_at(cgroup)

    def switch_controller(self, where: int, word: str) -> None:
        """+memory or -memory for the children."""
        cgroup = self.group(where)
        if cgroup is not None:
            with self.may_fail(errno.EBUSY, errno.ENOENT):
                self.host.write_text(cgroup, "cgroup.subtree_control", word)

    def spawn(self, where: int, nr_pages: int, content: str, access: str, cache_pages: int, oom_score_adj: int) -> None:
        """A task; EBUSY where children have controllers."""
        cgroup = self.group(where, with_root=True)
        assert cgroup is not None
        if len(self.host.jobs) >= MAX_TASKS:
            return
        spec = JobSpec.simple(size=4096 * nr_pages, content=content, access=access, cache=4096 * cache_pages or None)
        with self.may_fail(errno.EBUSY):
            task = self.host.spawn_job(cgroup, spec, oom_score_adj=oom_score_adj)
            self.pids.add(task.pid)
            if self.host.machine.nr_nodes > 1 and task.mm is not None:
                for space in task.mm.spaces:
                    space.node_of = [index // 7 % self.host.machine.nr_nodes for index in range(space.nr_pages)]

    def kill(self, which: int) -> None:
        """SIGKILL."""
        pids = list(self.host.jobs)
        if pids:
            pid = pids[which % len(pids)]
            self.killed.add(pid)
            self.host.kill(pid)

    def kill_busy(self) -> None:
        """SIGKILL to a task in the middle of its work, if there is one."""
        for pid in list(self.busy):
            self.killed.add(pid)
            self.host.kill(pid)

    def _as_job(self, pid: int, work: Generator[Any, None, Any]) -> Generator[None, None, None]:
        """Drive a task's work as its job would: no further when it is dead, SIGBUS when a page is lost. A stuck task is left at that."""
        task = self.host.jobs[pid].task
        self.busy.add(pid)
        nr_sleeps = 0
        try:
            while task.is_alive and nr_sleeps < MAX_SLEEPS:
                try:
                    nr_sleeps += bool(next(work))
                except StopIteration:
                    return
                except DataLost:
                    assert "read" in self.injected
                    task.kill()
                    return
                yield None
            work.close()
        finally:
            self.busy.discard(pid)

    def touch(self, which: int, start: int, nr_pages: int, write: bool) -> None:
        """A run of pages of a task, in order."""
        pid = self.idle_pid(which)
        if pid is None or not self.host.jobs[pid].spaces:
            return
        job = self.host.jobs[pid]
        space = job.spaces[0]
        first = start % space.nr_pages
        work = self.host.task_memory.touch_range(job.task, space, first, min(first + nr_pages, space.nr_pages), write)
        with self.host.locked():
            self.host.drive(self._as_job(pid, work))

    def rewrite(self, which: int, indices: list[int]) -> None:
        """Single pages of a task get new contents."""
        pid = self.idle_pid(which)
        if pid is None or not self.host.jobs[pid].spaces:
            return
        with self.host.locked():
            self.host.drive(self._as_job(pid, self._rewrite(pid, indices)))

    def _rewrite(self, pid: int, indices: list[int]) -> Generator[Any, None, None]:
        job = self.host.jobs[pid]
        space = job.spaces[0]
        for number in indices:
            index = number % space.nr_pages
            yield from self.host.task_memory.touch_pages(job.task, space, [index], True)
            if self.host.machine.table.flags[space.base + index] & MAPPED:
                self.generation += 1
                space.store(index, space.content.page(space.seed, index, self.generation))

    def read_file(self, which: int, start: int, nr_pages: int, write: bool) -> None:
        """Pages of the file a task was started with."""
        pid = self.idle_pid(which)
        if pid is None or self.host.jobs[pid].mapping is None:
            return
        job = self.host.jobs[pid]
        first = start % job.mapping.nr_pages
        memory = self.host.task_memory
        work = (memory.write_cache if write else memory.read_cache)(
            job.task, job.mapping, first, min(first + nr_pages, job.mapping.nr_pages)
        )
        with self.host.locked():
            self.host.drive(self._as_job(pid, work))

    def pageout(self, which: int, start: int, nr_pages: int) -> None:
        """MADV_PAGEOUT."""
        pid = self.idle_pid(which)
        if pid is None or not self.host.jobs[pid].spaces:
            return
        job = self.host.jobs[pid]
        space = job.spaces[0]
        first = start % space.nr_pages
        work = self.host.task_memory.pageout(job.task, space, first, min(first + nr_pages, space.nr_pages))
        with self.host.locked():
            self.host.drive(self._as_job(pid, work))

    def migrate(self, which: int, where: int) -> None:
        """A task into another cgroup; EBUSY where children have controllers."""
        cgroup = self.group(where, with_root=True)
        pids = list(self.host.jobs)
        if cgroup is not None and pids:
            with self.may_fail(errno.EBUSY):
                self.host.write_text(cgroup, "cgroup.procs", pids[which % len(pids)])

    def write(self, where: int, name: str, value: str, *numbers: int, signal_after: int | None = None) -> None:
        """A command to a file of a cgroup; EINTR only with a signal, ENOENT only without the controller."""
        cgroup = self.group(where, with_root=name in ("memory.reclaim", "memory.zswap.writeback"))
        if cgroup is None:
            return
        if self.memcg(cgroup) is None:
            numbers = (errno.ENOENT,)
        left = signal_after

        def interrupted() -> bool:
            nonlocal left
            if left is None:
                return False
            left -= 1
            return left < 0

        if left is not None:
            numbers = (*numbers, errno.EINTR)
        # ENODEV: removed by the other thread before the write began.
        with self.may_fail(*numbers, errno.ENODEV):
            open_file = self.host.open_file(cgroup, name.encode(), ROOT_CALLER)
            self.host.write(open_file, value.encode(), interrupted=interrupted)

    def write_system_file(self, path: str, value: str) -> None:
        """A parameter of the machine."""
        self.host.write(self.host.open_system_file(path, ROOT_CALLER), value.encode())

    def writeback_allowed(self, cgroup: Cgroup) -> bool:
        """memory.zswap.writeback is 1 here and above, or zswap is off."""
        if not self.host.machine.zswap.enabled:
            return True
        return all(memcg.zswap_writeback for each in cgroup.ancestors(include_self=True) if (memcg := self.memcg(each)) is not None)

    def proactive(self, where: int, name: str, value: str, signal_after: int | None, checks_setting: bool) -> None:
        """Proactive writeback: EINVAL where it is not allowed, EAGAIN when it falls short."""
        cgroup = self.group(where, with_root=name == "memory.reclaim")
        if cgroup is None:
            return
        refused = checks_setting and self.memcg(cgroup) is not None and not self.writeback_allowed(cgroup)
        if refused:
            with pytest.raises(InvalidInput):
                self.host.write_text(cgroup, name, value)
            return
        self.write(where, name, value, errno.EAGAIN, signal_after=signal_after)

    def inject(self, kind: str, count: int) -> None:
        """Swap faults."""
        if self.host.machine.swap.devices:
            self.injected.add(kind)
            for device in self.host.machine.swap.devices:
                self.host.inject_swap_fault(kind, count, device.name)

    def swapoff(self, number: int) -> None:
        """A device goes; ENOMEM if its pages do not fit, EIO if one cannot be read, EINVAL if somebody is at it."""
        devices = self.host.machine.swap.devices
        if devices:
            name = devices[number % len(devices)].name
            with self.may_fail(errno.ENOMEM, errno.EINVAL, *([errno.EIO] if "read" in self.injected else [])):
                self.host.swapoff(name)

    def advance(self, duration: str) -> None:
        """Time passes; tasks with a rate touch."""
        self.host.advance(duration)

    # -- what must hold ---------------------------------------------------------------------------------------------------------------

    def verify(self) -> None:
        """Invariants, contents, deaths."""
        host = self.host
        host.lock.cond_resched = self._resched  # type: ignore[method-assign]
        self._pending = None
        check(host)
        self._verify_contents()
        self._verify_deaths()
        assert not self.messages or self.injected, self.messages

    def _verify_contents(self) -> None:
        machine = self.host.machine
        faults = [(device, device.fail_reads) for device in machine.swap.devices]
        for device, _ in faults:
            device.fail_reads = 0
        table = machine.table
        live = {}
        for space in machine.spaces.by_number:
            if space is None:
                continue
            nr_checked = machine.spaces.verify(space, f"space {space.number}")
            if space.is_file:
                continue
            before = self.ever.get(id(space), bytes(space.nr_pages))
            now = bytearray(space.nr_pages)
            for index in range(space.nr_pages):
                page = space.base + index
                now[index] = bool(table.flags[page] & RESIDENT or table.slot[page])
                assert now[index] or not before[index], f"page {index} of space {space.number} is gone"
            assert sum(now) == nr_checked
            live[id(space)] = now
        self.ever = live
        for device, count in faults:
            device.fail_reads = count

    def _verify_deaths(self) -> None:
        dead = self.pids - set(self.host.jobs) - self.killed
        self.nr_deaths += len(dead)
        self.pids &= set(self.host.jobs)
        if self.nr_deaths and "read" not in self.injected:
            assert self.host.machine.vm.oom_kill >= self.nr_deaths, "a task died without being killed"

    def close(self) -> None:
        """All tasks end, all cgroups go: nothing stays charged."""
        host = self.host
        host.lock.cond_resched = self._resched  # type: ignore[method-assign]
        for pid in list(host.jobs):
            host.kill(pid)
        with host.locked():
            for space in list(host.machine.spaces.by_number):
                if space is not None:
                    host.machine.spaces.destroy(space)
        for cgroup in reversed(self.groups()):
            host.rmdir_at(cgroup)
        check(host)
        machine = host.machine
        assert list(machine.memcgs) == [machine.root_memcg.id], "a removed cgroup stays although nothing is charged to it"
        assert machine.swap.nr_used == 0
        assert machine.zswap.counters.stored_pages == 0
        assert machine.zswap.pool.nr_pages == 0
        assert machine.nr_free == sum(node.nr_pages for node in machine.nodes)
        host.close()
