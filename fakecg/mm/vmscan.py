"""Reclaim: which cgroups in which order, and the batches of their lists.

Mirrors mm/vmscan.c with the classic LRU (lru_gen off). What happens to the pages of one batch is in shrink_folio.py.

Every loop that the kernel breaks with cond_resched() is a generator that yields there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.abi.stat import (
    NR_ACTIVE_ANON,
    NR_INACTIVE_ANON,
    PGDEACTIVATE,
    PGREFILL,
    PGSCAN_PROACTIVE,
    PGSTEAL_PROACTIVE,
    WORKINGSET_ACTIVATE_ANON,
    WORKINGSET_ACTIVATE_FILE,
)
from fakecg.mm import zswap_shrinker
from fakecg.mm.lruvec import (
    EVICTABLE_LRUS,
    LRU_ACTIVE,
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    SWAP_CLUSTER_MAX,
    Lruvec,
)
from fakecg.mm.memcontrol import MEMCG_LOW, MemCgroup
from fakecg.mm.page_table import ACTIVE, WORKINGSET, YOUNG
from fakecg.mm.reclaim_ahead import nr_alike
from fakecg.mm.scan_control import DEF_PRIORITY, ScanControl, get_scan_count, inactive_is_low, prepare_scan_control
from fakecg.mm.shrink_folio import shrink_folio_list
from fakecg.mm.workingset import age_nonresident, note_cost

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

ReclaimSteps = Generator[None, None, int]


def try_to_free_mem_cgroup_pages(
    machine: Machine, memcg: MemCgroup, nr_pages: int, *, proactive: bool = False, swappiness: int | None = None
) -> ReclaimSteps:
    """Reclaim from a cgroup's subtree, at least 32 pages; returns how many were freed. Source: vmscan.c, same name."""
    sc = ScanControl(
        target=memcg,
        nr_to_reclaim=max(nr_pages, SWAP_CLUSTER_MAX),
        swappiness=machine.swappiness if swappiness is None else swappiness,
        proactive=proactive,
    )
    if proactive and machine.features.profile.has_proactive_counters:
        sc.scan_item, sc.steal_item = PGSCAN_PROACTIVE, PGSTEAL_PROACTIVE
    return (yield from do_try_to_free_pages(machine, sc))


def try_to_free_pages(machine: Machine) -> ReclaimSteps:
    """Direct reclaim of the page allocator: 32 pages from anywhere. Source: vmscan.c, same name."""
    sc = ScanControl(target=machine.root_memcg, nr_to_reclaim=SWAP_CLUSTER_MAX, swappiness=machine.swappiness, is_global=True)
    return (yield from do_try_to_free_pages(machine, sc))


def do_try_to_free_pages(machine: Machine, sc: ScanControl) -> ReclaimSteps:
    """All priorities; then once more with a full walk, with forced deactivation, and into protected cgroups, until something is freed."""
    while True:
        if sc.is_global:
            machine.vm.allocstall += 1
        for priority in range(DEF_PRIORITY, -1, -1):
            sc.priority = priority
            sc.nr_scanned = 0
            for node in range(machine.nr_nodes):
                yield from shrink_node(machine, node, sc)
            if sc.nr_reclaimed >= sc.nr_to_reclaim:
                break
        for node in range(machine.nr_nodes):
            _snapshot_refaults(sc.target.lruvecs[node])
        if sc.nr_reclaimed:
            return sc.nr_reclaimed
        if not sc.full_walk:
            sc.full_walk = True
        elif sc.skipped_deactivate:
            sc.force_deactivate = True
            sc.skipped_deactivate = False
        elif sc.low_skipped:
            sc.force_deactivate = False
            sc.low_reclaim = True
            sc.low_skipped = False
        else:
            return 0


def _snapshot_refaults(lruvec: Lruvec) -> None:
    lruvec.refaults = [lruvec.state(WORKINGSET_ACTIVATE_ANON), lruvec.state(WORKINGSET_ACTIVATE_FILE)]


