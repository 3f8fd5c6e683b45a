"""How old zswap entries are: counts and bytes by time of storing.

Answers rank questions ("how much was stored before this moment") for reports and dry runs; it never chooses what is written back. Entries
stored in one batch share a time, so the index holds batches, not entries. Sums over coarser spans keep a query's cost independent of the
number of entries.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence

from sortedcontainers import SortedDict

#: Widths of the spans with kept sums, as shifts of nanoseconds: 17 ms, 4.3 s, 18 min. Each is 256 of the one before.
_SHIFTS = (24, 32, 40)


class AgeIndex:
    """Entries of one owner. Cost: add and remove O(log batches) for a batch; a query looks at 256 spans a level."""

    __slots__ = ("_batches", "_spans", "nr_bytes", "nr_entries")

    def __init__(self) -> None:
        self._batches: SortedDict[int, list[int]] = SortedDict()
        self._spans: tuple[dict[int, list[int]], ...] = tuple({} for _ in _SHIFTS)
        self.nr_entries = 0
        self.nr_bytes = 0

    def add(self, stored_ns: int, nr_entries: int, nr_bytes: int) -> None:
        """Add a batch stored at one moment."""
        self._change(stored_ns, nr_entries, nr_bytes)

    def remove(self, stored_ns: Sequence[int], lengths: Sequence[int]) -> None:
        """Remove entries, given by their times and lengths."""
        first = stored_ns[0]
        if stored_ns[-1] == first and (len(stored_ns) < 3 or stored_ns.count(first) == len(stored_ns)):
            self._change(first, -len(lengths), -sum(lengths))
            return
        changes: dict[int, list[int]] = {}
        for when, length in zip(stored_ns, lengths, strict=True):
            change = changes.get(when)
            if change is None:
                changes[when] = [1, length]
            else:
                change[0] += 1
                change[1] += length
        for when, (nr_entries, nr_bytes) in changes.items():
            self._change(when, -nr_entries, -nr_bytes)

    def _change(self, when: int, nr_entries: int, nr_bytes: int) -> None:
        self.nr_entries += nr_entries
        self.nr_bytes += nr_bytes
        _add(self._batches, when, nr_entries, nr_bytes)
        for spans, shift in zip(self._spans, _SHIFTS, strict=True):
            _add(spans, when >> shift, nr_entries, nr_bytes)

    def stored_until(self, cutoff_ns: int) -> tuple[int, int]:
        """Entries and compressed bytes stored at or before a moment."""
        coarsest, shift = self._spans[-1], _SHIFTS[-1]
        border = cutoff_ns >> shift
        nr_entries = nr_bytes = 0
        for span, sums in coarsest.items():
            if span < border:
                nr_entries += sums[0]
                nr_bytes += sums[1]
        for spans, finer in zip(self._spans[-2::-1], _SHIFTS[-2::-1], strict=True):
            start = border << (shift - finer)
            border, shift = cutoff_ns >> finer, finer
            for span in range(start, border):
                sums_or_none = spans.get(span)
                if sums_or_none is not None:
                    nr_entries += sums_or_none[0]
                    nr_bytes += sums_or_none[1]
        for when in self._batches.irange(border << shift, cutoff_ns):
            sums = self._batches[when]
            nr_entries += sums[0]
            nr_bytes += sums[1]
        return nr_entries, nr_bytes

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest entry was stored; None without entries."""
        return self._batches.peekitem(0)[0] if self._batches else None


def _add(sums_by_key: MutableMapping[int, list[int]], key: int, nr_entries: int, nr_bytes: int) -> None:
    sums = sums_by_key.get(key)
    if sums is None:
        sums_by_key[key] = [nr_entries, nr_bytes]
        return
    sums[0] += nr_entries
    sums[1] += nr_bytes
    if not sums[0]:
        del sums_by_key[key]
