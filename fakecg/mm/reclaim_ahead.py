"""How many pages reclaim can take off a list at once and come out as if it had taken SWAP_CLUSTER_MAX at a time.

The kernel isolates 32 pages, writes them out, looks at what came of it, and goes on. Where 128 pages are alike and all go into zswap, there
is nothing to see in between, and four batches in one cost little more than one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.mm.lruvec import LRU_INACTIVE_ANON, SWAP_CLUSTER_MAX
from fakecg.mm.memcontrol import MEMCG_CHARGE_BATCH
from fakecg.mm.page_table import DIRTY, WRITEBACK, YOUNG

if TYPE_CHECKING:
    from fakecg.mm.lruvec import Lruvec
    from fakecg.mm.machine import Machine

#: As long as one step of reclaim may keep everybody else waiting: two milliseconds.
MAX_PAGES = 128


def nr_alike(machine: Machine, lruvec: Lruvec, nr_pages: int) -> int:
    """Anonymous pages at the old end of an inactive list that can be reclaimed at once, nr_pages at most; SWAP_CLUSTER_MAX if in doubt."""
    nr_pages = min(nr_pages, MAX_PAGES)
    if nr_pages <= SWAP_CLUSTER_MAX:
        return nr_pages
    table, zswap, memcg = machine.table, machine.zswap, lruvec.memcg
    pages = table.links.oldest(lruvec.lists[LRU_INACTIVE_ANON], nr_pages)
    if not isinstance(pages, range) or len(pages) < nr_pages:
        return SWAP_CLUSTER_MAX
    machine.frames.collect_young(pages)
    kinds = table.kinds(pages)
    state = kinds.pop()
    if kinds or state & (YOUNG | WRITEBACK | DIRTY) != DIRTY or any(table.slots_of(pages)):
        return SWAP_CLUSTER_MAX
    if not zswap.enabled or min(zswap.limits.batch_headroom(memcg), memcg.nr_swap_pages()) < nr_pages:
        return SWAP_CLUSTER_MAX
    # The compressed pages are charged, a stock at a time, before the pages are uncharged: the more at once, the higher the usage between.
    if not memcg.memory.leaves_no_trace(nr_pages + MEMCG_CHARGE_BATCH):
        return SWAP_CLUSTER_MAX
    nr_compressible = zswap.compress_ahead(machine.frames.contents(pages))
    if nr_compressible < nr_pages:
        return max(nr_compressible // SWAP_CLUSTER_MAX, 1) * SWAP_CLUSTER_MAX
    return nr_pages
