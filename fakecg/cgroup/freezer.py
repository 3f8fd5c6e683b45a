"""The cgroup freezer.

Mirrors kernel/cgroup/freezer.c. A task stops at once when it is told to: there is no state between freezing and frozen.
Kernel threads never freeze, and a cgroup that holds one never reads frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.sched.task import Task


def inherit(cgroup: Cgroup) -> None:
    """A new, empty cgroup below a frozen one is frozen. Source: cgroup.c:cgroup_create."""
    parent = cgroup.parent
    if parent is None or not parent.e_freeze:
        return
    cgroup.e_freeze = parent.e_freeze
    cgroup.frozen = True
    cgroup.freeze_start_ns = cgroup.created_ns
    for ancestor in cgroup.ancestors():
        ancestor.nr_frozen_descendants += 1


def set_freeze(cgroup: Cgroup, freeze: bool) -> None:
    """Write cgroup.freeze. Tasks of the subtree stop or go on; the events file tells when a state changed, or that nothing did.

    Source: freezer.c:cgroup_freeze. Cost: O(cgroups and tasks below).
    """
    if cgroup.freeze == freeze:
        return
    cgroup.freeze = freeze
    applied = False
    for each in cgroup.descendants_pre():
        each.e_freeze += 1 if freeze else -1
        if each.e_freeze == (1 if freeze else 0):
            _apply(each, freeze)
            applied = True
    if not applied:
        cgroup.notify("cgroup.events")


def _apply(cgroup: Cgroup, freeze: bool) -> None:
    # Source: freezer.c:cgroup_do_freeze.
    now_ns = cgroup.hierarchy.clock.now_ns()
    if freeze:
        cgroup.freeze_start_ns = now_ns
    else:
        cgroup.freeze_ns += now_ns - cgroup.freeze_start_ns
    for task in list(cgroup.tasks):
        freeze_task(task, freeze)
    if cgroup.nr_descendants == cgroup.nr_frozen_descendants:
        update_frozen(cgroup)


def freeze_task(task: Task, freeze: bool) -> None:
    """Stop a task, or let it go on; what that means for its work is up to ``task.on_freeze``."""
    cgroup = task.cgroup
    if task.frozen == freeze or task.is_kthread or task.is_killed or cgroup is None:
        return
    task.frozen = freeze
    cgroup.nr_frozen_tasks += 1 if freeze else -1
    update_frozen(cgroup)
    if task.on_freeze is not None:
        task.on_freeze(task, freeze)


def update_frozen(cgroup: Cgroup) -> None:
    """Recompute whether a cgroup is frozen after its own tasks changed, and tell those above. Source: cgroup_update_frozen."""
    frozen = cgroup.e_freeze > 0 and cgroup.nr_frozen_tasks == len(cgroup.tasks)
    if frozen == cgroup.frozen:
        return
    cgroup.frozen = frozen
    cgroup.notify("cgroup.events")
    # Source: freezer.c:cgroup_propagate_frozen.
    nr_changed = 1
    for ancestor in cgroup.ancestors():
        if frozen:
            ancestor.nr_frozen_descendants += nr_changed
            changes = not ancestor.frozen and ancestor.e_freeze > 0 and ancestor.nr_frozen_descendants == ancestor.nr_descendants
        else:
            ancestor.nr_frozen_descendants -= nr_changed
            changes = ancestor.frozen
        if changes:
            ancestor.frozen = frozen
            ancestor.notify("cgroup.events")
            nr_changed += 1


def migrate(task: Task, source: Cgroup, target: Cgroup) -> None:
    """Bring a moved task into the state its new cgroup asks for. Source: freezer.c:cgroup_freezer_migrate_task."""
    if task.is_kthread or not (source.e_freeze or target.e_freeze or task.frozen):
        return
    if task.frozen:
        source.nr_frozen_tasks -= 1
        target.nr_frozen_tasks += 1
    update_frozen(target)
    update_frozen(source)
    freeze_task(task, target.e_freeze > 0)
