"""Charging pages to a cgroup: the stock, the reclaim at a limit, the throttle above memory.high.

Mirrors try_charge_memcg, mem_cgroup_handle_over_high and the limit writes of mm/memcontrol.c.

Simplified: one stock for the machine where the kernel has one per CPU.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.cgroup.cftype import SIGNAL_POINT, Steps
from fakecg.mm import oom_kill
from fakecg.mm.lruvec import SWAP_CLUSTER_MAX
from fakecg.mm.memcontrol import MEMCG_CHARGE_BATCH, MEMCG_HIGH, MEMCG_MAX, MEMCG_OOM, MEMCG_SWAP_HIGH, MemCgroup
from fakecg.mm.mm_struct import ChargeContext, MmStruct
from fakecg.mm.vmscan import try_to_free_mem_cgroup_pages

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

MAX_RECLAIM_RETRIES = 16
#: Jiffies a second; the unit of the throttle formula.
HZ = 250
_MAX_HIGH_DELAY_JIFFIES = 2 * HZ
_NSEC_PER_JIFFY = 1_000_000_000 // HZ


class Stock:
    """Pages charged in advance for the memcg that charged last. Source: memcg_stock_pcp."""

    __slots__ = ("memcg", "nr_pages")

    def __init__(self) -> None:
        self.memcg: MemCgroup | None = None
        self.nr_pages = 0

    def drain(self, root: MemCgroup | None = None) -> None:
        """Give the pages back if they belong to the subtree of ``root`` (None: in any case)."""
        memcg = self.memcg
        if memcg is None or (root is not None and not memcg.is_descendant_of(root)):
            return
        nr_pages, self.nr_pages, self.memcg = self.nr_pages, 0, None
        if nr_pages:
            memcg.memory.uncharge(nr_pages)
            memcg.mm.release_if_unused(memcg)

    def refill(self, memcg: MemCgroup, nr_pages: int) -> None:
        """Keep pages that are charged already."""
        if self.memcg is not memcg:
            self.drain()
            self.memcg = memcg
        self.nr_pages += nr_pages
        if self.nr_pages > MEMCG_CHARGE_BATCH:
            self.drain()


def try_charge(machine: Machine, memcg: MemCgroup, nr_pages: int, context: ChargeContext) -> Generator[None, None, bool]:
    """Charge pages, reclaiming at a limit; returns False if it cannot be done (ENOMEM, or the task is dying).

    Source: memcontrol.c:try_charge_memcg.
    """
    stock = machine.stock
    if memcg.is_root:
        return True
    batch = max(MEMCG_CHARGE_BATCH, nr_pages)
    drained = passed_oom = False
    retries = MAX_RECLAIM_RETRIES
    mm = context.mm
    while True:
        if stock.memcg is memcg and stock.nr_pages >= nr_pages:
            stock.nr_pages -= nr_pages
            return True
        over = memcg.memory.try_charge(batch)
        if over is None:
            break
        if batch > nr_pages:
            batch = nr_pages
            continue
        limited = machine.memcg_of_counter(memcg, over)
        if context.force:
            limited.event(MEMCG_MAX)
            memcg.memory.charge(nr_pages)
            return True
        limited.event(MEMCG_MAX)
        nr_reclaimed = yield from _reclaim_stalled(machine, limited, nr_pages, mm)
        if limited.margin_pages() >= nr_pages:
            continue
        if not drained:
            stock.drain(limited)
            drained = True
            continue
        if nr_reclaimed and nr_pages <= 8:
            continue
        if retries:
            retries -= 1
            continue
        if not context.may_oom:
            return False
        if mm is not None and mm.is_dying:
            if passed_oom:
                return False
            memcg.memory.charge(nr_pages)
            return True
        limited.event(MEMCG_OOM)
        if not oom_kill.out_of_memory(machine, limited):
            return False
        passed_oom = True
        if mm is not None and mm.is_dying:
            return False
        retries = MAX_RECLAIM_RETRIES
        yield None
    if batch > nr_pages:
        stock.refill(memcg, batch - nr_pages)
    if mm is not None:
        for ancestor in memcg.ancestors():
            if ancestor.memory.usage > ancestor.memory.high or ancestor.swap.usage > ancestor.swap.high:
                mm.over_high_pages += batch
                break
    return True


def _reclaim_stalled(machine: Machine, memcg: MemCgroup, nr_pages: int, mm: MmStruct | None) -> Generator[None, None, int]:
    """Reclaim inside a memstall section of the charging task. Source: psi_memstall_enter around the reclaim."""
    before_ns = machine.reclaim_cost_ns
    if mm is not None:
        mm.batches.drain()
    nr_reclaimed = yield from try_to_free_mem_cgroup_pages(machine, memcg, nr_pages)
    stall_ns = machine.reclaim_cost_ns - before_ns
    if mm is not None:
        mm.stall_in_reclaim(stall_ns)
    return nr_reclaimed


def handle_over_high(machine: Machine, mm: MmStruct) -> Generator[int | None, None, None]:
    """What a task does on its way back to user mode after charging above memory.high: reclaim, then sleep.

    Yields the sleep in nanoseconds. Source: memcontrol.c:__mem_cgroup_handle_over_high.
    """
    nr_pages, mm.over_high_pages = mm.over_high_pages, 0
    if not nr_pages:
        return
    memcg = mm.memcg
    retries = MAX_RECLAIM_RETRIES
    nr_to_reclaim = nr_pages
    while not mm.is_dying:
        nr_reclaimed = 0
        for ancestor in memcg.ancestors():
            if ancestor.memory.usage > ancestor.memory.high:
                ancestor.event(MEMCG_HIGH)
                nr_reclaimed += yield from _reclaim_stalled(machine, ancestor, nr_to_reclaim, mm)
        penalty_jiffies = _high_delay_jiffies(nr_pages, _max_overage(memcg, "memory"))
        penalty_jiffies += _high_delay_jiffies(nr_pages, _max_overage(memcg, "swap"))
        penalty_jiffies = min(penalty_jiffies, _MAX_HIGH_DELAY_JIFFIES)
        if penalty_jiffies <= HZ // 100:
            return
        if nr_reclaimed or retries:
            if not nr_reclaimed:
                retries -= 1
            nr_to_reclaim = SWAP_CLUSTER_MAX
            continue
        sleep_ns = penalty_jiffies * _NSEC_PER_JIFFY
        mm.stall(sleep_ns)
        yield sleep_ns
        return


def _max_overage(memcg: MemCgroup, resource: str) -> int:
    """Largest relative excess over high among the ancestors, 20 fractional bits. Source: mem_find_max_overage, swap_find_max_overage."""
    worst = 0
    for ancestor in memcg.ancestors():
        counter = ancestor.memory if resource == "memory" else ancestor.swap
        if counter.usage > counter.high:
            overage = ((counter.usage - counter.high) << 20) // max(counter.high, 1)
            if resource == "swap":
                ancestor.event(MEMCG_SWAP_HIGH)
            worst = max(worst, overage)
    return worst


def _high_delay_jiffies(nr_pages: int, overage: int) -> int:
    """Throttle penalty, quadratic in the overage. Source: calculate_high_delay."""
    if not overage:
        return 0
    return ((overage * overage * HZ) >> 20 >> 14) * nr_pages // MEMCG_CHARGE_BATCH


def shrink_to_high(machine: Machine, memcg: MemCgroup, high_pages: int) -> Steps:
    """The reclaim of a memory.high write, in the writer. Never fails. Source: memory_high_write."""
    drained = False
    retries = MAX_RECLAIM_RETRIES
    while memcg.memory.high == high_pages:
        usage = memcg.memory.usage
        if usage <= high_pages:
            return
        yield SIGNAL_POINT
        if not drained:
            machine.stock.drain(memcg)
            drained = True
            continue
        reclaimed = yield from try_to_free_mem_cgroup_pages(machine, memcg, usage - high_pages)
        if not reclaimed:
            if not retries:
                return
            retries -= 1


def shrink_to_max(machine: Machine, memcg: MemCgroup, max_pages: int) -> Steps:
    """The reclaim, then the kills, of a memory.max write. Never fails. Source: memory_max_write."""
    drained = False
    reclaims = MAX_RECLAIM_RETRIES
    while memcg.memory.max == max_pages:
        usage = memcg.memory.usage
        if usage <= max_pages:
            return
        yield SIGNAL_POINT
        if not drained:
            machine.stock.drain(memcg)
            drained = True
            continue
        if reclaims:
            if not (yield from try_to_free_mem_cgroup_pages(machine, memcg, usage - max_pages)):
                reclaims -= 1
            continue
        memcg.event(MEMCG_OOM)
        if not oom_kill.out_of_memory(machine, memcg):
            return
