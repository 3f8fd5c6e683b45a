"""Pages on their way to an LRU list.

Mirrors the per-CPU batches of mm/swap.c: a page that enters memory, or that is to be activated, waits until 31 of its kind have come
together on its CPU. Until then it is on no list, or still on the inactive one, and reclaim on another CPU does not find it.

Simplified: each task has a CPU of its own, and pages of two cgroups do not wait together.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import PGACTIVATE
from fakecg.mm.lruvec import LRU_ACTIVE, LRU_FILE, LRU_INACTIVE_ANON
from fakecg.mm.page_table import ACTIVE, RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.lruvec import Lruvec
    from fakecg.mm.machine import Machine

#: Pages in a full batch.
PAGEVEC_SIZE = 31
#: Links.newer of a page that waits for its list.
OFF_LIST = -1


class LruBatches:
    """The batches of one CPU (struct cpu_fbatches)."""

    __slots__ = ("_activate", "_is_file", "_lruvec", "_machine", "_waiting")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lruvec: Lruvec | None = None
        self._is_file = False
        self._waiting: Sequence[int] = ()
        self._activate: list[int] = []

    @property
    def nr_waiting(self) -> int:
        """Pages that are on no list."""
        return len(self._waiting)

    def add(self, lruvec: Lruvec, is_file: bool, pages: Sequence[int]) -> None:
        """Resident pages, oldest first, start on their list; the ACTIVE flag says which. Source: swap.c:folio_add_lru."""
        waiting = self._waiting
        if lruvec is not self._lruvec or is_file != self._is_file:
            if waiting:
                self._move(waiting)
                waiting = ()
            self._lruvec = lruvec
            self._is_file = is_file
        if not waiting:
            pass
        elif isinstance(pages, range) and isinstance(waiting, range) and waiting.stop == pages.start:
            pages = range(waiting.start, pages.stop)
        else:
            pages = [*waiting, *pages]
        nr_full = len(pages) - len(pages) % PAGEVEC_SIZE
        if nr_full:
            self._move(pages[:nr_full])
            pages = pages[nr_full:]
        self._waiting = pages
        if not pages:
            return
        newer = self._machine.table.links.newer
        if isinstance(pages, range):
            newer[pages.start : pages.stop] = array("i", (OFF_LIST,)) * len(pages)
        else:
            for page in pages:
                newer[page] = OFF_LIST
        self._machine.lru_batches[self] = None

    def _move(self, pages: Sequence[int]) -> None:
        """Put pages on their lists."""
        table, lruvec = self._machine.table, self._lruvec
        assert lruvec is not None
        lru = LRU_FILE if self._is_file else LRU_INACTIVE_ANON
        kinds = table.kinds(pages)
        if any(kind & ACTIVE for kind in kinds):
            flags = table.flags
            lruvec.add(table, lru + LRU_ACTIVE, [page for page in pages if flags[page] & ACTIVE])
            pages = [page for page in pages if not flags[page] & ACTIVE]
        lruvec.add(table, lru, pages)

    def activate(self, page: int) -> None:
        """An inactive page was used again. Source: swap.c:folio_activate, __lru_cache_activate_folio."""
        table = self._machine.table
        if table.links.newer[page] == OFF_LIST:
            # It waits for its list: the active one from now on.
            table.flags[page] |= ACTIVE
            return
        self._activate.append(page)
        if len(self._activate) == PAGEVEC_SIZE:
            self._move_activated()
        else:
            self._machine.lru_batches[self] = None

    def _move_activated(self) -> None:
        """Source: swap.c:lru_activate."""
        machine = self._machine
        table = machine.table
        flags, newer = table.flags, table.links.newer
        for page in self._activate:
            # It may have been activated by reclaim, or freed, meanwhile.
            if not flags[page] & RESIDENT or flags[page] & ACTIVE or newer[page] == OFF_LIST:
                continue
            memcg = machine.memcgs[table.memcg[page]]
            lruvec = memcg.lruvecs[table.node[page]]
            lru = LRU_FILE if machine.frames.space_of(page).is_file else LRU_INACTIVE_ANON
            lruvec.remove(table, lru, page)
            flags[page] |= ACTIVE
            lruvec.add(table, lru + LRU_ACTIVE, (page,))
            memcg.rstat.add(PGACTIVATE, 1)
            machine.vm.pgactivate += 1
        self._activate.clear()

    def drain(self) -> None:
        """Put what waits on its list. Source: swap.c:lru_add_drain_cpu."""
        if self._waiting:
            self._move(self._waiting)
            self._waiting = ()
        if self._activate:
            self._move_activated()
        self._machine.lru_batches.pop(self, None)


def lru_add_drain_all(machine: Machine) -> None:
    """Drain the batches of all CPUs. Source: swap.c, same name."""
    for batches in list(machine.lru_batches):
        batches.drain()
