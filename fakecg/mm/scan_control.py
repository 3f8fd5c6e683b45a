"""One reclaim's parameters, and how many pages of which list they make it scan.

Mirrors struct scan_control and get_scan_count of mm/vmscan.c.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt
from typing import TYPE_CHECKING

from fakecg.abi.stat import (
    NR_ACTIVE_ANON,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
    WORKINGSET_ACTIVATE_ANON,
)
from fakecg.mm.lruvec import EVICTABLE_LRUS, LRU_ACTIVE, LRU_FILE, SWAP_CLUSTER_MAX, Lruvec
from fakecg.mm.memcontrol import MemCgroup

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

DEF_PRIORITY = 12
#: memory.reclaim swappiness=max: anonymous memory only.
SWAPPINESS_ANON_ONLY = 201
MAX_SWAPPINESS = 200
_GIB_PAGES = 1 << 18

SCAN_EQUAL, SCAN_FRACT, SCAN_ANON, SCAN_FILE = range(4)


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


def inactive_is_low(inactive: int, active: int) -> bool:
    """Source: vmscan.c:inactive_is_low."""
    gibs = (inactive + active) // _GIB_PAGES
    ratio = isqrt(10 * gibs) if gibs else 1
    return inactive * ratio < active


def prepare_scan_control(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> None:
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
            sc.deactivate[kind] = refaults != lruvec.refaults[kind] or inactive_is_low(inactive, active)
    inactive_file = total[base + NR_INACTIVE_FILE]
    sc.cache_trim_mode = bool(inactive_file >> sc.priority) and not sc.deactivate[1] and not sc.no_cache_trim_mode
    sc.file_is_tiny = False
    if sc.is_global:
        zone = machine.nodes[lruvec.node]
        nr_file = inactive_file + total[base + NR_INACTIVE_FILE + LRU_ACTIVE]
        nr_anon = total[base + NR_INACTIVE_ANON]
        sc.file_is_tiny = nr_file + zone.nr_free <= zone.high_wmark and not sc.deactivate[0] and bool(nr_anon >> sc.priority)


def get_scan_count(machine: Machine, lruvec: Lruvec, sc: ScanControl) -> list[int]:
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
