"""Who is in which cgroup: new tasks, moves, exits, and the lists and writes of cgroup.procs and cgroup.threads.

Mirrors the migration and css_task_iter parts of kernel/cgroup/cgroup.c. A real process is known here only from its first move into the
tree, or as the child of a known one; everything else on the machine counts as being in the root without being listed, except that whoever
reads the root's list finds itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fakecg.abi.errors import AccessDenied, Busy, InvalidInput, NoSuchTask, NotSupported, OutOfRange
from fakecg.abi.units import kstrtoint
from fakecg.cgroup import freezer
from fakecg.sched.task import Forked, HostTask, Task, ThreadInfo, ThreadStarted

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import OpenFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.cgroup.hierarchy import Hierarchy

KTHREADD_PID = 2


# --- coming and going ---


def add_task(hierarchy: Hierarchy, task: Task, cgroup: Cgroup) -> None:
    """A new thread starts in a cgroup.

    Raises:
        ControlError: a controller refuses; nothing has happened.

    Source: cgroup.c:cgroup_can_fork, cgroup_post_fork.
    """
    csses = _csses(cgroup)
    for css in csses:
        css.controller.can_fork(task, css)
    _adopt(hierarchy, task, cgroup)


def _adopt(hierarchy: Hierarchy, task: Task, cgroup: Cgroup) -> None:
    hierarchy.tasks[task.pid] = task
    if task.on_kill is None:
        task.on_kill = hierarchy.exit_task
    if cgroup.e_freeze and not task.is_kthread:
        task.frozen = True
        cgroup.nr_frozen_tasks += 1
    _enter(task, cgroup)
    for css in _csses(cgroup):
        css.controller.attach(task, css)
    if task.frozen and task.on_freeze is not None:
        task.on_freeze(task, True)


def _csses(cgroup: Cgroup) -> list[Css]:
    return [css for name in cgroup.hierarchy.controllers if (css := cgroup.e_css(name)) is not None]


def _enter(task: Task, cgroup: Cgroup) -> None:
    task.cgroup = cgroup
    was_empty = not cgroup.tasks
    cgroup.tasks[task] = None
    if was_empty:
        _update_populated(cgroup, True)


def _leave(task: Task, cgroup: Cgroup) -> None:
    del cgroup.tasks[task]
    if not cgroup.tasks:
        _update_populated(cgroup, False)


def _update_populated(cgroup: Cgroup, populated: bool) -> None:
    # Source: cgroup.c:cgroup_update_populated. The tasks of ``cgroup`` changed already.
    if cgroup.nr_populated_domain_children or cgroup.nr_populated_threaded_children:
        return
    cgroup.notify("cgroup.events")
    adjustment = 1 if populated else -1
    child = cgroup
    for ancestor in cgroup.ancestors():
        was_populated = ancestor.is_populated
        if child.is_threaded:
            ancestor.nr_populated_threaded_children += adjustment
        else:
            ancestor.nr_populated_domain_children += adjustment
        if ancestor.is_populated == was_populated:
            break
        ancestor.notify("cgroup.events")
        child = ancestor


def exit_thread(hierarchy: Hierarchy, task: Task) -> None:
    """One thread ends. A leader stays listed in cgroup.procs until its last thread ended. Source: cgroup.c:cgroup_exit."""
    leader = task.leader
    if leader.threads.pop(task.pid, None) is None:
        return
    task.is_zombie = True
    if task is leader and leader.threads:
        return
    _exit(hierarchy, task)
    if task is not leader:
        hierarchy.tasks.pop(task.pid, None)
        if not leader.threads and leader.is_zombie:
            _exit(hierarchy, leader)


def _exit(hierarchy: Hierarchy, task: Task) -> None:
    cgroup = task.cgroup
    if cgroup is None or task not in cgroup.tasks:
        return
    if task.frozen:
        task.frozen = False
        cgroup.nr_frozen_tasks -= 1
    csses = _csses(cgroup)
    _leave(task, cgroup)
    if cgroup.e_freeze:
        freezer.update_frozen(cgroup)
    for css in csses:
        css.controller.exit(task, css)


def exit_process(hierarchy: Hierarchy, task: Task) -> None:
    """All threads of a process end; the leader stays as a zombie until hierarchy.reap_task."""
    for thread in list(task.leader.threads.values()):
        exit_thread(hierarchy, thread)


# --- real processes ---


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


def _start_following(hierarchy: Hierarchy, leader: Task) -> None:
    # The whole process becomes known, in the root, where it counted as being.
    source = hierarchy.task_source
    if source is None or leader.pid in hierarchy.tasks or leader.is_zombie:
        return
    source.follow(leader.pid)
    _adopt(hierarchy, leader, hierarchy.root)
    for info in source.threads(leader.pid):
        if info.tid != leader.pid:
            thread = leader.threads.get(info.tid) or _make_host_task(hierarchy, info, leader)
            _adopt(hierarchy, thread, hierarchy.root)
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
                if not task.leader.threads:
                    hierarchy.tasks.pop(task.tgid, None)


def _adopt_real(hierarchy: Hierarchy, info: ThreadInfo, leader: Task | None, cgroup: Cgroup) -> None:
    if not info.is_zombie:
        _adopt(hierarchy, _make_host_task(hierarchy, info, leader), cgroup if cgroup.online else hierarchy.root)


# --- moving ---


def vet_destination(cgroup: Cgroup) -> None:
    """Whether processes may be put into a cgroup.

    Raises:
        NotSupported: its resource domain is invalid (EOPNOTSUPP).
        Busy: it has controllers enabled for children, and is neither the root, nor threaded, nor able to be a thread root (EBUSY).

    Source: cgroup.c:cgroup_migrate_vet_dst.
    """
    if not cgroup.dom_cgrp.is_valid_domain:
        raise NotSupported(f"{cgroup.path()}: the domain {cgroup.dom_cgrp.path()} is invalid")
    if cgroup.can_be_thread_root or cgroup.is_threaded:
        return
    if cgroup.subtree_control:
        raise Busy(f"{cgroup.path()}: controllers are enabled for its children")


def attach(hierarchy: Hierarchy, task: Task, target: Cgroup, *, threadgroup: bool) -> None:
    """Move a process, or one thread of it. Zombies stay where they are, which is a success.

    Raises:
        NotSupported, Busy: see vet_destination; NotSupported also for a single thread leaving its resource domain.
        ControlError: a controller refuses; nothing has moved.

    Source: cgroup.c:cgroup_attach_permissions, cgroup_attach_task.
    """
    vet_destination(target)
    source = task.cgroup or hierarchy.root
    if not threadgroup and source.dom_cgrp is not target.dom_cgrp:
        raise NotSupported(f"{target.path()}: a single thread cannot leave its domain {source.dom_cgrp.path()}")
    if isinstance(task, HostTask):
        _start_following(hierarchy, task.leader)
        task = hierarchy.tasks.get(task.pid, task)
    threads: Iterable[Task] = list(task.leader.threads.values()) if threadgroup else [task]
    moving = [thread for thread in threads if thread.cgroup is not target and not thread.is_zombie]
    changes = {thread: _changing_csses(thread, target) for thread in moving}
    for thread, csses in changes.items():
        for css in csses:
            css.controller.can_attach(thread, css)
    for thread, csses in changes.items():
        origin = thread.cgroup
        if origin is not None and thread in origin.tasks:
            _leave(thread, origin)
        _enter(thread, target)
        if origin is not None:
            freezer.migrate(thread, origin, target)
        for css in csses:
            css.controller.attach(thread, css)


def _changing_csses(task: Task, target: Cgroup) -> list[Css]:
    origin = task.cgroup
    return [css for css in _csses(target) if origin is None or origin.e_css(css.controller.name) is not css]


def write_procs(cgroup: Cgroup, data: bytes, open_file: OpenFile, *, threadgroup: bool) -> None:
    """Write cgroup.procs or, with ``threadgroup`` False, cgroup.threads: one number, 0 for the writer.

    The order of the checks is the kernel's: number, task, permission, destination, controllers.

    Raises:
        InvalidInput: not one number from 0; a kernel thread that must stay (EINVAL).
        NoSuchTask: nobody has this id (ESRCH).
        AccessDenied: the opener of the file may not write cgroup.procs of the common ancestor (EACCES).
        NotSupported, Busy, ControlError: see attach.

    Source: cgroup.c:__cgroup_procs_write, cgroup_procs_write_start.
    """
    hierarchy = cgroup.hierarchy
    try:
        pid = kstrtoint(data)
    except OutOfRange as error:
        raise InvalidInput(error.reason) from None
    if pid < 0:
        raise InvalidInput(f"not a process id: {pid}")
    refresh(hierarchy)
    task = find_task(hierarchy, pid or open_file.writer.tid)
    if task is None:
        raise NoSuchTask(f"no task {pid}" if pid else "the writer is not visible from here")
    if threadgroup:
        task = task.leader
    if task.is_pinned:
        raise InvalidInput(f"task {task.pid} is a kernel thread that must not be moved")
    common = task.cgroup or hierarchy.root
    while not cgroup.is_descendant_of(common):
        assert common.parent is not None
        common = common.parent
    node = common.find_node(b"cgroup.procs")
    if node is not None and not node.may_write(open_file.opener):
        raise AccessDenied(f"uid {open_file.opener.uid}, who opened the file, may not write {common.path()}/cgroup.procs")
    attach(hierarchy, task, cgroup, threadgroup=threadgroup)


def show_procs(cgroup: Cgroup, open_file: OpenFile) -> str:
    """Read cgroup.procs: process ids by time of entry; of a thread root all processes of the threaded subtree.

    Raises:
        NotSupported: a threaded cgroup (EOPNOTSUPP).

    Source: cgroup.c:cgroup_procs_start.
    """
    if cgroup.is_threaded:
        raise NotSupported(f"{cgroup.path()}: cgroup.procs of a threaded cgroup cannot be read")
    refresh(cgroup.hierarchy)
    pids = [task.pid for member in domain_members(cgroup) for task in member.iter_tasks()]
    return _lines(pids, cgroup, open_file, threadgroup=True)


def show_threads(cgroup: Cgroup, open_file: OpenFile) -> str:
    """Read cgroup.threads: ids of live threads in here by time of entry."""
    refresh(cgroup.hierarchy)
    tids = [task.pid for task in cgroup.tasks if not task.is_zombie]
    return _lines(tids, cgroup, open_file, threadgroup=False)


def domain_members(cgroup: Cgroup) -> list[Cgroup]:
    """A cgroup and the members of the threaded subtree it is the root of."""
    if not cgroup.nr_threaded_children:
        return [cgroup]
    return [member for member in cgroup.descendants_pre() if member.dom_cgrp is cgroup]


def _lines(ids: list[int], cgroup: Cgroup, open_file: OpenFile, *, threadgroup: bool) -> str:
    reader = open_file.opener.tid
    if cgroup.is_root and reader:
        task = find_task(cgroup.hierarchy, reader)
        if task is not None and task.cgroup is cgroup:
            own = task.tgid if threadgroup else task.pid
            if own not in ids:
                ids.append(own)
    return "".join(f"{each}\n" for each in ids)
