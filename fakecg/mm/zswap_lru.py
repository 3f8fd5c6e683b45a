"""Lists of zswap entries, oldest first: one per memcg and node.

Mirrors a list_lru as mm/zswap.c uses it. An entry is its swap slot; the links are columns of the entry table. Entries are added at the
young end and walked from the old one.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence


class ZswapLru:
    """One list.

    Attributes:
        oldest, youngest: slots at the two ends, 0 when empty.
        size: number of entries.
    """

    __slots__ = ("oldest", "size", "youngest")

    def __init__(self) -> None:
        self.oldest = 0
        self.youngest = 0
        self.size = 0


class ZswapLinks:
    """The link columns, by slot."""

    __slots__ = ("older", "younger")

    def __init__(self) -> None:
        self.younger = array("i", [0])
        self.older = array("i", [0])

    def extend(self, nr_slots: int) -> None:
        """Make room for more slots."""
        zeros = array("i", bytes(4 * nr_slots))
        self.younger.extend(zeros)
        self.older.extend(zeros)

    def add(self, lru: ZswapLru, slots: Sequence[int]) -> None:
        """Append a batch at the young end, in order."""
        younger, older = self.younger, self.older
        before = lru.youngest
        first, last = slots[0], slots[-1]
        if isinstance(slots, range):
            older[first + 1 : last + 1] = array("i", range(first, last))
            younger[first:last] = array("i", range(first + 1, last + 1))
        else:
            link = first
            for slot in slots:
                younger[link] = slot
                older[slot] = link
                link = slot
        older[first] = before
        younger[last] = 0
        if before:
            younger[before] = first
        else:
            lru.oldest = first
        lru.youngest = last
        lru.size += len(slots)

    def remove(self, lru: ZswapLru, slots: Sequence[int]) -> None:
        """Take entries out, wherever they stand. Runs of neighbours cost least."""
        younger = self.younger
        index, end = 0, len(slots)
        if isinstance(slots, range) and younger[slots.start : slots.stop - 1] == array("i", slots[1:]):
            self._unlink(lru, slots[0], slots[-1])
            lru.size -= end
            return
        while index < end:
            first = last = slots[index]
            index += 1
            while index < end and younger[last] == slots[index]:
                last = slots[index]
                index += 1
            self._unlink(lru, first, last)
        lru.size -= end

    def _unlink(self, lru: ZswapLru, first: int, last: int) -> None:
        """Take the chain from ``first`` up to ``last`` out."""
        before, after = self.older[first], self.younger[last]
        if before:
            self.younger[before] = after
        else:
            lru.oldest = after
        if after:
            self.older[after] = before
        else:
            lru.youngest = before

    def oldest(self, lru: ZswapLru, nr_entries: int) -> Sequence[int]:
        """Up to nr_entries from the old end, in order, a range if they are neighbours; they stay on the list."""
        younger = self.younger
        slot = lru.oldest
        nr_entries = min(nr_entries, lru.size)
        run = range(slot, slot + nr_entries)
        if nr_entries and younger[slot : slot + nr_entries - 1] == array("i", run[1:]):
            return run
        slots = []
        for _ in run:
            slots.append(slot)
            slot = younger[slot]
        return slots

    def splice_old(self, lru: ZswapLru, child: ZswapLru) -> None:
        """Put all of a child's entries before the oldest of ``lru``. Source: list_lru.c:memcg_reparent_list_lru."""
        if not child.size:
            return
        if lru.size:
            self.younger[child.youngest] = lru.oldest
            self.older[lru.oldest] = child.youngest
        else:
            lru.youngest = child.youngest
        lru.oldest = child.oldest
        lru.size += child.size
        child.oldest = child.youngest = child.size = 0
