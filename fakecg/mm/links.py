"""Lists whose links are columns: pages on LRU lists, zswap entries on theirs.

An item is an index; where it stands is written in two columns of neighbours, so that a list costs eight bytes an item and a batch of
neighbouring items is added or taken by slices. A list has an old end, where walks begin, and a new end, where items are added. Batches are
in list order: the first item is the oldest.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from fakecg.mm.columns import consecutive


class LinkedList:
    """One list.

    Attributes:
        oldest, newest: items at the two ends, 0 when empty.
        size: number of items.
    """

    __slots__ = ("newest", "oldest", "size")

    def __init__(self) -> None:
        self.oldest = 0
        self.newest = 0
        self.size = 0


class Links:
    """The columns. An item is on one list at most; which one, the caller knows.

    Attributes:
        newer, older: neighbours towards the new and the old end, 0 for none.
    """

    __slots__ = ("newer", "older")

    def __init__(self) -> None:
        self.newer = array("i", [0])
        self.older = array("i", [0])

    def extend(self, nr_items: int) -> None:
        """Make room for more items."""
        zeros = array("i", bytes(4 * nr_items))
        self.newer.extend(zeros)
        self.older.extend(zeros)

    def add(self, of: LinkedList, items: Sequence[int]) -> None:
        """Put a batch at the new end."""
        if not items:
            return
        self._chain(items)
        first, last, before = items[0], items[-1], of.newest
        self.older[first] = before
        self.newer[last] = 0
        if before:
            self.newer[before] = first
        else:
            of.oldest = first
        of.newest = last
        of.size += len(items)

    def add_oldest(self, of: LinkedList, items: Sequence[int]) -> None:
        """Put a batch at the old end, one after the other: its last item becomes the oldest."""
        if not items:
            return
        # The other way round it is in list order.
        items = items[::-1]
        self._chain(items)
        first, last, after = items[0], items[-1], of.oldest
        self.newer[last] = after
        self.older[first] = 0
        if after:
            self.older[after] = last
        else:
            of.newest = last
        of.oldest = first
        of.size += len(items)

    def _chain(self, items: Sequence[int]) -> None:
        """Link a batch in itself; its two outer links are the caller's."""
        newer, older = self.newer, self.older
        first, last = items[0], items[-1]
        if isinstance(items, range):
            if items.step == 1:
                older[first + 1 : last + 1] = consecutive(first, last)
                newer[first:last] = consecutive(first + 1, last + 1)
            else:
                older[last:first] = consecutive(last + 1, first + 1)
                newer[last + 1 : first + 1] = consecutive(last, first)
            return
        link = first
        for item in items:
            newer[link] = item
            older[item] = link
            link = item

    def oldest(self, of: LinkedList, nr_items: int) -> Sequence[int]:
        """Up to nr_items from the old end, a range if they are neighbours; they stay on the list."""
        newer = self.newer
        item = of.oldest
        nr_items = min(nr_items, of.size)
        run = range(item, item + nr_items)
        if nr_items and newer[item : item + nr_items - 1] == consecutive(item + 1, item + nr_items):
            return run
        items = []
        for _ in run:
            items.append(item)
            item = newer[item]
        return items

    def take_oldest(self, of: LinkedList, nr_items: int) -> Sequence[int]:
        """As oldest(), and take them off."""
        items = self.oldest(of, nr_items)
        if items:
            of.oldest = self.newer[items[-1]]
            if of.oldest:
                self.older[of.oldest] = 0
            else:
                of.newest = 0
            of.size -= len(items)
        return items

    def remove(self, of: LinkedList, items: Sequence[int]) -> None:
        """Take items out, wherever they stand. Runs of neighbours cost least."""
        newer = self.newer
        index, end = 0, len(items)
        of.size -= end
        if isinstance(items, range) and newer[items.start : items.stop - 1] == consecutive(items.start + 1, items.stop):
            self._unlink(of, items[0], items[-1])
            return
        while index < end:
            first = last = items[index]
            index += 1
            while index < end and newer[last] == items[index]:
                last = items[index]
                index += 1
            self._unlink(of, first, last)

    def _unlink(self, of: LinkedList, first: int, last: int) -> None:
        """Take the chain from ``first`` up to ``last`` out."""
        before, after = self.older[first], self.newer[last]
        if before:
            self.newer[before] = after
        else:
            of.oldest = after
        if after:
            self.older[after] = before
        else:
            of.newest = before

    def splice_oldest(self, of: LinkedList, other: LinkedList) -> None:
        """Put all items of another list before the oldest."""
        if not other.size:
            return
        if of.size:
            self.newer[other.newest] = of.oldest
            self.older[of.oldest] = other.newest
        else:
            of.newest = other.newest
        of.oldest = other.oldest
        of.size += other.size
        other.oldest = other.newest = other.size = 0
