"""Real processes of the machine, as the tree sees them: read from /proc, followed and signalled through pidfds.

Nothing here changes a process except cgroup.kill (SIGKILL) and cgroup.freeze (SIGSTOP, SIGCONT) on processes that somebody moved into the
tree; the emulator itself and init are spared from both.

Limits: a child is found by asking its parent for its children, so a process that forks and exits between two looks leaves its child unseen;
a new thread counts as being where its leader is.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakecg.cgroup.real_tasks import refresh
from fakecg.sched.task import Change, Forked, ThreadExited, ThreadInfo, ThreadStarted

if TYPE_CHECKING:
    from fakecg.host import Host

# Source: include/linux/sched.h.
PF_KTHREAD = 0x00200000
PF_NO_SETAFFINITY = 0x04000000
#: kthreadd is pinned by a flag of its own that /proc does not show; it is the child of nobody.
KTHREADD = ("kthreadd", 0)
#: Never signalled, as in the kernel; its new children are mostly orphans it adopted, so they are not taken for born where it is.
INIT_PID = 1
_DEAD_STATES = frozenset("ZXx")


def follow_real_processes(host: Host) -> HostTasks:
    """Let real processes be moved into a host's tree, and have it notice their ends. Close the result before the host."""

    def look() -> None:
        with host.lock:
            refresh(host.hierarchy)

    tasks = HostTasks(on_exit=look)
    host.hierarchy.task_source = tasks
    return tasks


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that matter here."""

    name: str
    state: str
    ppid: int
    flags: int
    start_ticks: int

    @property
    def is_dead(self) -> bool:
        """A zombie or about to be none any more."""
        return self.state in _DEAD_STATES


@dataclass(slots=True)
class _Process:
    tgid: int
    start_ticks: int
    pidfd: int
    followed_ticks: int
    tids: set[int]
    children: set[int] = field(default_factory=set)


class HostTasks:
    """Source of real tasks for a hierarchy.

    Not locked: all calls come with the host's lock held, except for ``on_exit``, which is called from a thread of its own when a followed
    process has ended, and has to take the lock.

    Args:
        on_exit: called after a followed process ended; None to learn of it only by asking.
        proc: where procfs is mounted.
    """

    def __init__(self, on_exit: Callable[[], None] | None = None, proc: str = "/proc") -> None:
        self._on_exit = on_exit
        self._proc = proc
        self._followed: dict[int, _Process] = {}
        self._epoll = select.epoll()
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._epoll.register(self._wake_read, select.EPOLLIN)

    def close(self) -> None:
        """Stop following."""
        os.write(self._wake_write, b"x")
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        for process in list(self._followed.values()):
            self._forget(process)
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # --- what the tree asks ---

    def find(self, tid: int) -> ThreadInfo | None:
        """The thread with this id, zombies included; None if there is none or it is not visible from here."""
        stat = self._stat(tid)
        status = self._status(tid)
        if stat is None or status is None:
            return None
        tgid, uid = status
        is_kthread = bool(stat.flags & PF_KTHREAD)
        is_pinned = bool(stat.flags & PF_NO_SETAFFINITY) or (is_kthread and (stat.name, stat.ppid) == KTHREADD)
        return ThreadInfo(tid, tgid, stat.name, uid, is_kthread, is_pinned, stat.is_dead)

    def threads(self, tgid: int) -> Iterator[ThreadInfo]:
        """Live threads of a process, the leader first."""
        for tid in sorted(self._tids(tgid), key=lambda each: (each != tgid, each)):
            info = self.find(tid)
            if info is not None and not info.is_zombie:
                yield info

    def follow(self, tgid: int) -> None:
        """Report changes of this process from now on; what it forked before stays unknown."""
        if tgid in self._followed:
            return
        stat = self._stat(tgid)
        if stat is None:
            return
        try:
            pidfd = os.pidfd_open(tgid)
        except OSError:
            return
        tids = self._tids(tgid)
        self._followed[tgid] = _Process(tgid, stat.start_ticks, pidfd, self._now_ticks(), tids, self._children(tgid, tids))
        self._epoll.register(pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        if self._on_exit is not None and self._thread is None:
            self._thread = threading.Thread(target=self._watch, args=(self._on_exit,), name="fakecg-exits", daemon=True)
            self._thread.start()

    def changes(self) -> list[Change]:
        """What happened to the followed processes since the last call. Cost: a few reads of /proc for each of them."""
        changes: list[Change] = []
        queue = list(self._followed.values())
        while queue:
            process = queue.pop()
            for child in self._look(process, changes):
                changes.append(Forked(process.tgid, child))
                self.follow(child.tid)
                if child.tid in self._followed:
                    # It may have forked already: what it has was born in the tree.
                    followed = self._followed[child.tid]
                    followed.tids, followed.children, followed.followed_ticks = {child.tid}, set(), 0
                    queue.append(followed)
        return changes

    def kill(self, tgid: int) -> None:
        """SIGKILL to a followed process."""
        self._signal(tgid, signal.SIGKILL)

    def freeze(self, tgid: int, frozen: bool) -> None:
        """SIGSTOP or SIGCONT to a followed process."""
        self._signal(tgid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def _signal(self, tgid: int, number: signal.Signals) -> None:
        process = self._followed.get(tgid)
        if process is None or tgid in (INIT_PID, os.getpid()):
            return
        with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's: the tree then shows it as still there
            signal.pidfd_send_signal(process.pidfd, number)

    # --- looking ---

    def _look(self, process: _Process, changes: list[Change]) -> list[ThreadInfo]:
        stat = self._stat(process.tgid)
        is_same = stat is not None and stat.start_ticks == process.start_ticks
        tids = self._tids(process.tgid) if is_same else set()
        leader_is_dead = not is_same or (stat is not None and stat.is_dead)
        if leader_is_dead:
            tids.discard(process.tgid)
        for tid in sorted(process.tids - tids):
            changes.append(ThreadExited(tid))
        for tid in sorted(tids - process.tids):
            info = self.find(tid)
            if info is not None and info.tgid == process.tgid and not info.is_zombie:
                changes.append(ThreadStarted(info))
        process.tids = tids
        if not tids:
            self._forget(process)
            return []
        children = self._children(process.tgid, tids)
        new = sorted(children - process.children)
        process.children = children
        if process.tgid == INIT_PID:
            return []
        return [info for tid in new if tid not in self._followed and (info := self._born(tid, process)) is not None]

    def _born(self, tid: int, parent: _Process) -> ThreadInfo | None:
        # A child that is older than the following was adopted, not born.
        stat, info = self._stat(tid), self.find(tid)
        if stat is None or info is None or info.is_zombie or stat.start_ticks < parent.followed_ticks:
            return None
        return info

    def _forget(self, process: _Process) -> None:
        if self._followed.pop(process.tgid, None) is not None:
            self._epoll.unregister(process.pidfd)
            os.close(process.pidfd)

    def _watch(self, on_exit: Callable[[], None]) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._wake_read:
                    return
                on_exit()

    # --- /proc ---

    def _read(self, name: str) -> str | None:
        try:
            with open(f"{self._proc}/{name}", "rb") as file:
                return file.read().decode("utf-8", "surrogateescape")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None

    def _now_ticks(self) -> int:
        return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))

    def _stat(self, tid: int) -> Stat | None:
        text = self._read(f"{tid}/stat")
        if not text:
            return None
        head, _, tail = text.rpartition(")")
        fields = tail.split()
        return Stat(head.partition("(")[2], fields[0], int(fields[1]), int(fields[6]), int(fields[19]))

    def _status(self, tid: int) -> tuple[int, int] | None:
        text = self._read(f"{tid}/status")
        if not text:
            return None
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return int(fields["Tgid"]), int(fields["Uid"].split()[1])

    def _tids(self, tgid: int) -> set[int]:
        try:
            return {int(name) for name in os.listdir(f"{self._proc}/{tgid}/task")}
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return set()

    def _children(self, tgid: int, tids: set[int]) -> set[int]:
        children: set[int] = set()
        for tid in tids:
            text = self._read(f"{tgid}/task/{tid}/children")
            if text is None:
                return self._children_by_parent(tgid)
            children.update(int(word) for word in text.split())
        return children

    def _children_by_parent(self, tgid: int) -> set[int]:
        # A kernel without CONFIG_PROC_CHILDREN.
        pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        return {pid for pid in pids if (stat := self._stat(pid)) is not None and stat.ppid == tgid}
