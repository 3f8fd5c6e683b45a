"""Free runs of numbers: slots of a swap device, pages of the page table."""

from __future__ import annotations

from sortedcontainers import SortedDict


class Extents:
    """Free runs, neighbours merged. Cost: O(log runs) an operation unless it says otherwise."""

    __slots__ = ("_length_of",)

    def __init__(self) -> None:
        self._length_of: SortedDict[int, int] = SortedDict()

    def __bool__(self) -> bool:
        return bool(self._length_of)

    def add(self, start: int, length: int) -> None:
        """Numbers start..start+length-1 are free."""
        runs = self._length_of
        position = runs.bisect_left(start)
        if position < len(runs):
            after, after_length = runs.peekitem(position)
            if after == start + length:
                del runs[after]
                length += after_length
        if position:
            before, before_length = runs.peekitem(position - 1)
            if before + before_length == start:
                start, length = before, before_length + length
        runs[start] = length

    def take_from(self, number: int) -> tuple[int, int]:
        """Take the first run that starts at a number or after it, or else the first of all: start and length. There must be one."""
        runs = self._length_of
        position = runs.bisect_left(number)
        start, length = runs.peekitem(position if position < len(runs) else 0)
        del runs[start]
        return start, length

    def take_first_fit(self, length: int) -> int | None:
        """Take a run's first numbers where it is long enough; returns the first, None without such a run. Cost: O(runs)."""
        for start, found in self._length_of.items():
            if found >= length:
                del self._length_of[start]
                if found > length:
                    self._length_of[start + length] = found - length
                return int(start)
        return None
