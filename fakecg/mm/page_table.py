"""State of every emulated page, as columns.

A page is an index into the columns; index 0 is nobody. Each address space or file owns one contiguous range of indices, so that a page's
index says which page of which owner it is, also while its contents are in zswap or in swap. Bookkeeping is 26 bytes a page.

Flags of a page (page-flags.h, and the bits of its only pte):
    RESIDENT    a frame holds its bytes; on an LRU list
    MAPPED      a pte points at the frame
    YOUNG       touched since the last look (pte accessed bit)
    REFERENCED  PG_referenced
    ACTIVE      PG_active
    DIRTY       pte dirty or PG_dirty: swap or disk does not hold these bytes
    WORKINGSET  PG_workingset
    WRITEBACK   PG_writeback: a disk write is under way; also PG_reclaim: rotate to the tail when it ends
A resident page with a swap slot is in the swap cache; a page with a slot that is not resident is swapped out.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from fakecg.mm.columns import column
from fakecg.mm.extents import Extents
from fakecg.mm.links import Links

RESIDENT = 1
MAPPED = 2
YOUNG = 4
REFERENCED = 8
ACTIVE = 16
DIRTY = 32
WORKINGSET = 64
WRITEBACK = 128


def _bytes_table(change: dict[int, int]) -> bytes:
    return bytes(change.get(value, value) for value in range(256))


#: translate() tables of a touch: a mapped page becomes young, and dirty by a write; one without a pte becomes 0, which no mapped page is.
READ_TOUCH = _bytes_table({value: value | YOUNG if value & MAPPED else 0 for value in range(256)})
WRITE_TOUCH = _bytes_table({value: value | YOUNG | DIRTY if value & MAPPED else 0 for value in range(256)})
#: translate() table that clears REFERENCED.
UNREFERENCE = _bytes_table({value: value & ~REFERENCED for value in range(256)})
#: translate() table that clears MAPPED.
UNMAP = _bytes_table({value: value & ~MAPPED for value in range(256)})
#: translate() tables of a fault that maps a resident page.
MAP = _bytes_table({value: value | MAPPED | YOUNG for value in range(256)})
MAP_FOR_WRITING = _bytes_table({value: value | MAPPED | YOUNG | DIRTY for value in range(256)})
#: translate() tables of a page's way to the disk.
WRITE_STARTED = _bytes_table({value: value & ~DIRTY | WRITEBACK for value in range(256)})
WRITE_ENDED = _bytes_table({value: value & ~(WRITEBACK | ACTIVE) for value in range(256)})
WRITE_ENDED_EARLY = _bytes_table({value: value & ~WRITEBACK for value in range(256)})
DIRTIED = _bytes_table({value: value | DIRTY for value in range(256)})
_unmapped = [value for value in range(256) if not value & MAPPED]
#: Finds a run of pages without a pte.
MISSES = re.compile(b"[" + b"".join(re.escape(bytes([value])) for value in _unmapped) + b"]+", re.DOTALL)


#: No shadow: the page was never evicted.
NO_SHADOW = -1


class PageTable:
    """The columns. All are indexed by page.

    Attributes:
        flags: see the module's head.
        links: neighbours on the LRU lists.
        slot: swap slot, 0 for none.
        memcg: id of the memcg a resident page is charged to.
        space: number of the owner (address space or file).
        node: NUMA node of a resident page.
        shadow: packed eviction record of a page that is not resident (see workingset), NO_SHADOW for none.
    """

    def __init__(self) -> None:
        self.flags = bytearray(1)
        self.links = Links()
        self.slot = array("i", [0])
        self.memcg = array("H", [0])
        self.space = array("H", [0])
        self.node = bytearray(1)
        self.shadow = array("q", [NO_SHADOW])
        self._free = Extents()

    def slots_of(self, pages: Sequence[int]) -> Sequence[int]:
        """The pages' slots."""
        return column(self.slot, pages)

    def clear_slots(self, pages: Sequence[int]) -> None:
        """The pages' slots are theirs no longer."""
        if isinstance(pages, range):
            self.slot[pages.start : pages.stop] = array("i", bytes(4 * len(pages)))
            return
        for page in pages:
            self.slot[page] = 0

    def kinds(self, pages: Sequence[int]) -> set[int]:
        """The different flag bytes among pages."""
        if isinstance(pages, range):
            return set(self.flags[pages.start : pages.stop])
        flags = self.flags
        return {flags[page] for page in pages}

    def set_flags(self, pages: Sequence[int], flags: int) -> None:
        """Give pages the same flags."""
        if isinstance(pages, range):
            self.flags[pages.start : pages.stop] = bytes((flags,)) * len(pages)
            return
        for page in pages:
            self.flags[page] = flags

    def set_memcg(self, pages: Sequence[int], memcg_id: int) -> None:
        """Record whom pages are charged to."""
        if isinstance(pages, range):
            self.memcg[pages.start : pages.stop] = array("H", (memcg_id,)) * len(pages)
            return
        for page in pages:
            self.memcg[page] = memcg_id

    def apply(self, pages: Sequence[int], translation: bytes) -> None:
        """Change the flags of pages by a translate() table."""
        flags = self.flags
        if isinstance(pages, range):
            flags[pages.start : pages.stop] = flags[pages.start : pages.stop].translate(translation)
            return
        for page in pages:
            flags[page] = translation[flags[page]]

    def alloc_range(self, nr_pages: int, space: int) -> int:
        """Reserve a range of pages for an owner; returns its first page. All pages are absent. Cost: O(nr_pages)."""
        free = self._free.take_first_fit(nr_pages)
        if free is not None:
            self.space[free : free + nr_pages] = array("H", [space]) * nr_pages
            return free
        base = len(self.flags)
        self.flags.extend(bytes(nr_pages))
        self.node.extend(bytes(nr_pages))
        self.links.extend(nr_pages)
        self.slot.extend(array("i", bytes(4 * nr_pages)))
        self.memcg.extend(array("H", bytes(2 * nr_pages)))
        self.space.extend(array("H", [space]) * nr_pages)
        self.shadow.extend(array("q", [NO_SHADOW]) * nr_pages)
        return base

    def free_range(self, base: int, nr_pages: int) -> None:
        """Give a range back. Every page of it is absent by now. Cost: O(nr_pages)."""
        self.shadow[base : base + nr_pages] = array("q", [NO_SHADOW]) * nr_pages
        self._free.add(base, nr_pages)