def shrink_node(machine: Machine, node: int, sc: ScanControl) -> Generator[None, None, None]:
    """One priority on one node. Source: shrink_node, shrink_node_memcgs."""
    target = sc.target
    prepare_scan_control(machine, target.lruvecs[node], sc)
    partial = not (sc.is_kswapd or sc.full_walk)
    walk = _partial_walk(target, node) if partial else target.subtree()
    for memcg in walk:
        yield None
        memcg.memory.calculate_protection(target.memory, machine.recursive_protection)
        if memcg is not target and not memcg.is_root:
            usage = memcg.memory.usage
            if memcg.memory.emin >= usage:
                continue
            if memcg.memory.elow >= usage:
                if not sc.low_reclaim:
                    sc.low_skipped = True
                    continue
                memcg.event(MEMCG_LOW)
        yield from _shrink_lruvec(machine, memcg.lruvecs[node], sc)
        yield from zswap_shrinker.shrink_slab(machine, memcg, node, sc.priority)
        if partial and sc.nr_reclaimed >= sc.nr_to_reclaim:
            break


def _partial_walk(target: MemCgroup, node: int) -> Generator[MemCgroup, None, None]:
    """Go on after the cgroup where the last walk of this target stopped, up to the end of the subtree.

    Source: memcontrol.c:mem_cgroup_iter with a reclaim cookie.
    """
    iterator = target.iterators[node]
    memcg = target.next_descendant_pre(iterator.position)
    if memcg is None:
        # A cycle ended just before: begin the next one.
        iterator.generation += 1
        memcg = target
    generation = iterator.generation
    while memcg is not None:
        iterator.position = memcg
        yield memcg
        if iterator.generation != generation:
            # Another walker finished the cycle meanwhile.
            return
        memcg = target.next_descendant_pre(iterator.position)
    iterator.position = None
    iterator.generation += 1


