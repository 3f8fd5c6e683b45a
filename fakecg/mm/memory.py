"""Page faults: what happens when a task touches its memory.

Mirrors mm/memory.c (do_anonymous_page, do_swap_page) and the readahead of mm/swap_state.c. Touching a range costs one pass over the flags;
only pages without a pte are faults, and neighbours that need the same are served together.

The generators yield None at rescheduling points and a number of nanoseconds where the task sleeps; they return what the touches took, in
nanoseconds.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fakecg.abi.errors import DataLost
from fakecg.abi.stat import NR_ANON_MAPPED, PGFAULT, PGMAJFAULT
from fakecg.mm import swap_readahead
from fakecg.mm.charge import handle_over_high
from fakecg.mm.columns import as_run, column
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_table import (
    DIRTY,
    MAP,
    MAP_FOR_WRITING,
    MAPPED,
    MISSES,
    READ_TOUCH,
    RESIDENT,
    WRITE_TOUCH,
    YOUNG,
)

if TYPE_CHECKING:
    from fakecg.mm.address_space import SyntheticAddressSpace
    from fakecg.mm.machine import Machine
    from fakecg.mm.mm_struct import MmStruct

Touch = Generator[int | None, None, int]
_PMD_PAGES = 512
_CHUNK_PAGES = 65536
#: After a fault that failed, with nobody left to kill: the access faults again about as often as recorded, 290 times a second.
_FAULT_AGAIN_NS = 3_500_000
#: Pages that windows in sequence may bring in at once.
_SEQUENCE_PAGES = 256


def touch_range(machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, start: int, stop: int, write: bool = False) -> Touch:
    """Touch the pages start..stop-1 of a space, in order.

    Raises:
        DataLost: a page cannot be read back; the task is killed (SIGBUS on a kernel).
    """
    table = machine.table
    flags = table.flags
    first, last = space.base + start, space.base + stop
    translation = WRITE_TOUCH if write else READ_TOUCH
    cost_ns = (stop - start) * machine.cost.touch_ns
    while first < last and not mm.is_dying:
        # Chunk by chunk as long as all is mapped: a page without a pte becomes 0, which is found in no time.
        touched = flags[first : min(first + _CHUNK_PAGES, last)].translate(translation)
        if 0 not in touched:
            flags[first : first + len(touched)] = touched
            first += len(touched)
            continue
        miss = MISSES.search(flags, first, last)
        end = miss.start() if miss else last
        if end > first:
            flags[first:end] = flags[first:end].translate(translation)
        if miss is None:
            break
        first = end
        while first < miss.end() and not mm.is_dying:
            handled, fault_ns = yield from _fault(machine, mm, space, first, miss.end(), write)
            cost_ns += fault_ns
            first += handled
            if mm.over_high_pages:
                yield from handle_over_high(machine, mm)
    return cost_ns + mm.take_reclaim_ns()


def touch_pages(machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, indices: Sequence[int], write: bool = False) -> Touch:
    """Touch single pages of a space, by index, in the order given; raises as touch_range."""
    flags = machine.table.flags
    base = space.base
    bits = YOUNG | DIRTY if write else YOUNG
    cost_ns = len(indices) * machine.cost.touch_ns
    for index in indices:
        page = base + index
        if flags[page] & MAPPED:
            flags[page] |= bits
            continue
        while not flags[page] & MAPPED:
            if mm.is_dying:
                return cost_ns + mm.take_reclaim_ns()
            _, fault_ns = yield from _fault(machine, mm, space, page, page + 1, write)
            cost_ns += fault_ns
            if mm.over_high_pages:
                yield from handle_over_high(machine, mm)
    return cost_ns + mm.take_reclaim_ns()


def _fault(
    machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, page: int, end: int, write: bool
) -> Generator[int | None, None, tuple[int, int]]:
    """Serve the fault on a page and on neighbours below ``end`` in the same state; returns how many pages are mapped, and the cost."""
    table = machine.table
    if table.flags[page] & RESIDENT:
        return _map_swap_cache(machine, mm, space, page, end, write)
    if table.slot[page]:
        return _swap_in_sequence(machine, mm, space, page, end, write) or (yield from _swap_in(machine, mm, space, page, write))
    return (yield from _map_new(machine, mm, space, page, end))


def _map_new(
    machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, page: int, end: int
) -> Generator[int | None, None, tuple[int, int]]:
    """First touch: a new page with its initial contents. Source: memory.c:do_anonymous_page."""
    table = machine.table
    slot_of, flags = table.slot, table.flags
    limit = page + 1
    while limit < end and not slot_of[limit] and not flags[limit] & RESIDENT and limit - page < 64:
        limit += 1
    if space.node_of is not None:
        # Frames of one node at a time.
        wanted = space.node_of[page - space.base : limit - space.base]
        limit = page + next((index for index, node in enumerate(wanted) if node != wanted[0]), len(wanted))
    node = yield from machine.frames.alloc(space, page, limit - page)
    memcg = mm.memcg
    # Up to the end of the stock, and no further than the page that refills it: a task above memory.high must come back to user mode.
    nr_pages = yield from machine.charge_pages(memcg, limit - page, ChargeContext(mm), stop_at_refill=True)
    if not nr_pages:
        if not mm.is_dying:
            yield _FAULT_AGAIN_NS
        return 0, 0
    if mm.is_dying:
        # Killed while charging: its mappings are gone.
        machine.uncharge_pages(memcg, nr_pages)
        return 0, 0
    pages = range(page, page + nr_pages)
    try:
        space.fill(page, page + nr_pages)
    except OSError:
        machine.uncharge_pages(memcg, nr_pages)
        raise
    flags[page : page + nr_pages] = bytes([RESIDENT | MAPPED | YOUNG | DIRTY]) * nr_pages
    machine.frames.own(pages, memcg, node)
    lruvec = memcg.lruvecs[node]
    mm.batches.add(lruvec, False, pages)
    memcg.rstat.add(lruvec.stat_base + NR_ANON_MAPPED, nr_pages)
    machine.nodes[node].nr_free -= nr_pages
    _count_faults(machine, mm, nr_pages, 0)
    return nr_pages, nr_pages * machine.cost.minor_fault_ns


def _map_swap_cache(machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, page: int, end: int, write: bool) -> tuple[int, int]:
    """Map resident pages of the swap cache: minor faults. Source: memory.c:do_swap_page with swap_cache_get_folio."""
    table = machine.table
    flags = table.flags
    limit = page + 1
    while limit < end and flags[limit] & (RESIDENT | MAPPED) == RESIDENT:
        limit += 1
    pages = range(page, limit)
    swap_readahead.note_hits(machine, space, pages)
    _map(machine, space, pages, write)
    _count_faults(machine, mm, len(pages), 0)
    return len(pages), len(pages) * machine.cost.minor_fault_ns


def _map(machine: Machine, space: SyntheticAddressSpace, pages: Sequence[int], write: bool) -> None:
    """Map resident pages of the swap cache; one that is written, or any with swap nearly full, does not need its slot any more."""
    table = machine.table
    table.apply(pages, MAP_FOR_WRITING if write else MAP)
    for memcg_id, group in groupby(pages, key=table.memcg.__getitem__):
        memcg = machine.memcgs[memcg_id]
        of_memcg = as_run(list(group))
        for node, batch in machine.frames.by_node(of_memcg):
            memcg.rstat.add(memcg.lruvecs[node].stat_base + NR_ANON_MAPPED, len(batch))
        if write or memcg.swap_is_full():
            cached = of_memcg if all(table.slots_of(of_memcg)) else [page for page in of_memcg if table.slot[page]]
            if cached:
                machine.swap_cache.free_slots(cached)


def _swap_in_sequence(
    machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, page: int, end: int, write: bool
) -> tuple[int, int] | None:
    """Several full windows at once, of a task that reads its pages in order; None unless nothing can come between the windows.

    The outcome is that of _swap_in and _map_swap_cache in turn: one major fault a window, minor faults for the rest of it.
    """
    table, zswap, swap = machine.table, machine.zswap, machine.swap
    window = 1 << min(machine.page_cluster, 5)
    previous, _, hits = space.readahead
    if swap.is_rotational or window == 1 or page != previous + 1 or hits + 2 <= window // 2 or machine.nr_nodes > 1 or space.ahead:
        return None
    left_in_pmd = _PMD_PAGES - (page - space.base) % _PMD_PAGES
    nr_windows = min(end - page, left_in_pmd, _SEQUENCE_PAGES) // window
    nr_pages = nr_windows * window
    pages = range(page, page + nr_pages)
    if nr_windows < 2 or any(table.flags[page : page + nr_pages]):
        return None
    slots = as_run(table.slots_of(pages))
    if not isinstance(slots, range) or not slots.start or slots.stop > len(zswap.length) or not all(column(zswap.length, slots)):
        return None
    charged_to = swap.memcg[slots.start : slots.stop]
    if charged_to.count(charged_to[0]) < nr_pages:
        return None
    memcg = machine.swap_cache.charge_target(slots.start, ChargeContext(mm))
    if memcg.swap_is_full() or not machine.charge_without_reclaim(memcg, nr_pages):
        return None
    try:
        read = machine.page_io.read_pages(memcg, pages, mm.batches)
    except DataLost:
        # Once more, page by page, for the message.
        machine.uncharge_pages(memcg, nr_pages)
        return None
    mm.batches.drain()
    _map(machine, space, pages, write)
    _count_faults(machine, mm, nr_pages, nr_windows)
    space.readahead = (pages[-1], window, window - 1)
    machine.vm.swap_ra += nr_pages - nr_windows
    machine.vm.swap_ra_hit += nr_pages - nr_windows
    if read.restored:
        mm.stall(read.cost_ns)
    return nr_pages, read.cost_ns + nr_pages * machine.cost.minor_fault_ns


def _swap_in(
    machine: Machine, mm: MmStruct, space: SyntheticAddressSpace, page: int, write: bool
) -> Generator[int | None, None, tuple[int, int]]:
    """Read a page and its readahead window into the swap cache and map it: a major fault. Source: memory.c:do_swap_page."""
    table = machine.table
    wanted, is_window = swap_readahead.pages_to_read(machine, space, page)
    cost_ns = machine.cost.minor_fault_ns
    stall_ns = 0
    context = ChargeContext(mm)
    position = 0
    while position < len(wanted):
        yield from machine.frames.alloc(space, wanted[position], 1)
        memcg_of_slot = machine.swap.memcg
        slot = table.slot[wanted[position]]
        if not slot or table.flags[wanted[position]] & RESIDENT:
            position += 1
            continue
        same = position + 1
        while same < len(wanted) and memcg_of_slot[table.slot[wanted[same]]] == memcg_of_slot[slot]:
            same += 1
        memcg = machine.swap_cache.charge_target(slot, context)
        nr_charged = yield from machine.charge_pages(memcg, same - position, context)
        if not nr_charged:
            if not mm.is_dying and not table.flags[page] & RESIDENT:
                yield _FAULT_AGAIN_NS
            break
        if mm.is_dying:
            machine.uncharge_pages(memcg, nr_charged)
            return 0, cost_ns
        batch = [one for one in wanted[position : position + nr_charged] if table.slot[one] and not table.flags[one] & RESIDENT]
        position += nr_charged
        if len(batch) < nr_charged:
            machine.uncharge_pages(memcg, nr_charged - len(batch))
        if not batch:
            continue
        try:
            read = machine.page_io.read_pages(memcg, batch, mm.batches)
        except DataLost as error:
            lost = [one for one in batch if not table.flags[one] & RESIDENT]
            machine.uncharge_pages(memcg, len(lost))
            if page in lost or len(lost) == len(batch):
                raise DataLost(f"task {mm.task.pid} {space.name or 'memory'} page {page - space.base}: {error.reason}") from error
            continue
        cost_ns += read.cost_ns
        mm.wait_for_io(read.io_ns)
        if read.restored:
            # Waiting for a page of the workingset is a memory stall.
            stall_ns += read.cost_ns
    if stall_ns:
        mm.stall(stall_ns)
    if is_window:
        mm.batches.drain()
    if not table.flags[page] & RESIDENT:
        # Reclaim took it again, or nothing could be charged: the access faults once more.
        return 0, cost_ns
    _map(machine, space, (page,), write)
    _count_faults(machine, mm, 1, 1)
    if is_window:
        swap_readahead.note_read_ahead(machine, page, [one for one in wanted if table.flags[one] & RESIDENT])
    return 1, cost_ns


def _count_faults(machine: Machine, mm: MmStruct, nr_faults: int, nr_major: int) -> None:
    rstat = mm.memcg.rstat
    rstat.add(PGFAULT, nr_faults)
    machine.vm.pgfault += nr_faults
    if nr_major:
        rstat.add(PGMAJFAULT, nr_major)
        machine.vm.pgmajfault += nr_major
