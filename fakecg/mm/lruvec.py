"""LRU lists of pages, and the set of them a memcg has on a node.

Mirrors struct lruvec and mm_inline.h. The kernel's head of a list is its new end. A list is added to and isolated from in batches, each in
LRU order: the first page of a batch is the oldest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_ACTIVE_ANON, NR_INACTIVE_ANON, NR_INACTIVE_FILE, node_base
from fakecg.mm.links import LinkedList
from fakecg.mm.page_table import ACTIVE

if TYPE_CHECKING:
    from fakecg.mm.memcontrol import MemCgroup
    from fakecg.mm.page_table import PageTable

LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE = range(4)
EVICTABLE_LRUS = (LRU_INACTIVE_ANON, LRU_ACTIVE_ANON, LRU_INACTIVE_FILE, LRU_ACTIVE_FILE)
LRU_ACTIVE = 1
#: Pages of a batch of reclaim, and the pages that one page of I/O weighs.
SWAP_CLUSTER_MAX = 32
LRU_FILE = 2

# The counters of the lists stand first in a node's block, in list order.
assert EVICTABLE_LRUS[:3] == (NR_INACTIVE_ANON, NR_ACTIVE_ANON, NR_INACTIVE_FILE)


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
        self.lists = tuple(LinkedList() for _ in EVICTABLE_LRUS)
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
            table.links.add(self.lists[lru], pages)
            self.memcg.rstat.add(self.stat_base + lru, len(pages))

    def add_tail(self, table: PageTable, lru: int, pages: Sequence[int]) -> None:
        """Put a batch at the tail of a list and count it."""
        if pages:
            table.links.add_oldest(self.lists[lru], pages)
            self.memcg.rstat.add(self.stat_base + lru, len(pages))

    def isolate(self, table: PageTable, lru: int, nr_pages: int) -> Sequence[int]:
        """Take a batch off the tail of a list; a range if the pages are neighbours."""
        pages = table.links.take_oldest(self.lists[lru], nr_pages)
        if pages:
            self.memcg.rstat.add(self.stat_base + lru, -len(pages))
        return pages

    def remove_all(self, table: PageTable, lru: int, pages: Sequence[int]) -> None:
        """Take pages out of a list and, those with the ACTIVE flag, out of its active twin."""
        flags, links = table.flags, table.links
        active: list[int] = []
        if any(kind & ACTIVE for kind in table.kinds(pages)):
            active = [page for page in pages if flags[page] & ACTIVE]
            pages = [page for page in pages if not flags[page] & ACTIVE]
        if pages:
            links.remove(self.lists[lru], pages)
            self.memcg.rstat.add(self.stat_base + lru, -len(pages))
        if active:
            links.remove(self.lists[lru + LRU_ACTIVE], active)
            self.memcg.rstat.add(self.stat_base + lru + LRU_ACTIVE, -len(active))

    def remove(self, table: PageTable, lru: int, page: int) -> None:
        """Take one page out of a list."""
        table.links.remove(self.lists[lru], (page,))
        self.memcg.rstat.add(self.stat_base + lru, -1)
