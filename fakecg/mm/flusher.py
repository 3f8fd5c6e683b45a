"""The flusher: dirty pages of files written out.

Simplified: written pages are clean at once; what the data disk takes for it is not counted.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_FILE_DIRTY
from fakecg.mm.folio_batch import OFF_LIST
from fakecg.mm.lruvec import LRU_INACTIVE_FILE
from fakecg.mm.page_table import ACTIVE, DIRTY, RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine


def flush(machine: Machine, file: SyntheticAddressSpace) -> None:
    """Write a file's dirty pages out; they are clean now, and those that reclaim met dirty are the next it looks at."""
    table = machine.table
    for page in file.dirty:
        if table.flags[page] & (RESIDENT | DIRTY) != RESIDENT | DIRTY:
            continue
        table.flags[page] &= ~DIRTY
        memcg = machine.memcgs[table.memcg[page]]
        lruvec = memcg.lruvecs[table.node[page]]
        memcg.rstat.add(lruvec.stat_base + NR_FILE_DIRTY, -1)
        machine.vm.nr_written += 1
        if page in file.met_by_reclaim and table.links.newer[page] != OFF_LIST:
            # Source: filemap.c:folio_end_writeback, swap.c:lru_move_tail.
            lruvec.remove_all(table, LRU_INACTIVE_FILE, (page,))
            table.flags[page] &= ~ACTIVE
            lruvec.add_tail(table, LRU_INACTIVE_FILE, (page,))
            machine.vm.pgrotated += 1
    file.dirty.clear()
    file.met_by_reclaim.clear()


def wake_flusher(machine: Machine) -> None:
    """Reclaim found nothing but dirty pages: have them written before their time. Source: fs-writeback.c:wakeup_flusher_threads."""
    if not machine.flusher_running:
        machine.flusher_running = True
        machine.works.append(_flush_all(machine))


def _flush_all(machine: Machine) -> Generator[None, None, None]:
    for space in list(machine.spaces.by_number):
        if space is not None and space.dirty:
            flush(machine, space)
            yield None
    machine.flusher_running = False
