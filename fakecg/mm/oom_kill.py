"""Out of memory inside a cgroup, or in the whole machine: whom to kill.

Mirrors mm/oom_kill.c and mem_cgroup_get_oom_group of mm/memcontrol.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.mm.memcontrol import MEMCG_OOM_GROUP_KILL, MEMCG_OOM_KILL, MemCgroup, memcg_of

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.sched.task import Task

OOM_SCORE_ADJ_MIN = -1000


def out_of_memory(machine: Machine, memcg: MemCgroup) -> bool:
    """Kill the worst process below ``memcg``, or its whole oom group; False if there is nobody to kill."""
    victim = _select_bad_process(machine, memcg)
    if victim is None:
        return False
    group = _oom_group(memcg_of_task(victim), memcg)
    _kill(machine, victim)
    if group is not None:
        group.event(MEMCG_OOM_GROUP_KILL)
        for task in list(group.cgroup.iter_tasks(recursive=True)):
            # The victim is counted once more: it is still among the group's tasks when the kernel looks.
            if task.is_leader and task.oom_score_adj != OOM_SCORE_ADJ_MIN:
                _kill(machine, task)
        if not victim.is_alive:
            memcg_of_task(victim).event(MEMCG_OOM_KILL)
            machine.vm.oom_kill += 1
    return True


def memcg_of_task(task: Task) -> MemCgroup:
    """The memcg a task's memory is charged to."""
    assert task.cgroup is not None
    return memcg_of(task.cgroup)


def _select_bad_process(machine: Machine, memcg: MemCgroup) -> Task | None:
    """Most pages in memory and swap, shifted by oom_score_adj thousandths of the limit. Source: oom_badness."""
    total_pages = min(memcg.memory.max, machine.total_pages) + machine.swap.nr_slots
    worst: Task | None = None
    most = 0
    for task in memcg.cgroup.iter_tasks(recursive=True):
        if not task.is_leader or task.mm is None or task.mm.is_dying or task.oom_score_adj == OOM_SCORE_ADJ_MIN:
            continue
        points = sum(task.mm.nr_resident()) + task.oom_score_adj * total_pages // 1000
        if worst is None or points > most:
            worst, most = task, points
    return worst


def _oom_group(memcg: MemCgroup, domain: MemCgroup) -> MemCgroup | None:
    """The highest cgroup from the victim's up to ``domain`` with memory.oom.group=1. Source: mem_cgroup_get_oom_group."""
    group = None
    walk: MemCgroup | None = memcg
    while walk is not None and not walk.is_root:
        if walk.oom_group:
            group = walk
        if walk is domain:
            break
        walk = walk.parent_memcg
    return group


def _kill(machine: Machine, task: Task) -> None:
    if task.mm is None or task.mm.is_dying:
        return
    memcg_of_task(task).event(MEMCG_OOM_KILL)
    machine.vm.oom_kill += 1
    machine.log(f"out of memory: killed process {task.pid} ({task.name})")
    task.mm.is_dying = True
    task.kill()
