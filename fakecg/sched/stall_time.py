"""How long something was stalled: the union of intervals that are reported in advance and counted as time passes."""

from __future__ import annotations

#: Intervals to come that are kept apart before near ones are put together.
MAX_EARLIER = 4096
_MIN_SPAN_NS = 1_000_000


class StallTime:
    """Union of stall intervals of one state, credited up to a point in time.

    Attributes:
        total_ns: length of the union until credited_until_ns.
        begin_ns, end_ns: the latest interval, as far as it is not credited; empty if both are equal.
        earlier: intervals before it that are not credited: disjoint, ascending, not touching each other.

    Adding at the end and crediting cost O(1) amortised.
    """

    __slots__ = ("begin_ns", "created_ns", "credited_until_ns", "earlier", "end_ns", "total_ns")

    def __init__(self, now_ns: int) -> None:
        self.total_ns = 0
        self.created_ns = now_ns
        self.credited_until_ns = now_ns
        self.begin_ns = self.end_ns = now_ns
        self.earlier: list[tuple[int, int]] = []

    @property
    def next_ns(self) -> int | None:
        """Where the first interval not yet credited begins; None without one."""
        if self.earlier:
            return self.earlier[0][0]
        return self.begin_ns if self.end_ns > self.begin_ns else None

    def add(self, start_ns: int, stop_ns: int) -> None:
        """Stalled from ``start_ns`` to ``stop_ns``.

        Someone may have read while a task was still in the step that reports this: what lies before the credited time counts at once,
        as not overlapping, yet never so that more was stalled than elapsed.
        """
        if start_ns < self.credited_until_ns:
            late_ns = min(stop_ns, self.credited_until_ns) - start_ns
            self.total_ns = max(self.total_ns, min(self.total_ns + late_ns, self.credited_until_ns - self.created_ns))
            start_ns = self.credited_until_ns
        if stop_ns <= start_ns:
            return
        if self.begin_ns <= start_ns <= self.end_ns:
            self.end_ns = max(self.end_ns, stop_ns)
            return
        if start_ns > self.end_ns:
            if self.end_ns > self.begin_ns:
                self.earlier.append((self.begin_ns, self.end_ns))
            self.begin_ns, self.end_ns = start_ns, stop_ns
            return
        # Before the latest interval, which is not empty then: find the place, and swallow what the new one touches.
        earlier = self.earlier
        earlier.append((self.begin_ns, self.end_ns))
        later: list[tuple[int, int]] = []
        while earlier and earlier[-1][1] >= start_ns:
            begin_ns, end_ns = earlier.pop()
            if begin_ns > stop_ns:
                later.append((begin_ns, end_ns))
            else:
                start_ns, stop_ns = min(start_ns, begin_ns), max(stop_ns, end_ns)
        earlier.append((start_ns, stop_ns))
        earlier.extend(reversed(later))
        self.begin_ns, self.end_ns = earlier.pop()

    def credit(self, now_ns: int) -> None:
        """Count what was stalled until ``now_ns``."""
        nr_over = 0
        for begin_ns, end_ns in self.earlier:
            if end_ns > now_ns:
                if begin_ns < now_ns:
                    self.total_ns += now_ns - begin_ns
                    self.earlier[nr_over] = (now_ns, end_ns)
                break
            self.total_ns += end_ns - begin_ns
            nr_over += 1
        if nr_over:
            del self.earlier[:nr_over]
        if self.begin_ns < now_ns:
            until_ns = min(self.end_ns, now_ns)
            self.total_ns += until_ns - self.begin_ns
            self.begin_ns = until_ns
        self.credited_until_ns = max(self.credited_until_ns, now_ns)

    def forget(self) -> None:
        """Drop what is not credited."""
        self.earlier.clear()
        self.end_ns = self.begin_ns

    def compact(self) -> None:
        """Put stalls together that begin in the same span of time, the shortest span that halves the limit; their sum stays.

        A stall moves forward by less than the span, however often this is done.
        """
        span_ns = _MIN_SPAN_NS
        while len(self.earlier) > MAX_EARLIER // 2:
            merged: list[tuple[int, int]] = []
            for start_ns, end_ns in self.earlier:
                if merged and (start_ns // span_ns == merged[-1][0] // span_ns or start_ns <= merged[-1][1]):
                    merged[-1] = (merged[-1][0], merged[-1][1] + end_ns - start_ns)
                else:
                    merged.append((start_ns, end_ns))
            self.earlier = merged
            span_ns *= 2
