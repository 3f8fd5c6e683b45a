"""Shadow entries and refault distance.

Mirrors mm/workingset.c. A shadow packs the memcg whose reclaim evicted the page, that memcg's nonresident_age at the time, and whether the
page was part of the workingset; it stands in PageTable.shadow while the page is not resident.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakecg.abi.stat import (
    NR_ACTIVE_ANON,
    NR_ACTIVE_FILE,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
    WORKINGSET_ACTIVATE_ANON,
    WORKINGSET_REFAULT_ANON,
    WORKINGSET_RESTORE_ANON,
)
from fakecg.mm.columns import column
from fakecg.mm.lruvec import SWAP_CLUSTER_MAX
from fakecg.mm.page_table import ACTIVE, NO_SHADOW, WORKINGSET

if TYPE_CHECKING:
    from fakecg.mm.lruvec import Lruvec
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup

_MEMCG_BITS = 16


def age_nonresident(lruvec: Lruvec, nr_pages: int) -> None:
    """Advance the clock that refault distances are measured by, here and in all ancestors. Source: workingset_age_nonresident."""
    walk: Lruvec | None = lruvec
    while walk is not None:
        walk.nonresident_age += nr_pages
        walk = walk.parent


def eviction(machine: Machine, target: MemCgroup, node: int, pages: Sequence[int]) -> None:
    """Leave shadows for pages evicted, in order, by reclaim that started at ``target``. Source: workingset_eviction."""
    table = machine.table
    lruvec = target.lruvecs[node]
    shadow, flags = table.shadow, table.flags
    age = lruvec.nonresident_age
    low_bits = target.id << 1
    if isinstance(pages, range) and WORKINGSET not in {state & WORKINGSET for state in set(flags[pages.start : pages.stop])}:
        step = 1 << (_MEMCG_BITS + 1)
        first = age * step | low_bits
        shadow[pages.start : pages.stop] = array("q", range(first, first + step * len(pages), step))
        age_nonresident(lruvec, len(pages))
        return
    for page in pages:
        shadow[page] = (age << (_MEMCG_BITS + 1)) | low_bits | (1 if flags[page] & WORKINGSET else 0)
        age += 1
    age_nonresident(lruvec, len(pages))


def refault_all(machine: Machine, memcg: MemCgroup, node: int, pages: Sequence[int], is_file: bool) -> list[int] | None:
    """Refault of each page in order; None if all of them start without flags, as after a long time they do."""
    table = machine.table
    shadows = column(table.shadow, pages)
    first = shadows[0]
    step = 1 << (_MEMCG_BITS + 1)
    if isinstance(pages, range) and first != NO_SHADOW and shadows == array("q", range(first, first + step * len(pages), step)):
        # Evicted one after the other by the same reclaim: the last one's distance is the shortest.
        evicter = machine.memcgs.get((first >> 1) & 0xFFFF)
        last_age = shadows[-1] >> (_MEMCG_BITS + 1)
        if evicter is not None and evicter.lruvecs[node].nonresident_age - last_age > _workingset_size(evicter, node, is_file):
            table.shadow[pages.start : pages.stop] = array("q", (NO_SHADOW,)) * len(pages)
            memcg.rstat.add(memcg.lruvecs[node].stat_base + WORKINGSET_REFAULT_ANON + (1 if is_file else 0), len(pages))
            return None
    states = [refault(machine, memcg, node, page, is_file) for page in pages]
    return states if any(states) else None


def _workingset_size(evicter: MemCgroup, node: int, is_file: bool) -> int:
    """Pages a refaulting page competes with, as of the last flush: a burst of refaults is judged by what the lists were before it."""
    lruvec = evicter.lruvecs[node]
    size = lruvec.state(NR_ACTIVE_FILE)
    if not is_file:
        size += lruvec.state(NR_INACTIVE_FILE)
    if evicter.nr_swap_pages() > 0:
        size += lruvec.state(NR_ACTIVE_ANON)
        if is_file:
            size += lruvec.state(NR_INACTIVE_ANON)
    return size


def refault(machine: Machine, memcg: MemCgroup, node: int, page: int, is_file: bool) -> int:
    """A page with a shadow came back, charged to ``memcg``; returns the flags it starts with (ACTIVE, WORKINGSET or none).

    Source: workingset_refault, workingset_test_recent.
    """
    packed = machine.table.shadow[page]
    if packed == NO_SHADOW:
        return 0
    machine.table.shadow[page] = NO_SHADOW
    kind = 1 if is_file else 0
    lruvec = memcg.lruvecs[node]
    rstat = memcg.rstat
    rstat.add(lruvec.stat_base + WORKINGSET_REFAULT_ANON + kind, 1)
    evicter = machine.memcgs.get((packed >> 1) & 0xFFFF)
    if evicter is None:
        return 0
    distance = evicter.lruvecs[node].nonresident_age - (packed >> (_MEMCG_BITS + 1))
    if distance > _workingset_size(evicter, node, is_file):
        return 0
    age_nonresident(lruvec, 1)
    rstat.add(lruvec.stat_base + WORKINGSET_ACTIVATE_ANON + kind, 1)
    if not packed & 1:
        return ACTIVE
    note_cost(lruvec, is_file, 1, 0)
    rstat.add(lruvec.stat_base + WORKINGSET_RESTORE_ANON + kind, 1)
    return ACTIVE | WORKINGSET


def note_cost(lruvec: Lruvec, is_file: bool, nr_io: int, nr_rotated: int) -> None:
    """Charge reclaim effort to a type, here and in all ancestors. Source: mm/swap.c:lru_note_cost."""
    cost = nr_io * SWAP_CLUSTER_MAX + nr_rotated
    walk: Lruvec | None = lruvec
    while walk is not None:
        if is_file:
            walk.file_cost += cost
        else:
            walk.anon_cost += cost
        base = walk.stat_base
        if walk.file_cost + walk.anon_cost > sum(walk.memcg.rstat.total[base : base + 4]) // 4:
            walk.file_cost //= 2
            walk.anon_cost //= 2
        walk = walk.parent
