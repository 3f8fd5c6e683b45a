"""LRU lists of pages, and the set of them a memcg has on a node.

Mirrors struct lruvec and mm_inline.h. Lists are intrusive (PageTable.newer/older); the head is the young end. A list is added to and
isolated from in batches, each in LRU order: the first page of a batch is the oldest.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_ACTIVE_ANON, NR_INACTIVE_ANON, NR_INACTIVE_FILE, node_base
from fakecg.mm.page_table import ACTIVE

if TYPE_CHECKING:
    from fakecg.mm.memcontrol import MemCgroup
    from fakecg.mm.page_table import PageTable

LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE = range(4)
EVICTABLE_LRUS = (LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE)
LRU_ACTIVE = 1
LRU_FILE = 2

# The counters of the lists stand first in a node's block, in list order.
assert EVICTABLE_LRUS[:3] == (NR_INACTIVE_ANON, NR_ACTIVE_ANON, NR_INACTIVE_FILE)


class LruList:
    """One list of pages.

    Attributes:
        head, tail: newest and oldest page, 0 when empty.
        size: number of pages.
    """

    __slots__ = ("head", "size", "tail")

    def __init__(self) -> None:
        self.head = 0
        self.tail = 0
        self.size = 0

    def add(self, table: PageTable, pages: Sequence[int]) -> None:
        """Put a batch at the head."""
        if not pages:
            return
        newer, older = table.newer, table.older
        before = self.head
        first, last = pages[0], pages[-1]
        if isinstance(pages, range):
            older[first + 1 : last + 1] = array("i", range(first, last))
            newer[first:last] = array("i", range(first + 1, last + 1))
        else:
            link = first
            for page in pages:
                newer[link] = page
                older[page] = link
                link = page
        older[first] = before
        newer[last] = 0
        if before:
            newer[before] = first
        else:
            self.tail = first
        self.head = last
        self.size += len(pages)

    def add_tail(self, table: PageTable, pages: Sequence[int]) -> None:
        """Put a batch at the tail, the last page outermost."""
        if not pages:
            return
        newer, older = table.newer, table.older
        tail = self.tail
        first, last = pages[0], pages[-1]
        if isinstance(pages, range):
            newer[first + 1 : last + 1] = array("i", range(first, last))
            older[first:last] = array("i", range(first + 1, last + 1))
        else:
            link = first
            for page in pages:
                older[link] = page
                newer[page] = link
                link = page
        newer[first] = tail
        older[last] = 0
        if tail:
            older[tail] = first
        else:
            self.head = first
        self.tail = last
        self.size += len(pages)

    def isolate(self, table: PageTable, nr_pages: int) -> Sequence[int]:
        """Take up to nr_pages off the tail, oldest first; a range if they are neighbours."""
        newer = table.newer
        page = self.tail
        nr_pages = min(nr_pages, self.size)
        pages: Sequence[int] = range(page, page + nr_pages)
        if nr_pages and newer[page : page + nr_pages - 1] == array("i", pages[1:]):
            page = newer[page + nr_pages - 1]
        else:
            taken = []
            for _ in pages:
                taken.append(page)
                page = newer[page]
            pages = taken
        self.tail = page
        if page:
            table.older[page] = 0
        else:
            self.head = 0
        self.size -= nr_pages
        return pages

    def remove(self, table: PageTable, page: int) -> None:
        """Take one page out of the middle."""
        newer, older = table.newer[page], table.older[page]
        if newer:
            table.older[newer] = older
        else:
            self.head = older
        if older:
            table.newer[older] = newer
        else:
            self.tail = newer
        self.size -= 1

    def remove_run(self, table: PageTable, pages: range) -> bool:
        """Take neighbouring pages out if they stand here side by side, oldest first; False if they do not."""
        first, last = pages[0], pages[-1]
        newer, older = table.newer, table.older
        if newer[first:last] != array("i", pages[1:]) or ACTIVE in {kind & ACTIVE for kind in table.kinds(pages)}:
            return False
        before, after = older[first], newer[last]
        if before:
            newer[before] = after
        else:
            self.tail = after
        if after:
            older[after] = before
        else:
            self.head = before
        self.size -= len(pages)
        return True

    def pages(self, table: PageTable) -> list[int]:
        """All pages, oldest first. Cost: O(size)."""
        found = []
        page = self.tail
        while page:
            found.append(page)
            page = table.newer[page]
        return found


class Lruvec:
    """A memcg's lists on one node, with what reclaim remembers about them.

    Attributes:
        stat_base: index of the node's block in the memcg's counter vector.
        anon_cost, file_cost: cost of recent reclaim of the two types (mm/swap.c:lru_note_cost).
        nonresident_age: evictions and activations so far (mm/workingset.c).
        refaults: activate counters at the end of the last reclaim, anon and file.
        nr_disk_swapins: swap-ins from disk the zswap shrinker must make up for (zswap_lruvec_state).
    """

    __slots__ = ("anon_cost", "file_cost", "lists", "memcg", "node", "nonresident_age", "nr_disk_swapins", "refaults", "stat_base")

    def __init__(self, memcg: MemCgroup, node: int) -> None:
        self.memcg = memcg
        self.node = node
        self.stat_base = node_base(node)
        self.lists = (LruList(), LruList(), LruList(), LruList())
        self.anon_cost = 0
        self.file_cost = 0
        self.nonresident_age = 0
        self.refaults = [0, 0]
        self.nr_disk_swapins = 0

    @property
    def parent(self) -> Lruvec | None:
        """The same node's lruvec of the parent memcg."""
        parent = self.memcg.parent_memcg
        return None if parent is None else parent.lruvecs[self.node]

    def state(self, item: int) -> int:
        """A node item of the whole subtree as of the last flush. Source: memcontrol.c:lruvec_page_state."""
        return self.memcg.rstat.total[self.stat_base + item]

    def add(self, table: PageTable, lru: int, pages: Sequence[int]) -> None:
        """Put a batch at the head of a list and count it."""
        if pages:
            self.lists[lru].add(table, pages)
            self.memcg.rstat.add(self.stat_base + lru, len(pages))

    def add_tail(self, table: PageTable, lru: int, pages: Sequence[int]) -> None:
        """Put a batch at the tail of a list and count it."""
        if pages:
            self.lists[lru].add_tail(table, pages)
            self.memcg.rstat.add(self.stat_base + lru, len(pages))

    def isolate(self, table: PageTable, lru: int, nr_pages: int) -> Sequence[int]:
        """Take a batch off the tail of a list; a range if the pages are neighbours."""
        pages = self.lists[lru].isolate(table, nr_pages)
        if pages:
            self.memcg.rstat.add(self.stat_base + lru, -len(pages))
        return pages

    def remove_all(self, table: PageTable, lru: int, pages: Sequence[int]) -> None:
        """Take pages out of a list and, those with the ACTIVE flag, out of its active twin."""
        active = self.lists[lru + LRU_ACTIVE]
        inactive = self.lists[lru]
        if isinstance(pages, range) and inactive.remove_run(table, pages):
            nr_active = 0
        else:
            flags = table.flags
            nr_active = 0
            for page in pages:
                if flags[page] & ACTIVE:
                    active.remove(table, page)
                    nr_active += 1
                else:
                    inactive.remove(table, page)
        self.memcg.rstat.add(self.stat_base + lru, nr_active - len(pages))
        if nr_active:
            self.memcg.rstat.add(self.stat_base + lru + LRU_ACTIVE, -nr_active)

    def remove(self, table: PageTable, lru: int, page: int) -> None:
        """Take one page out of a list."""
        self.lists[lru].remove(table, page)
        self.memcg.rstat.add(self.stat_base + lru, -1)
