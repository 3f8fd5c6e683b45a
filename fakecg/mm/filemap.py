"""Page cache of files that tasks read and write.

Mirrors the read and write paths of mm/filemap.c and folio_mark_accessed of mm/swap.c. A file is an address space without a mapper; its
pages are charged to whoever reads them in first.

Simplified: no readahead window for files (each page is read when it is asked for), and dirty pages become clean at once when the flusher's
interval is over, or when reclaim wakes it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_FILE_DIRTY, NR_FILE_PAGES
from fakecg.mm import workingset
from fakecg.mm.charge import handle_over_high
from fakecg.mm.flusher import flush
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_table import ACTIVE, DIRTY, REFERENCED, RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.folio_batch import LruBatches
    from fakecg.mm.machine import Machine
    from fakecg.mm.mm_struct import MmStruct

#: vm.dirty_writeback_centisecs and dirty_expire_centisecs: dirty pages are written out about this long after they were dirtied.
_FLUSH_NS = 5_000_000_000
_BATCH = 32


def read_cache(
    machine: Machine, mm: MmStruct, file: SyntheticAddressSpace, start: int, stop: int, write: bool = False
) -> Generator[int | None, None, int]:
    """read(2), or write(2), of the pages start..stop-1; returns the cost in nanoseconds. Yields as memory.touch_range."""
    flags = machine.table.flags
    cost_ns = 0
    page, last = file.base + start, file.base + stop
    while page < last and not mm.is_dying:
        if flags[page] & RESIDENT:
            mark_accessed(machine, page, mm.batches)
            cost_ns += machine.cost.touch_ns
            if write:
                _dirty(machine, file, page)
            page += 1
            continue
        end = page + 1
        while end < min(last, page + _BATCH) and not flags[end] & RESIDENT:
            end += 1
        node = yield from machine.frames.alloc(file, page, end - page)
        memcg = mm.memcg
        nr_pages = yield from machine.charge_pages(memcg, end - page, ChargeContext(mm), stop_at_refill=True)
        if not nr_pages or mm.is_dying:
            machine.uncharge_pages(memcg, nr_pages)
            return cost_ns + mm.take_reclaim_ns()
        file.fill(page, page + nr_pages)
        machine.frames.own(range(page, page + nr_pages), memcg, node)
        _add_to_cache(machine, mm, memcg.id, node, range(page, page + nr_pages))
        if not write:
            read_ns = machine.cost.file_in_ns(nr_pages)
            mm.wait_for_io(read_ns)
            cost_ns += read_ns
        for one in range(page, page + nr_pages):
            mark_accessed(machine, one, mm.batches)
            if write:
                _dirty(machine, file, one)
        page += nr_pages
        if mm.over_high_pages:
            yield from handle_over_high(machine, mm)
        yield None
    return cost_ns + mm.take_reclaim_ns()


def _add_to_cache(machine: Machine, mm: MmStruct, memcg_id: int, node: int, pages: range) -> None:
    """Source: filemap.c:filemap_add_folio."""
    memcg = machine.memcgs[memcg_id]
    lruvec = memcg.lruvecs[node]
    flags = machine.table.flags
    for page in pages:
        flags[page] = RESIDENT | workingset.refault(machine, memcg, node, page, True)
    mm.batches.add(lruvec, True, pages)
    memcg.rstat.add(lruvec.stat_base + NR_FILE_PAGES, len(pages))
    machine.nodes[node].nr_free -= len(pages)


def mark_accessed(machine: Machine, page: int, batches: LruBatches) -> None:
    """A page of the cache was used: the second use of an inactive page activates it. Source: swap.c:folio_mark_accessed.

    ``batches``: of the task that uses it.
    """
    table = machine.table
    state = table.flags[page]
    if not state & REFERENCED:
        table.flags[page] = state | REFERENCED
    elif not state & ACTIVE:
        table.flags[page] = state & ~REFERENCED
        batches.activate(page)
        memcg = machine.memcgs[table.memcg[page]]
        workingset.age_nonresident(memcg.lruvecs[table.node[page]], 1)


def _dirty(machine: Machine, file: SyntheticAddressSpace, page: int) -> None:
    table = machine.table
    if table.flags[page] & DIRTY:
        return
    table.flags[page] |= DIRTY
    memcg = machine.memcgs[table.memcg[page]]
    memcg.rstat.add(memcg.lruvecs[table.node[page]].stat_base + NR_FILE_DIRTY, 1)
    machine.vm.nr_dirtied += 1
    if not file.dirty:
        machine.timers.add(machine.clock.now_ns() + _FLUSH_NS, lambda: flush(machine, file))
    file.dirty.append(page)
