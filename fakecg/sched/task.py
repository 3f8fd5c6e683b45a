"""Tasks: who lives in a cgroup.

One ``Task`` is a thread, as in the kernel; a process is its group leader and the threads of that. Tasks are synthetic (a workload of the
emulator, with a pid above every real one) or stand for real processes of the machine, which are never frozen or killed by this module:
what a signal means is up to the hooks.

Mirrors the part of struct task_struct and kernel/fork.c that the cgroup core looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup

#: Synthetic tasks get numbers above the largest pid a 64-bit kernel can hand out (PID_MAX_LIMIT), with some room: programs that try
#: what happens for an id that nobody has like to take the next one.
FIRST_SYNTHETIC_PID = 4_200_001


class Task:
    """A thread.

    Attributes:
        pid: thread id; unique among synthetic tasks and real ones.
        leader: the group leader, itself for a process of one thread.
        threads: on the leader: live threads of the process, itself included while it lives.
        cgroup: where it is, kept after the exit (``/proc/PID/cgroup`` of a zombie); None before the first attach.
        oom_score_adj: -1000 (never killed) to 1000.
        is_kthread: a kernel thread: neither frozen nor killed.
        is_pinned: a kernel thread that must not be moved (PF_NO_SETAFFINITY).
        is_zombie: ended, not yet reaped.
        frozen: stopped by the cgroup freezer: it must not touch memory.
        mm: its address space, for the memory model.
        on_kill: called by kill(); has to make the task exit, now or soon.
        on_freeze: called with the new state whenever ``frozen`` changed.
        on_exit: on the leader of a real process: called once it has ended.
    """

    __slots__ = (
        "__weakref__",
        "cgroup",
        "frozen",
        "is_killed",
        "is_kthread",
        "is_pinned",
        "is_zombie",
        "leader",
        "mm",
        "name",
        "on_exit",
        "on_freeze",
        "on_kill",
        "oom_score_adj",
        "pid",
        "threads",
        "uid",
    )

    def __init__(
        self,
        pid: int,
        name: str = "task",
        *,
        uid: int = 0,
        oom_score_adj: int = 0,
        leader: Task | None = None,
        is_kthread: bool = False,
        is_pinned: bool = False,
        is_zombie: bool = False,
    ) -> None:
        self.pid = pid
        self.name = name
        self.uid = uid
        self.oom_score_adj = oom_score_adj
        self.leader: Task = self if leader is None else leader
        self.threads: dict[int, Task] = {}
        if not is_zombie:
            self.leader.threads[pid] = self
        self.cgroup: Cgroup | None = None
        self.is_kthread = is_kthread
        self.is_pinned = is_pinned
        self.is_zombie = is_zombie
        self.is_killed = False
        self.frozen = False
        self.mm: Any = None
        self.on_kill: Callable[[Task], None] | None = None
        self.on_freeze: Callable[[Task, bool], None] | None = None
        self.on_exit: Callable[[Task], None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.pid} {self.name!r}>"

    @property
    def tgid(self) -> int:
        """The process id."""
        return self.leader.pid

    @property
    def is_leader(self) -> bool:
        """Whether this thread stands for its process."""
        return self.leader is self

    @property
    def is_alive(self) -> bool:
        """Not a zombie and not under a pending SIGKILL."""
        return not self.is_zombie and not self.is_killed

    def kill(self) -> None:
        """Send SIGKILL to the whole process; a second one has no effect, and kernel threads have none at all.

        The exit itself is the business of ``on_kill``, which the hierarchy sets to an immediate exit when a task without one enters.
        """
        leader = self.leader
        if leader.is_killed or leader.is_kthread:
            return
        for thread in (leader, *list(leader.threads.values())):
            thread.is_killed = True
        if leader.on_kill is not None:
            leader.on_kill(leader)


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """What a source of real tasks says of one thread."""

    tid: int
    tgid: int
    name: str = "?"
    uid: int = 0
    is_kthread: bool = False
    is_pinned: bool = False
    is_zombie: bool = False


@dataclass(frozen=True, slots=True)
class Forked:
    """A followed process has a new child process."""

    parent_tgid: int
    child: ThreadInfo


@dataclass(frozen=True, slots=True)
class ThreadStarted:
    """A followed process has a new thread."""

    thread: ThreadInfo


@dataclass(frozen=True, slots=True)
class ThreadExited:
    """A thread of a followed process ended; the last one of them ends the process."""

    tid: int


Change = Forked | ThreadStarted | ThreadExited


class TaskSource(Protocol):
    """Knows the real tasks of the machine; the core itself does no input or output."""

    def find(self, tid: int) -> ThreadInfo | None:
        """The thread with this id, zombies included; None if there is none or it is not visible."""
        ...

    def threads(self, tgid: int) -> Iterable[ThreadInfo]:
        """Live threads of a process, the leader first."""
        ...

    def follow(self, tgid: int) -> None:
        """Report changes of this process from now on."""
        ...

    def changes(self) -> Iterable[Change]:
        """What happened to the followed processes since the last call, in order."""
        ...

    def kill(self, tgid: int) -> None:
        """SIGKILL."""
        ...

    def freeze(self, tgid: int, frozen: bool) -> None:
        """Stop a process, or let it go on."""
        ...


class HostTask(Task):
    """A thread of a real process, as last reported by a TaskSource."""

    __slots__ = ()

    @classmethod
    def from_info(cls, info: ThreadInfo, leader: Task | None) -> HostTask:
        """A task for what a source reported."""
        return cls(
            info.tid,
            info.name,
            uid=info.uid,
            leader=leader,
            is_kthread=info.is_kthread,
            is_pinned=info.is_pinned,
            is_zombie=info.is_zombie,
        )
