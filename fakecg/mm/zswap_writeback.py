"""Writing zswap entries back to the swap device: walks of the entry lists, and the store path's.

Mirrors zswap_writeback_entry, shrink_memcg_cb and shrink_memcg of mm/zswap.c. It knows budgets and cut-offs, never which
interface file asked; the loops of the proactive interfaces are in zswap_proactive.py.

A written-back page becomes a clean page of the swap cache, charged to its cgroup, until the next reclaim drops it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fakecg.abi.errors import DataLost
from fakecg.mm.columns import as_run, column
from fakecg.mm.mm_struct import ChargeContext
from fakecg.mm.page_table import RESIDENT
from fakecg.mm.zswap_worker import ShrinkWorker

if TYPE_CHECKING:
    from fakecg.mm.machine import Machine
    from fakecg.mm.memcontrol import MemCgroup

_WRITE_BATCH = 128


@dataclass(slots=True)
class Walk:
    """What a walk, or a visit of several walks, did.

    Attributes:
        nr_scanned: entries looked at.
        nr_written: entries written back.
        compressed_bytes: their lengths.
        stopped: met a page that is in the swap cache already, or ran out of memory for one.
    """

    nr_scanned: int = 0
    nr_written: int = 0
    compressed_bytes: int = 0
    stopped: bool = False

    def add(self, other: Walk) -> None:
        """Sum up."""
        self.nr_scanned += other.nr_scanned
        self.nr_written += other.nr_written
        self.compressed_bytes += other.compressed_bytes
        self.stopped = other.stopped


WalkSteps = Generator[None, None, Walk]


def run_to_end(steps: Generator[None, None, Walk]) -> Walk:
    """Run a walk whose charges are forced, so that it has nothing to wait for: from within reclaim, where nobody else may come between."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return cast(Walk, stop.value)


