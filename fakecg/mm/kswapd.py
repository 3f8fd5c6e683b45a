"""Memory of a node, its watermarks, and the reclaim that keeps it above them.

Mirrors __setup_per_zone_wmarks of mm/page_alloc.c and kswapd/balance_pgdat of mm/vmscan.c. One zone per node.
"""

from __future__ import annotations

from collections.abc import Generator
from math import isqrt
from typing import TYPE_CHECKING

from fakecg.mm.scan_control import DEF_PRIORITY, kswapd_scan_control
from fakecg.mm.vmscan import shrink_node

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine

MAX_RECLAIM_RETRIES = 16
_WATERMARK_SCALE_FACTOR = 10


def default_min_free_kbytes(total_pages: int) -> int:
    """vm.min_free_kbytes of a machine this large. Source: page_alloc.c:calculate_min_free_kbytes."""
    return min(max(isqrt(total_pages * 4 * 16), 128), 262144)


class Node:
    """One NUMA node.

    Attributes:
        nr_pages: size; nr_free: pages in nobody's use.
        min_wmark, low_wmark, high_wmark: direct reclaim below min, kswapd from low up to high.
        kswapd_failures: runs without progress; kswapd rests after 16 of them.
        kswapd_running: a run is queued or under way.
    """

    __slots__ = ("high_wmark", "kswapd_failures", "kswapd_running", "low_wmark", "min_wmark", "nr_free", "nr_pages", "number")

    def __init__(self, number: int, nr_pages: int, min_free_kbytes: int, total_pages: int) -> None:
        self.number = number
        self.nr_pages = nr_pages
        self.nr_free = nr_pages
        self.min_wmark = min_free_kbytes // 4 * nr_pages // max(total_pages, 1)
        gap = max(self.min_wmark // 4, nr_pages * _WATERMARK_SCALE_FACTOR // 10000)
        self.low_wmark = self.min_wmark + gap
        self.high_wmark = self.min_wmark + 2 * gap
        self.kswapd_failures = 0
        self.kswapd_running = False


def balance_node(machine: Machine, node: Node) -> Generator[None, None, None]:
    """One kswapd run: reclaim from everybody until the node is above its high watermark. Source: vmscan.c:balance_pgdat."""
    machine.vm.pageoutrun += 1
    sc = kswapd_scan_control(machine)
    before_ns = machine.reclaim_cost_ns
    while node.nr_free < node.high_wmark:
        sc.nr_reclaimed = 0
        for priority in range(DEF_PRIORITY, 0, -1):
            sc.priority = priority
            sc.nr_scanned = 0
            sc.nr_to_reclaim = max(node.high_wmark, 32)
            yield from shrink_node(machine, node.number, sc)
            if node.nr_free >= node.high_wmark:
                break
        if sc.nr_reclaimed:
            node.kswapd_failures = 0
            continue
        node.kswapd_failures += 1
        break
    node.kswapd_running = False
    machine.hierarchy.root.psi.memstall(machine.reclaim_cost_ns - before_ns, machine.clock.now_ns(), False)
