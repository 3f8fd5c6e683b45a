"""What reclaim does with the pages of one batch from an inactive list.

Mirrors shrink_folio_list, folio_check_references and pageout of mm/vmscan.c. Pages of a batch belong to one memcg, node and type, so that
slots, compression and counters are handled for the batch at once; the result is the same as page by page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fakecg.abi.stat import NR_ANON_MAPPED, NR_FILE_MAPPED, NR_FILE_PAGES, NR_SWAPCACHE, PGACTIVATE
from fakecg.mm import workingset
from fakecg.mm.flusher import wake_flusher
from fakecg.mm.page_table import ACTIVE, DIRTY, MAPPED, REFERENCED, UNMAP, UNREFERENCE, WRITEBACK, YOUNG

if TYPE_CHECKING:
    from fakecg.mm.lruvec import Lruvec
    from fakecg.mm.machine import Machine
    from fakecg.mm.scan_control import ScanControl


@dataclass(slots=True)
class ShrinkResult:
    """Outcome of a batch.

    Attributes:
        kept: pages that go back to their list, in order; the ACTIVE flag says which.
        nr_reclaimed: pages freed.
        nr_pageout: pages handed to swap (zero map, zswap or disk).
    """

    kept: list[int] = field(default_factory=list)
    nr_reclaimed: int = 0
    nr_pageout: int = 0


def shrink_folio_list(machine: Machine, lruvec: Lruvec, pages: Sequence[int], is_file: bool, sc: ScanControl) -> ShrinkResult:
    """Free what can be freed of isolated pages."""
    result = ShrinkResult()
    table = machine.table
    flags = table.flags
    machine.frames.collect_young(pages)
    kinds = table.kinds(pages)
    candidates: Sequence[int] = pages
    kept: list[int] = []
    if any(kind & (YOUNG | WRITEBACK) for kind in kinds):
        candidates, kept = _check_references(machine, pages, sc)
    elif any(kind & REFERENCED for kind in kinds):
        table.apply(pages, UNREFERENCE)
    if candidates:
        if is_file:
            refused = _free_file_pages(machine, lruvec, candidates, sc, result)
        else:
            refused = _free_anon_pages(machine, lruvec, candidates, kinds, sc, result)
        if refused:
            # Back in LRU order, whichever of the two reasons kept a page.
            order = {page: position for position, page in enumerate(pages)}
            kept = sorted(kept + refused, key=order.__getitem__)
    activated = [page for page in kept if flags[page] & ACTIVE]
    if activated:
        _give_back_slots(machine, lruvec, activated)
        lruvec.memcg.rstat.add(PGACTIVATE, len(activated))
        machine.vm.pgactivate += len(activated)
    result.kept = kept
    return result


def _check_references(machine: Machine, pages: Sequence[int], sc: ScanControl) -> tuple[list[int], list[int]]:
    """Split a batch into candidates and kept pages; clears the young bits it finds. Source: folio_check_references."""
    flags = machine.table.flags
    sees_young = machine.frames.sees_young(pages, sc.target)
    candidates: list[int] = []
    kept: list[int] = []
    for page in pages:
        state = flags[page]
        if state & WRITEBACK:
            flags[page] = state | ACTIVE
        elif state & YOUNG and sees_young(page):
            # Touched once: a second round on the inactive list. Touched in both: activate.
            flags[page] = state & ~YOUNG | REFERENCED | (ACTIVE if state & REFERENCED else 0)
        else:
            flags[page] = state & ~REFERENCED
            candidates.append(page)
            continue
        kept.append(page)
    return candidates, kept


def _free_file_pages(machine: Machine, lruvec: Lruvec, pages: Sequence[int], sc: ScanControl, result: ShrinkResult) -> list[int]:
    """Drop clean page cache; dirty pages are activated and wait for the flusher, which is woken if there are no others."""
    flags = machine.table.flags
    refused = [page for page in pages if flags[page] & DIRTY]
    if refused:
        for page in refused:
            flags[page] |= ACTIVE
            machine.frames.space_of(page).met_by_reclaim.add(page)
        if len(refused) == len(pages):
            wake_flusher(machine)
        machine.vm.nr_vmscan_immediate_reclaim += len(refused)
        pages = [page for page in pages if not flags[page] & DIRTY]
        if not pages:
            return refused
    nr_mapped = sum(1 for page in pages if flags[page] & MAPPED)
    rstat, base = lruvec.memcg.rstat, lruvec.stat_base
    rstat.add(base + NR_FILE_PAGES, -len(pages))
    if nr_mapped:
        rstat.add(base + NR_FILE_MAPPED, -nr_mapped)
    _free(machine, lruvec, pages, sc, result)
    return refused


def _free_anon_pages(
    machine: Machine, lruvec: Lruvec, pages: Sequence[int], kinds: set[int], sc: ScanControl, result: ShrinkResult
) -> list[int]:
    """Free pages through swap, together where zswap takes them all; one by one where an entry may have to go for each."""
    if len(pages) == 1 or not machine.zswap.enabled or machine.zswap.limits.batch_headroom(lruvec.memcg) >= len(pages):
        return _free_anon_batch(machine, lruvec, pages, kinds, sc, result)
    flags = machine.table.flags
    refused: list[int] = []
    before = result.nr_reclaimed
    for page in pages:
        refused += _free_anon_batch(machine, lruvec, range(page, page + 1), {flags[page]}, sc, result, uncharge=False)
    # Source: shrink_folio_list, mem_cgroup_uncharge_folios of the whole batch: until then it counts against the limits.
    machine.uncharge_pages(lruvec.memcg, result.nr_reclaimed - before)
    return refused


def _free_anon_batch(
    machine: Machine, lruvec: Lruvec, pages: Sequence[int], kinds: set[int], sc: ScanControl, result: ShrinkResult, *, uncharge: bool = True
) -> list[int]:
    """Give each page a slot, unmap it, write it out if its slot does not hold it yet, free it; returns pages that stay."""
    table, memcg = machine.table, lruvec.memcg
    flags = table.flags
    refused: list[int] = []
    slots = table.slots_of(pages)
    if not any(slots):
        new = pages
    elif all(slots):
        new = ()
    else:
        new = [page for page, slot in zip(pages, slots, strict=True) if not slot]
    if new:
        nr_added = machine.swap_cache.add_to_swap(memcg, lruvec.node, new)
        if nr_added < len(new):
            refused = list(new[nr_added:])
            for page in refused:
                flags[page] |= ACTIVE
            without_slot = set(refused)
            pages = [page for page in pages if page not in without_slot]
            if not pages:
                return refused
    if all(kind & MAPPED for kind in kinds):
        nr_mapped = len(pages)
    else:
        nr_mapped = sum(1 for page in pages if flags[page] & MAPPED)
    if nr_mapped:
        memcg.rstat.add(lruvec.stat_base + NR_ANON_MAPPED, -nr_mapped)
    table.apply(pages, UNMAP)
    dirty: Sequence[int]
    if all(kind & DIRTY for kind in kinds):
        dirty = pages
    else:
        dirty = [page for page in pages if flags[page] & DIRTY]
    if dirty:
        outcome = machine.page_io.write_pages(memcg, lruvec.node, dirty)
        result.nr_pageout += outcome.nr_written
        if outcome.kept:
            refused += outcome.kept
            staying = set(outcome.kept)
            pages = [page for page in pages if page not in staying]
    if pages:
        memcg.rstat.add(lruvec.stat_base + NR_SWAPCACHE, -len(pages))
        _free(machine, lruvec, pages, sc, result, uncharge=uncharge)
    return refused


def _free(machine: Machine, lruvec: Lruvec, pages: Sequence[int], sc: ScanControl, result: ShrinkResult, *, uncharge: bool = True) -> None:
    """Remove pages from memory, leaving shadows. Source: __remove_mapping."""
    workingset.eviction(machine, sc.target, lruvec.node, pages)
    machine.frames.free(lruvec.memcg, lruvec.node, pages, uncharge=uncharge)
    machine.charge_cost(len(pages) * machine.cost.reclaim_ns)
    result.nr_reclaimed += len(pages)


def _give_back_slots(machine: Machine, lruvec: Lruvec, pages: list[int]) -> None:
    """An activated page of the swap cache does not need its slot when swap is nearly full."""
    table = machine.table
    mapped = [page for page in pages if table.slot[page] and table.flags[page] & MAPPED]
    if mapped and lruvec.memcg.swap_is_full():
        machine.swap_cache.free_slots(mapped)
