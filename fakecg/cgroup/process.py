"""Moves of processes, and the files that list and take them: cgroup.procs and cgroup.threads.

Mirrors the migration and css_task_iter parts of kernel/cgroup/cgroup.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fakecg.abi.errors import AccessDenied, Busy, InvalidInput, NoSuchTask, NotSupported, OutOfRange
from fakecg.abi.units import kstrtoint
from fakecg.cgroup import freezer
from fakecg.cgroup.membership import csses_of, enter, leave
from fakecg.cgroup.real_tasks import find_task, refresh, start_following
from fakecg.sched.task import HostTask, Task

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import OpenFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.cgroup.hierarchy import Hierarchy


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
        start_following(hierarchy, task.leader)
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
            leave(thread, origin)
        enter(thread, target)
        if origin is not None:
            freezer.migrate(thread, origin, target)
        for css in csses:
            css.controller.attach(thread, css)


def _changing_csses(task: Task, target: Cgroup) -> list[Css]:
    origin = task.cgroup
    return [css for css in csses_of(target) if origin is None or origin.e_css(css.controller.name) is not css]


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
