"""How many pages reclaim can take off a list at once and come out as if it had taken SWAP_CLUSTER_MAX at a time.

The kernel isolates 32 pages, writes them out, looks at what came of it, and goes on. Where 256 pages are alike and all go into zswap, there
is nothing to see in between, and eight batches in one cost little more than one. To know that they all go they are compressed ahead, 32 at
a time, so that nobody waits longer for the lock than before.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.mm.lruvec import LRU_INACTIVE_ANON, SWAP_CLUSTER_MAX
from fakecg.mm.memcontrol import MEMCG_CHARGE_BATCH
from fakecg.mm.page_table import DIRTY, WRITEBACK, YOUNG

if TYPE_CHECKING:
    from fakecg.mm.lruvec import Lruvec
    from fakecg.mm.machine import Machine

#: Storing so many compressed pages keeps everybody else waiting for a millisecond.
MAX_PAGES = 256


def nr_alike(machine: Machine, lruvec: Lruvec, nr_pages: int) -> Generator[None, None, int]:
    """Anonymous pages at the old end of an inactive list that can be reclaimed at once, nr_pages at most; SWAP_CLUSTER_MAX if in doubt."""
    nr_pages = min(nr_pages, MAX_PAGES)
    if nr_pages <= SWAP_CLUSTER_MAX:
        return nr_pages
    pages = _alike(machine, lruvec, nr_pages)
    if not pages:
        return SWAP_CLUSTER_MAX
    data = machine.frames.contents(pages)
    nr_compressible = 0
    for start in range(0, nr_pages, SWAP_CLUSTER_MAX):
        if start:
            yield None
        chunk = data[start : start + SWAP_CLUSTER_MAX]
        nr_stored = machine.zswap.compress_ahead(chunk, go_on=start > 0)
        nr_compressible += nr_stored
        if nr_stored < len(chunk):
            break
    if nr_compressible < nr_pages:
        nr_pages = nr_compressible // SWAP_CLUSTER_MAX * SWAP_CLUSTER_MAX
    # Others may have run meanwhile.
    pages = _alike(machine, lruvec, nr_pages)
    if not pages or machine.frames.contents(pages) != data[:nr_pages]:
        return SWAP_CLUSTER_MAX
    return nr_pages


def _alike(machine: Machine, lruvec: Lruvec, nr_pages: int) -> range:
    """The oldest pages, if reclaim treats all of them alike for all that can be seen before they are compressed; empty if it does not."""
    table, zswap, memcg = machine.table, machine.zswap, lruvec.memcg
    pages = table.links.oldest(lruvec.lists[LRU_INACTIVE_ANON], nr_pages)
    if not isinstance(pages, range) or len(pages) < max(nr_pages, 1):
        return range(0)
    machine.frames.collect_young(pages)
    kinds = table.kinds(pages)
    state = kinds.pop()
    if kinds or state & (YOUNG | WRITEBACK | DIRTY) != DIRTY or any(table.slots_of(pages)):
        return range(0)
    if not zswap.enabled or min(zswap.limits.batch_headroom(memcg), memcg.nr_swap_pages()) < nr_pages:
        return range(0)
    # The compressed pages are charged, a stock at a time, before the pages are uncharged: the more at once, the higher the usage between.
    return pages if memcg.memory.leaves_no_trace(nr_pages + MEMCG_CHARGE_BATCH) else range(0)
