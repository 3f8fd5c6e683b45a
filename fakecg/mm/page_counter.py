"""Exact, eager usage counters with limits, summed up the tree.

Mirrors mm/page_counter.c. All amounts are pages. Protection usage of children is kept only where a min or low is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fakecg.abi.units import PAGE_COUNTER_MAX

if TYPE_CHECKING:
    from fakecg.mm.peak_file import PeakWatcher


class PageCounter:
    """Usage of one resource in one cgroup.

    Attributes:
        usage: charged pages, descendants included.
        max, high: limits in pages; min, low: protections.
        emin, elow: effective protections of the current reclaim (see calculate_protection).
        watermark: highest usage since creation.
        local_watermark: highest usage since the last reset of any open peak file.
        watchers: own marks of the open peak files that were reset.
    """

    __slots__ = (
        "children_low",
        "children_min",
        "elow",
        "emin",
        "high",
        "local_watermark",
        "low",
        "low_usage",
        "max",
        "min",
        "min_usage",
        "parent",
        "protected",
        "usage",
        "watchers",
        "watermark",
    )

    def __init__(self, parent: PageCounter | None) -> None:
        self.parent = parent
        self.usage = 0
        self.max = PAGE_COUNTER_MAX
        self.high = PAGE_COUNTER_MAX
        self.min = self.low = 0
        self.emin = self.elow = 0
        self.watermark = 0
        self.local_watermark = 0
        self.min_usage = self.low_usage = 0
        self.children_min = self.children_low = 0
        self.protected = False
        self.watchers: list[PeakWatcher] = []

    def try_charge(self, nr_pages: int) -> PageCounter | None:
        """Charge this counter and every ancestor, or nothing; returns the counter that refused."""
        counter: PageCounter | None = self
        while counter is not None:
            if counter.usage + nr_pages > counter.max:
                return counter
            counter = counter.parent
        self.charge(nr_pages)
        return None

    def charge(self, nr_pages: int) -> None:
        """Charge without looking at limits."""
        counter: PageCounter | None = self
        while counter is not None:
            usage = counter.usage + nr_pages
            counter.usage = usage
            if usage > counter.local_watermark:
                counter.local_watermark = usage
                if usage > counter.watermark:
                    counter.watermark = usage
            if counter.protected:
                counter.propagate_protected_usage()
            counter = counter.parent

    def leaves_no_trace(self, nr_pages: int) -> bool:
        """Whether a charge that is taken back would meet no limit and set no peak, here or above."""
        counter: PageCounter | None = self
        while counter is not None:
            if counter.usage + nr_pages > min(counter.max, counter.local_watermark) or counter.watchers:
                return False
            counter = counter.parent
        return True

    def uncharge(self, nr_pages: int) -> None:
        """Undo a charge."""
        counter: PageCounter | None = self
        while counter is not None:
            counter.usage -= nr_pages
            if counter.protected:
                counter.propagate_protected_usage()
            counter = counter.parent

    def move_to_parent(self, nr_pages: int) -> None:
        """Hand pages of a dying cgroup to its parent, whose usage contains them already."""
        self.usage -= nr_pages
        if self.protected:
            self.propagate_protected_usage()

    def set_protection(self, *, min_pages: int | None = None, low_pages: int | None = None) -> None:
        """Set min or low and update the parent's sums."""
        if min_pages is not None:
            self.min = min_pages
        if low_pages is not None:
            self.low = low_pages
        self.protected = True
        self.propagate_protected_usage()
        self.protected = bool(self.min or self.low)

    def propagate_protected_usage(self) -> None:
        """Source: page_counter.c:propagate_protected_usage."""
        parent = self.parent
        if parent is None:
            return
        protected = min(self.usage, self.min)
        parent.children_min += protected - self.min_usage
        self.min_usage = protected
        protected = min(self.usage, self.low)
        parent.children_low += protected - self.low_usage
        self.low_usage = protected

    def calculate_protection(self, root: PageCounter, recursive: bool) -> None:
        """Effective min and low for reclaim that started at ``root``; parents first. Source: page_counter_calculate_protection.

        ``recursive``: mounted with memory_recursiveprot.
        """
        if self is root:
            # The target of reclaim is not protected against itself.
            self.emin = self.elow = 0
            return
        parent = self.parent
        assert parent is not None
        if parent is root:
            self.emin, self.elow = self.min, self.low
            return
        self.emin = _effective_protection(self.usage, parent.usage, self.min, parent.emin, parent.children_min, recursive)
        self.elow = _effective_protection(self.usage, parent.usage, self.low, parent.elow, parent.children_low, recursive)


def _effective_protection(
    usage: int, parent_usage: int, setting: int, parent_effective: int, siblings_protected: int, recursive: bool
) -> int:
    """Share of the parent's protection. Source: page_counter.c:effective_protection."""
    protected = min(usage, setting)
    if siblings_protected > parent_effective:
        return protected * parent_effective // siblings_protected
    effective = protected
    if recursive and parent_effective > siblings_protected and parent_usage > siblings_protected and usage > protected:
        unclaimed = (parent_effective - siblings_protected) * (usage - protected)
        effective += unclaimed // (parent_usage - siblings_protected)
    return effective
