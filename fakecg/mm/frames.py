"""Frames of physical memory: who gets them, who owns them, what is in them.

Mirrors the slow path of mm/page_alloc.c, and hides that a batch of pages may belong to several address spaces.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.mm import oom_kill
from fakecg.mm.kswapd import MAX_RECLAIM_RETRIES, Node, balance_node
from fakecg.mm.vmscan import try_to_free_pages

if TYPE_CHECKING:
    from fakecg.mm.address_space import Buffer, SyntheticAddressSpace
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup


class Frames:
    """The machine's frames."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def alloc(self, space: SyntheticAddressSpace, page: int, nr_pages: int) -> Generator[None, None, int]:
        """Make sure that a node has frames; returns it. Wakes kswapd below the low watermark, reclaims directly below min.

        The frames are taken when the pages enter memory. Source: page_alloc.c:__alloc_pages_slowpath.
        """
        machine = self.machine
        nodes = machine.nodes
        if machine.table.slot[page]:
            node = nodes[machine.table.node[page]]
        elif space.node_of is not None:
            node = nodes[space.node_of[page - space.base]]
        else:
            node = nodes[0]
            if machine.nr_nodes > 1 and node.nr_free - nr_pages < node.low_wmark:
                node = next((other for other in nodes if other.nr_free - nr_pages >= other.low_wmark), node)
        if node.nr_free - nr_pages >= node.low_wmark:
            return node.number
        self.wake_kswapd(node)
        retries = MAX_RECLAIM_RETRIES
        mm = space.mm
        while node.nr_free - nr_pages < node.min_wmark:
            before_ns = machine.reclaim_cost_ns
            if mm is not None:
                mm.batches.drain()
            nr_reclaimed = yield from try_to_free_pages(machine)
            if mm is not None:
                mm.stall_in_reclaim(machine.reclaim_cost_ns - before_ns)
            if nr_reclaimed:
                node.kswapd_failures = 0
                continue
            if retries:
                retries -= 1
                continue
            if not oom_kill.out_of_memory(machine, machine.root_memcg):
                break
            retries = MAX_RECLAIM_RETRIES
            if mm is not None and mm.is_dying:
                break
        return node.number

    def wake_kswapd(self, node: Node) -> None:
        """Have kswapd run unless it does, or has failed too often."""
        machine = self.machine
        if not node.kswapd_running and node.kswapd_failures < MAX_RECLAIM_RETRIES:
            node.kswapd_running = True
            machine.works.append(balance_node(machine, node))

    def own(self, pages: range, memcg: MemCgroup, node: int) -> None:
        """Record whom pages are charged to, and where they are."""
        machine = self.machine
        machine.table.set_memcg(pages, memcg.id)
        machine.table.node[pages.start : pages.stop] = bytes((node,)) * len(pages)

    def by_node(self, pages: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """Pages grouped by the node they are on, in order."""
        machine = self.machine
        if machine.nr_nodes == 1:
            return [(0, pages)]
        return [(node, list(group)) for node, group in groupby(pages, key=machine.table.node.__getitem__)]

    def free(self, memcg: MemCgroup, node: int, pages: Sequence[int], *, uncharge: bool = True) -> None:
        """Pages of one memcg and node leave memory; uncharging them can be left to the caller."""
        machine = self.machine
        flags = machine.table.flags
        if isinstance(pages, range):
            flags[pages.start : pages.stop] = bytes(len(pages))
        else:
            for page in pages:
                flags[page] = 0
        for space, group in self._by_space(pages):
            space.take(group)
        nr_pages = len(pages)
        machine.nodes[node].nr_free += nr_pages
        machine.vm.pgfree += nr_pages
        if uncharge and not memcg.is_root:
            memcg.memory.uncharge(nr_pages)
            if not memcg.online:
                machine.release_if_unused(memcg)

    def _by_space(self, pages: Sequence[int]) -> list[tuple[SyntheticAddressSpace, Sequence[int]]]:
        machine = self.machine
        first = self.space_of(pages[0])
        low, high = (pages[0], pages[-1]) if isinstance(pages, range) else (min(pages), max(pages))
        if low >= first.base and high < first.base + first.nr_pages:
            return [(first, pages)]
        space_of = machine.table.space
        return [(self.space_of(group[0]), group) for group in (list(group) for _, group in groupby(pages, key=space_of.__getitem__))]

    def space_of(self, page: int) -> SyntheticAddressSpace:
        """The owner of a page."""
        machine = self.machine
        space = machine.spaces.by_number[machine.table.space[page]]
        assert space is not None
        return space

    def contents(self, pages: Sequence[int]) -> list[Buffer]:
        """The bytes of resident pages."""
        owned = self._by_space(pages)
        if len(owned) == 1:
            return owned[0][0].contents(pages)
        return [item for space, group in owned for item in space.contents(group)]

    def give(self, pages: Sequence[int], data: Sequence[Buffer]) -> None:
        """Bytes for pages that enter memory."""
        position = 0
        for space, group in self._by_space(pages):
            space.give(group, data[position : position + len(group)])
            position += len(group)

    def collect_young(self, pages: Sequence[int]) -> None:
        """Bring the pages' young bits up to date."""
        for space, group in self._by_space(pages):
            space.collect_young(group)

    def sees_young(self, pages: Sequence[int], target: MemCgroup) -> Callable[[int], bool]:
        """Whether reclaim of ``target`` counts a page's young bit: only if the page's task lives in it. Source: rmap.c:folio_referenced."""
        machine = self.machine
        verdicts: dict[int, bool] = {}
        for space, _ in self._by_space(pages):
            if space.number not in verdicts:
                verdicts[space.number] = target.is_root or space.mm is None or space.mm.memcg.is_descendant_of(target)
        if all(verdicts.values()):
            return _yes
        space_of = machine.table.space
        return lambda page: verdicts[space_of[page]]


def _yes(page: int) -> bool:
    return True
