"""The memory controller's state of a cgroup: counters, lists, events, tree walks.

Mirrors struct mem_cgroup of include/linux/memcontrol.h and the parts of mm/memcontrol.c that keep it. Charging is in charge.py, the files
are in memory_files.py, swap_files.py and zswap_files.py.

A removed cgroup's memcg stays in the tree, offline, until nothing is charged to it any more: its pages are still found by reclaim and count
in its ancestors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from fakecg.abi.units import PAGE_COUNTER_MAX
from fakecg.cgroup.css import Controller, Css
from fakecg.cgroup.rstat import RstatNode
from fakecg.mm.links import LinkedList
from fakecg.mm.lruvec import Lruvec
from fakecg.mm.page_counter import PageCounter

if TYPE_CHECKING:
    from fakecg.cgroup.cftype import ControlFile
    from fakecg.cgroup.cgroup import Cgroup
    from fakecg.mm.machine import Machine

# Indices of memory.events and memory.swap.events. Source: include/linux/memcontrol.h:memcg_memory_event.
MEMCG_LOW, MEMCG_HIGH, MEMCG_MAX, MEMCG_OOM, MEMCG_OOM_KILL, MEMCG_OOM_GROUP_KILL = range(6)
MEMCG_SWAP_HIGH, MEMCG_SWAP_MAX, MEMCG_SWAP_FAIL = range(6, 9)
NR_MEMORY_EVENTS = 9

#: Pages that a CPU charges at once and keeps in stock.
MEMCG_CHARGE_BATCH = 64


class ReclaimIterator:
    """Where partial tree walks from one target on one node go on (struct mem_cgroup_reclaim_iter)."""

    __slots__ = ("generation", "position")

    def __init__(self) -> None:
        self.position: MemCgroup | None = None
        self.generation = 0


class MemCgroup(Css):
    """One cgroup's memory state.

    Attributes:
        id: index in Machine.memcgs, reused after release.
        memory, swap: usage and limits in pages.
        zswap_max_pages: memory.zswap.max.
        zswap_writeback, oom_group: the files' own values.
        events, events_local: counts by MEMCG_*; events include descendants.
        rstat: statistics vector (abi/stat.py).
        lruvecs, zswap_lrus, iterators: by node.
        kmem_bytes: bytes charged as kernel memory here, descendants not included.
        objcg: owner number of the zswap entries stored here, 0 before the first.
        objcgs: owner numbers whose entries are charged here: the own one and those of removed children.
        shrinker_deferred: entries the zswap shrinker left for its next run, by node.
        writeback_cursor: where the next proactive writeback on this cgroup goes on (v1 to v3).
    """

    __slots__ = (
        "events",
        "events_local",
        "first_child",
        "id",
        "iterators",
        "kmem_bytes",
        "kmem_pages",
        "last_child",
        "lruvecs",
        "memory",
        "mm",
        "next_sibling",
        "objcg",
        "objcgs",
        "oom_group",
        "parent_memcg",
        "previous_sibling",
        "released",
        "rstat",
        "shrinker_deferred",
        "swap",
        "writeback_cursor",
        "zswap_lrus",
        "zswap_max_pages",
        "zswap_writeback",
    )

    def __init__(self, controller: MemoryController, cgroup: Cgroup, parent: MemCgroup | None) -> None:
        super().__init__(controller, cgroup, parent)
        mm = self.mm = controller.mm
        self.parent_memcg = parent
        self.id = mm.assign_memcg_id(self)
        self.memory: PageCounter = PageCounter(parent.memory if parent else None)
        self.swap: PageCounter = PageCounter(parent.swap if parent else None)
        self.zswap_max_pages = PAGE_COUNTER_MAX
        self.zswap_writeback = 1
        self.oom_group = 0
        self.events = [0] * NR_MEMORY_EVENTS
        self.events_local = [0] * NR_MEMORY_EVENTS
        self.rstat: RstatNode = RstatNode(mm.rstat, parent.rstat if parent else None)
        nodes = range(mm.nr_nodes)
        self.lruvecs = [Lruvec(self, node) for node in nodes]
        self.zswap_lrus = [LinkedList() for _ in nodes]
        self.iterators = [ReclaimIterator() for _ in nodes]
        self.shrinker_deferred = [0] * mm.nr_nodes
        self.kmem_bytes = 0
        self.kmem_pages = 0
        self.objcg = 0
        self.objcgs: list[int] = []
        self.writeback_cursor: MemCgroup | None = None
        self.released = False
        self.first_child: MemCgroup | None = None
        self.last_child: MemCgroup | None = None
        self.next_sibling: MemCgroup | None = None
        self.previous_sibling: MemCgroup | None = None
        if parent is not None:
            self.previous_sibling = parent.last_child
            if parent.last_child is None:
                parent.first_child = self
            else:
                parent.last_child.next_sibling = self
            parent.last_child = self

    @property
    def is_root(self) -> bool:
        """The root memcg is never charged itself and has no limits."""
        return self.parent_memcg is None

    def ancestors(self) -> Iterator[MemCgroup]:
        """This memcg and its ancestors, without the root."""
        memcg: MemCgroup = self
        while (parent := memcg.parent_memcg) is not None:
            yield memcg
            memcg = parent

    def is_descendant_of(self, ancestor: MemCgroup) -> bool:
        """Whether this is ``ancestor`` or below it."""
        memcg: MemCgroup | None = self
        while memcg is not None:
            if memcg is ancestor:
                return True
            memcg = memcg.parent_memcg
        return False

    def next_descendant_pre(self, position: MemCgroup | None) -> MemCgroup | None:
        """Pre-order walk of this subtree, children in creation order; starts with this memcg. Source: css_next_descendant_pre."""
        if position is None:
            return self
        if position.first_child is not None:
            return position.first_child
        memcg = position
        while memcg is not self:
            if memcg.next_sibling is not None:
                return memcg.next_sibling
            assert memcg.parent_memcg is not None
            memcg = memcg.parent_memcg
        return None

    def subtree(self) -> Iterator[MemCgroup]:
        """This memcg and its descendants, pre-order."""
        memcg = self.next_descendant_pre(None)
        while memcg is not None:
            yield memcg
            memcg = self.next_descendant_pre(memcg)

    def event(self, event: int, times: int = 1) -> None:
        """Count an event here and in every ancestor below the root, and tell who polls. Source: memcg_memory_event."""
        is_swap = event >= MEMCG_SWAP_HIGH
        self.events_local[event] += times
        if not is_swap:
            self.cgroup.notify("memory.events.local")
        for memcg in self.ancestors():
            memcg.events[event] += times
            memcg.cgroup.notify("memory.swap.events" if is_swap else "memory.events")

    def margin_pages(self) -> int:
        """Pages that still fit under memory.max."""
        return max(0, self.memory.max - self.memory.usage)

    def nr_swap_pages(self) -> int:
        """Slots this cgroup may still take. Source: mem_cgroup_get_nr_swap_pages."""
        nr_pages = self.mm.swap.nr_free
        for memcg in self.ancestors():
            nr_pages = min(nr_pages, memcg.swap.max - memcg.swap.usage)
        return nr_pages

    def swap_is_full(self) -> bool:
        """Swapped-in pages give their slot back at once. Source: mem_cgroup_swap_full."""
        swap = self.mm.swap
        if swap.nr_free * 2 < swap.nr_slots:
            return True
        return any(memcg.swap.usage * 2 >= min(memcg.swap.max, memcg.swap.high) for memcg in self.ancestors())

    def zswap_writeback_enabled(self) -> bool:
        """Own value and every ancestor's are 1, or zswap is off. Source: mem_cgroup_zswap_writeback_enabled."""
        if not self.mm.zswap.enabled:
            return True
        memcg: MemCgroup | None = self
        while memcg is not None:
            if not memcg.zswap_writeback:
                return False
            memcg = memcg.parent_memcg
        return True

    def charge_kmem(self, nr_bytes: int) -> None:
        """Charge or, negative, uncharge kernel memory; the page counter moves in whole pages. Source: obj_cgroup_charge."""
        self.kmem_bytes += nr_bytes
        nr_pages = (self.kmem_bytes + 4095) >> 12
        change = nr_pages - self.kmem_pages
        if change:
            self.kmem_pages = nr_pages
            self.mm.account_kernel_pages(self, change)

    def unlink(self) -> None:
        """Leave the tree for good."""
        parent = self.parent_memcg
        assert parent is not None
        if self.previous_sibling is None:
            parent.first_child = self.next_sibling
        else:
            self.previous_sibling.next_sibling = self.next_sibling
        if self.next_sibling is None:
            parent.last_child = self.previous_sibling
        else:
            self.next_sibling.previous_sibling = self.previous_sibling
        self.released = True


