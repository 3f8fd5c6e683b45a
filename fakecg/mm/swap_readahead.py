"""Which pages are read from swap together with the one that faults.

Mirrors swap_vma_readahead and swap_cluster_readahead of mm/swap_state.c: neighbours in the address space, or, as soon as one of the swap
devices is rotational, neighbours on the device, whosever they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.mm.page_table import RESIDENT

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine

_PMD_PAGES = 512
_MAX_HITS = 63
_MAX_CLUSTER_SHIFT = 5


class ClusterReadahead:
    """What readahead by slot remembers, for the whole machine.

    Attributes:
        previous: slot of the last fault that had no hits before it.
        window: size of the last window.
        hits: pages read ahead that were used since.
    """

    __slots__ = ("hits", "previous", "window")

    def __init__(self) -> None:
        self.previous = 0
        self.window = 0
        self.hits = 4


def pages_to_read(machine: Machine, space: SyntheticAddressSpace, page: int) -> tuple[list[int], bool]:
    """The swapped-out pages to read for a fault on ``page``, itself included, and whether they are a window (more than it alone)."""
    table = machine.table
    if machine.swap.is_rotational:
        window: Sequence[int] = [machine.swap.page[slot] for slot in _cluster_window(machine, table.slot[page])]
    else:
        window = _vma_window(machine, space, page)
    flags, slot_of = table.flags, table.slot
    return [one for one in window if slot_of[one] and not flags[one] & RESIDENT], len(window) > 1


def _window_size(previous: int, position: int, hits: int, previous_window: int, max_window: int) -> int:
    """Source: swap_state.c:__swapin_nr_pages."""
    if hits:
        nr_pages = 4
        while nr_pages < hits + 2:
            nr_pages *= 2
    else:
        nr_pages = 2 if position in (previous + 1, previous - 1) else 1
    return max(min(nr_pages, max_window), previous_window // 2)


def _cluster_window(machine: Machine, slot: int) -> Sequence[int]:
    """The aligned group of slots around one. Source: swap_state.c:swap_cluster_readahead, swapin_nr_pages."""
    max_window = 1 << machine.page_cluster
    if max_window == 1:
        return (slot,)
    state = machine.cluster_readahead
    nr_pages = _window_size(state.previous, slot, state.hits, state.window, max_window)
    if not state.hits:
        state.previous = slot
    state.hits = 0
    state.window = nr_pages
    if nr_pages == 1:
        return (slot,)
    device = machine.swap.device_of(slot)
    # The device begins with its header: its first slot is the one at offset 1.
    header = device.first_slot - 1
    first = (slot - header) // nr_pages * nr_pages
    last = min(first + nr_pages, device.nr_slots + 1) + header
    return range(max(first, 1) + header, min(last, len(machine.swap.page)))


def _vma_window(machine: Machine, space: SyntheticAddressSpace, page: int) -> Sequence[int]:
    """The neighbours in the address space, on the side where the faults come from. Source: swap_state.c:swap_vma_ra_win."""
    max_window = 1 << min(machine.page_cluster, _MAX_CLUSTER_SHIFT)
    if max_window == 1:
        return (page,)
    previous, previous_window, hits = space.readahead
    nr_pages = _window_size(previous, page, hits, previous_window, max_window)
    space.readahead = (page, nr_pages, 0)
    if nr_pages == 1:
        return (page,)
    if page == previous + 1:
        left, right = page, page + nr_pages
    elif page == previous - 1:
        left, right = page - nr_pages + 1, page + 1
    else:
        left = page - (nr_pages - 1) // 2
        right = left + nr_pages
    table_start = page - (page - space.base) % _PMD_PAGES
    left = max(left, table_start)
    right = min(right, space.base + space.nr_pages, table_start + _PMD_PAGES)
    return range(left, right)


def note_read_ahead(machine: Machine, page: int, pages: Sequence[int]) -> None:
    """Pages were read; all but the faulting one have not been asked for yet (PG_readahead)."""
    ahead = [one for one in pages if one != page]
    machine.vm.swap_ra += len(ahead)
    for one in ahead:
        machine.frames.space_of(one).ahead.add(one)
    machine.frames.space_of(page).ahead.discard(page)


def note_hits(machine: Machine, space: SyntheticAddressSpace, pages: Sequence[int]) -> None:
    """Pages of the swap cache are used; some were read ahead. Source: swap_state.c:swap_cache_get_folio."""
    used = space.ahead.intersection(pages) if space.ahead else ()
    space.ahead.difference_update(used)
    machine.vm.swap_ra_hit += len(used)
    if machine.swap.is_rotational:
        machine.cluster_readahead.hits += len(used)
        return
    _, window, hits = space.readahead
    space.readahead = (pages[-1], window, min(hits + len(used), _MAX_HITS))
