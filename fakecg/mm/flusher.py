"""The flusher: dirty pages of files written out.

Simplified: how fast the data disk is depends on nothing but how fast reclaim looks at pages; what writing takes is not counted.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_FILE_DIRTY
from fakecg.mm.folio_batch import OFF_LIST
from fakecg.mm.lruvec import LRU_INACTIVE_FILE, SWAP_CLUSTER_MAX
from fakecg.mm.page_table import ACTIVE, DIRTY, RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine

#: Steps of reclaim, in each of which it looks at up to 32 pages, while the disk writes 32.
_WRITE_STEPS = 10


def flush(machine: Machine, file: SyntheticAddressSpace) -> None:
    """Write a file's dirty pages out; they are clean now, and those that reclaim met dirty are the next it looks at."""
    pages, file.dirty = file.dirty, []
    _write_out(machine, file, pages)


def _write_out(machine: Machine, file: SyntheticAddressSpace, pages: Sequence[int]) -> None:
    table = machine.table
    for page in pages:
        was_met = page in file.met_by_reclaim
        file.met_by_reclaim.discard(page)
        if table.flags[page] & (RESIDENT | DIRTY) != RESIDENT | DIRTY:
            continue
        table.flags[page] &= ~DIRTY
        memcg = machine.memcgs[table.memcg[page]]
        lruvec = memcg.lruvecs[table.node[page]]
        memcg.rstat.add(lruvec.stat_base + NR_FILE_DIRTY, -1)
        machine.vm.nr_written += 1
        if was_met and table.links.newer[page] != OFF_LIST:
            # Source: filemap.c:folio_end_writeback, swap.c:lru_move_tail.
            lruvec.remove_all(table, LRU_INACTIVE_FILE, (page,))
            table.flags[page] &= ~ACTIVE
            lruvec.add_tail(table, LRU_INACTIVE_FILE, (page,))
            machine.vm.pgrotated += 1


def wake_flusher(machine: Machine) -> None:
    """Reclaim found nothing but dirty pages: have them written before their time. Source: fs-writeback.c:wakeup_flusher_threads."""
    if not machine.flusher_running:
        machine.flusher_running = True
        machine.works.append(_flush_all(machine))


def _flush_all(machine: Machine) -> Generator[None, None, None]:
    """Write everything out, more slowly than reclaim goes through the same pages."""
    for space in list(machine.spaces.by_number):
        if space is None or not space.dirty:
            continue
        pages, space.dirty = space.dirty, []
        for start in range(0, len(pages), SWAP_CLUSTER_MAX):
            for _ in range(_WRITE_STEPS):
                yield None
            if machine.spaces.by_number[space.number] is not space:
                break
            _write_out(machine, space, pages[start : start + SWAP_CLUSTER_MAX])
    machine.flusher_running = False
