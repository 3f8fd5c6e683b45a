"""Tasks come and go: new ones, exits, and who learns that a cgroup is populated.

Mirrors css_set_move_task, cgroup_update_populated, cgroup_post_fork and cgroup_exit of kernel/cgroup/cgroup.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.cgroup import freezer

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.cgroup.css import Css
    from fakecg.cgroup.hierarchy import Hierarchy
    from fakecg.sched.task import Task


def add_task(hierarchy: Hierarchy, task: Task, cgroup: Cgroup) -> None:
    """A new thread starts in a cgroup.

    Raises:
        ControlError: a controller refuses; nothing has happened.

    Source: cgroup.c:cgroup_can_fork, cgroup_post_fork.
    """
    csses = csses_of(cgroup)
    for css in csses:
        css.controller.can_fork(task, css)
    adopt(hierarchy, task, cgroup)


def adopt(hierarchy: Hierarchy, task: Task, cgroup: Cgroup) -> None:
    """A thread is in a cgroup from now on, and nobody may refuse it."""
    hierarchy.tasks[task.pid] = task
    if task.on_kill is None:
        task.on_kill = hierarchy.exit_task
    if cgroup.e_freeze and not task.is_kthread:
        task.frozen = True
        cgroup.nr_frozen_tasks += 1
    enter(task, cgroup)
    for css in csses_of(cgroup):
        css.controller.attach(task, css)
    if task.frozen and task.on_freeze is not None:
        task.on_freeze(task, True)


def csses_of(cgroup: Cgroup) -> list[Css]:
    """The state that applies to the cgroup's tasks, of each controller."""
    return [css for name in cgroup.hierarchy.controllers if (css := cgroup.e_css(name)) is not None]


def enter(task: Task, cgroup: Cgroup) -> None:
    """Put a thread into a cgroup it is not in."""
    task.cgroup = cgroup
    was_empty = not cgroup.tasks
    cgroup.tasks[task] = None
    if was_empty:
        _update_populated(cgroup, True)


def leave(task: Task, cgroup: Cgroup) -> None:
    """Take a thread out of its cgroup."""
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
    csses = csses_of(cgroup)
    leave(task, cgroup)
    if cgroup.e_freeze:
        freezer.update_frozen(cgroup)
    for css in csses:
        css.controller.exit(task, css)


def exit_process(hierarchy: Hierarchy, task: Task) -> None:
    """All threads of a process end; the leader stays as a zombie until hierarchy.reap_task."""
    for thread in list(task.leader.threads.values()):
        exit_thread(hierarchy, thread)