class ZswapWriteback:
    """Writeback for one machine's zswap."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.worker = ShrinkWorker(machine)

    def walk(self, memcg: MemCgroup, node: int, nr_to_walk: int, context: ChargeContext, cutoff_ns: int | None = None) -> WalkSteps:
        """Look at up to nr_to_walk entries from the old end of one list, each at most once.

        Without a cutoff an entry has a second chance: a referenced one loses the bit and becomes youngest. With one, an entry stored after
        it becomes youngest untouched, and any other is written back at once. Source: zswap.c:shrink_memcg_cb; v1 of the proposal.
        """
        zswap = self.machine.zswap
        lru = memcg.zswap_lrus[node]
        slots = zswap.links.oldest(lru, nr_to_walk)
        if not slots:
            return Walk()
        to_write: Sequence[int]
        to_rotate: Sequence[int] = ()
        referenced = zswap.referenced
        if cutoff_ns is None:
            to_rotate = [slot for slot in slots if referenced[slot]]
            to_write = [slot for slot in slots if not referenced[slot]] if to_rotate else slots
            for slot in to_rotate:
                referenced[slot] = 0
        else:
            stored_ns = zswap.stored_ns
            if max(column(stored_ns, slots)) <= cutoff_ns:
                to_write = slots
            else:
                to_rotate = [slot for slot in slots if stored_ns[slot] > cutoff_ns]
                to_write = [slot for slot in slots if stored_ns[slot] <= cutoff_ns]
            if isinstance(to_write, range):
                referenced[to_write.start : to_write.stop] = bytes(len(to_write))
            else:
                for slot in to_write:
                    referenced[slot] = 0
        if to_rotate:
            zswap.links.remove(lru, to_rotate)
            zswap.links.add(lru, to_rotate)
        walk = Walk(nr_scanned=len(slots))
        handles = column(zswap.handle, to_write)
        for start in range(0, len(to_write), _WRITE_BATCH):
            batch: Sequence[int] = to_write[start : start + _WRITE_BATCH]
            if start:
                # Others may have run since the entries were chosen: by now one may be loaded, freed, or another's.
                chosen = handles[start : start + _WRITE_BATCH]
                batch = [slot for slot, handle in zip(batch, chosen, strict=True) if zswap.has(slot) and zswap.handle[slot] == handle]
            written = yield from self.write_entries(batch, context)
            walk.nr_written += written.nr_written
            walk.compressed_bytes += written.compressed_bytes
            if written.stopped:
                walk.stopped = True
                break
        return walk

    def write_entries(self, slots: Sequence[int], context: ChargeContext) -> WalkSteps:
        """Decompress entries into the swap cache and write them to their slots. Source: zswap.c:zswap_writeback_entry."""
        machine = self.machine
        zswap, table, page_of = machine.zswap, machine.table, machine.swap.page
        done = Walk()
        while slots:
            if any(kind & RESIDENT for kind in table.kinds(as_run(column(page_of, slots)))):
                zswap.counters.reject_reclaim_fail += 1
                done.stopped = True
                return done
            owner = machine.swap_cache.charge_target(slots[0], context)
            memcg_of_slot = column(machine.swap.memcg, slots)
            same = len(slots)
            if memcg_of_slot.count(memcg_of_slot[0]) < same:
                same = next(index for index, memcg_id in enumerate(memcg_of_slot) if memcg_id != memcg_of_slot[0])
            nr_charged = yield from machine.charge_pages(owner, same, context)
            if not nr_charged:
                zswap.counters.reject_reclaim_fail += 1
                done.stopped = True
                return done
            batch = slots[:nr_charged]
            if not all(column(zswap.length, batch)):
                batch = [slot for slot in batch if zswap.has(slot)]
                machine.uncharge_pages(owner, nr_charged - len(batch))
            slots = slots[nr_charged:]
            if not batch:
                continue
            try:
                data = zswap.decompress_all(batch)
            except DataLost as error:
                machine.report_bug(error)
                zswap.counters.reject_reclaim_fail += 1
                machine.uncharge_pages(owner, len(batch))
                done.stopped = True
                return done
            done.nr_written += len(batch)
            done.compressed_bytes += sum(column(zswap.length, batch))
            zswap.free_written_back(batch)
            zswap.counters.written_back_pages += len(batch)
            machine.vm.zswpwb += len(batch)
            machine.page_io.add_written_back(owner, batch, data)
        return done

    # -- the store path ---------------------------------------------------------------------------------------------------------------

    def shrink_memcg(self, memcg: MemCgroup, nr_to_walk: int) -> Walk | None:
        """Look at nr_to_walk entries per node of exactly this cgroup; None if it has none or may not (ENOENT).

        Source: zswap.c:shrink_memcg.
        """
        if not memcg.online or not memcg.zswap_writeback_enabled():
            return None
        visit = Walk()
        context = ChargeContext(force=True)
        for node, lru in enumerate(memcg.zswap_lrus):
            visit.add(run_to_end(self.walk(memcg, node, min(nr_to_walk, lru.size), context)))
        return visit if visit.nr_scanned else None

    def make_room(self, memcg: MemCgroup) -> bool:
        """A store met its memory.zswap.max: whether something could be written back for it. Source: zswap_store."""
        visit = self.shrink_memcg(memcg, self.machine.features.store_scan_entries)
        return visit is not None and visit.nr_written > 0

    def memcg_offline(self, memcg: MemCgroup) -> None:
        """No cursor stays on a removed cgroup. Source: zswap_memcg_offline_cleanup."""
        zswap, root = self.machine.zswap, self.machine.root_memcg
        if zswap.worker_cursor is memcg:
            zswap.worker_cursor = _next_online(root, memcg)
        ancestor: MemCgroup | None = memcg
        while ancestor is not None:
            if ancestor.writeback_cursor is memcg:
                ancestor.writeback_cursor = _next_online(ancestor, memcg)
            ancestor = ancestor.parent_memcg


def _next_online(root: MemCgroup, position: MemCgroup) -> MemCgroup | None:
    memcg = root.next_descendant_pre(position)
    while memcg is not None and not memcg.online:
        memcg = root.next_descendant_pre(memcg)
    return memcg
