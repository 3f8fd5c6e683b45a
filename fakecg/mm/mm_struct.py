"""A task's memory: its address spaces, its over-high debt, its stalls (struct mm_struct, and the memory parts of task_struct)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakecg.mm.folio_batch import LruBatches
from fakecg.mm.memcontrol import MemCgroup, memcg_of

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine
    from fakecg.sched.task import Task


class MmStruct:
    """Memory of one task.

    Attributes:
        spaces: its mappings.
        over_high_pages: charged above memory.high since the last return to user mode (memcg_nr_pages_over_high).
        busy_until_ns: the task's own time, where it is ahead of the clock.
        stalled_ns: time spent in memstall sections.
        reclaim_ns: time spent in direct reclaim that no touch has paid for yet.
        is_dying: killed or exiting.
        batches: its pages on their way to an LRU list.
    """

    def __init__(self, machine: Machine, task: Task) -> None:
        self.machine = machine
        self.task = task
        self.spaces: list[SyntheticAddressSpace] = []
        self.over_high_pages = 0
        self.stalled_ns = 0
        self.reclaim_ns = 0
        self.busy_until_ns = 0
        self.is_dying = False
        self.batches = LruBatches(machine)

    @property
    def memcg(self) -> MemCgroup:
        """The memcg its new pages are charged to."""
        assert self.task.cgroup is not None
        return memcg_of(self.task.cgroup)

    def stall(self, duration_ns: int) -> None:
        """Account time in a memstall section to the task's cgroup and its ancestors. Source: psi.c:psi_memstall_enter, _leave."""
        if duration_ns and self.task.cgroup is not None:
            # In the task's own time, which runs ahead of the clock while a step of its work is computed.
            start_ns = max(self.machine.clock.now_ns(), self.busy_until_ns)
            self.busy_until_ns = start_ns + duration_ns
            self.stalled_ns += duration_ns
            self.task.cgroup.psi.memstall(duration_ns, start_ns)

    def stall_in_reclaim(self, duration_ns: int) -> None:
        """Account direct reclaim, which is a stall and a part of what the current touch takes."""
        self.reclaim_ns += duration_ns
        self.stall(duration_ns)

    def take_reclaim_ns(self) -> int:
        """Time of direct reclaim since the last call."""
        reclaim_ns, self.reclaim_ns = self.reclaim_ns, 0
        return reclaim_ns

    def wait_for_io(self, duration_ns: int) -> None:
        """Account waiting for a device (iowait)."""
        if duration_ns and self.task.cgroup is not None:
            self.task.cgroup.psi.stall("io", duration_ns, max(self.machine.clock.now_ns(), self.busy_until_ns))

    def nr_resident(self) -> tuple[int, int, int]:
        """Pages in memory, in zswap, and in swap elsewhere."""
        return self.machine.spaces.count(self)


@dataclass(slots=True)
class ChargeContext:
    """On whose behalf pages are charged.

    Attributes:
        mm: the faulting task's memory, None when the kernel or a control-file write charges.
        force: from reclaim itself (PF_MEMALLOC): limits do not matter.
        may_oom: a failing charge may kill; a writer's swap-cache pages never do.
    """

    mm: MmStruct | None = None
    force: bool = False
    may_oom: bool = True