def _shrink_lruvec(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> Generator[None, None, None]:
    """Source: vmscan.c:shrink_lruvec."""
    nr = get_scan_count(machine, lruvec, sc)
    targets = tuple(nr)
    nr_reclaimed = 0
    proportional = sc.is_global and not sc.is_kswapd and sc.priority == DEF_PRIORITY
    while nr[LRU_INACTIVE_ANON] or nr[LRU_ACTIVE_FILE] or nr[LRU_INACTIVE_FILE]:
        for lru in EVICTABLE_LRUS:
            if not nr[lru]:
                continue
            nr_to_scan = min(nr[lru], SWAP_CLUSTER_MAX)
            if lru == LRU_INACTIVE_ANON and nr[lru] == sum(nr):
                # No other list in between: as far as 32 at a time would get before the target.
                left = nr[lru] if proportional else sc.nr_to_reclaim - nr_reclaimed
                nr_to_scan = yield from nr_alike(machine, lruvec, min(nr[lru], -(-left // SWAP_CLUSTER_MAX) * SWAP_CLUSTER_MAX))
            nr[lru] -= nr_to_scan
            if not lru & LRU_ACTIVE:
                nr_reclaimed += _shrink_inactive_list(machine, lruvec, lru, nr_to_scan, sc)
            elif sc.deactivate[lru >> 1]:
                _shrink_active_list(machine, lruvec, lru, nr_to_scan, sc)
            else:
                sc.skipped_deactivate = True
        yield None
        if nr_reclaimed < sc.nr_to_reclaim or proportional:
            continue
        nr_anon = nr[LRU_INACTIVE_ANON] + nr[LRU_ACTIVE_ANON]
        nr_file = nr[LRU_INACTIVE_FILE] + nr[LRU_ACTIVE_FILE]
        if not nr_anon or not nr_file:
            break
        # Stop the smaller type and scan of the other only as large a part as was scanned of the smaller.
        smaller, larger = (LRU_INACTIVE_ANON, LRU_INACTIVE_FILE) if nr_file > nr_anon else (LRU_INACTIVE_FILE, LRU_INACTIVE_ANON)
        percentage = min(nr_anon, nr_file) * 100 // (targets[smaller] + targets[smaller + LRU_ACTIVE] + 1)
        nr[smaller] = nr[smaller + LRU_ACTIVE] = 0
        for lru in (larger, larger + LRU_ACTIVE):
            nr_scanned = targets[lru] - nr[lru]
            nr[lru] = max(0, targets[lru] * (100 - percentage) // 100 - nr_scanned)
    sc.nr_reclaimed += nr_reclaimed
    if machine.swap.nr_slots:
        total, base = lruvec.memcg.rstat.total, lruvec.stat_base
        if inactive_is_low(total[base + NR_INACTIVE_ANON], total[base + NR_ACTIVE_ANON]):
            _shrink_active_list(machine, lruvec, LRU_ACTIVE_ANON, SWAP_CLUSTER_MAX, sc)


def _shrink_inactive_list(machine: Machine, lruvec: Lruvec, lru: int, nr_to_scan: int, sc: ScanControl) -> int:
    """Source: vmscan.c:shrink_inactive_list."""
    pages = lruvec.isolate(machine.table, lru, nr_to_scan)
    nr_scanned = len(pages)
    if not nr_scanned:
        return 0
    is_file = lru >= LRU_FILE
    vm, rstat, base = machine.vm, lruvec.memcg.rstat, lruvec.stat_base
    machine.charge_cost(nr_scanned * machine.cost.scan_ns)
    sc.nr_scanned += nr_scanned
    rstat.add(base + sc.scan_item, nr_scanned)
    vm.count_scan(sc, is_file, nr_scanned)
    machine.page_io.holds_batch = True
    result = shrink_folio_list(machine, lruvec, pages, is_file, sc)
    machine.page_io.holds_batch = False
    if result.kept:
        flags = machine.table.flags
        lruvec.add(machine.table, lru, [page for page in result.kept if not flags[page] & ACTIVE])
        active = [page for page in result.kept if flags[page] & ACTIVE]
        lruvec.add(machine.table, lru + LRU_ACTIVE, active)
        age_nonresident(lruvec, len(active))
    rstat.add(base + sc.steal_item, result.nr_reclaimed)
    vm.count_steal(sc, is_file, result.nr_reclaimed)
    for _ in range(0, nr_scanned - SWAP_CLUSTER_MAX, SWAP_CLUSTER_MAX):
        # Several batches of pages that all went, in one.
        note_cost(lruvec, is_file, SWAP_CLUSTER_MAX, 0)
        result.nr_pageout -= SWAP_CLUSTER_MAX
    note_cost(lruvec, is_file, result.nr_pageout, nr_scanned - result.nr_reclaimed)
    machine.page_io.end_writeback()
    return result.nr_reclaimed


def _shrink_active_list(machine: Machine, lruvec: Lruvec, lru: int, nr_to_scan: int, sc: ScanControl) -> None:
    """Deactivate from the tail: to the head of the inactive list, referenced or not. Source: vmscan.c:shrink_active_list."""
    table = machine.table
    pages = lruvec.isolate(table, lru, nr_to_scan)
    if not pages:
        return
    machine.charge_cost(len(pages) * machine.cost.scan_ns)
    flags = table.flags
    machine.frames.collect_young(pages)
    visible = machine.frames.sees_young(pages, sc.target)
    for page in pages:
        cleared = ~(ACTIVE | YOUNG) if visible(page) else ~ACTIVE
        flags[page] = flags[page] & cleared | WORKINGSET
    lruvec.add(table, lru - LRU_ACTIVE, pages)
    rstat = lruvec.memcg.rstat
    rstat.add(lruvec.stat_base + PGREFILL, len(pages))
    rstat.add(PGDEACTIVATE, len(pages))
    machine.vm.count_refill(sc, len(pages))
