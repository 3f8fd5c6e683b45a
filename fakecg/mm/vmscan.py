"""Reclaim: which cgroups, which lists, how many pages.

Mirrors mm/vmscan.c with the classic LRU (lru_gen off). What happens to the pages of one batch is in shrink_folio.py.

Every loop that the kernel breaks with cond_resched() is a generator that yields there.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

from fakecg.abi.stat import (
    NR_ACTIVE_ANON,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
    PGDEACTIVATE,
    PGREFILL,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSCAN_PROACTIVE,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
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
from fakecg.mm.shrink_folio import shrink_folio_list
from fakecg.mm.workingset import age_nonresident, note_cost

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

DEF_PRIORITY = 12
#: memory.reclaim swappiness=max: anonymous memory only.
SWAPPINESS_ANON_ONLY = 201
MAX_SWAPPINESS = 200
_GIB_PAGES = 1 << 18

SCAN_EQUAL, SCAN_FRACT, SCAN_ANON, SCAN_FILE = range(4)
ReclaimSteps = Generator[None, None, int]
_NO_PAGES = (0, 0, 0, 0)


@dataclass(slots=True)
class ScanControl:
    """One reclaim's parameters and progress (struct scan_control).

    Attributes:
        target: the cgroup whose subtree is reclaimed; the root for global reclaim too.
        is_global: not on behalf of a cgroup: watermarks, kswapd.
        proactive: from memory.reclaim: no vmpressure.
        deactivate: whether active lists may be scanned, anon and file.
        nr_reclaimed, nr_scanned: pages so far.
    """

    target: MemCgroup
    nr_to_reclaim: int
    swappiness: int
    is_global: bool = False
    is_kswapd: bool = False
    proactive: bool = False
    may_swap: bool = True
    priority: int = DEF_PRIORITY
    nr_reclaimed: int = 0
    nr_scanned: int = 0
    scan_item: int = PGSCAN_DIRECT
    steal_item: int = PGSTEAL_DIRECT
    deactivate: list[bool] = field(default_factory=lambda: [False, False])
    force_deactivate: bool = False
    skipped_deactivate: bool = False
    low_reclaim: bool = False
    low_skipped: bool = False
    full_walk: bool = False
    cache_trim_mode: bool = False
    no_cache_trim_mode: bool = False
    file_is_tiny: bool = False
    anon_cost: int = 0
    file_cost: int = 0


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
    _prepare_scan_control(machine, target.lruvecs[node], sc)
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


def _inactive_is_low(inactive: int, active: int) -> bool:
    """Source: vmscan.c:inactive_is_low."""
    gibs = (inactive + active) // _GIB_PAGES
    ratio = isqrt(10 * gibs) if gibs else 1
    return inactive * ratio < active


def _prepare_scan_control(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> None:
    """What the target's subtree as a whole says about both types. Source: vmscan.c, same name."""
    machine.flush_stats_ratelimited()
    sc.anon_cost, sc.file_cost = lruvec.anon_cost, lruvec.file_cost
    total = lruvec.memcg.rstat.total
    base = lruvec.stat_base
    if sc.force_deactivate:
        sc.deactivate = [True, True]
    else:
        for kind in (0, 1):
            refaults = total[base + WORKINGSET_ACTIVATE_ANON + kind]
            inactive, active = total[base + NR_INACTIVE_ANON + 2 * kind], total[base + NR_ACTIVE_ANON + 2 * kind]
            sc.deactivate[kind] = refaults != lruvec.refaults[kind] or _inactive_is_low(inactive, active)
    inactive_file = total[base + NR_INACTIVE_FILE]
    sc.cache_trim_mode = bool(inactive_file >> sc.priority) and not sc.deactivate[1] and not sc.no_cache_trim_mode
    sc.file_is_tiny = False
    if sc.is_global:
        zone = machine.nodes[lruvec.node]
        nr_file = inactive_file + total[base + NR_INACTIVE_FILE + LRU_ACTIVE]
        nr_anon = total[base + NR_INACTIVE_ANON]
        sc.file_is_tiny = nr_file + zone.nr_free <= zone.high_wmark and not sc.deactivate[0] and bool(nr_anon >> sc.priority)


def _scan_counts(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> list[int]:
    """Pages to scan on each list. Source: vmscan.c:get_scan_count."""
    memcg = lruvec.memcg
    anon_share = file_share = denominator = 1
    if not sc.may_swap or memcg.nr_swap_pages() <= 0:
        balance = SCAN_FILE
    elif sc.swappiness == SWAPPINESS_ANON_ONLY:
        balance = SCAN_ANON
    elif not sc.is_global and not sc.swappiness:
        balance = SCAN_FILE
    elif not sc.priority and sc.swappiness:
        balance = SCAN_EQUAL
    elif sc.file_is_tiny:
        balance = SCAN_ANON
    elif sc.cache_trim_mode:
        balance = SCAN_FILE
    else:
        balance = SCAN_FRACT
        total_cost = sc.anon_cost + sc.file_cost
        anon_cost = total_cost + sc.anon_cost
        file_cost = total_cost + sc.file_cost
        total_cost = anon_cost + file_cost
        anon_share = sc.swappiness * (total_cost + 1) // (anon_cost + 1)
        file_share = (MAX_SWAPPINESS - sc.swappiness) * (total_cost + 1) // (file_cost + 1)
        denominator = anon_share + file_share
    emin, elow = (0, 0) if memcg is sc.target or memcg.is_root else (memcg.memory.emin, memcg.memory.elow)
    counts = []
    for lru in EVICTABLE_LRUS:
        is_file = lru >= LRU_FILE
        size = lruvec.lists[lru].size
        scan = size
        if emin or elow:
            protection = emin
            if not sc.low_reclaim and elow > emin:
                protection = elow
                sc.low_skipped = True
            cgroup_size = max(memcg.memory.usage, protection)
            scan = max(size - size * protection // (cgroup_size + 1), SWAP_CLUSTER_MAX)
        scan >>= sc.priority
        if not scan and not memcg.online:
            scan = min(size, SWAP_CLUSTER_MAX)
        if balance == SCAN_FRACT:
            share = scan * (file_share if is_file else anon_share)
            scan = share // denominator if memcg.online else -(-share // denominator)
        elif balance != SCAN_EQUAL and (balance == SCAN_FILE) != is_file:
            scan = 0
        counts.append(scan)
    return counts


def _shrink_lruvec(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> Generator[None, None, None]:
    """Source: vmscan.c:shrink_lruvec."""
    nr = _scan_counts(machine, lruvec, sc)
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
                nr_to_scan = nr_alike(machine, lruvec, min(nr[lru], -(-left // SWAP_CLUSTER_MAX) * SWAP_CLUSTER_MAX))
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
        if _inactive_is_low(total[base + NR_INACTIVE_ANON], total[base + NR_ACTIVE_ANON]):
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
    machine.swap_cache.holds_batch = True
    result = shrink_folio_list(machine, lruvec, pages, is_file, sc)
    machine.swap_cache.holds_batch = False
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
    machine.swap_cache.end_writeback()
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


def kswapd_scan_control(machine: Machine) -> ScanControl:
    """A kswapd run's parameters. Source: vmscan.c:balance_pgdat."""
    return ScanControl(
        target=machine.root_memcg,
        nr_to_reclaim=SWAP_CLUSTER_MAX,
        swappiness=machine.swappiness,
        is_global=True,
        is_kswapd=True,
        scan_item=PGSCAN_KSWAPD,
        steal_item=PGSTEAL_KSWAPD,
    )
