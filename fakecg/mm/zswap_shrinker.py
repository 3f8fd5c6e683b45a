"""The dynamic shrinker: writeback of zswap entries as part of reclaim, when it is enabled.

Mirrors zswap_shrinker_count and zswap_shrinker_scan of mm/zswap.c and do_shrink_slab of mm/shrinker.c.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.abi.stat import ZSWAP_BYTES, ZSWAPPED_PAGES
from fakecg.mm.mm_struct import ChargeContext

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup

_BATCH = 128
_SEEKS = 2


def shrink_slab(machine: Machine, memcg: MemCgroup, node: int, priority: int) -> Generator[None, None, None]:
    """Let the zswap shrinker do its share of one reclaim pass. Source: shrinker.c:do_shrink_slab."""
    if not machine.zswap.shrinker_enabled:
        return
    freeable = _count(machine, memcg, node)
    if not freeable:
        return
    deferred = memcg.shrinker_deferred[node]
    memcg.shrinker_deferred[node] = 0
    delta = (freeable >> priority) * 4 // _SEEKS
    total_scan = min((deferred >> priority) + delta, 2 * freeable)
    scanned = 0
    context = ChargeContext(force=True)
    while total_scan >= _BATCH or total_scan >= freeable:
        nr_to_scan = min(_BATCH, total_scan)
        walk = yield from machine.zswap_writeback.walk(memcg, node, nr_to_scan, context)
        if walk.stopped or not walk.nr_written:
            break
        machine.vm.slabs_scanned += nr_to_scan
        total_scan -= nr_to_scan
        scanned += nr_to_scan
        yield None
    memcg.shrinker_deferred[node] += min(max(deferred + delta - scanned, 0), 2 * freeable)


def _count(machine: Machine, memcg: MemCgroup, node: int) -> int:
    """Entries worth a look: fewer when they compress well, and when pages had to be read from the disk. Source: zswap_shrinker_count."""
    if not memcg.zswap_writeback_enabled():
        return 0
    nr_entries = memcg.zswap_lrus[node].size
    if not nr_entries:
        return 0
    machine.rstat.flush()
    total = memcg.rstat.total
    nr_stored = total[ZSWAPPED_PAGES]
    if not nr_stored:
        return 0
    lruvec = memcg.lruvecs[node]
    protected = min(nr_entries, lruvec.nr_disk_swapins)
    lruvec.nr_disk_swapins -= protected
    return (nr_entries - protected) * (total[ZSWAP_BYTES] >> 12) // nr_stored
