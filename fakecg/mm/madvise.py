"""Pages that a task asks to have reclaimed.

Mirrors madvise_pageout of mm/madvise.c and reclaim_pages of mm/vmscan.c: exactly the given pages are written out and freed, used lately or
not, whatever the cgroup's limits and whatever else is on its lists. A page that waits for its list on another CPU is left alone.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.mm.columns import as_run
from fakecg.mm.folio_batch import OFF_LIST
from fakecg.mm.lruvec import LRU_INACTIVE_ANON
from fakecg.mm.page_table import ACTIVE, MAPPED, REFERENCED, WORKINGSET, YOUNG
from fakecg.mm.scan_control import ScanControl
from fakecg.mm.shrink_folio import shrink_folio_list

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine
    from fakecg.mm.mm_struct import MmStruct

#: Pages handed to reclaim at once: those of one page table.
_PMD_PAGES = 512
_UNUSED = bytes((value & ~(YOUNG | REFERENCED | ACTIVE)) | (WORKINGSET if value & ACTIVE else 0) for value in range(256))


def pageout(machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, start: int, stop: int) -> Generator[None, None, int]:
    """MADV_PAGEOUT of the pages start..stop-1 of an anonymous mapping; returns how many were freed. Source: madvise.c:madvise_pageout."""
    table = machine.table
    flags, newer = table.flags, table.links.newer
    mm.batches.drain()
    sc = ScanControl(target=machine.root_memcg, nr_to_reclaim=0, swappiness=machine.swappiness, is_global=True)
    nr_reclaimed = 0
    for first in range(start, stop, _PMD_PAGES):
        span = range(space.base + first, space.base + min(first + _PMD_PAGES, stop))
        pages = [page for page in span if flags[page] & MAPPED and newer[page] != OFF_LIST]
        for (memcg_id, node), group in groupby(pages, key=lambda page: (table.memcg[page], table.node[page])):
            lruvec = machine.memcgs[memcg_id].lruvecs[node]
            batch = as_run(list(group))
            lruvec.remove_all(table, LRU_INACTIVE_ANON, batch)
            table.apply(batch, _UNUSED)
            machine.page_io.holds_batch = True
            result = shrink_folio_list(machine, lruvec, batch, False, sc)
            machine.page_io.holds_batch = False
            for is_active in (0, ACTIVE):
                lruvec.add(table, LRU_INACTIVE_ANON + bool(is_active), [page for page in result.kept if flags[page] & ACTIVE == is_active])
            machine.page_io.end_writeback()
            nr_reclaimed += result.nr_reclaimed
            yield None
    return nr_reclaimed