class MemoryController(Controller):
    """The controller named ``memory``."""

    name = "memory"

    def __init__(self, mm: Machine, files: tuple[ControlFile, ...]) -> None:
        """``files``: the rows of memory.*, memory.swap.* and memory.zswap.*."""
        self.mm = mm
        self.files = files

    def css_alloc(self, cgroup: Cgroup, parent: Css | None) -> MemCgroup:
        """A fresh state: no limits, no protection, all counts 0. Source: mem_cgroup_css_alloc."""
        return MemCgroup(self, cgroup, cast("MemCgroup | None", parent))

    def css_offline(self, css: Css) -> None:
        """Hand zswap entries to the parent and drop protection; what is charged stays. Source: mem_cgroup_css_offline."""
        memcg = cast(MemCgroup, css)
        memcg.memory.set_protection(min_pages=0, low_pages=0)
        self.mm.zswap.memcg_offline(memcg)
        self.mm.stock.drain(memcg)
        self.mm.release_if_unused(memcg)

    def css_reset(self, css: Css) -> None:
        """Limits back to defaults; usage, peak and events stay. Source: mem_cgroup_css_reset."""
        memcg = cast(MemCgroup, css)
        memcg.memory.max = memcg.memory.high = PAGE_COUNTER_MAX
        memcg.swap.max = memcg.swap.high = PAGE_COUNTER_MAX
        memcg.memory.set_protection(min_pages=0, low_pages=0)

    def is_dying(self, css: Css) -> bool:
        """Something is still charged to it."""
        return not cast(MemCgroup, css).released


def memcg_of(cgroup: Cgroup) -> MemCgroup:
    """The memcg whose limits a cgroup's processes live under: its own, or the nearest ancestor's with the controller on."""
    css = cgroup.e_css("memory")
    assert css is not None
    return cast(MemCgroup, css)
