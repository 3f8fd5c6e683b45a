"""Real processes in the tree: found when somebody names one, known and followed from their first move on.

Everything else on the machine counts as being in the root without being listed there. What the processes do is told by a TaskSource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.cgroup.membership import adopt, exit_thread
from fakecg.sched.task import Forked, HostTask, Task, ThreadInfo, ThreadStarted

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.hierarchy import Hierarchy

KTHREADD_PID = 2


def find_task(hierarchy: Hierarchy, tid: int) -> Task | None:
    """The thread with an id: known to the tree, or real and so far only in the root."""
    task = hierarchy.tasks.get(tid)
    source = hierarchy.task_source
    if task is not None or source is None:
        return task
    info = source.find(tid)
    if info is None:
        return _kthreadd(hierarchy) if tid == KTHREADD_PID else None
    leader = hierarchy.tasks.get(info.tgid)
    if leader is None and info.tgid != tid:
        leader_info = source.find(info.tgid)
        if leader_info is None:
            return None
        leader = _make_host_task(hierarchy, leader_info, None)
        leader.cgroup = hierarchy.root
    task = _make_host_task(hierarchy, info, leader)
    task.cgroup = task.leader.cgroup or hierarchy.root
    return task


def _kthreadd(hierarchy: Hierarchy) -> Task:
    # Every kernel has one; behind a pid namespace the real one is out of sight and the emulated kernel's takes its place.
    task = Task(KTHREADD_PID, "kthreadd", is_kthread=True, is_pinned=True)
    task.cgroup = hierarchy.root
    return task


def _make_host_task(hierarchy: Hierarchy, info: ThreadInfo, leader: Task | None) -> HostTask:
    task = HostTask.from_info(info, leader)
    task.on_kill = lambda killed: _signal(hierarchy, killed)
    if task.is_leader:
        task.on_freeze = lambda stopped, frozen: _stop(hierarchy, stopped, frozen)
    return task


def _signal(hierarchy: Hierarchy, task: Task) -> None:
    if hierarchy.task_source is not None:
        hierarchy.task_source.kill(task.tgid)


def _stop(hierarchy: Hierarchy, task: Task, frozen: bool) -> None:
    if hierarchy.task_source is not None:
        hierarchy.task_source.freeze(task.tgid, frozen)


def is_unreaped(hierarchy: Hierarchy, task: Task) -> bool:
    """Whether a real process has ended and nobody waited for it yet."""
    source = hierarchy.task_source
    if source is None or not isinstance(task, HostTask) or not task.is_leader:
        return False
    info = source.find(task.pid)
    return info is not None and info.is_zombie


def start_following(hierarchy: Hierarchy, leader: Task) -> None:
    """A whole process becomes known, in the root, where it counted as being."""
    source = hierarchy.task_source
    if source is None or leader.pid in hierarchy.tasks or leader.is_zombie:
        return
    source.follow(leader.pid)
    adopt(hierarchy, leader, hierarchy.root)
    for info in source.threads(leader.pid):
        if info.tid != leader.pid:
            thread = leader.threads.get(info.tid) or _make_host_task(hierarchy, info, leader)
            adopt(hierarchy, thread, hierarchy.root)
    for tid in [tid for tid in leader.threads if tid not in hierarchy.tasks]:
        del leader.threads[tid]


def refresh(hierarchy: Hierarchy) -> None:
    """Take in what happened to real processes since the last look: forks, new threads, exits."""
    source = hierarchy.task_source
    if source is None:
        return
    for change in source.changes():
        if isinstance(change, Forked):
            parent = hierarchy.tasks.get(change.parent_tgid)
            if parent is not None and parent.cgroup is not None and change.child.tid not in hierarchy.tasks:
                _adopt_real(hierarchy, change.child, None, parent.cgroup)
        elif isinstance(change, ThreadStarted):
            leader = hierarchy.tasks.get(change.thread.tgid)
            if leader is not None and leader.cgroup is not None and change.thread.tid not in hierarchy.tasks:
                _adopt_real(hierarchy, change.thread, leader, leader.cgroup)
        else:
            task = hierarchy.tasks.get(change.tid)
            if isinstance(task, HostTask):
                exit_thread(hierarchy, task)
                leader = task.leader
                if not leader.threads and hierarchy.tasks.pop(leader.pid, None) is not None:
                    if is_unreaped(hierarchy, leader):
                        hierarchy.dying.add_zombie(leader)
                    if leader.on_exit is not None:
                        leader.on_exit(leader)


def _adopt_real(hierarchy: Hierarchy, info: ThreadInfo, leader: Task | None, cgroup: Cgroup) -> None:
    if not info.is_zombie:
        adopt(hierarchy, _make_host_task(hierarchy, info, leader), cgroup if cgroup.online else hierarchy.root)
