"""What a proactive writeback by age would do, found out without doing it.

The loops of zswap_proactive.py run over copies: cgroups and entry lists that stand for the real ones. Whose turn it is, how far a visit
looks, what counts as a failure: all that is the loops' own. Only the walk of a list is played here.

Simplified: the pages a writeback brings into the swap cache are taken to be free. Near memory.max the real one reclaims for them, and may
stop early.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, cast

from fakecg.mm.columns import column
from fakecg.mm.zswap_proactive import writeback_pages
from fakecg.mm.zswap_writeback import Walk

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup
    from fakecg.mm.mm_struct import ChargeContext


class _List:
    """Copy of one list of entries, oldest first; an entry is its position in the rehearsal's columns."""

    def __init__(self, entries: range) -> None:
        self.entries = deque(entries)

    @property
    def size(self) -> int:
        return len(self.entries)


class _Rstat:
    def add(self, item: int, amount: int) -> None:
        """Nothing is counted."""


class _Memcg:
    """Stands for a memcg."""

    def __init__(self, subtree: list[_Memcg], online: bool, may_write: bool, lists: list[_List]) -> None:
        self.index = len(subtree)
        self.subtree = subtree
        self.online = online
        self.may_write = may_write
        self.zswap_lrus = lists
        self.rstat = _Rstat()
        self.writeback_cursor: _Memcg | None = None

    def zswap_writeback_enabled(self) -> bool:
        return self.may_write

    def next_descendant_pre(self, position: _Memcg | None) -> _Memcg | None:
        # Only the target is asked, and its subtree is all there is.
        following = 0 if position is None else position.index + 1
        return self.subtree[following] if following < len(self.subtree) else None


class _Events:
    zswpwb_proactive = 0


class Rehearsal:
    """Copy of a subtree's entries, and one writeback on it.

    Attributes:
        nr_barred, barred_bytes: old enough, but in cgroups that may not write back.
        nr_written, written_bytes: written back.
        nr_rotated: young entries that became youngest on the way.
        pool_pages: pages the pool would give back.
    """

    def __init__(self, target: MemCgroup) -> None:
        """Copy; the host's lock is held. Cost: O(entries of the subtree)."""
        machine = target.mm
        zswap = machine.zswap
        self._stored_ns = array("Q")
        self._length = array("H")
        self._zspage = array("I")
        self._subtree: list[_Memcg] = []
        for memcg in target.subtree():
            lists = []
            for lru in memcg.zswap_lrus:
                slots = zswap.links.oldest(lru, lru.size)
                lists.append(_List(range(len(self._length), len(self._length) + len(slots))))
                self._stored_ns.extend(column(zswap.stored_ns, slots))
                self._length.extend(column(zswap.length, slots))
                self._zspage.extend(zswap.pool.zspages_of(column(zswap.handle, slots)))
            self._subtree.append(_Memcg(self._subtree, memcg.online, memcg.zswap_writeback_enabled(), lists))
            if memcg is target.writeback_cursor:
                self._subtree[0].writeback_cursor = self._subtree[-1]
        self._zspage_use = zswap.pool.zspage_use(set(self._zspage))
        self.nr_barred = self.barred_bytes = 0
        self.nr_written = self.written_bytes = self.nr_rotated = 0
        self.pool_pages = 0
        self._written: list[int] = []
        # What the loops ask of a machine.
        self.zswap_writeback = self
        self.vm = _Events()

    def write_back(self, nr_pages: int, cutoff_ns: int) -> None:
        """Rehearse one call of v1. Cost: O(entries looked at); the lock is not needed.

        Raises:
            NotEnoughProgress: nothing would be written (EAGAIN).
        """
        for memcg in self._subtree:
            if not memcg.may_write:
                old = [entry for lru in memcg.zswap_lrus for entry in lru.entries if self._stored_ns[entry] <= cutoff_ns]
                self.nr_barred += len(old)
                self.barred_bytes += sum(self._length[entry] for entry in old)
        steps = writeback_pages(
            cast("Machine", self), cast("MemCgroup", self._subtree[0]), nr_pages, cutoff_ns=cutoff_ns, must_be_all=False
        )
        try:
            for _ in steps:
                pass
        finally:
            self._count_pool_pages()

    def walk(self, memcg: _Memcg, node: int, nr_to_walk: int, _: ChargeContext, cutoff_ns: int) -> Generator[None, None, Walk]:
        """In the place of ZswapWriteback.walk, with a cutoff."""
        entries = memcg.zswap_lrus[node].entries
        walk = Walk(nr_scanned=min(nr_to_walk, len(entries)))
        for _entry in range(walk.nr_scanned):
            entry = entries.popleft()
            if self._stored_ns[entry] > cutoff_ns:
                entries.append(entry)
                self.nr_rotated += 1
            else:
                walk.nr_written += 1
                walk.compressed_bytes += self._length[entry]
                self._written.append(entry)
        self.nr_written += walk.nr_written
        self.written_bytes += walk.compressed_bytes
        yield from ()
        return walk

    def _count_pool_pages(self) -> None:
        left = {zspage: nr_objects for zspage, (nr_objects, _) in self._zspage_use.items()}
        for entry in self._written:
            zspage = self._zspage[entry]
            left[zspage] -= 1
            if not left[zspage]:
                self.pool_pages += self._zspage_use[zspage][1]
